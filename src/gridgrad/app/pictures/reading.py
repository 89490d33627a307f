"""The samples that a picture shows: real numbers in memory, and never more than it has room for."""

from collections.abc import Hashable, Mapping
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

MOST = 2000
"""A picture shows no more samples a side than this; more would cost memory and change no pixel."""

LONGEST = 4_000_000
"""A curve shows no more samples than this. Below it, all: its narrowest peak should be seen."""


def strides(sizes: Mapping[Hashable, int], most: int = MOST) -> dict[Hashable, int]:
    """Which samples along each dim a picture shows: every first, second, ...

    >>> strides({"y": 4001, "x": 3}), strides({"time": 4001})
    ({'y': 3, 'x': 1}, {'time': 1})
    """
    most = LONGEST if len(sizes) < 2 else most
    return {dim: -(-n // most) for dim, n in sizes.items()}


def read(array: xr.DataArray, by: Mapping[Hashable, int]) -> Array:
    """Every so many samples along each dim, as float64.

    Of an array in a file no others are read. Complex numbers become their magnitude, times become
    days or seconds, truth values 0 and 1.
    """
    thin = array.variable.isel({dim: slice(None, None, step) for dim, step in by.items()})
    return real(thin.values)


def real(values: Array) -> Array:
    """Values as float64, by their magnitude where they are complex.

    >>> real(np.array([3 + 4j])), real(np.array([36], "m8[h]"))
    (array([5.]), array([1.5]))
    """
    if values.dtype.kind == "c":
        values = np.abs(values)
    if values.dtype.kind == "m":
        return values / np.timedelta64(1, "D")
    return values.astype(np.float64)
