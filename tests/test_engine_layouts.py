"""The CPU engine on every memory layout, and what its results may not depend on.

Strides, alignment, byte order and the memory around an array are nothing to the result but its last
bits; the number of threads, and how the work was cut for them, not even those.
"""

import itertools
import math
from typing import Any
from unittest import mock

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridgrad
from gridgrad.engines import cpu, jobs, program, reference
from gridgrad.plan import Plan, Term, gradient_plan
from gridgrad.stencil import Row, Stencil

from .calling import gradient, snapshot
from .test_engine import (
    C8,
    F4,
    F8,
    GROUPS,
    HALF,
    INTEGERS,
    REAL,
    Case,
    cases,
    check,
    plain,
    run,
    stencil_of,
    values_of,
)

# The numbers are `test_engine`'s to check, on more cases; here it is what layouts add to them.
CASES = {"real": 400, "integer": 150, "half": 120, "complex": 150, "several": 120}
STORAGES = ["plain", "unaligned", "swapped", "field", "interleaved"]
CUTS = ["whole", "stepped", "reversed", "stepped back", "window"]


@pytest.fixture(autouse=True)
def _same_number_of_threads_after():
    before = gridgrad.get_num_threads()
    yield
    gridgrad.set_num_threads(before)


def room_for(
    shape: tuple[int, ...], dtype: Any, storage: str, cuts: list[str], order: list[int]
) -> tuple[Any, Any]:
    """Bytes, and an array of that shape somewhere in them, its dims in that order in memory."""
    sizes = {"stepped": lambda n: 2 * n + 1, "stepped back": lambda n: 2 * n + 1}
    sides = [sizes.get(cuts[d], lambda n: n + 3)(shape[d]) for d in order]
    if storage == "interleaved":
        sides.append(2)
    head = {"unaligned": 1, "field": 3}.get(storage, 0)
    gap = 5 if storage == "field" else 0
    item = dtype.itemsize + gap
    strides = [item * math.prod(sides[k + 1 :]) for k in range(len(sides))]
    if storage == "swapped" and dtype.isbuiltin == 1:
        dtype = dtype.newbyteorder("S")
    room = np.full(item * math.prod(sides) + head, 0xAB, np.uint8)
    every = np.ndarray(sides, dtype, room, head, strides)
    every = (every[..., 1] if storage == "interleaved" else every).transpose(np.argsort(order))
    index = {
        "whole": lambda n: slice(0, n),
        "stepped": lambda n: slice(1, 2 * n + 1, 2),
        "reversed": lambda n: slice(n, 0, -1),
        "stepped back": lambda n: slice(2 * n, 0, -2),
        "window": lambda n: slice(2, n + 2),
    }
    return room, every[tuple(index[cut](n) for cut, n in zip(cuts, shape, strict=True))]


def a_layout(rng: np.random.Generator, ndim: int) -> tuple[str, list[str], list[int]]:
    """Half of them strange in one way only; dims most often whole, in C or Fortran order."""
    storage = str(rng.choice(STORAGES)) if rng.random() < 0.5 else "plain"
    cuts = [str(rng.choice(CUTS)) if rng.random() < 0.4 else "whole" for _ in range(ndim)]
    order = [
        list(range(ndim)),
        list(range(ndim))[::-1],
        [int(d) for d in rng.permutation(ndim)],
    ][rng.integers(3)]
    return storage, cuts, order


def moved(x: Any, rng: np.random.Generator, constant: bool = False) -> tuple[Any, Any]:
    """The same values elsewhere: (the memory around them, the array)."""
    ndim = x.ndim
    if not constant and rng.random() < 0.3:
        # Contiguous, so that the engine reads it in place: transposed, reversed or a window.
        cuts = ["whole"] * (ndim - 1) + [str(rng.choice(["whole", "window"]))]
        order = [int(d) for d in rng.permutation(ndim - 1)] + [ndim - 1]
        room, view = room_for(x.shape, x.dtype, "plain", cuts, order)
    else:
        room, view = room_for(x.shape, x.dtype, *a_layout(rng, ndim))
    view[...] = x
    return room, view


@st.composite
def laid_out(draw, **options):
    """A case whose arrays lie in memory in all ways; some inputs are broadcast along a dim."""
    case = draw(cases(**options))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    inputs = []
    for x in case.inputs:
        _, view = moved(x, rng)
        if rng.random() < 0.15:
            dim = int(rng.integers(x.ndim))
            one = view[(slice(None),) * dim + (slice(0, 1),)]
            view = np.broadcast_to(one, x.shape)
        inputs.append(view)
    case.inputs = inputs
    if rng.random() < 0.7:
        made = [moved(x, rng) for x in case.outputs]
        case.rooms, case.outputs = ([each[k] for each in made] for k in (0, 1))
    return case


@pytest.mark.parametrize("group", CASES)
def test_every_layout_agrees(group):
    done = 0

    @settings(max_examples=CASES[group])
    @given(laid_out(**GROUPS[group]))
    def agree(case):
        nonlocal done
        check(case, spots=1)
        done += 1

    agree()
    assert done >= CASES[group]


def test_the_layouts_are_what_they_say():
    """Else the tests above would prove less than they seem to."""
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    strides = set()
    for storage, cut, order in itertools.product(STORAGES, CUTS, itertools.permutations(range(3))):
        _, view = room_for((2, 3, 4), F4, storage, [cut] * 3, list(order))
        view[...] = values
        np.testing.assert_array_equal(view, values)
        assert view.flags.aligned == (storage in ("plain", "swapped", "interleaved"))
        assert view.dtype.isnative == (storage != "swapped")
        strides.add(view.strides)
    assert len(strides) > 60
    assert any(stride % 4 for each in strides for stride in each)
    assert any(stride < 0 for each in strides for stride in each)


# Threads, and the cutting of the work


def in_pieces(case: Case, number: int, **sizes: int) -> list[bytes]:
    """The bytes of the results with so many threads, also of arrays too small to deserve them."""
    gridgrad.set_num_threads(number)
    with (
        mock.patch.object(jobs, "SERIAL", 0),
        mock.patch.multiple(program, **{"_BLOCK": program._BLOCK, **sizes}),
    ):
        return [x.tobytes() for x in run(case)]


@pytest.mark.parametrize("group", ["real", "complex", "several"])
def test_results_do_not_depend_on_threads_nor_blocks(group):
    done = 0

    @settings(max_examples=120)
    @given(laid_out(**GROUPS[group]), st.integers(2, 8), st.sampled_from([64, 500, 1 << 15]))
    def agree(case, number, size):
        nonlocal done
        gridgrad.set_num_threads(1)
        expected = [x.tobytes() for x in run(case)]
        assert in_pieces(case, number) == expected
        assert in_pieces(case, number, _BLOCK=size) == expected
        assert (
            in_pieces(case, number, _PLANES=size, _PLANE_BLOCK=size // 4, _CACHED=size) == expected
        )
        done += 1

    agree()
    assert done >= 120


BIG = {  # all above the size at which threads begin
    "row": (200_003,),
    "planes": (7, 131, 97),
    "rows": (300, 301),
    "short last": (40_001, 3),
    "one wide row": (2, 50_001),
    "five dims": (3, 5, 17, 19, 23),
}


@pytest.mark.parametrize("layout", ["direct", "Fortran", "staged", "out staged"])
@pytest.mark.parametrize("shape", BIG.values(), ids=BIG)
def test_any_number_of_threads_gives_the_same_bytes(shape, layout, monkeypatch):
    monkeypatch.setattr(jobs, "SERIAL", 1 << 16)
    assert math.prod(shape) > jobs.SERIAL
    rng = np.random.default_rng(7)
    for dtype in (F4, F8, C8, np.dtype("int16")):
        f = values_of("normal", shape, dtype, rng)
        if layout == "Fortran":
            f = np.asfortranarray(f)
        elif layout == "staged":
            f = room_for(shape, dtype, "interleaved", ["whole"] * f.ndim, list(range(f.ndim)))[1]
            f[...] = values_of("normal", shape, dtype, rng)
        stencils = {
            d: stencil_of(np.cumsum(rng.uniform(1, 2, n)) if d % 2 else 0.3, d, n, 1, 2, 2)
            for d, n in enumerate(shape)
            if n > 2
        }
        plan = gradient_plan(stencils)
        compute = F8 if dtype.kind == "i" else dtype
        found = []
        before = snapshot(f)
        for number in range(1, 9):
            gridgrad.set_num_threads(number)
            out = [np.empty(shape, compute) for _ in stencils]
            if layout == "out staged":
                out = [np.empty((*shape, 2), compute)[..., 0] for _ in stencils]
            with (
                mock.patch.object(jobs, "share", wraps=jobs.share) as share,
                mock.patch.object(cpu, "share", share),
            ):
                assert cpu.run(plan, [f], out, [compute] * len(out)) is True
            # One thread needs nobody to share with.
            asked = [call.args[2] for call in share.call_args_list]
            assert asked == [number] or (number == 1 and not asked)
            found.append([x.tobytes() for x in out])
        assert all(each == found[0] for each in found)
        assert snapshot(f) == before
        with np.errstate(all="ignore"):
            expected = reference.run(plan, [f], [compute] * len(out), np)
        for got, want in zip(out, expected, strict=True):
            assert got.dtype == want.dtype
            scale = float(abs(want).max())
            np.testing.assert_allclose(got, want, rtol=0, atol=8 * np.finfo(compute).eps * scale)


def test_another_thread_drops_the_tables_in_between():
    """They are remembered for many threads, and dropped by any of them when there are too many."""

    class Dropping(dict):
        def __contains__(self, key):
            found = super().__contains__(key)
            self.clear()
            return found

    plan = gradient_plan({0: stencil_of(1.0, 0, 4, 1, 2, 1)})
    out = np.empty(4, F4)
    with mock.patch.object(cpu, "_tables", Dropping()):
        for _ in range(3):
            assert cpu.run(plan, [np.arange(4, dtype=F4)], [out], [F4]) is True
            assert out.tolist() == [1.0] * 4


def test_small_arrays_take_one_thread():
    for n, expected in ((jobs.SERIAL, 1), (jobs.SERIAL + 1, 3)):
        gridgrad.set_num_threads(3)
        plan = gradient_plan({0: stencil_of(1.0, 0, n, 1, 2, 1)})
        with mock.patch.object(jobs, "share", wraps=jobs.share) as share:
            assert cpu.run(plan, [np.zeros(n, F4)], [np.empty(n, F4)], [F4])
        assert [call.args[2] for call in share.call_args_list] == [expected] * (expected > 1)


@settings(max_examples=200)
@given(cases(dtypes=REAL), st.integers(0, 2**32 - 1))
def test_results_do_not_depend_on_the_place_in_a_batch(case, seed):
    """Beyond the last bits, since another walk may add in another order."""
    rng = np.random.default_rng(seed)
    batch = int(rng.integers(1, 6))
    k = int(rng.integers(batch))
    alone = run(case)
    inputs = [rng.standard_normal((batch, *x.shape)).astype(x.dtype) for x in case.inputs]
    for x, own in zip(inputs, case.inputs, strict=True):
        x[k] = own
    terms = tuple(t._replace(dim=t.dim + 1) for t in case.plan.terms)
    plan = Plan(case.plan.inputs, case.plan.outputs, terms)
    outputs = [np.empty((batch, *x.shape), x.dtype) for x in case.outputs]
    many = run(Case(plan, case.grids, inputs, outputs, case.computes))
    for one, each in zip(alone, many, strict=True):
        assert each.dtype == one.dtype
        # One difference, or two: no order to add them in but one.
        np.testing.assert_array_equal(each[k], one)


# What the call itself promises


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0), (3, 0, 5), (0, 0, 3)])
@pytest.mark.parametrize("dtype", [*REAL, "complex64", "int8", "float16"])
def test_nothing_to_do(shape, dtype):
    dim = max(range(len(shape)), key=lambda d: shape[d])
    plan = gradient_plan({dim: stencil_of(1.0, dim, 4, 1, 2, 1)})
    compute = C8 if dtype == "complex64" else F8
    assert cpu.run(plan, [np.empty(shape, dtype)], [np.empty(shape, compute)], [compute]) is True
    if shape[dim]:
        (result,) = gradient(np.empty(shape, dtype), dim=dim)
        assert result.shape == shape


def bits(x: Any) -> list[int]:
    return x.view(f"u{x.dtype.itemsize}").ravel().tolist()


@settings(max_examples=300)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["f4", "f8"]),
    st.sampled_from([float, np.float64, np.float32]),
    st.sampled_from(["direct", "staged"]),
)
def test_uniform_results_are_numpys_bit_for_bit(seed, dtype, kind, layout):
    """Numerical rule 4, in place and staged, through every kernel that a uniform gradient may take."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.choice([2, 3, 4, 5, 9, 33, 70], rng.integers(1, 4)))
    f = rng.standard_normal(shape).astype(dtype)
    f = f if layout == "direct" else np.repeat(f, 2, axis=-1)[..., ::2]
    step = kind(rng.uniform(0.1, 10))
    plan = gradient_plan({d: uniform_stencil(step, d, n) for d, n in enumerate(shape)})
    out = [np.empty(shape, dtype) for _ in shape]
    assert cpu.run(plan, [f], out, [np.dtype(dtype)] * len(shape)) is True
    for dim, result in enumerate(out):
        expected = np.gradient(f, step, axis=dim)
        assert result.dtype == expected.dtype
        assert bits(result) == bits(expected)


def uniform_stencil(step: Any, dim: int, n: int) -> Stencil:
    # As `spacing` reads a float32 scalar, which never widens.
    return stencil_of(float(step) if isinstance(step, np.float32) else step, dim, n, 1, 2, 1)


@pytest.mark.parametrize("shape", [(6,), (2, 6), (6, 2), (6, 50), (6, 5000), (3, 6, 2)])
@pytest.mark.parametrize("dtype", REAL)
def test_a_neighbour_without_a_weight_is_not_read(shape, dtype):
    """Numerical rule 6 for weights that vary: an upwind scheme's change from sample to sample."""
    back, ahead = np.array([-1.0, 0, -1, 0], np.longdouble), np.array([0.0, 1, 0, 1], np.longdouble)
    interior = Row((-1, 0, 1), (back, -back - ahead, ahead))
    lower, upper = Row((0, 1), (-1.0, 1.0)), Row((-1, 0), (-1.0, 1.0))
    dim = shape.index(6)
    plan = gradient_plan({dim: Stencil((lower,), interior, (upper,))})
    f = np.zeros(shape, dtype)
    np.moveaxis(f, dim, 0)[2] = np.nan
    out, compute = np.empty(shape, dtype), np.dtype(dtype)
    (expected,) = reference.run(plan, [f], [compute], np)
    assert expected.dtype == out.dtype
    read = np.moveaxis(np.isnan(expected), dim, 0).reshape(6, -1)
    assert read[:, 0].tolist() == [False, False, True, True, False, False]
    if cpu.run(plan, [f], [out], [compute]):  # else it was handed on
        np.testing.assert_array_equal(np.isnan(out), np.isnan(expected))


@pytest.mark.parametrize("shape", [(4,), (2, 4), (4, 2), (4, 40), (4, 5000)])
@pytest.mark.parametrize("dtype", [*REAL, "complex64"])
def test_midway_between_samples_that_are_far_apart(shape, dtype):
    """The sample itself has no weight there, and the difference of the others overflows."""
    dim = shape.index(4)
    largest = np.finfo(dtype).max
    f = np.zeros(shape, dtype)
    np.moveaxis(f, dim, 0)[0], np.moveaxis(f, dim, 0)[2] = -0.75 * largest, 0.75 * largest
    (result,) = gradient(f, spacing=([0, 1, 2, 4],), dim=dim)
    assert result.dtype == f.dtype
    expected = np.array([0.75, 0.75, 0.375, -0.375]) * float(largest)
    found = np.moveaxis(result, dim, 0).reshape(4, -1)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6)
    assert (found == found[:, :1]).all()


@pytest.mark.parametrize("n", [5, jobs.SERIAL + 5])
@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_of_more_digits_than_double_precision_keep_them(n, dtype):
    f = np.full(n, 2**53, dtype)
    f[-2:] += np.array([1, 3], dtype)
    plan = gradient_plan({0: stencil_of(1.0, 0, n, 1, 2, 1)})
    out = np.empty(n)
    assert cpu.run(plan, [f], [out], [F8]) is True
    (result,) = gradient(f)
    assert result.dtype == np.float64
    assert result[-4:].tolist() == out[-4:].tolist() == [0.0, 0.5, 1.5, 2.0]


def test_integers_of_more_digits_beside_doubles_are_handed_on():
    f = np.array([2**53, 2**53 + 1, 2**53 + 3])
    stencil = stencil_of(1.0, 0, 3, 1, 2, 1)
    plan = Plan(2, 1, (Term(0, 0, 0, stencil), Term(0, 1, 0, stencil)))
    assert cpu.run(plan, [f, np.ones(3)], [np.empty(3)], [F8]) is False


@pytest.mark.parametrize("step", [np.longdouble("0.1"), 1j])
def test_steps_that_it_cannot_divide_by_are_handed_on(step):
    from gridgrad.discretization import build

    from .test_engine import axis_of

    stencil = build(axis_of(step, 0, 4), 1, 2, 1)
    out = np.full(4, 7.0)
    assert cpu.run(gradient_plan({0: stencil}), [np.arange(4.0)], [out], [F8]) is False
    assert out.tolist() == [7.0] * 4


@pytest.mark.parametrize("compute", ["longdouble", "clongdouble", "float16"])
def test_dtypes_that_it_cannot_compute_in_are_handed_on(compute):
    compute = np.dtype(compute)
    out = np.full(4, 7, compute)
    plan = gradient_plan({0: stencil_of(1.0, 0, 4, 1, 2, 1)})
    assert cpu.run(plan, [np.arange(4).astype(compute)], [out], [compute]) is False
    assert out.tolist() == [7] * 4


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_real_samples_beside_complex_ones(dtype):
    """A divergence whose components are not of one kind; handed on, or right."""
    n = 6
    stencil = stencil_of(0.5, 0, n, 1, 2, 1)
    plan = Plan(2, 1, (Term(0, 0, 0, stencil), Term(0, 1, 0, stencil)))
    inputs = [(np.arange(n) ** 2 * (1 + 2j)).astype(np.complex64), np.arange(n).astype(dtype)]
    out = np.empty(n, np.complex64)
    if cpu.run(plan, inputs, [out], [C8]):
        expected = np.gradient(inputs[0] + inputs[1], 0.5)
        np.testing.assert_allclose(out, expected, rtol=1e-6)


@pytest.mark.parametrize("step", [1j, np.longdouble(0.5)])
def test_bfloat16_that_is_handed_on_lost_its_way(step):
    """The reference engine asks NumPy what kind of dtype it is, and NumPy does not know it."""
    f = np.array([1, 2, 4, 8], ml_dtypes.bfloat16)
    (result,) = gridgrad.gradient(f, spacing=step)
    (expected,) = gridgrad.gradient(f.astype(np.float32), spacing=step)
    np.testing.assert_allclose(result.astype(expected.dtype), expected, rtol=1e-2)


def test_halves_and_integers_convert_in_blocks():
    """Neither the input nor an output is ever held whole in another dtype."""
    import tracemalloc

    shape = (600, 1000)
    for dtype in [*HALF, *INTEGERS]:
        f = np.zeros(shape, dtype)
        compute = F8 if f.dtype.kind in "iu" else F4
        out = np.empty(shape, np.dtype(dtype) if compute == F4 else F8)
        plan = gradient_plan({0: stencil_of(1.0, 0, 600, 1, 2, 1)})
        gridgrad.set_num_threads(1)
        tracemalloc.start()
        try:
            assert cpu.run(plan, [f], [out], [compute]) is True
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < plain(f).size * 2, f"{dtype}: {peak} bytes"
        assert not plain(out).any()


@settings(max_examples=300)
@given(cases(dtypes=REAL), st.booleans())
def test_public_calls_take_the_same_way(case, into):
    """Small arrays have a shorter path from the call to the kernel, which must end at the same bits."""
    f = case.inputs[0]
    rng = np.random.default_rng(f.size)
    dims = [t.dim for t in case.plan.terms]
    spacing = tuple(float(rng.uniform(0.5, 2)) for _ in dims)
    stencils = {
        d: stencil_of(s, d, f.shape[d], 1, 2, 1) for d, s in zip(dims, spacing, strict=True)
    }
    expected = [np.empty(f.shape, f.dtype) for _ in dims]
    assert cpu.run(gradient_plan(stencils), [f], expected, [f.dtype] * len(dims)) is True
    out = [np.empty(f.shape, f.dtype) for _ in dims] if into else None
    for _ in range(2):  # what is kept from the first call serves the second
        results = gradient(f, spacing=spacing, dim=tuple(dims), out=out)
        for result, want in zip(results, expected, strict=True):
            assert result.dtype == want.dtype
            np.testing.assert_array_equal(result, want)
        f = f.copy()
