"""A NaN or an infinity reaches exactly the results whose stencil gives it a weight other than zero.

The weights are exact rationals, so that "other than zero" means what it says: also where two steps
differ in their last bit, or where the sample at an edge happens to have no weight.
"""

import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import gridgrad

from .calling import dtype_name, gradient, numpy
from .exact import fractions, weights


def reached(bad: list[int], x: list, edge_order: int) -> list[bool]:
    """Whether each result reads a bad sample."""
    x = fractions(x)
    return [any(j in weights(x, i, edge_order) for j in bad) for i in range(len(x))]


@st.composite
def cases(draw):
    """A grid with many locally equal steps, some of them turning back, and bad samples on it."""
    n = draw(st.integers(3, 9))
    kind = draw(st.sampled_from(["steps", "any", "tenths", "linspace"]))
    if kind == "steps":
        gaps = draw(st.lists(st.sampled_from([1, 1, 2, 3]), min_size=n - 1, max_size=n - 1))
        x = [float(v) for v in np.concatenate([[0], np.cumsum(gaps)])]
    elif kind == "any":
        x = draw(st.lists(st.integers(-6, 6).map(float), min_size=n, max_size=n, unique=True))
    else:
        x = [k * 0.1 for k in range(n)] if kind == "tenths" else np.linspace(0, 1, n).tolist()
    bad = draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=3))
    value = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return x, sorted(bad), value, draw(st.sampled_from([1, 2]))


@settings(max_examples=250)
@given(cases(), st.sampled_from(["float16", "float32", "float64"]))
@example(([0.0, 1.0, -1.0], [0], np.nan, 2), "float64")  # the edge itself has no weight here
def test_reaches_exactly_the_results_that_read_it(case, dtype):
    x, bad, value, edge_order = case
    f = np.arange(len(x), dtype=dtype) ** 2
    f[bad] = value
    expected = reached(bad, x, edge_order)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gridgrad.NonMonotonicWarning)
        for given in (f, torch.from_numpy(f)):
            for coordinates in (x, [Fraction(v) - Fraction(x[0]) for v in x]):
                at = [float(v) for v in coordinates]
                (result,) = gradient(given, spacing=(at,), edge_order=edge_order)
                assert dtype_name(result) == dtype
                assert (~np.isfinite(numpy(result))).tolist() == reached(bad, at, edge_order)
    if np.isnan(value):
        assert np.isnan(numpy(result)).tolist() == reached(bad, at, edge_order)
    assert len(expected) == len(f)


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("spacing", [1, 0.1, -3.0, 1e-3])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
# array_api_strict passes on the warnings of its own arithmetic, inf - inf here.
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_on_a_uniform_grid_not_the_sample_itself(library, value, spacing, edge_order):
    for k in range(7):
        f = [1.0, 2.0, 4.0, 7.0, 5.0, 3.0, 9.0]
        f[k] = value
        (result,) = gradient(library.asarray(f), spacing=spacing, edge_order=edge_order)
        assert dtype_name(result) == library.floating
        assert (~np.isfinite(numpy(result))).tolist() == reached([k], range(7), edge_order)


def test_the_other_results_are_those_without_it(library):
    f = [1.0, 2.0, 4.0, 7.0, 5.0, 3.0, 9.0]
    x = [0.0, 1.0, 2.0, 4.0, 5.0, 6.0, 9.0]
    (clean,) = gradient(library.asarray(f), spacing=(x,))
    for k in range(7):
        bad = [*f[:k], np.nan, *f[k + 1 :]]
        (result,) = gradient(library.asarray(bad), spacing=(x,))
        read = reached([k], x, 1)
        for i in range(7):
            assert np.isnan(numpy(result)[i]) if read[i] else numpy(result)[i] == numpy(clean)[i]


def test_an_infinity_keeps_its_sign_at_its_neighbours():
    """And at the infinite sample itself there is no slope; NumPy gives it an infinite one."""
    f, x = np.array([0.0, 1.0, np.inf, 3.0, 5.0, 8.0, 9.0]), np.array([0.0, 1, 3, 4, 6, 7, 10])
    (result,) = gradient(f, spacing=(x,))
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result[1:4], [np.inf, np.nan, -np.inf])
    assert np.isfinite(result[[0, 4, 5, 6]]).all()


def test_dims_do_not_leak_into_each_other(library):
    f = np.arange(12.0).reshape(3, 4)
    f[1, 2] = np.nan
    down, across = gradient(library.asarray(f.tolist()))
    assert np.argwhere(np.isnan(numpy(down))).tolist() == [[0, 2], [2, 2]]
    assert np.argwhere(np.isnan(numpy(across))).tolist() == [[1, 1], [1, 3]]


def test_coordinates_that_require_a_gradient_reach_alike():
    f, x = torch.tensor([0.0, 1, torch.nan, 3, 5, 8]), [0.0, 1, 2, 3, 5, 6]
    (result,) = gradient(f, spacing=(torch.tensor(x, requires_grad=True),))
    assert result.dtype == torch.float32
    assert result.isnan().tolist() == reached([2], x, 1)
