"""The CPU engine against the reference engine, wide arithmetic and exact arithmetic.

A case is a plan, built by hand as an operator would build it, and arrays to run it on. Every sample
is compared with the reference engine and with the plan's own weights summed in long double; a few
samples of each output are compared with the derivative of the interpolating polynomial, in
fractions. The bounds are units in the last place of the dtype computed in, times the size of the
terms that a sample's stencil adds up.
"""

import math
import warnings
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any
from unittest import mock

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridgrad
from gridgrad.arrays.numpy import NumPy
from gridgrad.axis import resolve
from gridgrad.discretization import build
from gridgrad.engines import cpu, jobs, memory, program, reference
from gridgrad.plan import Plan, Term

from .exact import fractions

CASES = {"real": 1_000, "integer": 700, "half": 600, "complex": 600, "wide": 700, "several": 500}

REAL, COMPLEX = ["float32", "float64"], ["complex64", "complex128"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
HALF = [np.dtype("float16"), BFLOAT16, memory.BFLOAT16]
F4, F8, C8, C16 = (np.dtype(name) for name in ("f4", "f8", "c8", "c16"))


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the samples of one term stand, exactly, and what is asked of it."""

    x: list[Fraction]
    order: int
    accuracy: int
    edge_order: int
    is_uniform: bool

    def window(self, i: int) -> range:
        """The samples that the derivative at sample i reads."""
        n, points = len(self.x), self.order + self.edge_order
        reach = (self.order + self.accuracy - self.is_uniform) // 2
        if reach <= i < n - reach:
            return range(i - reach, i + reach + 1)
        if i < reach:
            return range(max(0, i - (points - 1) // 2), n)[:points]
        last = min(n - 1, i + (points - 1) // 2)
        return range(last - points + 1, last + 1)

    def weights(self, i: int) -> dict[int, Fraction]:
        window = self.window(i)
        offsets = tuple(self.x[j] - self.x[i] for j in window)
        return dict(zip(window, lagrange(offsets, self.order), strict=True))


class Case:
    """A plan and its arrays; `grids` has one entry for each term."""

    def __init__(self, plan: Plan, grids: list[Grid], inputs, outputs, computes) -> None:
        self.plan, self.grids = plan, grids
        self.inputs, self.outputs, self.computes = inputs, outputs, computes
        self.rooms: list[Any] = []  # the memory around each output
        self.chunk_bytes = program.CHUNK_BYTES
        self.streamed = jobs.STREAMED  # 0: results of any size are written past the caches

    def __repr__(self) -> str:
        terms = [
            f"{t.output}<-{t.input} dim {t.dim} order {g.order} accuracy {g.accuracy} edge {g.edge_order}"
            f" x {[str(x) for x in g.x[:4]]}"
            for t, g in zip(self.plan.terms, self.grids, strict=True)
        ]
        arrays = [(x.dtype.str, x.shape, x.strides) for x in (*self.inputs, *self.outputs)]
        return (
            f"{terms} {arrays} {[d.name for d in self.computes]} {self.chunk_bytes} {self.streamed}"
        )


@lru_cache(8192)
def lagrange(offsets: tuple[Fraction, ...], order: int) -> list[Fraction]:
    """The weights of the derivative at 0 of the polynomial through samples at `offsets`."""
    found = []
    for j, own in enumerate(offsets):
        basis = [Fraction(1)]  # coefficients, lowest power first
        for m, other in enumerate(offsets):
            if m != j:
                shifted = [Fraction(0), *basis]
                basis = [
                    (a - other * b) / (own - other)
                    for a, b in zip(shifted, [*basis, 0], strict=True)
                ]
        found.append(basis[order] * math.factorial(order))
    return found


# What is computed independently


def plain(x: Any) -> Any:
    """The values of an array, in a dtype of NumPy's own."""
    if x.dtype == memory.BFLOAT16:
        return (x["bfloat16"].astype(np.uint32) << 16).view(np.float32)
    return x.astype(np.float32) if x.dtype == BFLOAT16 else x


def widened(x: Any) -> Any:
    x = plain(x)
    return x.astype(np.clongdouble if x.dtype.kind == "c" else np.longdouble)


@dataclass
class Truth:
    """A plan's output in long double, the size of what it sums, and where it reads no number."""

    value: Any
    size: Any
    unreadable: Any


def truth_of(plan: Plan, output: int, inputs: list[Any]) -> Truth:
    found = [one_term(t, inputs[t.input]) for t in plan.terms if t.output == output]
    return Truth(
        sum(each.value for each in found),
        sum(each.size for each in found),
        np.logical_or.reduce([each.unreadable for each in found]),
    )


def one_term(term: Term, f: Any) -> Truth:
    """The rows of a stencil one after another, as differences from each window's first sample."""
    f = np.moveaxis(f, term.dim, 0)
    bad = ~np.isfinite(f)
    f = np.where(bad, 0, f)
    value, size = np.empty_like(f), np.empty_like(f.real)
    unreadable = np.zeros(f.shape, bool)
    for first, last, row in term.stencil.rows(len(f)):
        origin = f[first + row.offsets[0] : last + row.offsets[0]]
        total, weight, spread = 0, 0, 0
        for offset, w in zip(row.offsets, row.weights, strict=True):
            w = np.reshape(np.asarray(w, np.longdouble), (-1, *(1,) * (f.ndim - 1)))
            window = slice(first + offset, last + offset)
            change = f[window] - origin
            total = total + w * change
            weight = weight + abs(w)
            spread = np.maximum(spread, abs(change))
            unreadable[first:last] |= (w != 0) & bad[window]
        divisor = np.longdouble(row.divisor)
        value[first:last] = total / divisor
        size[first:last] = 2 * weight * spread / abs(divisor)
    return Truth(*(np.moveaxis(x, 0, term.dim) for x in (value, size, unreadable)))


def exact_at(case: Case, output: int, index: tuple[int, ...]) -> Any:
    """One sample of an output in fractions, as real and imaginary part, or None if it reads no number."""
    parts = [Fraction(0), Fraction(0)]
    for term, grid in zip(case.plan.terms, case.grids, strict=True):
        if term.output != output:
            continue
        line = plain(case.inputs[term.input])[
            (*index[: term.dim], slice(None), *index[term.dim + 1 :])
        ]
        weights = {j: w for j, w in grid.weights(index[term.dim]).items() if w}
        samples = [line[j] for j in weights]
        if not np.all(np.isfinite(samples)):
            return None
        for k, part in enumerate([np.real, np.imag][: 1 + (line.dtype.kind == "c")]):
            values = fractions([part(s) for s in samples])
            parts[k] += sum((w * f for w, f in zip(weights.values(), values, strict=True)), 0)
    return parts


# One case, all comparisons


def run(case: Case) -> list[Any]:
    """Run the engine as `arrays/numpy.py` does; only the outputs may change."""
    before = [x.tobytes() for x in case.inputs]
    around = [room.copy() for room in case.rooms]
    saved = [x.copy() for x in case.outputs]
    with (
        mock.patch.object(program, "CHUNK_BYTES", case.chunk_bytes),
        mock.patch.object(jobs, "STREAMED", case.streamed),
        mock.patch.dict(cpu._tables, clear=True),  # they are made for one size of chunk
    ):
        done = cpu.run(case.plan, case.inputs, case.outputs, case.computes)
    assert done is True
    assert [x.tobytes() for x in case.inputs] == before, "an input was changed"
    results = [x.copy() for x in case.outputs]
    for x, old in zip(case.outputs, saved, strict=True):
        x[...] = old
    for room, old in zip(case.rooms, around, strict=True):
        assert (room == old).all(), "memory beside an output was written"
    return results


def check(case: Case, spots: int = 3) -> None:
    results = run(case)
    with np.errstate(all="ignore"):
        expected = reference.run(case.plan, [plain(x) for x in case.inputs], case.computes, np)
        wide = [widened(x) for x in case.inputs]
        rng = np.random.default_rng(results[0].size)
        for k, result in enumerate(results):
            assert result.dtype == case.outputs[k].dtype
            truth = truth_of(case.plan, k, wide)
            bound = allowed(case, k, truth)
            largest = min(largest_of(x) for x in (case.computes[k], result.dtype))
            theirs = expected[k].astype(case.computes[k])  # a float64 scalar widens it
            compare(result, truth, theirs, bound, largest, is_simple(case, k))
            for flat in rng.integers(0, result.size, spots):
                index = tuple(int(i) for i in np.unravel_index(flat, result.shape))
                exact = exact_at(case, k, index)
                got = widened(result)[index]
                assert (exact is None) == bool(truth.unreadable[index])
                if exact is not None and np.isfinite(got):
                    # Exact weights may differ from the plan's by their rounding, no more.
                    off = max(abs(a - b) for a, b in zip(parts_of(got), exact, strict=True))
                    assert off <= fractions([bound[index]])[0], f"{index}: {got} for {exact}"


def parts_of(value: Any) -> list[Fraction]:
    return fractions([np.real(value), np.imag(value)])


def is_simple(case: Case, output: int) -> bool:
    """Whether the reference engine too sums without leaving the range: one term, real numbers."""
    return (
        sum(t.output == output for t in case.plan.terms) == 1 and case.computes[output].kind == "f"
    )


def allowed(case: Case, output: int, truth: Truth) -> Any:
    """Rounded weights, a difference, a product and a sum for each of a stencil's points; one rounding."""
    points = max(
        len(row.offsets)
        for t in case.plan.terms
        if t.output == output
        for row in (*t.stencil.lower, t.stencil.interior, *t.stencil.upper)
    )
    terms = sum(t.output == output for t in case.plan.terms)
    compute = np.finfo(case.computes[output])
    stored = ml_dtypes.finfo(float_of(case.outputs[output].dtype))
    return (
        float(compute.eps) * (points + terms + 2) * truth.size
        + float(stored.eps) * abs(truth.value)
        + float(stored.smallest_subnormal)
    )


def float_of(dtype: Any) -> Any:
    if dtype == memory.BFLOAT16:
        return BFLOAT16
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype.newbyteorder("=")


def largest_of(dtype: Any) -> Any:
    return np.longdouble(float(ml_dtypes.finfo(float_of(dtype)).max))


def compare(result, truth: Truth, expected, bound, largest, is_simple: bool) -> None:
    got = widened(result)
    inside = ~truth.unreadable & (largest_part(truth.value) < largest * 0.999)
    outside = truth.unreadable | (largest_part(truth.value) > largest * 1.01)
    finite = np.isfinite(got)
    assert finite[inside].all(), "a result that has a value is not finite"
    assert not finite[outside].any(), "a result that reads no number, or is too large, is finite"
    assert (abs(got - truth.value) <= bound)[inside].all(), "far from long double"
    theirs = widened(rounded(expected, result.dtype))
    if is_simple:
        assert (np.isfinite(theirs) == finite)[inside | outside].all(), "unlike the reference"
    both = inside & np.isfinite(theirs)
    assert (abs(got - theirs) <= 2 * bound)[both].all(), "far from the reference"


def largest_part(z: Any) -> Any:
    return np.maximum(abs(z.real), abs(z.imag))


def rounded(values: Any, dtype: Any) -> Any:
    return values.astype(BFLOAT16 if dtype == memory.BFLOAT16 else dtype)


# Generated plans


def axis_of(entry: Any, dim: int, n: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gridgrad.NonMonotonicWarning)
        (found,) = resolve(np.empty((1,) * dim + (n,)), NumPy(), (dim,), [entry])
    return found


def stencil_of(entry: Any, dim: int, n: int, order: int, accuracy: int, edge_order: int) -> Any:
    """The stencil that an operator would build."""
    return build(axis_of(entry, dim, n), order, accuracy, edge_order)


def a_stencil(entry: Any, dim: int, n: int, order: int, accuracy: int, edge_order: int):
    """The same, and the grid that it stands for: fractions, which are slow where n is large."""
    axis = axis_of(entry, dim, n)
    stencil = build(axis, order, accuracy, edge_order)
    is_uniform = axis.spacing.positions is None
    if np.ndim(entry):
        return stencil, Grid(fractions(entry), order, accuracy, edge_order, is_uniform)
    step = Fraction(float(entry))
    return stencil, Grid([k * step for k in range(n)], order, accuracy, edge_order, is_uniform)


SPACINGS = ["one", "step", "numpy step", "even", "uneven", "integers", "falling", "turning", "f4"]


def spacing_of(kind: str, n: int, rng: np.random.Generator) -> Any:
    if kind == "one":
        return 1
    if kind in ("step", "numpy step"):
        size = float(rng.uniform(0.25, 4) * rng.choice([-1, 1]))
        return np.float64(size) if kind == "numpy step" else size
    if kind == "even":
        return np.arange(n) * 0.5 - 3
    if kind == "integers":  # many samples stand midway between their neighbours
        return np.cumsum(rng.choice([1, 1, 1, 2], n))
    if kind == "turning":
        x = np.arange(n)
        k = int(rng.integers(0, max(n - 1, 1)))
        x[k : k + 2] = x[k : k + 2][::-1].copy()
        return x
    x = np.cumsum(rng.uniform(0.5, 2, n)) + rng.choice([0, 50])
    if kind == "falling":
        return -x
    return x.astype(np.float32) if kind == "f4" else x


def orders_for(n: int, wide: bool) -> list[tuple[int, int, int]]:
    """The (order, accuracy, edge_order) whose stencils n samples have room for."""
    found = []
    for order in range(1, 5 if wide else 2):
        for accuracy in range(2, 9, 2) if wide else [2]:
            reach = (order + accuracy) // 2 if wide else 1
            for edge_order in {1, 2, accuracy}:
                points = order + edge_order
                if n >= max(2 * reach, points, reach + points // 2):
                    found.append((order, accuracy, edge_order))
    return found


# How many samples along each dim: small in every way; short last dims; rows around the 16 KiB (4,096
# float32, 2,048 float64) at which a row is cut into chunks, of one dim or of several joined.
LARGE = [
    (4095,), (4096,), (4097,), (12_290,), (3, 4097), (2048, 2), (1500, 3), (5000, 3), (3, 63, 65),
    (3, 64, 64), (4, 17, 241), (2, 2, 2048), (3, 32, 64), (2, 3, 683), (5, 23, 89), (2, 40, 3, 20),
    (33, 127), (700, 2, 3),
]  # fmt: skip


@st.composite
def shapes(draw, large: bool = True):
    if large and draw(st.integers(0, 11)) == 0:
        return draw(st.sampled_from(LARGE))
    ndim = draw(st.integers(1, 5))
    sides = st.sampled_from([1, 2, 3, 3, 4, 5, 6, 7, 11, 20])
    shape = [draw(sides) for _ in range(ndim)]
    while math.prod(shape) > 3_000:
        shape[shape.index(max(shape))] = 3
    if max(shape) < 2:
        shape[-1] = 4
    return tuple(shape)


def values_of(style: str, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> Any:
    """Samples as an array of that dtype, C order."""
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        low, high = max(info.min, -(2**50)), min(info.max, 2**50)
        return rng.integers(low, high, shape, np.int64, endpoint=True).astype(dtype)
    real = float_of(dtype)

    def part() -> Any:
        if style == "constant":
            return np.full(shape, 77.25)
        if style == "huge":
            return rng.uniform(-1, 1, shape) * float(ml_dtypes.finfo(real).max)
        f = rng.standard_normal(shape)
        if style == "offset":
            f = f + 100
        if style == "special":
            bad = rng.choice([np.nan, np.inf, -np.inf], shape)
            f = np.where(rng.random(shape) < 0.08, bad, f)
        return f

    f = part() + 1j * part() if dtype.kind == "c" and style != "special" else part()
    if dtype == memory.BFLOAT16:
        bits = f.astype(BFLOAT16).view(np.uint16)
        return np.ascontiguousarray(bits).view(dtype)
    with np.errstate(over="ignore"):
        return f.astype(dtype)


STYLES = ["normal", "normal", "offset", "special", "special", "constant", "huge"]


@st.composite
def cases(draw, dtypes: list[Any], wide: bool = False, several: bool = False):
    """A plan as an operator makes it, or as none does yet, and its arrays, all in C order."""
    shape = draw(shapes(large=not several))
    forms = ["laplacian", "divergence", "curl", "free"] if several else ["gradient"]
    form, style = draw(st.sampled_from(forms)), draw(st.sampled_from(STYLES))
    kind = np.dtype(draw(st.sampled_from(dtypes)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    terms, grids = [], []
    for output, source, dim in places_of(form, shape, rng):
        n = shape[dim]
        entry = spacing_of(str(rng.choice(SPACINGS)), n, rng)
        choice = orders_for(n, wide or several)
        stencil, grid = a_stencil(entry, dim, n, *choice[rng.integers(len(choice))])
        terms.append(Term(output, source, dim, stencil))
        grids.append(grid)
    count, made = (1 + max(t[k] for t in terms) for k in (1, 0))
    # A second input may be of another dtype, as long as it is as real.
    kinds = [kind, *(kind if kind.kind == "c" else np.dtype(rng.choice(REAL)) for _ in range(2))]
    inputs = [values_of(style, shape, each, rng) for each in kinds[:count]]
    computes = [compute_dtype(kinds[:count], rng) for _ in range(made)]
    outputs = [np.empty(shape, output_dtype(kind, each, rng)) for each in computes]
    plan = Plan(count, made, tuple(terms))
    case = Case(plan, grids, inputs, outputs, computes)
    case.chunk_bytes = int(rng.choice([program.CHUNK_BYTES, program.CHUNK_BYTES, 64, 416]))
    case.streamed = int(rng.choice([jobs.STREAMED, 0]))
    return case


def places_of(form: str, shape: tuple[int, ...], rng) -> list[tuple[int, int, int]]:
    """For each term its output, its input and its dim."""
    dims = [d for d, n in enumerate(shape) if n > 1]
    if form == "gradient":
        chosen = rng.permutation(dims)[: rng.integers(1, len(dims) + 1)]
        return [(k, 0, int(d)) for k, d in enumerate(chosen)]
    if form == "laplacian":
        return [(0, 0, d) for d in dims]
    if form == "divergence":
        return [(0, k, d) for k, d in enumerate(dims[:3])]
    if form == "curl":
        return [(0, 0, dims[0]), (0, 1, dims[-1]), (1, 1, dims[0]), (1, 0, dims[-1])]
    inputs = int(rng.integers(1, 4))
    return [
        (output, int(rng.integers(inputs)), int(rng.choice(dims)))
        for output in range(rng.integers(1, 4))
        for _ in range(rng.integers(1, 4))
    ]


def compute_dtype(kinds: list[Any], rng: np.random.Generator) -> Any:
    """Integers are computed in double precision, as is what coordinates may promote."""
    if kinds[0].kind == "c":
        return C16 if C16 in kinds or rng.random() < 0.3 else C8
    double = F8 in kinds or any(each.kind in "iu" for each in kinds)
    return F8 if double or rng.random() < 0.3 else F4


def output_dtype(kind: Any, compute: Any, rng: np.random.Generator) -> Any:
    """Half precision as it came; else the dtype computed in, or now and then another one."""
    if kind in HALF:
        return kind
    if rng.random() < 0.8:
        return compute
    return np.dtype(rng.choice(COMPLEX if compute.kind == "c" else [*REAL, "float16"]))


GROUPS = {
    "real": {"dtypes": REAL},
    "integer": {"dtypes": INTEGERS},
    "half": {"dtypes": HALF},
    "complex": {"dtypes": COMPLEX},
    "wide": {"dtypes": [*REAL, *REAL, "complex64", "int16", "float16"], "wide": True},
    "several": {"dtypes": [*REAL, *REAL, "complex64", "int16"], "several": True},
}


@pytest.mark.parametrize("group", GROUPS)
def test_agrees_with_the_reference_and_with_exact_arithmetic(group):
    done = 0

    @settings(max_examples=CASES[group])
    @given(cases(**GROUPS[group]))
    def agree(case):
        nonlocal done
        check(case)
        done += 1

    agree()
    assert done >= CASES[group]
