"""PyTorch's transforms of functions that hold a gradient, alone and nested: against `torch.gradient`'s."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, linearize, vjp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

import gridgrad

# Forward mode compiles parts of PyTorch with its own deprecated torch.jit.script, and `linearize`, which
# folds constants, warns of what it makes itself: of torch.gradient too.
pytestmark = [
    pytest.mark.filterwarnings(r"ignore:.torch\.jit\.script. is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning"),
]


def samples(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def cubic(gradient):
    """A loss whose second derivatives are not constant."""

    def loss(f, scale=1.0):
        down, across = gradient(f, spacing=0.5)
        return (scale * down**3 + down * across**2).sum()

    return loss


def slope(gradient):
    return lambda f: gradient(f, spacing=0.5)[1] * f


# What each transform makes of (the loss, the map to a tensor), with samples of shape (3, 4, 5).
NESTED = {
    "grad": lambda loss, to, f: grad(loss)(f[0]),
    "grad-of-grad": lambda loss, to, f: grad(lambda f: grad(loss)(f).square().sum())(f[0]),
    "vjp": lambda loss, to, f: vjp(to, f[0])[1](f[1])[0],
    "jvp": lambda loss, to, f: jvp(to, (f[0],), (f[1],)),
    "linearize": lambda loss, to, f: linearize(to, f[0])[1](f[1]),
    "jvp-of-grad": lambda loss, to, f: jvp(grad(loss), (f[0],), (f[1],)),
    "grad-of-jvp": lambda loss, to, f: grad(lambda f: jvp(to, (f,), (f,))[1].sum())(f[0]),
    "jvp-of-jvp": lambda loss, to, f: jvp(lambda f: jvp(to, (f,), (f,))[1], (f[0],), (f[1],)),
    "vmap": lambda loss, to, f: vmap(to)(f),
    "vmap-last": lambda loss, to, f: vmap(to, in_dims=-1, out_dims=1)(f),
    "vmap-of-grad": lambda loss, to, f: vmap(grad(loss))(f),
    "vmap-of-grad-over-a-scale": lambda loss, to, f: vmap(grad(loss), (None, 0))(f[0], f[:, 0, 0]),
    "vmap-of-jvp": lambda loss, to, f: vmap(lambda f: jvp(to, (f,), (2 * f,))[1])(f),
    "vmap-of-vmap": lambda loss, to, f: vmap(vmap(to))(f[None]),
    "grad-of-vmap": lambda loss, to, f: grad(lambda f: vmap(loss)(f).square().sum())(f),
    "vjp-of-vmap": lambda loss, to, f: vjp(vmap(to), f)[1](f + 1)[0],
    "jacrev": lambda loss, to, f: jacrev(to)(f[0]),
    "jacfwd": lambda loss, to, f: jacfwd(to)(f[0]),
    "jacfwd-of-jacrev": lambda loss, to, f: jacfwd(jacrev(loss))(f[0]),
    "jacrev-of-jacfwd": lambda loss, to, f: jacrev(jacfwd(loss))(f[0]),
    "jacrev-of-jacrev": lambda loss, to, f: jacrev(jacrev(loss))(f[0]),
    "hessian": lambda loss, to, f: hessian(loss)(f[0]),
    "vmap-of-hessian": lambda loss, to, f: vmap(hessian(loss))(f[:2]),
    "hessian-of-vmap": lambda loss, to, f: hessian(lambda f: vmap(loss)(f).sum())(f[:2]),
}


@pytest.mark.parametrize("name", NESTED)
def test_nested(name):
    f = samples(3, 4, 5)
    found, expected = (
        NESTED[name](cubic(each), slope(each), f.clone()) for each in (gridgrad.gradient, torch.gradient)
    )  # fmt: skip
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_over_several_inputs():
    u, v = samples(3, 4, 5), samples(4, 5, 3, seed=1)
    expected = torch.stack([gridgrad.divergence((u[k], v[..., k])) for k in range(3)])
    assert torch.equal(vmap(lambda u, v: gridgrad.divergence((u, v)), (0, 2))(u, v), expected)
    expected = torch.stack([gridgrad.curl((u[k], v[..., 0])) for k in range(3)], 1)
    found = vmap(lambda u, v: gridgrad.curl((u, v)), (0, None), out_dims=1)(u, v[..., 0])
    assert torch.equal(found, expected)
    # Only one of the inputs has a tangent, and only some of the results feel it.
    w = samples(4, 5, seed=2)

    def rows(a):
        return gridgrad.jacobian((a, w))

    _, tangents = jvp(rows, (u[0],), (w,))
    for found, want in zip(tangents[0], gridgrad.gradient(w, edge_order=2), strict=True):
        torch.testing.assert_close(found, want)
    assert all(bool((x == 0).all()) for x in tangents[1])


@pytest.mark.parametrize("form", ["coordinates", "higher", "periodic", "number"])
def test_other_plans(form):
    """Those that other functions than `gradient` make, against their own sums of finite differences."""
    x = torch.tensor([0.0, 0.7, 1.0, 2.5, 3.0, 3.9], dtype=torch.float64)
    how = {
        "coordinates": {"spacing": x, "accuracy": 3},
        "higher": {"order": 3, "accuracy": 2},
        "periodic": {"boundary": "periodic", "spacing": 0.3, "accuracy": 4},
        "number": {"boundary": (2.0, 0.0), "order": 2},
    }[form]
    f = samples(3, 6)

    def call(f):
        return gridgrad.derivative(f, **how)

    offset = call(torch.zeros(6, dtype=f.dtype))
    matrix = torch.stack([call(row) - offset for row in torch.eye(6, dtype=f.dtype)], 1)
    for transform in (jacrev, jacfwd):
        torch.testing.assert_close(transform(call)(f[0]), matrix, rtol=1e-12, atol=1e-12)
        found = vmap(transform(call))(f)
        torch.testing.assert_close(found, matrix.expand(3, 6, 6), rtol=1e-12, atol=1e-12)
    assert bool(hessian(lambda f: call(f).square().sum())(f[0]).allclose(2 * matrix.T @ matrix))


def test_a_constant_inside_a_transform_is_left_alone():
    """It failed: what is made of a plain tensor inside a transform has no memory of its own."""
    other = samples(4, 5, seed=1)
    expected = gridgrad.gradient(other)[0]

    def product(f):
        return (gridgrad.gradient(other)[0] * f).sum()

    f = samples(4, 5)
    assert torch.equal(grad(product)(f), expected)
    assert torch.equal(jvp(product, (f,), (f,))[1], (expected * f).sum())
    assert torch.equal(vmap(grad(product))(f[None])[0], expected)
    assert torch.equal(
        jacfwd(lambda f: gridgrad.gradient(other)[0] * f.sum())(f)[..., 0, 0], expected
    )


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_a_recorded_program_keeps_no_values(mode):
    """It kept the results: what records operations must see some."""
    f, other = samples(4, 5), samples(4, 5, seed=1)
    direct, backward = slope(gridgrad.gradient), grad(cubic(gridgrad.gradient))
    recorded = make_fx(lambda f: (direct(f), backward(f)), tracing_mode=mode)(f)
    torch.testing.assert_close(recorded(other), (direct(other), backward(other)))


def test_half_precision_in_forward_mode():
    f, t = samples(5, 6), samples(5, 6, seed=1)
    for dtype in (torch.float16, torch.bfloat16):
        _, tangent = jvp(lambda f: gridgrad.gradient(f)[0], (f.to(dtype),), (t.to(dtype),))
        assert torch.equal(tangent, gridgrad.gradient(t.to(dtype))[0])


def test_dual_numbers():
    f, t = samples(5, 6), samples(5, 6, seed=1)
    for _ in range(2):  # the second call would go the short way
        with forward_ad.dual_level():
            found = gridgrad.gradient(forward_ad.make_dual(f, t))
            for k, each in enumerate(found):
                value, tangent = forward_ad.unpack_dual(each)
                assert torch.equal(value, gridgrad.gradient(f)[k])
                assert torch.equal(tangent, gridgrad.gradient(t)[k])
        assert forward_ad.unpack_dual(gridgrad.gradient(f)[0]).tangent is None


class Smoothed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.field = torch.nn.Parameter(samples(4, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (gridgrad.gradient(self.field * x)[0] ** 2).sum()


def test_functional_call():
    module, x = Smoothed(), samples(3, seed=4)
    held = {"field": samples(4, 5, seed=3)}
    expected = torch.stack(
        [4 * (gridgrad.gradient(held["field"])[0] ** 2).sum() * a / 2 for a in x]
    )

    def loss(parameters, a):
        return functional_call(module, parameters, (a,))

    found = vmap(grad(loss, argnums=1), (None, 0))(held, x)
    torch.testing.assert_close(found, expected)
    each = vmap(grad(loss), (None, 0))(held, x)["field"]
    module.zero_grad()
    with torch.no_grad():
        module.field.copy_(held["field"])
    module(x[1]).backward()
    torch.testing.assert_close(each[1], module.field.grad)
