"""`numpy.gradient` as NumPy has it: its own signature and result, by gridgrad's means."""

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from gridgrad.errors import GridError
from gridgrad.operators import gradient as _gradient


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """`numpy.gradient`: an array for one axis, a tuple of arrays for several.

    It differs from `gridgrad.gradient` in how it is called and in what NumPy returns: `f` may be a list,
    spacings are positional, the result keeps the dtype of floating `f` whatever the dtype of the
    coordinates, one axis gives a bare array, and `datetime64` or `timedelta64` samples give `timedelta64`.

    Raises `TypeError` for a wrong number of spacings and `numpy.exceptions.AxisError` for an axis out of
    range, as NumPy does, and `gridgrad.GridError` (a `ValueError`) for all else.

    >>> import numpy as np
    >>> gradient([1, 2, 4, 7, 11, 16], 2.0)
    array([0.5 , 0.75, 1.25, 1.75, 2.25, 2.5 ])
    >>> gradient(np.array([[1.0, 2.0], [3.0, 7.0]]))
    (array([[2., 5.],
           [2., 5.]]), array([[1., 1.],
           [4., 4.]]))
    """
    if edge_order not in (1, 2):
        raise GridError(f"edge_order must be 1 or 2, as in NumPy, but is {edge_order!r:.40}.")
    f = np.asanyarray(f)
    axes = tuple(range(f.ndim)) if axis is None else normalize_axis_tuple(axis, f.ndim)
    if len(varargs) not in (0, len(axes)) and not (len(varargs) == 1 and np.ndim(varargs[0]) == 0):
        raise TypeError(
            f"spacing must be a number or have one entry for each of {len(axes)} axes, "
            f"but {len(varargs)} are given."
        )
    spacing = varargs if len(varargs) == len(axes) else varargs[0] if varargs else 1.0
    if f.dtype.kind in "mM":
        found = _of_times(f, spacing, axes, edge_order)
    else:
        found = _gradient(f, spacing=spacing, dim=axes, edge_order=edge_order)
        if f.dtype.kind in "fc":
            kept, complexed = f.dtype.newbyteorder("="), np.result_type(f.dtype, np.complex64)
            found = tuple(
                value.astype(complexed if value.dtype.kind == "c" else kept, copy=False)
                for value in found
            )
    return found[0] if len(found) == 1 else found


def _of_times(f: Any, spacing: Any, axes: tuple[int, ...], edge_order: int) -> tuple[Any, ...]:
    """`datetime64` or `timedelta64` samples, in their own unit; not-a-time counts as a masked sample."""
    unknown = np.isnat(f)
    counts = np.ma.array(np.where(unknown, 0, f.astype(np.int64)), mask=unknown)
    unit = np.dtype(f.dtype.str.replace("M8", "m8"))
    return tuple(
        np.where(value.mask, np.timedelta64("NaT"), value.data.astype(np.int64).astype(unit))
        for value in _gradient(counts, spacing=spacing, dim=axes, edge_order=edge_order)
    )
