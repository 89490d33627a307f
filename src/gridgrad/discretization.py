"""An axis and an order of derivative -> the stencil: its rows' weights, of a step or of coordinates."""

import math
from collections.abc import Callable
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
from gridgrad.stencil import Later, Row, Stencil, linear_sides

# The range of single precision, without its subnormal numbers.
_TINY, _HUGE = 1.2e-38, 3.4e38
# Samples whose weights are made at a time.
_BLOCK = 1 << 14
# Samples above which an engine may make the weights anew at each call.
_LONG = 1 << 14


def build(axis: Axis, order: int, accuracy: int, edge_order: int, side: str = "center") -> Stencil:
    """The stencil of the derivative of that order along `axis`."""
    if not is_compiling():
        return _build(axis, order, accuracy, edge_order, side)
    # A number beyond an edge may be a symbol to the compiler: what it remembers must be free of it.
    bare = axis._replace(sides=linear_sides(axis.sides))
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
    elif axis.spacing.positions is not None and axis.sides != (ONE_SIDED, ONE_SIDED):
        needed = max(needed, below + 1, above + 1)  # positions beyond an edge are mirrored at it
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
        is_of_three = shift == 0 and (how.order, how.offsets) == (1, (-1, 0, 1))
        line = positions.line if is_of_three and axis.n > _LONG else None
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


def owning(stencil: Stencil) -> Stencil:
    """The stencil with a copy of its line, if it has one: whoever gave the coordinates may change them.

    A transpose is left as it is: it is made of a stencil that was asked before.
    """
    if stencil.line is None or stencil.interior.plain:
        return stencil
    line, offsets = stencil.line.copy(), stencil.interior.offsets
    weights = Later(partial(row_of_line, line), len(offsets))
    return stencil._replace(interior=Row(offsets, weights), line=line)


def row_of_line(line: Any) -> Row:
    """The row of three neighbours on a part of a long line, for all samples but its first and last."""
    positions = Positions((line,), np, wide=np.dtype(np.longdouble))
    row = row_of_positions(positions, (-1, 0, 1), 1, len(line) - 1, 1)
    # As those of the whole line are.
    return row._replace(weights=tuple(each.astype(np.float64) for each in row.weights))
