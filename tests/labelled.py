"""Small labelled fields for the tests of `gridgrad.xarray`."""

from typing import Any

import numpy as np
import xarray as xr

import gridgrad.xarray  # noqa: F401  # it registers the accessor

UNEVEN = np.array([0.0, 1.0, 3.0, 4.0, 6.5, 7.0])


def winds(n: int = 12) -> xr.Dataset:
    """Winds and geopotential as files have them: latitude decreasing, longitude around the globe."""
    longitude = np.arange(n) * 360.0 / n - 180
    latitude = np.linspace(60, -60, n - 3).astype(np.float32)
    ds = xr.Dataset(
        coords={
            "time": ("time", np.array(["2001-01-01", "2001-01-02", "2001-01-04"], "M8[ns]")),
            "latitude": (
                "latitude",
                latitude,
                {"units": "degrees_north", "standard_name": "latitude", "axis": "Y"},
            ),
            "longitude": (
                "longitude",
                longitude,
                {"units": "degrees_east", "standard_name": "longitude", "axis": "X"},
            ),
        },
        attrs={"Conventions": "CF-1.11", "history": "made"},
    )
    rng = np.random.default_rng(7)
    shape = (3, n - 3, n)
    for name, title in (("u", "eastward_wind"), ("v", "northward_wind")):
        ds[name] = (
            ("time", "latitude", "longitude"),
            rng.standard_normal(shape).astype(np.float32),
            {
                "units": "m s-1",
                "standard_name": title,
                "cell_methods": "time: mean",
                "valid_range": np.array([-200.0, 200.0]),
                "grid_mapping": "crs",
                "comment": "kept",
            },
        )
        ds[name].encoding = {
            "dtype": np.dtype("int16"), "scale_factor": 0.01, "add_offset": 3.0, "_FillValue": -32767,
            "zlib": True, "complevel": 4, "chunksizes": (1, n - 3, n),
        }  # fmt: skip
    ds["crs"] = 0
    return ds


def line(values: Any = UNEVEN**2, x: Any = UNEVEN, **attrs: Any) -> xr.DataArray:
    """Samples along the dim x, at the coordinate x."""
    return xr.DataArray(
        values, coords={"x": ("x", x)}, dims="x", name="f", attrs=attrs or {"units": "K"}
    )
