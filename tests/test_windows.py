"""Stencils on windows of a dim: results that read nothing else have the bits of the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridgrad.adjoint import transposed
from gridgrad.axis import Axis
from gridgrad.discretization import build
from gridgrad.engines import cpu
from gridgrad.errors import GridError
from gridgrad.plan import Plan, Term
from gridgrad.positions import from_values
from gridgrad.spacing import Spacing
from gridgrad.windows import Span, reads, window

SIDES = (
    ("one-sided", "one-sided"), ("periodic", "periodic"), ("reflect", "replicate"), (0.5, "one-sided"),
)  # fmt: skip


def apply(stencil, f):
    out, plan = np.empty_like(f), Plan(1, 1, (Term(0, 0, 0, stencil),))
    assert cpu.run(plan, [f], [out], [f.dtype])
    return out


@given(
    n=st.integers(3, 24),
    order=st.integers(1, 3),
    accuracy=st.sampled_from([2, 4]),
    sides=st.sampled_from(SIDES),
    uneven=st.booleans(),
    backward=st.booleans(),
    cut=st.tuples(st.integers(0, 23), st.integers(1, 24)),
    width=st.sampled_from([1, 3, 40]),
)
def test_windows_of_stencils_and_of_their_transposes(
    n, order, accuracy, sides, uneven, backward, cut, width
):
    first, last = min(cut[0], n - 1), min(cut[0] + cut[1], n)
    rng = np.random.default_rng(n)
    x = np.cumsum(rng.uniform(0.5, 1.5, n))
    spacing = Spacing(None, from_values(x, 0)) if uneven else Spacing(0.1)
    period = float(x[-1]) if uneven and sides[0] == "periodic" else None
    try:
        stencil = build(Axis(0, n, spacing, sides, period), order, accuracy, accuracy)
    except GridError:
        return
    if backward:
        stencil = transposed(stencil, n)
    results = Span(first, last)
    held = reads(stencil, n, results)
    f = rng.standard_normal((n, width)).astype(np.float32)
    part = np.take(f, range(held.first, held.last), axis=0, mode="wrap")
    found = apply(window(stencil, n, held), part)[first - held.first :][: len(results)]
    assert found.tobytes() == apply(stencil, f)[first:last].tobytes()


def test_a_row_is_not_borrowed_for_a_weight_of_zero():
    """The second derivative's edge row of four samples gives the last no weight at sample 1."""
    stencil = build(Axis(0, 9, Spacing(1.0)), 2, 6, 2)
    assert stencil.lower[1].weights[-1] == 0
    assert reads(stencil, 9, Span(1, 2)) == Span(0, 3)


@pytest.mark.parametrize("backward", [False, True])
def test_a_window_of_one_sample_that_reads_no_other(backward):
    """In a mirrored dim of 3 samples no result reads the one in the middle."""
    stencil = build(Axis(0, 3, Spacing(1.0), ("reflect", "reflect")), 1, 2, 2)
    if backward:
        stencil = transposed(stencil, 3)
        assert reads(stencil, 3, Span(1, 2)) == Span(1, 2)
    held = reads(stencil, 3, Span(1, 2))
    f = np.array([[1.0], [2.0], [4.0]])
    found = apply(window(stencil, 3, held), f[held.first : held.last])
    assert found[1 - held.first] == apply(stencil, f)[1]
