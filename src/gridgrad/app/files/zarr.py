"""Zarr stores of version 2 and 3, by zarr through xarray."""

from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from gridgrad.app.files.blocks import writing
from gridgrad.app.files.layout import encoding_for, zarr_format
from gridgrad.app.files.lazy import guarded
from gridgrad.app.files.netcdf import check_name, opened
from gridgrad.app.source import Source


def read(path: Path, var: Sequence[str] | None, coordinate: str | None) -> Source:
    """A store, with or without consolidated metadata."""
    del coordinate
    dataset, notes = opened(path, engine="zarr")
    return Source(guarded(dataset, path), title=path.name, path=path, notes=notes)


def check(template: xr.Dataset, path: Path) -> None:
    """Refuse names that would be folders."""
    for name in template.data_vars:
        check_name(name, path)


def write(dataset: xr.Dataset, path: Path, suffix: str) -> None:
    """A store of the version that the samples came from, or else of version 3."""
    version = zarr_format(dataset.variables.values())
    bare = dataset.copy()
    encoding = {}
    for name, variable in bare.variables.items():
        encoding[name] = encoding_for(variable, suffix)
        variable.encoding = {}
    with writing(bare):
        # Chunks of Dask that share one of Zarr's are written one after the other here, which is safe.
        bare.to_zarr(
            path,
            mode="w-",
            encoding=encoding,
            zarr_format=version,
            safe_chunks=False,
            consolidated=False,
        )
