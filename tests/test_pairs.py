"""Stencils that read two samples, a third at some edges, as one expression that PyTorch's compiler fuses."""

import math
import re
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gridgrad
from gridgrad.arrays import expressions, fused
from gridgrad.arrays.torch import Torch
from gridgrad.calls import work_out
from gridgrad.engines.pairs import pairs
from gridgrad.operators import _derivative, _gradient

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
# What the engine computes in.
COMPUTED = {torch.float16: torch.float32, torch.bfloat16: torch.float32}


def plan_of(
    x, spacing=1, accuracy=2, boundary="one-sided", order=1, side="center", dim=0, edge_order=None
):
    options = (dim, None, spacing, accuracy, edge_order, boundary, None, side)
    if order == 1 and accuracy == 2:
        options = (*options, 1)
        return work_out(_gradient, (x,), ("input",), options, ())[1].plan
    return work_out(_derivative, (x,), ("input",), options, (order, 0))[1].plan


# What a program is given, and what it makes itself.
WAYS = {"given": True, "made": False}


def fused_by(way, plan, x):
    with mock.patch.object(fused, "is_given", return_value=WAYS[way]):
        return made_by(fused.Fused(), plan, x)


def made_by(library, plan, x):
    compute = COMPUTED.get(x.dtype, x.dtype)
    return library.run_by_reference(plan, [x], [x.dtype], [compute])[0]


@st.composite
def works(draw):
    """A plan along the first dim or the last, or its transpose, and samples."""
    n, more = draw(st.integers(3, 9)), draw(st.integers(1, 5))
    dim = draw(st.sampled_from([0, 1]))
    shape = (n, more) if dim == 0 else (more, n)
    dtype = draw(st.sampled_from(DTYPES))
    seed = draw(st.integers(0, 999))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    spacing = draw(st.sampled_from([1, 0.1, -2.0, 3.0, 0.25, 1e-3, 700.0]))
    boundary = draw(st.sampled_from(["one-sided", "periodic", "replicate", "reflect", 0.0]))
    side = draw(st.sampled_from(["center", "forward", "backward"]))
    how = {"accuracy": 1, "side": side} if side != "center" else {}
    how |= {"edge_order": draw(st.sampled_from([None, 2]))}
    plan = plan_of(x, spacing, boundary=boundary, dim=dim, **how)
    if draw(st.booleans()):
        plan = plan.adjoint(shape)
    return plan, x.to(dtype), abs(spacing)


@given(works(), st.sampled_from(sorted(WAYS)))
@settings(max_examples=300)
def test_it_is_the_sum_of_pieces(work, way):
    plan, x, spacing = work
    before = x.clone()
    found, expected = fused_by(way, plan, x), made_by(Torch(), plan, x)
    assert torch.equal(x, before)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    # Two products are rounded in place of a difference: of terms of this size.
    term = float(x.double().abs().max()) / spacing
    assert float((found.double() - expected).abs().max()) <= 4 * torch.finfo(x.dtype).eps * term


@given(works(), st.sampled_from(sorted(WAYS)))
@settings(max_examples=300)
def test_what_is_not_finite_reaches_what_it_did(work, way):
    plan, x, _ = work
    x[0, 0], x[-1, -1] = torch.nan, torch.inf
    found, expected = fused_by(way, plan, x), made_by(Torch(), plan, x)
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.isinf(), expected.isinf())


@st.composite
def sums(draw):
    """Plans along several dims of two to four, and of their transposes, which are sums; and samples."""
    shape = tuple(draw(st.lists(st.integers(3, 6), min_size=2, max_size=4)))
    dims = tuple(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    dtype = draw(st.sampled_from(DTYPES))
    seed = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    spacing = draw(st.sampled_from([1, 0.1, -2.0, 3.0]))
    boundary = draw(st.sampled_from(["one-sided", "periodic", "replicate"]))
    options = (dims, None, spacing, 2, draw(st.integers(1, 2)), boundary, None, "center", 1)
    x = torch.empty(shape, dtype=torch.float64)
    plan = work_out(_gradient, (x,), ("input",), options, ())[1].plan
    if draw(st.booleans()):
        plan = plan.adjoint(shape)
    inputs = [
        torch.randn(shape, generator=seed, dtype=torch.float64).to(dtype)
        for _ in range(plan.inputs)
    ]
    for x in draw(st.sets(st.sampled_from(range(plan.inputs)))):
        inputs[x].view(-1)[draw(st.integers(0, inputs[x].numel() - 1))] = draw(
            st.sampled_from([torch.nan, torch.inf])
        )
    return plan, inputs, abs(spacing)


@given(
    sums(), st.sampled_from(sorted(WAYS)), st.booleans(), st.sampled_from([1, 16]), st.booleans()
)
@settings(max_examples=600)
def test_sums_are_those_of_pieces_in_blocks_or_not(work, way, in_blocks, near, few):
    plan, inputs, spacing = work
    before = [x.clone() for x in inputs]
    limits = {"_NEAR": near, **({"_LONG": 1, "_SOME": 0} if in_blocks else {})}
    compute = [COMPUTED.get(inputs[0].dtype, inputs[0].dtype)] * plan.outputs
    results = [inputs[0].dtype] * plan.outputs
    expected = Torch().run_by_reference(plan, inputs, results, compute)
    with (
        mock.patch.object(fused, "is_given", return_value=WAYS[way]),
        mock.patch.multiple(fused, **limits),
        mock.patch.object(expressions, "FEW", expressions.FEW if few else 0),
    ):
        found = fused.Fused().run_by_reference(plan, inputs, results, compute)
    for x, same in zip(inputs, before, strict=True):
        assert torch.equal(x.view(torch.uint8), same.view(torch.uint8))
    size = max(float(x.double()[x.isfinite()].abs().max()) for x in inputs) * plan.inputs / spacing
    for mine, other in zip(found, expected, strict=True):
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        assert torch.equal(mine.isnan(), other.isnan())
        assert torch.equal(mine.isinf(), other.isinf())
        error = (mine.double() - other)[other.isfinite()].abs()
        assert not len(error) or float(error.max()) <= 8 * torch.finfo(mine.dtype).eps * size


def loops_and_memory(shape, dims, way=torch.square):
    """Of a training step's programs, forwards and backwards: loops that sum, and fields that are memory."""
    from torch._inductor.utils import run_fw_bw_and_get_code

    def loss(x):
        return sum(way(each).sum() for each in gridgrad.gradient(x, dim=dims))

    torch._dynamo.reset()
    x = torch.randn(shape).requires_grad_()
    with (
        torch._inductor.config.patch(fx_graph_cache=False),
        torch._functorch.config.patch(enable_autograd_cache=False),
    ):
        _, programs = run_fw_bw_and_get_code(lambda: torch.compile(loss)(x))
    many = math.prod(shape) // 2
    taken = [
        sum(
            math.prod(map(int, re.findall(r"\d+", sizes))) > many
            for sizes in re.findall(r"= empty_strided_cpu\(\(([^)]*)\)", program)
        )
        for program in programs
    ]
    loops = [
        sum("cascade_sum_combine" in loop for loop in program.split("#pragma omp for"))
        for program in programs
    ]
    return loops, taken


@pytest.mark.filterwarnings(
    r"ignore:.torch\.jit\.script(_method)?. is deprecated:DeprecationWarning"
)
@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((32, 64, 256), (0, 1, 2)),
        ((4, 3, 64, 256), (2, 3)),
        ((256, 256, 3), (0, 1)),
    ],
)
def test_a_step_reads_once_and_writes_its_gradient_only(shape, dims):
    """All dims are one loop, and a backward pass makes again what it could read from memory."""
    loops, taken = loops_and_memory(shape, dims)
    assert loops == [1, 0]
    assert taken == [0, 1]


@pytest.mark.filterwarnings(
    r"ignore:.torch\.jit\.script(_method)?. is deprecated:DeprecationWarning"
)
@pytest.mark.parametrize(
    ("shape", "dims", "made"), [((128, 128, 3), (0, 1, 2), 2), ((100, 90, 8), (2,), 1)]
)
def test_short_rows_are_read_as_long_ones(shape, dims, made):
    """Loops are of vectors, whatever the last dim; a backward pass makes memory for dims within rows."""
    loops, taken = loops_and_memory(shape, dims)
    assert loops == [1, 0]
    assert taken == [0, 1 + made]


@pytest.mark.filterwarnings(
    r"ignore:.torch\.jit\.script(_method)?. is deprecated:DeprecationWarning"
)
def test_what_takes_long_to_make_is_made_once():
    """The cosines are memory, one field for each dim, beside the gradient."""
    _, taken = loops_and_memory((256, 300), (0, 1), torch.sin)
    assert taken == [0, 3]


@pytest.mark.parametrize("boundary", ["one-sided", "periodic", "replicate"])
@pytest.mark.parametrize("spacing", [1, 0.1, 3.0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("edge_order", [1, 2])
def test_a_derivative_is_exact_where_it_was(edge_order, dim, way, dtype, spacing, boundary):
    shape = (7, 4) if dim == 0 else (4, 7)
    x = torch.full(shape, 0.3, dtype=dtype)
    plan = plan_of(x, spacing, boundary=boundary, dim=dim, edge_order=edge_order)
    assert pairs(plan.terms[0].stencil, 7) is not None
    assert torch.equal(fused_by(way, plan, x), torch.zeros_like(x))
    if edge_order == 2:
        return
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(fused_by(way, plan, x), made_by(Torch(), plan, x))


@pytest.mark.parametrize("spacing", [0.5, 3.0, 1e3])
@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("edge_order", [1, 2])
def test_samples_near_the_largest_number(edge_order, dim, way, dtype, is_transposed, spacing):
    largest = torch.finfo(dtype).max
    if edge_order == 2:
        largest *= 0.9  # with a step of 3 one would be the largest itself, but for the last bit
    x = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0], dtype=dtype).repeat(4, 1) * largest
    x = x if dim == 1 else x.T.contiguous()
    plan = plan_of(x, spacing, dim=dim, edge_order=edge_order)
    if is_transposed:
        plan = plan.adjoint(tuple(x.shape))
    found, expected = fused_by(way, plan, x), made_by(Torch(), plan, x)
    torch.testing.assert_close(found, expected, rtol=4 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize(
    ("how", "n"),
    [
        ({"boundary": "reflect"}, 7),  # at an edge both samples are one
        ({"boundary": 0.0}, 7),  # one is none
        ({"accuracy": 4}, 9),
        ({"order": 2, "boundary": "periodic"}, 9),
        ({"edge_order": 3}, 9),  # two more at each edge
    ],
)
def test_other_stencils_are_left_to_pieces(how, n):
    stencil = plan_of(np.zeros((n, 2)), **how).terms[0].stencil
    assert pairs(stencil, n) is None


@pytest.mark.parametrize("n", range(3, 12))
def test_a_third_sample_at_the_edges(n):
    stencil = plan_of(np.zeros((n, 2)), edge_order=2).terms[0].stencil
    found = pairs(stencil, n)
    assert [(each.place, each.read) for each in found.thirds] == [(0, 2), (n - 1, n - 3)]
    if n >= 7:
        back = pairs(plan_of(np.zeros((n, 2)), edge_order=2).adjoint((n, 2)).terms[0].stencil, n)
        assert [(each.place, each.read) for each in back.thirds] == [(2, 0), (n - 3, n - 1)]


@pytest.mark.parametrize("n", range(3, 12))
def test_transposes_of_few_samples_read_two_each(n):
    """A transpose of few has no interior: every row is told apart."""
    stencil = plan_of(np.zeros((n, 2))).adjoint((n, 2)).terms[0].stencil
    found = pairs(stencil, n)
    assert found is not None
    assert found.offsets == (1, -1)


# What a review of compiled programs found


@pytest.mark.parametrize("shape", [(30, 40), (300, 500)])
def test_complex_samples_are_compiled(shape):
    x = torch.randn(*shape, dtype=torch.complex64)
    torch._dynamo.reset()
    found = torch.compile(lambda x: gridgrad.gradient(x), backend="aot_eager", fullgraph=True)(x)
    for mine, other in zip(found, gridgrad.gradient(x), strict=True):
        torch.testing.assert_close(mine, other)


def test_results_of_samples_that_share_memory_lie_as_the_program_was_told():
    x = torch.as_strided(torch.rand(4000), (1400, 1700), (1, 1))
    found = torch.ops.gridgrad.run.default([x], order_of(x))
    told = torch.empty_like(x, device="meta")
    assert [each.stride() for each in found] == [told.stride()] * 2
    for mine, other in zip(found, gridgrad.gradient(x.contiguous()), strict=True):
        assert torch.equal(mine, other)


def test_samples_off_their_alignment():
    data = torch.rand(2000 * 1500 * 4 + 8).view(torch.uint8)[: 4 * 1500 * 1500 + 1]
    x = torch.frombuffer(memoryview(data.numpy())[1:], dtype=torch.float32).view(1500, 1500)
    assert x.data_ptr() % 4
    x.nan_to_num_()
    aligned = x.clone()
    for each in (aligned, x):
        found = torch.ops.gridgrad.run.default([each], order_of(each))
        for mine, other in zip(found, gridgrad.gradient(aligned), strict=True):
            assert torch.equal(mine, other)


def order_of(x):
    from gridgrad.arrays.traced import _order

    dtypes = [x.dtype] * x.ndim
    options = (None, None, 1, 2, None, "one-sided", None, "center", 1)
    return _order(work_out(_gradient, (x,), ("input",), options, ())[1].plan, dtypes, dtypes)
