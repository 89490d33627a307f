"""The silent faults of `torch.gradient`, each with the right answer from exact arithmetic.

Each test also shows that PyTorch still has the fault, so that a mended one is noticed here.
"""

from fractions import Fraction

import numpy as np
import pytest
import torch

import gridgrad

from .calling import NUMPY, TORCH, Library, check, dtype_name, gradient, numpy
from .exact import derivative, units_off

SIGNED = ["int8", "int16", "int32", "int64"]
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]


def values(x) -> list[float]:
    return numpy(x).tolist()


# 1. Integers wrap around.


def test_int8_differences_wrap_around(library):
    f = library.asarray([-100, 0, 100, 100], "int8")
    check(gradient(f), [[100, 100, 50, 0]], library.floating)
    assert values(torch.gradient(torch.tensor([-100, 0, 100, 100], dtype=torch.int8))[0])[1] == -28


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("dtype", SIGNED + UNSIGNED)
def test_integer_extremes_wrap_around(writable: Library, dtype, edge_order):
    lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max
    f = np.array([lowest, highest, lowest, lowest + 1, highest, highest - 1], dtype)
    given = torch.from_numpy(f) if writable is TORCH else f
    (result,) = gradient(given, edge_order=edge_order)
    assert dtype_name(result) == writable.floating
    assert units_off(numpy(result), f, range(6), edge_order) <= 1
    if dtype == "int64":
        torch_at_1 = torch.gradient(torch.tensor([lowest, 0, highest]))[0][1]
        assert float(torch_at_1) == -0.5  # and not 2**63


# 2. Coordinates of length 3 are accepted for any n, and three samples take any coordinates.


@pytest.mark.parametrize(("n", "coordinates"), [(5, 3), (3, 5), (5, 4), (3, 2)])
def test_coordinates_of_the_wrong_length_are_accepted(library, n, coordinates):
    f, x = library.asarray([1.0] * n), library.asarray([float(k * k) for k in range(coordinates)])
    with pytest.raises(
        gridgrad.GridError, match=rf"one entry a sample, {n}, but have {coordinates}"
    ):
        gradient(f, spacing=(x,))


def test_three_samples_with_five_coordinates_give_five_values():
    assert len(torch.gradient(torch.ones(3), spacing=(torch.arange(5.0),))[0]) == 5
    with pytest.raises(gridgrad.GridError):
        gradient(torch.ones(3), spacing=(torch.arange(5.0),))


# 3. Integer coordinates overflow.


def on_integer_coordinates(library: Library, dtype: str, x: list[int], edge_order: int):
    """The error of float64 samples at integer coordinates, and what PyTorch makes of them."""
    f = np.linspace(-1, 2, len(x)) ** 3
    x = np.array(x, dtype)
    given = (torch.from_numpy(f), torch.from_numpy(x)) if library is TORCH else (f, x)
    (result,) = gradient(given[0], spacing=(given[1],), edge_order=edge_order)
    assert dtype_name(result) == "float64", "integer coordinates do not promote"
    return units_off(numpy(result), f, x, edge_order), torch.gradient(
        torch.from_numpy(f), spacing=(torch.from_numpy(x),), edge_order=edge_order
    )[0].numpy()


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize(
    ("dtype", "x"),
    [
        pytest.param("int32", [100_000 * k for k in range(6)], id="int32-steps-of-100000"),
        pytest.param(
            "int64",
            [1_700_000_000_000_000_000 + 3_000_000_000 * k for k in range(6)],
            id="int64-nanosecond-stamps-3-s-apart",
        ),
        pytest.param("uint8", [250, 200, 199, 120, 7, 0], id="uint8-decreasing"),
        pytest.param("int8", [-128, -100, 0, 1, 100, 127], id="int8-whole-range"),
        pytest.param("int16", [32767, 20000, 0, -3, -20000, -32768], id="int16-decreasing"),
    ],
)
def test_integer_coordinates_overflow(writable, dtype, x, edge_order):
    error, from_torch = on_integer_coordinates(writable, dtype, x, edge_order)
    assert error <= 4
    f = np.linspace(-1, 2, len(x)) ** 3
    right = np.array([float(v) for v in derivative(f, x, edge_order)[0]])
    assert not np.allclose(from_torch, right, rtol=0.1)


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64", "int64"])
def test_integer_coordinates_keep_every_digit(writable, dtype):
    lowest, highest = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    f, x = (
        np.array([1.0, 2.0, 4.0, 7.0]),
        np.array([highest, highest - 1, lowest + 2, lowest], dtype),
    )
    given = (torch.from_numpy(f), torch.from_numpy(x)) if writable is TORCH else (f, x)
    for edge_order in (1, 2):
        (result,) = gradient(given[0], spacing=(given[1],), edge_order=edge_order)
        assert dtype_name(result) == "float64"
        assert units_off(numpy(result), f, x, edge_order) <= 4


# 4. Coordinates in half precision meet or overflow.


def test_bfloat16_coordinates_that_meet_give_nan():
    x = torch.arange(300).to(torch.bfloat16)  # 257 is not a bfloat16: it becomes 256
    assert torch.gradient(torch.ones(300).bfloat16(), spacing=(x,))[0].isnan().any()
    with pytest.raises(gridgrad.GridError, match=r"distinct, but entry 257 .* entry 256"):
        gradient(torch.ones(300).bfloat16(), spacing=(x,))
    (result,) = gradient(x[:257] * 2, spacing=(x[:257],))
    check([result], [2], "bfloat16")


def test_float16_coordinates_with_an_offset_give_inf():
    x = (60_000 + torch.tensor([0, 32, 96, 128, 192])).to(torch.float16)
    f = torch.tensor([1.0, 2.0, 4.0, 7.0, 5.0], dtype=torch.float16)
    (result,) = gradient(f, spacing=(x,))
    assert dtype_name(result) == "float16"
    assert units_off(numpy(result), numpy(f), numpy(x)) <= 1
    assert not torch.equal(result, torch.gradient(f, spacing=(x,))[0])


def test_float16_coordinates_with_small_steps_give_nan():
    x = (torch.tensor([0, 1, 3, 4, 5]) * 2.0**-13).to(torch.float16)
    assert torch.gradient(x, spacing=(x,))[0].isnan().any()
    check(gradient(x, spacing=(x,)), [1], "float16")


# 5. Edges are computed in the samples' dtype even where the result is wider.


def test_edges_are_computed_in_the_samples_dtype():
    f = torch.tensor([0.0, 0.1, 0.3, 0.7], dtype=torch.float16)
    x = torch.tensor([0.0, 0.11, 0.37, 0.7])
    (result,) = gradient(f, spacing=(x,))
    assert dtype_name(result) == "float32"
    assert units_off(numpy(result), numpy(f), numpy(x)) <= 2
    assert units_off(torch.gradient(f, spacing=(x,))[0].numpy(), numpy(f), numpy(x)) > 1000


def test_edges_overflow_in_the_samples_dtype():
    f = torch.tensor([-60000.0, 60000.0, 60000.0, -60000.0], dtype=torch.float16)
    x = torch.tensor([0.0, 1.0, 2.0, 4.0])
    check(gradient(f, spacing=(x,)), [[120000, 60000, -20000, -60000]], "float32")
    assert torch.gradient(f, spacing=(x,))[0].isinf().any()


# 6. Differences overflow though the derivative does not.


@pytest.mark.parametrize(("dtype", "large"), [("float32", 2e38), ("float64", 1e308)])
@pytest.mark.parametrize("spacing", [1.0, ([0.0, 1.0, 2.0],)], ids=["step", "coordinates"])
def test_differences_overflow(writable, dtype, large, spacing):
    f = writable.asarray([-large, 0.0, large], dtype)
    check(gradient(f, spacing=spacing), [values(f)[2]], dtype)
    if writable is TORCH and spacing == 1.0:
        assert torch.gradient(f)[0][1].isinf()


def test_differences_overflow_on_uneven_coordinates(writable):
    f, x = [3e38, -3e38, 3e38, 1e38], [0.0, 4.0, 5.0, 9.0]
    samples = writable.asarray(f, "float32")
    for edge_order in (1, 2):
        (result,) = gradient(samples, spacing=(x,), edge_order=edge_order)
        right = [float(v) for v in derivative(numpy(samples), x, edge_order)[0]]
        expected = np.array(right).astype(np.float64)
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(numpy(result), expected.astype(np.float32), rtol=1e-6)
        assert dtype_name(result) == "float32"


# 7. A constant field has a derivative.


def test_a_constant_has_a_derivative_on_uneven_coordinates(writable):
    x = np.sort(np.random.default_rng(0).random(50)).astype(np.float32)
    f = np.full(50, 1e6 + 0.1, np.float32)
    on_torch = torch.from_numpy(f), torch.from_numpy(x)
    given = on_torch if writable is TORCH else (f, x)
    for edge_order in (1, 2):
        check(gradient(given[0], spacing=(given[1],), edge_order=edge_order), [0], "float32")
    assert torch.gradient(on_torch[0], spacing=(on_torch[1],))[0].abs().max() > 1


def test_a_constant_has_a_derivative_at_edges_of_order_2(writable):
    f = writable.asarray([1e6 + 0.1] * 50, "float32")
    check(gradient(f, spacing=0.1, edge_order=2), [0], "float32")
    if writable is TORCH:
        assert torch.gradient(f, spacing=0.1, edge_order=2)[0].abs().max() > 0.5


# 8. Unsigned integers are refused.


@pytest.mark.parametrize("dtype", UNSIGNED)
def test_unsigned_integers_are_refused(library, dtype):
    f = (
        library.asarray([200, 7, 100, 0], dtype)
        if library.name != "jax" or dtype != "uint64"
        else None
    )
    if f is not None:
        check(gradient(f), [[-193, -50, -3.5, -100]], library.floating)
    with pytest.raises(RuntimeError):
        torch.gradient(torch.tensor([200, 7, 100, 0]).to(getattr(torch, dtype)))


def test_bool_is_refused_with_a_reason(library):
    with pytest.raises(gridgrad.GridTypeError, match=r"input must hold .* but holds bool\."):
        gradient(library.asarray([True, False, True]))


# 9 is in test_compile.py.

# 10. Coordinates that meet give inf or NaN without a word.


@pytest.mark.parametrize(
    ("x", "second", "first"),
    [([0.0, 0.0, 1.0, 2.0], 1, 0), ([0.0, 1.0, 2.0, 2.0], 3, 2), ([0.0, 1.0, 0.0, 2.0], 2, 0)],
)
def test_duplicate_coordinates_give_inf_or_nan(library, x, second, first):
    f, coordinates = library.asarray([1.0, 2.0, 4.0, 8.0]), library.asarray(x)
    message = rf"must be distinct, but entry {second} is .*, as is entry {first}\.$"
    with pytest.raises(gridgrad.GridError, match=message):
        gradient(f, spacing=(coordinates,))
    with pytest.raises(gridgrad.GridError, match=message):
        gradient(f, spacing=(x,))
    if library is TORCH:
        assert not torch.gradient(f, spacing=(coordinates,))[0].isfinite().all()


def test_duplicate_coordinates_that_require_a_gradient_give_nan():
    x = torch.tensor([0.0, 0.0, 1.0], requires_grad=True)
    with pytest.raises(gridgrad.GridError, match="must be distinct, but entry 1"):
        gradient(torch.tensor([1.0, 2.0, 4.0]), spacing=(x,))


# NumPy's own.


def test_numpy_rounds_int64_beyond_2_to_the_53(library):
    if library.name == "jax":
        return  # has no int64 unless it is switched on
    f = library.asarray([2**60, 2**60 + 1, 2**60 + 3, 2**60 + 4], "int64")
    check(gradient(f), [[1, 1.5, 1.5, 1]], library.floating)
    assert np.gradient(numpy(f)).tolist() == [0, 0, 0, 0]


def test_numpy_refuses_datetime64_coordinates():
    days = np.array(["2024-02-28", "2024-02-29", "2024-03-02", "2024-03-03"], "datetime64[D]")
    with pytest.raises(TypeError):
        np.gradient(np.array([1.0, 2.0, 4.0, 7.0]), days)
    right = [float(v / 86400) for v in derivative([1, 2, 4, 7], [0, 1, 3, 4])[0]]
    for unit in ("D", "h", "s", "ns"):
        x = days.astype(f"datetime64[{unit}]")
        (result,) = gradient(np.array([1.0, 2.0, 4.0, 7.0]), spacing=(x,))
        check([result], [right], "float64", rtol=4e-16)


def test_numpy_lets_nan_reach_the_sample_itself_where_its_weight_is_zero():
    f = np.array([0.0, 1.0, np.nan, 3.0, 5.0, 8.0])
    x = np.array([0.0, 1.0, 2.0, 3.0, 5.0, 6.0])  # uneven, but even around the NaN
    assert np.isnan(np.gradient(f, x)).tolist() == [False, True, True, True, False, False]
    (result,) = gradient(f, spacing=(x,))
    assert result.dtype == np.float64
    assert np.isnan(result).tolist() == [False, True, False, True, False, False]
    assert result[2] == 1.0


def test_numpy_rounds_half_precision_at_every_step():
    f = np.array([0.1, 1.7, 3.3, 2.9, 0.3], np.float16)
    (result,) = gradient(f, spacing=0.3, edge_order=2)
    exact = derivative(f, [k * Fraction(0.3) for k in range(5)], 2)[0]
    assert result.dtype == np.float16
    assert result.tolist() == [float(np.float16(float(v))) for v in exact]
    assert np.gradient(f, 0.3, edge_order=2).tolist() != result.tolist()


def test_the_derivative_of_a_line_is_exact_far_from_the_origin():
    """float32 samples of 300 + x, where a sum of products loses the digits of the slope."""
    x = np.float32(300) + np.arange(8, dtype=np.float32) ** 2 / 8
    for library in (NUMPY, TORCH):
        f = library.asarray(x)
        for edge_order in (1, 2):
            (result,) = gradient(f, spacing=(x - 300,), edge_order=edge_order)
            assert units_off(numpy(result), x, x - 300, edge_order) <= 4
            assert max(abs(Fraction(v) - 1) for v in numpy(result).tolist()) <= Fraction(1, 2**22)
