"""A made storm in a NetCDF file, as a weather model would write it: what docs/cli.md works on.

A low crosses a plane of 2400 km by 2000 km towards the east-north-east in a day, in a wind that blows from
west, and folds the border between warm and cold air around itself.

    python examples/make_storm.py [storm.nc]
"""

import argparse

import numpy as np
import xarray as xr

STEP = 20_000.0
"""Metres between samples."""
RADIUS = 250_000.0
"""Metres from the middle of the low to its strongest winds."""


def storm(nx: int = 121, ny: int = 101, hours: int = 24) -> xr.Dataset:
    """Winds, temperatures and pressures every three hours, in single precision."""
    x = xr.DataArray(np.arange(nx) * STEP, dims="x", attrs=_axis("x"))
    y = xr.DataArray(np.arange(ny) * STEP, dims="y", attrs=_axis("y"))
    hour = np.arange(0, hours + 1, 3)
    time = xr.DataArray(
        np.datetime64("2024-01-21T00", "ns") + hour * np.timedelta64(1, "h"), dims="time"
    )
    age = xr.DataArray(hour * 3600.0, dims="time")
    # Where the low is, and how far samples are from there.
    right = x - (0.25 * nx * STEP + 14.0 * age)
    up = y - (0.4 * ny * STEP + 4.0 * age)
    low = np.exp(0.5 - (right**2 + up**2) / (2 * RADIUS**2))
    turn = 25.0 * low / RADIUS  # the wind turns around the low, 25 m/s at RADIUS
    came = up * np.cos(low) - right * np.sin(low)  # how far north of the low its air came from
    front = (came + 150_000.0 * np.sin(right / 600_000.0)) / 120_000.0
    fields = {
        "u": (12.0 - up * turn, "m s-1", "eastward wind", "eastward_wind"),
        "v": (4.0 + right * turn, "m s-1", "northward wind", "northward_wind"),
        "t": (282.0 - 7.0 * np.tanh(front), "K", "air temperature", "air_temperature"),
        "p": (101_500.0 - 2_600.0 * low, "Pa", "pressure at sea level", "air_pressure_at_mean_sea_level"),
    }  # fmt: skip
    found = xr.Dataset(coords={"time": time, "y": y, "x": x}, attrs={"title": "a made storm"})
    for name, (values, unit, long, standard) in fields.items():
        found[name] = values.transpose("time", "y", "x").astype("float32")
        found[name].attrs = {"units": unit, "long_name": long, "standard_name": standard}
    return found


def _axis(name: str) -> dict[str, str]:
    return {"units": "m", "standard_name": f"projection_{name}_coordinate", "axis": name.upper()}


def write(path: str) -> None:
    dataset = storm()
    packed = {"zlib": True, "chunksizes": (1, dataset.sizes["y"], dataset.sizes["x"])}
    dataset.to_netcdf(path, encoding=dict.fromkeys(dataset.data_vars, packed), engine="netcdf4")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("file", nargs="?", default="storm.nc", help="what to write (%(default)s)")
    write(parser.parse_args().file)
