"""Stencils: which neighbours the derivative at a sample reads, and their weights."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gridgrad.boundary import Sides

# Weights of each sample's own up to which they are kept.
_MANY = 4096


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

    def times(self, factor: Any) -> "Row":
        """The row of so many times the derivative: a number, or a 0-d array that is traced."""
        weights, divisor = self.weights, self.divisor
        if not isinstance(factor, (float, int)):
            # What it turns out to weight with 0 is not to be read, so it is a part of the weights.
            weights, divisor = tuple(w / divisor * factor for w in weights), 1.0
        elif isinstance(weights[0], (float, int)):
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


def linear_sides(sides: Sides) -> Sides:
    """The sides with 0 for numbers."""
    lower, upper = (0.0 if isinstance(side, float) else side for side in sides)
    return lower, upper


class Stencil(NamedTuple):
    """The rows of one dim's derivative, from the lower edge to the upper."""

    lower: tuple[Row, ...]
    interior: Row
    upper: tuple[Row, ...]
    fits_single: bool = True  # whether weights and divisors are in the range of single precision
    # The coordinates, from that of sample `line_from` on, if an engine may make the weights of an interior
    # sample from its two neighbours'. Where the interior's row is plain, they are those of what it is the
    # transpose of: a sample's weights are what its neighbours weight it with. It may be the caller's memory.
    line: Any = None
    line_from: int = 0
    # What this is the transpose of, whose transpose is not worked out again, to other roundings.
    back: Any = None

    @property
    def is_long(self) -> bool:
        """Whether its weights are too many to be kept, as they may be those of one call only."""
        if self.line is not None:
            return True
        weight = self.interior.weights[0]
        return isinstance(weight, np.ndarray) and weight.size > _MANY

    def linear(self) -> "Stencil":
        """The stencil with 0 for numbers beyond the edges."""
        found = [row.sides for row in (*self.lower, *self.upper) if row.sides is not None]
        if not found or not any(isinstance(side, float) for side in found[0]):
            return self
        return self.between(linear_sides(found[0]))

    def between(self, sides: Sides) -> "Stencil":
        """The stencil with these numbers beyond the edges in place of others."""

        def row(each: Row) -> Row:
            if each.sides is None:
                return each
            return Row(each.offsets, each.weights, each.divisor, sides, each.plain)

        # Written out: PyTorch's compiler, which reads this, can't `_replace` in what it remembers.
        lower, upper = tuple(map(row, self.lower)), tuple(map(row, self.upper))
        return Stencil(lower, self.interior, upper, self.fits_single, self.line, self.line_from)

    def rows(self, n: int) -> list[tuple[int, int, Row]]:
        """The rows that serve n samples, as (first sample, one past the last, row)."""
        first, last = len(self.lower), n - len(self.upper)
        return [
            *((i, i + 1, row) for i, row in enumerate(self.lower)),
            *([(first, last, self.interior)] if last > first else []),
            *((last + i, last + i + 1, row) for i, row in enumerate(self.upper)),
        ]


def scaled(stencil: Stencil, factor: Any) -> Stencil:
    """The stencil of so many times the derivative."""
    if isinstance(factor, (float, int)) and factor == 1:
        return stencil
    rows = [tuple(row.times(factor) for row in each) for each in (stencil.lower, stencil.upper)]
    return Stencil(rows[0], stencil.interior.times(factor), rows[1], stencil.fits_single)
