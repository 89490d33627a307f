"""Plans with arrays between: mixed derivatives, slab by slab, against the reference engine and themselves."""

from unittest import mock

import array_api_compat.numpy as xp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridgrad
from gridgrad import calls
from gridgrad.engines import cpu, jobs, reference
from gridgrad.plan import Plan


def hessian_plan(f: np.ndarray, **how) -> Plan:
    """The plan that `hessian` runs, caught on its way to the engine."""
    caught = []

    def catch(plan, *_):
        caught.append(plan)
        return False

    with mock.patch.object(cpu, "run", catch), mock.patch.dict(calls._known, clear=True):
        gridgrad.hessian(f, **how)
    return caught[0]


@st.composite
def cases(draw):
    shape = tuple(draw(st.lists(st.integers(5, 24), min_size=2, max_size=3)))
    boundary = draw(st.sampled_from(["one-sided", "periodic", "reflect", "replicate"]))
    spacing = [
        draw(st.sampled_from([0.5, "coordinates"])) if boundary != "periodic" else 0.5
        for _ in shape
    ]  # fmt: skip
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    spacing = [
        np.cumsum(rng.uniform(0.5, 1.5, n)) if each == "coordinates" else each
        for each, n in zip(spacing, shape, strict=True)
    ]  # fmt: skip
    dtype = draw(st.sampled_from(["f4", "f8", "c16", "i2"]))
    f = (rng.standard_normal(shape) * 100).astype(dtype)
    order = draw(st.sampled_from("CF"))
    how = {"boundary": boundary, "spacing": spacing, "accuracy": draw(st.sampled_from([2, 4]))}
    return np.asarray(f, order=order), how


@settings(max_examples=150)
@given(cases(), st.sampled_from([1, 3000, 1 << 22]), st.integers(1, 3))
def test_slabs_of_any_size_and_threads_give_what_the_reference_gives(case, slab, threads):
    f, how = case
    if min(f.shape) < 2 * how["accuracy"] + 1:
        how["accuracy"] = 2
    before, kept = f.copy(), gridgrad.get_num_threads()
    found, alone = [], gridgrad.hessian(f, **how)
    try:
        gridgrad.set_num_threads(threads)
        with (
            mock.patch.multiple(jobs, _SLAB=slab, SERIAL=0),
            mock.patch.dict(cpu._tables, clear=True),  # they are made for one size of slabs
            mock.patch.dict(calls._known, clear=True),
        ):
            found = gridgrad.hessian(f, **how)
    finally:
        gridgrad.set_num_threads(kept)
    plan = hessian_plan(f, **how)
    compute = np.dtype("c16" if f.dtype.kind == "c" else "f8")
    expected = reference.run(plan, [f], [compute] * plan.outputs, xp)
    np.testing.assert_array_equal(f, before)
    for i, row in enumerate(found):
        for j, value in enumerate(row):
            assert value is found[j][i]
            assert value.dtype == alone[i][j].dtype
            assert value.tobytes() == alone[i][j].tobytes()
    tolerance = 2e-2 if f.dtype == np.float32 else 1e-9
    pairs = [(i, j) for j in range(1, f.ndim) for i in range(j)]
    for k, value in enumerate(expected):
        i, j = (k, k) if k < f.ndim else pairs[k - f.ndim]
        np.testing.assert_allclose(found[i][j], value, rtol=0, atol=tolerance)


@pytest.mark.parametrize("boundary", ["one-sided", "periodic", "reflect"])
def test_the_transpose_of_a_plan_with_arrays_between(boundary):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((9, 10, 11))
    plan = hessian_plan(x, boundary=boundary)
    outputs = [np.empty_like(x) for _ in range(plan.outputs)]
    y = [rng.standard_normal(x.shape) for _ in range(plan.outputs)]
    back = np.empty_like(x)
    doubles = [x.dtype] * plan.outputs
    assert cpu.run(plan, [x], outputs, doubles)
    assert cpu.run(plan.adjoint(x.shape), y, [back], doubles[:1])
    ahead = sum(float((a * b).sum()) for a, b in zip(outputs, y, strict=True))
    assert ahead == pytest.approx(float((x * back).sum()), rel=1e-12)


def test_a_part_of_a_plan_keeps_only_what_its_outputs_need():
    plan = hessian_plan(np.zeros((5, 6, 7)))
    assert (plan.outputs, plan.between, len(plan.terms)) == (6, 2, 8)
    assert plan.links() == {(k, 0) for k in range(6)}
    pure, mixed = plan.only([0]), plan.only([3])
    assert (pure.between, len(pure.terms)) == (0, 1)
    assert (mixed.between, len(mixed.terms)) == (1, 2)
