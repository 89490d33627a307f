"""What tables have in common: columns of numbers along one dim."""

from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gridgrad.app.files.blocks import is_lazy, one_by_one
from gridgrad.app.source import FileProblem, shown

ROWS = 65_536
"""So many rows of arrays in memory are written at a time."""


def common_dim(dataset: xr.Dataset) -> Hashable:
    """The one dim of all variables."""
    return next(iter(dataset.data_vars.values())).dims[0]


def check_columns(template: xr.Dataset, path: Path, what: str) -> None:
    """Refuse what is not columns along one dim; `what` says what the format holds."""
    dims = {variable.dims for variable in template.data_vars.values()}
    if len(dims) == 1 and len(next(iter(dims))) == 1:
        return
    listing = ", ".join(
        f"{name} ({variable.ndim}-D)" for name, variable in template.data_vars.items()
    )
    raise FileProblem(
        f"{shown(path)} can hold {what}, along the same dim, but there is: {listing or 'nothing'}; write "
        ".npz, .nc or .zarr."
    )


def bands(variables: Sequence[xr.Variable]) -> Iterator[list[Any]]:
    """All variables, some rows at a time: as many as a chunk of Dask has."""
    (dim, *_) = variables[0].dims
    lazy = next((each for each in variables if is_lazy(each)), None)
    if lazy is None:
        rows = variables[0].shape[0]
        sizes = [ROWS] * (rows // ROWS) + [rows % ROWS]
    else:
        sizes = list(lazy.chunksizes[dim])
    start = 0
    for size in sizes:
        part = [each.isel({dim: slice(start, start + size)}) for each in variables]
        start += size
        if lazy is None:
            yield [each.values for each in part]
            continue
        from dask.base import compute

        with one_by_one():
            yield list(compute(*(each.data for each in part)))


def missing(dataset: xr.Dataset, path: Path) -> list[str]:
    """How many values are missing, if any are."""
    gaps = [
        int(np.isnan(each.values).sum())
        for each in dataset.data_vars.values()
        if each.dtype.kind == "f"
    ]
    if not (count := sum(gaps)):
        return []
    verb = "is" if count == 1 else "are"
    total = sum(each.size for each in dataset.data_vars.values())
    return [f"{count} of {total} values in {shown(path)} {verb} missing and became NaN."]
