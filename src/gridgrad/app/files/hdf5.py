"""HDF5 files, also those that are no NetCDF, by h5netcdf through xarray."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import xarray as xr

from gridgrad.app.files.blocks import writing
from gridgrad.app.files.groups import labelled
from gridgrad.app.files.netcdf import check_name, encoded
from gridgrad.app.source import Source

PHONY = "phony_dim_"


def read(path: Path, var: Sequence[str] | None, coordinate: str | None) -> Source:
    """The arrays of a group; those without dims of their own get numbered ones, shared by equal lengths."""
    del coordinate
    found = labelled(path, var, engine="h5netcdf", phony_dims="sort")
    dims = list(found.dataset.dims)
    return replace(found, counts_samples=all(str(dim).startswith(PHONY) for dim in dims))


def check(template: xr.Dataset, path: Path) -> None:
    """HDF5 has all of NumPy's numbers."""
    for name in template.data_vars:
        check_name(name, path)


def write(dataset: xr.Dataset, path: Path, suffix: str) -> None:
    """A file that is NetCDF 4 as well, unless it has numbers that only HDF5 has (complex, float16)."""
    dataset = encoded(dataset, suffix)
    with writing(dataset):
        dataset.to_netcdf(path, engine="h5netcdf", invalid_netcdf=True)
