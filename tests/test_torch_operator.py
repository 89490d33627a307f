"""The operator that compiled programs call, what the compiler makes of it, and export."""

import io
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import gridgrad
from gridgrad.arrays.operator import Order, as_text, from_text
from gridgrad.calls import Call
from gridgrad.plan import Plan, Term, gradient_plan

pytestmark = pytest.mark.filterwarnings(
    r"ignore:.torch\.jit\.script(_method)?. is deprecated:DeprecationWarning"
)

SHAPES = [(5, 6), (7, 9), (12, 4), (33, 8), (4, 50), (6, 6), (21, 5), (64, 32), (9, 7), (128, 128)]


class Orders:
    """A backend for `torch.compile` that notes the orders of the operator in what it is given."""

    def __init__(self, inner: str | None = None) -> None:
        self.texts, self.inner = [], inner

    def __call__(self, graph, example_inputs):
        calls = [node for node in graph.graph.nodes if "gridgrad.run" in str(node.target)]
        self.texts += [node.args[1] for node in calls]
        if self.inner is None:
            return graph.forward
        return torch._dynamo.lookup_backend(self.inner)(graph, example_inputs)


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def samples(*shape: int, dtype=torch.float32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 8).to(dtype)


def order_of(plan: Plan, dtype: torch.dtype, compute: torch.dtype | None = None) -> str:
    names = [str(each).removeprefix("torch.") for each in (dtype, compute or dtype)]
    results, computes = ((name,) * plan.outputs for name in names)
    return as_text(
        Order(plan, results, computes, tuple(range(plan.inputs)), tuple(range(plan.outputs)))
    )


def call_of(x: torch.Tensor, **how) -> Call:
    return Call((x,), ("input",), **{"dim": None, **how})


def gradient_of(x: torch.Tensor, **how) -> Plan:
    call = call_of(x, **how)
    return gradient_plan({each.dim: call.stencil(k) for k, each in enumerate(call.axes)})


def divergence_of(x: torch.Tensor) -> Plan:
    call = call_of(x)
    return Plan(2, 1, tuple(Term(0, k, a.dim, call.stencil(k)) for k, a in enumerate(call.axes)))


F32, F64 = torch.float32, torch.float64
MADE = {
    "plain": lambda: ([samples(5, 6)], gradient_of(samples(5, 6)), F32, None),
    "wide": lambda: ([samples(5, 6, dtype=F64)], gradient_of(samples(5, 6), accuracy=4), F64, None),
    "transposed": lambda: ([samples(5, 6).T], gradient_of(samples(6, 5)), F32, None),
    "sliced": lambda: ([samples(5, 12)[:, ::2]], gradient_of(samples(5, 6)), F32, None),
    "channels-last": lambda: (
        [samples(2, 3, 5, 6).to(memory_format=torch.channels_last)],
        gradient_of(samples(2, 3, 5, 6), dim=(2, 3)), F32, None,
    ),
    "half": lambda: ([samples(5, 6).half()], gradient_of(samples(5, 6)), torch.float16, F32),
    "bfloat16": lambda: (
        [samples(5, 6).bfloat16()], gradient_of(samples(5, 6), boundary="periodic"),
        torch.bfloat16, F32,
    ),
    "complex": lambda: ([samples(5, 6) * (1 + 2j)], gradient_of(samples(5, 6)), torch.complex64, None),
    "integers": lambda: ([samples(5, 6).int()], gradient_of(samples(5, 6)), F32, F64),
    "two": lambda: ([samples(5, 6), samples(5, 6, seed=1)], divergence_of(samples(5, 6)), F32, None),
    "two-dtypes": lambda: (
        [samples(5, 6, dtype=F64), samples(5, 6)], divergence_of(samples(5, 6)), F64, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_pytorch_checks_the_operator(name):
    """Its schema, its autograd registration, its fake tensors (strides too), and ahead-of-time autograd."""
    inputs, plan, dtype, compute = MADE[name]()
    inputs = [x.requires_grad_(x.is_floating_point() or x.is_complex()) for x in inputs]
    found = torch.library.opcheck(
        torch.ops.gridgrad.run.default, (inputs, order_of(plan, dtype, compute))
    )
    assert set(found.values()) == {"SUCCESS"}


@pytest.mark.parametrize("name", MADE)
def test_an_order_is_the_same_after_it_was_written(name):
    _, plan, dtype, compute = MADE[name]()
    text = order_of(plan, dtype, compute)
    order = from_text(text)
    assert order.plan == plan
    assert as_text(order) == text
    back, wanted = order.backward(range(plan.outputs), order.results[:1] * plan.inputs)
    assert wanted == list(range(plan.inputs))
    assert back.part((9, 9, 9, 9)) == plan.adjoint((9, 9, 9, 9))
    again, _ = back.backward(range(plan.inputs), order.results)
    assert again.part((9, 9)) == plan


def test_programs_kept_on_disk_are_not_those_of_other_sources():
    """PyTorch keeps compiled programs by what they are made of, and knows the operator by its order only."""
    text = order_of(MADE["plain"]()[1], F32)
    assert as_text(from_text(text)._replace(made_by=1)) != text


def loss(f):
    down, across = gridgrad.gradient(f, spacing=0.5)
    return (down.sin() * across).sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_ten_shapes_are_compiled_once(dtype):
    """Forwards and backwards; the program calls the operator, and its gradients are the eager ones."""
    orders = Orders("aot_eager")
    compiled = torch.compile(loss, backend=orders, dynamic=True, fullgraph=True)
    for k, shape in enumerate(SHAPES):
        found, expected = (samples(*shape, dtype=dtype).requires_grad_() for _ in range(2))
        with torch.compiler.set_stance("fail_on_recompile") if k else nullcontext():
            value = compiled(found)
        want = loss(expected)
        value.backward()
        want.backward()
        torch.testing.assert_close(value, want)
        torch.testing.assert_close(found.grad, expected.grad)
        assert found.grad.stride() == expected.grad.stride()
    assert len(set(orders.texts)) == 1


@pytest.mark.parametrize(
    ("shape", "accuracy", "calls"),
    [
        ((8, 9), 2, False),
        ((8, 9), 4, False),
        ((2100, 2100), 2, False),  # twice as many, if no memory is needed
        ((2100, 2100), 4, True),
        ((2900, 2900), 2, True),
    ],
)
def test_few_samples_are_fused_and_many_go_to_the_engine(shape, accuracy, calls):
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    programs = []

    def note(graph, example_inputs):
        programs.append(graph.print_readable(print_output=False))
        return make_boxed_func(graph.forward)

    def accurate(f):
        down, across = gridgrad.gradient(f, accuracy=accuracy)
        return (down * across).sum()

    compiled = torch.compile(accurate, backend=aot_autograd(fw_compiler=note, bw_compiler=note))
    found, expected = (samples(*shape).requires_grad_() for _ in range(2))
    compiled(found).backward()
    accurate(expected).backward()
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-3)
    assert len(programs) == 2
    assert ["gridgrad.run" in program for program in programs] == [calls, calls]


def test_other_operators_and_layouts_are_compiled_once():
    def function(u, v):
        du, dv = gridgrad.curl((u, v)), gridgrad.laplacian(u, boundary="periodic", accuracy=4)
        return (du * dv).sum() + gridgrad.derivative(v, dim=0, order=2)[0].sum()

    orders = Orders("aot_eager")
    compiled = torch.compile(function, backend=orders, dynamic=True, fullgraph=True)
    for turned in (False, True):  # once for each order of the dims in memory
        for n, shape in enumerate(SHAPES[6:9]):
            given = [samples(*shape, seed=k) for k in range(2)]
            given = [(x.T.contiguous().T if turned else x).requires_grad_() for x in given]
            with torch.compiler.set_stance("fail_on_recompile") if n else nullcontext():
                value = compiled(*given)
            value.backward()
            other = [x.detach().clone().requires_grad_() for x in given]
            function(*other).backward()
            for x, y in zip(given, other, strict=True):
                torch.testing.assert_close(x.grad, y.grad, rtol=1e-5, atol=1e-4)
    assert len(set(orders.texts)) == 3


def test_inductor_gives_what_eager_gives():
    """Its program, in C++, around the operator: values and gradients."""
    compiled = torch.compile(loss, dynamic=True, fullgraph=True)
    for shape in SHAPES[:2]:
        found, expected = (samples(*shape).requires_grad_() for _ in range(2))
        torch.testing.assert_close(compiled(found), loss(expected), rtol=1e-5, atol=1e-3)
        compiled(found).backward()
        loss(expected).backward()
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_few_samples_of_known_shape(backend):
    """Read by rows, which follow each other in memory: those of an argument, and those that a program makes.

    The argument lies elsewhere in its memory at every call.
    """

    def function(f):
        down, across = gridgrad.gradient(f, spacing=0.5)
        around = gridgrad.gradient(f.sin(), boundary="periodic")
        forward = gridgrad.derivative(f, dim=-1, accuracy=1, side="forward")[0]
        return (
            (down * across).sum()
            + sum((each * each).sum() for each in around)
            + forward.cos().sum()
        )

    torch._dynamo.reset()
    compiled = torch.compile(function, backend=backend, fullgraph=True, dynamic=False)
    many = samples(40, 35)
    for k, start in enumerate((0, 7, 20)):
        with torch.compiler.set_stance("fail_on_recompile") if k else nullcontext():
            found = many[start : start + 19].requires_grad_()
            value = compiled(found)
        expected = found.detach().clone().requires_grad_()
        want = function(expected)
        torch.testing.assert_close(value, want, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(
            torch.autograd.grad(value, found),
            torch.autograd.grad(want, expected),
            rtol=1e-5,
            atol=1e-4,
        )


TRANSFORMED = {
    "grad": lambda f: torch.func.grad(loss)(f),
    "vmap-of-grad": lambda f: torch.func.vmap(torch.func.grad(loss))(f[None]),
    "jvp": lambda f: torch.func.jvp(loss, (f,), (f,))[1],
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transforms_inside_compiled_code(name):
    """They failed: the operator has no rules for them, so there the program is PyTorch's own operations."""
    orders = Orders()
    compiled = torch.compile(TRANSFORMED[name], backend=orders, fullgraph=True)
    f = samples(5, 6)
    torch.testing.assert_close(compiled(f), TRANSFORMED[name](f), rtol=1e-5, atol=1e-4)
    assert orders.texts == []


def test_transforms_of_compiled_code():
    """There the compiler gives up. It failed: the compiler went on to read the engine itself."""
    compiled = torch.compile(lambda f: gridgrad.gradient(f)[0], backend="eager")
    f = samples(3, 5, 6)
    for _ in range(2):
        found = torch.func.vmap(compiled)(f)
        assert torch.equal(found, gridgrad.gradient(f, dim=1)[0])
        for each in f:
            assert torch.equal(compiled(each), gridgrad.gradient(each)[0])


class Field(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(samples(5, 6))

    def forward(self) -> torch.Tensor:
        return loss(self.values)


def test_a_compiled_module_trains():
    """Its parameter failed: the compiler cannot read the bases of its type."""
    orders = Orders("aot_eager")
    module, other = Field(), Field()
    compiled = torch.compile(module, backend=orders, fullgraph=True)
    for each, call in ((module, compiled), (other, other)):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            call().backward()
            optimizer.step()
    torch.testing.assert_close(module.values, other.values)
    assert len(set(orders.texts)) == 1


class Slopes(torch.nn.Module):
    def forward(self, f: torch.Tensor, x: torch.Tensor):
        down, across = gridgrad.gradient(f, spacing=(x, 0.5), edge_order=2)
        return down, across + gridgrad.laplacian(f, boundary="reflect")


def test_an_exported_program_survives_a_file():
    """With dynamic dims, saved, loaded, and run on other shapes; it holds PyTorch's own operations only."""
    rows, columns = torch.export.Dim("rows", min=4), torch.export.Dim("columns", min=4)
    given = samples(8, 9), torch.linspace(0, 1, 8) ** 2
    program = torch.export.export(
        Slopes(), given, dynamic_shapes=({0: rows, 1: columns}, {0: rows})
    )
    assert "gridgrad" not in str(program.graph)
    memory = io.BytesIO()
    torch.export.save(program, memory)
    memory.seek(0)
    loaded = torch.export.load(memory).module()
    for n, m in SHAPES[:4]:
        given = samples(n, m), torch.linspace(0, 1, n) ** 2
        for value, want in zip(loaded(*given), Slopes()(*given), strict=True):
            torch.testing.assert_close(value, want, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("fake", [True, False])
def test_tensors_without_values(fake):
    """Fake and meta tensors have the shapes, dtypes, strides and gradients of real ones."""
    layouts = (
        samples(2, 3, 5, 6),
        samples(2, 3, 5, 6).to(memory_format=torch.channels_last),
        samples(2, 3, 5, 6).half(),
        samples(2, 3, 5, 6).int(),
    )
    for real in layouts:
        with FakeTensorMode() if fake else nullcontext() as mode:
            x = mode.from_tensor(real) if fake else real.to("meta")
            x.requires_grad_(real.is_floating_point())
            found = gridgrad.gradient(x, dim=(2, 3))
            if real.is_floating_point():
                (back,) = torch.autograd.grad(sum(y.float().sum() for y in found), x)
                assert (back.shape, back.dtype, back.device) == (x.shape, x.dtype, x.device)
        for value, want in zip(found, gridgrad.gradient(real, dim=(2, 3)), strict=True):
            assert (value.shape, value.dtype) == (want.shape, want.dtype)
            assert value.device == x.device


def test_the_compiler_is_imported_when_it_is_used():
    """It takes seconds; a gradient of a tensor, forwards and backwards, needs none of it."""
    program = (
        "import sys, torch, gridgrad; f = torch.ones(5, requires_grad=True)\n"
        "for _ in range(2): gridgrad.gradient(f)[0].sum().backward()\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
