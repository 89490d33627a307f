"""Zarr stores of version 2 and 3, in folders or (to read) in zip files, by zarr through xarray."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numcodecs.blosc  # type: ignore[import-untyped]  # numcodecs 0.16 ships no py.typed
import numcodecs.compat  # type: ignore[import-untyped]  # numcodecs 0.16 ships no py.typed
import xarray as xr
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing

from gridgrad.app.files.blocks import writing
from gridgrad.app.files.groups import labelled
from gridgrad.app.files.layout import encoding_for, zarr_format
from gridgrad.app.files.lazy import guarded, variable
from gridgrad.app.files.netcdf import check_name
from gridgrad.app.files.npy import NAME
from gridgrad.app.files.npz import named_dims
from gridgrad.app.source import Source


def read(path: Path, var: Sequence[str] | None, coordinate: str | None) -> Source:
    """A store, with or without consolidated metadata; arrays that do not name their dims count samples."""
    del coordinate
    _check_lengths()
    store: Any = zarr.storage.ZipStore(path, mode="r") if path.is_file() else path
    try:
        found = labelled(path, var, store, engine="zarr")
    except (KeyError, zarr.errors.ContainsArrayError, zarr.errors.GroupNotFoundError):
        return _bare(path, zarr.open(store, mode="r"), var)
    # A folder lists its contents in any order.
    dataset = found.dataset[sorted(found.dataset.data_vars, key=str)]
    dataset.set_close(found.dataset.close)
    return replace(found, dataset=dataset)


def _check_lengths() -> None:
    """Have chunks of Blosc's refused that are shorter than they say.

    numcodecs (0.16) reads on beyond their end, and gives what happens to be in memory there.
    """
    decode = numcodecs.blosc.Blosc.decode
    if getattr(decode, "checks_lengths", False):
        return

    def checked(self: Any, buf: Any, out: Any = None) -> Any:
        chunk = numcodecs.compat.ensure_bytes(buf)
        stated = int.from_bytes(chunk[12:16], "little")  # of the header, which has 16 bytes
        if len(chunk) < max(stated, 16):
            raise RuntimeError(f"a chunk of {stated} bytes was cut off after {len(chunk)}")
        return decode(self, chunk, out)

    checked.checks_lengths = True  # type: ignore[attr-defined]  # a mark: functions may have attributes
    numcodecs.blosc.Blosc.decode = checked


class Bare(BackendArray):
    """An array of Zarr's that was not written for xarray."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self.array.__getitem__
        )


def _bare(path: Path, found: Any, var: Sequence[str] | None) -> Source:
    arrays = {NAME: found} if isinstance(found, zarr.Array) else dict(found.arrays())
    dims = named_dims({name: arrays[name].shape for name in var or arrays if name in arrays})
    variables = {
        name: variable(
            dims[name],
            Bare(arrays[name]),
            {
                "chunks": arrays[name].chunks,
                "preferred_chunks": dict(zip(dims[name], arrays[name].chunks, strict=True)),
                "shards": arrays[name].shards,
                "compressors": arrays[name].compressors,
            },
        )
        for name in dims
    }
    dataset = guarded(xr.Dataset(variables), path)
    return Source(dataset, title=path.name, path=path, counts_samples=True)


def check(template: xr.Dataset, path: Path) -> None:
    """Refuse names that would be folders."""
    for name in template.data_vars:
        check_name(name, path)


def write(dataset: xr.Dataset, path: Path, suffix: str) -> None:
    """A store of the version that the samples came from, or else of version 3."""
    version: Any = zarr_format(dataset.variables.values())
    bare = dataset.copy()
    encoding = {}
    for name, each in bare.variables.items():
        encoding[name] = encoding_for(each, suffix)
        if each.chunks is not None:
            # Dask's chunks may be of several sizes, Zarr's may not.
            encoding[name].setdefault("chunks", tuple(map(max, each.chunks)))
        each.encoding = {}
    with writing(bare):
        # Chunks of Dask that share one of Zarr's are written one after the other here, which is safe.
        bare.to_zarr(
            path,
            mode="w-",
            encoding=encoding,
            zarr_format=version,
            safe_chunks=False,
            consolidated=version == 2,
        )
