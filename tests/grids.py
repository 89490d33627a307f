"""Grids and samples that the tests of operators share."""

import numpy as np

BOUNDARIES = [
    "one-sided",
    "periodic",
    "reflect",
    "replicate",
    0.0,
    ("reflect", "one-sided"),
    (2.5, "replicate"),
]


def jittered(n: int, seed: int = 0) -> np.ndarray:
    return (np.arange(n) + np.random.default_rng(seed).uniform(-0.3, 0.3, n)) / n


def field(shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def spoilt(shape, dtype, part, seed=0):
    """A field of which a part is not finite, or so large that sums are not."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(dtype)
    bad = rng.random(shape) < part
    x[bad] = rng.choice([np.nan, np.inf, np.finfo(dtype).max], bad.sum())
    return x


def polynomial(degree: int, seed: int):
    return np.polynomial.Polynomial(np.random.default_rng(seed).uniform(-1, 1, degree + 1))
