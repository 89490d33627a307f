"""A plan laid out for the GPU kernel: what is compiled in, sizes, and tables of places and of numbers.

The sizes, for D dims::

    tiles along each dim             D
    tiles of a band                  1
    samples along each dim           D
    strides of each array            D each, inputs first
    for each term                    6: rows of the lower edge, of the upper, steps of a row; and where its
                                     rows begin among the places, its interior and its rows among the numbers

Strides, and the samples along the last dim, are in units of what is loaded at once, so that the compiler sees
multiples of that; strides along the last dim are not. A place is an index along the term's dim; one below
zero stands for a number. The places of a row of an edge, and the numbers::

    places of a row                  2 + 2 a step: steps, another place, and for each step two places

    an interior of numbers           the divisor, a weight for each step
    an interior of arrays            for each step (and last for the sample itself) a weight for each sample
    a row of an edge                 2 + 3 a step: the divisor, 1 (or the weight of the sample itself, instead
                                     of which the other place is subtracted if that is 0), and for each step
                                     its weight and the numbers that stand at its places
"""

import math
from typing import Any, NamedTuple

import numpy as np

from gridgrad.boundary import Fixed, place
from gridgrad.engines.tables import as_numbers, undivided
from gridgrad.engines.triton_walk import Walk
from gridgrad.plan import Plan
from gridgrad.stencil import Row, Stencil


class Kind(NamedTuple):
    """What is compiled into the kernel for one term."""

    input: int
    dim: int
    # For each step the two offsets whose samples are subtracted; where every sample has weights of its own,
    # the one that is not the sample itself.
    steps: tuple[Any, ...]
    varies: bool
    plain: bool
    careful: bool
    divides: bool
    unseen: bool  # whether weights are on the device, where nobody has looked at them
    at: int  # where the sizes tell of the term

    @property
    def reads(self) -> int:
        """Samples that the interior reads for one of its results."""
        ends = {end for step in self.steps for end in step if end is not None}
        return len(ends) if self.plain or not self.varies else len(ends | {0})


class Tables(NamedTuple):
    """A plan laid out.

    `later` are weights on the device, which the numbers lack: each with how many of these come before it. So
    what is sent is short, however many they are, and the same from call to call.
    """

    kinds: tuple[tuple[Kind, ...], ...]  # of each output
    sizes: tuple[int, ...]
    places: Any
    numbers: Any
    later: tuple[tuple[int, Any], ...]


class _Numbers:
    """The table of numbers, while it grows."""

    def __init__(self) -> None:
        self.pieces: list[Any] = []
        self.later: list[tuple[int, Any]] = []
        self.known = 0  # numbers of the pieces
        self.size = 0  # of these and of what comes later

    def add(self, piece: Any) -> None:
        """Numbers, or an array of the device's library, which is put in later."""
        if isinstance(piece, (float, int)):
            piece = [piece]
        if isinstance(piece, (list, np.ndarray)):
            self.pieces.append(np.asarray(piece, np.float64))
            self.known += len(piece)
        else:
            piece = piece.reshape(-1)
            self.later.append((self.known, piece))
        self.size += len(piece)


def lay_out(plan: Plan, route: Walk, dtype: Any) -> Tables:
    """The tables of a plan for arrays that are walked so, computed in a dtype of NumPy's."""
    unit = route.vector
    sizes = [
        *route.counts, route.width, *route.shape[:-1], route.shape[-1] // unit,
        *(s for each in route.strides for s in (*(s // unit for s in each[:-1]), each[-1])),
    ]  # fmt: skip
    numbers, places = _Numbers(), list[int]()
    kinds: list[list[Kind]] = [[] for _ in range(plan.outputs)]
    for term in sorted(plan.terms, key=lambda term: (term.output, -term.dim)):
        dim = route.place[term.dim]
        shared = sum(other.output == term.output for other in plan.terms) > 1
        known = isinstance(term.stencil.interior.divisor, float)
        stencil = undivided(term.stencil) if shared and known else term.stencil
        kind = _kind(term.input, dim, stencil, len(sizes))
        inner, n = numbers.size, route.shape[dim]
        _add_interior(numbers, stencil, kind, n)
        edges = numbers.size
        rows, steps = _edges(numbers, stencil, n)
        sizes += [len(stencil.lower), len(stencil.upper), steps, len(places), inner, edges]
        places += rows
        kinds[term.output].append(kind)
    return Tables(
        tuple(map(tuple, kinds)),
        tuple(2 * size + 3 for size in sizes),  # as the kernel wants them
        np.array([*places, 0], np.int64),
        np.concatenate([*numbers.pieces, [0.0]]).astype(dtype),
        tuple(numbers.later),
    )


def is_one(number: Any) -> bool:
    """Whether a number that may be on a device, where nobody looks at it, is known to be 1."""
    return isinstance(number, float) and number == 1


def _is_unseen(weight: Any) -> bool:
    return not isinstance(weight, (float, int, np.ndarray))


def _kind(input: int, dim: int, stencil: Stencil, at: int) -> Kind:
    row = stencil.interior
    rows = (*stencil.lower, row, *stencil.upper)
    unseen = any(_is_unseen(weight) for each in rows for weight in each.weights)
    if not isinstance(row.weights[0], (float, int)):
        steps = tuple((k,) for k in row.offsets if k != 0 or row.plain)
        careful = unseen or any(bool((weight == 0).any()) for weight in row.weights)
        return Kind(input, dim, steps, True, row.plain, careful, False, unseen, at)
    pairs = row.differences()
    # Division by a power of two is multiplication by another.
    exact = isinstance(row.divisor, float) and abs(math.frexp(row.divisor)[0]) == 0.5
    ends = tuple((a, b) for _, a, b in pairs)
    return Kind(input, dim, ends, False, row.plain, False, not exact, unseen, at)


def _add_interior(numbers: _Numbers, stencil: Stencil, kind: Kind, n: int) -> None:
    row = stencil.interior
    if not kind.varies:
        weights = [w for w, _, _ in row.differences()]
        if kind.divides:
            numbers.add(row.divisor)
            numbers.add(weights)
        else:
            numbers.add([1.0, *(w / row.divisor for w in weights)])
        return
    weight = dict(zip(row.offsets, row.weights, strict=True))
    low, high = len(stencil.lower), len(stencil.upper)
    for (offset,) in (*kind.steps, *(() if kind.plain else ((0,),))):
        numbers.add([0.0] * low)
        numbers.add(weight[offset])
        numbers.add([0.0] * high)
    if numbers.size and len(weight[row.offsets[0]]) != n - low - high:
        raise AssertionError("an interior has one weight for each of its samples")


def _edges(numbers: _Numbers, stencil: Stencil, n: int) -> tuple[list[int], int]:
    """The integers of all rows of edges, and the steps that each has room for."""
    found = [
        _edge(row, i, n)
        for rows, first in ((stencil.lower, 0), (stencil.upper, n - len(stencil.upper)))
        for i, row in enumerate(rows, first)
    ]
    steps = max((len(each.places) for each in found), default=0)
    integers: list[int] = []
    for each in found:
        spare = steps - len(each.places)
        integers += [len(each.places), each.other]
        integers += [p for pair in each.places for p in pair] + [0, 0] * spare
        numbers.add(each.divisor)
        numbers.add(each.centre)
        for weight, *values in each.numbers:
            numbers.add(weight)
            numbers.add(values)
        numbers.add([0.0] * (3 * spare))
    return integers, steps


class _Edge(NamedTuple):
    divisor: Any
    centre: Any
    other: int
    places: list[tuple[int, int]]
    numbers: list[tuple[Any, float, float]]


_NOTHING = Fixed(0.0)


def _edge(row: Row, i: int, n: int) -> _Edge:
    """The row of sample i of n."""

    def end(offset: int | None) -> Any:
        if offset is None:
            return _NOTHING
        return i + offset if row.sides is None else place(i + offset, n, row.sides)

    if not any(map(_is_unseen, row.weights)):
        centre, other = [1.0], 0
        steps = [([w], end(a), end(b)) for w, a, b in as_numbers(row).differences()]
    else:
        # Weights that nobody has seen: differences are from the sample itself, if it has one.
        weight = dict(zip(row.offsets, row.weights, strict=True))
        centre, other = [1.0], 0
        steps = [(w, end(k), end(None) if row.plain else i) for k, w in weight.items()]
        if not row.plain:
            centre = weight[0]
            others = [there for _, there, _ in steps if there != i and not isinstance(there, Fixed)]
            other = others[0] if others else i
    steps = [step for step in steps if step[1] != step[2]]

    def index(end: Any) -> int:
        return -1 if isinstance(end, Fixed) else int(end)

    def value(end: Any) -> float:
        return float(end.value) if isinstance(end, Fixed) else 0.0

    places = [(index(a), index(b)) for _, a, b in steps]
    values = [(w, value(a), value(b)) for w, a, b in steps]
    return _Edge(row.divisor, centre, other, places, values)
