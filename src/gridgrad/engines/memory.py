"""How arrays lie in memory: addresses, strides, and the order of dims."""

import ctypes
import math
from collections.abc import Iterable, Sequence
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
    return order_of(x.strides, x.shape)


def order_of(strides: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """The same of an array with such strides, in bytes or in samples."""
    dims = range(len(shape))
    if 0 in strides and any(s == 0 and n > 1 for s, n in zip(strides, shape, strict=True)):
        return tuple(dims)
    return tuple(sorted(dims, key=lambda dim: -abs(strides[dim])))


def as_pairs(x: Any) -> Any:
    """Complex numbers as a last dim of real and imaginary parts."""
    half = x.dtype.itemsize // 2
    return np.ndarray(
        (*x.shape, 2), f"{x.dtype.byteorder}f{half}", x, strides=(*x.strides, half)
    ) if x.flags.c_contiguous else np.lib.stride_tricks.as_strided(
        x.real, (*x.shape, 2), (*x.strides, half)
    )  # fmt: skip


def address(x: Any) -> int:
    """Where the sample at index 0 of every dim stands."""
    return int(x.__array_interface__["data"][0])


def quick_address(
    x: Any, find: Any = ctypes.addressof, look: Any = ctypes.c_char.from_buffer
) -> int:
    """The address of a contiguous array, in a third of the time that NumPy takes to tell it."""
    try:
        return find(look(x))  # type: ignore[no-any-return]  # ctypes gives an int
    except TypeError:  # read-only
        return address(x)


def extent(shape: Sequence[int], strides: Sequence[int], size: int) -> tuple[int, int]:
    """Where the first byte of an array stands, and the one past its last, from the sample at index 0."""
    ends = [stride * (n - 1) for stride, n in zip(strides, shape, strict=True)]
    return sum(min(end, 0) for end in ends), sum(max(end, 0) for end in ends) + size


def span(x: Any) -> tuple[int, int]:
    """Where the first byte of an array stands, and the one past its last."""
    first, stop = extent(x.shape, x.strides, x.itemsize)
    place = address(x)
    return place + first, place + stop


def are_apart(
    places: Sequence[int], extents: Sequence[tuple[int, int]], count: int, read: Iterable[tuple[int, int]]
) -> bool:  # fmt: skip
    """Whether no array is written, at its place, where another is, or where something is read.

    The first `count` are read; `read` is where other bytes are, from the first to one past the last.
    """
    spans = [(place + a, place + b) for place, (a, b) in zip(places, extents, strict=True)]
    others = [*spans[:count], *read]
    for first, stop in spans[count:]:
        for start, end in others:
            if start < stop and first < end:
                return False
        others.append((first, stop))
    return True


def contiguous_strides(shape: Sequence[int], size: int) -> tuple[int, ...]:
    return tuple(size * math.prod(shape[k + 1 :]) for k in range(len(shape)))
