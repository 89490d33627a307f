"""The numbers of a result: those of NumPy, whatever the regions, without overflow."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gridgrad.app.summary import describe, merge, summarise

ARRAYS = st.sampled_from(("f2", "f4", "f8", "c8", "c16")).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_dims=3, max_side=9))
)


def expected(values):
    wide = values.astype(np.clongdouble if values.dtype.kind == "c" else np.longdouble)
    some = wide[np.isfinite(wide)]
    sizes = np.abs(some) if values.dtype.kind == "c" else some
    if not some.size:
        return {"min": None, "max": None, "mean": None, "rms": None}
    mean = complex(some.mean())
    return {
        "min": float(sizes.min()),
        "max": float(sizes.max()),
        "mean": (mean.real, mean.imag) if values.dtype.kind == "c" else mean.real,
        "rms": float(np.sqrt((np.abs(some) ** 2).mean())),
    }


@pytest.mark.filterwarnings("ignore:overflow encountered")
@given(ARRAYS, st.data())
def test_numbers_are_those_of_numpy_whatever_the_parts(values, data):
    cut = data.draw(st.integers(0, len(values)))
    parts = [summarise(values[:cut]), summarise(values[cut:])]
    found = describe(merge(parts), values.dtype.kind == "c")
    assert found == describe(merge(parts[::-1]), values.dtype.kind == "c")
    assert found.pop("nonfinite") == (~np.isfinite(values)).sum()
    top = max((abs(found[key]) for key in ("min", "max") if found[key] is not None), default=0)
    for key, value in expected(values).items():
        if value is None:
            assert found[key] is None
        elif key == "max" and math.isinf(value):  # the magnitude of the largest numbers
            continue
        else:
            np.testing.assert_allclose(found[key], value, rtol=1e-12, atol=1e-12 * top)


def test_blocks_of_a_large_array_and_of_a_part_of_one():
    values = np.random.default_rng(0).standard_normal((70, 60, 50)).astype("f4")
    values[3, 4, 5] = np.nan
    for part in (values, values[1:-1, 2:50, ::3], values.T):
        found = describe(summarise(part), False)
        assert found["nonfinite"] == np.isnan(part).sum()
        for key in ("min", "max", "mean", "rms"):
            np.testing.assert_allclose(found[key], expected(part)[key], rtol=1e-9, atol=1e-12)


def test_nothing_at_all():
    assert describe(merge([]), False)["nonfinite"] == 0
    assert describe(summarise(np.full(3, np.nan)), False) == {
        "min": None, "max": None, "mean": None, "rms": None, "nonfinite": 3,
    }  # fmt: skip
