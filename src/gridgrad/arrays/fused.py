"""Plans as operations of PyTorch's own, which its compiler fuses with what comes before and after.

A program that is made so is fast if it needs no memory of its own: what is laid end to end is memory, and so
is what a backward pass needs and cannot make again. So derivatives are written as one expression for all
samples, of operations that PyTorch makes again in a backward pass, wherever that is possible.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot

from gridgrad.arrays.operator import is_symbolic
from gridgrad.arrays.torch import Torch
from gridgrad.engines.pairs import Pairs, Varied, pairs
from gridgrad.stencil import Stencil

# Samples up to which the one form of a joined dim takes less time, and the other above.
_FEW = 1 << 13


class Compiled(Torch):
    """PyTorch in a program that is made by its compiler."""

    def overlap(self, a: Any, b: Any) -> bool:
        return a is b  # nothing has an address yet

    def join(self, pieces: Sequence[tuple[Any, Any, Any]], dim: int) -> Any:
        _, n, piece = pieces[-1]
        shape = (*piece.shape[:dim], n, *piece.shape[dim + 1 :])
        few = not any(map(self.is_symbolic, shape)) and math.prod(shape) <= _FEW
        if piece.device.type == "cpu" and not few:
            return super().join(pieces, dim)
        # A sum of padded pieces is one expression for each sample, which the compiler fuses with what comes
        # before and after; a concatenation is memory of its own, which costs a GPU more, and a step of its
        # own for each piece, which costs more than few samples.
        padded = []
        for first, last, each in pieces:
            around = [0] * (2 * (piece.ndim - dim))
            around[-2:] = first, n - last
            padded.append(torch.constant_pad_nd(each, around))
        return reduce(add, padded)

    def is_symbolic(self, number: Any) -> bool:
        return super().is_symbolic(number) or is_symbolic(number)

    def layout(self, x: Any) -> Any:
        return None


class Fused(Compiled):
    """PyTorch while its tracer puts operations in the operator's place, which nothing differentiates."""

    def whole(self, stencil: Stencil, dim: int, x: Any) -> Any:
        n, last = x.shape[dim], x.ndim - 1
        found = pairs(stencil, n) if x.is_floating_point() else None
        if found is None:
            return None
        is_given = _is_given(x)
        if dim < last:
            return _by_index(found, dim, x, is_given)
        # By index it would be a load for each sample.
        rows = x.numel() // n
        if rows > 2 and max(map(abs, found.offsets)) <= n:
            return _by_rows(found, x.reshape(rows, n), is_given).reshape(x.shape)
        # Pieces need no second sum at another scale.
        return self.join([_piece(found, begin, end, x) for begin, end, _ in stencil.rows(n)], dim)


def _piece(found: Pairs, begin: int, end: int, x: Any) -> tuple[int, int, Any]:
    """The derivative along the last dim from one sample up to another, which one row serves."""
    n = x.shape[-1]
    first, second = (
        x.narrow(-1, found.place(begin + offset, n), end - begin) for offset in found.offsets
    )
    return begin, end, found.value(first, second, lambda number: number.at(begin))


def _by_index(found: Pairs, dim: int, x: Any, is_given: bool) -> Any:
    """Both samples read by index, where the compiler sees what is next to what."""
    n, place = x.shape[dim], _places(dim, x)
    index = torch.arange(n, device=x.device)

    def sample(offset: int) -> Any:
        if offset == 0:
            return x
        at = index + offset
        edge = {"max": n - 1} if offset > 0 else {"min": 0}
        at = at % n if found.wraps else at.clamp(**edge)
        moved = x[(slice(None),) * dim + (at,)]
        # The compiler makes one loop of those of several dims if all read a sample in its own place, too.
        own = is_given and not found.wraps
        return torch.where(place == (n - 1 if offset > 0 else 0), x, moved) if own else moved

    first, second = map(sample, found.offsets)
    return found.value(first, second, _along(place, x))


def _by_rows(found: Pairs, x: Any, is_given: bool) -> Any:
    """The derivative along rows, each sample's neighbours being those in memory but at a row's edges."""
    rows, n = x.shape
    index, place = torch.arange(rows, device=x.device), _places(1, x)
    if is_given:
        # That would lead beyond all samples in the first and in the last row, which are made apart.
        inner, flat = (index - 1).clamp(0, rows - 3), x.reshape(-1)

        def neighbours(offset: int) -> Any:
            return flat.narrow(0, n + offset, (rows - 2) * n).reshape(rows - 2, n)[inner]
    else:
        # What is made here has a row more on either side, and `as_strided` makes memory of it.
        padded = torch.constant_pad_nd(x, [0, 0, 1, 1])

        def neighbours(offset: int) -> Any:
            return padded.as_strided((rows, n), (n, 1), n + offset)

        x = neighbours(0)

    def sample(offset: int) -> Any:
        if offset == 0:
            return x
        moved = neighbours(offset)
        for i in range(n - offset, n) if offset > 0 else range(-offset):
            at = found.place(i + offset, n)
            moved = torch.where(place == i, x if at == i else x.narrow(1, at, 1), moved)
        return moved

    first, second = map(sample, found.offsets)
    total = found.value(first, second, _along(place, x))
    if not is_given:
        return total
    # Memory too, as every row reads it, but of operations that are made again.
    ends = _by_index(found, 1, x[:: rows - 1], False).as_strided((2, n), (n, 1))
    row = _places(0, x)
    return torch.where((row == 0) | (row == rows - 1), ends[index.clamp(max=1)], total)


def _places(dim: int, x: Any) -> Any:
    """The index of each sample along a dim, in 32 bits: those of 64 PyTorch keeps for a backward pass."""
    n = x.shape[dim]
    index = torch.arange(n, dtype=torch.int32, device=x.device)
    return index.reshape((n,) + (1,) * (x.ndim - dim - 1))


def _along(place: Any, x: Any) -> Callable[[Varied], Any]:
    """What makes of a varied number one for each sample, or one for all."""

    def along(number: Varied) -> Any:
        values: Any = number.inner
        for i, value in number.others:
            if value != number.inner:
                others = values if isinstance(values, torch.Tensor) else x.new_full((), values)
                values = torch.where(place == i, x.new_full((), value), others)
        return values

    return along


def _is_given(x: Any) -> bool:
    """Whether that is memory when a program starts: one of its arguments."""
    mode = get_proxy_mode()
    found = None if mode is None else get_proxy_slot(x, mode.tracer, None)
    return found is None or found.proxy.node.op == "placeholder"
