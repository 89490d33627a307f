"""Derivatives of operators, through their public interface: PyTorch's and JAX's, forwards and backwards."""

import jax
import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import gridgrad
from gridgrad import adjoint

from .grids import BOUNDARIES, field, jittered

SHAPE = (7, 8)


def _flat(found):
    """The results of an operator, however nested, as one tuple."""
    if isinstance(found, tuple | list):
        return tuple(each for part in found for each in _flat(part))
    return (found,)


def _pair(f):
    return (f, f * f + 1)


# What each makes of samples f; a vector field is (f, f**2 + 1), so that both components count. The
# derivative is along the first dim.
OPERATORS = {
    "derivative": lambda f, spacing, **how: gridgrad.derivative(
        f, order=2, dim=0, **{k: v[0] if isinstance(v, list) else v for k, v in how.items()},
        spacing=spacing[0],
    ),
    "gradient": lambda f, **how: gridgrad.gradient(f, **how),
    "laplacian": lambda f, **how: gridgrad.laplacian(f, **how),
    "divergence": lambda f, **how: gridgrad.divergence(_pair(f), **how),
    "curl": lambda f, **how: gridgrad.curl(_pair(f), **how),
    "jacobian": lambda f, **how: gridgrad.jacobian(_pair(f), **how),
    "hessian": lambda f, **how: gridgrad.hessian(f, **how),
    "directional": lambda f, **how: gridgrad.directional_derivative(f, (1.0, -2.0), **how),
}  # fmt: skip
# A boundary and an accuracy each, with an edge order where there is an edge.
CHOICES = [
    {"boundary": "one-sided", "accuracy": 2, "edge_order": 1},
    {"boundary": "one-sided", "accuracy": 4, "edge_order": 3},
    {"boundary": "periodic", "accuracy": 4},
    {"boundary": ["reflect", ("replicate", "one-sided")], "accuracy": 2},
    {"boundary": [1.5, (-2.0, "replicate")], "accuracy": 2},
]


def _name(how) -> str:
    return f"{how['boundary']}-{how['accuracy']}"


def _samples(dtype=torch.float64):
    torch.manual_seed(0)
    return torch.randn(SHAPE, dtype=dtype, requires_grad=True)


def _check(function, given) -> None:
    """Backwards, and backwards twice, along random directions."""
    assert gradcheck(function, given, fast_mode=True)
    assert gradgradcheck(function, given, fast_mode=True)


@pytest.mark.parametrize("how", CHOICES, ids=_name)
@pytest.mark.parametrize("name", OPERATORS)
def test_by_samples(name, how):
    for dtype in (torch.float64, torch.complex128):
        f = _samples(dtype)
        _check(lambda f: _flat(OPERATORS[name](f, spacing=(0.5, 2.0), **how)), (f,))


@pytest.mark.parametrize(
    "how",
    [CHOICES[0], {"boundary": "periodic", "accuracy": 2, "period": 8.5}, CHOICES[3]],
    ids=_name,
)
@pytest.mark.parametrize("name", OPERATORS)
def test_by_samples_and_coordinates(name, how):
    x, y = (torch.tensor(jittered(n, n) * n, requires_grad=True) for n in SHAPE)

    def function(f, x, y):
        return _flat(OPERATORS[name](f, spacing=(x, y), **how))

    _check(function, (_samples(), x, y))


@pytest.mark.parametrize("how", CHOICES, ids=_name)
@pytest.mark.parametrize("name", OPERATORS)
def test_by_samples_and_steps(name, how):
    steps = (torch.tensor(s, dtype=torch.float64, requires_grad=True) for s in (0.7, -1.3))

    def function(f, h, k):
        return _flat(OPERATORS[name](f, spacing=(h, k), **how))

    _check(function, (_samples(), *steps))


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("side", ["center", "forward", "backward"])
def test_of_higher_orders(order, side):
    f = torch.from_numpy(field((12, 2))).requires_grad_()
    x = torch.tensor(jittered(12, 1) * 12, requires_grad=True)

    def function(f, x):
        return gridgrad.derivative(f, order=order, dim=0, spacing=x, accuracy=3, side=side)

    _check(function, (f, x))


@pytest.mark.parametrize("boundary", ["reflect", "replicate"])
def test_mirrored_coordinates_may_require_a_gradient(boundary):
    """They failed on PyTorch, which has no slices of negative step."""
    x, f = jittered(9), field(9)
    found = gridgrad.derivative(
        torch.from_numpy(f),
        spacing=torch.tensor(x, requires_grad=True),
        accuracy=4,
        boundary=boundary,
    )
    expected = gridgrad.derivative(f, spacing=x, accuracy=4, boundary=boundary)
    np.testing.assert_allclose(found.detach(), expected, rtol=0, atol=1e-12)


def test_falling_periodic_coordinates_that_require_a_gradient_turned_the_wrong_way():
    """Their period was added where it is to be subtracted, so that both ends were wrong."""
    x, f = torch.from_numpy(-jittered(9)), torch.from_numpy(field(9))
    how = {"boundary": "periodic", "period": 1.2}
    found = gridgrad.derivative(f, spacing=x.clone().requires_grad_(), **how).detach()
    torch.testing.assert_close(
        found, gridgrad.derivative(f, spacing=x, **how), rtol=1e-10, atol=1e-10
    )
    assert gradcheck(
        lambda x: gridgrad.derivative(f, spacing=x, **how),
        (x.clone().requires_grad_(),),
        fast_mode=True,
    )


def _agree(left, right) -> None:
    assert abs(float(left - right)) < 1e-9 * (1 + abs(float(left)))


@pytest.mark.parametrize("boundary", BOUNDARIES[:5], ids=str)
@pytest.mark.parametrize("even", [True, False])
def test_the_adjoint_is_exact(boundary, even):
    """<A x, y> = <x, A^T y> on PyTorch."""
    n = 9
    grid = [0.5, 0.25] if even else [torch.from_numpy(jittered(n, k)) for k in range(2)]
    how = {
        "boundary": boundary, "accuracy": 4, "spacing": grid,
        "period": None if even or boundary != "periodic" else 1.4,
    }  # fmt: skip
    f = torch.from_numpy(field((n, n))).requires_grad_()
    for call in (
        lambda x: gridgrad.laplacian(x, **how),
        lambda x: gridgrad.divergence((x, 2 * x), **how),
        lambda x: gridgrad.curl((x, x.T), **how),
        lambda x: gridgrad.gradient(x, **how)[1],
        lambda x: gridgrad.directional_derivative(x, (1.0, 2.0), **how),
    ):
        y = torch.randn(n, n, dtype=torch.float64)
        found = call(f)
        (back,) = torch.autograd.grad(found, f, y)
        offset = call(torch.zeros_like(f)).detach()  # of a number beyond the edge
        _agree(((found.detach() - offset) * y).sum(), (f.detach() * back).sum())


@pytest.mark.parametrize(
    "how", [CHOICES[1], CHOICES[3], {"boundary": 0.0, "accuracy": 4}], ids=_name
)
@pytest.mark.parametrize(
    ("name", "even"),
    [
        ("derivative", False),
        ("gradient", True),
        ("laplacian", True),
        ("hessian", True),
        ("directional", False),
    ],
)
def test_the_adjoint_is_exact_on_jax(name, even, how):
    """Forwards a linear map is its own derivative; backwards it is the adjoint of that."""
    spacing = (0.5, 2.0) if even else tuple(jittered(n, n) for n in SHAPE)
    with jax.enable_x64(True):
        f, t = jax.numpy.asarray(field(SHAPE, 1)), jax.numpy.asarray(field(SHAPE, 2))

        def function(f):
            return _flat(OPERATORS[name](f, spacing=spacing, **how))

        _, forwards = jax.jvp(function, (f,), (t,))
        found, pull = jax.vjp(function, t)
        for one, other in zip(forwards, found, strict=True):
            assert one.dtype == np.float64
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * float(abs(other).max()))
        ys = tuple(jax.numpy.asarray(field(SHAPE, 3 + k)) for k in range(len(found)))
        (back,) = pull(ys)
        _agree(sum((a * y).sum() for a, y in zip(found, ys, strict=True)), (t * back).sum())


def test_the_transpose_of_a_transpose_read_the_number_beyond_an_edge():
    """A second derivative of what is linear but for a constant had the constant in it."""
    direction = torch.arange(1.0, 7.0, dtype=torch.float64)
    for how in ({"boundary": 10.0}, {"boundary": (3.0, "reflect"), "accuracy": 4}):
        x, v = (torch.zeros(6, dtype=torch.float64, requires_grad=True) for _ in range(2))
        (grad,) = torch.autograd.grad(gridgrad.derivative(x, **how), x, v, create_graph=True)
        (found,) = torch.autograd.grad(grad, v, direction)
        linear = {**how, "boundary": 0.0 if how["boundary"] == 10.0 else (0.0, "reflect")}
        torch.testing.assert_close(found, gridgrad.derivative(direction, **linear))


@pytest.mark.filterwarnings(r"ignore:.torch\.jit\.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("boundary", ["one-sided", ("one-sided", "reflect"), 0.5, "periodic"])
@pytest.mark.parametrize(("order", "accuracy", "side"), [
    (1, 2, "center"), (2, 2, "center"), (2, 3, "forward"), (4, 2, "backward"), (4, 4, "center"),
])  # fmt: skip
def test_a_weight_that_was_0_was_not_differentiated(order, accuracy, side, boundary):
    """On even coordinates some are, but not on those beside; the samples that they weight do count."""
    f, x = torch.from_numpy(field(9)), torch.arange(9, dtype=torch.float64)
    how = {"order": order, "accuracy": accuracy, "side": side, "boundary": boundary}
    if boundary == "periodic":
        how["period"] = 9.0

    def function(x):
        return gridgrad.derivative(f, spacing=(x,), **how)

    assert gradcheck(function, (x.requires_grad_(),), check_forward_ad=True)


def test_a_sample_without_a_weight_kept_a_rounding_error_of_it():
    """Several offsets lead to one sample, and what they weight it with adds up to 0."""
    how = {"order": 2, "side": "backward", "boundary": "replicate", "spacing": 0.3}
    x = torch.randn(6, dtype=torch.float64, requires_grad=True)
    given = torch.tensor([torch.inf, 0, 0, 0, 0, 0], dtype=torch.float64)
    (found,) = torch.autograd.grad(gridgrad.derivative(x, **how), x, given)
    assert not found.any()
    assert not gridgrad.derivative_matrix(6, **how)[[0]].nnz


@pytest.mark.parametrize("spacing", [torch.tensor(2.0), torch.arange(6.0) ** 1.2])
def test_a_gradient_by_the_spacing_was_nan_where_differences_overflow(spacing):
    f = torch.tensor([-3e38, 0.0, 3e38, 0.0, -3e38, 3e38])
    x = spacing.clone().requires_grad_()
    wide = spacing.double().requires_grad_()
    given = torch.full((6,), 1e-30)
    found, want = (
        torch.autograd.grad(gridgrad.derivative(f.to(x.dtype), spacing=x), x, given.to(x.dtype))[0]
        for x in (x, wide)
    )
    torch.testing.assert_close(found, want.float(), rtol=1e-4, atol=1e3)


@pytest.mark.parametrize("how", [{"order": 2}, {"boundary": "reflect"}, {"accuracy": 4}])
def test_transposes_of_many_weights_were_kept_for_good(how):
    """With their stencils, which are made anew for such coordinates at every call."""
    x = torch.from_numpy(jittered(9_000))
    f = torch.ones(9_000, dtype=torch.float64, requires_grad=True)
    kept = [len(adjoint._made)]
    for _ in range(3):
        gridgrad.derivative(f, spacing=x, **how).sum().backward()
        kept.append(len(adjoint._made))
    assert len({*kept}) == 1


def test_the_way_back_from_a_transpose_depended_on_other_calls():
    """What it was made of was forgotten, and it was transposed itself, to other roundings."""
    x = torch.tensor([0, 1, 3, 4, 7.5, 8, 9.25, 12], dtype=torch.float64)
    f = torch.arange(8, dtype=torch.float64, requires_grad=True)
    for _ in range(3):
        v = torch.linspace(-1, 2, 8, dtype=torch.float64, requires_grad=True)
        (grad,) = torch.autograd.grad(gridgrad.derivative(f, spacing=x), f, v, create_graph=True)
        adjoint._made.clear()
        (found,) = torch.autograd.grad(grad, v, torch.full((8,), 0.1, dtype=torch.float64))
        assert not found.any()


@pytest.mark.parametrize(
    ("x", "how", "reached"),
    [
        ([0, 1, 2, 4, 6, 8, 9, 10], {"boundary": 0.0}, [1, 2]),
        ([0, 1.3, 2.1, 3.7, 4.2, 5.9, 7.7, 8.1, 9.6, 10.3], {"boundary": "reflect"}, []),
        ([0, 1.3, 2.1, 3.7, 4.2, 5.9, 7.7, 8.1], {"boundary": "reflect", "order": 3}, []),
    ],
    ids=["number", "reflect", "third"],
)
def test_weights_that_cancel_left_their_rounding_errors(x, how, reached):
    """At coordinates they were added up before they were rounded, but the kernel rounds them first."""
    f = torch.randn(len(x), dtype=torch.float64, requires_grad=True)
    given = torch.zeros(len(x), dtype=torch.float64)
    given[0] = torch.nan
    found = gridgrad.derivative(f, spacing=(x,), accuracy=4, **how)
    (grad,) = torch.autograd.grad(found, f, given)
    assert grad.isnan().nonzero().ravel().tolist() == reached
    row = gridgrad.derivative_matrix(x, accuracy=4, **how)[[0]]
    assert sorted(row.nonzero()[1].tolist()) == reached
