"""NumPy's masked arrays: a result is masked exactly where its stencil reads a masked sample."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridgrad
import gridgrad.numpy as gn

from .calling import gradient
from .exact import fractions, weights


@st.composite
def cases(draw):
    n = draw(st.integers(3, 8))
    gaps = draw(st.lists(st.sampled_from([1, 1, 2]), min_size=n - 1, max_size=n - 1))
    masked = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    dtype = draw(st.sampled_from(["int8", "uint64", "float16", "float32", "float64", "complex64"]))
    return (
        np.concatenate([[0], np.cumsum(gaps)]).tolist(),
        masked,
        dtype,
        draw(st.sampled_from([1, 2])),
    )


@settings(max_examples=150)
@given(cases())
def test_masked_exactly_where_a_masked_sample_is_read(case):
    x, masked, dtype, edge_order = case
    values = (np.arange(len(x)) ** 2 + 1).astype(dtype)
    f = np.ma.array(values, mask=masked)
    (result,) = gradient(f, spacing=(x,), edge_order=edge_order)
    assert type(result) is np.ma.MaskedArray
    assert result.dtype == (np.float64 if values.dtype.kind in "iu" else values.dtype)
    at = fractions(x)
    read = [any(masked[j] for j in weights(at, i, edge_order)) for i in range(len(x))]
    assert np.ma.getmaskarray(result).tolist() == read
    (plain,) = gradient(values, spacing=(x,), edge_order=edge_order)
    np.testing.assert_array_equal(result.data[~np.array(read)], plain[~np.array(read)])


def test_what_lies_under_the_mask_has_no_say():
    f = np.ma.array([1.0, 2.0, np.nan, 7.0, 5.0, 3.0], mask=[0, 0, 1, 0, 0, 0])
    (result,) = gradient(f)
    assert result.tolist() == [1.0, None, 2.5, None, -2.0, -2.0]
    assert f.mask.tolist() == [False, False, True, False, False, False]


def test_nothing_masked_gives_a_masked_array_of_its_own():
    f = np.ma.array([1.0, 2.0, 4.0])
    (result,) = gradient(f)
    assert type(result) is np.ma.MaskedArray
    assert not np.ma.getmaskarray(result).any()
    result[0] = np.ma.masked
    assert not np.ma.getmaskarray(f).any()


def test_each_dim_by_itself():
    f = np.ma.masked_equal(np.arange(12.0).reshape(3, 4) ** 2, 36.0)
    down, across = gradient(f)
    assert np.argwhere(down.mask).tolist() == [[0, 2], [2, 2]]
    assert np.argwhere(across.mask).tolist() == [[1, 1], [1, 3]]


def test_numpys_signature():
    f = np.ma.array([1.0, 2.0, 4.0, 7.0, 5.0], mask=[0, 1, 0, 0, 0])
    expected, found = np.gradient(f), gn.gradient(f)
    assert type(found) is type(expected)
    assert found.dtype == expected.dtype
    assert found.mask.tolist() == expected.mask.tolist() == [True, False, True, False, False]
    np.testing.assert_array_equal(found.compressed(), expected.compressed())


def test_masked_coordinates_are_refused():
    """A sample at an unknown position is not a sample at the number under the mask."""
    x = np.ma.array([0.0, 1.0, 2.0], mask=[0, 1, 0])
    with pytest.raises(gridgrad.GridError, match=r"dim 0 .*(masked|entry 1)"):
        gradient(np.arange(3.0), spacing=(x,))


def test_a_masked_result_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradient(np.ma.array([np.nan, np.inf, -np.inf, 1e308, -1e308], mask=[1, 1, 1, 0, 0]))
