"""The numbers that describe a result, made region by region."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Samples that are described at a time, in the cache and in little memory.
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Summary:
    """A part of a result in numbers; those but counts hold over the finite values.

    Of complex values, min, max and squares are those of the magnitude. `total` and `squares` are scaled by
    2**-scale and 4**-scale, so that they do not overflow.
    """

    count: int = 0
    finite: int = 0
    min: float = math.inf
    max: float = -math.inf
    total: tuple[float, float] = (0.0, 0.0)
    squares: float = 0.0
    scale: int = -1000


def summarise(values: Any) -> Summary:
    """The numbers of an array."""
    return merge([_of_block(block) for block in _blocks(values)])


def merge(parts: Sequence[Summary]) -> Summary:
    """The numbers of all parts together; their order makes no difference."""
    scale = max((part.scale for part in parts), default=-1000)

    def total(of: Any, power: int) -> float:
        return math.fsum(math.ldexp(of(part), power * (part.scale - scale)) for part in parts)

    return Summary(
        sum(part.count for part in parts),
        sum(part.finite for part in parts),
        min((part.min for part in parts), default=math.inf),
        max((part.max for part in parts), default=-math.inf),
        (total(lambda part: part.total[0], 1), total(lambda part: part.total[1], 1)),
        total(lambda part: part.squares, 2),
        scale,
    )


def _blocks(values: Any) -> Iterator[Any]:
    if values.size <= _BLOCK:
        if values.size:
            yield values.ravel()
        return
    dim = next(dim for dim, n in enumerate(values.shape) if n > 1)
    rows = max(1, _BLOCK * values.shape[dim] // values.size)
    for first in range(0, values.shape[dim], rows):
        yield from _blocks(values[(slice(None),) * dim + (slice(first, first + rows),)])


def _of_block(values: Any) -> Summary:
    count, is_complex = values.size, values.dtype.kind == "c"
    values = values.astype(np.complex128) if is_complex else values
    with np.errstate(all="ignore"):
        sizes = np.abs(values) if is_complex else values
        low, high = float(sizes.min()), float(sizes.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            values = values[np.isfinite(sizes)]
            if not values.size:
                return Summary(count)
            sizes = np.abs(values) if is_complex else values
            low, high = float(sizes.min()), float(sizes.max())
    scale = max(-1000, math.frexp(max(abs(low), abs(high)))[1])
    factor = math.ldexp(1.0, -scale)
    scaled = sizes.astype(np.float64) * factor
    whole = complex((values * factor).sum() if is_complex else scaled.sum())
    squares = float(np.dot(scaled, scaled))
    return Summary(count, values.size, low, high, (whole.real, whole.imag), squares, scale)


def describe(summary: Summary, is_complex: bool) -> dict[str, Any]:
    """min, max, mean, rms and nonfinite, as they are told; None where nothing is finite.

    `mean` is the pair (real, imaginary) of complex values.
    """
    nonfinite = summary.count - summary.finite
    if not summary.finite:
        return {"min": None, "max": None, "mean": None, "rms": None, "nonfinite": nonfinite}
    real, imag = (math.ldexp(part / summary.finite, summary.scale) for part in summary.total)
    return {
        "min": summary.min,
        "max": summary.max,
        "mean": (real, imag) if is_complex else real,
        "rms": math.ldexp(math.sqrt(summary.squares / summary.finite), summary.scale),
        "nonfinite": nonfinite,
    }
