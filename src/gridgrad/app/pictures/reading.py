"""The samples that a picture shows: real numbers in memory, and never more than it has room for."""

from collections.abc import Hashable, Mapping
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from gridgrad.app.files.layout import layout_of

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

MOST = 2000
"""A picture shows no more samples a side than this; more would cost memory and change no pixel."""

PIECE = 2**26
"""Bytes. An array that lies in a file as in memory is mapped, and what was looked over of it counts as the
program's memory while it is."""

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
    """Every so many samples along each dim, as float64, with the dims in the order of `by`.

    Of an array in a file no others are read, and no more than `PIECE` bytes of it are looked over at a
    time. Complex numbers become their magnitude, spans of time days, truth values 0 and 1.
    """
    variable = array.variable
    thin = {dim: slice(None, None, step) for dim, step in by.items()}
    if variable.nbytes <= PIECE:
        found = real(variable.isel(thin).values)
    else:
        dim, n = variable.dims[0], variable.shape[0]
        rows = _rows(variable)
        # Each piece begins at a sample that is shown.
        rows = max(rows // by[dim], 1) * by[dim]
        pieces = [variable.isel({dim: slice(at, at + rows)}) for at in range(0, n, rows)]
        found = np.concatenate([real(piece.isel(thin).values) for piece in pieces])
    order = [variable.dims.index(dim) for dim in by]
    return found.transpose(order)


def _rows(variable: xr.Variable) -> int:
    """How many places along the first dim are read at a time: whole chunks of the file, so that none is
    unpacked twice."""
    rows = max(PIECE * variable.shape[0] // variable.nbytes, 1)
    chunks = layout_of(variable.encoding, variable.ndim).chunks
    return rows if chunks is None else max(rows // chunks[0], 1) * chunks[0]


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
