"""How samples lie in a file, in chunks and compressed, from the words of one format into those of another."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

# How CF packs and dates values: the same in every format that xarray writes. (Results have none of these,
# their coordinates may.)
CF = ("_FillValue", "missing_value", "scale_factor", "add_offset", "units", "calendar")
CF_NAMES = ("coordinates", "grid_mapping")

NETCDF = (".nc", ".nc4", ".h5", ".hdf5")
# The level of deflate that NetCDF's own tools take; higher ones cost far more than they gain.
LEVEL = 4
_PLUGINS = ("zstd", "bzip2")
"""Compressions of NetCDF 4 beside deflate, which not every installation has."""


@dataclass(frozen=True)
class Layout:
    """Chunks and compression in nobody's words."""

    told: bool = False
    """Whether the file said anything about it: text, say, does not."""
    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    compression: str | None = None
    """`deflate`, `zstd`, ...; None where samples are not compressed."""
    level: int | None = None
    shuffle: bool = False
    codecs: tuple[Any, ...] = ()
    """Zarr's own, if it is Zarr that the file is."""


def encoding_for(variable: "xr.Variable", suffix: str) -> dict[str, Any]:
    """The encoding with which xarray, or a writer here, writes this variable in the format of `suffix`.

    The same compression where the format has it in every installation, or else the format's usual one.
    Samples that were not compressed will not be. What nothing is known of is left to the library.
    """
    layout = layout_of(variable.encoding, variable.ndim)
    if suffix == ".zarr":
        return _described(variable) | _zarr(layout)
    if suffix in NETCDF:
        return _described(variable) | _netcdf(layout, variable.shape, suffix)
    if suffix == ".cdf":
        return _described(variable)
    return _plain(layout)


def zarr_format(variables: "Iterable[xr.Variable]") -> int:
    """The version of Zarr for these variables: 2 where that is what they were read from, or else 3."""
    for variable in variables:
        if any(hasattr(codec, "codec_id") for codec in _codecs(variable.encoding)):
            return 2
    return 3


def layout_of(encoding: Mapping[Any, Any], ndim: int) -> Layout:
    """What an encoding says, as xarray's backends and the readers here put it there."""
    if "compressors" in encoding or "compressor" in encoding:
        codecs = _codecs(encoding)
        found = [_named(codec) for codec in codecs]
        name, level, shuffle = next((each for each in found if each[0]), (None, None, False))
        if codecs and not name:
            name = "unknown"
        return Layout(
            told=True,
            chunks=_sizes(encoding.get("chunks"), ndim),
            shards=_sizes(encoding.get("shards"), ndim),
            compression=name,
            level=level,
            shuffle=shuffle or any(each[2] for each in found),
            codecs=codecs,
        )
    chunks = _sizes(encoding.get("chunksizes", encoding.get("chunks")), ndim)
    name, level = encoding.get("compression"), encoding.get("complevel")
    if name in ("gzip", "zlib"):
        name, level = "deflate", encoding.get("compression_opts", level)
    for flag in ("zlib", "zstd", "bzip2", "szip", "blosc"):
        if encoding.get(flag):
            name = "deflate" if flag == "zlib" else flag
    return Layout(
        told=bool({"contiguous", "chunksizes", "compression", "zlib"} & set(encoding)),
        chunks=chunks,
        compression=name or None,
        level=level if name else None,
        shuffle=bool(name and encoding.get("shuffle")),
    )


def _sizes(found: Any, ndim: int) -> tuple[int, ...] | None:
    """The sizes of chunks, if there is one for every dim: the file may have had other dims."""
    if not isinstance(found, tuple | list) or len(found) != ndim or not ndim:
        return None
    if not all(isinstance(size, int | np.integer) and size > 0 for size in found):
        return None
    return tuple(map(int, found))


def _codecs(encoding: Mapping[Any, Any]) -> tuple[Any, ...]:
    found = encoding.get("compressors", encoding.get("compressor"))
    if found is None or found == "auto":
        return ()
    several = found if isinstance(found, tuple | list) else (found,)
    return tuple(codec for codec in several if codec is not None)


def _named(codec: Any) -> tuple[str | None, int | None, bool]:
    """A codec of Zarr: its compression, its level, and whether it shuffles bytes."""
    if hasattr(codec, "codec_id"):
        settings = codec.get_config()
        name = settings["id"]
    else:
        told = codec.to_dict()
        name, settings = told["name"].removeprefix("numcodecs."), told.get("configuration", {})
    if name == "blosc":
        shuffles = settings.get("shuffle") not in (0, "noshuffle")
        inner = {"zlib": "deflate"}.get(settings["cname"], settings["cname"])
        return inner, settings.get("clevel"), shuffles
    if name == "shuffle":
        return None, None, True
    return {"zlib": "deflate", "gzip": "deflate"}.get(name, name), settings.get("level"), False


def _described(variable: "xr.Variable") -> dict[str, Any]:
    """What an encoding says of the values, as far as every format of xarray's has it."""
    kept = {key: variable.encoding[key] for key in (*CF, *CF_NAMES) if key in variable.encoding}
    dtype = variable.encoding.get("dtype")
    if dtype is not None and dtype is not str and np.dtype(dtype).kind in "iuf":
        kept["dtype"] = np.dtype(dtype)
    return kept


def _netcdf(layout: Layout, shape: tuple[int, ...], suffix: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if layout.chunks:
        result["chunksizes"] = tuple(
            max(1, min(size, length)) for size, length in zip(layout.chunks, shape, strict=True)
        )
    if layout.compression and shape:
        result |= {"zlib": True, "complevel": LEVEL, "shuffle": True}
        if layout.compression == "deflate":
            result |= {"complevel": layout.level or LEVEL, "shuffle": layout.shuffle}
        elif layout.compression in _PLUGINS and not layout.codecs and suffix in (".nc", ".nc4"):
            # It came from NetCDF, and may stay what it is.
            result |= {"compression": layout.compression, "shuffle": layout.shuffle}
            result |= {"complevel": layout.level} if layout.level else {}
            del result["zlib"]
    return result


def _zarr(layout: Layout) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if layout.chunks:
        result["chunks"] = layout.chunks
    if layout.shards and layout.chunks:
        result["shards"] = layout.shards
    if not layout.told:
        return result
    if layout.codecs or not layout.compression:
        return result | {"compressors": layout.codecs or None}
    from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

    if layout.compression == "deflate" and layout.shuffle:
        codec: Any = BloscCodec(cname="zlib", clevel=layout.level or LEVEL, shuffle="shuffle")
    elif layout.compression == "deflate":
        codec = GzipCodec(level=layout.level or LEVEL)
    else:
        codec = ZstdCodec(
            level=layout.level if layout.compression == "zstd" and layout.level else 0
        )
    return result | {"compressors": (codec,)}


def _plain(layout: Layout) -> dict[str, Any]:
    """For the writers of this package: `chunks`, `compression` and `complevel`, where they are known."""
    result: dict[str, Any] = {} if layout.chunks is None else {"chunks": layout.chunks}
    if layout.told:
        result["compression"] = layout.compression
        if layout.level is not None:
            result["complevel"] = layout.level
    return result
