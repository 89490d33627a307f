"""Stencils: which neighbours the derivative at a sample reads, and their weights."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np

from gridgrad.axis import Axis
from gridgrad.boundary import ONE_SIDED, PERIODIC, REFLECT, Sides
from gridgrad.caching import is_compiling, remember
from gridgrad.errors import GridError
from gridgrad.formulas import first_derivative, fornberg, uniform_weights
from gridgrad.positions import Positions

# The range of single precision, without its subnormal numbers.
_TINY, _HUGE = 1.2e-38, 3.4e38
# Samples whose weights are made at a time.
_BLOCK = 1 << 14
# Samples above which an engine may make the weights anew at each call.
_LONG = 1 << 14


class Row(NamedTuple):
    """The derivative at sample i: the sum of weights[k] * f[i + offsets[k]], divided by `divisor`.

    A weight is a number, the same for every sample that the row serves, or a 1-D array with one weight
    for each. The weights of a derivative sum to zero, and engines use that: they weight *differences* of
    samples, never samples, so that a constant has derivative exactly 0. The transpose of a derivative has
    rows of which that is not true; they are `plain`, and their weights multiply samples.
    """

    offsets: tuple[int, ...]
    weights: Sequence[Any]
    divisor: Any = 1.0
    # Where offsets lead beyond the edges: what stands there.
    sides: Sides | None = None
    plain: bool = False

    def times(self, factor: float) -> "Row":
        """The row of so many times the derivative."""
        weights, divisor = self.weights, self.divisor
        if isinstance(weights[0], (float, int)):
            divisor = divisor / factor
        else:
            weights = tuple(w * factor for w in weights)
        # Written out: PyTorch's compiler, which reads this, can't `_replace` in what it remembers.
        return Row(self.offsets, weights, divisor, self.sides, self.plain)

    def differences(self) -> tuple[tuple[float, int, int | None], ...]:
        """The row as a sum of weight * (f[i + plus] - f[i + minus]), where weights are numbers.

        A plain row has nothing to subtract: None.

        >>> Row((-1, 0, 1), (-1.0, 0.0, 1.0), 2.0).differences()
        ((1.0, 1, -1),)
        >>> Row((0, 1, 2), (-0.75, 1.0, -0.25), 0.5).differences()
        ((1.0, 1, 0), (-0.25, 2, 0))
        """
        weight = {o: w for o, w in zip(self.offsets, self.weights, strict=True) if w != 0}
        if self.plain:
            return tuple((w, o, None) for o, w in weight.items())
        if all(weight.get(-offset) == -w for offset, w in weight.items()):
            pairs = [(w, o, -o) for o, w in weight.items() if o > 0]
        else:
            reference = min(weight, key=abs)
            pairs = [(w, o, reference) for o, w in weight.items() if o != reference]
        # Some weight is positive, so that a sum over equal samples is +0, as in NumPy: it is if one step is.
        if not any(w > 0 for w, _, _ in pairs):
            pairs = [(-w, b, a) for w, a, b in pairs]
        return tuple(pairs)


class Later(Sequence[Any]):
    """Weights that are made when they are first asked for."""

    def __init__(self, row: Callable[[], Row], count: int) -> None:
        self._row, self._count = row, count
        self._made: Sequence[Any] | None = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, k: Any) -> Any:
        if self._made is None:
            self._made = self._row().weights
        return self._made[k]


def _linear(sides: Sides) -> Sides:
    """The sides with 0 for numbers."""
    lower, upper = (0.0 if isinstance(side, float) else side for side in sides)
    return lower, upper


class Stencil(NamedTuple):
    """The rows of one dim's derivative, from the lower edge to the upper."""

    lower: tuple[Row, ...]
    interior: Row
    upper: tuple[Row, ...]
    fits_single: bool = True  # whether weights and divisors are in the range of single precision
    # The coordinates, if an engine may make the weights of an interior sample from its two neighbours'.
    line: Any = None

    def linear(self) -> "Stencil":
        """The stencil with 0 for numbers beyond the edges."""
        found = [row.sides for row in (*self.lower, *self.upper) if row.sides is not None]
        if not found or not any(isinstance(side, float) for side in found[0]):
            return self
        return self.between(_linear(found[0]))

    def between(self, sides: Sides) -> "Stencil":
        """The stencil with these numbers beyond the edges in place of others."""

        def row(each: Row) -> Row:
            if each.sides is None:
                return each
            return Row(each.offsets, each.weights, each.divisor, sides, each.plain)

        # Written out: PyTorch's compiler, which reads this, can't `_replace` in what it remembers.
        lower, upper = tuple(map(row, self.lower)), tuple(map(row, self.upper))
        return Stencil(lower, self.interior, upper, self.fits_single, self.line)

    def rows(self, n: int) -> list[tuple[int, int, Row]]:
        """The rows that serve n samples, as (first sample, one past the last, row)."""
        first, last = len(self.lower), n - len(self.upper)
        return [
            *((i, i + 1, row) for i, row in enumerate(self.lower)),
            *([(first, last, self.interior)] if last > first else []),
            *((last + i, last + i + 1, row) for i, row in enumerate(self.upper)),
        ]


def build(axis: Axis, order: int, accuracy: int, edge_order: int, side: str = "center") -> Stencil:
    """The stencil of the derivative of that order along `axis`."""
    if not is_compiling():
        return _build(axis, order, accuracy, edge_order, side)
    # A number beyond an edge may be a symbol to the compiler: what it remembers must be free of it.
    bare = axis._replace(sides=_linear(axis.sides))
    return _build(bare, order, accuracy, edge_order, side).between(axis.sides)


def _build(axis: Axis, order: int, accuracy: int, edge_order: int, side: str) -> Stencil:
    step, positions = axis.spacing.step, axis.spacing.positions
    is_uniform = positions is None
    # Coordinates that happen to stand evenly are not refused what others get: symmetric neighbours give more.
    inner = (
        accuracy + accuracy % 2 if axis.spacing.even is not None and side == "center" else accuracy
    )
    offsets = _neighbours(order, inner, side, is_uniform, axis.dim)
    points = order + edge_order
    _check_samples(axis, offsets, points, order, accuracy, edge_order)
    how = _How(order, offsets, points, axis.sides)
    if positions is not None:
        return _from_positions(axis, positions, how, (accuracy, edge_order, side))
    if isinstance(step, (float, complex)):
        numbered: Stencil = _from_number(step, *how)
        return numbered
    return _from_step(step, _of_unit_step(*how), order)


class _How(NamedTuple):
    """What a stencil is to be made of, but for the spacing."""

    order: int
    offsets: tuple[int, ...]
    points: int  # of a one-sided edge's rows
    sides: Sides


def _neighbours(
    order: int, accuracy: int, side: str, is_uniform: bool, dim: int
) -> tuple[int, ...]:
    """The offsets that an interior sample's row reads."""
    if is_uniform and accuracy % 2 and side == "center":
        raise GridError(
            f"accuracy must be even where the spacing of dim {dim} is uniform and side is 'center', "
            f"but is {accuracy}."
        )
    if not is_uniform and accuracy > 12:
        raise GridError(
            f"accuracy must be at most 12 on coordinates, as for dim {dim}, but is {accuracy}."
        )
    if side == "forward":
        return tuple(range(order + accuracy))
    if side == "backward":
        return tuple(range(1 - order - accuracy, 1))
    # Symmetric neighbours gain an order where they stand evenly, and nothing elsewhere.
    reach = (order + accuracy - 1) // 2 if is_uniform else (order + accuracy) // 2
    return tuple(range(-reach, reach + 1))


def _check_samples(
    axis: Axis, offsets: tuple[int, ...], points: int, order: int, accuracy: int, edge_order: int
) -> None:
    below, above = -min(offsets), max(offsets)
    needed, why = below + above, f"order={order} with accuracy={accuracy}"
    if axis.sides[0] == PERIODIC or REFLECT in axis.sides:
        needed += 1
    reaches = (below, above)
    edges = [r for r, kind in zip(reaches, axis.sides, strict=True) if r and kind == ONE_SIDED]
    if edges and (found := max(points, max(edges) + points // 2)) >= needed:
        needed, why = (
            found,
            f"edge_order={edge_order}" + (f" with order={order}" if order > 1 else ""),
        )
    if axis.n < needed:
        raise GridError(
            f"dim {axis.dim} has {axis.n} sample{'s' * (axis.n != 1)}, but {why} needs {needed}."
        )


def _lay_out(
    n: Any, how: _How, row: Callable[[tuple[int, ...], int, int], Row], later: bool = False
) -> Stencil:
    """The interior's rows wherever their samples are, or stand beyond the edges; else one-sided ones.

    A one-sided edge's rows read as few samples as its order of accuracy needs, around their own. The
    interior's row is made `later` if so asked.
    """
    below, above = -min(how.offsets), max(how.offsets)
    inner = partial(row, how.offsets, below, n - above)

    def edge(i: int, first: Any, kind: Any) -> Row:
        """The row of sample i from an edge, which is sample `first`; negative from the upper edge."""
        if kind != ONE_SIDED:
            return row(how.offsets, first, first + 1)._replace(sides=how.sides)
        if i >= 0:
            start = max(0, i - (how.points - 1) // 2) - i
        else:
            start = min(-1, i + (how.points - 1) // 2) - how.points + 1 - i
        return row(tuple(range(start, start + how.points)), first, first + 1)

    return Stencil(
        tuple(edge(i, i, how.sides[0]) for i in range(below)),
        Row(how.offsets, Later(inner, len(how.offsets))) if later else inner(),
        tuple(edge(i, n + i, how.sides[1]) for i in range(-above, 0)),
    )


def _from_positions(
    axis: Axis, positions: Positions, how: _How, accuracies: tuple[Any, ...]
) -> Stencil:
    below, above = -min(how.offsets), max(how.offsets)
    source, shift = positions, 0
    if how.sides != (ONE_SIDED, ONE_SIDED):
        source, shift = positions.extended(below, above, how.sides, axis.period, axis.dim), below

    def row(offsets: tuple[int, ...], start: int, stop: int) -> Row:
        found = row_of_positions(source, offsets, start + shift, stop + shift, how.order)
        if not positions.traced:
            _check_weights(found, axis.dim, start)
        return found

    if positions.traced:
        return _lay_out(axis.n, how, row)
    key = (how, axis.period, accuracies)
    if key not in positions.made:
        # A long line's weights are not kept: they would be several times as large as its samples.
        plain = shift == 0 and (how.order, how.offsets) == (1, (-1, 0, 1))
        line = positions.line if plain and axis.n > _LONG else None
        with np.errstate(all="ignore"):
            found = _lay_out(axis.n, how, row, later=line is not None)
            fits = line is not None or _fits_single(found)
            positions.made[key] = found._replace(fits_single=fits, line=line)
    made: Stencil = positions.made[key]
    return made


@remember
def _from_number(
    step: Any, order: int, offsets: tuple[int, ...], points: int, sides: Sides
) -> Stencil:
    return _from_step(step, _of_unit_step(order, offsets, points, sides), order)


def _from_step(step: Any, unit: Stencil, order: int) -> Stencil:
    """The stencil of another step than 1, a number or a traced one."""

    def row(of_unit: Row) -> Row:
        weights, divisor = of_unit.weights, step**order * of_unit.divisor
        if isinstance(divisor, (float, complex)) and abs(divisor) == math.inf:
            weights, divisor = tuple(w / of_unit.divisor for w in weights), step**order
        return Row(of_unit.offsets, weights, divisor, of_unit.sides)

    lower, upper = tuple(map(row, unit.lower)), tuple(map(row, unit.upper))
    interior = row(unit.interior)
    sizes = [abs(each.divisor) for each in (*lower, interior, *upper)]
    fits = not isinstance(sizes[0], float) or all(_TINY < size < _HUGE for size in sizes)
    return Stencil(lower, interior, upper, fits)


@remember
def _of_unit_step(order: int, offsets: tuple[int, ...], points: int, sides: Sides) -> Stencil:
    how = _How(order, offsets, points, sides)

    def row(offsets: tuple[int, ...], start: int, stop: int) -> Row:
        weights = uniform_weights(offsets, how.order)
        # Integers over their common denominator, where floats hold them exactly: then only the quotient
        # of a weight is rounded. A power of two keeps them near 1, and numpy.gradient's own bits.
        common = math.lcm(*(weight.denominator for weight in weights))
        largest = max(abs(weight) for weight in weights)
        if largest * common > 2**53 or common > 2**53:
            common = 1
        exponent = math.frexp(float(largest * common))[1] - 1
        scale = Fraction(common) / Fraction(2) ** exponent
        return Row(offsets, tuple(float(weight * scale) for weight in weights), float(scale))

    return _lay_out(0, how, row)


def scaled(stencil: Stencil, factor: float) -> Stencil:
    """The stencil of so many times the derivative."""
    if factor == 1:
        return stencil
    rows = [tuple(row.times(factor) for row in each) for each in (stencil.lower, stencil.upper)]
    return Stencil(rows[0], stencil.interior.times(factor), rows[1], stencil.fits_single)


def row_of_positions(
    positions: Positions, offsets: tuple[int, ...], start: int, stop: int, order: int
) -> Row:
    """One weight for each sample from `start` up to `stop`."""
    unit = positions.unit_size**order
    if positions.traced or stop - start <= _BLOCK:
        return Row(offsets, tuple(_weights(positions, offsets, start, stop, order)), unit)
    # Block by block, which stays in the cache; the widest floats are slow enough there.
    is_complex = positions.parts[0].dtype.kind == "c"
    found = np.empty((len(offsets), stop - start), np.complex128 if is_complex else np.float64)
    for first in range(start, stop, _BLOCK):
        last = min(first + _BLOCK, stop)
        for k, weights in enumerate(_weights(positions, offsets, first, last, order)):
            found[k, first - start : last - start] = weights
    return Row(offsets, tuple(found), unit)


def _weights(
    positions: Positions, offsets: tuple[int, ...], start: int, stop: int, order: int
) -> list[Any]:
    xp, unit = positions.xp, positions.unit_size
    gaps = [positions.gaps(k, 0, start, stop) if k else 0 for k in offsets]
    if order == 1:

        def gap(i: int, j: int) -> Any:
            return positions.gaps(offsets[i], offsets[j], start, stop)

        weights = first_derivative(gaps, gap)
        if unit != 1:
            weights = [w * unit for w in weights]
    else:
        gaps = [positions.gaps(k, 0, start, stop) for k in offsets]
        widest = reduce(xp.maximum, [xp.abs(each) for each in gaps])
        size = 2.0 ** xp.floor(xp.log2(widest))  # a power of two, so that scaling rounds nothing

        def scaled(i: int, j: int) -> Any:
            return positions.gaps(offsets[i], offsets[j], start, stop) / size

        found = fornberg([each / size for each in gaps], order, scaled)
        # Extreme coordinates have weights beyond the range of floats, and a divisor to bring them back.
        weights = [w / (size / unit) ** order for w in found]
    if order % 2 and all(-k in offsets for k in offsets):
        # Where neighbours stand symmetrically, the sample itself has no part in an odd derivative.
        at = dict(zip(offsets, gaps, strict=True))
        symmetric = reduce(xp.logical_and, [at[-k] == -at[k] for k in offsets if k > 0])
        centre = offsets.index(0)
        weights[centre] = xp.where(symmetric, xp.zeros_like(weights[centre]), weights[centre])
    return weights


def _check_weights(row: Row, dim: int, start: int) -> None:
    for weights in row.weights:
        if not np.all(np.abs(weights) <= np.finfo(np.float64).max):
            sample = start + int(np.argmin(np.abs(weights) <= np.finfo(np.float64).max))
            raise GridError(
                f"coordinates for dim {dim} are too close together around entry {sample}, for the "
                "spread of the others: the weights of a derivative there exceed the largest float."
            )


def _fits_single(stencil: Stencil) -> bool:
    numbers = [
        np.abs(number)
        for row in (*stencil.lower, stencil.interior, *stencil.upper)
        for number in (*row.weights, row.divisor)
    ]
    return all(np.all((size == 0) | ((size > _TINY) & (size < _HUGE))) for size in numbers)
