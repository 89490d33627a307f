"""A plan laid out for the GPU kernel: what is compiled in, a table of integers, and one of numbers.

The table of integers, for D dims::

    tiles along each dim                 D
    tiles of a band                      1
    samples along each dim               D
    strides of each array, inputs first  D each
    for each term                        6: rows of the lower edge, of the upper, steps of a row, where its rows
                                         begin, where the interior's numbers begin, where those of its rows do
    for each row of an edge              2 + 2 a step: steps, another place, and for each step two places

A place is an index along the term's dim; one below zero stands for a number. The numbers::

    an interior of numbers               the divisor, a weight for each step
    an interior of arrays                for each step (and last for the sample itself) a weight for each sample
    a row of an edge                     2 + 3 a step: the divisor, 1 (or the weight of the sample itself, at whose
                                         place another is subtracted if that is 0), and for each step its weight
                                         and the numbers that stand at its places
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gridgrad.boundary import Fixed, place
from gridgrad.engines.tables import as_numbers, undivided
from gridgrad.engines.triton_walk import Walk
from gridgrad.plan import Plan, Term
from gridgrad.stencil import Row, Stencil

_TERM = 6  # integers of a term


class Kind(NamedTuple):
    """What is compiled into the kernel for one term."""

    input: int
    dim: int
    # For each step the two offsets whose samples are subtracted; where every sample has weights of its own, the
    # offset that is not the sample itself.
    steps: tuple[Any, ...]
    varies: bool
    plain: bool
    careful: bool
    divides: bool
    at: int  # where the table of integers tells of the term


class Tables(NamedTuple):
    """A plan laid out. `later` are weights on the device, each with the index among the numbers where it goes."""

    kinds: tuple[tuple[Kind, ...], ...]  # of each output
    integers: Any
    numbers: Any
    later: tuple[tuple[int, Any], ...]


class _Numbers:
    """The table of numbers, while it grows."""

    def __init__(self) -> None:
        self.pieces: list[Any] = []
        self.later: list[tuple[int, Any]] = []
        self.size = 0

    def add(self, piece: Any) -> None:
        """Numbers, or an array of the device's library, which takes its place later."""
        if not isinstance(piece, (list, np.ndarray)):
            piece = piece.reshape(-1)
            self.later.append((self.size, piece))
            piece = np.zeros(len(piece))
        self.pieces.append(np.asarray(piece, np.float64))
        self.size += len(piece)


def lay_out(plan: Plan, route: Walk, dtype: Any) -> Tables:
    """The tables of a plan for arrays that are walked so, computed in a dtype of NumPy's."""
    dims = len(route.shape)
    header = [*route.counts, route.width, *route.shape, *(s for each in route.strides for s in each)]
    at = len(header)
    columns: list[list[int]] = []
    rows: list[int] = []
    numbers = _Numbers()
    kinds: list[list[Kind]] = [[] for _ in range(plan.outputs)]
    first_row = at + _TERM * len(plan.terms)
    for k, term in enumerate(sorted(plan.terms, key=lambda term: (term.output, -term.dim))):
        dim = route.place[term.dim]
        shared = sum(other.output == term.output for other in plan.terms) > 1
        kind = Kind(term.input, dim, *_interior(term, shared), at + _TERM * k)
        inner = numbers.size
        stencil = undivided(term.stencil) if shared else term.stencil
        n = route.shape[dim]
        _add_interior(numbers, stencil, kind, n)
        edges = numbers.size
        own, steps = _edges(numbers, stencil, n)
        columns.append(
            [len(stencil.lower), len(stencil.upper), steps, first_row + len(rows), inner, edges]
        )
        rows += own
        kinds[term.output].append(kind)
    integers = np.array([*header, *(c for each in columns for c in each), *rows], np.int64)
    assert len(header) == 1 + 2 * dims + dims * (plan.inputs + plan.outputs)
    values = np.concatenate([*numbers.pieces, np.zeros(1)]).astype(dtype)
    return Tables(tuple(map(tuple, kinds)), integers, values, tuple(numbers.later))


def is_number(weight: Any) -> bool:
    return isinstance(weight, (float, int))


def _interior(term: Term, shared: bool) -> tuple[tuple[Any, ...], bool, bool, bool, bool]:
    """Steps, and whether they vary, are plain, need care and a division."""
    row = term.stencil.interior
    if not is_number(row.weights[0]):
        steps = tuple(k for k in row.offsets if k != 0 or row.plain)
        careful = any(
            not isinstance(weight, np.ndarray) or bool((weight == 0).any())
            for weight in row.weights
        )
        return steps, True, row.plain, careful, False
    pairs = row.differences()
    # Division by a power of two is multiplication by another.
    exact = shared or float(np.frexp(float(row.divisor))[0]) in (0.5, -0.5)
    return tuple((a, b) for _, a, b in pairs), False, row.plain, False, not exact


def _add_interior(numbers: _Numbers, stencil: Stencil, kind: Kind, n: int) -> None:
    row = stencil.interior
    if not kind.varies:
        divisor = float(row.divisor)
        weights = [w for w, _, _ in row.differences()]
        if not kind.divides:
            weights, divisor = [w / divisor for w in weights], 1.0
        numbers.add([divisor, *weights])
        return
    weight = dict(zip(row.offsets, row.weights, strict=True))
    low, high = len(stencil.lower), len(stencil.upper)
    for offset in (*kind.steps, *(() if kind.plain else (0,))):
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
        numbers.add([each.divisor])
        numbers.add(each.centre)
        for weight, *values in each.numbers:
            numbers.add(weight)
            numbers.add(values)
        numbers.add([0.0] * (3 * spare))
    return integers, steps


class _Edge(NamedTuple):
    divisor: float
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

    known = all(is_number(w) or isinstance(w, np.ndarray) for w in row.weights)
    if known:
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
    places = [
        tuple(-1 if isinstance(each, Fixed) else each for each in ends) for _, *ends in steps
    ]
    values = [
        (w, *(each.value if isinstance(each, Fixed) else 0.0 for each in ends))
        for w, *ends in steps
    ]
    return _Edge(float(row.divisor), centre, other, places, values)
