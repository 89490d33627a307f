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


def polynomial(degree: int, seed: int):
    return np.polynomial.Polynomial(np.random.default_rng(seed).uniform(-1, 1, degree + 1))
