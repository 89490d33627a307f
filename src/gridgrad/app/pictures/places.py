"""Where samples stand along the axes of a picture."""

import numpy as np

from gridgrad.app.pictures.reading import Array


def drawable(where: Array, *, monotonic: bool) -> bool:
    """Whether an axis can show these positions; if not, samples are drawn by their number."""
    if where.dtype.kind not in "iuf" or not np.isfinite(where).all():
        return False
    steps = np.diff(where.astype(np.float64))
    return not monotonic or bool((steps > 0).all() or (steps < 0).all())


def even(where: Array) -> bool:
    """Whether the samples stand at equal steps, as far as a picture can tell."""
    steps = np.diff(where)
    return bool(len(where) < 3 or np.ptp(steps) <= 1e-6 * np.abs(steps).max())


def borders(where: Array) -> Array:
    """The midpoints between samples, and half a step beyond the first and the last."""
    steps = np.diff(where) if len(where) > 1 else np.ones(1)
    return np.concatenate(
        [where[:1] - steps[0] / 2, (where[1:] + where[:-1]) / 2, where[-1:] + steps[-1] / 2]
    )


def extent(where: Array) -> float:
    """The length that the samples cover, half a step at each end included."""
    return float(np.abs(np.diff(borders(where)[[0, -1]]))[0]) or 1.0
