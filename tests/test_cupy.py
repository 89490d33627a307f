"""What CuPy arrays would do, with NumPy's arrays in their place: no CuPy runs without a GPU."""

import logging
import pickle
import sys

import array_api_compat.numpy as xp
import numpy as np
import pytest

from gridgrad.arrays.cupy import CuPy
from gridgrad.arrays.numpy import NumPy
from gridgrad.axis import resolve
from gridgrad.discretization import build
from gridgrad.engines import reference
from gridgrad.plan import gradient_plan

from .grids import jittered
from .interpreting import interpreting

CUPY = CuPy(xp)


@pytest.fixture
def ran(caplog):
    caplog.set_level(logging.DEBUG, "gridgrad.engines")
    with interpreting():
        yield lambda: [record.getMessage() for record in caplog.records]


def plan_of(f, library, *spacing):
    axes = resolve(f, library, tuple(range(f.ndim)), list(spacing))
    return gradient_plan({each.dim: build(each, 1, 2, 2) for each in axes})


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_the_same_kernels_on_the_same_memory(dtype, ran):
    f = np.random.default_rng(0).standard_normal((5, 6)).astype(dtype)
    compute = np.dtype("float32" if dtype == "float16" else dtype)
    plan = plan_of(f, CUPY, 0.5, 2.0)
    found = CUPY.run(plan, [f], [f.dtype] * 2, [compute] * 2)
    for one, other in zip(found, reference.run(plan, [f], [compute] * 2, xp), strict=True):
        assert type(one) is np.ndarray
        assert one.dtype == f.dtype
        np.testing.assert_allclose(one, other.astype(dtype), rtol=1e-5)
    assert ran() == ["triton"]


def test_coordinates_are_not_looked_at(ran):
    f = np.random.default_rng(0).standard_normal((5, 6))
    lines = [jittered(n) for n in f.shape]
    plan, known = plan_of(f, CUPY, *lines), plan_of(f, NumPy(), *lines)
    assert all(term.stencil.interior.divisor == 1 for term in plan.terms)
    found = CUPY.run(plan, [f], [f.dtype] * 2, [f.dtype] * 2)
    for one, other in zip(found, reference.run(known, [f], [f.dtype] * 2, xp), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    assert CUPY.values(lines[0]) is None


def test_without_pytorch_by_its_own_operations(ran, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    f = np.random.default_rng(0).standard_normal(7)
    plan = plan_of(f, CUPY, 0.5)
    (found,) = CUPY.run(plan, [f], [f.dtype], [f.dtype])
    np.testing.assert_allclose(found, np.gradient(f, 0.5, edge_order=2), rtol=1e-12)
    assert ran() == []


def test_goes_along_in_a_pickle():
    assert type(pickle.loads(pickle.dumps(CUPY))) is CuPy
