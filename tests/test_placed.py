"""Coordinates as arrays in compiled programs, which make the plan of them when they run."""

import numpy as np
import pytest
import torch
from functorch.compile import make_boxed_func, min_cut_rematerialization_partition
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.testing import CompileCounterWithBackend

import gridgrad
from gridgrad.arrays import placed
from gridgrad.arrays.near import count
from gridgrad.arrays.operator import from_text
from gridgrad.errors import GridError

pytestmark = pytest.mark.filterwarnings(
    r"ignore:.torch\.jit\.script(_method)?. is deprecated:DeprecationWarning"
)
N, M = 9, 12


def uneven(n, dtype=np.float64):
    return (np.cumsum(np.random.default_rng(n).integers(1, 9, n)) / 4).astype(dtype)


ACROSS, DOWN = uneven(M), uneven(N)
GIVEN = {
    "numpy": ACROSS,
    "numpy-single": ACROSS.astype(np.float32),
    "numpy-integers": (ACROSS * 4).astype(np.int64),
    "torch": torch.from_numpy(ACROSS),
    "torch-single": torch.from_numpy(ACROSS).float(),
    "torch-integers": torch.from_numpy(ACROSS * 4).long(),
    "every-second": torch.from_numpy(uneven(2 * M))[::2],
    "falling": torch.from_numpy(ACROSS).flip(0),
    "list": ACROSS.tolist(),
    "tuple": tuple(ACROSS.tolist()),
}
CALLS = {
    "one": lambda x, c: gridgrad.gradient(x, dim=1, spacing=(c,)),
    "line": lambda x, c: gridgrad.gradient(x, spacing=(c,)),
    "bare": lambda x, c: gridgrad.gradient(x, dim=(1,), spacing=c),
    "with-a-step": lambda x, c: gridgrad.gradient(x, spacing=(2.0, c), edge_order=2),
    "both": lambda x, c: gridgrad.gradient(x, spacing=(DOWN, c), accuracy=3),
    "derivative": lambda x, c: (gridgrad.derivative(x, order=2, spacing=(c,), side="forward"),),
    "laplacian": lambda x, c: (gridgrad.laplacian(x, spacing=(DOWN, c), boundary="reflect"),),
    "periodic": lambda x, c: gridgrad.gradient(
        x, dim=1, spacing=(c,), boundary="periodic", period=999
    ),
    "with-ends": lambda x, c: gridgrad.gradient(x, spacing=(c,), edge_order=3),
    "both-ways": lambda x, c: gridgrad.gradient(x, spacing=(DOWN, c)),
    "divergence": lambda x, c: (gridgrad.divergence((x, 2 * x), spacing=(DOWN, c)),),
    "curl": lambda x, c: (gridgrad.curl((x, 2 * x), spacing=(DOWN, c)),),
    "jacobian": lambda x, c: sum(gridgrad.jacobian((x, x * 3), spacing=(DOWN, c)), ()),
    "directional": lambda x, c: (
        gridgrad.directional_derivative(x, (1.0, -0.5), spacing=(DOWN, c)),
    ),
    "hessian": lambda x, c: gridgrad.hessian(x, spacing=(1, c))[0],
}


# Those that are made of PyTorch's own operations, whose last bits may differ.
FUSED = {"one", "bare", "with-a-step", "both-ways", "divergence", "curl", "jacobian", "directional"}


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Operators:
    """A backend that counts the operators at coordinates."""

    def __init__(self):
        self.count = 0

    def __call__(self, graph, inputs):
        called = [node.target for node in graph.graph.nodes]
        self.count += called.count(torch.ops.gridgrad.run_at.default)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)


@pytest.mark.parametrize(
    ("call", "given"),
    [(call, "numpy") for call in CALLS if call not in ("line", "with-ends")]
    + [("one", given) for given in GIVEN]
    + [("bare", "torch"), ("with-a-step", "torch-single"), ("both", "list")],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_program_gives_what_a_call_does(call, given, dtype):
    c, function, backend = GIVEN[given], CALLS[call], Operators()
    x = torch.randn(N, M).to(dtype)
    compiled = torch.compile(function, backend=backend, fullgraph=True)
    found, expected = [], []
    for each, into in ((compiled, found), (function, expected)):
        mine = x.clone().requires_grad_()
        results = each(mine, c)
        into += [*results, *torch.autograd.grad(sum((r * r).sum() for r in results), mine)]
    assert backend.count == 1
    assert torch.equal(x, mine)
    for value, want in zip(found, expected, strict=True):
        assert (value.dtype, value.stride()) == (want.dtype, want.stride())
        if call in FUSED:
            atol = 16 * torch.finfo(dtype).eps * float(want.detach().abs().max())
            torch.testing.assert_close(value, want, rtol=0, atol=atol)
        else:
            assert torch.equal(value, want)


@pytest.mark.parametrize("call", ["one", "laplacian"])
def test_other_coordinates_of_as_many_samples_need_no_other_program(call):
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(CALLS[call], backend=counter, fullgraph=True)
    x = torch.randn(N, M)
    c = torch.from_numpy(ACROSS.copy())
    for _ in range(3):
        torch.testing.assert_close(compiled(x, c), CALLS[call](x, c))
        c[3] += 0.0625  # in place, too
    torch.testing.assert_close(compiled(x, c * 2), CALLS[call](x, c * 2))
    assert counter.frame_count == 1


@pytest.mark.parametrize("call", ["one", "laplacian"])
def test_long_coordinates_are_told_apart(monkeypatch, call):
    monkeypatch.setattr(placed, "_SHORT", 8)
    monkeypatch.setattr(placed, "_KEPT", 300)
    compiled = torch.compile(CALLS[call], backend="aot_eager", fullgraph=True)
    x = torch.randn(N, M)
    c = torch.from_numpy(ACROSS.copy())
    for scale in (1.0, 3.0, 1 / 3, 2.0, 0.5):
        c *= scale
        torch.testing.assert_close(compiled(x, c), CALLS[call](x, c))
        assert all(len(each) < c.nbytes for _, each in placed.values_of([c]))
        assert placed.values_of([c]) == placed.values_of([c.clone()])


def test_a_program_read_coordinates_that_had_changed_since():
    """A line from which the kernel makes weights was the caller's own, kept for all of the same values."""
    call = CALLS["with-ends"]
    compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
    x, c = torch.randn(20_000), torch.from_numpy(uneven(20_000))
    compiled(x, c)
    c *= 2
    compiled(x, c)
    half = c / 2
    assert torch.equal(compiled(x, half)[0], call(x, half)[0])


@pytest.mark.parametrize("backward", [False, True])
def test_weights_of_extreme_coordinates_were_made_in_single_precision(backward):
    call, c = CALLS["with-ends"], uneven(M) * 1e-40
    found = []
    for each in (torch.compile(call, backend="aot_eager", fullgraph=True), call):
        x = torch.linspace(1e-30, 2e-30, M).requires_grad_()
        results = each(x, c)
        found.append(
            torch.autograd.grad(results, x, torch.full_like(x, 1e-30)) if backward else results
        )
    assert found[1][0].isfinite().all()
    assert found[1][0].any()
    assert torch.equal(found[0][0], found[1][0])


def test_programs_that_are_fused_refuse_such_coordinates():
    compiled = torch.compile(CALLS["line"], backend="aot_eager", fullgraph=True)
    with pytest.raises(GridError, match="beyond the range of float32"):
        compiled(torch.ones(M), uneven(M) * 1e-40)


def test_weights_are_made_once_for_a_step_and_kept_for_its_backward_pass():
    graphs = {}

    def keep(name):
        def compiler(graph, inputs):
            targets = [node.target for node in graph.graph.nodes]
            shapes = sorted(tuple(each.shape) for each in inputs)
            graphs[name] = targets.count(torch.ops.gridgrad.weights_at.default), shapes
            return make_boxed_func(graph)

        return compiler

    compilers = {
        "fw_compiler": keep("forward"),
        "bw_compiler": keep("backward"),
        "partition_fn": min_cut_rematerialization_partition,
    }
    compiled = torch.compile(CALLS["both-ways"], backend=aot_autograd(**compilers), fullgraph=True)
    x = torch.randn(N, M, requires_grad=True)
    sum((each**2).sum() for each in compiled(x, torch.from_numpy(ACROSS).float())).backward()
    assert graphs["forward"] == (1, [(N,), (N, M), (M,)])
    # The samples have no part in a gradient of what is linear in them.
    assert graphs["backward"] == (0, [(N, M), (N, M), (7 * (N + M) + 4,)])


@pytest.mark.parametrize("spacing", [[2.0, 3.0], (2.0, 3)])
def test_a_list_of_steps_is_no_coordinates(spacing):
    backend = Operators()
    compiled = torch.compile(
        lambda x: gridgrad.gradient(x, spacing=spacing), backend=backend, fullgraph=True
    )
    x = torch.randn(N, M)
    torch.testing.assert_close(compiled(x), gridgrad.gradient(x, spacing=spacing))
    assert backend.count == 0


def test_a_step_of_1_was_taken_for_coordinates():
    """How a call is told names coordinates by True, which equals 1: one text was remembered for both."""
    x, across = torch.randn(N, M), torch.from_numpy(ACROSS)
    down = torch.arange(N, dtype=torch.float64) ** 1.2

    def both(x):
        return [
            gridgrad.gradient(x, spacing=each)
            for each in ((down, 1.0), (down, across), (1, across))
        ]

    for backend in ("eager", "aot_eager"):
        torch._dynamo.reset()
        compiled = torch.compile(both, backend=backend, fullgraph=True)
        torch.testing.assert_close(compiled(x), both(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8], ids=str)
def test_integers_at_coordinates_have_parts(dtype):
    x = (100 * torch.rand(N, M)).to(dtype)
    compiled = torch.compile(
        lambda x: gridgrad.gradient(x, dim=1, spacing=torch.from_numpy(ACROSS)),
        backend="aot_eager", fullgraph=True,
    )  # fmt: skip
    want = gridgrad.gradient(x, dim=1, spacing=torch.from_numpy(ACROSS))
    torch.testing.assert_close(compiled(x), want, rtol=1e-5, atol=1e-4)


def test_complex_coordinates_lost_their_imaginary_part_in_a_backward_pass():
    x = torch.randn(N, dtype=torch.complex128, requires_grad=True)
    c, given = (torch.randn(N, dtype=torch.complex128) for _ in range(2))

    def slope(x):
        return gridgrad.derivative(x, spacing=c)

    compiled = torch.compile(slope, backend="aot_eager", fullgraph=True)
    found, want = (torch.autograd.grad(f(x), x, given)[0] for f in (compiled, slope))
    torch.testing.assert_close(found, want)


def test_integers_in_a_list_keep_all_their_digits():
    c = [2**60, 2**60 + 1, 2**60 + 3, 2**60 + 7]
    x = torch.randn(4, dtype=torch.float64)
    compiled = torch.compile(
        lambda x: gridgrad.derivative(x, spacing=(c,)), backend="aot_eager", fullgraph=True
    )
    torch.testing.assert_close(compiled(x), gridgrad.derivative(x, spacing=(c,)))


def test_true_is_no_step():
    compiled = torch.compile(
        lambda x: gridgrad.gradient(x, spacing=(True, torch.from_numpy(ACROSS))), backend="eager"
    )
    with pytest.raises(gridgrad.errors.GridTypeError, match="spacing for dim 0 must be a number"):
        compiled(torch.randn(N, M))


def test_coordinates_of_the_same_bytes_and_another_dtype_are_others():
    c = torch.from_numpy(ACROSS)
    assert placed.values_of([c]) == placed.values_of([c.clone()])
    assert placed.values_of([c]) != placed.values_of([c.view(torch.int64)])


@pytest.mark.parametrize("n", [20_000, 700_000])
def test_programs_of_long_coordinates(n):
    backend = Operators()
    x, c = torch.randn(n, requires_grad=True), torch.from_numpy(uneven(n))
    compiled = torch.compile(CALLS["line"], backend=backend, fullgraph=True)
    (found,), (expected,) = compiled(x, c), CALLS["line"](x, c)
    assert backend.count == 1
    torch.testing.assert_close(found, expected)
    grads = [torch.autograd.grad((each**2).sum(), x)[0] for each in (found, expected)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("n", [M - 1, M + 1])
def test_coordinates_of_another_length_are_refused(n):
    x, c = torch.randn(N, M), torch.arange(float(n))
    compiled = torch.compile(CALLS["one"], backend="eager")
    messages = []
    for function in (CALLS["one"], compiled):
        with pytest.raises(GridError) as found:
            function(x, c)
        messages.append(str(found.value))
    assert messages[0] == messages[1]


def test_what_is_wrong_with_values_is_said_when_a_program_runs():
    compiled = torch.compile(CALLS["one"], backend="aot_eager", fullgraph=True)
    x, c = torch.randn(N, M), torch.from_numpy(ACROSS.copy())
    compiled(x, c)
    c[4] = c[5]
    with pytest.raises(GridError) as eager:
        CALLS["one"](x, c)
    with pytest.raises(GridError) as found:
        compiled(x, c)
    assert str(found.value) == str(eager.value)


def test_coordinates_that_are_learned_are_read():
    """Their gradients are asked for, which the operator does not give."""
    backend = Operators()
    compiled = torch.compile(CALLS["one"], backend=backend, fullgraph=True)
    found = []
    for each in (compiled, CALLS["one"]):
        x = torch.randn(N, M, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        c = torch.from_numpy(ACROSS.copy()).requires_grad_()
        found.append(torch.autograd.grad((each(x, c)[0] ** 2).sum(), c)[0])
    assert backend.count == 0
    torch.testing.assert_close(*found)


ORDER = {}


def order_of(x, c):
    """What a program was told of the call `one`, from the program itself."""

    def backend(graph, inputs):
        (node,) = (n for n in graph.graph.nodes if n.target == torch.ops.gridgrad.run_at.default)
        ORDER["text"] = node.args[1]
        return graph

    torch.compile(CALLS["one"], backend=backend, fullgraph=True)(x, c)
    return ORDER["text"]


@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_the_operator_is_one_as_pytorch_wants_them():
    x = torch.randn(N, M, dtype=torch.float64, requires_grad=True)
    c = torch.from_numpy(ACROSS)
    text = order_of(x, c)
    torch.library.opcheck(torch.ops.gridgrad.run_at.default, ([x], text, [c]))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_the_operator_of_weights_is_one_as_pytorch_wants_them(kind):
    x, c = torch.randn(N, M, dtype=kind), torch.from_numpy(ACROSS)
    given = from_text(order_of(x, c))
    arguments = [c], repr(given.call), [N, M], count(given.plan, (N, M)), kind
    torch.library.opcheck(torch.ops.gridgrad.weights_at.default, arguments)
    first, again = (torch.ops.gridgrad.weights_at.default(*arguments) for _ in range(2))
    assert torch.equal(first, again)
    assert first.data_ptr() != again.data_ptr()  # a program may write to what it got


def test_its_derivatives_are_those_of_differences():
    x = torch.randn(4, M, dtype=torch.float64, requires_grad=True)
    c = torch.from_numpy(ACROSS)
    text = order_of(x, c)

    def function(x):
        return tuple(torch.ops.gridgrad.run_at.default([x], text, [c]))

    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)


@pytest.mark.parametrize("given", ["numpy", "torch", "list"])
def test_inductor_runs_it(given):
    def loss(x):
        return sum((each * each).sum() for each in CALLS["with-a-step"](x, GIVEN[given]))

    found = []
    for each in (torch.compile(loss, fullgraph=True), loss):
        x = torch.randn(N, M, generator=torch.Generator().manual_seed(1)).requires_grad_()
        found.append(torch.autograd.grad(each(x), x)[0])
    torch.testing.assert_close(*found)
