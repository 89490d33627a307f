"""gridgrad among PyTorch's own functions: its OpInfo, dtypes, memory formats, subclasses, modes, `out=`."""

import contextlib
import copy

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck
from torch.overrides import TorchFunctionMode
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils._python_dispatch import TorchDispatchMode

import gridgrad
from gridgrad.arrays import shortcut

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:.torch\.jit\.script. is deprecated:DeprecationWarning"),
    # One of PyTorch's samples has coordinates that turn back, which is worth a warning.
    pytest.mark.filterwarnings("ignore::gridgrad.NonMonotonicWarning"),
]


def samples(*shape: int, dtype=torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


# PyTorch's entry for `gradient`, with our function in the place of its own.
OP = copy.copy(next(op for op in op_db if op.name == "gradient"))
OP.op = gridgrad.gradient
COUNT = len(list(OP.sample_inputs("cpu", torch.float64, False)))
# Samples whose results are not PyTorch's, by name, with the reason; none so far.
DEVIATIONS: dict[tuple[str, int], str] = {}


def opinfo_sample(k: int, dtype=torch.float64, requires_grad: bool = True):
    torch.manual_seed(0)
    given = list(OP.sample_inputs("cpu", dtype, requires_grad))[k]
    return given.input, lambda x: OP.op(x, *given.args, **given.kwargs), given


@pytest.mark.parametrize("k", range(COUNT))
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_opinfo_gradients(dtype, k):
    """PyTorch's `TestFwdGradients` and `TestBwdGradients`, with the switches of the entry."""
    x, function, _ = opinfo_sample(k, dtype)
    fast = {"fast_mode": True}
    assert OP.supports_forward_ad
    assert OP.supports_fwgrad_bwgrad
    assert OP.supports_gradgrad
    assert gradcheck(
        function, (x,), check_grad_dtypes=True, check_batched_grad=OP.check_batched_grad, **fast
    )
    assert gradcheck(
        function,
        (x,),
        check_forward_ad=True,
        check_backward_ad=False,
        check_undefined_grad=False,
        check_batched_grad=False,
        check_batched_forward_grad=True,
        check_grad_dtypes=True,
        **fast,
    )
    assert gradgradcheck(
        function, (x,), check_batched_grad=OP.check_batched_gradgrad, check_fwd_over_rev=True,
        check_grad_dtypes=True, gen_non_contig_grad_outputs=True, **fast,
    )  # fmt: skip


@pytest.mark.parametrize("k", range(COUNT))
def test_opinfo_vmap_and_compile(k):
    """Batched it is each by each; compiled it is the same, as is what comes back; so is PyTorch's."""
    x, function, given = opinfo_sample(k, torch.float64, False)
    batch = torch.stack([x, 2 * x + 1, x.flip(0)])
    for into in (0, 1, -1):
        found = torch.func.vmap(function, in_dims=into)(batch.movedim(0, into))
        for j, each in enumerate(batch):
            for value, want in zip(found, function(each), strict=True):
                assert torch.equal(value[j], want)

    def both(function):
        leaf = x.clone().requires_grad_()
        found = function(leaf)
        ys = [torch.ones_like(y) for y in found]
        return (*found, *torch.autograd.grad(found, leaf, ys))

    torch._dynamo.reset()
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    plain = both(compiled)
    expected = both(function)
    theirs = both(lambda x: torch.gradient(x, *given.args, **given.kwargs))
    for value, want, their in zip(plain, expected, theirs, strict=True):
        torch.testing.assert_close(value, want, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(their, want, rtol=1e-10, atol=1e-10)
    assert not DEVIATIONS


SPACINGS = {
    "none": (), "step": (0.3,), "steps": ((0.3, -2.0),), "lists": (([0.0, 0.7, 1.0, 2.5, 3.0], 2.0),),
    "coordinates": ((torch.tensor([0.0, 0.7, 1.0, 2.5, 3.0]), torch.tensor([4.0, 3.0, 1.0, 0.5])),),
    "even-coordinates": ((torch.arange(5) * 0.5, torch.arange(4)),),
    "complex-step": (0.5 + 1j,), "0-d": (torch.tensor(0.7),),
}  # fmt: skip


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("name", SPACINGS)
def test_every_spacing_is_differentiable(name, edge_order):
    spacing = SPACINGS[name][0] if SPACINGS[name] else 1
    for dtype in (torch.float64, torch.complex128):
        f = samples(5, 4, dtype=dtype).requires_grad_()

        def function(f):
            return gridgrad.gradient(f, spacing=spacing, edge_order=edge_order)

        assert gradcheck(function, (f,), check_forward_ad=True, fast_mode=True)
        assert gradgradcheck(function, (f,), check_fwd_over_rev=True, fast_mode=True)


HALVES = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("shape", [(7, 9), (3, 400, 900)], ids=["small", "large"])
def test_half_precision_is_rounded_once(dtype, shape):
    """Forwards and backwards: the float32 result of the same numbers, rounded."""
    f = samples(*shape, dtype=torch.float32).to(dtype).requires_grad_()
    wide = f.detach().float().requires_grad_()
    how = {"dim": (-2, -1), "spacing": 0.3, "edge_order": 2}
    found, expected = gridgrad.gradient(f, **how), gridgrad.gradient(wide, **how)
    ys = [samples(*shape, dtype=torch.float32, seed=k).to(dtype) for k in range(2)]
    (back,) = torch.autograd.grad(found, f, ys)
    (want,) = torch.autograd.grad(expected, wide, [y.float() for y in ys])
    for value, exact in zip((*found, back), (*expected, want), strict=True):
        assert value.dtype == dtype
        assert torch.equal(value, exact.to(dtype))


def test_autocast_leaves_the_dtype_alone():
    for dtype in (torch.float32, torch.float64, *HALVES):
        f = samples(6, 7, dtype=torch.float32).to(dtype).requires_grad_()
        for _ in range(2):
            with torch.autocast("cpu", torch.bfloat16):
                found = gridgrad.gradient(f)
                assert all(x.dtype == dtype for x in found)
                (back,) = torch.autograd.grad(found, f, [torch.ones_like(f)] * 2)
            assert back.dtype == dtype
            for value, want in zip(found, gridgrad.gradient(f), strict=True):
                assert torch.equal(value, want)


def test_the_gradient_of_complex_samples_is_that_of_slices():
    """PyTorch's convention: the conjugate of the weights, which are real here, and complex there."""
    for step in (0.5, 0.5 + 1j):
        f = samples(8, dtype=torch.complex128).requires_grad_()
        y = samples(8, dtype=torch.complex128, seed=1)
        (found,) = torch.autograd.grad(gridgrad.gradient(f, spacing=step)[0], f, y)
        inner = (f[2:] - f[:-2]) / (2 * step)
        sliced = torch.cat([(f[1:2] - f[:1]) / step, inner, (f[-1:] - f[-2:-1]) / step])
        (expected,) = torch.autograd.grad(sliced, f, y)
        torch.testing.assert_close(found, expected)
        f.grad = None
        real = samples(8).requires_grad_()
        (found,) = torch.autograd.grad(gridgrad.gradient(real, spacing=step)[0].abs().sum(), real)
        inner = (real[2:] - real[:-2]) / (2 * step)
        sliced = torch.cat([(real[1:2] - real[:1]) / step, inner, (real[-1:] - real[-2:-1]) / step])
        (expected,) = torch.autograd.grad(sliced.abs().sum(), real)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int32], ids=str)
@pytest.mark.parametrize(
    ("shape", "format"),
    [((2, 3, 5, 6), torch.channels_last), ((2, 3, 4, 5, 6), torch.channels_last_3d)],
    ids=["2d", "3d"],
)
def test_the_memory_format_is_kept(shape, format, dtype):
    f = (8 * samples(*shape)).to(dtype).to(memory_format=format)
    f.requires_grad_(dtype.is_floating_point)
    found = gridgrad.gradient(f, dim=(2, 3))
    for value, want in zip(found, gridgrad.gradient(f.contiguous(), dim=(2, 3)), strict=True):
        assert value.is_contiguous(memory_format=format)
        assert torch.equal(value, want)
    if dtype.is_floating_point:
        ys = [torch.ones_like(x) for x in found]
        assert torch.autograd.grad(found, f, ys)[0].is_contiguous(memory_format=format)


class Logged(torch.Tensor):
    """A subclass that is asked about every function."""

    seen: list[str] = []  # noqa: RUF012  # it is the class's

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        cls.seen.append(getattr(function, "__name__", str(function)))
        return super().__torch_function__(function, types, args, kwargs or {})


class Units(torch.Tensor):
    """A subclass that carries something along."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        found = super().__torch_function__(function, types, args, kwargs or {})
        unit = next((a.unit for a in args if isinstance(a, cls) and hasattr(a, "unit")), None)
        for each in found if isinstance(found, tuple) else (found,):
            if isinstance(each, cls) and unit:
                each.unit = unit
        return found


def test_subclasses_have_their_say():
    """As with a function of PyTorch's own: asked once about the computation, and given their own type."""
    f = samples(6, 7)
    for accuracy in (2, 4):
        mine = f.as_subclass(Logged)
        expected = gridgrad.gradient(f, accuracy=accuracy)
        Logged.seen.clear()
        found = gridgrad.gradient(mine, accuracy=accuracy)
        assert Logged.seen.count("run") == 1
        assert not {"sub", "mul", "__getitem__", "cat"} & set(Logged.seen)
        for value, want in zip(found, expected, strict=True):
            assert type(value) is Logged
            assert torch.equal(value.as_subclass(torch.Tensor), want)
    leaf = samples(6, 7).requires_grad_()
    found = gridgrad.divergence((leaf.as_subclass(Units), leaf))
    assert type(found) is Units
    (back,) = torch.autograd.grad(found.as_subclass(torch.Tensor).sum(), leaf)
    (want,) = torch.autograd.grad(gridgrad.divergence((leaf, leaf)).sum(), leaf)
    assert torch.equal(back, want)
    x = torch.tensor([0.0, 1.0, 3.0, 4.0, 6.0, 7.0], dtype=f.dtype).as_subclass(Logged)
    found = gridgrad.derivative(f, dim=0, spacing=x).as_subclass(torch.Tensor)
    torch.testing.assert_close(found, gridgrad.derivative(f, dim=0, spacing=x.tolist()))
    # Coordinates have theirs, too; but a Parameter is none.
    assert type(gridgrad.derivative(f, dim=0, spacing=x)) is Logged
    grid = torch.nn.Parameter(x.as_subclass(torch.Tensor), requires_grad=False)
    assert type(gridgrad.derivative(f, dim=0, spacing=grid)) is torch.Tensor


def test_a_parameter_is_a_tensor_that_requires_a_gradient():
    parameter = torch.nn.Parameter(samples(6, 7))
    for _ in range(2):
        found = gridgrad.gradient(parameter)
        assert all(type(x) is torch.Tensor and x.requires_grad for x in found)
        parameter.grad = None
        sum(x.square().sum() for x in found).backward()
        assert type(parameter.grad) is torch.Tensor
    leaf = parameter.detach().clone().requires_grad_()
    sum(x.square().sum() for x in gridgrad.gradient(leaf)).backward()
    assert torch.equal(parameter.grad, leaf.grad)
    buffer = torch.nn.Buffer(samples(6, 7))
    assert torch.equal(gridgrad.gradient(buffer)[0], gridgrad.gradient(buffer.detach())[0])


class Doubling(TorchFunctionMode):
    """A mode that is asked about the computation."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        is_ours = getattr(function, "__name__", "") == "run"
        return tuple(2 * each for each in found) if is_ours else found


class Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def test_modes():
    """A mode that watches operations sees some; a default device, which is a mode too, changes nothing."""
    f = samples(6, 7)
    expected = gridgrad.gradient(f)
    with Counting() as mode:
        found = gridgrad.gradient(f)
    assert mode.names
    for value, want in zip(found, expected, strict=True):
        torch.testing.assert_close(value, want, rtol=1e-14, atol=1e-14)
    with Doubling():
        for _ in range(3):  # of which the later ones are known
            assert torch.equal(gridgrad.gradient(f)[1], 2 * expected[1])
    with torch.device("cpu"):
        assert all(map(torch.equal, gridgrad.gradient(f), expected))
        found = gridgrad.derivative(f, dim=0, spacing=torch.tensor([0.0, 1, 3, 4, 6, 7]))
    torch.testing.assert_close(found, gridgrad.derivative(f, dim=0, spacing=[0, 1, 3, 4, 6, 7]))


def test_out_without_an_address_was_taken_for_the_input():
    """Addresses of meta and fake tensors, and of subclasses that wrap others, are all 0."""
    f, out = (torch.empty(6, 7, device="meta") for _ in range(2))
    assert gridgrad.laplacian(f, out=out) is out
    with pytest.raises(gridgrad.GridError, match="share memory"):
        gridgrad.laplacian(f, out=f)
    with FakeTensorMode():
        f, out = torch.empty(6, 7), torch.empty(6, 7)
        assert gridgrad.derivative(f, out=out) is out
    f, out = (TwoTensor(samples(6, 7), samples(6, 7) + k) for k in range(2))
    assert gridgrad.derivative(f, out=out) is out
    torch.testing.assert_close(out.a, gridgrad.derivative(f.a))


@pytest.mark.parametrize("n", [8, 20_000])
def test_out_over_coordinates_of_another_library_was_not_seen(n):
    f, x = samples(n), samples(n, seed=1).exp().cumsum(0)
    for _ in range(2):
        own = x.clone()
        for out, spacing in ((own, own.numpy()), (own, own), (own.numpy(), own)):
            given = f if isinstance(out, torch.Tensor) else f.numpy()
            with pytest.raises(gridgrad.GridError, match="share memory"):
                gridgrad.derivative(given, spacing=(spacing,), out=out)
        assert torch.equal(own, x)
        for out in (torch.empty_like(x), torch.empty_like(x).numpy()):
            given = f if isinstance(out, torch.Tensor) else f.numpy()
            gridgrad.derivative(given, spacing=(own.numpy(),), out=out)
            found = torch.as_tensor(out)
            assert torch.equal(found, gridgrad.derivative(f, spacing=(x,)))


def test_a_default_device_is_no_mode_that_has_its_say():
    f = samples(6)
    for count in (1, 2):
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(torch.device("cpu"))
            assert shortcut.is_plain(f)
            with Doubling():
                assert not shortcut.is_plain(f)


@pytest.mark.parametrize(
    "how", [{"spacing": torch.tensor(1.0, requires_grad=True)}, {"spacing": 1j}]
)
def test_integers_beside_a_number_beyond_an_edge_lost_digits(how):
    """The number was added to the higher of their parts."""
    f = torch.tensor([-1, -4, -9, -16, -25, -36])
    how = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in how.items()}
    torch.set_default_dtype(torch.float64)
    try:
        found = gridgrad.derivative(f, boundary=0.1, **how)
        wide = gridgrad.derivative(f.double(), boundary=0.1, **how)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found, wide, rtol=1e-15, atol=0)


def test_out_of_inference_mode_was_changed_outside_it():
    with torch.inference_mode():
        out = torch.empty(6, dtype=torch.float64)
        gridgrad.derivative(samples(6), out=out)
    with pytest.raises(gridgrad.GridError, match="was made in inference mode"):
        gridgrad.derivative(samples(6), out=out)


def test_a_step_on_the_cpu_is_a_number_to_other_devices():
    for requires in (False, True):
        step = torch.tensor(0.5, requires_grad=requires)
        found = gridgrad.derivative(torch.empty(4, device="meta"), spacing=step)
        assert found.is_meta
        assert found.requires_grad == requires
    with pytest.raises(gridgrad.GridError, match="must be on the input's device"):
        gridgrad.derivative(torch.empty(4, device="meta"), spacing=torch.arange(4.0))


@pytest.mark.parametrize("spacing", [torch.tensor(0.5), torch.tensor([0.0, 1.0, 3.0, 4.0, 6.0])])
def test_no_samples_lost_the_way_back_to_the_spacing(spacing):
    x = spacing.clone().requires_grad_()
    found = gridgrad.derivative(torch.empty(0, 5), spacing=x)
    assert found.shape == (0, 5)
    (grad,) = torch.autograd.grad(found.sum(), x)
    assert torch.equal(grad, torch.zeros_like(x))


@pytest.mark.parametrize(
    "how",
    [
        {"spacing": torch.tensor([0.0, 1.0, 3.0, 4.0, 6.0, 7.0], requires_grad=True)},
        {"spacing": torch.tensor(0.5, requires_grad=True)},
        {"spacing": 1j},
        {"boundary": 0.5},
    ],
    ids=["coordinates", "step", "complex", "beyond"],
)
def test_the_reference_engine_lost_the_order_in_memory(how):
    for dtype in (torch.float64, torch.complex128):
        f = samples(7, 6).to(dtype).T
        found = gridgrad.derivative(f, dim=0, **how)
        assert found.stride() == f.stride()
        torch.testing.assert_close(found, gridgrad.derivative(f.contiguous(), dim=0, **how))


@pytest.mark.filterwarnings("ignore:.*jit.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("requires", [False, True])
def test_jit_trace_recorded_a_constant(requires):
    f, other = samples(9).requires_grad_(requires), 2 * samples(9)
    for how in ({}, {"spacing": samples(9).exp().cumsum(0), "edge_order": 2}):
        for _ in range(2):
            traced = torch.jit.trace(lambda f, how=how: gridgrad.derivative(f, **how), f)
            torch.testing.assert_close(traced(other), gridgrad.derivative(other, **how))


def test_no_grad_and_inference_mode():
    f = samples(6, 7).requires_grad_()
    for _ in range(2):
        with torch.no_grad():
            assert not any(x.requires_grad for x in gridgrad.gradient(f))
        with torch.inference_mode():
            found = gridgrad.gradient(f, spacing=0.5)
            assert all(x.is_inference() and not x.requires_grad for x in found)
            inner = torch.ones(6, 7, dtype=torch.float64)
        assert not any(x.is_inference() for x in gridgrad.gradient(inner))
        with torch.no_grad(), torch.enable_grad():
            assert all(x.requires_grad for x in gridgrad.gradient(f))


def test_out_counts_as_a_change():
    """The version counter, by which PyTorch knows that a tensor that it keeps was written to."""
    f, out = samples(6), torch.ones(6, dtype=torch.float64)
    kept = (out * torch.ones(6, dtype=torch.float64, requires_grad=True)).sum()
    version = out._version
    gridgrad.gradient(f, out=[out])
    assert out._version > version
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        kept.backward()


def test_out_of_samples_that_require_a_gradient():
    """It is then a result like any other, as after `copy_`."""
    f, out = samples(6).requires_grad_(), torch.empty(6, dtype=torch.float64)
    (found,) = gridgrad.gradient(f, out=[out])
    assert found is out
    (back,) = torch.autograd.grad(out.sum(), f)
    (want,) = torch.autograd.grad(gridgrad.gradient(f)[0].sum(), f)
    assert torch.equal(back, want)
    assert torch.equal(out.detach(), gridgrad.gradient(f.detach())[0])


def test_out_could_not_be_used_twice():
    """What a first call has written into has a history, and so requires a gradient."""
    out = [torch.empty(6, dtype=torch.float64)]
    for seed in range(2):
        f = samples(6, seed=seed).requires_grad_()
        gridgrad.gradient(f, out=out)
        (back,) = torch.autograd.grad(out[0].sum(), f)
        (want,) = torch.autograd.grad(gridgrad.gradient(f)[0].sum(), f)
        assert torch.equal(back, want)
    leaf = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        for given in (out[0], leaf):
            gridgrad.gradient(f, out=[given])
            assert torch.equal(given, gridgrad.gradient(f)[0])


@pytest.mark.parametrize("operator", [lambda x: gridgrad.gradient(x)[0], gridgrad.laplacian])
def test_tensors_without_values_lay_otherwise(operator):
    from torch._subclasses.fake_tensor import FakeTensorMode

    for change in (lambda x: x.permute(2, 0, 1), lambda x: x.transpose(0, 2), lambda x: x):
        want = operator(change(torch.randn(6, 5, 4))).stride()
        assert operator(change(torch.randn(6, 5, 4, device="meta"))).stride() == want
        with FakeTensorMode():
            assert operator(change(torch.randn(6, 5, 4))).stride() == want


def test_results_of_no_samples_had_strides_of_zero():
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.empty(3, 0, 4, dtype=dtype)
        for _ in range(2):
            assert gridgrad.gradient(x, dim=0)[0].stride() == x.stride()


def test_functionalize_had_no_rule():
    f = samples(5, 6)

    def function(x):
        return gridgrad.gradient(x, spacing=0.5)[1]

    want = torch.func.grad(lambda x: function(x).square().sum())(f)
    assert torch.allclose(torch.func.functionalize(function)(f), function(f))
    nested = torch.func.functionalize(torch.func.grad(lambda x: function(x).square().sum()))
    assert torch.allclose(nested(f), want)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory needs CUDA's driver")
def test_pinned_memory_is_memory():
    f = samples(64, 65)
    for value, want in zip(gridgrad.gradient(f.pin_memory()), gridgrad.gradient(f), strict=True):
        assert torch.equal(value, want)


def test_memory_of_others_is_memory():
    """Shared between processes, or NumPy's; as pinned memory it is an address like any other."""
    f = samples(64, 65)
    shared = f.clone().share_memory_()
    for x in (shared, torch.from_numpy(f.numpy()), f.numpy().copy()):
        for value, want in zip(gridgrad.gradient(x), gridgrad.gradient(f), strict=True):
            assert torch.equal(torch.as_tensor(value), want)
