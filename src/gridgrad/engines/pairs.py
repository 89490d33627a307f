"""Stencils whose rows read two samples, or a third at some edges: one expression makes all samples of a dim.

A row at an edge often reads what the interior's would, with an index that leads beyond moved to the last
sample on that side, or around to the other. A compiler that fuses makes no memory of such an expression, as
it does of pieces laid end to end.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from gridgrad.boundary import Fixed, place
from gridgrad.stencil import Row, Stencil


@dataclass(frozen=True)
class Neighbours:
    """The samples that a derivative is made of, at all samples of a dim: f[i + offsets[k]]."""

    offsets: tuple[int, ...]
    wraps: bool
    """Whether indices beyond an edge lead around to the other, and not to the last sample before it."""
    thirds: tuple["Third", ...]
    """Samples that are read besides, at edges, where the derivative is what `Third.added` makes of it."""

    def place(self, index: int, n: int) -> int:
        """The sample that an index leads to."""
        return _moved(index, n, self.wraps)

    @property
    def reach(self) -> int:
        return max(map(abs, self.offsets))

    def beyond(self, offset: int, n: int) -> range:
        """The samples from which an offset leads beyond an edge."""
        return range(n - offset, n) if offset > 0 else range(-offset)

    def stays(self, n: int) -> bool:
        """Whether the samples from which one leads beyond an edge are read themselves, then."""
        return all(self.place(i + o, n) == i for o in self.offsets for i in self.beyond(o, n))

    def edges(self, n: int) -> tuple[int, int]:
        """How many samples at either edge are not made as all between them are."""
        places = [*self._varied(), *(third.place for third in self.thirds)]
        before = [i + 1 for i in places if 2 * i < n] + [-offset for offset in self.offsets]
        after = [n - i for i in places if 2 * i >= n] + [*self.offsets]
        return max(before), max(after)

    def _varied(self) -> list[int]:
        """Where numbers are others than between the edges."""
        return []


@dataclass(frozen=True)
class Pairs(Neighbours):
    """The derivative at sample i: (weights[0] f[i + offsets[0]] + weights[1] f[i + offsets[1]]) scale.

    The weights are 1 at most, so that nothing overflows but what must.
    """

    weights: tuple["Varied", "Varied"]
    scale: float
    divisor: "Varied | None"
    """Where it is a difference: that of (f[i + offsets[0]] / 2 - f[i + offsets[1]] / 2)."""

    def _varied(self) -> list[int]:
        numbers = (*self.weights, *([] if self.divisor is None else [self.divisor]))
        return [i for each in numbers for i, value in each.others if value != each.inner]

    def value(self, samples: Sequence[Any], along: Callable[["Varied"], Any]) -> Any:
        """The derivative, of both samples and what `along` makes of the numbers: one of each, or arrays."""
        first, second = samples
        if self.divisor is None:
            total = first * along(self.weights[0]) + second * along(self.weights[1])
            return total if self.scale == 1 else total * self.scale
        if not all(map(is_power_of_two, self.divisor.values)):
            return (first * 0.5 - second * 0.5) / along(self.divisor)
        inverses = [1 / value for value in self.divisor.values]
        if max(map(abs, inverses)) > 2:
            return (first * 0.5 - second * 0.5) * along(self.divisor.as_new(inverses))
        half = along(self.divisor.as_new([0.5 * inverse for inverse in inverses]))
        return first * half - second * half


class Third(NamedTuple):
    """A sample more that is read at a place, its weight, and which it counts less than, if any."""

    place: int
    read: int
    weight: Any
    minus: int | None

    def added(self, total: Any, sample: Callable[[int], Any]) -> Any:
        """The derivative: of a quarter of it, which cannot overflow, without the third sample."""
        change = sample(self.read) * 0.5
        if self.minus is not None:
            change = change - sample(self.minus) * 0.5
        return (total + change * (2 * self.weight)) * 4


def _moved(index: int, n: int, wraps: bool) -> int:
    return index % n if wraps else min(max(index, 0), n - 1)


class Varied(NamedTuple):
    """A number for each sample: the interior's, and those at the edges."""

    inner: float
    others: tuple[tuple[int, float], ...]

    @property
    def values(self) -> list[float]:
        return [self.inner, *(value for _, value in self.others)]

    def at(self, i: int) -> float:
        return dict(self.others).get(i, self.inner)

    def as_new(self, values: Sequence[float]) -> "Varied":
        """Other values in the places of these."""
        edges = (i for i, _ in self.others)
        return Varied(values[0], tuple(zip(edges, values[1:], strict=True)))


def pairs(stencil: Stencil, n: int) -> Pairs | None:
    """The two samples that each of n rows reads, or None where some row reads others.

    >>> central = Row((-1, 0, 1), (-1.0, 0.0, 1.0), 2.0)
    >>> ends = Row((0, 1), (-1.0, 1.0)), Row((-1, 0), (-1.0, 1.0))
    >>> found = pairs(Stencil(ends[:1], central, ends[1:]), 9)
    >>> found.offsets, found.wraps, found.divisor
    ((1, -1), False, Varied(inner=1.0, others=((0, 0.5), (8, 0.5))))
    """
    lower, inner, upper = stencil.lower, stencil.interior, stencil.upper
    edges = [*enumerate(lower), *enumerate(upper, n - len(upper))]
    if len(lower) >= n > 0:  # every row is told apart, as those of a transpose of few are
        inner = lower[n // 2]
    if not all(map(_is_of_numbers, (inner, *(row for _, row in edges)))):
        return None
    offsets = [o for o, w in zip(inner.offsets, inner.weights, strict=True) if w != 0]
    if len(offsets) != 2:
        return None
    second, first = sorted(offsets)
    for wraps in (False, True):
        way = partial(_moved, n=n, wraps=wraps)
        rows = [_weights(0, inner, lambda index: index, (first, second), None)]
        rows += [_weights(i, row, way, (i + first, i + second), n) for i, row in edges]
        found = [row for row in rows if row is not None]
        if len(found) == len(rows):
            return _pairs((first, second), wraps, [i for i, _ in edges], found)
    return None


def _is_of_numbers(row: Row) -> bool:
    return all(isinstance(number, float) for number in (*row.weights, row.divisor))


class _Read(NamedTuple):
    """What a row reads of the two samples: their weights, and its divisor; and what else."""

    first: float
    second: float
    divisor: float
    third: Third | None = None


def _weights(
    i: int, row: Row, way: Callable[[int], int], read: tuple[int, int], n: int | None
) -> _Read | None:
    """What the row at sample i reads at these indices, moved, each once; None if more than one is left."""
    found: dict[Any, float] = {}
    for offset, weight in zip(row.offsets, row.weights, strict=True):
        index: Any = i + offset
        if row.sides is not None and n is not None:
            index = place(index, n, row.sides)
        if weight != 0:
            if index in found:
                return None
            found[index] = weight
    first, second = map(way, read)
    others = found.keys() - {first, second}
    if first == second or not {first, second} <= found.keys() or len(others) > 1:
        return None
    if not others:
        return _Read(found[first], found[second], row.divisor)
    (other,) = others
    if isinstance(other, Fixed):
        return None
    if not row.plain:
        if i not in (first, second):
            return None
        found[i] += found[other]
    divisor = 4 * row.divisor
    third = Third(i, other, found[other] / divisor, None if row.plain else i)
    return _Read(found[first], found[second], divisor, third)


def _pairs(
    offsets: tuple[int, int], wraps: bool, edges: Sequence[int], rows: Sequence[_Read]
) -> Pairs | None:
    def varied(of: Callable[[_Read], float]) -> Varied:
        inner, *others = map(of, rows)
        return Varied(inner, tuple(zip(edges, others, strict=True)))

    sizes = [abs(w / row.divisor) for row in rows for w in (row.first, row.second)]
    thirds = tuple(row.third for row in rows if row.third is not None)
    sizes += [abs(third.weight) for third in thirds]
    if not 1e-30 < min(sizes) <= max(sizes) < 1e30:
        return None
    scale = 2.0 ** math.frexp(max(sizes))[1] if max(sizes) > 1 else 1.0
    divisor = None
    if all(row.first == -row.second and is_power_of_two(row.first) for row in rows):
        divisor = varied(lambda row: row.divisor / (2 * row.first))
    return Pairs(
        offsets,
        wraps,
        thirds,
        (
            varied(lambda row: row.first / row.divisor / scale),
            varied(lambda row: row.second / row.divisor / scale),
        ),
        scale,
        divisor,
    )


def is_power_of_two(number: float) -> bool:
    return abs(math.frexp(number)[0]) == 0.5
