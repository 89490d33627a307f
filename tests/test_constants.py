"""A constant has derivative exactly 0: in every dtype, at every spacing, edges included."""

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import gridgrad

from .calling import JAX, NUMPY, STRICT, TORCH, Library, dtype_name, gradient, numpy

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float32", "float64", "complex64", "complex128"]
DTYPES = [
    *((NUMPY, dtype) for dtype in [*INTEGERS, "float16", *FLOATS, "longdouble", "clongdouble"]),
    *((TORCH, dtype) for dtype in [*INTEGERS, "float16", "bfloat16", *FLOATS]),
    *((JAX, dtype) for dtype in ["int8", "uint32", "float16", "bfloat16", "float32", "complex64"]),
    *((STRICT, dtype) for dtype in [*INTEGERS, *FLOATS]),
]
UNEVEN = [-1.7, -0.1, 0.3, 1.0, 7.9]
SPACINGS = {
    "none": 1,
    "step": 0.1,
    "negative-step": -1 / 3,
    "tiny-step": 1e-300,
    "huge-step": 1e300,
    "complex-step": 0.3 + 0.1j,
    "timedelta": np.timedelta64(3, "ms"),
    "list": (UNEVEN,),
    "array": np.array(UNEVEN),
    "decreasing": (UNEVEN[::-1],),
    "integers": ([3, 4, 6, 11, 20],),
    "complex-coordinates": ([0j, 1 + 2j, 3j, 5 + 1j, 7j],),
    "far-away": ([1e9 + x for x in UNEVEN],),
    "many-sizes": ([0.0, 1e-12, 1.0, 1e6, 1e12],),
    "times": (np.array([0, 1, 5, 6, 9], "datetime64[h]"),),
    "subnormal-coordinates": ([0.0, 5e-324, 15e-324, 20e-324, 30e-324],),
    "tiny-coordinates": ([0.0, 1e-310, 3e-310, 4e-310, 7e-310],),
    "huge-coordinates": ([-1.7e308, -1e308, 0.0, 1e308, 1.7e308],),
}


def awkward(dtype: str) -> list:
    """Constants without short binary fractions, at the ends of the range, and plain ones."""
    if "int" in dtype:
        info = np.iinfo(dtype)
        return [int(info.min), int(info.max), 7]
    info = ml_dtypes.finfo(dtype) if dtype == "bfloat16" else np.finfo(dtype)
    return [0.1, 300 + 1 / 3, float(info.max) if "long" not in dtype else 1e300, 0.0]


def constant(library: Library, dtype: str, value) -> object:
    if library is NUMPY:
        return np.full((2, 5), value, dtype)
    if library is TORCH:
        return torch.full((2, 5), value, dtype=getattr(torch, dtype))
    return library.xp.full((2, 5), value, dtype=getattr(library.xp, dtype))


def result_dtype(library: Library, dtype: str, spacing: str) -> str:
    if "int" in dtype:
        dtype = library.floating
    if spacing.startswith("complex") and "complex" not in dtype and "clong" not in dtype:
        wide = {"float64": "complex128", "longdouble": "clongdouble"}
        dtype = wide.get(dtype, "complex64")
    elif spacing == "array" and library is NUMPY:
        return np.result_type(np.dtype(dtype), np.float64).name
    return np.dtype(dtype).name if "long" in dtype else dtype


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("library", "dtype"), DTYPES, ids=lambda p: getattr(p, "name", p))
def test_a_constant_has_derivative_0(library, dtype, spacing):
    for value in awkward(dtype):
        f = constant(library, dtype, value)
        for edge_order in (1, 2):
            (result,) = gradient(f, spacing=SPACINGS[spacing], dim=1, edge_order=edge_order)
            assert dtype_name(result) == result_dtype(library, dtype, spacing)
            assert (numpy(result) == 0).all()


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_at_torch_coordinates(dtype, requires_grad):
    x = torch.tensor(UNEVEN, dtype=dtype, requires_grad=requires_grad)
    for f in (torch.full((5,), 0.1, dtype=dtype), torch.full((5,), 7)):
        for edge_order in (1, 2):
            (result,) = gradient(f, spacing=(x,), edge_order=edge_order)
            assert result.dtype == torch.promote_types(
                dtype, f.dtype if f.is_floating_point() else torch.float32
            )
            assert (result == 0).all()


@given(
    st.lists(st.floats(-1e300, 1e300), min_size=3, max_size=8, unique=True),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1, 2]),
)
def test_on_any_grid(x, value, edge_order):
    x = sorted(x)
    gaps = np.diff(x)
    assume(gaps.max() / 1e300 < gaps.min())  # beyond that spread the weights themselves overflow
    for dtype in (np.float32, np.float64):
        with np.errstate(over="ignore"):
            f = np.full(len(x), value).astype(dtype)
        if np.isfinite(f).all():
            (result,) = gradient(f, spacing=(x,), edge_order=edge_order)
            assert result.dtype == dtype
            assert (result == 0).all()


def test_bool_is_refused():
    for f in (np.ones(3, bool), torch.ones(3, dtype=torch.bool), JAX.asarray([True, True])):
        with pytest.raises(gridgrad.GridTypeError, match="holds bool"):
            gridgrad.gradient(f)
