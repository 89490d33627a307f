"""PyTorch's tensors on the GPU engine, under Triton's interpreter: whole calls, forwards and backwards."""

import logging
from unittest import mock

import numpy as np
import pytest
import torch

import gridgrad
from gridgrad.arrays import torch as library
from gridgrad.engines import triton as engine
from gridgrad.engines import triton_device

from .grids import jittered
from .interpreting import interpreting, on_memory

# PyTorch's own, in forward mode.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:.torch\.jit\.script. is deprecated:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def on_gpu():
    """CPU tensors go the way of CUDA tensors, and every call must end in the GPU engine."""
    with interpreting(), on_memory():
        yield


@pytest.fixture
def ran(caplog):
    """What the engine said: 'triton', or why not."""
    caplog.set_level(logging.DEBUG, "gridgrad.engines")
    return lambda: [record.getMessage() for record in caplog.records]


def samples(*shape: int, dtype=torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def expected(call, *tensors):
    """The same on the CPU's own engines."""
    with mock.patch.object(library, "_GPU", "cuda"):
        return call(*tensors)


def agree(found, wanted, tolerance: float = 1e-12) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride())
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "transposed": lambda x: x.mT.contiguous().mT,
    "sliced": lambda x: torch.stack([x, x], -1).flatten(-2)[..., ::2],
    "expanded": lambda x: x[..., :1].expand(x.shape),
    "channels last": lambda x: x[None].contiguous(memory_format=torch.channels_last)[0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides(layout, ran):
    x = LAYOUTS[layout](samples(3, 4, 6))
    found = gridgrad.gradient(x, dim=(1, 2), spacing=(0.5, jittered(6)))
    assert ran() == ["triton"]
    agree(
        found, expected(lambda x: gridgrad.gradient(x, dim=(1, 2), spacing=(0.5, jittered(6))), x)
    )


BOUNDARIES = {
    "one-sided": {"boundary": "one-sided"},
    "periodic": {"boundary": "periodic", "period": 1.2},
    "reflect": {"boundary": "reflect"},
    "replicate": {"boundary": ("replicate", "one-sided")},
    "fixed": {"boundary": (2.5, "reflect")},
}


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("order", [1, 2])
def test_coordinates_on_the_device(boundary, order, ran):
    """They are not looked at: their weights are made where they are."""
    f, x = samples(9, 2), torch.from_numpy(jittered(9))
    how = {"dim": 0, "order": order, **BOUNDARIES[boundary]}
    found = gridgrad.derivative(f, spacing=x, **how)
    assert ran() == ["triton"]
    agree([found], [gridgrad.derivative(f, spacing=x.numpy(), **how)], 1e-10)


def test_a_sample_without_weight_is_not_read_on_the_device(ran):
    """Between equal gaps the sample itself has no weight."""
    x = torch.tensor([0.0, 1.0, 2.0, 4.0, 5.0, 6.0])
    for k in range(6):
        f = torch.arange(6.0)
        f[k] = np.nan
        (found,) = gridgrad.gradient(f, spacing=(x,))
        (wanted,) = expected(lambda f: gridgrad.gradient(f, spacing=(x.numpy(),)), f)
        assert found.isnan().tolist() == wanted.isnan().tolist()
    assert set(ran()) == {"triton"}


@pytest.mark.parametrize("boundary", ["one-sided", "periodic", "reflect"])
@pytest.mark.parametrize("where", ["step", "numbers", "device"])
def test_backwards_and_twice(boundary, where, ran):
    f = samples(2, 7).requires_grad_()
    x = {"step": 0.7, "numbers": jittered(7), "device": torch.from_numpy(jittered(7))}[where]
    how = {"boundary": boundary}
    if boundary == "periodic" and where != "step":
        how["period"] = 1.3

    def once_and_twice(f):
        found = gridgrad.derivative(f, spacing=x, **how)
        (once,) = torch.autograd.grad((found**3).sum(), f, create_graph=True)
        return once.detach(), *torch.autograd.grad((once**2).sum(), f)

    agree(once_and_twice(f), expected(once_and_twice, f), 1e-9)
    assert set(ran()) == {"triton"}


@pytest.mark.parametrize("operator", ["gradient", "laplacian"])
def test_a_step_on_the_device(operator, ran):
    f, step = samples(5, 6).requires_grad_(), torch.tensor(-0.7, dtype=torch.float64)

    def call(f, spacing=step):
        found = getattr(gridgrad, operator)(f, spacing=spacing)
        return found if isinstance(found, tuple) else (found,)

    found, wanted = call(f), call(f, -0.7)
    agree([x.detach() for x in found], [x.detach() for x in wanted])
    given = [samples(5, 6, seed=1)] * len(found)
    agree(torch.autograd.grad(found, f, given), torch.autograd.grad(wanted, f, given))
    assert set(ran()) == {"triton"}


def test_a_short_dim_goes_backwards_with_weights_on_the_device(ran):
    f = samples(3, 5).requires_grad_()
    x = torch.from_numpy(jittered(3))

    def backwards(f):
        return torch.autograd.grad(
            gridgrad.gradient(f, spacing=(x,), dim=0), f, samples(3, 5, seed=1)
        )

    agree(backwards(f), expected(backwards, f))
    assert set(ran()) == {"triton"}


def test_arrays_between(ran):
    f = samples(5, 6).requires_grad_()
    hessian = gridgrad.hessian(f)
    wanted = expected(gridgrad.hessian, f)
    agree([x for row in hessian for x in row], [x for row in wanted for x in row])
    (found,) = torch.autograd.grad(hessian[0][1], f, torch.ones_like(f))
    (other,) = torch.autograd.grad(wanted[0][1], f, torch.ones_like(f))
    agree([found], [other])
    assert set(ran()) == {"triton"}


def test_out_of_any_strides(ran):
    f = samples(4, 6)
    out = [torch.zeros(6, 4, dtype=f.dtype).T, torch.zeros(4, 12, dtype=f.dtype)[:, ::2]]
    versions = [x._version for x in out]
    found = gridgrad.gradient(f, out=out)
    assert [a is b for a, b in zip(found, out, strict=True)] == [True, True]
    assert [x._version > v for x, v in zip(out, versions, strict=True)] == [True, True]
    for one, other in zip(found, expected(gridgrad.gradient, f), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert ran() == ["triton"]


def test_transforms(ran):
    f = samples(3, 8)
    found = torch.func.vmap(lambda x: gridgrad.derivative(x, boundary="periodic"))(f)
    torch.testing.assert_close(found, gridgrad.derivative(f, boundary="periodic"), rtol=0, atol=0)
    _, tangent = torch.func.jvp(lambda x: gridgrad.derivative(x, boundary=2.0), (f,), (f,))
    torch.testing.assert_close(tangent, gridgrad.derivative(f, boundary=0.0), rtol=0, atol=0)
    assert set(ran()) == {"triton"}


# What the engine leaves to the reference, and what it says of that.


@pytest.mark.parametrize(
    ("why", "call"),
    [
        ("weights are complex", lambda f: gridgrad.gradient(f, spacing=2j, dim=0)),
        ("conjugated", lambda f: gridgrad.gradient(torch.complex(f, f).conj(), dim=0)),
        ("beyond the edge", lambda f: gridgrad.derivative(torch.complex(f, f), boundary=1.0)),
    ],
)
def test_says_why_it_did_not_run(why, call, ran):
    f = samples(5, 4)
    leaves = torch.utils._pytree.tree_leaves
    for one, other in zip(leaves(call(f)), leaves(expected(call, f)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    (said,) = ran()
    assert said.startswith("reference engine: ")
    assert why in said


# What a device is asked for, as if it were one.


@pytest.fixture
def capturing(monkeypatch):
    """A CUDA graph is being captured, from when this is called."""
    monkeypatch.setattr(triton_device, "_sent", {})
    return lambda: monkeypatch.setattr(triton_device, "is_capturing", lambda device: True)


@pytest.mark.parametrize("n", [9, 20_000])
def test_coordinates_on_the_device_are_captured_after_a_first_call(n, ran, capturing):
    """Short ones and long ones: nothing that is sent has their length."""
    f, x = samples(n), torch.linspace(0, 1, n, dtype=torch.float64) ** 2
    first = gridgrad.gradient(f, spacing=(x,))
    assert max(table.values.nbytes for table in triton_device._sent.values()) < 1000
    capturing()
    agree(gridgrad.gradient(f, spacing=(x + 1,)), first, 1e-6)
    assert ran() == ["triton"] * 2


@pytest.mark.parametrize("n", [9, 20_000])
def test_coordinates_on_the_host_are_captured_after_a_first_call(n, ran, capturing):
    f, x = samples(n), np.linspace(0, 1, n) ** 2
    first = gridgrad.gradient(f, spacing=(x,))
    capturing()
    agree(gridgrad.gradient(f, spacing=(x.copy(),)), first, 0)
    assert ran() == ["triton"] * 2
    with pytest.raises(gridgrad.GridError, match="make the same call once before the capture"):
        gridgrad.gradient(f, spacing=(3 * x,))
    gridgrad.gradient(f, spacing=0.3)
    assert ran()[2:] == [
        "reference engine: a CUDA graph is being captured, and this plan has not run before"
    ]


def test_tables_that_are_kept_have_a_limit(capturing, monkeypatch):
    monkeypatch.setattr(triton_device, "KEPT", 2000)
    monkeypatch.setattr(triton_device, "_ALL_KEPT", 3000)
    for n in (20, 30, 40, 300):
        gridgrad.gradient(samples(n), spacing=(np.linspace(0, 1, n) ** 2,))
        assert sum(table.values.nbytes for table in triton_device._sent.values()) <= 3000
    assert max(table.values.nbytes for table in triton_device._sent.values()) <= 2000


def test_where_triton_is_missing_the_reference_engine_runs(ran, monkeypatch):
    monkeypatch.setattr(engine, "is_installed", lambda: False)
    f = samples(5)
    agree(gridgrad.gradient(f), expected(gridgrad.gradient, f))
    assert ran() == ["reference engine: Triton 3.6 or later is not installed"]


def no_resources(*_):
    from triton.runtime.errors import OutOfResources

    raise OutOfResources(1, 0, "threads")


def no_compiler(*_):
    raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")


@pytest.mark.parametrize("fail", [no_resources, no_compiler])
def test_a_kernel_that_cannot_be_compiled_is_not_tried_again(fail, ran, monkeypatch):
    monkeypatch.setattr(engine, "_broken", [])
    monkeypatch.setattr(engine.Launch, "__call__", fail)
    f = samples(5)
    for _ in range(2):
        agree(gridgrad.gradient(f), expected(gridgrad.gradient, f))
    first, second, third = ran()
    assert "the reference engine takes over" in first
    assert second == third
    assert "Triton failed" in second


def test_other_errors_are_not_hidden(monkeypatch):
    def fail(*_):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(engine.Launch, "__call__", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        gridgrad.gradient(samples(5))


def test_jobs(ran):
    """The second call of a kind is a launch and no more; it goes backwards as the first does."""
    f = samples(4, 5).requires_grad_()
    with on_memory(jobs=True):
        first = gridgrad.gradient(f.detach(), spacing=0.3)
        second = gridgrad.gradient(f.detach(), spacing=0.3)
        followed = gridgrad.gradient(f, spacing=0.3)
    assert ran() == ["triton"] * 2  # a job does not say so again
    agree(second, first, 0)
    agree([x.detach() for x in followed], first, 0)
    (back,) = torch.autograd.grad(followed[0], f, torch.ones_like(f))
    (wanted,) = torch.autograd.grad(
        expected(lambda f: gridgrad.gradient(f, spacing=0.3), f)[0], f, torch.ones_like(f)
    )
    agree([back], [wanted])
