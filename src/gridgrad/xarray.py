"""Derivatives of labelled arrays: importing this gives DataArray and Dataset of xarray a `.gridgrad`.

>>> import xarray as xr, gridgrad.xarray
>>> x = xr.DataArray([0.0, 1.0, 3.0], dims="x", attrs={"units": "m"})
>>> height = xr.DataArray([0.0, 2.0, 4.0], coords={"x": x}, name="height", attrs={"units": "m"})
>>> height.gridgrad.derivative("x").attrs
{'units': '1', 'long_name': 'derivative of height with respect to x'}
"""

import datetime

import xarray as xr

from gridgrad.labelled.arrays import ArrayAccessor as ArrayAccessor
from gridgrad.labelled.datasets import DatasetAccessor as DatasetAccessor

# xarray's own decorators have no types.
xr.register_dataarray_accessor("gridgrad")(ArrayAccessor)  # type: ignore[no-untyped-call]  # xarray does not type it
xr.register_dataset_accessor("gridgrad")(DatasetAccessor)  # type: ignore[no-untyped-call]  # xarray does not type it


def append_history(
    dataset: xr.Dataset, line: str, when: datetime.datetime | None = None
) -> xr.Dataset:
    """The dataset with one more line in its `history` attribute: when, and what was done, by CF custom.

    `when` is now, in UTC, if left out. The dataset itself is not changed.

    >>> import datetime, xarray as xr, gridgrad.xarray
    >>> noon = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
    >>> gridgrad.xarray.append_history(xr.Dataset(), "gridgrad gradient in.nc", noon).history
    '2026-01-01T12:00:00Z gridgrad gradient in.nc'
    """
    when = datetime.datetime.now(datetime.UTC) if when is None else when
    before = str(dataset.attrs.get("history", "")).rstrip("\n")
    stamp = when.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    history = f"{before}\n{stamp} {line}" if before else f"{stamp} {line}"
    return dataset.assign_attrs(history=history)
