"""Plans as operations of PyTorch's own, which its compiler fuses with what comes before and after.

A program that is made so is fast if it needs no memory of its own: what is laid end to end is memory, and so
is what a backward pass needs and cannot make again. So derivatives are written as one expression for all
samples, of operations that PyTorch makes again in a backward pass, wherever that is possible.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import repeat
from operator import add, or_
from typing import Any, NamedTuple

import torch

from gridgrad.arrays.expressions import FEW, by_index, by_rows, cuts, piece, places_of, reads
from gridgrad.arrays.near import Near, near
from gridgrad.arrays.operator import is_symbolic
from gridgrad.arrays.origin import is_cheap, is_given
from gridgrad.arrays.torch import Torch
from gridgrad.engines.pairs import Pairs, pairs
from gridgrad.plan import Plan
from gridgrad.stencil import Stencil

# Rows of so many samples are made in blocks, or of half as many if there are many in all, which no cache
# holds; but not if there are few in all, for which three loops take more time than memory.
_LONG, _SOME, _MANY = 1 << 8, 1 << 16, 1 << 21
# Samples less far apart in memory than this, which a vector holds, are read as neighbours.
_NEAR = 16


class Compiled(Torch):
    """PyTorch in a program that is made by its compiler."""

    def overlap(self, a: Any, b: Any) -> bool:
        return a is b  # nothing has an address yet

    def join(self, pieces: Sequence[tuple[Any, Any, Any]], dim: int) -> Any:
        _, n, piece = pieces[-1]
        shape = (*piece.shape[:dim], n, *piece.shape[dim + 1 :])
        few = not any(map(self.is_symbolic, shape)) and math.prod(shape) <= FEW
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
        return reduce(add, (self._derivative(each, loops) for each in paired))

    def _derivative(self, paired: "_Paired", loops: "_Loops") -> Any:
        found, dim, x, is_given, _ = paired
        n = x.shape[dim]
        if dim < loops.last:
            own, apart, x = is_given and len(loops.dims) > 1, loops.apart({dim}), paired.read
            return by_index(found, dim, repeat(x), own=own, apart=apart)
        # By index it would be a load for each sample.
        rows = _rows(found, dim, x, loops)
        if rows > 2:
            step = math.prod(x.shape[dim + 1 :])
            return by_rows(found, x.reshape(rows, -1), n, step, is_given).reshape(x.shape)
        # Pieces need no second sum at another scale.
        pieces = [(*cut, piece(found, dim, repeat(x), *cut)) for cut in cuts(found, n)]
        return self.join(pieces, dim)


class _Paired(NamedTuple):
    """A derivative each of whose samples is made of two, or of three."""

    found: Pairs | Near
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
    found = near(stencil, x.shape[dim]) or (
        pairs(stencil, x.shape[dim]) if x.is_floating_point() else None
    )
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
        below = [places_of(dim, self.x, range(self.x.shape[dim])) < 0 for dim in sorted(others)]
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
    if any(isinstance(each.found, Near) for each in derivatives):
        return None  # in blocks, with as many arrays to read, they took a fifth longer
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
        iter(each.read.expand(reads(each.found) * len(blocks), *each.x.shape).unbind(0))
        for each in derivatives
    ]

    def derivative(each: _Paired, reader: Iterator[Any], begin: int, end: int) -> Any:
        found, dim = each.found, each.dim
        arrays = [next(reader) for _ in range(reads(found))]
        if dim < last:
            arrays = [x.narrow(last, begin, end - begin) for x in arrays]
            return by_index(found, dim, arrays, apart=loops.apart({dim, last}))
        if (begin, end) == inner:
            return piece(found, dim, arrays, begin, end)
        return by_index(found, dim, arrays, range(begin, end))

    def total(begin: int, end: int) -> Any:
        found = zip(derivatives, readers, strict=True)
        return loops.like({last}, reduce(add, (derivative(*each, begin, end) for each in found)))

    return torch.cat([total(*block) for block in blocks], last)


def _rows(found: Pairs | Near, dim: int, x: Any, loops: _Loops) -> int:
    """Into how many rows to cut x, in each of which the dim has edges once or more often; 0 for none."""
    n, last = x.shape[dim], loops.last
    shared, alone = (int(math.prod(x.shape[:first])) for first in (last, dim))
    if found.reach > n or x.numel() == 0:
        return 0
    if found.stays(n) and not found.thirds:
        return shared if shared > 2 else alone
    return alone if math.prod(x.shape[dim:]) == n else 0
