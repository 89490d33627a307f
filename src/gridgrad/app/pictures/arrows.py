"""The arrows over a field: where they stand, and the mean gradient that each shows."""

import numpy as np

from gridgrad.app.pictures.reading import Array

PER_SIDE = 22
"""About how many arrows stand along the longer side."""


def cell(shape: tuple[int, int], ratio: float) -> tuple[int, int]:
    """How many samples the cell of an arrow has along each dim, for a panel of height / width
    `ratio`.

    Cells are about square in the picture.
    """
    tall, wide = PER_SIDE * min(ratio, 1.0), PER_SIDE * min(1 / ratio, 1.0)
    return max(1, round(shape[0] / tall)), max(1, round(shape[1] / wide))


def cell_means(values: Array, sizes: tuple[int, int]) -> Array:
    """The mean of the finite values in every whole cell; NaN where there are none.

    A field's finest detail would turn arrows that stand on single samples any way; a mean shows
    which way the field rises on the whole.
    """
    rows, columns = (n // size for n, size in zip(values.shape, sizes, strict=True))
    whole = values[: rows * sizes[0], : columns * sizes[1]]
    cells = whole.reshape(rows, sizes[0], columns, sizes[1])
    finite = np.isfinite(cells)
    count = finite.sum(axis=(1, 3))
    total = np.where(finite, cells, 0.0).sum(axis=(1, 3))
    result = np.full(count.shape, np.nan)
    np.divide(total, count, out=result, where=count > 0)
    return result


def cell_centres(positions: Array, size: int) -> Array:
    """The mean position of the samples in every whole cell."""
    whole = len(positions) // size * size
    means: Array = positions[:whole].reshape(-1, size).mean(axis=1)
    return means


def usual_length(down: Array, right: Array) -> float:
    """The length that 19 of 20 arrows do not exceed."""
    length = np.hypot(down, right)
    known = length[length > 0]
    return float(np.quantile(known, 0.95)) if known.size else 1.0


def fitted(down: Array, right: Array, usual: float | None = None) -> tuple[Array, Array, float]:
    """Arrows of which the longest are cut and the shortest left out, and the usual length.

    An arrow beyond 1.25 of it would cover others, and one
    below a thirtieth of it would be a dot.
    """
    length = np.hypot(down, right)
    usual = usual_length(down, right) if usual is None else usual
    factor = np.full(length.shape, np.nan)
    np.divide(1.25 * usual, length, out=factor, where=length > 0)
    factor = np.where(length > usual / 30, np.minimum(factor, 1.0), np.nan)
    return down * factor, right * factor, usual
