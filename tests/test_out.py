"""`out`: results written into arrays of the caller's, on NumPy and PyTorch."""

import numpy as np
import pytest
import torch

import gridgrad
from gridgrad import GridError, GridTypeError

from .calling import JAX, STRICT, TORCH, Library, dtype_name, gradient, numpy, snapshot


def a_field(library: Library, dtype: str = "float64"):
    return library.asarray([[float((3 * i * j) % 7) for j in range(5)] for i in range(4)], dtype)


def filled(library: Library, shape, dtype="float64", value=7.0):
    if library is TORCH:
        return torch.full(shape, value, dtype=getattr(torch, dtype))
    return np.full(shape, value, dtype)


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "int16"])
def test_values_and_identity(writable, dtype, kind):
    f = a_field(writable, dtype)
    for options in (
        {},
        {"spacing": (0.5, [0.0, 1.0, 3.0, 4.0, 6.0])},
        {"dim": (1, 0)},
        {"dim": 1},
        {"edge_order": 2},
        {"dim": ()},
    ):
        expected = gradient(f, **options)
        out = kind(filled(writable, (4, 5), dtype_name(value)) for value in expected)
        results = gradient(f, **options, out=out)
        assert isinstance(results, tuple)
        assert len(results) == len(out) == len(expected)
        for result, given, value in zip(results, out, expected, strict=True):
            assert result is given
            assert dtype_name(result) == dtype_name(value)
            np.testing.assert_array_equal(numpy(result), numpy(value))


def test_results_of_several_dtypes():
    f = torch.ones(3, 3)
    spacing = (torch.tensor([0.0, 1, 3], dtype=torch.float64), 2.0)
    out = (torch.empty(3, 3, dtype=torch.float64), torch.empty(3, 3))
    results = gradient(f, spacing=spacing, out=out)
    assert [result.dtype for result in results] == [torch.float64, torch.float32]


def strided(library: Library, layout: str):
    """Two outs of 4 by 5 in other memory than they fill, and that memory."""
    shape = {"transposed": (2, 5, 4), "sliced": (2, 9, 11), "window": (2, 6, 7), "stack": (2, 4, 5)}
    room = filled(library, shape[layout])
    index = {
        "sliced": (slice(None), slice(1, 9, 2), slice(0, 10, 2)),
        "window": (slice(None), slice(1, 5), slice(2, 7)),
    }.get(layout, ())
    both = room[index] if index else room
    return tuple(one.T if layout == "transposed" else one for one in both), room


@pytest.mark.parametrize("layout", ["transposed", "sliced", "window", "stack"])
def test_strided_outs(writable, layout):
    f = a_field(writable)
    out, room = strided(writable, layout)
    expected = gradient(f)
    for result, given, value in zip(gradient(f, out=out), out, expected, strict=True):
        assert result is given
        assert dtype_name(result) == "float64"
        np.testing.assert_array_equal(numpy(result), numpy(value))
    for one in out:
        one[...] = 7.0
    assert (numpy(room) == 7.0).all(), "nothing beside them was written"


def test_outs_interleaved_in_one_array(writable):
    """A vector field whose components lie side by side: they share an extent but no memory."""
    f = a_field(writable)
    room = filled(writable, (4, 5, 2))
    out = (room[..., 0], room[..., 1])
    for result, value in zip(gradient(f, out=out), gradient(f), strict=True):
        np.testing.assert_array_equal(numpy(result), numpy(value))


def test_an_out_between_the_samples(writable):
    """As in a structure of samples and results: no element is shared."""
    room = filled(writable, (8,))
    room[::2] = writable.asarray([1.0, 2.0, 4.0, 7.0], "float64")
    (result,) = gradient(room[::2], out=(room[1::2],))
    assert numpy(result).tolist() == [1.0, 1.5, 2.5, 3.0]


def test_outs_with_negative_strides():
    f, room = np.arange(5.0) ** 2, np.zeros(5)
    (result,) = gradient(f, out=(room[::-1],))
    assert result.dtype == np.float64
    assert room.tolist() == [7.0, 6.0, 4.0, 2.0, 1.0]


def refused(f, out, exception, says, **options) -> None:
    arrays = [
        x for x in [f, *(out if isinstance(out, list | tuple) else [])] if hasattr(x, "dtype")
    ]
    before = [snapshot(x) for x in arrays]
    with pytest.raises(exception, match=says) as caught:
        gridgrad.gradient(f, out=out, **options)
    assert str(caught.value).endswith(".")
    assert [snapshot(x) for x in arrays] == before


def test_wrong_number(writable):
    f, one = a_field(writable), filled(writable, (4, 5))
    refused(f, (one,), GridError, "out must have 2 arrays, .* has 1")
    refused(f, [one] * 3, GridError, "out must have 2 arrays, .* has 3")
    refused(f, one, GridTypeError, "out must be a tuple or list")
    refused(f, (one,), GridError, "out must have 0", dim=())


@pytest.mark.parametrize("shape", [(5, 4), (4,), (4, 5, 1), (20,), (0, 5), ()])
def test_wrong_shape(writable, shape):
    good = filled(writable, (4, 5))
    refused(
        a_field(writable),
        (good, filled(writable, shape)),
        GridError,
        r"out\[1\] .* shape, \(4, 5\)",
    )


@pytest.mark.parametrize("dtype", ["float32", "int64", "complex128", "float16"])
def test_wrong_dtype(writable, dtype):
    good, wrong = filled(writable, (4, 5)), filled(writable, (4, 5), dtype, 7)
    refused(
        a_field(writable), (good, wrong), GridTypeError, rf"out\[1\] .* float64, but has {dtype}"
    )


def test_wrong_library(writable):
    f, good = a_field(writable), filled(writable, (4, 5))
    other = np.zeros((4, 5)) if writable is TORCH else torch.zeros(4, 5, dtype=torch.float64)
    for wrong in (other, numpy(other).tolist(), None, JAX.asarray([0.0]), 3.0):
        refused(f, (good, wrong), GridTypeError, rf"out\[1\] must be an array of .*{writable.name}")


@pytest.mark.parametrize("library", [JAX, STRICT], ids=lambda library: library.name)
def test_a_library_whose_arrays_may_not_be_changed(library):
    f = library.asarray([1.0, 2.0, 4.0])
    refused(f, (f * 0,), GridTypeError, f"out is not offered for {library.name}")


def test_wrong_device():
    f = torch.ones(3)
    refused(f, (torch.empty(3, device="meta"),), GridError, r"out\[0\] .* cpu, but is on meta")
    with pytest.raises(GridError, match=r"out\[0\] .* meta, but is on cpu"):
        gridgrad.gradient(f.to("meta"), out=(torch.empty(3),))


def test_overlap(writable):
    room = filled(writable, (6, 5))
    f = room[:4]
    good = filled(writable, (4, 5))
    refused(f, (f, good), GridError, r"out\[0\] must not share memory with the input")
    refused(f, (good, room[1:5]), GridError, r"out\[1\] must not share memory with the input")
    refused(f, (good, good), GridError, r"out\[1\] must not share memory with out")
    both = filled(writable, (5, 5))
    refused(f, (both[:4], both[1:]), GridError, r"out\[1\] must not share memory with out")


def test_overlap_with_coordinates(writable):
    room = filled(writable, (8,))
    room[:] = writable.asarray([float(k * k) for k in range(8)], "float64")
    f, x = writable.asarray([1.0, 2.0, 4.0, 7.0], "float64"), room[:4]
    for out in (room[:4], room[2:6]):
        refused(f, (out,), GridError, r"out\[0\] must not share memory", spacing=(x,))
        refused(f, (out,), GridError, r"out\[0\] must not share memory", spacing=x)
    (result,) = gradient(f, spacing=(x,), out=(room[4:],))
    assert dtype_name(result) == "float64"


def test_read_only():
    f, out = np.arange(4.0), np.zeros(4)
    out.flags.writeable = False
    refused(f, (out,), GridError, r"out\[0\] must be writable")


def test_broadcast():
    f = np.ones((4, 5))
    shared = np.lib.stride_tricks.as_strided(np.zeros(5), (4, 5), (0, 8))
    refused(f, (np.zeros((4, 5)), shared), GridError, r"out\[1\] must not be a broadcast array")
    g = torch.ones(4, 5)
    refused(g, (torch.zeros(5).expand(4, 5), g * 0), GridError, r"out\[0\] must not be an expanded")


def test_requires_grad():
    f = torch.ones(4)
    refused(f, (torch.zeros(4, requires_grad=True),), GridError, r"out\[0\] requires a gradient")
    parameter = torch.ones(4, requires_grad=True)
    with torch.no_grad():
        (result,) = gridgrad.gradient(parameter, out=(torch.zeros(4),))
    assert not result.requires_grad


def test_a_masked_input_needs_a_mask_to_write_to():
    """A plain array would lose the mask without a word."""
    f = np.ma.array([1.0, 2.0, 4.0, 7.0], mask=[0, 1, 0, 0])
    refused(f, (np.full(4, 7.0),), GridTypeError, r"out\[0\]|out is not offered")
    refused(np.arange(4.0), (np.ma.zeros(4),), GridTypeError, r"out\[0\] must be a plain array")


def test_a_bad_second_out_leaves_the_first_alone(writable):
    good, bad = filled(writable, (4, 5)), filled(writable, (4, 4))
    refused(a_field(writable), (good, bad), GridError, r"out\[1\]")
