"""The transpose of a stencil: which results a sample takes part in, and with what weights.

A derivative is a matrix times the samples; its transpose takes gradients of results back to gradients of
samples, and is a stencil again, which the same engines run.
"""

import math
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add
from typing import Any

import array_api_compat
import numpy as np

from gridgrad.boundary import PERIODIC, Fixed, place
from gridgrad.caching import is_compiling
from gridgrad.discretization import row_of_line
from gridgrad.stencil import Later, Row, Stencil

# Transposes by the identity of their stencil, which is kept so that its identity stays its own.
_made: dict[tuple[int, int], tuple[Stencil, Stencil]] = {}


def transposed(stencil: Stencil, n: int) -> Stencil:
    """The stencil whose matrix on n samples is the transpose of this one's.

    Numbers beyond the edges are not samples, and have no part in it. Every weight must be known: none that
    a library still differentiates or traces.

    >>> from gridgrad.axis import Axis
    >>> from gridgrad.spacing import Spacing
    >>> from gridgrad.discretization import build
    >>> found = transposed(build(Axis(0, 9, Spacing(1.0)), 1, 2, 1), 9)
    >>> found.interior.offsets, found.interior.weights, found.interior.divisor
    ((-1, 0, 1), (1.0, 0.0, -1.0), 2.0)
    >>> found.lower[0].offsets, found.lower[0].weights
    ((0, 1), (-1.0, -0.5))
    """
    # The compiler reads this code, and keeps what it finds itself; lengths that are symbols have no hash.
    # Weights that are on a device, where nobody looks at them, are made anew for every call.
    # So are many of each sample's own, which would be kept for good.
    if is_compiling():
        return _transpose(stencil, n)
    if stencil.back is not None:
        back: Stencil = stencil.back
        return back
    if type(n) is not int or stencil.is_long or _is_elsewhere(stencil):
        return _transpose(stencil, n)._replace(back=stencil.linear())
    found = _made.get((id(stencil), n))
    if found is None:
        if len(_made) >= 1024:
            _made.clear()
        found = stencil, _transpose(stencil, n)._replace(back=stencil.linear())
        _made[id(stencil), n] = found
    return found[1]


def _is_elsewhere(stencil: Stencil) -> bool:
    return not isinstance(stencil.interior.weights[0], (float, np.ndarray))


def _transpose(stencil: Stencil, n: int) -> Stencil:
    if stencil.interior.plain and stencil.line is not None:
        # A window's: no engine makes the weights of its transpose.
        stencil = stencil._replace(line=None)
    offsets = stencil.interior.offsets
    below, above = -min(offsets), max(offsets)
    rows = (*stencil.lower, *stencil.upper)
    if any(row.sides is not None and row.sides[0] == PERIODIC for row in rows):
        return _of_periodic(stencil, n, below, above)
    first, after = len(stencil.lower), len(stencil.upper)
    # Samples at an edge that take part in other rows than the interior's, or in fewer of these.
    # Each edge on its own, as if the other were not there: rows and columns counted from it.
    low, high = list(_edge(stencil.lower, 0)), list(_edge(stencil.upper, -after))
    lower = max([first + above, *(1 + k for _, k, _ in low)])
    upper = max([after + below, *(-k for _, k, _ in high)])
    if n < lower + upper + below + above + 1:
        entries = list(_entries(stencil, n))
        every = tuple(_column(j, ((i, w) for i, k, w in entries if k == j)) for j in range(n))
        return Stencil(every, Row((0,), (0.0,), plain=True), (), stencil.fits_single)
    low += _inner(stencil, first, lower + below)
    high += _inner(stencil, -upper - above, -after)

    def inner() -> Row:
        if isinstance(stencil.interior.weights[0], float):
            return _reversed(stencil.interior)
        rows = slice(lower - above - first, n - upper + below - first)
        weights = [_divided(w, stencil.interior)[rows] for w in stencil.interior.weights]
        return turned(Row(offsets, weights))

    if stencil.line is None:
        row = inner()
    else:
        row = Row(tuple(-o for o in reversed(offsets)), Later(inner, len(offsets)), plain=True)
    return Stencil(
        tuple(_column(j, ((i, w) for i, k, w in low if k == j)) for j in range(lower)),
        row,
        tuple(_column(j, ((i, w) for i, k, w in high if k == j)) for j in range(-upper, 0)),
        stencil.fits_single,
        stencil.line,
    )


def turned(row: Row) -> Row:
    """The transpose's row where a row serves many samples, for those that all of its offsets lead to."""
    below, above = -min(row.offsets), max(row.offsets)
    weights = [
        w[above - o : len(w) - below - o] for o, w in zip(row.offsets, row.weights, strict=True)
    ]
    return Row(tuple(-o for o in reversed(row.offsets)), tuple(weights[::-1]), plain=True)


def part_of_line(line: Any, plain: bool) -> Row:
    """The row of a part of a long line, or of its transpose: not for the one or two samples at its ends."""
    row = row_of_line(line)
    return turned(row) if plain else row


def _reversed(row: Row) -> Row:
    """A row that every sample has, seen from the samples that it reads."""
    return Row(
        tuple(-o for o in reversed(row.offsets)), tuple(row.weights)[::-1], row.divisor, plain=row.plain
    )  # fmt: skip


def _column(j: int, entries: Iterator[tuple[int, float]]) -> Row:
    """The row of sample j, whose weight in the result at i is given."""
    total: dict[int, float] = {}
    for i, weight in entries:
        total[i - j] = total.get(i - j, 0.0) + weight
    offsets = tuple(sorted(total)) or (0,)
    return Row(offsets, tuple(total.get(o, 0.0) for o in offsets), plain=True)


def _divided(weight: Any, row: Row) -> Any:
    # A step on a device is not looked at.
    is_one = isinstance(row.divisor, float) and row.divisor == 1
    return weight if is_one else weight / row.divisor


def _edge(rows: tuple[Row, ...], start: int) -> Iterator[tuple[int, int, float]]:
    """(result, sample, weight) of an edge's rows, the first of which is that of sample `start`.

    From the upper edge samples are counted by negative numbers.
    """

    def reads(index: int, sides: Any) -> Any:
        if sides is None:
            return index
        # Far from the other edge, wherever that is.
        far = 1 << 20
        found = place(index if start >= 0 else index + far, far, sides)
        return found if isinstance(found, Fixed) or start >= 0 else found - far

    for i, row in enumerate(rows, start):
        places = [reads(i + offset, row.sides) for offset in row.offsets]
        yield from _entries_of(i, row, places, row.weights)


def _inner(stencil: Stencil, start: int, stop: int) -> Iterator[tuple[int, int, float]]:
    """The same of interior rows; negative numbers count from the upper edge."""
    row, zero = stencil.interior, len(stencil.lower) if start >= 0 else -len(stencil.upper)
    if stencil.line is not None:
        # These alone: the engine makes the others.
        row = row_of_line(stencil.line[start - 1 : stop + 1 or None])
        zero = start if start >= 0 else stop
    for i in range(start, stop):
        for offset, weight in zip(row.offsets, row.weights, strict=True):
            if not isinstance(weight, float):
                weight = weight[i - zero]
            yield i, i + offset, _number(_divided(weight, row))


def _entries(stencil: Stencil, n: int) -> Iterator[tuple[int, int, float]]:
    """The same of all rows of a short dim."""
    for start, stop, row in stencil.rows(n):
        for i in range(start, stop):
            places = [
                i + offset if row.sides is None else place(i + offset, n, row.sides)
                for offset in row.offsets
            ]
            weights = [w if isinstance(w, float) else w.reshape(-1)[i - start] for w in row.weights]
            yield from _entries_of(i, row, places, weights)


def _entries_of(
    i: int, row: Row, places: Sequence[Any], weights: Sequence[Any]
) -> Iterator[tuple[int, int, float]]:
    """The same of one sample's row, whose offsets lead to these places."""
    for k, weight in gathered(i, row, places, weights).items():
        if not isinstance(k, Fixed):
            yield i, k, _number(_divided(weight, row))


def gathered(i: int, row: Row, places: Sequence[Any], weights: Sequence[Any]) -> dict[Any, Any]:
    """What the row of sample i weights each place with, of those that its offsets lead to.

    One to which several lead is weighted by their exact sum; and sample i itself, from which the others'
    differences are taken, by theirs. So what does not count has no weight, not a rounding error.
    """
    led: dict[Any, list[Any]] = {}
    for k, weight in zip(places, weights, strict=True):
        led.setdefault(k, []).append(weight)
    if len(led) < len(places) and not row.plain:
        led[i] = [-w for k, each in led.items() if k != i for w in each]
    return {k: _sum(each) for k, each in led.items()}


def _sum(weights: Sequence[Any]) -> Any:
    # Rounded first, as the kernel rounds them: those that cancel there cancel here.
    if all(
        isinstance(w, (float, np.ndarray, np.generic)) and not np.iscomplexobj(w) for w in weights
    ):
        return math.fsum(map(_number, weights))
    return reduce(add, weights)


def _number(weight: Any) -> Any:
    """A weight as a number, or as a 0-d array where it is on a device."""
    if isinstance(weight, (float, np.ndarray, np.generic)):
        return float(weight if isinstance(weight, float) else np.ravel(weight)[0])
    return weight.reshape(())


def _of_periodic(stencil: Stencil, n: int, below: int, above: int) -> Stencil:
    """Where there are no edges: the rows reversed, those that wrap around counted from the other side."""
    sides, interior = (PERIODIC, PERIODIC), stencil.interior
    row = _reversed(interior)
    if isinstance(interior.weights[0], float):
        wraps = row._replace(sides=sides)
        return Stencil((wraps,) * above, row, (wraps,) * below, stencil.fits_single)
    rows = [row for _, _, row in stencil.rows(n)]
    xp = array_api_compat.array_namespace(interior.weights[0])
    every = [
        xp.roll(xp.concat([_divided(row.weights[k], row).reshape(-1) for row in rows]), offset)
        for k, offset in enumerate(interior.offsets)
    ][::-1]

    def part(first: int, last: int, beyond: Any = None) -> Row:
        """The row that serves these samples."""
        return Row(row.offsets, tuple(w[first:last] for w in every), sides=beyond, plain=True)

    return Stencil(
        tuple(part(j, j + 1, sides) for j in range(above)),
        part(above, n - below),
        tuple(part(j, j + 1, sides) for j in range(n - below, n)),
        stencil.fits_single,
    )
