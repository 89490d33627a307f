"""Long lines with coordinates, whose weights the kernel makes anew at each call."""

from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gridgrad
from gridgrad import adjoint, discretization, positions
from gridgrad.arrays.numpy import NumPy
from gridgrad.axis import resolve
from gridgrad.engines import cpu, reference
from gridgrad.plan import gradient_plan
from gridgrad.windows import Span, window


def grid(rng, n: int, dtype) -> np.ndarray:
    """Uneven coordinates, of which some have equal gaps to both sides."""
    steps = rng.choice([0.25, 0.5, 1.0, *rng.uniform(0.1, 3, 4)], n)
    x = np.cumsum(steps).astype(dtype) - dtype(rng.uniform(-1e3, 1e3))
    return x[::-1].copy() if rng.integers(2) else x


def plan_of(f, x, dim: int, edge_order: int):
    (axis,) = resolve(f, NumPy(), (dim,), [x])
    return gradient_plan({dim: discretization.build(axis, 1, 2, edge_order)})


@given(
    st.integers(0, 2**32),
    st.integers(5, 3000),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from([np.float32, np.float64]),
    st.integers(1, 2),
    st.sampled_from(["line", "rows", "columns", "complex", "every second"]),
    st.sampled_from([None, np.nan, np.inf]),
    st.integers(0, 2),
)
def test_made_weights_agree_with_kept_ones(seed, n, kind, dtype, edge_order, form, odd, back):
    rng = np.random.default_rng(seed)
    x = grid(rng, n, kind)
    if len(np.unique(x)) < n:
        return
    shape = {"rows": (3, n), "columns": (n, 3), "every second": (2 * n,)}.get(form, (n,))
    f = rng.standard_normal(shape).astype(dtype)
    f = (f + 1j).astype(np.complex64) if form == "complex" else f
    f = f[::2] if form == "every second" else f
    dim = 1 if form == "rows" else 0
    if odd is not None and not (form == "complex" and odd == np.inf):  # parts are told apart here
        f[(0,) * dim + (int(rng.integers(n)),)] = odd
    with mock.patch.object(discretization, "_LONG", 4):
        plan = plan_of(f, x, dim, edge_order)
    positions._known.clear()
    kept = plan_of(f, x, dim, edge_order)
    assert kept.terms[0].stencil.line is None
    if n < 16:
        back = min(back, 1)  # no line is so short that its transpose has no interior
    for _ in range(back):
        plan, kept = plan.adjoint(f.shape), kept.adjoint(f.shape)
    compute = np.result_type(f.dtype, dtype)
    out = np.full(f.shape, 7, compute)
    before = f.tobytes()
    assert cpu.run(plan, [f], [out], [compute])
    assert f.tobytes() == before
    with np.errstate(all="ignore"):
        (expected,) = reference.run(kept, [f], [compute], np)
        (again,) = reference.run(plan, [f], [compute], np)
    np.testing.assert_array_equal(again, expected)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(expected))
    # Each value is a sum of two terms, whose size bounds the error.
    scale = np.nanmax(np.abs(np.where(np.isfinite(expected), expected, 0))) + 1e3 * (1 + back)
    np.testing.assert_allclose(out, expected, rtol=0, atol=16 * np.finfo(compute).eps * scale)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_error_on_long_lines_stays_below_4_units(dtype):
    rng = np.random.default_rng(3)
    x = np.unique(grid(rng, 40_000, dtype))
    f = rng.standard_normal(len(x)).astype(dtype)
    (result,) = gridgrad.gradient(f, spacing=x)
    for i in rng.integers(1, len(x) - 1, 3000):
        (a, b, c), (fa, fb, fc) = ([Fraction(float(v)) for v in y[i - 1 : i + 2]] for y in (x, f))
        h, k = b - a, c - b
        terms = h / (k * (h + k)) * (fc - fb), -k / (h * (h + k)) * (fa - fb)
        unit = np.spacing(dtype(float(max(map(abs, terms)))))
        assert abs(Fraction(float(result[i])) - sum(terms)) <= 4 * Fraction(float(unit))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_error_of_their_transposes_stays_below_6_units(dtype):
    rng = np.random.default_rng(4)
    x = np.unique(grid(rng, 40_000, dtype))
    g = rng.standard_normal(len(x)).astype(dtype)
    f = torch.zeros(len(x), dtype=torch.from_numpy(g).dtype, requires_grad=True)
    (found,) = gridgrad.gradient(f, spacing=(torch.from_numpy(x),))
    (result,) = torch.autograd.grad(found, f, torch.from_numpy(g))
    exact = [Fraction(float(v)) for v in x]
    for i in rng.integers(2, len(x) - 2, 2000):
        gaps = [exact[j + 1] - exact[j] for j in range(i - 2, i + 2)]
        g0, g1, g2 = (Fraction(float(v)) for v in g[i - 1 : i + 2])
        terms = (
            gaps[0] / (gaps[1] * (gaps[0] + gaps[1])) * g0,
            (gaps[2] - gaps[1]) / (gaps[1] * gaps[2]) * g1,
            -gaps[3] / (gaps[2] * (gaps[2] + gaps[3])) * g2,
        )
        unit = np.spacing(dtype(float(max(map(abs, terms)))))
        assert abs(Fraction(float(result[i])) - sum(terms)) <= 6 * Fraction(float(unit))


@given(st.integers(0, 2**32), st.integers(9, 300), st.booleans(), st.data())
def test_windows_of_long_lines_give_what_the_whole_gives(seed, n, back, data):
    rng = np.random.default_rng(seed)
    x, f = grid(rng, n, np.float64), rng.standard_normal(n)
    with mock.patch.object(discretization, "_LONG", 4):
        plan = plan_of(f, x, 0, data.draw(st.integers(1, 2)))
    plan = plan.adjoint(f.shape) if back else plan
    whole = np.empty(n)
    assert cpu.run(plan, [f], [whole], [f.dtype])
    first = data.draw(st.integers(0, n - 1))
    held = Span(first, data.draw(st.integers(first + 1, n)))
    (term,) = plan.terms
    part = plan._replace(terms=(term._replace(stencil=window(term.stencil, n, held, True)),))
    made, again = np.empty(len(held)), f[held.first : held.last]
    assert cpu.run(part, [again], [made], [f.dtype])
    # Those that read what is held, as far as an edge's rows reach.
    near = slice(0 if first == 0 else 4, len(held) - (0 if held.last == n else 4))
    assert made[near].tobytes() == whole[held.first : held.last][near].tobytes()
    (asked,) = reference.run(part, [again], [f.dtype], np)
    (of_all,) = reference.run(plan, [f], [f.dtype], np)
    assert asked[near].tobytes() == of_all[held.first : held.last][near].tobytes()


@pytest.mark.parametrize("n", [16_384, 16_385, 30_000])
@pytest.mark.parametrize("edge_order", [1, 2])
def test_a_second_derivative_took_the_transpose_for_the_line_itself(n, edge_order):
    rng = np.random.default_rng(n)
    x = np.cumsum(rng.uniform(0.5, 1.5, n))
    f, v, w = (torch.from_numpy(rng.standard_normal(n)).requires_grad_() for _ in range(3))

    def derivative(f):
        return gridgrad.gradient(f, spacing=x, edge_order=edge_order)[0]

    (back,) = torch.autograd.grad(derivative(f), f, v, create_graph=True)
    (again,) = torch.autograd.grad(back, v, w)
    assert torch.equal(again, derivative(w))


@pytest.mark.parametrize("n", [16_384, 16_385])
def test_coordinates_that_changed_before_a_backward_pass(n):
    rng = np.random.default_rng(n)
    f, v, x = (torch.from_numpy(rng.uniform(0.5, 1.5, n)) for _ in range(3))
    x = x.cumsum(0)
    found = gridgrad.gradient(f.requires_grad_(), spacing=(x,))[0]
    x *= 3
    (back,) = torch.autograd.grad(found, f, v)
    torch.testing.assert_close((found * v).sum(), (back * f).sum())


def test_a_backward_pass_kept_the_weights_of_every_long_line():
    x = torch.ones(20_000, dtype=torch.float64, requires_grad=True)
    before = len(adjoint._made)
    for factor in (1.0, 2.0, 3.0):
        line = factor * torch.arange(20_000.0, dtype=torch.float64) ** 1.01
        (found,) = gridgrad.gradient(x, spacing=(line,))
        torch.autograd.grad(found.sum(), x)
    assert len(adjoint._made) == before


def test_long_lines_of_tensors_and_threads():
    rng = np.random.default_rng(5)
    x, f = np.unique(grid(rng, 300_000, np.float64)), rng.standard_normal(400_000)
    f = f[: len(x)]
    before = gridgrad.get_num_threads()
    results = []
    for number in (1, 2, 5):
        gridgrad.set_num_threads(number)
        results.append(gridgrad.gradient(f, spacing=x)[0].tobytes())
    gridgrad.set_num_threads(before)
    assert len(set(results)) == 1
    tensor = gridgrad.gradient(torch.from_numpy(f), spacing=(torch.from_numpy(x),))[0]
    assert tensor.numpy().tobytes() == results[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda x: np.where(np.arange(len(x)) == 20_000, np.nan, x),
        lambda x: np.where(np.arange(len(x)) == 20_000, x[3], x),
    ],
)
def test_bad_coordinates_far_along_a_long_line(change):
    x = change(np.arange(50_000.0) ** 1.01)
    with pytest.raises(gridgrad.GridError, match="20000"):
        gridgrad.gradient(np.zeros(50_000), spacing=x)


def test_long_lines_with_equal_gaps_are_steps():
    x = np.arange(100_000) * 0.25
    f = np.sin(x)
    assert np.array_equal(gridgrad.gradient(f, spacing=x)[0], gridgrad.gradient(f, spacing=0.25)[0])


def test_extreme_gaps_on_a_long_line_go_another_way():
    x = np.cumsum(np.where(np.arange(50_000) % 2, 1e-13, 1e-6))
    f = np.random.default_rng(1).standard_normal(len(x))
    (result,) = gridgrad.gradient(f, spacing=x)
    np.testing.assert_allclose(result[1000:1010], np.gradient(f[990:1020], x[990:1020])[10:20])
