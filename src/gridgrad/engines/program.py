"""A plan laid out for the CPU kernel: how arrays of one shape are walked, and the kernel's tables."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gridgrad.boundary import PERIODIC, Fixed, place
from gridgrad.engines.layout import (
    CAREFUL,
    CHUNK_BYTES,
    FIXED,
    INPUT,
    LINE,
    LINE_BYTES,
    LOWER,
    MEMBERS,
    MINUS,
    MOST_STEPS,
    OUTPUT,
    ROW_DIM,
    RULES,
    RUN,
    SINGLE,
    TERM_COLUMNS,
    TILE,
    UPPER,
    VARYING,
    WIDE,
    N,
)
from gridgrad.engines.memory import address
from gridgrad.plan import Plan, Term
from gridgrad.stencil import Row, Stencil

# What is subtracted where a weight multiplies a sample, not a difference.
_NOTHING = Fixed(0.0)
# Samples of a block that is converted or gathered.
_BLOCK = 1 << 15
# Bytes of a block of an input that stays cached while one output after another is made from it.
_CACHED = 1 << 21
# Bytes of the planes around a plane, above which they are cut into blocks of so many bytes to stay cached.
_PLANES, _PLANE_BLOCK = 1 << 23, 1 << 18
# Below this many neighbours at one sample of a dim, a weight for each is cheaper than a loop for each.
_SHORT_RUN = 32
# Fewer lines than this are not worth keeping the weights of a long one.
_LINES = 16
# Weights for so many samples at least are laid side by side, since a loop's first steps are its dearest.
_TILE = 1024


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


def boxes(route: Walk, blocks: Sequence[int]) -> Any:
    """All blocks of that size, in order: a row of the kernel's table of boxes for each."""
    cuts = [range(0, n, block) for n, block in zip(route.shape, blocks, strict=False)]
    starts = np.stack(np.meshgrid(*map(np.asarray, cuts), indexing="ij"), -1).reshape(-1, len(cuts))
    stops = np.minimum(starts + np.asarray(blocks), route.shape[: len(cuts)])
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


def wraps(plan: Plan, dim: int) -> bool:
    """Whether a term along the dim reads the other end of it."""
    return any(
        row.sides is not None and row.sides[0] == PERIODIC
        for term in plan.terms
        if term.dim == dim
        for row in (*term.stencil.lower, *term.stencil.upper)
    )


class _Tables:
    """The kernel's tables, while they grow; see `layout` for their columns."""

    def __init__(self, dtype: Any, chunk: int) -> None:
        self.dtype, self._chunk = dtype, chunk
        self.terms: list[list[int]] = []
        self.rules: list[tuple[int, int, int]] = []
        self.steps: list[tuple[int, int, int, int]] = []
        self.weights: list[float] = []
        self.varying: list[Any] = []
        self._fixed: dict[float, list[tuple[int, int]]] = {}

    def add_term(self, term: Term, route: Walk, stride: int, is_shared: bool) -> None:
        """A term, which others share an output with or not."""
        stencil, n = term.stencil, route.shape[term.dim]
        if is_shared:
            stencil = _undivided(stencil)
        run = math.prod(route.shape[term.dim + 1 :])
        inside = term.dim >= route.split
        tile, line = 0, 0
        first_rule = len(self.rules)
        varying, careful, single = -1, False, False
        for i, row in enumerate(stencil.lower):
            self._add_rule(_numbers(row), stride, stencil, i, n)
        if stencil.line is not None and inside and run == 1 and route.samples < _LINES * n:
            tile, line, single = n, address(stencil.line), True
            self.rules.append((len(self.steps), 2, _bits(1.0)))
            self.steps += [(-stride, 0, -stride, 0), (stride, 0, -stride, 0)]
            self.weights += [0.0, 0.0]
        elif isinstance(stencil.interior.weights[0], np.ndarray):
            varying = sum(each.size for each in self.varying)
            tiles = 0
            if inside and run < _SHORT_RUN:
                tiles, single = -(-_TILE // (n * run)), True
                tile = tiles * n * run
            careful = self._add_varying_rule(stencil, n, stride, run, tiles)
        else:
            if inside and run < _SHORT_RUN:
                tile = route.length
            self._add_rule(stencil.interior, stride, stencil)
        for i, row in enumerate(stencil.upper, n - len(stencil.upper)):
            self._add_rule(_numbers(row), stride, stencil, i, n)
        found = [0] * TERM_COLUMNS
        found[OUTPUT], found[INPUT], found[ROW_DIM] = (
            term.output, term.input, -1 if inside else term.dim,
        )  # fmt: skip
        found[N], found[RUN], found[LOWER], found[UPPER] = (
            n, run, len(stencil.lower), len(stencil.upper),
        )  # fmt: skip
        found[RULES], found[VARYING], found[TILE], found[CAREFUL] = (
            first_rule, varying, tile, careful,
        )  # fmt: skip
        found[WIDE], found[SINGLE], found[MEMBERS] = self._is_wide(stencil), single, 1
        found[LINE], found[LINE_BYTES] = line, stencil.line.itemsize if line else 0
        self.terms.append(found)

    def finish(self) -> Any:
        """The kernel's weights: those of rules, then those that vary, then numbers beyond the edges.

        Terms of one output that may be made together become groups.
        """
        sizes = [each.size for each in self.varying]
        for term in self.terms:
            if term[VARYING] >= 0:
                term[VARYING] += len(self.weights)
        first = len(self.weights) + sum(sizes)
        numbers = []
        for k, (number, places) in enumerate(self._fixed.items()):
            numbers.append(np.full(self._chunk, number, self.dtype))
            for i, column in places:
                step = list(self.steps[i])
                step[column] = (first + k * self._chunk) * self.dtype.itemsize
                step[FIXED] |= 1 << column
                self.steps[i] = (step[0], step[1], step[2], step[3])
        self._group()
        return np.concatenate([np.array(self.weights, self.dtype), *self.varying, *numbers])

    def _group(self) -> None:
        head, room = None, 0
        for term in self.terms:
            rules = 1 + term[LOWER] + term[UPPER]
            steps = max(each[1] for each in self.rules[term[RULES] : term[RULES] + rules])
            joins = (
                head is not None and head[OUTPUT] == term[OUTPUT] and steps <= room
                and not (term[TILE] or term[SINGLE] or head[SINGLE])
            )  # fmt: skip
            if head is not None and joins:
                head[MEMBERS] += 1
            else:
                head, room = term, MOST_STEPS - 1  # one more goes on from other groups
            room -= steps

    def _add_rule(self, row: Row, stride: int, stencil: Stencil, i: int = 0, n: int = 0) -> None:
        """The rule of a row: the interior's, or that of sample i of n."""
        divisor = row.divisor if self._is_wide(stencil) else self.dtype.type(row.divisor)
        first = len(self.steps)
        for weight, *offsets in row.differences():
            ends = [_end(i + k, n, row.sides) if k is not None else _NOTHING for k in offsets]
            if ends[0] == ends[1]:
                continue
            step = [0, 0, 0, 0]
            for column, end in enumerate(ends):
                if isinstance(end, Fixed):
                    self._fixed.setdefault(end.value, []).append((len(self.steps), column))
                else:
                    step[column] = (end - i) * stride
            self.steps.append((step[0], step[1], step[2], step[3]))
            self.weights.append(weight)
        self.rules.append((first, len(self.steps) - first, _bits(divisor)))

    def _add_varying_rule(
        self, stencil: Stencil, n: int, stride: int, run: int, tiles: int
    ) -> bool:
        """A rule with weights for each sample; whether some are 0."""
        weight = dict(zip(stencil.interior.offsets, stencil.interior.weights, strict=True))
        plain = stencil.interior.plain
        near = [offset for offset in weight if offset != 0 or plain]
        # The loops take two at a time; the last may be without weight.
        count = len(near) + len(near) % 2
        careful = count > len(near) or any((each == 0).any() for each in weight.values())
        full = np.zeros((count + careful, n), self.dtype)
        inner = slice(len(stencil.lower), n - len(stencil.upper))
        for row, offset in zip(full, near, strict=False):
            row[inner] = weight[offset]
        if careful:
            full[-1] = 1  # edges have rules of their own
            full[-1, inner] = 1 if plain else weight[0]
        if tiles:
            full = np.tile(np.repeat(full, run, axis=1), tiles)
        self.varying.append(full.ravel())
        self.rules.append((len(self.steps), count, _bits(1.0)))
        self.steps += [(offset * stride, 0, near[0] * stride, 0) for offset in near]
        if count > len(near):
            self.steps.append((0, 0, near[0] * stride, 0))
        if plain:
            first = len(self.steps) - count
            self._fixed.setdefault(0.0, []).extend((first + k, MINUS) for k in range(count))
        self.weights += [0.0] * count
        return careful

    def _is_wide(self, stencil: Stencil) -> bool:
        """Whether a float64 scalar of NumPy's divides single precision, which promotes it."""
        if stencil.line is not None:
            return False
        divisor = stencil.interior.divisor
        return bool(
            self.dtype == np.float32
            and isinstance(divisor, np.float64)
            and np.float32(divisor) != divisor
        )


def _end(index: int, n: int, sides: Any) -> Any:
    """Which sample an offset leads to; one beyond the edges of a short run is replaced afterwards."""
    return index if sides is None else place(index, n, sides)


def _undivided(stencil: Stencil) -> Stencil:
    """The stencil with its divisors in its weights, where a division for each term would cost too much."""

    def row(each: Row) -> Row:
        if not isinstance(each.weights[0], float):
            return each
        weights = tuple(w / float(each.divisor) for w in each.weights)
        return each._replace(weights=weights, divisor=1.0)

    lower, upper = tuple(map(row, stencil.lower)), tuple(map(row, stencil.upper))
    return stencil._replace(lower=lower, interior=row(stencil.interior), upper=upper)


def _bits(number: Any) -> int:
    return int(np.float64(number).view(np.int64))


def _numbers(row: Row) -> Row:
    """A row for one sample, its weights as numbers."""
    weights = tuple(float(np.ravel(w)[0]) for w in row.weights)
    return row._replace(weights=weights)


def compose(
    plan: Plan,
    route: Walk,
    strides: Sequence[tuple[int, ...]],
    dtype: Any,
) -> tuple[Any, Any]:
    """The kernel's tables for arrays of these strides, inputs first, and its weights.

    The last numbers of the tables, for each call anew, are left to the caller: see `kernels.run_boxes`.
    """
    found = _Tables(dtype, route.chunk(dtype))
    # Each output's last dim first: the one of short runs leads its group.
    terms = sorted(plan.terms, key=lambda term: (term.output, -term.dim))
    shared = {
        term.output for k, term in enumerate(terms) if k and terms[k - 1].output == term.output
    }
    for term in terms:
        found.add_term(term, route, strides[term.input][term.dim], term.output in shared)
    weights = found.finish()
    dims = route.split
    header = [
        dims, plan.inputs, plan.outputs, len(found.terms), len(found.rules),
        len(found.steps), route.length, route.chunk(dtype), dtype.itemsize,
    ]  # fmt: skip
    rows = [
        header, *(each[:dims] for each in strides), *found.terms, *found.rules,
        *found.steps, [0] * (2 + plan.inputs + plan.outputs),
    ]  # fmt: skip
    return np.array([number for row in rows for number in row], np.int64), weights
