"""Parity with `numpy.gradient`: NumPy's own test class, its bits on uniform grids, and deviations.

NumPy's tests run straight from the installed package, with `gridgrad.numpy.gradient` swapped in.
"""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib.tests import test_function_base as numpys_tests

import gridgrad
import gridgrad.numpy as gn

from .calling import gradient, snapshot


class TestGradient(numpys_tests.TestGradient):
    """NumPy's own tests, each a test here; the calls that they spell `np.gradient` stay NumPy's."""

    @pytest.fixture(autouse=True)
    def swapped_in(self, monkeypatch):
        self.calls = 0

        def gradient(*args, **kwargs):
            self.calls += 1
            return gn.gradient(*args, **kwargs)

        monkeypatch.setattr(numpys_tests, "gradient", gradient)

    @pytest.fixture(autouse=True)
    def is_used(self, swapped_in, request):
        yield
        spelled_np = {"test_second_order_accurate", "test_return_type"}
        assert self.calls or request.node.name in spelled_np

    # None of these tests deviates. One that must would be overridden here, with the reason.


def test_all_28_of_numpys_cases_are_run():
    cases = 0
    for name in dir(numpys_tests.TestGradient):
        if name.startswith("test_"):
            assert getattr(TestGradient, name) is getattr(numpys_tests.TestGradient, name)
            marks = getattr(getattr(TestGradient, name), "pytestmark", [])
            cases += int(
                np.prod([len(mark.args[1]) for mark in marks if mark.name == "parametrize"])
            )
    assert cases == 28


# The same bits on uniform grids.


def bits(x: np.ndarray) -> list[int]:
    """The bits of x, all NaNs alike."""
    x = np.where(np.isnan(x), np.array(np.nan, x.dtype), x)
    return x.view(f"u{x.dtype.itemsize}").tolist()


def floats(dtype, **options):
    return st.floats(width=np.dtype(dtype).itemsize * 8, **options)


@st.composite
def uniform(draw, dtype):
    """Samples of any kind, and a step whose double NumPy can form in the dtype."""
    tiny, huge = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max) / 4
    shape = draw(st.sampled_from([(2,), (3,), (4,), (7,), (2, 3), (4, 2)]))
    f = draw(hnp.arrays(dtype, shape, elements=floats(dtype)))
    size = draw(floats(dtype, min_value=tiny, max_value=huge))
    step = draw(st.sampled_from([1, -1])) * size
    kind = draw(st.sampled_from([float, np.float64, np.float32, lambda h: np.array(h, dtype)]))
    if kind is np.float32 and not 2.0**-126 <= size <= 2.0**125:
        kind = float
    return f, kind(step)


def numpys(f, *spacing, **options):
    with np.errstate(all="ignore"):
        return np.gradient(f, *spacing, **options)


def assert_same_bits(f: np.ndarray, step) -> bool:
    """Whether NumPy overflowed anywhere: then, and only there, gridgrad's answer may be better."""
    overflowed = False
    for dim in range(f.ndim):
        expected = numpys(f, step, axis=dim)
        (found,) = gradient(f, spacing=step, dim=dim)
        through = gn.gradient(f, step, axis=dim)
        assert found.dtype == through.dtype == expected.dtype == f.dtype
        assert bits(through) == bits(found)
        lost = ~np.isfinite(expected)
        with np.errstate(all="ignore"):
            right = numpys(f.astype(np.longdouble), np.longdouble(step), axis=dim).astype(f.dtype)
        lost &= np.isfinite(right)
        overflowed |= bool(lost.any())
        assert bits(found[~lost]) == bits(expected[~lost])
        assert np.isfinite(found[lost]).all()
    return overflowed


@settings(max_examples=500)
@given(uniform(np.float32))
def test_same_bits_as_numpy_in_float32(case):
    assert_same_bits(*case)


@settings(max_examples=500)
@given(uniform(np.float64))
def test_same_bits_as_numpy_in_float64(case):
    assert_same_bits(*case)


SPECIAL = [0.0, -0.0, 1.0, -1.0, 5e-324, -5e-324, 1e-45, 1e308, -1e308, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("step", [1, 1.0, -1.0, 0.1, np.float64(0.1), np.float32(0.1), -3])
def test_same_bits_as_numpy_for_every_pair_of_special_values(dtype, step):
    """Signed zeros, subnormals, infinities and NaNs, at the edges and in the interior."""
    with np.errstate(over="ignore"):
        special = np.array(SPECIAL).astype(dtype)
    pairs = np.array(np.meshgrid(special, special)).reshape(2, -1)
    assert_same_bits(pairs, step) or True
    for middle in (0.0, 1.0):
        assert_same_bits(np.insert(pairs, 1, middle, axis=0).astype(dtype), step)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_as_numpy_on_even_coordinates(dtype):
    f = np.random.default_rng(0).standard_normal(9).astype(dtype)
    for x in (np.arange(9), np.arange(9) * 0.25 + 1e6, np.arange(9)[::-1], list(range(9))):
        expected = np.gradient(f, x)
        (found,) = gradient(f, spacing=(list(x),))
        assert found.dtype == f.dtype
        assert bits(found) == bits(expected)


@pytest.mark.parametrize("size", [1e-37, 1e-33, 1e-20, 1e20, 1e33, 5e37])
@pytest.mark.parametrize("kind", [float, np.float64, np.float32])
def test_same_bits_as_numpy_at_tiny_and_huge_steps_in_float32(size, kind):
    f = np.random.default_rng(0).standard_normal(9).astype(np.float32)
    assert_same_bits(f, kind(size))


def test_a_float64_step_divides_float32_samples_in_float64_as_in_numpy():
    f = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    as_float64, as_float = np.gradient(f, np.float64(0.1)), np.gradient(f, 0.1)
    assert (as_float64 != as_float).any()
    assert bits(gradient(f, spacing=np.float64(0.1))[0]) == bits(as_float64)
    assert bits(gradient(f, spacing=0.1)[0]) == bits(as_float)


# The signature and what comes back.


def test_one_axis_gives_an_array_and_several_a_tuple():
    f = np.arange(6.0).reshape(2, 3) ** 2
    before = snapshot(f)
    for arguments, options in (
        ((f,), {}),
        ((f, 2.0), {}),
        ((f, 2.0, [0, 1, 4]), {}),
        ((f, [0, 1, 4]), {"axis": 1}),
        ((f, 1.0), {"axis": ()}),
        ((f,), {"axis": (1, 0)}),
        ((f[0],), {"edge_order": 2}),
        ((f.tolist(), 0.5), {}),
        ((f.astype(np.complex64), np.array([0.0, 1.5])), {"axis": 0}),
        ((f.astype(np.float16), np.array([0.0, 1.5])), {"axis": 0}),
        ((f.astype(np.uint8),), {}),
        ((3.0,), {}),
    ):
        expected, found = np.gradient(*arguments, **options), gn.gradient(*arguments, **options)
        assert type(found) is type(expected)
        for value, want in zip(np.atleast_1d(found), np.atleast_1d(expected), strict=True):
            assert value.dtype == want.dtype
            np.testing.assert_allclose(value, want, rtol=1e-15)
    assert snapshot(f) == before


@pytest.mark.parametrize("kind", ["datetime64[D]", "timedelta64[ns]"])
def test_not_a_time_reaches_the_results_that_read_it(kind):
    f = np.array([3, 5, 9, 10, 20], kind)
    f[1] = "NaT"
    expected, found = np.gradient(f), gn.gradient(f)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_a_complex_spacing_keeps_its_imaginary_part():
    """NumPy writes it into a real array, with a warning that a part is lost."""
    f = np.array([1.0, 2.0, 4.0])
    with pytest.warns(np.exceptions.ComplexWarning):
        lost = np.gradient(f, 2j)
    assert not lost.any()
    found = gn.gradient(f, 2j)
    assert found.dtype == np.complex128
    assert found.tolist() == [-0.5j, -0.75j, -1j]


F = np.array([1.0, 2.0, 4.0, 7.0, 5.0])
X = np.array([0.0, 1.0, 3.0, 4.0, 6.0])
DAYS = np.array([0, 1, 3, 4, 6], "datetime64[D]")
# name -> (arguments, options, reason)
DEVIATIONS = {
    "int64-beyond-2-to-the-53": ((np.array([2**60, 2**60 + 1]),), {}, "integers keep their digits"),
    "datetime64-coordinates": ((F, DAYS), {}, "they are positions, in seconds"),
    "duplicate-coordinates": ((F, F * 0), {}, "would divide by zero"),
    "nan-coordinates": ((F, F * np.nan), {}, "would give NaN"),
    "zero-step": ((F, 0.0), {}, "would divide by zero"),
    "nan-step": ((F, np.nan), {}, "would give NaN"),
    "edge-order-0": ((F,), {"edge_order": 0}, "NumPy takes it for 2"),
    "float-edge-order": ((F,), {"edge_order": 1.5}, "an order of accuracy is an integer"),
    "bool-edge-order": ((F,), {"edge_order": True}, "True is not an order of accuracy"),
    "objects": ((np.array([1, 2, 4], object),), {}, "objects are not numbers"),
    "complex-step": ((F, 2j), {}, "NumPy discards the imaginary part"),
    "overflow": ((np.array([-1e308, 0, 1e308]),), {}, "the derivative is a float64"),
    "huge-step": ((np.array([0, 1e308, 1.5e308]), 1e308), {}, "twice the step is no float64"),
    "a-constant": ((F * 0 + 0.1, X), {"edge_order": 2}, "a constant has derivative 0"),
    "nan-where-the-weight-is-zero": (
        (np.array([0, 1, np.nan, 3, 5, 8]), np.array([0.0, 1, 2, 3, 5, 6])),
        {},
        "a NaN reaches the results that read it",
    ),
    "float16-rounds-often": (
        (np.array([0.1, 1.7, 3.3], np.float16), 0.3),
        {"edge_order": 2},
        "half precision is computed in float32 and rounded once",
    ),
    "the-matrix-class": ((np.array([[1.0, 2], [3, 7]]).view(np.matrix),), {}, "arrays come back"),
}


def outcome(call, arguments, options):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return repr(call(*arguments, **options))
        except (ValueError, TypeError, RuntimeError):
            return "refused"


@pytest.mark.parametrize("name", DEVIATIONS)
def test_listed_deviation_still_deviates(name):
    arguments, options, _ = DEVIATIONS[name]
    assert outcome(gn.gradient, arguments, options) != outcome(np.gradient, arguments, options)


def test_a_huge_step_loses_the_interior():
    """Twice the step overflows, though the derivative does not."""
    f, h = np.array([0.0, 1e308, 1.5e308]), 1e308
    assert np.gradient(f, h)[1] == 0
    for found in (gradient(f, spacing=h)[0], gn.gradient(f, h)):
        assert found.dtype == np.float64
        assert found.tolist() == [1.0, 0.75, 0.5]


def test_wrong_calls_raise_what_numpy_raises():
    for arguments, options in (
        ((F, 1, 2), {}),
        ((F, X, X), {}),
        ((F,), {"axis": 1}),
        ((F,), {"axis": (0, 0)}),
        ((F, X[:3]), {}),
        ((F,), {"edge_order": 3}),
        ((F[:1],), {}),
        ((F > 2,), {}),
    ):
        with pytest.raises((TypeError, ValueError)) as numpys_error:
            np.gradient(*arguments, **options)
        with pytest.raises(numpys_error.type) as found:
            gn.gradient(*arguments, **options)
        assert isinstance(
            found.value, gridgrad.GridError | TypeError | np.exceptions.AxisError | ValueError
        )
