"""How the CPU engine walks arrays of one shape, and what a plan asks of it."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gridgrad.boundary import PERIODIC
from gridgrad.engines.layout import CHUNK_BYTES, MOST_STEPS, ROWS
from gridgrad.plan import Plan, Term
from gridgrad.stencil import Row, Stencil

# Samples of a block that is converted or gathered.
_BLOCK = 1 << 15
# Bytes of a block of an input that stays cached while one output after another is made from it.
_CACHED = 1 << 19
# Bytes of the planes around a plane, above which they are cut into blocks of so many bytes to stay cached.
_PLANES, _PLANE_BLOCK = 1 << 23, 1 << 18
# Bytes that are fetched ahead: four pages.
_AHEAD = 1 << 16
# Fewer lines than this are not worth keeping the weights of a long one.
_LINES = 16


class Walk(NamedTuple):
    """The order in which samples are visited.

    Dims 0 to `split` lead from row to row or cut rows into pieces; a row is all the samples of dims
    `split` and after, which are neighbours in memory in every array.
    """

    shape: tuple[int, ...]
    split: int

    @property
    def period(self) -> int:
        """The neighbours at each sample of dim `split`."""
        return math.prod(self.shape[self.split + 1 :])

    def chunk(self, dtype: Any) -> int:
        """The samples of a row that are worked on at a time."""
        return int(min(CHUNK_BYTES // dtype.itemsize, self.length))

    @property
    def samples(self) -> int:
        return math.prod(self.shape)

    @property
    def length(self) -> int:
        return math.prod(self.shape[self.split :])


def walk(shape: tuple[int, ...], strides: Sequence[tuple[int, ...]], size: int) -> Walk:
    """Join trailing dims into rows as long as a chunk, where every array has them side by side."""
    split, length = len(shape) - 1, shape[-1]
    while split > 0 and length * size < CHUNK_BYTES:
        if any(each[split - 1] != each[split] * shape[split] for each in strides):
            break
        split -= 1
        length *= shape[split]
    return Walk(shape, split)


def boxes(route: Walk, blocks: Sequence[int], slab: tuple[int, int] | None = None) -> Any:
    """All blocks of that size, in order: a row of the kernel's table of boxes for each.

    `slab` is a range of the first dim, if not all of it is to be covered.
    """
    ranges = [slab or (0, route.shape[0]), *((0, n) for n in route.shape[1 : len(blocks)])]
    cuts = [range(*each, block) for each, block in zip(ranges, blocks, strict=True)]
    starts = np.stack(np.meshgrid(*map(np.asarray, cuts), indexing="ij"), -1).reshape(-1, len(cuts))
    stops = np.minimum(starts + np.asarray(blocks), [stop for _, stop in ranges])
    d, period = route.split, route.period
    return np.ascontiguousarray(
        np.hstack([starts[:, :d], stops[:, :d], starts[:, d:] * period, stops[:, d:] * period]),
        np.int64,
    )


def cached_blocks(route: Walk, reach: Sequence[int], size: int, threads: int) -> list[int]:
    """Blocks that stay cached while one output after another is made, several for each thread."""
    shape = route.shape
    blocks = list(shape[: route.split + 1])
    plane = math.prod(shape[1:]) * size
    if len(blocks) > 1 and plane * (2 * reach[0] + 1) > _PLANES:
        blocks[1] = max(8 * reach[1], 1, _PLANE_BLOCK * blocks[1] // plane)
        plane = plane // shape[1] * blocks[1]
    blocks[0] = min(shape[0], max(1, _CACHED // max(plane, 1)))
    if len(blocks) == 2 and blocks[0] < ROWS <= shape[0]:
        # Enough to be made together, of so few lines that these stay cached nearly as well.
        lines = 2 * _CACHED * blocks[1] // (ROWS * plane)
        blocks = [ROWS, min(blocks[1], max(8 * reach[1], 1, lines))]
    wanted = 4 * threads if threads > 1 else 1
    for dim in (1, 0, *range(2, len(blocks))) if len(blocks) > 1 else (0,):
        n = shape[dim]
        found = -(-n // blocks[dim])
        if found < wanted and not (dim == 1 and found == 1 and shape[0] >= wanted):
            blocks[dim] = -(-n // min(n, wanted))
            found = -(-n // blocks[dim])
        wanted = -(-wanted // found)
    return blocks


def staged_blocks(route: Walk, reach: Sequence[int], whole: Sequence[bool]) -> list[int]:
    """Blocks of about _BLOCK samples, wider along dims whose neighbours a block must bring along.

    They are as long as dims that must stay `whole`.
    """
    shape = route.shape[: route.split + 1]
    blocks = [n if keep else 1 for n, keep in zip(shape, whole, strict=True)]
    blocks[-1] = max(blocks[-1], min(shape[-1], max(1, 1024 // route.period)))
    while True:
        size = math.prod(b + 2 * r for b, r in zip(blocks, reach, strict=True)) * route.period
        open_dims = [d for d, n in enumerate(shape) if blocks[d] < n]
        if size * 2 > _BLOCK or not open_dims:
            return blocks
        narrowest = min(open_dims, key=lambda d: (reach[d] == 0, blocks[d] / (reach[d] or 1), -d))
        blocks[narrowest] = min(2 * blocks[narrowest], shape[narrowest])


def is_runnable(plan: Plan) -> bool:
    """Whether every weight is a real number whose value is known."""
    return all(_is_runnable(term.stencil) for term in plan.terms)


def _is_runnable(stencil: Stencil) -> bool:
    return all(
        isinstance(row.divisor, float)
        and len(row.offsets) < MOST_STEPS
        and (isinstance(row.weights[0], float) or row.divisor == 1)
        and all(
            isinstance(w, float) or (isinstance(w, np.ndarray) and w.dtype.kind == "f")
            for w in row.weights
        )
        for row in _rows(stencil)
    )


def reads_a_number(plan: Plan) -> bool:
    """Whether another number than 0 stands beyond an edge."""
    return any(
        isinstance(side, float) and side != 0
        for term in plan.terms
        for row in (*term.stencil.lower, *term.stencil.upper)
        for side in row.sides or ()
    )


def _rows(stencil: Stencil) -> list[Row]:
    """All rows, but not an interior that is made when it is needed: the kernel makes that."""
    inner = [] if stencil.line is not None else [stencil.interior]
    return [*stencil.lower, *inner, *stencil.upper]


def makes_weights(stencil: Stencil, shape: tuple[int, ...], dim: int) -> bool:
    """Whether the kernel makes this stencil's weights itself, for real arrays of that shape, in C order.

    Its weights and those that are kept may differ in the last bit, so that parts of an array must follow
    the whole.
    """
    few = math.prod(shape) < _LINES * shape[dim]
    return stencil.line is not None and few and math.prod(shape[dim + 1 :]) == 1


def reach(plan: Plan, dim: int) -> int:
    """How far along a dim the plan's terms read from a sample."""
    return max(
        (
            abs(offset)
            for term in plan.terms
            if term.dim == dim
            for row in _rows(term.stencil)
            for offset in row.offsets
        ),
        default=0,
    )


def fetch(
    plan: Plan, term: Term, route: Walk, blocks: Sequence[int], strides: Sequence[int]
) -> int:
    """How many bytes from a sample of the term's input stands what to fetch while the sample's row is made.

    The only output made from an input fetches what its next samples will read, along the dim with the longest
    stride. Of several that are made one after another from a block, the first would wait for memory while
    the others leave it idle: those fetch the next block. 0 is nothing.
    """
    readers = {each.output for each in plan.terms if each.input == term.input}
    dims = {each.dim for each in plan.terms if each.input == term.input}
    ahead = max((reach(plan, dim) * strides[dim] for dim in dims), key=abs) + _AHEAD
    if len(readers) == 1:
        return ahead
    cut = [dim for dim, block in enumerate(blocks) if block < route.shape[dim]]
    if term.output == min(readers) or not cut:
        return 0
    return ahead + blocks[cut[-1]] * strides[cut[-1]]


def wraps(plan: Plan, dim: int) -> bool:
    """Whether a term along the dim reads the other end of it."""
    return any(
        row.sides is not None and row.sides[0] == PERIODIC
        for term in plan.terms
        if term.dim == dim
        for row in (*term.stencil.lower, *term.stencil.upper)
    )
