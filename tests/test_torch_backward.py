"""The backward pass on PyTorch: the transpose of the plan, on the CPU engine and by its definition."""

import gc
import warnings
import weakref

import array_api_compat.torch as xp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gridgrad
from gridgrad import adjoint
from gridgrad.calls import Call
from gridgrad.engines import cpu, reference
from gridgrad.plan import Plan, gradient_plan

from .grids import jittered

COMPUTED = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
REAL = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
DTYPES = [*REAL, torch.complex64, torch.complex128]
LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "transposed": lambda x: x.mT.contiguous().mT if x.ndim > 1 else x,
    "sliced": lambda x: torch.stack([x, x], -1).flatten(-2)[..., ::2],
    "first-strided": lambda x: torch.cat([x, x])[: x.shape[0]] if x.ndim else x,
    "expanded": lambda x: x[..., :1].expand(x.shape),
}


def samples(shape, dtype=torch.float64, seed=0) -> torch.Tensor:
    """Numbers that every dtype holds."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-64, 64, (2, *shape), generator=generator) / 16
    return torch.complex(*values.double()).to(dtype) if dtype.is_complex else values[0].to(dtype)


@st.composite
def derivatives(draw):
    """The arguments of a derivative along one dim, with as many samples as it needs."""
    order, even = draw(st.integers(1, 4)), draw(st.booleans())
    side = draw(st.sampled_from(["center", "center", "forward", "backward"]))
    accuracy = draw(st.sampled_from([2, 4] if even else [1, 2, 3]))
    boundary = draw(
        st.sampled_from(["one-sided", "periodic", "reflect", "replicate", 0.0, ("reflect", 0.0)])
    )
    n = order + accuracy + 4 + draw(st.integers(0, 12))
    how = {"order": order, "accuracy": accuracy, "boundary": boundary, "side": side}
    how["spacing"] = draw(st.sampled_from([1, 0.25, -2.0])) if even else [jittered(n, n) * n]
    if boundary == "periodic" and not even:
        how["period"] = n + 0.5
    if boundary == "one-sided":
        how["edge_order"] = draw(st.integers(1, 3))
    before = draw(st.lists(st.integers(1, 3), max_size=2))
    after = draw(st.lists(st.integers(1, 3), max_size=2))
    return (*before, n, *after), {**how, "dim": len(before)}


def matrix_of(how, n) -> torch.Tensor:
    """What the derivative does to each sample, by applying it to each unit vector."""
    found = gridgrad.derivative(torch.eye(n, dtype=torch.float64), **{**how, "dim": 0})
    return found - gridgrad.derivative(torch.zeros(n, 1, dtype=torch.float64), **{**how, "dim": 0})


def along(matrix, dim, y) -> torch.Tensor:
    return torch.tensordot(matrix.to(y.dtype), y, ([1], [dim])).movedim(0, dim)


@given(
    case=derivatives(),
    dtype=st.sampled_from(DTYPES),
    layouts=st.tuples(*[st.sampled_from(sorted(LAYOUTS))] * 2),
)
@settings(max_examples=80)
def test_backwards_is_the_transposed_matrix(case, dtype, layouts):
    """In every dtype it is computed at least in float32, and rounded once."""
    shape, how = case
    f = LAYOUTS[layouts[0]](samples(shape, dtype)).requires_grad_()
    y = LAYOUTS[layouts[1]](samples(shape, dtype, seed=1))
    (found,) = torch.autograd.grad(gridgrad.derivative(f, **how), f, y)
    assert (found.dtype, found.shape) == (dtype, f.shape)
    transposed = matrix_of(how, shape[how["dim"]]).T
    wide = y.to(torch.complex128 if dtype.is_complex else torch.float64)
    expected = along(transposed, how["dim"], wide)
    size = float(along(transposed.abs(), how["dim"], wide.abs()).max())
    computed = torch.finfo(COMPUTED.get(dtype, dtype)).eps
    error = (found.to(wide.dtype) - expected).abs()
    assert bool((error <= 8 * computed * size + torch.finfo(dtype).eps * expected.abs()).all())


def plan_of(shape, how) -> Plan:
    how = dict(how)
    call = Call((samples(shape),), ("input",), dim=how.pop("dim"), spacing=how.pop("spacing"),
                **{k: v for k, v in how.items() if k != "order"})  # fmt: skip
    return gradient_plan({call.axes[0].dim: call.stencil(0, how["order"])})


@given(case=derivatives())
@settings(max_examples=40)
def test_both_engines_transpose_alike(case):
    """And the transpose of the transpose is what was transposed."""
    shape, how = case
    plan = plan_of(shape, how)
    again = plan._replace(
        terms=tuple(
            t._replace(
                stencil=adjoint._transpose(
                    adjoint._transpose(t.stencil, shape[t.dim]), shape[t.dim]
                )
            )
            for t in plan.terms
        )
    )
    f, matrix = samples(shape), matrix_of(how, shape[how["dim"]])
    for each, expected in (
        (plan.adjoint(shape), along(matrix.T, how["dim"], f)),
        (again, along(matrix, how["dim"], f)),
    ):
        size = 1e-13 * float(along(matrix.abs(), how["dim"], f.abs()).max() + expected.abs().max())
        (slow,) = reference.run(each, (f,), (torch.float64,), xp)
        torch.testing.assert_close(slow, expected, rtol=0, atol=8 * size)
        fast = np.empty(shape)
        if cpu.run(each, (f.numpy(),), (fast,), (np.dtype(float),)):
            torch.testing.assert_close(torch.from_numpy(fast), slow, rtol=0, atol=size)


@pytest.mark.parametrize("spacing", [0.5, jittered(9) * 9], ids=["step", "coordinates"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_reaches_the_samples_that_were_read(bad, spacing):
    """A gradient that is NaN or infinite reaches exactly the samples to which its result gave a weight."""
    how = {"order": 1, "dim": 0, "spacing": spacing, "accuracy": 2, "boundary": "one-sided"}
    plan = plan_of((9,), how).adjoint((9,))
    matrix = matrix_of(how, 9)
    f = torch.zeros(9, dtype=torch.float64, requires_grad=True)
    result = gridgrad.derivative(f, **how)
    for k in range(9):
        y = samples((9,), seed=3)
        y[k] = bad
        (found,) = torch.autograd.grad(result, f, y, retain_graph=True)
        assert (~found.isfinite()).tolist() == (matrix[k] != 0).tolist()
        (slow,) = reference.run(plan, (y,), (torch.float64,), xp)
        torch.testing.assert_close(found, slow, rtol=1e-13, atol=0, equal_nan=True)


@pytest.mark.parametrize("even", [True, False])
def test_a_line_of_many_samples(even):
    """Weights on a long line are made on the way, forwards; backwards they are those same weights."""
    n = 20_001
    spacing = 0.5 if even else torch.from_numpy(jittered(n) * n)
    f, y = samples((n,)).requires_grad_(), samples((n,), seed=1)
    (found,) = gridgrad.gradient(f, spacing=(spacing,), edge_order=2)
    (back,) = torch.autograd.grad(found, f, y)
    left, right = (found.detach() * y).sum(), (f.detach() * back).sum()
    assert abs(float(left - right)) < 1e-13 * float((found.detach() * y).abs().sum())


CUBE = (5, 6, 7)


def gradients(f, ys, **how):
    return torch.autograd.grad(gridgrad.gradient(f, **how), f, ys)[0]


@pytest.mark.parametrize("shape", [CUBE, (20, 100, 200)], ids=["small", "large"])
def test_a_result_that_was_not_used(shape):
    f = samples(shape).requires_grad_()
    found = gridgrad.gradient(f)
    (back,) = torch.autograd.grad((found[1] ** 2).sum(), f)
    (only,) = torch.autograd.grad((gridgrad.derivative(f, dim=1, edge_order=1) ** 2).sum(), f)
    torch.testing.assert_close(back, only)


@pytest.mark.parametrize("shape", [CUBE, (20, 100, 200)], ids=["small", "large"])
@pytest.mark.parametrize("form", ["expanded", "transposed", "sliced", "channels-last", "conj"])
def test_gradients_that_come_in_by_any_strides(form, shape):
    ys = [samples(shape, seed=k) for k in range(3)]
    made = {
        "expanded": lambda y: y[:1, :1, :1].expand(shape),
        "transposed": lambda y: y.permute(2, 0, 1).contiguous().permute(1, 2, 0),
        "sliced": LAYOUTS["sliced"],
        "channels-last": lambda y: y.movedim(0, -1).contiguous().movedim(-1, 0),
        "conj": lambda y: y,
    }[form]
    f = samples(shape)
    if form == "conj":
        f, ys = f + 0j, [(y + 1j).conj() for y in ys]
    f.requires_grad_()
    given = [made(y) for y in ys]
    before = [y.clone() for y in given]
    found = gradients(f, given)
    torch.testing.assert_close(found, gradients(f, [y.clone().contiguous() for y in given]))
    for y, then in zip(given, before, strict=True):
        assert torch.equal(y, then), "the incoming gradient was changed"


def test_a_sum_and_a_mean_and_a_part_of_the_results():
    for reduce in (torch.sum, torch.mean, lambda x: x[1:-1, ::2].sum(), lambda x: x.max()):
        f = samples((8, 9)).requires_grad_()
        (found,) = torch.autograd.grad(sum(map(reduce, gridgrad.gradient(f))), f)
        (expected,) = torch.autograd.grad(sum(map(reduce, torch.gradient(f))), f)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (3, 0, 4)])
def test_no_samples(shape):
    dims = [k for k, n in enumerate(shape) if n]
    f = torch.zeros(shape, requires_grad=True)
    found = gradients(f, [torch.zeros(shape)] * len(dims), dim=dims)
    assert found.shape == shape


@pytest.mark.parametrize("shape", [CUBE, (20, 100, 200)], ids=["small", "large"])
def test_the_graph_of_a_backward_pass(shape):
    """Where it is asked for, the backward pass can be differentiated too: by what came in."""
    f = samples(shape).requires_grad_()
    ys = [samples(shape, seed=k).requires_grad_() for k in range(3)]
    (back,) = torch.autograd.grad(gridgrad.gradient(f), f, ys, create_graph=True)
    direction = samples(shape, seed=9)
    twice = torch.autograd.grad(back, ys, direction)
    for found, expected in zip(twice, gridgrad.gradient(direction), strict=True):
        torch.testing.assert_close(found, expected)
    f = samples(shape).requires_grad_()
    loss = sum((g**3).sum() for g in gridgrad.gradient(f))
    (once,) = torch.autograd.grad(loss, f, create_graph=True)
    (found,) = torch.autograd.grad((once * direction).sum(), f)
    loss = sum((g**3).sum() for g in torch.gradient(f))
    (once,) = torch.autograd.grad(loss, f, create_graph=True)
    (expected,) = torch.autograd.grad((once * direction).sum(), f)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("needed", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize(
    "dtypes",
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float64),
        (torch.float16, torch.float32),
        (torch.float32, torch.complex128),
        (torch.float64, torch.int32),
    ],
    ids=str,
)
@pytest.mark.parametrize("operator", ["divergence", "curl", "jacobian"])
def test_several_inputs(operator, dtypes, needed):
    """Each input that requires a gradient gets one, of its own dtype, in the precision of the results."""
    if dtypes[1] == torch.int32 and needed[1]:
        return  # integers require none
    shape = (6, 7)
    given = [
        (samples(shape, seed=k) * 4).to(dtype).requires_grad_(need)
        for k, (dtype, need) in enumerate(zip(dtypes, needed, strict=True))
    ]
    wide = torch.complex128 if any(d.is_complex for d in dtypes) else torch.float64
    wider = [x.detach().to(wide).requires_grad_(x.requires_grad) for x in given]

    def back(inputs):
        found = getattr(gridgrad, operator)(inputs)
        parts = [x for row in found for x in row] if operator == "jacobian" else [found]
        parts = [x for x in parts if x.requires_grad]
        ys = [
            samples(shape, torch.float64, seed=7).to(x.dtype) * (1 + k) for k, x in enumerate(parts)
        ]
        return torch.autograd.grad(parts, [x for x in inputs if x.requires_grad], ys)  # fmt: skip

    asked = [x for x in given if x.requires_grad]
    for x, found, expected in zip(asked, back(given), back(wider), strict=True):
        assert (found.dtype, found.shape) == (x.dtype, x.shape)
        expected = expected if x.dtype.is_complex else expected.real
        eps = torch.finfo(x.dtype).eps
        torch.testing.assert_close(found, expected.to(x.dtype), rtol=eps, atol=32 * eps)


CALLS = {
    "short": (lambda f: gridgrad.gradient(f), (6, 7)),
    "long": (lambda f: gridgrad.gradient(f, accuracy=4), (6, 7)),
    "coordinates": (lambda f: gridgrad.gradient(f, spacing=(2.0, [0, 1, 3, 4])), (6, 4)),
    "large": (lambda f: gridgrad.gradient(f), (1500, 1200)),
    "divergence": (lambda f: (gridgrad.divergence((f, f)),), (6, 7)),
}


@pytest.mark.parametrize("name", CALLS)
def test_nothing_of_the_input_is_kept(name):
    call, shape = CALLS[name]
    call(samples(shape).requires_grad_())  # the second call may go another way than the first
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        leaf = samples(shape).requires_grad_()
        f = leaf * 2
        found = call(f)
    assert all(x.shape == () for x in kept)  # what the product keeps
    memory = weakref.ref(f.untyped_storage())
    gone = weakref.ref(f)
    del f
    gc.collect()
    assert gone() is None
    assert memory() is None
    sum(x.sum() for x in found).backward()
    assert leaf.grad.shape == shape


@pytest.mark.parametrize("name", CALLS)
def test_backward_says_nothing_and_changes_nothing(name):
    call, shape = CALLS[name]
    f = samples(shape).requires_grad_()
    before = f.detach().clone()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            found = call(f)
            sum(x.sum() for x in found).backward(retain_graph=True)
            sum(x.sum() for x in found).backward()
    assert torch.equal(f.detach(), before)
    assert f.grad.is_contiguous()
    assert f._version == 0


def test_the_short_way_and_the_long_way_agree():
    """Small tensors go the short way from the second call on, forwards and backwards."""
    for shape in ((1000,), (30, 20), (6, 7, 8)):
        for dtype in (torch.float32, torch.float64):
            for dim in (None, 0, -1):
                f = samples(shape, dtype).requires_grad_()
                ys = [samples(shape, dtype, k) for k in range(len(shape) if dim is None else 1)]
                how = {"dim": dim, "spacing": 0.5, "edge_order": 2}
                runs = [(gridgrad.gradient(f, **how), gradients(f, ys, **how)) for _ in range(3)]
                for found, back in runs[1:]:
                    assert torch.equal(back, runs[0][1])
                    assert all(map(torch.equal, found, runs[0][0]))


def test_batches_of_incoming_gradients():
    """`is_grads_batched`, by which PyTorch makes whole jacobians at once."""
    for shape in ((6,), (4, 5)):
        f = samples(shape).requires_grad_()
        for _ in range(2):
            found = gridgrad.gradient(f)[0]
            eye = torch.eye(found.numel(), dtype=f.dtype).reshape(-1, *shape)
            (rows,) = torch.autograd.grad(found, f, eye, is_grads_batched=True)
            expected = torch.autograd.functional.jacobian(lambda f: gridgrad.gradient(f)[0], f)
            torch.testing.assert_close(rows, expected.reshape(-1, *shape))
