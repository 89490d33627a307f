"""A stencil on a window: some samples of a dim, whose results are those of the whole, bit for bit.

An array that is cut into blocks is differentiated block by block. A block's array holds samples of its own
and, beyond them, samples of its neighbours. On it works an ordinary stencil, so that engines know nothing of
blocks: the dim's own edge rows where the dim ends in this array, the interior's row elsewhere with
the weights of the whole dim, and empty rows at the ends of the array, whose results mean nothing.

Samples are counted on the whole dim. That of a periodic dim goes on beyond its ends: sample -1 is the last.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gridgrad.adjoint import part_of_line
from gridgrad.boundary import PERIODIC, Fixed, place
from gridgrad.stencil import Later, Row, Stencil


@dataclass(frozen=True)
class Span:
    """Samples [first, last) of a dim."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    def around(self, other: "Span") -> "Span":
        """The shortest span that holds both."""
        return Span(min(self.first, other.first), max(self.last, other.last))

    def holds(self, other: "Span") -> bool:
        return self.first <= other.first and other.last <= self.last


def reads(stencil: Stencil, n: int, results: Span) -> Span:
    """The samples that these results are made from, themselves among them.

    >>> from gridgrad.stencil import Row
    >>> edge, inner = Row((0, 1), (-1.0, 1.0)), Row((-1, 0, 1), (-1.0, 0.0, 1.0), 2.0)
    >>> reads(Stencil((edge,), inner, (edge,)), 9, Span(3, 6))
    Span(first=2, last=7)
    """
    found = results
    for first, last, row in _rows(stencil, n, results):
        found = found.around(_read(row, n, first, last))
    return found


def leaving(stencil: Stencil, n: int, results: Span, held: Span) -> tuple[int, int]:
    """How many of these results, from the first on and up to the last, read beyond what is held."""
    below = above = 0
    for first, last, row in _rows(stencil, n, results):
        # Those of one row read so far below and above each.
        reach = _read(row, n, first, first + 1)
        low, high = first - reach.first, reach.last - first - 1
        if first - low < held.first:
            below = max(below, min(last, held.first + low) - results.first)
        if last - 1 + high >= held.last:
            above = max(above, results.last - max(first, held.last - high))
    return below, above


def window(stencil: Stencil, n: int, held: Span, makes_weights: bool = False) -> Stencil:
    """The stencil of a dim of n samples for an array that holds only these.

    Results that read no other samples are those of the whole dim. Others are 0, or nothing worth.
    `makes_weights` says that the engine makes weights from the coordinates, on the whole dim.
    """
    whole = held == Span(0, n)
    if whole and stencil.line is None:
        return stencil
    empty = Row((0,), (0.0,), stencil.interior.divisor)
    low, high = len(stencil.lower), n - len(stencil.upper)
    below, above = min(stencil.interior.offsets), max(stencil.interior.offsets)
    # The interior's row serves these.
    first, last = max(low, held.first - below), min(high, held.last - above)

    def edge(i: int) -> Row:
        """The row of sample i, where it is not the interior's."""
        if not 0 <= i < n or low <= i < high:
            return empty
        row = stencil.lower[i] if i < low else stencil.upper[i - high]
        if not held.holds(_read(row, n, i, i + 1)):
            return empty
        # The other end's samples stand beside it.
        is_open = row.sides is not None and row.sides[0] == PERIODIC and not whole
        return row._replace(sides=None) if is_open else row

    if last <= first:
        # The kernel may run the last row where the interior's would be: none is beyond it.
        *lower, upper = (edge(i) for i in range(held.first, held.last))
        return stencil._replace(
            lower=tuple(lower), interior=empty, upper=(upper,), line=None, back=None
        )
    line, line_from = None, 0
    if stencil.line is not None and makes_weights:
        # What a transpose's weights are made from reaches as far as the weights that they are.
        offsets, plain = stencil.interior.offsets, stencil.interior.plain
        begin = max(0, held.first + below * plain)
        line, line_from = stencil.line[begin : held.last + above * plain], begin - held.first
        around = 1 + plain
        part = stencil.line[first + around * below : last + around * above]
        made = partial(part_of_line, part, plain)
        interior = Row(offsets, Later(made, len(offsets)), plain=plain)
    else:
        weights: Sequence[Any] = stencil.interior.weights
        if not isinstance(weights[0], float):
            weights = tuple(each[first - low : last - low] for each in weights)
        interior = stencil.interior._replace(weights=weights)
    return stencil._replace(
        lower=tuple(edge(i) for i in range(held.first, first)),
        interior=interior,
        upper=tuple(edge(i) for i in range(last, held.last)),
        line=line,
        line_from=line_from,
        back=None,
    )


def _rows(stencil: Stencil, n: int, results: Span) -> Iterator[tuple[int, int, Row]]:
    """The rows that serve these results, as (first sample, one past the last, row)."""
    for first, last, row in stencil.rows(n):
        first, last = max(first, results.first), min(last, results.last)
        if first < last:
            yield first, last, row


def _read(row: Row, n: int, first: int, last: int) -> Span:
    """What a row reads that serves the samples [first, last)."""
    offsets = row.offsets
    if isinstance(row.weights, tuple) and isinstance(row.weights[0], float):
        # Engines read nothing that has no weight, as edges' rows have it at their ends.
        offsets = tuple(k for k, w in zip(offsets, row.weights, strict=True) if w != 0)
    if row.sides is None or row.sides[0] == PERIODIC:
        return Span(first + min((*offsets, 0)), last + max((*offsets, 0)))
    places = [place(first + offset, n, row.sides) for offset in (*offsets, 0)]
    held = [each for each in places if not isinstance(each, Fixed)]
    return Span(min(held), max(held) + 1)
