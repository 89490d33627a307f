"""Thousands of generated calls that agree with PyTorch and with NumPy, wherever those are right.

They are right in double precision, away from their listed deviations. A case is a call as a user
would write it; its truth is PyTorch's or NumPy's answer, one dim at a time, for the same numbers
in double precision; the two may differ by a few units in the last place of the largest term.
"""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from .calling import dtype_name, gradient, numpy

CASES = 1_100  # with each library; of them all 2,000 must be valid

FLOATS = ["float16", "float32", "float64"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
COMPLEX = ["complex64", "complex128"]


@dataclass
class Case:
    """A call, and what its truth is computed from."""

    input: Any
    options: dict[str, Any]
    dims: tuple[int, ...]
    edge_order: int
    # For each dim a step, or coordinates in double precision from the first on.
    spacings: list[Any] = field(default_factory=list)


@st.composite
def cases(draw, own: Callable[[np.ndarray], Any], dtypes: list[str]):
    edge_order = draw(st.sampled_from([1, 2]))
    ndim = draw(st.integers(1, 4))
    dims = tuple(draw(st.permutations(range(ndim)))[: draw(st.integers(1, ndim))])
    shape = tuple(
        draw(st.integers(edge_order + 1, 7)) if d in dims else draw(st.integers(0, 3))
        for d in range(ndim)
    )
    f = laid_out(draw, samples(draw, shape, draw(st.sampled_from(dtypes))))
    case = Case(own(f), {"edge_order": edge_order}, dims, edge_order)
    if dims != tuple(range(ndim)) or draw(st.booleans()):
        given = tuple(d - ndim if draw(st.booleans()) else d for d in dims)
        name = draw(st.sampled_from(["dim", "axis"]))
        case.options[name] = given[0] if len(given) == 1 and draw(st.booleans()) else given
    form = draw(st.sampled_from(["none", "number", "entries", "entries", "entries"]))
    if form == "none":
        case.spacings = [1.0] * len(dims)
        return case
    if form == "number":
        entry, truth = draw(steps(own))
        case.options["spacing"], case.spacings = entry, [truth] * len(dims)
        return case
    entries = []
    for d in dims:
        entry, truth = draw(st.one_of(steps(own), coordinates(own, shape[d])))
        entries.append(entry)
        case.spacings.append(truth)
    case.options["spacing"] = draw(st.sampled_from([list, tuple]))(entries)
    return case


def samples(draw, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype in INTEGERS:
        info = np.iinfo(dtype)
        # Beyond 2**50 neither library is right.
        low, high = max(int(info.min), -(2**50)), min(int(info.max), 2**50)
        return rng.integers(low, high, shape, np.int64, endpoint=True).astype(dtype)
    f = rng.standard_normal(shape)
    if dtype in COMPLEX:
        f = f + 1j * rng.standard_normal(shape)
    return f.astype(dtype)


def laid_out(draw, f: np.ndarray) -> np.ndarray:
    """The same values, in one of the ways that arrays lie in memory."""
    layout = draw(st.sampled_from(["C", "F", "sliced", "reversed", "broadcast", "permuted"]))
    if layout == "F":
        return np.asfortranarray(f)
    if layout == "sliced":
        room = np.zeros([2 * n + 1 for n in f.shape], f.dtype)
        view = room[tuple(slice(1, 2 * n + 1, 2) for n in f.shape)]
        view[...] = f
        return view
    if layout == "reversed":
        return np.flip(np.flip(f).copy())
    if layout == "broadcast" and f.shape[0]:
        return np.broadcast_to(f[:1], f.shape)
    if layout == "permuted":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(f, 0, -1)), -1, 0)
    return f


@st.composite
def steps(draw, own):
    size = draw(st.floats(0.01, 100)) * draw(st.sampled_from([1, -1]))
    forms = {
        "float": lambda: (size, size),
        "int": lambda: (round(size) or 1, float(round(size) or 1)),
        "complex": lambda: (complex(size, 1), complex(size, 1)),
        "numpy": lambda: (np.float32(size), float(np.float32(size))),
        "0-d": lambda: (own(np.array(size)), size),
        "0-d-float32": lambda: (own(np.array(size, np.float32)), float(np.float32(size))),
        "0-d-int": lambda: (own(np.array(3)), 3.0),
        "timedelta": lambda: (np.timedelta64(1500, "ms"), 1.5),
        "Python's timedelta": lambda: (datetime.timedelta(milliseconds=1500), 1.5),
    }
    return forms[draw(st.sampled_from(sorted(forms)))]()


@st.composite
def coordinates(draw, own, n: int):
    """Uneven or even, increasing or decreasing, with an offset, in many types."""
    gaps = draw(st.lists(st.integers(1, 9), min_size=n - 1, max_size=n - 1))
    if draw(st.booleans()):
        gaps = [gaps[0]] * (n - 1)
    whole = np.concatenate([[0], np.cumsum(gaps)]) if n else np.zeros(0, int)
    if draw(st.booleans()):
        whole = whole[::-1].copy()
    offset = draw(st.sampled_from([0, 7, 20]))
    truth = (whole - whole[0]).astype(np.float64)
    form = draw(
        st.sampled_from(["list", "ints", "own", "own", "own-int", "datetime", "numpy", "complex"])
    )
    if form == "list":
        return (whole / 8 + offset).tolist(), truth / 8
    if form == "ints":
        return (whole + offset).tolist(), truth
    if form == "own":
        dtype = draw(st.sampled_from(FLOATS))
        return own((whole / 4 + offset).astype(dtype)), truth / 4
    if form == "own-int":
        return own((whole + offset).astype(draw(st.sampled_from(INTEGERS)))), truth
    if form == "datetime":
        start = np.datetime64("2024-02-28T23:00", draw(st.sampled_from(["s", "ms", "ns"])))
        return start + whole * np.timedelta64(500, "ms"), truth / 2
    if form == "numpy":
        return (whole + offset * 1e6).astype(np.float64), truth
    return own((whole + offset) * (1 + 2j)), truth * (1 + 2j)


def compare(case: Case, truth: Callable[..., np.ndarray], expect_dtype: Callable[..., str]) -> None:
    results = gradient(case.input, **case.options)
    assert len(results) == len(case.dims)
    f = numpy(case.input)
    wide = f.astype(np.complex128 if np.iscomplexobj(f) else np.float64)
    entries = case.options.get("spacing", 1)
    if not isinstance(entries, list | tuple):
        entries = [entries] * len(case.dims)
    for result, d, spacing, entry in zip(results, case.dims, case.spacings, entries, strict=True):
        assert dtype_name(result) == expect_dtype(case.input, entry)
        expected = truth(wide, spacing, d, case.edge_order)
        x = np.arange(f.shape[d]) * spacing if np.ndim(spacing) == 0 else spacing
        weight = 2.5 / abs(np.diff(x)).min()
        eps = np.finfo(result.dtype if isinstance(result, np.ndarray) else numpy(result).dtype).eps
        size = float(abs(wide).max()) if wide.size else 0.0
        with np.errstate(over="ignore"):
            narrow = expected.astype(numpy(result).dtype)
        off = np.abs(numpy(result) - narrow)
        assert (
            off <= 3 * float(eps) * size * weight + np.finfo(eps.dtype).smallest_subnormal
        ).all()


def torch_truth(wide, spacing, dim, edge_order):
    f = torch.from_numpy(wide.copy())
    if np.ndim(spacing):
        spacing = (torch.from_numpy(np.asarray(spacing).copy()),)
    return torch.gradient(f, spacing=spacing, dim=dim, edge_order=edge_order)[0].numpy()


def torch_dtype(input: torch.Tensor, entry: Any) -> str:
    """What PyTorch itself returns; it promotes with 1-D tensors, and takes no unsigned integers."""
    dtype = input.dtype
    if not (dtype.is_floating_point or dtype.is_complex):
        dtype = torch.float32  # integers with float16 coordinates too: a listed deviation
    n, spacing = 3, 1j if isinstance(entry, complex) else 1.0
    if (
        isinstance(entry, torch.Tensor)
        and entry.ndim
        and (entry.is_floating_point() or entry.is_complex())
    ):
        n, spacing = len(entry), (entry,)
    if dtype == torch.float16 and (
        isinstance(entry, complex) or "complex" in str(getattr(entry, "dtype", ""))
    ):
        dtype = torch.float32  # PyTorch has hardly any arithmetic for complex32
    return str(torch.gradient(torch.ones(n, dtype=dtype), spacing=spacing)[0].dtype)[
        len("torch.") :
    ]


def numpy_truth(wide, spacing, dim, edge_order):
    if np.iscomplexobj(spacing):
        wide = wide.astype(np.complex128)
    return np.gradient(wide, spacing, axis=dim, edge_order=edge_order)


def numpy_dtype(input: np.ndarray, entry: Any) -> str:
    """Arrays of NumPy promote in NumPy's way if they are coordinates in floating point."""
    dtype = input.dtype if input.dtype.kind in "fc" else np.dtype(np.float64)
    if isinstance(entry, np.ndarray) and entry.ndim == 1 and entry.dtype.kind in "fc":
        dtype = np.result_type(dtype, entry.dtype)
    elif isinstance(entry, complex) and dtype.kind != "c":
        dtype = np.result_type(dtype, np.complex64)
    return dtype.name


def own_torch(x: np.ndarray) -> torch.Tensor:
    """A tensor on the same memory, whatever its layout, as far as PyTorch has such layouts."""
    if any(stride < 0 for stride in x.strides) or not x.flags.writeable:
        x = x.copy()
    return (
        torch.from_numpy(x)
        if x.ndim
        else torch.tensor(x.item(), dtype=getattr(torch, x.dtype.name))
    )


def run(own, dtypes, truth, expect_dtype) -> int:
    done = 0

    @settings(max_examples=CASES)
    @given(cases(own, dtypes))
    def agree(case):
        nonlocal done
        compare(case, truth, expect_dtype)
        done += 1

    agree()
    return done


def test_generated_calls_agree_with_torch():
    dtypes = [*FLOATS, *FLOATS, *INTEGERS, *COMPLEX]
    assert run(own_torch, dtypes, torch_truth, torch_dtype) >= 1_000


def test_generated_calls_agree_with_numpy():
    dtypes = [*FLOATS, *FLOATS, *INTEGERS, *COMPLEX]
    assert run(np.asarray, dtypes, numpy_truth, numpy_dtype) >= 1_000


@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8", ">i2", ">u8", ">c8", "<f4", ">c16"])
def test_a_foreign_byte_order_comes_back_native(dtype):
    f = np.array([1, 2, 4, 8]).astype(dtype)
    native = f.astype(f.dtype.newbyteorder("="))
    x = np.array([0, 1, 3, 4]).astype(">f4")
    for spacing in (1, 0.1, (x.tolist(),), x, (np.array([0, 1, 3, 4], ">i4"),)):
        (result,), (expected,) = gradient(f, spacing=spacing), gradient(native, spacing=spacing)
        assert result.dtype == expected.dtype
        assert result.dtype.isnative
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("shape", [(5, 1), (1, 5, 1), (5, 1, 1, 1), (2, 1)])
def test_a_reversed_dim_of_one_sample_lost_results(shape):
    """Its negative stride says nothing, and must not be walked."""
    f = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) ** 2
    reversed_view = np.flip(np.flip(f).copy())
    dim = int(np.argmax(shape))
    (result,) = gradient(reversed_view, dim=dim)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, np.gradient(f, axis=dim))
