"""GeoTIFF: maps with their coordinates, by rasterio; other TIFF images are grey levels."""

import errno
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast
from zlib import crc32

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from gridgrad.app.files import images
from gridgrad.app.files.blocks import fill
from gridgrad.app.files.layout import encoding_for
from gridgrad.app.files.lazy import guarded, variable
from gridgrad.app.source import FileProblem, Source, shown

# The tags that place an image, which are a scale with tie points, a matrix, and GeoTIFF's directory of keys;
# and the one in which GDAL keeps names of bands.
MAP = (33550, 33922, 34264, 34735, 42112)
# GDAL keeps blocks that it has read, up to this many megabytes. Its own default is 5 % of the machine's
# memory.
CACHE = "64"


def read(path: Path, var: Sequence[str] | None, coordinate: str | None) -> Source:
    """The bands of a map as variables, or an image in grey levels."""
    placed = _is_map(path)
    if placed is False or (placed and find_spec("rioxarray") is None):
        image = images.read(path, var, coordinate)
        note = (
            f"{shown(path)} is a map, but was read as an image, one pixel apart; for its coordinates: "
            "pip install 'gridgrad[geo]'."
        )
        return replace(image, notes=(*image.notes, note)) if placed else image
    dataset = _bands(path)
    counts = not {"x", "y"} <= set(dataset.indexes)
    return Source(guarded(dataset, path), title=path.name, path=path, counts_samples=counts)


def _is_map(path: Path) -> bool | None:
    """Whether a TIFF is more than an image; None if Pillow cannot read it."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return any(tag in getattr(image, "tag_v2", ()) for tag in MAP)
    except UnidentifiedImageError:
        return None


def _rasterio() -> Any:
    os.environ.setdefault("GDAL_CACHEMAX", CACHE)
    try:
        import rasterio
    except ImportError as missing:
        raise FileProblem(
            "GeoTIFF needs rasterio, which comes with: pip install 'gridgrad[geo]'."
        ) from missing

    # Of images that are in no place: those count samples.
    warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)
    return rasterio


class Band(BackendArray):
    """The samples of one band; a file of GDAL's is for one thread, so each reading opens its own."""

    def __init__(self, path: Path, number: int, shape: tuple[int, ...], dtype: Any) -> None:
        self.path = str(path)
        self.number = number
        self.shape = shape
        self.dtype = np.dtype(dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> Any:
        # GDAL reads windows without steps: those are taken from what it has read.
        ranges = [
            range(size)[each] if isinstance(each, slice) else range(int(each), int(each) + 1)
            for each, size in zip(key, self.shape, strict=True)
        ]
        if not all(ranges):
            return np.empty([len(each) for each in ranges], self.dtype)
        window = tuple((each[0], each[-1] + 1) for each in ranges)
        with _rasterio().open(self.path) as file:
            samples = file.read(self.number, window=window)
        steps = tuple(
            slice(None, None, each.step) if isinstance(taken, slice) else 0
            for each, taken in zip(ranges, key, strict=True)
        )
        return samples[steps]


def _bands(path: Path) -> xr.Dataset:
    rasterio = _rasterio()
    import rioxarray  # noqa: F401  # importing it gives datasets the .rio used below

    with rasterio.open(path) as file:
        packed = (file.profile.get("compress") or "").lower() or None
        names, crs, at = _names(file), file.crs, file.transform
        variables = {}
        for place, name in enumerate(names):
            array = Band(path, place + 1, file.shape, file.dtypes[place])
            block = file.block_shapes[place]
            encoding = {
                "compression": packed,
                "chunks": block,
                "preferred_chunks": {"y": block[0], "x": block[1]},
            }
            variables[name] = variable(("y", "x"), array, encoding, _attributes(file, place))
        attrs = {key: value for key, value in file.tags().items() if key != "AREA_OR_POINT"}
        # Samples stand in the middle of their cells; a map that is turned has no positions along its dims.
        rows, columns = np.arange(file.height) + 0.5, np.arange(file.width) + 0.5
    dataset: Any = xr.decode_cf(xr.Dataset(variables, attrs=attrs))
    if not at.is_identity and at.is_rectilinear:
        dataset = dataset.assign_coords(x=at.c + columns * at.a, y=at.f + rows * at.e)
    if crs is not None:
        # Coordinates get their units and standard names from it.
        dataset = dataset.rio.write_crs(crs).rio.write_coordinate_system()
    return cast(xr.Dataset, dataset)


def _attributes(file: Any, place: int) -> dict[str, Any]:
    """What the file says of a band: how it is packed, in CF's words, and its tags."""
    found = {
        key: value
        for key, value in file.tags(place + 1).items()
        if not key.startswith("STATISTICS_")
    }
    dtype, gap = np.dtype(file.dtypes[place]), file.nodatavals[place]
    # Files may name a number that their samples cannot be, -9999 of uint8, say.
    if gap is not None and (dtype.kind in "fc" or gap in np.array([gap]).astype(dtype)):
        found["_FillValue"] = dtype.type(gap)
    if (file.scales[place], file.offsets[place]) != (1.0, 0.0):
        found |= {"scale_factor": file.scales[place], "add_offset": file.offsets[place]}
    if file.units[place]:
        found["units"] = file.units[place]
    return found


def _names(file: Any) -> list[str]:
    """What the bands are called: by their descriptions, where these are different."""
    told = [description or "" for description in file.descriptions]
    if all(told) and len(set(told)) == len(told) and not {"x", "y", "spatial_ref"} & set(told):
        return told
    return [f"band_{number}" for number in file.indexes]


def check(template: xr.Dataset, path: Path) -> None:
    """Refuse what is no map: variables of the same two dims, evenly spaced."""
    _rasterio()
    from rasterio.dtypes import check_dtype

    dims = {each.dims for each in template.data_vars.values()}
    if len(dims) != 1 or len(next(iter(dims))) != 2:
        listing = ", ".join(f"{name} ({each.ndim}-D)" for name, each in template.data_vars.items())
        raise FileProblem(
            f"{shown(path)} can hold variables of the same 2 dims, but there is: {listing or 'nothing'}; "
            "write .nc or .zarr."
        )
    for name, each in template.data_vars.items():
        if not check_dtype(each.dtype):
            raise FileProblem(
                f"{shown(path)} cannot hold {each.dtype}, such as {name}; write .nc or .zarr."
            )
    for dim in next(iter(dims)):
        if dim in template.indexes and template.sizes[dim] > 1:
            _step(template[dim].values, str(dim), path)


def _step(where: Any, dim: str, path: Path) -> float:
    """The step between positions, which must all be equal."""
    steps = np.diff(where) if where.dtype.kind in "iuf" else np.array([0.0])
    step = float(steps.mean())
    if not step or np.abs(steps - step).max() > 1e-6 * abs(step):
        raise FileProblem(
            f"{shown(path)} can hold evenly spaced numbers as coordinates, but those of {dim} are not; write "
            ".nc or .zarr."
        )
    return step


def write(dataset: xr.Dataset, path: Path, suffix: str) -> None:
    """One band a variable, with its name as the description and its attributes as tags."""
    rasterio = _rasterio()
    variables = list(dataset.data_vars.values())
    first = variables[0].variable
    dtypes = {each.dtype for each in variables}
    dtype = np.result_type(*dtypes)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=first.shape[0],
        width=first.shape[1],
        count=len(variables),
        dtype=dtype,
        crs=_crs(dataset, first.dims),
        transform=_transform(dataset, first.dims, path),
        nodata=np.nan if dtype.kind == "f" else None,
        BIGTIFF="IF_SAFER",
        **_creation(first, suffix),
    ) as file:
        for number, (name, each) in enumerate(dataset.data_vars.items(), start=1):
            file.set_band_description(number, str(name))
            file.update_tags(number, **{str(key): str(value) for key, value in each.attrs.items()})
        file.update_tags(**{str(key): str(value) for key, value in dataset.attrs.items()})
        targets = [Target(file, number) for number in file.indexes]
        fill([each.variable for each in variables], targets)
    # GDAL may write what it has kept only now, and does not say so where that fails.
    with rasterio.open(path) as file:
        for target in targets:
            target.check(file)


class Target:
    """A band that takes blocks of samples."""

    def __init__(self, file: Any, number: int) -> None:
        self.file = file
        self.number = number
        self.written: list[tuple[Any, int]] = []

    def __setitem__(self, key: Any, samples: Any) -> None:
        window = _rasterio().windows.Window.from_slices(
            *key, height=self.file.height, width=self.file.width
        )
        samples = np.asarray(samples, self.file.dtypes[0])
        self.file.write(samples, self.number, window=window)
        self.written.append((window, _checksum(samples)))

    def check(self, file: Any) -> None:
        """Compare what is in the file with what was written, block by block."""
        for window, checksum in self.written:
            if _checksum(file.read(self.number, window=window)) != checksum:
                raise OSError(errno.EIO, "the file does not hold what was written")


def _checksum(samples: Any) -> int:
    return crc32(np.ascontiguousarray(samples).view(np.uint8).data)


def _creation(variable: xr.Variable, suffix: str) -> dict[str, Any]:
    """How the file is laid out: in tiles and compressed, as the samples were."""
    wanted = encoding_for(variable, suffix)
    result: dict[str, Any] = {}
    rows, columns = wanted.get("chunks", (0, 0))
    if rows and columns and not rows % 16 and not columns % 16:
        result |= {"tiled": True, "blockysize": rows, "blockxsize": columns}
    if wanted.get("compression"):
        result["compress"] = {"zstd": "ZSTD", "lzw": "LZW"}.get(wanted["compression"], "DEFLATE")
    return result


def _transform(dataset: xr.Dataset, dims: tuple[Any, ...], path: Path) -> Any:
    """The corner of the first sample, and the steps from there; None where nothing is known."""
    rasterio = _rasterio()
    if not all(dim in dataset.indexes and dataset.sizes[dim] > 1 for dim in dims):
        return None
    rows, columns = (dataset[dim].values.astype(np.float64) for dim in dims)
    down, right = (
        _step(where, str(dim), path) for where, dim in zip((rows, columns), dims, strict=True)
    )
    return rasterio.Affine(right, 0, columns[0] - right / 2, 0, down, rows[0] - down / 2)


def _crs(dataset: xr.Dataset, dims: tuple[Any, ...]) -> Any:
    """The coordinate system that came with the samples, or that of degrees of latitude and longitude."""
    import rioxarray  # noqa: F401  # importing it gives datasets the .rio used below

    if dataset.rio.crs is not None:
        return dataset.rio.crs
    units = [str(dataset[dim].attrs.get("units", "")) for dim in dims if dim in dataset.coords]
    if len(units) == 2 and units[0].startswith("degrees_n") and units[1].startswith("degrees_e"):
        return "EPSG:4326"
    return None
