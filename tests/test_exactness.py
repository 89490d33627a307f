"""Accuracy against exact arithmetic: at most 4 units in the last place of the largest term.

A term is w_j (f_j - f_i), a weight times a difference of two samples; what the samples or their
positions have in common, however large, costs nothing.
"""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridgrad.formulas import fornberg, uniform_weights

from .calling import TORCH, check, dtype_name, gradient, numpy
from .exact import derivative, fractions, unit, units_off, weights

OFFSETS = [0.0, 1.0, -1e3, 1e6, 1e9]


def grid(rng: np.random.Generator, n: int, offset: float, spread: str) -> np.ndarray:
    """Random uneven coordinates: evenly spread, over many sizes of gap, or nearly even."""
    gaps = {
        "even spread": lambda: rng.random(n) + 0.01,
        "many sizes": lambda: np.exp(rng.uniform(-7, 7, n)),
        "nearly even": lambda: 0.1 + 1e-6 * rng.random(n),
    }[spread]()
    x = np.unique(offset + np.cumsum(gaps))
    return x[::-1].copy() if rng.random() < 0.5 else x


def samples(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Random samples of a random size, some of them far from zero and nearly constant."""
    size, offset = 10.0 ** rng.integers(-9, 9), rng.choice([0.0, 0.0, 1.0, 1e9])
    return rng.standard_normal(len(x)) * size + offset * rng.choice([1, size])


def as_integers(x: np.ndarray) -> tuple[np.ndarray, int]:
    """Floats as exact integers (of Python) in a power of two, whose exponent comes along."""
    mantissa, exponent = np.frexp(x)
    low = int(exponent.min()) - 53
    whole = (mantissa * 2.0**53).astype(np.int64).astype(object)
    return whole << (exponent.astype(object) - 53 - low), low


def interior_units_off(result: np.ndarray, f: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The errors in the interior, exact, in units in the last place of the largest term."""
    (f, f_low), (x, x_low), (r, r_low) = as_integers(f), as_integers(x), as_integers(result[1:-1])
    h, k = x[1:-1] - x[:-2], x[2:] - x[1:-1]
    here, ahead = h * h * (f[2:] - f[1:-1]), k * k * (f[1:-1] - f[:-2])
    below = h * k * (h + k)
    # The result is r 2**r_low, the truth (here + ahead) / below 2**(f_low - x_low).
    shift = r_low - (f_low - x_low)
    scale = 1 << max(0, -shift)
    error = abs(r * below * (1 << max(0, shift)) - (here + ahead) * scale)
    largest = np.maximum(abs(here), abs(ahead)) * scale
    # A unit in the last place of largest / below, found from the lengths of the two integers.
    ratio = (largest / abs(below)).astype(np.float64)
    last = np.spacing(np.nextafter(ratio, 0))
    return (error / abs(below)).astype(np.float64) / last


@pytest.mark.parametrize("spread", ["even spread", "many sizes", "nearly even"])
@pytest.mark.parametrize("kind", ["numpy", "list", "torch", "torch-requires-grad"])
def test_uneven_grids(kind, spread):
    """More than 100,000 samples of each kind over the three spreads, at offsets up to 1e9."""
    rng = np.random.default_rng(0)
    checked = 0
    for k, offset in enumerate(OFFSETS * 4):
        x = grid(rng, 2_000, offset, spread)
        f = samples(rng, x)
        of = torch.from_numpy if kind.startswith("torch") else np.asarray
        coordinates = x.tolist() if kind == "list" else of(x.copy())
        if kind == "torch-requires-grad":
            coordinates.requires_grad_()
        edge_order = 1 + k % 2
        (result,) = gradient(of(f), spacing=(coordinates,), edge_order=edge_order)
        assert dtype_name(result) == "float64"
        values = numpy(result)
        assert interior_units_off(values, f, x).max() <= 4
        for edge in (slice(4), slice(-4, None)):
            (ends,) = gradient(f[edge], spacing=(x[edge],), edge_order=edge_order)
            side = 0 if edge.start is None else -1
            if kind != "torch-requires-grad":
                assert ends[side] == values[side]
            assert units_off(ends, f[edge], x[edge], edge_order) <= 4
        checked += len(x)
    assert checked > 100_000 / 3


@pytest.mark.parametrize("edge_order", [1, 2])
def test_steps(edge_order):
    rng = np.random.default_rng(1)
    for _ in range(30):
        step = float(rng.choice([-1, 1]) * 10.0 ** rng.uniform(-9, 9))
        f = samples(rng, np.zeros(50))
        x = [k * Fraction(step) for k in range(50)]
        (result,) = gradient(f, spacing=step, edge_order=edge_order)
        assert result.dtype == np.float64
        assert units_off(result, f, x, edge_order) <= 4
        (single,) = gradient(f.astype(np.float32), spacing=step, edge_order=edge_order)
        assert single.dtype == np.float32
        assert units_off(single, f.astype(np.float32), x, edge_order) <= 4


@pytest.mark.parametrize("edge_order", [1, 2])
def test_against_mpmath(edge_order):
    """The derivative of the interpolating polynomial in 60 digits, by another formula than ours."""
    rng = np.random.default_rng(2)
    with mpmath.workdps(60):
        for offset in OFFSETS:
            x = grid(rng, 30, offset, "many sizes")
            f = samples(rng, x)
            (result,) = gradient(f, spacing=(x,), edge_order=edge_order)
            for i in range(len(x)):
                used = sorted(weights(fractions(x), i, edge_order))
                if 0 < i < len(x) - 1:
                    used = [i - 1, i, i + 1]
                at, f_at = [mpmath.mpf(x[j]) for j in used], [mpmath.mpf(f[j]) for j in used]
                here = mpmath.mpf(x[i])
                table = mpmath.matrix([[(a - here) ** p for p in range(len(at))] for a in at])
                truth = mpmath.lu_solve(table, mpmath.matrix(f_at))[1]
                largest = derivative(f, x, edge_order)[1][i] if i == 0 else None
                largest = largest or max(
                    abs(w * (Fraction(f[j]) - Fraction(f[i])))
                    for j, w in weights(fractions(x), i, edge_order).items()
                )
                last = unit(largest, 53)
                assert abs(result[i] - truth) <= 4 * mpmath.mpf(last.numerator) / last.denominator


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64", "longdouble"])
def test_every_precision_on_uneven_grids(dtype, edge_order):
    rng = np.random.default_rng(3)
    for offset in (0.0, 1e3):
        x = grid(rng, 300, offset, "even spread").astype(dtype)
        f = samples(rng, x).astype(dtype)
        (result,) = gradient(f, spacing=(x,), edge_order=edge_order)
        assert result.dtype == np.dtype(dtype)
        assert units_off(result, f, x, edge_order) <= 4


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("spacing", ["step", "coordinates"])
@pytest.mark.parametrize(("dtype", "digits"), [("float16", 11), ("bfloat16", 8)])
def test_half_precision_is_computed_in_float32_and_rounded_once(dtype, digits, spacing, edge_order):
    rng = np.random.default_rng(4)
    f = torch.from_numpy(rng.standard_normal(300) * 5).to(getattr(torch, dtype))
    x = np.cumsum(rng.random(300) + 0.1) if spacing == "coordinates" else np.arange(300) * 0.3125
    given = 0.3125 if spacing == "step" else (x.tolist(),)
    (result,) = gradient(f, spacing=given, edge_order=edge_order)
    assert dtype_name(result) == dtype
    truth, largest = derivative(numpy(f), x, edge_order)
    for got, want, size in zip(fractions(numpy(result)), truth, largest, strict=True):
        assert abs(got - want) <= unit(want, digits) / 2 + 4 * unit(size, 24)


@pytest.mark.parametrize("edge_order", [1, 2])
def test_a_polynomial_of_the_stencils_degree_is_exact(library, edge_order):
    x = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    f = library.asarray([3 * v**edge_order - v + 7 for v in x], "float32")
    slope = [3 * edge_order * v ** (edge_order - 1) - 1 for v in x]
    check(gradient(f, spacing=(x,), edge_order=edge_order), [slope], "float32")
    check(gradient(f, edge_order=edge_order), [slope], "float32")


@given(st.lists(st.integers(-1000, 1000), min_size=3, max_size=9, unique=True), st.data())
def test_a_parabola_is_exact_on_any_grid(x, data):
    """To 4 units in the last place: integers on an integer grid, monotonic or not."""
    a, b, c = (data.draw(st.integers(-9, 9)) for _ in range(3))
    x = sorted(x)
    f = np.array([a * v * v + b * v + c for v in x])
    (result,) = gradient(f, spacing=(x,), edge_order=2)
    assert result.dtype == np.float64
    assert [2 * a * v + b for v in x] == derivative(f, x, 2)[0]
    assert units_off(result, f, x, 2) <= 4


def test_a_large_offset_of_float32_samples_costs_nothing():
    rng = np.random.default_rng(5)
    x = np.sort(rng.random(200)).astype(np.float32)
    f = np.float32(300) + x
    for of in (np.asarray, torch.from_numpy):
        for edge_order in (1, 2):
            (result,) = gradient(of(f), spacing=(of(x),), edge_order=edge_order)
            assert dtype_name(result) == "float32"
            assert units_off(numpy(result), f, x, edge_order) <= 4


def test_integer_samples_at_float_coordinates_keep_their_digits():
    rng = np.random.default_rng(6)
    f = rng.integers(2**61, 2**62, 50)
    x = grid(rng, 50, 1e6, "even spread")
    for of in (np.asarray, lambda a: torch.from_numpy(a.copy())):
        (result,) = gradient(of(f), spacing=(of(x),), edge_order=2)
        assert dtype_name(result) == "float64"
        assert units_off(numpy(result), f, x, 2) <= 4


def test_float32_results_of_integers_are_rounded_once():
    rng = np.random.default_rng(7)
    f, x = rng.integers(-(2**30), 2**30, 50), grid(rng, 50, 1e6, "even spread")
    (result,) = gradient(TORCH.asarray(f.tolist(), "int32"), spacing=(x.tolist(),), edge_order=2)
    assert dtype_name(result) == "float32"
    truth, largest = derivative(f, x, 2)
    for got, want, size in zip(fractions(numpy(result)), truth, largest, strict=True):
        assert abs(got - want) <= unit(want, 24) / 2 + 4 * unit(size, 53)


@given(st.lists(st.fractions(), min_size=2, max_size=5, unique=True))
def test_fornbergs_weights_are_exact_rationals(x):
    if len(x) <= 3:
        truth = weights(x, 0, len(x) - 1)
        found = fornberg([v - x[0] for v in x], 1)
        assert {j: w for j, w in enumerate(found) if w} == truth
    for power in range(len(x)):  # exact for each polynomial of the stencil's degree
        found = fornberg(x, 1)
        assert sum(w * v**power for w, v in zip(found, x, strict=True)) == (power == 1)


def test_uniform_weights_are_exact_rationals():
    assert uniform_weights((-1, 0, 1), 1) == (Fraction(-1, 2), 0, Fraction(1, 2))
    assert uniform_weights((0, 1, 2), 1) == (Fraction(-3, 2), 2, Fraction(-1, 2))
    assert uniform_weights((-1, 0, 1), 2) == (1, -2, 1)
