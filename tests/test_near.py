"""Derivatives at coordinates as the one expression of three samples that PyTorch's compiler fuses."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gridgrad.arrays import fused
from gridgrad.arrays.near import arrays_of, count, edges_of, with_arrays
from gridgrad.arrays.torch import Torch
from gridgrad.calls import work_out
from gridgrad.errors import GridError, NonMonotonicWarning
from gridgrad.operators import _derivative, _gradient

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
# What the engine computes in.
COMPUTED = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
# What a program is given, and what it makes itself.
WAYS = {"given": True, "made": False}
SHAPES = [(2,), (9,), (3, 4), (5, 2), (4, 5, 3), (2, 3, 2, 4), (6, 3, 2), (4, 3, 7), (7, 6)]


def plan_of(shape, dims, coordinates, make=_gradient, accuracy=2, edges=1, edge_order=None):
    options = (dims, None, coordinates, accuracy, edge_order, "one-sided", None, "center", edges)
    x = torch.empty(shape, dtype=torch.float64)
    more = (2, 0) if make is _derivative else ()
    return work_out(make, (x,), ("input",), options, more)[1].plan


def near_of(plan, shape, dtype, transposed=False):
    """The plan, or its transpose, as a program is made of it."""
    compute = COMPUTED.get(dtype, dtype)
    kind = torch.empty((), dtype=compute).numpy().dtype
    numbers = torch.from_numpy(arrays_of(plan, shape, kind))
    assert numbers.shape == (count(plan, shape),)
    return with_arrays(plan, shape, numbers, edges_of(plan, shape), transposed)


def run(library, plan, inputs):
    dtype = inputs[0].dtype
    computes = [COMPUTED.get(dtype, dtype)] * plan.outputs
    return library.run_by_reference(plan, inputs, [dtype] * plan.outputs, computes)


def run_fused(way, plan, inputs, near=16):
    with (
        mock.patch.object(fused, "is_given", return_value=WAYS[way]),
        mock.patch.object(fused, "_NEAR", near),
    ):
        return run(fused.Fused(), plan, inputs)


@st.composite
def works(draw):
    """A plan along some dims, whether its transpose is meant, samples for it and the size of its weights."""
    shape = draw(st.sampled_from(SHAPES))
    dims = tuple(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = draw(st.sampled_from([1.0, -0.01, 3e5]))
    gaps = [rng.choice([0.25, 0.5, 0.5, *rng.uniform(0.3, 3, 2)], shape[dim]) for dim in dims]
    # Edges read two samples, or three if there are so many, but not of five (`edges_of`).
    edge_order = 1 if {2, 5} & {shape[dim] for dim in dims} else draw(st.integers(1, 2))
    coordinates = [scale * np.cumsum(each) for each in gaps]
    plan = plan_of(shape, dims, coordinates, edge_order=edge_order)
    transposed, dtype = draw(st.booleans()), draw(st.sampled_from(DTYPES))
    inputs = [
        torch.from_numpy(rng.standard_normal(shape)).to(dtype)
        for _ in range(plan.outputs if transposed else plan.inputs)
    ]
    for x in inputs:
        if draw(st.booleans()):
            odd = draw(st.sampled_from([torch.nan, torch.inf, -torch.inf]))
            x.view(-1)[draw(st.integers(0, x.numel() - 1))] = odd
    return plan, transposed, inputs, 16 * plan.outputs / abs(scale)


@given(works(), st.sampled_from(sorted(WAYS)), st.sampled_from([1, 16]))
@settings(max_examples=400)
def test_it_is_what_the_reference_makes(work, way, vector):
    plan, transposed, inputs, size = work
    shape, dtype = inputs[0].shape, inputs[0].dtype
    before = [x.clone() for x in inputs]
    expected = run(Torch(), plan.adjoint(shape) if transposed else plan, inputs)
    found = run_fused(way, near_of(plan, shape, dtype, transposed), inputs, vector)
    for x, same in zip(inputs, before, strict=True):
        assert torch.equal(x.view(torch.uint8), same.view(torch.uint8))
    size *= max([1.0, *(float(x[x.isfinite()].double().abs().sum()) for x in inputs)])
    assert len(found) == len(expected)
    for mine, other in zip(found, expected, strict=True):
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        assert torch.equal(mine.isfinite(), other.isfinite())
        # An edge's third sample counts less its neighbour, not the sample itself: what that makes infinite is
        # no difference of two that are.
        assert not (mine.isnan() & ~other.isnan()).any()
        if not any(x.isinf().any() for x in inputs):
            assert torch.equal(mine.isnan(), other.isnan())
        error = (mine.double() - other.double())[other.isfinite()].abs()
        assert not len(error) or float(error.max()) <= 2 * torch.finfo(dtype).eps * size


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.1, "largest"])
def test_a_constant_has_derivative_0(way, dtype, value):
    x = torch.full((5, 7), torch.finfo(dtype).max if value == "largest" else value, dtype=dtype)
    coordinates = [np.cumsum(np.random.default_rng(n).uniform(1e-3, 1, n)) for n in x.shape]
    plan = plan_of(x.shape, None, coordinates)
    for each in run_fused(way, near_of(plan, x.shape, dtype), [x]):
        assert (each == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_differences_beyond_the_largest_number_have_quotients_within(dtype):
    most = torch.finfo(dtype).max
    x = torch.tensor([-most, most, -most, most / 2], dtype=dtype)
    plan = plan_of(x.shape, None, [np.array([0.0, 5.0, 11.0, 18.0])])
    (found,), (expected,) = (
        run_fused("given", near_of(plan, x.shape, dtype), [x]),
        run(Torch(), plan, [x.double()]),
    )
    assert found.isfinite().all()
    if dtype == torch.float32:
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)


def test_a_weight_far_smaller_than_another_is_one():
    x = torch.tensor([1.0, 2.0, 4.0, 8.0])
    plan = plan_of((4,), None, [np.array([0.0, 1.0, 1.0 + 1e25, 1.0 + 2.5e25])])
    (found,), (expected,) = (
        run_fused("given", near_of(plan, (4,), x.dtype), [x]),
        run(Torch(), plan, [x]),
    )
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_which_derivatives_are_made_so():
    uneven = np.cumsum(np.random.default_rng(1).uniform(0.5, 1, 9))
    plan, more = (plan_of((9,), None, [uneven], edge_order=edges) for edges in (1, 2))
    assert edges_of(plan, (9,)) == edges_of(plan_of((9,), None, [np.arange(9.0)]), (9,)) == 2
    assert edges_of(more, (9,)) == 3
    assert edges_of(more, (5,)) == 0
    for how in ({"accuracy": 4}, {"edge_order": 3}, {"make": _derivative}):
        other = plan_of((9,), 0 if "make" in how else None, [uneven], **how)
        assert edges_of(other, (9,)) == 0
    assert edges_of(plan.adjoint((9,)), (9,)) == 0


@pytest.mark.parametrize("side", ["forward", "backward"])
@pytest.mark.parametrize(
    ("order", "accuracy", "edge_order"), [(1, 2, 2), (2, 1, 1), (1, 2, 1), (1, 1, 1)]
)
def test_rows_of_other_places_looked_like_these(side, order, accuracy, edge_order):
    options = (0, None, np.arange(9.0) ** 1.5, accuracy, edge_order, "one-sided", None, side)
    x = torch.empty(9, dtype=torch.float64)
    plan = work_out(_derivative, (x,), ("input",), options, (order, 0))[1].plan
    assert edges_of(plan, (9,)) == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(8,), (4, 8), (8, 4)])
@pytest.mark.parametrize("transposed", [False, True])
def test_an_edge_sample_without_a_weight_is_not_read(way, shape, transposed):
    x = np.array([0, 1, -1, 3, 4.5, 6, 8, 7])
    with pytest.warns(NonMonotonicWarning):
        plan = plan_of(shape, shape.index(8), [x], edge_order=2)
    samples = torch.from_numpy(np.random.default_rng(1).standard_normal(shape))
    for odd in (0.0, torch.nan, torch.inf):
        samples.select(shape.index(8), 0)[...] = odd
        found = run_fused(way, near_of(plan, shape, samples.dtype, transposed), [samples])
        expected = run(Torch(), plan.adjoint(shape) if transposed else plan, [samples])
        torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize("gap", [1e-40, 1e40])
def test_weights_beyond_the_range_of_single_precision_are_refused(gap):
    plan = plan_of((9,), None, [np.cumsum(np.random.default_rng(2).uniform(1, 2, 9)) * gap])
    with pytest.raises(GridError, match="beyond the range of float32"):
        arrays_of(plan, (9,), np.dtype("f4"))
    assert np.isfinite(arrays_of(plan, (9,), np.dtype("f8"))).all()
