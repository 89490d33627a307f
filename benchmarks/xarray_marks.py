"""What the accessor of labelled arrays costs beside xarray's own: `python -m benchmarks.xarray_marks`.

A derivative of 64 x 64 samples with units and coordinates, where all is overhead, in turns with xarray's
`differentiate` of the same, in one process. The mark: at most twice its time.
"""

import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table

import gridgrad.xarray  # noqa: F401  # it registers the accessor
from benchmarks.timing import Times, interleave

MARK = 2.0


def field(dtype: str) -> xr.DataArray:
    """64 x 64 samples; `even` and `uneven` have a step and none."""
    rng = np.random.default_rng(0)
    x = np.arange(64.0)
    coords = {
        "even": ("even", x, {"units": "m", "standard_name": "projection_y_coordinate"}),
        "uneven": ("uneven", x**1.1, {"units": "m", "standard_name": "projection_x_coordinate"}),
    }
    return xr.DataArray(
        rng.random((64, 64)).astype(dtype),
        dims=("even", "uneven"),
        coords=coords,
        name="t",
        attrs={"units": "K", "standard_name": "air_temperature", "cell_methods": "area: mean"},
    )


def measure() -> dict[str, tuple[Times, Times]]:
    """For each work our times and xarray's."""
    calls, rows = {}, []
    for dtype in ("float64", "float32"):
        array = field(dtype)
        for dim in ("even", "uneven"):
            key = f"64 x 64 {dtype}, along {dim} coordinates"
            ours = array.gridgrad.derivative(dim, edge_order=1)
            xr.testing.assert_allclose(ours, array.differentiate(dim), rtol=1e-5, atol=1e-6)
            calls[key, "gridgrad"] = lambda a=array, d=dim: a.gridgrad.derivative(d, edge_order=1)
            calls[key, "xarray"] = lambda a=array, d=dim: a.differentiate(d)
            rows.append(key)
    times = interleave(calls, 21, 5.0)
    return {key: (times[key, "gridgrad"], times[key, "xarray"]) for key in rows}


def worst(found: dict[str, tuple[Times, Times]], stat: str) -> float:
    """The largest ratio of our time to xarray's."""
    return max(
        float(getattr(ours, stat) / getattr(theirs, stat)) for ours, theirs in found.values()
    )


def main() -> int:
    found = measure()
    table = Table("work", "gridgrad", "xarray", "by medians", "by minima", "mark: at most 2 x")
    for key, (ours, theirs) in found.items():
        ratio = ours.median / theirs.median
        table.add_row(
            key,
            f"{1e6 * ours.median:.0f} µs",
            f"{1e6 * theirs.median:.0f} µs",
            f"{ratio:.2f} x",
            f"{ours.least / theirs.least:.2f} x",
            "met" if ratio <= MARK else "MISSED",
        )
    Console(width=110).print(table)
    return 0 if worst(found, "median") <= MARK else 1


if __name__ == "__main__":
    raise SystemExit(main())
