"""Derivatives of results on PyTorch: by values, by coordinates and by 0-d tensor steps."""

import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck

import gridgrad

from .calling import gradient

# Forward mode compiles parts of PyTorch with its own deprecated torch.jit.script.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:.torch\.jit\.script. is deprecated:DeprecationWarning"
)

UNEVEN = [0.0, 0.7, 1.0, 2.5]
EVEN = torch.linspace(0, 2, 4).tolist()
DECREASING = [3.0, 2.0, 1.0, 0.0]


def tensor(values, dtype=torch.float64, requires_grad=True) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype, requires_grad=requires_grad)


def samples(*shape: int, dtype=torch.float64) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(shape, dtype=dtype, requires_grad=True)


def check_both(function, given, fast: bool = True) -> None:
    """Reverse and forward mode, twice, and under vmap; along random directions if `fast`."""
    real = not any(x.is_complex() for x in given)
    batched = {"check_batched_grad": real, "check_batched_forward_grad": real}
    assert gradcheck(function, given, check_forward_ad=True, fast_mode=fast, **batched)
    assert gradgradcheck(function, given, check_fwd_over_rev=True, fast_mode=fast)


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_values(dtype, edge_order):
    x = tensor(UNEVEN, requires_grad=False)
    f = samples(4, 3, dtype=dtype)
    check_both(lambda f: gradient(f, spacing=0.3, edge_order=edge_order), (f,))
    check_both(lambda f: gradient(f, spacing=(x, -2), edge_order=edge_order), (f,))


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize(
    "coordinates", [UNEVEN, EVEN, DECREASING], ids=["uneven", "even", "decreasing"]
)
def test_coordinates(coordinates, dtype, edge_order):
    f, x = samples(4, 2, dtype=dtype), tensor(coordinates)
    check_both(
        lambda f, x: gradient(f, spacing=(x,), dim=0, edge_order=edge_order),
        (f, x),
        fast=dtype.is_complex,
    )


@pytest.mark.parametrize("edge_order", [1, 2])
def test_complex_coordinates(edge_order):
    f, x = samples(4), tensor([0j, 1 + 0.5j, 2j, 3 + 1j], torch.complex128)
    check_both(lambda f, x: gradient(f, spacing=(x,), edge_order=edge_order), (f, x))


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_tensor_steps(dtype, edge_order):
    f, h, k = samples(3, 4), tensor(0.7, dtype), tensor(-1.3, dtype)
    check_both(lambda f, h: gradient(f, spacing=h, edge_order=edge_order), (f, h))
    check_both(lambda f, h, k: gradient(f, spacing=(h, k), edge_order=edge_order), (f, h, k))


def test_integer_samples_at_coordinates_that_require_a_gradient():
    f, x = torch.tensor([1, 2, 4, 7]), tensor(UNEVEN)
    check_both(lambda x: gradient(f, spacing=(x,)), (x,))
    (result,) = gradient(f, spacing=(tensor(UNEVEN, torch.float32),))
    assert result.dtype == torch.float32
    assert result.requires_grad


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("coordinates", [UNEVEN, EVEN], ids=["uneven", "even"])
@pytest.mark.parametrize(
    ("dtype", "narrow"), [(torch.float64, torch.float32), (torch.float32, torch.bfloat16)], ids=str
)
def test_a_required_gradient_changes_no_value(dtype, narrow, coordinates, edge_order):
    """The values are those of the same coordinates that require none, to the same accuracy."""
    f = samples(4, dtype=dtype).detach()
    for kind in (dtype, narrow):
        x = torch.tensor(coordinates).to(kind)
        expected = gradient(f, spacing=(x,), edge_order=edge_order)
        found = gradient(f, spacing=(x.clone().requires_grad_(),), edge_order=edge_order)
        assert found[0].dtype == expected[0].dtype == dtype
        size = 4 * torch.finfo(dtype).eps * float(expected[0].abs().max())
        torch.testing.assert_close(found[0].detach(), expected[0], rtol=0, atol=size)


@pytest.mark.parametrize("bad", [0.0, torch.nan, torch.inf])
def test_a_bad_step_that_requires_a_gradient_is_refused(bad):
    with pytest.raises(gridgrad.GridError, match="must be finite and not zero"):
        gradient(torch.ones(3), spacing=torch.tensor(bad, requires_grad=True))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 0.0])
def test_a_bad_coordinate_that_requires_a_gradient_is_refused(bad):
    with pytest.raises(gridgrad.GridError, match="entry 1 is"):
        gradient(torch.ones(3), spacing=(torch.tensor([0.0, bad, 2.0], requires_grad=True),))


def test_coordinates_that_turn_back_and_require_a_gradient_warn():
    x = torch.tensor([0.0, 2.0, 1.0], requires_grad=True)
    with pytest.warns(gridgrad.NonMonotonicWarning, match="entry 1"):
        gradient(torch.ones(3), spacing=(x,))


def test_jvp():
    f, tangent = samples(5, 4).detach(), samples(5, 4).detach() + 1
    value, derivative = torch.func.jvp(
        lambda f: gridgrad.gradient(f, spacing=0.5), (f,), (tangent,)
    )
    for found, expected in zip(derivative, gradient(tangent, spacing=0.5), strict=True):
        torch.testing.assert_close(found, expected)  # a linear map is its own derivative
    for found, expected in zip(value, gradient(f, spacing=0.5), strict=True):
        assert torch.equal(found, expected)


def test_a_dual_number_as_step():
    f = samples(5).detach()
    with forward_ad.dual_level():
        h = forward_ad.make_dual(torch.tensor(0.5), torch.tensor(1.0))
        (result,) = gridgrad.gradient(f, spacing=h)
        value, tangent = forward_ad.unpack_dual(result)
    torch.testing.assert_close(value, gradient(f, spacing=0.5)[0])
    torch.testing.assert_close(tangent, -gradient(f, spacing=0.5)[0] / 0.5)


@pytest.mark.parametrize("edge_order", [1, 2])
def test_vmap(edge_order):
    f = samples(3, 5).detach()
    x = torch.cumsum(torch.rand(3, 5, dtype=torch.float64) + 0.1, 1)
    h = torch.tensor([0.5, 2.0, -3.0])

    def each(function, *given):
        return torch.stack([function(*row)[0] for row in zip(*given, strict=True)])

    def at_step(f, h):
        return gridgrad.gradient(f, spacing=h, edge_order=edge_order)

    def at_coordinates(f, x):
        return gridgrad.gradient(f, spacing=(x,), edge_order=edge_order)

    for function, given in (
        (at_step, (f, h)),
        (at_coordinates, (f, x)),
        (at_coordinates, (f.float(), x)),
    ):
        (found,) = torch.func.vmap(function)(*given)
        expected = each(function, *given)
        assert found.dtype == expected.dtype
        torch.testing.assert_close(
            found, expected, rtol=1e-12 if found.dtype.itemsize > 4 else 1e-5, atol=1e-12
        )
    over_samples = torch.func.vmap(lambda f: gridgrad.gradient(f, edge_order=edge_order)[0])(f)
    assert torch.equal(over_samples, gradient(f, dim=1, edge_order=edge_order)[0])


TRANSFORMS = {
    "jacrev": torch.func.jacrev,
    "jacfwd": torch.func.jacfwd,
    "vmap": lambda function: lambda f: torch.func.vmap(function)(torch.eye(4).double()).T,
    "jacrev-of-vmap": lambda function: (
        lambda f: torch.func.jacrev(torch.func.vmap(function))(f[None]).squeeze()
    ),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("form", ["step", "list", "coordinates", "even-coordinates", "tensor-step"])
def test_a_transform_of_the_samples_leaves_plain_spacings_plain(form, transform):
    spacing = {
        "step": 0.5,
        "list": (UNEVEN,),
        "coordinates": (tensor(UNEVEN, requires_grad=False),),
        "even-coordinates": (tensor(DECREASING, requires_grad=False),),
        "tensor-step": tensor(0.5, requires_grad=False),
    }[form]

    def function(f):
        return gridgrad.gradient(f, spacing=spacing, edge_order=2)[0]

    matrix = gradient(torch.eye(4).double(), spacing=spacing, dim=0, edge_order=2)[0]
    found = TRANSFORMS[transform](function)(samples(4).detach())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, matrix)


def test_no_graph_without_a_gradient():
    (result,) = gradient(torch.ones(4), spacing=(torch.tensor([0.0, 1, 3, 4]),))
    assert not result.requires_grad


def test_meta_tensors_give_shapes_and_dtypes():
    f, x = torch.ones(4, 5, device="meta"), torch.ones(4, device="meta", dtype=torch.float64)
    down, across = gradient(f, spacing=(x, 2.0))
    assert (down.dtype, across.dtype) == (torch.float64, torch.float32)
