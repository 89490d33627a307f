"""The ninth silent fault: `torch.gradient` compiles anew for every shape, and does not export."""

import re
import warnings

import numpy as np
import pytest
import torch

import gridgrad

SHAPES = [(5, 6), (7, 9), (12, 4), (33, 8)]


class Counter:
    """A backend for `torch.compile` that counts compilations, and runs what it is given."""

    def __init__(self, backend: str = "eager") -> None:
        self.graphs, self.backend = 0, backend

    def __call__(self, graph, example_inputs):
        self.graphs += 1
        return torch._dynamo.lookup_backend(self.backend)(graph, example_inputs)


def coordinates(n: int) -> torch.Tensor:
    return torch.linspace(0, 1, n, dtype=torch.float64) ** 2


FORMS = {
    "no-spacing": lambda x: gridgrad.gradient(x),
    "step": lambda x: gridgrad.gradient(x, spacing=0.5, edge_order=2),
    "steps": lambda x: gridgrad.gradient(x, spacing=(0.5, -2), dim=(1, 0)),
    "tensor-step": lambda x, h: gridgrad.gradient(x, spacing=h),
    "coordinates": lambda x, c: gridgrad.gradient(x, spacing=(c,), dim=0),
    "coordinates-edge-2": lambda x, c: gridgrad.gradient(x, spacing=(c,), dim=0, edge_order=2),
    "mixed": lambda x, c: gridgrad.gradient(x, spacing=(c, 2.0)),
}


def arguments(form: str, shape: tuple[int, int], dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    x = torch.sin(torch.arange(shape[0] * shape[1]) * 1.7).reshape(shape)
    x = (x * 100).to(dtype)
    if form == "tensor-step":
        return x, torch.tensor(0.3)
    if "coordinates" in form or form == "mixed":
        return x, coordinates(shape[0])
    return (x,)


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


# Each form in float32, and each dtype in the forms without and with coordinates; with --all, each in each.
@pytest.mark.parametrize(
    ("form", "dtype"),
    [
        pytest.param(
            form,
            dtype,
            marks=()
            if dtype == torch.float32 or form in ("no-spacing", "mixed")
            else pytest.mark.exhaustive,
        )
        for form in FORMS
        for dtype in (torch.float32, torch.int32, torch.bfloat16)
    ],
    ids=str,
)
def test_compiles_once_for_every_shape(form, dtype):
    count = Counter()
    compiled = torch.compile(FORMS[form], backend=count, dynamic=True, fullgraph=True)
    for shape in SHAPES:
        given = arguments(form, shape, dtype)
        got, expected = compiled(*given), FORMS[form](*given)
        for value, want in zip(got, expected, strict=True):
            assert (value.dtype, value.device) == (want.dtype, want.device)
            size = want.abs().max().double()
            eps = torch.finfo(want.dtype).eps
            torch.testing.assert_close(value, want, rtol=0, atol=4 * eps * float(size))
    assert count.graphs == 1


def test_torch_compiles_anew_for_every_new_shape():
    count = Counter()
    compiled = torch.compile(torch.gradient, backend=count, dynamic=True)
    for shape in SHAPES:
        compiled(torch.ones(shape))
    assert count.graphs == len(SHAPES)


def test_a_first_call_may_be_compiled():
    """In a fresh process, where no eager call has filled a cache; and without a warning."""
    import subprocess
    import sys

    program = (
        "import warnings; import torch, gridgrad; warnings.simplefilter('error');"
        "f = torch.compile(lambda x: gridgrad.gradient(x), backend='eager', fullgraph=True);"
        "print(f(torch.tensor([1.0, 2.0, 4.0, 7.0])))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "(tensor([1.0000, 1.5000, 2.5000, 3.0000]),)\n", done.stderr


@pytest.mark.parametrize("form", ["step", "tensor-step", "coordinates"])
def test_gradients_flow_through_a_compiled_call(form):
    """Ahead-of-time autograd traces through the call, forwards and backwards."""
    compiled = torch.compile(FORMS[form], backend="aot_eager", dynamic=True, fullgraph=True)
    for shape in SHAPES[:2]:
        found, expected = [], []
        for function, into in ((compiled, found), (FORMS[form], expected)):
            given = [x.double().requires_grad_() for x in arguments(form, shape, torch.float64)]
            sum((value**2).sum() for value in function(*given)).backward()
            into.extend(x.grad for x in given)
        for value, want in zip(found, expected, strict=True):
            torch.testing.assert_close(value, want, rtol=1e-9, atol=1e-6)


def test_coordinates_as_a_list_compile():
    def function(x):
        return gridgrad.gradient(x, spacing=([0.0, 1.0, 3.0, 4.0], 2), edge_order=2)

    x = torch.arange(20.0).reshape(4, 5) ** 2
    compiled = torch.compile(function, backend="eager", fullgraph=True)
    for value, want in zip(compiled(x), function(x), strict=True):
        assert value.dtype == want.dtype == torch.float32
        torch.testing.assert_close(value, want)


def test_lists_of_coordinates_that_change_need_no_other_program():
    count = Counter()
    compiled = torch.compile(
        lambda x, c: gridgrad.gradient(x, spacing=(c, 2)),
        backend=count,
        dynamic=True,
        fullgraph=True,
    )
    x = torch.arange(20.0).reshape(4, 5) ** 2
    for k in range(10):
        c = [0.0, 1.0 + 0.1 * k, 3.0, 4.0 + k]
        torch.testing.assert_close(compiled(x, c), gridgrad.gradient(x, spacing=(c, 2)))
    assert count.graphs == 1


@pytest.mark.parametrize("dynamic", [False, None, True])
def test_a_direction_that_changes(dynamic):
    """The compiler knows no `math.isfinite`, and was told to read a symbol's digits."""
    spacing = ([0.0, 1.0, 3.0, 4.0], 0.5)
    count = Counter("aot_eager")
    compiled = torch.compile(
        lambda x, a: gridgrad.directional_derivative(x, (a, 1.0), spacing=spacing),
        backend=count, dynamic=dynamic, fullgraph=True,
    )  # fmt: skip
    x = torch.arange(20.0).reshape(4, 5) ** 2
    for a in (1.5, 2.5, -3.5, 0.25):
        want = gridgrad.directional_derivative(x, (a, 1.0), spacing=spacing)
        torch.testing.assert_close(compiled(x, a), want)
    assert count.graphs == {False: 4, None: 2, True: 1}[dynamic]


def test_a_direction_of_numpy_was_a_graph_break():
    direction = np.array([1.0, 2.0])
    compiled = torch.compile(
        lambda x: gridgrad.directional_derivative(x, direction), backend="eager", fullgraph=True
    )
    x = torch.arange(20.0).reshape(4, 5) ** 2
    for first in (1.0, -2.0):
        direction[0] = first
        torch.testing.assert_close(compiled(x), gridgrad.directional_derivative(x, direction))


@pytest.mark.parametrize("direction", [
    np.array([3, 7]), np.array([0.1, 0.7], np.float32), np.array([2e-5, 0], np.float16), np.array([0.0, 2.0]),
], ids=lambda d: d.dtype.name)  # fmt: skip
def test_a_direction_of_numpy_keeps_its_digits_and_reads_nothing_along_a_0(direction):
    compiled = torch.compile(
        lambda x: gridgrad.directional_derivative(x, direction), backend="eager", fullgraph=True
    )
    x = torch.randn(6, 7, dtype=torch.float64)
    x[2, 3] = torch.inf
    want = gridgrad.directional_derivative(x, direction)
    torch.testing.assert_close(compiled(x), want, rtol=1e-14, atol=1e-14, equal_nan=True)


def test_a_complex_direction_of_numpy_is_refused():
    compiled = torch.compile(
        lambda x: gridgrad.directional_derivative(x, np.array([1j, 2.0])), backend="eager"
    )
    with pytest.raises(gridgrad.errors.GridTypeError, match="real numbers"):
        compiled(torch.ones(4, 5))


@pytest.mark.parametrize("boundary", ["reflect", "replicate", 0.5, ("one-sided", "reflect")])
def test_mirrored_coordinates_compile_once(boundary):
    """A list that is repeated made their number a constant."""
    count = Counter()
    compiled = torch.compile(
        lambda x, c: gridgrad.derivative(x, dim=0, spacing=c, boundary=boundary, accuracy=4),
        backend=count, dynamic=True, fullgraph=True,
    )  # fmt: skip
    for n in (20, 30, 12, 41):
        x, c = torch.randn(n, 7, dtype=torch.float64), coordinates(n)
        want = gridgrad.derivative(x, dim=0, spacing=c, boundary=boundary, accuracy=4)
        torch.testing.assert_close(compiled(x, c), want)
    assert count.graphs == 1


def test_an_exported_program_asks_for_no_dtypes():
    """`aten.promote_types`, which no compiler takes, was in what `torch.export` recorded."""

    class Slopes(torch.nn.Module):
        def forward(self, x, c):
            return gridgrad.gradient(x, spacing=(c, 0.5))

    x, c = torch.randn(20, 12, dtype=torch.float64), coordinates(20)
    program = torch.export.export(Slopes(), (x, c), strict=False).module()
    assert "promote_types" not in program.code
    found = torch.compile(program, backend="eager", fullgraph=True)(x, c)
    torch.testing.assert_close(found, gridgrad.gradient(x, spacing=(c, 0.5)))


@pytest.mark.parametrize("dim", [(), None])
def test_no_dims_to_differentiate_along(dim):
    compiled = torch.compile(
        lambda x: gridgrad.gradient(x, dim=dim), backend="eager", fullgraph=True
    )
    assert compiled(torch.tensor(3.0) if dim is None else torch.ones(4, 5)) == ()


# Numbers that differ from call to call, and what eager mode makes of them.
NUMBERS = {
    "constant": lambda x, h: gridgrad.gradient(x, spacing=0.5),
    "float": lambda x, h: gridgrad.gradient(x, spacing=h),
    "int": lambda x, h: gridgrad.gradient(x, spacing=h),
    "of-the-shape": lambda x, h: gridgrad.gradient(x, spacing=1 / (x.shape[0] - 1)),
    "tuple": lambda x, h: gridgrad.gradient(x, spacing=(h, 2 * h)),
    "boundary": lambda x, h: gridgrad.gradient(x, boundary=(h, (h, "reflect"))),
    "periodic": lambda x, h: gridgrad.gradient(x, spacing=h, boundary="periodic"),
}


# Each takes a compilation ahead of time, which is seconds.
ALSO = [pytest.param(form, marks=pytest.mark.exhaustive) for form in ("int", "tuple", "periodic")]


@pytest.mark.parametrize("form", ["constant", "float", "of-the-shape", "boundary", *ALSO])
def test_a_number_that_changes_was_no_constant(form):
    """A step or a boundary that Dynamo makes a symbol; ahead of time, too, no value compiles anew.

    Nor does any float of ours, of which PyTorch found out there that it had better be a constant.
    """
    count = Counter("aot_eager")
    compiled = torch.compile(NUMBERS[form], backend=count, dynamic=True, fullgraph=True)
    for k in range(10):
        x, h = torch.randn(4 + k, 9 + k), 2 + k if form == "int" else 0.3 + 0.1 * k
        found, expected = compiled(x, h), NUMBERS[form](x, h)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert count.graphs == 1


@pytest.mark.parametrize("form", ["float", "boundary"])
def test_gradients_flow_past_a_number_that_changes(form):
    compiled = torch.compile(NUMBERS[form], backend="aot_eager", dynamic=True, fullgraph=True)
    for k in range(2):
        x = torch.randn(5 + k, 6, requires_grad=True, dtype=torch.float64)
        found, expected = (
            torch.autograd.grad(sum((y**2).sum() for y in function(x, 0.3 + k)), x)
            for function in (compiled, NUMBERS[form])
        )
        torch.testing.assert_close(found, expected)


def test_a_captured_number_that_changes():
    count = Counter()

    def function(x):
        return gridgrad.gradient(x, spacing=step)

    compiled = torch.compile(function, backend=count, fullgraph=True)
    for k in range(10):
        x, step = torch.randn(9, 8), 0.3 + 0.1 * k
        torch.testing.assert_close(compiled(x), function(x))
    assert count.graphs == 2  # the first takes it for a constant


UNEVEN = np.array([0.0, 1, 3, 4, 7, 8, 9])
NUMPYS = {
    "floats": lambda x: gridgrad.gradient(x, spacing=(UNEVEN,), dim=1),
    "bare": lambda x: gridgrad.gradient(x, spacing=UNEVEN, dim=1),
    "ints": lambda x: gridgrad.gradient(x, spacing=(2, UNEVEN.astype(np.int64))),
    "step": lambda x: gridgrad.gradient(x, spacing=np.float64(0.3)),
    "single-step": lambda x: gridgrad.gradient(x, spacing=(np.float32(0.3), 2)),
    "0-d": lambda x: gridgrad.gradient(x, spacing=np.array(0.3)),
}


@pytest.mark.parametrize("fullgraph", [True, pytest.param(False, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("form", NUMPYS)
def test_coordinates_of_numpy_crash_in_a_compiled_function(form, fullgraph):
    x = torch.randn(5, 7)
    compiled = torch.compile(NUMPYS[form], backend="eager", fullgraph=fullgraph)
    for value, want in zip(compiled(x), NUMPYS[form](x), strict=True):
        assert value.dtype == want.dtype == torch.float32
        torch.testing.assert_close(value, want)


@pytest.mark.parametrize("requires", [False, True])
def test_out_was_asked_for_its_address_in_a_compiled_function(requires):
    def function(x, a, b):
        return gridgrad.gradient(x, out=[a, b])

    compiled = torch.compile(function, backend="aot_eager", dynamic=True, fullgraph=True)
    x = torch.randn(5, 6, requires_grad=requires)
    out = [torch.empty(5, 6), torch.empty(5, 6)]
    compiled(x, *out)
    for value, want in zip(out, gridgrad.gradient(x), strict=True):
        assert value.requires_grad == requires
        torch.testing.assert_close(value, want)


class Gradient(torch.nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def forward(self, *given: torch.Tensor):
        return FORMS[self.form](*given)


@pytest.mark.parametrize("form", ["no-spacing", "step", "tensor-step", "coordinates"])
def test_exports_with_a_dynamic_dim(form):
    rows, columns = torch.export.Dim("rows", min=4), torch.export.Dim("columns", min=4)
    given = arguments(form, (8, 9), torch.float32)
    dynamic = [{0: rows, 1: columns}]
    if len(given) == 2:
        dynamic.append({0: rows} if given[1].ndim else {})
    exported = torch.export.export(Gradient(form), given, dynamic_shapes=(tuple(dynamic),)).module()
    for shape in SHAPES:
        given = arguments(form, shape, torch.float32)
        for value, want in zip(exported(*given), FORMS[form](*given), strict=True):
            assert value.dtype == want.dtype
            torch.testing.assert_close(value, want, rtol=1e-6, atol=1e-6)


class OfTheShape(torch.nn.Module):
    def forward(self, x):
        return gridgrad.gradient(x, spacing=1 / (x.shape[0] - 1))


@pytest.mark.parametrize("strict", [True, False])
def test_export_takes_numbers_made_of_the_shape(strict):
    rows = torch.export.Dim("rows", min=4)
    exported = torch.export.export(
        OfTheShape(), (torch.ones(8, 9),), dynamic_shapes=({0: rows},), strict=strict
    ).module()
    for n in (4, 12):
        x = torch.randn(n, 9)
        torch.testing.assert_close(exported(x), OfTheShape()(x))


def test_torch_export_fails_with_a_dynamic_dim():
    class Torch(torch.nn.Module):
        def forward(self, x):
            return torch.gradient(x)

    rows = torch.export.Dim("rows", min=4)
    with warnings.catch_warnings(), pytest.raises(Exception, match=r"[Cc]onstraint|specializ"):
        torch.export.export(Torch(), (torch.ones(8, 8),), dynamic_shapes=({0: rows},))


def test_programs_check_nothing_that_plans_are_made_of():
    """Each call of a program took longer to check what the compiler had read than few samples take."""
    names = []

    def keep(guards):
        names.extend(guard.name for guard in guards)
        return [True] * len(guards)

    def step(f):
        return gridgrad.gradient(f, spacing=(2, 0.5), accuracy=4)[1]

    f = torch.rand(9, 8)
    program = torch.compile(
        step, backend="eager", fullgraph=True, options={"guard_filter_fn": keep}
    )
    found = program(f)
    torch.testing.assert_close(found, step(f))
    assert any("gridgrad" in name for name in names)
    assert not [name for name in names if re.search(r"dot_(axis|spacing|stencil|plan)\b", name)]
    assert not [name for name in names if re.search(r"\['(int|float|str|tuple)'\]", name)]
