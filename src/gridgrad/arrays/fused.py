"""Plans as operations of PyTorch's own, which its compiler fuses with what comes before and after.

A program that is made so is fast if it needs no memory of its own: what is laid end to end is memory, and so
is what a backward pass needs and cannot make again. So derivatives are written as one expression for all
samples, of operations that PyTorch makes again in a backward pass, wherever that is possible.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from itertools import pairwise
from operator import add, or_
from typing import Any, NamedTuple

import torch

from gridgrad.arrays.operator import is_symbolic
from gridgrad.arrays.origin import is_cheap, is_given
from gridgrad.arrays.torch import Torch
from gridgrad.engines.pairs import Pairs, Varied, pairs
from gridgrad.plan import Plan
from gridgrad.stencil import Stencil

# Samples up to which the one form of a joined dim takes less time, and the other above.
_FEW = 1 << 13
# Rows of so many samples are made in blocks, or of half as many if there are many in all, which no cache
# holds; but not if there are few in all, for which three loops take more time than memory.
_LONG, _SOME, _MANY = 1 << 8, 1 << 16, 1 << 21
# Samples less far apart in memory than this, which a vector holds, are read as neighbours.
_NEAR = 16
# Of fewer rows than this the first and the last are much of all.
_FEW_ROWS = 64


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

    def is_lean(self, plan: Plan, inputs: Sequence[Any]) -> bool:
        """Whether a program for this plan needs no memory of the size of its inputs, or hardly any."""
        loops = _Loops(frozenset(term.dim for term in plan.terms), inputs[0])
        found = [_paired(term.stencil, term.dim, inputs[term.input]) for term in plan.terms]
        return loops.are_long and all(each is not None and each.is_cheap for each in found)

    def whole(self, derivatives: Sequence[tuple[Stencil, int, Any]], dims: frozenset[int]) -> Any:
        found = [_paired(*each) for each in derivatives]
        paired = [each for each in found if each is not None]
        if len(paired) < len(found):
            return None
        loops = _Loops(dims, paired[0].x)
        blocks = _blocks(paired, loops)
        if blocks is not None:
            return _in_blocks(paired, blocks, loops)
        stencils = [stencil for stencil, *_ in derivatives]
        return reduce(
            add, (self._derivative(*each, loops) for each in zip(paired, stencils, strict=True))
        )

    def _derivative(self, paired: "_Paired", stencil: Stencil, loops: "_Loops") -> Any:
        found, dim, x, is_given, _ = paired
        n = x.shape[dim]
        if dim < loops.last:
            own, apart, x = is_given and len(loops.dims) > 1, loops.apart({dim}), paired.read
            return _by_index(found, dim, x, x, own=own, apart=apart)
        # By index it would be a load for each sample.
        rows = _rows(found, dim, x, loops)
        if rows > 2:
            step = math.prod(x.shape[dim + 1 :])
            return _by_rows(found, x.reshape(rows, -1), n, step, is_given).reshape(x.shape)
        # Pieces need no second sum at another scale.
        pieces = [
            (begin, end, _piece(found, dim, x, x, begin, end)) for begin, end, _ in stencil.rows(n)
        ]
        return self.join(pieces, dim)


class _Paired(NamedTuple):
    """A derivative each of whose samples is made of two."""

    found: Pairs
    dim: int
    x: Any
    is_given: bool
    is_cheap: bool

    @property
    def read(self) -> Any:
        """The samples as memory, if to make them twice would take longer."""
        if self.is_cheap:
            return self.x
        return self.x.as_strided(self.x.shape, torch.empty(self.x.shape, device="meta").stride())


def _paired(stencil: Stencil, dim: int, x: Any) -> _Paired | None:
    found = pairs(stencil, x.shape[dim]) if x.is_floating_point() else None
    return None if found is None else _Paired(found, dim, x, is_given(x), is_cheap(x))


class _Loops:
    """The loops that the compiler is to make of derivatives along some dims.

    It loops over several dims at once where nothing tells them apart, as a derivative does of its own dim.
    But it makes one loop of several derivatives only if they have the same loops.
    """

    def __init__(self, dims: frozenset[int], x: Any) -> None:
        self.dims, self.x = dims, x
        last = x.ndim - 1
        while last > 0 and math.prod(x.shape[last:]) < _NEAR:
            last -= 1
        self.last = last
        """The first of the dims along which vectors are read: its samples and those behind are rows."""
        # Rows that are read beyond their edges are told apart by all dims.
        self._all = self._ends(range(last + 1) if max(dims) >= last else dims)

    @property
    def are_long(self) -> bool:
        """Whether rows have edges at their ends only, and are long enough to be made in blocks."""
        count, row = self.x.numel(), math.prod(self.x.shape[self.last :])
        long = _LONG // 2 if count > _MANY else _LONG
        return max(self.dims) <= self.last and bool(count >= _SOME and row >= long)

    def like(self, own: set[int], x: Any) -> Any:
        """The same x, made by loops that keep all dims apart, of which it keeps its own apart anyway."""
        apart = self.apart(own)
        return x if apart is None else torch.where(apart, x.new_full((), 0), x)

    def apart(self, own: set[int]) -> Any:
        """What is false everywhere, and depends on those indices that are not told apart; None for none."""
        others: set[int] = set()
        for end in sorted(self._all - self._ends(own)):
            if end not in self._ends(others):
                others.add(min(end, self.last - 1))
        below = [_places(dim, self.x, range(self.x.shape[dim])) < 0 for dim in sorted(others)]
        return reduce(or_, below) if below else None

    def _ends(self, dims: Iterable[int]) -> set[int]:
        return {end for dim in dims for end in (dim, dim + 1) if 0 < end <= self.last}


def _blocks(derivatives: Sequence[_Paired], loops: _Loops) -> list[tuple[int, int]] | None:
    """From which sample up to which along the last dim: at either edge, and all between; None for no blocks.

    Between the edges a neighbour is always the next sample in memory, or what would be if what is made here
    were memory. So it need not be: a program reads what it is made of, and N samples less are written.
    """
    n = loops.x.shape[loops.last]
    along = [each for each in derivatives if each.dim == loops.last]
    if not loops.are_long or all(each.is_given for each in along):
        return None
    before, after = (
        max(edges) for edges in zip(*(each.found.edges(n) for each in along), strict=True)
    )
    return [(0, before), (before, n - after), (n - after, n)] if before + after < n else None


def _in_blocks(
    derivatives: Sequence[_Paired], blocks: Sequence[tuple[int, int]], loops: _Loops
) -> Any:
    last, inner = loops.last, blocks[1]
    # What has several readers the compiler makes memory of. These are readers of one each, as it counts.
    readers = [
        iter(each.read.expand(2 * len(blocks), *each.x.shape).unbind(0)) for each in derivatives
    ]

    def derivative(each: _Paired, reader: Iterator[Any], begin: int, end: int) -> Any:
        found, dim, first, second = each.found, each.dim, next(reader), next(reader)
        if dim < last:
            first, second = (x.narrow(last, begin, end - begin) for x in (first, second))
            return _by_index(found, dim, first, second, apart=loops.apart({dim, last}))
        if (begin, end) == inner:
            return _piece(found, dim, first, second, begin, end)
        return _by_index(found, dim, first, second, range(begin, end))

    def total(begin: int, end: int) -> Any:
        found = zip(derivatives, readers, strict=True)
        return loops.like({last}, reduce(add, (derivative(*each, begin, end) for each in found)))

    return torch.cat([total(*block) for block in blocks], last)


def _piece(found: Pairs, dim: int, first: Any, second: Any, begin: int, end: int) -> Any:
    """The derivative from one sample up to another, which one row serves.

    Both samples are read of the same array, or of two that hold the same.
    """
    n = first.shape[dim]
    first, second = (
        x.narrow(dim, found.place(begin + offset, n), end - begin)
        for x, offset in zip((first, second), found.offsets, strict=True)
    )
    return found.value(first, second, lambda number: number.at(begin))


def _by_index(
    found: Pairs,
    dim: int,
    first: Any,
    second: Any,
    places: range | None = None,
    own: bool = False,
    apart: Any = None,
) -> Any:
    """Both samples read by index, where the compiler sees what is next to what.

    It makes one loop of derivatives along several dims only if each reads a sample in its `own` place, too.
    """
    n = first.shape[dim]
    places = places or range(n)
    place = _places(dim, first, places)
    index = torch.arange(places.start, places.stop, device=first.device)

    def sample(x: Any, offset: int, own: bool) -> Any:
        if offset == 0:
            return x.narrow(dim, places.start, len(places))
        at = index + offset
        edge = {"max": n - 1} if offset > 0 else {"min": 0}
        at = at % n if found.wraps else at.clamp(**edge)
        moved = x[(slice(None),) * dim + (at,)]
        return torch.where(place == (n - 1 if offset > 0 else 0), x, moved) if own else moved

    along = _along(lambda i: place == i, first, apart)
    own = own and not found.wraps and 0 not in found.offsets
    first, second = map(sample, (first, second), found.offsets, (own, False))
    return found.value(first, second, along)


def _rows(found: Pairs, dim: int, x: Any, loops: _Loops) -> int:
    """Into how many rows to cut x, in each of which the dim has edges once or more often; 0 for none."""
    n, last = x.shape[dim], loops.last
    shared, alone = (int(math.prod(x.shape[:first])) for first in (last, dim))
    if found.reach > n or x.numel() == 0:
        return 0
    if found.stays(n):
        return shared if shared > 2 else alone
    return alone if math.prod(x.shape[dim:]) == n else 0


def _by_rows(found: Pairs, x: Any, n: int, step: int, is_given: bool) -> Any:
    """The derivative along a dim of n samples within rows, whose neighbours are so far away in memory.

    At an edge they are the sample itself; or others, if a row is n samples and no more.
    """
    rows, length = x.shape
    index = torch.arange(rows, device=x.device)
    place = _places(1, x, range(length))
    if length > n * step:
        # Memory, though of one row only, where it would be a division for each sample.
        place = (place // step % n).as_strided((length,), (1,))
    flat = x
    if is_given:
        # That would lead beyond all samples in the first and in the last row, which are made apart.
        inner, line = (index - 1).clamp(0, rows - 3), x.reshape(-1)

        def neighbours(offset: int) -> Any:
            inside = line.narrow(0, length + offset * step, (rows - 2) * length)
            return inside.reshape(rows - 2, length)[inner]
    else:
        # What is made here has a row more on either side, and `as_strided` makes memory of it.
        padded = torch.constant_pad_nd(x, [0, 0, 1, 1])

        def neighbours(offset: int) -> Any:
            return padded.as_strided((rows, length), (length, 1), length + offset * step)

        flat = neighbours(0)

    def at(i: int) -> Any:
        if step == 1 or length > n * step:
            return place == i
        return place < step if i == 0 else (place >= i * step) & (place < (i + 1) * step)

    def sample(offset: int) -> Any:
        if offset == 0:
            return flat
        moved = neighbours(offset)
        for i in found.beyond(offset, n):
            there = found.place(i + offset, n)
            moved = torch.where(at(i), flat if there == i else flat.narrow(1, there, 1), moved)
        return moved

    first, second = map(sample, found.offsets)
    total = found.value(first, second, _along(at, x))
    if not is_given:
        return total
    ends = _ends(found, x.reshape(rows, -1, n, step)[:: rows - 1], rows).reshape(2, length)
    row = _places(0, flat, range(rows))
    return torch.where((row == 0) | (row == rows - 1), ends[index.clamp(max=1)], total)


def _ends(found: Pairs, x: Any, rows: int) -> Any:
    """The derivative along the third of four dims, in the first and the last of so many rows.

    Memory, as every row reads it: of operations that are made again, which read by index; or, where that
    would take as long as all other rows, of pieces laid end to end.
    """
    _, groups, n, step = x.shape
    length = groups * n * step
    if rows >= _FEW_ROWS or length < _FEW:
        return _by_index(found, 2, x, x).as_strided(x.shape, (length, n * step, step, 1))
    before, after = found.edges(n)
    cuts = sorted({*range(before + 1), *range(n - after, n + 1)})
    return torch.cat([_piece(found, 2, x, x, *cut) for cut in pairwise(cuts)], 2)


def _places(dim: int, x: Any, places: range) -> Any:
    """Indices of samples along a dim, in 32 bits: those of 64 PyTorch keeps for a backward pass."""
    index = torch.arange(places.start, places.stop, dtype=torch.int32, device=x.device)
    return index.reshape((len(places),) + (1,) * (x.ndim - dim - 1))


def _along(at: Callable[[int], Any], x: Any, apart: Any = None) -> Callable[[Varied], Any]:
    """What makes of a varied number one for each sample, or one for all; `at` says where a place is."""

    def along(number: Varied) -> Any:
        values: Any = number.inner
        others = [(at(i), value) for i, value in number.others if value != number.inner]
        for where, value in others if apart is None else [*others, (apart, 0.0)]:
            rest = values if isinstance(values, torch.Tensor) else x.new_full((), values)
            values = torch.where(where, x.new_full((), value), rest)
        return values

    return along
