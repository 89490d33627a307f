"""A plan laid out for the CPU kernel: its tables and its weights."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gridgrad.boundary import Fixed, place
from gridgrad.engines.layout import (
    BLOCK_BYTES,
    CAREFUL,
    EDGE_FIRST,
    EDGE_LAST,
    FETCH,
    FIXED,
    INPUT,
    LINE,
    LINE_BYTES,
    LINES_TOGETHER,
    LOWER,
    MEMBERS,
    MINUS,
    MOST_COLUMNS,
    MOST_STEPS,
    NOTHING,
    OUTPUT,
    PLUS,
    ROW_DIM,
    ROWS_BYTES,
    RULES,
    RUN,
    SINGLE,
    STREAMABLE,
    STRETCH,
    STRETCH_BYTES,
    TERM_COLUMNS,
    TILE,
    TOGETHER,
    UPPER,
    VARYING,
    WIDE,
    N,
)
from gridgrad.engines.memory import address
from gridgrad.engines.program import Walk, fetch, makes_weights
from gridgrad.plan import Plan, Term
from gridgrad.stencil import Row, Stencil

# What is subtracted where a weight multiplies a sample, not a difference.
_NOTHING = Fixed(0.0)
# Below this many neighbours at one sample of a dim, a weight for each is cheaper than a loop for each.
_SHORT_RUN = 32
# Weights for so many samples at least are laid side by side, since a loop's first steps are its dearest.
_TILE = 1024
# One sample of so many may stand at an edge inside a row where these are kept until the others are written.
_PATCHED = 8


class _Tables:
    """The kernel's tables, while they grow; see `layout` for their columns."""

    def __init__(self, dtype: Any, chunk: int, length: int) -> None:
        self.dtype, self._chunk = dtype, chunk
        self._stretch = min(max(STRETCH_BYTES // dtype.itemsize, chunk), length)
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
            stencil = undivided(stencil)
        run = math.prod(route.shape[term.dim + 1 :])
        inside = term.dim >= route.split
        tile, line = 0, 0
        first_rule = len(self.rules)
        self._last_dim = route.split - 1
        varying, careful, single = -1, False, False
        for i, row in enumerate(stencil.lower):
            self._add_rule(as_numbers(row), stride, stencil, i, n)
        if inside and makes_weights(stencil, route.shape, term.dim):
            tile, single, careful = n, True, True
            line = address(stencil.line) - stencil.line_from * stencil.line.itemsize
            self._add_steps(stencil.interior, stride)
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
            self._add_rule(as_numbers(row), stride, stencil, i, n)
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
        # What plain rows subtract is one short row, which does not go on from row to row.
        found[TOGETHER] = line != 0 or not stencil.interior.plain
        if tile and run == 1 and not found[WIDE]:
            found[EDGE_FIRST], found[EDGE_LAST] = _read_by_edges(stencil, n)
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
        self._group()
        if len({term[OUTPUT] for term in self.terms}) < len(self.terms):
            self._fixed.setdefault(0.0, [])
        numbers = []
        for k, (number, places) in enumerate(self._fixed.items()):
            numbers.append(np.full(self._stretch, number, self.dtype))
            for i, column in places:
                step = list(self.steps[i])
                step[column] = (first + k * self._stretch) * self.dtype.itemsize
                step[FIXED] |= 1 << column
                self.steps[i] = (step[0], step[1], step[2], step[3])
        if 0.0 in self._fixed:
            at = (first + list(self._fixed).index(0.0) * self._stretch) * self.dtype.itemsize
            for term in self.terms:
                term[NOTHING] = at
        return np.concatenate([np.array(self.weights, self.dtype), *self.varying, *numbers])

    def _group(self) -> None:
        head, room, columns = None, 0, 0
        for term in self.terms:
            steps = max(count for _, count, _ in self._rules_of(term))
            joins = (
                head is not None and head[OUTPUT] == term[OUTPUT] and steps <= room
                and not (term[TILE] or term[SINGLE] or head[SINGLE])
            )  # fmt: skip
            if head is not None and joins:
                head[MEMBERS] += 1
                columns -= self._apart(term, head)
                if columns < head[EDGE_FIRST] + head[EDGE_LAST]:
                    head[EDGE_FIRST] = head[EDGE_LAST] = 0
            else:
                head, room, columns = term, MOST_STEPS - 1, MOST_COLUMNS
            room -= steps
        heads: dict[int, list[list[int]]] = {}
        for term in self._heads():
            heads.setdefault(term[OUTPUT], []).append(term)
        for found in heads.values():
            for term in found:
                is_alone = len(found) == 1 and not term[LINE]
                term[STRETCH] = self._stretch if is_alone else self._chunk
                term[STREAMABLE] = self._is_streamable(term)
                alone = len(found) == term[MEMBERS] == term[TOGETHER] == 1
                alone = alone and not (term[CAREFUL] or term[WIDE])
                whole = term[RUN] * self.dtype.itemsize % ROWS_BYTES == 0
                term[TOGETHER] = alone and 0 <= term[ROW_DIM] == self._last_dim
                term[LINES_TOGETHER] = (
                    alone and whole and term[VARYING] >= 0 > term[ROW_DIM] and not term[TILE]
                )

    def _rules_of(self, term: list[int]) -> list[tuple[int, int, int]]:
        return self.rules[term[RULES] : term[RULES] + 1 + term[LOWER] + term[UPPER]]

    def _apart(self, term: list[int], head: list[int]) -> int:
        """How many samples a rule of the term's reads at most that are not among those of the head's dim."""
        same, fixed = term[INPUT] == head[INPUT], set().union(*self._fixed.values())
        return max(
            sum(
                not same or self.steps[i][end] != 0 or (i, end) in fixed
                for i in range(first, first + count)
                for end in (PLUS, MINUS)
            )
            for first, count, _ in self._rules_of(term)
        )

    def _heads(self) -> Iterator[list[int]]:
        """The first term of each group."""
        k = 0
        while k < len(self.terms):
            yield self.terms[k]
            k += self.terms[k][MEMBERS]

    def _is_streamable(self, term: list[int]) -> bool:
        """Whether a group may be written past the caches: what comes after it is kept meanwhile."""
        width, period = (term[LOWER] + term[UPPER]) * term[RUN], term[N] * term[RUN]
        few = _PATCHED * width <= period and width <= self._stretch // (2 * _PATCHED)
        apart = (period - width) * self.dtype.itemsize >= BLOCK_BYTES
        return not term[WIDE] and ((few and apart) or not (term[TILE] or term[SINGLE]))

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
        plain, near = stencil.interior.plain, self._add_steps(stencil.interior, stride)
        count = len(near)
        careful = any((each == 0).any() for each in weight.values())
        full = np.zeros((count + careful, n), self.dtype)
        inner = slice(len(stencil.lower), n - len(stencil.upper))
        for row, offset in zip(full[:count], near, strict=True):
            row[inner] = weight[offset]
        if careful:
            full[-1] = 1  # edges have rules of their own
            full[-1, inner] = 1 if plain else weight[0]
        if tiles and run > 1:
            full = np.repeat(full, run, axis=1)
        if tiles > 1:
            full = np.tile(full, tiles)
        self.varying.append(full.ravel())
        return careful

    def _add_steps(self, row: Row, stride: int) -> list[int]:
        """A rule for a row whose weights stand elsewhere; the offsets that have one."""
        near = [offset for offset in row.offsets if offset != 0 or row.plain]
        first, count = len(self.steps), len(near)
        self.rules.append((first, count, _bits(1.0)))
        self.steps += [(offset * stride, 0, near[0] * stride, 0) for offset in near]
        self.weights += [0.0] * count
        if row.plain:
            self._fixed.setdefault(0.0, []).extend((first + k, MINUS) for k in range(count))
        return near

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


def _read_by_edges(stencil: Stencil, n: int) -> tuple[int, int]:
    """How many samples at the beginning and at the end edges read; (0, 0) if that is not all, or many."""
    edges = [(i, row) for i, row in enumerate(stencil.lower)]
    edges += [(i, row) for i, row in enumerate(stencil.upper, n - len(stencil.upper))]
    read = set()
    for i, row in edges:
        for _, *offsets in as_numbers(row).differences():
            for k in offsets:
                if k is None or isinstance(_end(i + k, n, row.sides), Fixed):
                    return 0, 0
                read.add(_end(i + k, n, row.sides))
    first = max((j + 1 for j in read if 2 * j < n), default=0)
    last = max((n - j for j in read if 2 * j >= n), default=0)
    return (first, last) if first + last <= MOST_COLUMNS else (0, 0)


def _end(index: int, n: int, sides: Any) -> Any:
    """Which sample an offset leads to; one beyond the edges of a short run is replaced afterwards."""
    return index if sides is None else place(index, n, sides)


def undivided(stencil: Stencil) -> Stencil:
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


def as_numbers(row: Row) -> Row:
    """A row for one sample, its weights as numbers."""
    weights = tuple(float(np.ravel(w)[0]) for w in row.weights)
    return row._replace(weights=weights)


def compose(
    plan: Plan,
    route: Walk,
    strides: Sequence[tuple[int, ...]],
    dtype: Any,
    streams: bool,
    blocks: Sequence[int],
) -> tuple[Any, Any]:
    """The kernel's tables for arrays of these strides, inputs first, and its weights.

    If it `streams`, outputs are written past the caches. `blocks` are the sizes of the boxes to come.

    What differs from call to call is not in them: see `kernels.kernel`.
    """
    found = _Tables(dtype, route.chunk(dtype), route.length)
    terms = sorted(plan.terms, key=lambda term: term.output)
    shared = {
        term.output for k, term in enumerate(terms) if k and terms[k - 1].output == term.output
    }
    pairs: set[tuple[int, int]] = set()
    for term in terms:
        found.add_term(term, route, strides[term.input][term.dim], term.output in shared)
        if (term.output, term.input) not in pairs:
            found.terms[-1][FETCH] = fetch(plan, term, route, blocks, strides[term.input])
        pairs.add((term.output, term.input))
    weights = found.finish()
    dims = route.split
    header = [
        dims, plan.inputs, plan.outputs, len(found.terms), len(found.rules),
        len(found.steps), route.length, route.chunk(dtype), dtype.itemsize, streams,
    ]  # fmt: skip
    rows = [
        header, *(each[:dims] for each in strides), *found.terms, *found.rules, *found.steps,
    ]  # fmt: skip
    return np.array([number for row in rows for number in row], np.int64), weights
