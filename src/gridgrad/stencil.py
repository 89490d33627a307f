"""Stencils: which neighbours the derivative at a sample reads, and their weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from typing import Any, NamedTuple

import numpy as np

from gridgrad.axis import Axis
from gridgrad.positions import Positions
from gridgrad.weights import fornberg, uniform_weights


class Row(NamedTuple):
    """The derivative at sample i: the sum of weights[k] * f[i + offsets[k]], divided by `divisor`.

    A weight is a number, the same for every sample that the row serves, or a 1-D array with one weight
    for each. The weights of a derivative sum to zero, and engines use that: they weight *differences* of
    samples, never samples, so that a constant has derivative exactly 0.
    """

    offsets: tuple[int, ...]
    weights: tuple[Any, ...]
    divisor: Any = 1.0

    def differences(self) -> tuple[tuple[float, int, int], ...]:
        """The row as a sum of weight * (f[i + plus] - f[i + minus]), where weights are numbers.

        >>> Row((-1, 0, 1), (-1.0, 0.0, 1.0), 2.0).differences()
        ((1.0, 1, -1),)
        >>> Row((0, 1, 2), (-0.75, 1.0, -0.25), 0.5).differences()
        ((1.0, 1, 0), (-0.25, 2, 0))
        """
        weight = {o: w for o, w in zip(self.offsets, self.weights, strict=True) if w != 0}
        if all(weight.get(-offset) == -w for offset, w in weight.items()):
            return tuple((w, o, -o) for o, w in weight.items() if o > 0)
        reference = min(weight, key=abs)
        return tuple((w, o, reference) for o, w in weight.items() if o != reference)


@dataclass(frozen=True)
class Stencil:
    """The rows of one dim's derivative, from the lower edge to the upper."""

    lower: tuple[Row, ...]
    interior: Row
    upper: tuple[Row, ...]

    def rows(self, n: int) -> list[tuple[int, int, Row]]:
        """The rows that serve n samples, as (first sample, one past the last, row)."""
        first, last = len(self.lower), n - len(self.upper)
        return [
            *((i, i + 1, row) for i, row in enumerate(self.lower)),
            *([(first, last, self.interior)] if last > first else []),
            *((last + i, last + i + 1, row) for i, row in enumerate(self.upper)),
        ]

    @cached_property
    def fits_single(self) -> bool:
        """Whether every weight and divisor is well inside the range of single precision."""
        rows = (*self.lower, self.interior, *self.upper)
        sizes = [
            np.abs(number)
            for row in rows
            for number in (*row.weights, row.divisor)
            if isinstance(number, float | complex | np.ndarray | np.generic)
        ]
        return all(np.all((size == 0) | ((size > 1e-30) & (size < 1e30))) for size in sizes)


def build(axis: Axis, order: int, accuracy: int, edge_order: int) -> Stencil:
    """The stencil of the derivative of that order along `axis`."""
    step = axis.spacing.step
    if axis.spacing.positions is not None:
        positions, n = axis.spacing.positions, axis.n
        return _lay_out(
            lambda offsets, start, stop: _row_of_positions(positions, offsets, start, stop, order),
            n, order, accuracy, edge_order,
        )  # fmt: skip
    if isinstance(step, float | complex):
        return _from_step(step, type(step), order, accuracy, edge_order)
    return _from_step.__wrapped__(step, type(step), order, accuracy, edge_order)


def _lay_out(
    row: Callable[[tuple[int, ...], int, int], Row],
    n: int,
    order: int,
    accuracy: int,
    edge_order: int,
) -> Stencil:
    """Centred rows in the interior; at each edge, rows over its first `order + edge_order` samples."""
    reach = (order - 1) // 2 + accuracy // 2
    points = order + edge_order
    window = range(points)
    return Stencil(
        tuple(row(tuple(k - i for k in window), i, i + 1) for i in range(reach)),
        row(tuple(range(-reach, reach + 1)), reach, n - reach),
        tuple(
            row(tuple(i - k for k in reversed(window)), n - 1 - i, n - i)
            for i in reversed(range(reach))
        ),
    )


@lru_cache(maxsize=1024)
def _from_step(step: Any, kind: type, order: int, accuracy: int, edge_order: int) -> Stencil:
    # `kind` is in the signature for the cache: 1.0 and numpy.float64(1) are equal but divide differently.
    def row(offsets: tuple[int, ...], start: int, stop: int) -> Row:
        weights = uniform_weights(offsets, order)
        # The largest weight becomes 1, which leaves fewer products, and numpy.gradient's own bits.
        largest = max(abs(weight) for weight in weights)
        divisor = step**order * float(1 / largest)
        return Row(offsets, tuple(float(weight / largest) for weight in weights), divisor)

    return _lay_out(row, 0, order, accuracy, edge_order)


def _row_of_positions(
    positions: Positions, offsets: tuple[int, ...], start: int, stop: int, order: int
) -> Row:
    """One weight for each sample from `start` up to `stop`, by Fornberg's recursion on scaled offsets."""
    xp = positions.xp
    gaps = [positions.offsets(k, start, max(start, stop)) for k in offsets]
    widest = reduce(xp.maximum, [xp.abs(gap) for gap in gaps])
    size = 2.0 ** xp.floor(xp.log2(widest))  # a power of two, so that scaling rounds nothing
    weights = [w / size**order for w in fornberg([gap / size for gap in gaps], order)]
    if order % 2 and all(-k in offsets for k in offsets):
        # Where neighbours stand symmetrically, the sample itself has no part in an odd derivative.
        at = {k: gap for k, gap in zip(offsets, gaps, strict=True)}
        symmetric = reduce(xp.logical_and, [at[-k] == -at[k] for k in offsets if k > 0])
        centre = offsets.index(0)
        weights[centre] = xp.where(symmetric, xp.zeros_like(weights[centre]), weights[centre])
    return Row(offsets, tuple(weights))
