"""How arrays lie in memory: addresses, strides, and the order of dims."""

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gridgrad.engines.recycling import empty

# PyTorch's bfloat16, which NumPy has no dtype for, comes as this.
BFLOAT16 = np.dtype([("bfloat16", np.uint16)])


def empty_like(x: Any, dtype: Any) -> Any:
    """A new array of the shape of x, laid out in memory in the same order of dims."""
    order = memory_order(x)
    if order == tuple(range(x.ndim)):
        return empty(x.shape, dtype)
    return empty(tuple(x.shape[dim] for dim in order), dtype).transpose(np.argsort(order))


def memory_order(x: Any) -> tuple[int, ...]:
    """The dims from the longest stride to the shortest; as they are if samples share memory."""
    strides = x.strides
    if 0 in strides and any(s == 0 and n > 1 for s, n in zip(strides, x.shape, strict=True)):
        return tuple(range(x.ndim))
    return tuple(sorted(range(x.ndim), key=lambda dim: -abs(strides[dim])))


def address(x: Any) -> int:
    """Where the sample at index 0 of every dim stands."""
    return int(x.__array_interface__["data"][0])


def quick_address(x: Any) -> int:
    """The address of a contiguous array, in a third of the time that NumPy takes to tell it."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(x))
    except TypeError:  # read-only
        return address(x)


def contiguous_strides(shape: Sequence[int], size: int) -> tuple[int, ...]:
    return tuple(size * math.prod(shape[k + 1 :]) for k in range(len(shape)))
