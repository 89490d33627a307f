"""Dask arrays: the results in memory, bit for bit, whatever the chunks; lazily, and with few tasks."""

import pickle
import re

import array_api_compat
import dask
import dask.array as da
import numpy as np
import pytest
import torch
from dask.array.tests import test_routines as dasks_own
from dask.base import collections_to_expr
from hypothesis import given, settings
from hypothesis import strategies as st

import gridgrad
from gridgrad import GridError, GridTypeError
from gridgrad.arrays.blocks import Face, Part, Piece, Work, cut_faces, run_block, strip
from gridgrad.calls import Call
from gridgrad.plan import gradient_plan
from gridgrad.windows import Span, reads, window

from .calling import NUMPY, STRICT, TORCH, dtype_name, numpy
from .chunking import BOUNDARIES, calls, leaves, same_bits, samples

pytestmark = pytest.mark.filterwarnings("ignore::gridgrad.NonMonotonicWarning")


@pytest.fixture(autouse=True)
def in_this_thread():
    """Threads are tried by name; elsewhere they would only cost time."""
    with dask.config.set(scheduler="synchronous"):
        yield


def check(call, chunks, *arrays):
    """A call on Dask arrays gives what it gives in memory, or the same error."""
    lazy = [da.from_array(x, chunks=chunks) for x in arrays]
    try:
        wanted = leaves(call(*arrays))
    except GridError as error:
        with pytest.raises(type(error), match=re.escape(str(error))):
            call(*lazy)
        return
    found = leaves(call(*lazy))
    assert len(found) == len(wanted)
    for result, value, computed in zip(found, wanted, dask.compute(*found), strict=True):
        assert isinstance(result, da.Array)
        assert result.dtype == value.dtype == result._meta.dtype
        assert result.chunks == lazy[0].chunks
        same_bits(computed, value)


def lazily(how):
    """The arguments with coordinates as Dask arrays where they are meant to be, and in memory."""

    def entry(value, make):
        return make(value[1]) if isinstance(value, tuple) and value[0] == "dask" else value

    given = how["spacing"]
    for make in (lambda x: da.from_array(x, chunks=3), lambda x: x):
        spacing = [entry(v, make) for v in given] if isinstance(given, list) else entry(given, make)
        yield {**how, "spacing": spacing}


@settings(max_examples=150)
@given(case=calls())
def test_no_bit_depends_on_the_chunks(case):
    name, how, arrays, chunks = case
    lazy, plain = lazily(how)

    def call(*given):
        options = lazy if isinstance(given[0], da.Array) else plain
        function = getattr(gridgrad, name)
        if name == "directional_derivative":
            return function(*given, [1.5, -2.0, 0.25][: given[0].ndim], **options)
        return function(
            given if name in ("divergence", "curl", "jacobian") else given[0], **options
        )

    with np.errstate(all="ignore"):
        check(call, chunks, *arrays)


@settings(max_examples=60)
@given(
    n=st.integers(2, 14),
    data=st.data(),
    order=st.integers(1, 3),
    accuracy=st.sampled_from((2, 4)),
    sides=st.sampled_from(BOUNDARIES),
)
def test_results_in_a_window_are_those_of_the_whole(n, data, order, accuracy, sides):
    f = np.random.default_rng(n).standard_normal(n)
    try:
        wanted = gridgrad.derivative(f, order=order, accuracy=accuracy, boundary=sides)
    except GridError:
        return
    call = Call((f,), ("f",), dim=0, accuracy=accuracy, boundary=sides)
    stencil = call.stencil(0, order)
    first = data.draw(st.integers(0, n - 1))
    results = Span(first, data.draw(st.integers(first + 1, n)))
    held = reads(stencil, n, results)
    assert held.holds(results)
    assert sides == "periodic" or Span(0, n).holds(held)
    plan = gradient_plan({0: window(stencil, n, held)})
    array = f[np.arange(held.first, held.last) % n]
    run = call.library.run_by_reference if isinstance(sides, float) else call.library.run
    (found,) = run(plan, [array], [f.dtype], [f.dtype])
    same_bits(found[results.first - held.first :][: len(results)], wanted[first : results.last])


def test_a_long_line_makes_the_weights_of_the_whole():
    """Above 16384 samples the kernel makes weights itself, but only for few lines: parts follow suit."""
    n = 20_000
    rng = np.random.default_rng(1)
    x = np.cumsum(rng.uniform(0.5, 1.5, n))
    for lines in (1, 3, 17):
        for dtype in ("f4", "f8", "i2", "c8"):
            f = samples(rng, (lines, n), np.dtype(dtype))
            check(lambda f: gridgrad.gradient(f, dim=1, spacing=(x,)), (2, (9_000, 1, 10_999)), f)
    f = rng.standard_normal((n, 4))
    check(lambda f: gridgrad.gradient(f, dim=0, spacing=(x,)), ((15_000, 5_000), 3), f)
    check(lambda f: gridgrad.gradient(f, spacing=x, edge_order=2), 700, f[:, 0].copy())


@pytest.mark.parametrize("is_fixed", [False, True])
@pytest.mark.parametrize("library", [NUMPY, TORCH, STRICT], ids=lambda library: library.name)
def test_blocks_may_be_of_any_library(library, is_fixed, monkeypatch):
    """Dask itself carries only some. What a task does is in the Array API, on arrays of fixed values too."""
    cut = 9
    if is_fixed:  # as JAX has them, which would compile each operation for seconds
        monkeypatch.setattr(array_api_compat, "is_writeable_array", lambda x: False)
    values = np.random.default_rng(14).standard_normal((18, 5))
    x = library.asarray(values.tolist())
    call = Call((x,), ("x",), dim=(0, 1), accuracy=2, boundary="reflect")
    stencils = [call.stencil(0, 2)], [call.stencil(1, 2)]
    spans = Span(0, cut), Span(cut, 18)
    blocks = [x[:cut, ...], x[cut:, ...]]
    parts = Part(0, 0, 0), Part(0, 1, 0)
    found = []
    for k in range(2):
        strips = {
            0: strip(stencils[0], 18, spans[k], [False]),
            1: strip(stencils[1], 5, Span(0, 5), [False]),
        }
        below, above = strips[0].halo
        face = cut_faces([Face(0, 0, above, below)], blocks[1 - k])
        work = Work(parts, x.dtype, x.dtype, pickle.loads(pickle.dumps(call.library)), False)
        pieces = [Piece(0, bool(k), 0, below + above)]
        found.append(run_block(work, strips, pieces, [0], blocks[k], face))
    wanted = numpy(gridgrad.laplacian(x, boundary="reflect"))
    got = np.concatenate([numpy(each) for each in found])
    np.testing.assert_allclose(
        got, wanted, rtol=0, atol=4 * np.finfo(wanted.dtype).eps * abs(wanted).max()
    )
    assert dtype_name(found[0]) == library.floating


def test_threads_change_nothing():
    f = np.random.default_rng(2).standard_normal((40, 30, 20), dtype=np.float32)
    with dask.config.set(scheduler="threads", num_workers=4):
        check(gridgrad.gradient, (7, 30, 20), f)
        check(gridgrad.laplacian, (40, 4, 7), f)


def test_masks_are_those_in_memory():
    rng = np.random.default_rng(3)
    f = np.ma.array(rng.standard_normal((12, 9)), mask=rng.random((12, 9)) < 0.1)
    for how in ({}, {"boundary": 0.0}):
        for chunks in ((12, 9), (5, 4), (1, 9), (12, 1)):
            found = dask.compute(*gridgrad.gradient(da.from_array(f, chunks=chunks), **how))
            for got, wanted in zip(found, gridgrad.gradient(f, **how), strict=True):
                assert isinstance(got, np.ma.MaskedArray)
                np.testing.assert_array_equal(np.ma.getmaskarray(got), np.ma.getmaskarray(wanted))
                np.testing.assert_array_equal(got.filled(7), wanted.filled(7))


def test_dims_without_samples():
    f = np.ones((0, 5, 4))
    check(lambda f: gridgrad.gradient(f, dim=(1, 2)), (3, 2, 3), f)
    check(lambda f: gridgrad.laplacian(f, dim=1), (3, 2, 3), f)
    assert gridgrad.gradient(da.from_array(np.array(1.0))) == ()
    assert gridgrad.gradient(da.ones((3, 3)), dim=()) == ()
    check(gridgrad.gradient, -1, np.ones((0, 3)))  # an error, the same


def test_chunks_without_samples():
    f = np.random.default_rng(4).standard_normal((7, 6))
    lazy = da.from_array(f, chunks=(7, 6)).rechunk(((7,), (6,)))
    parts = da.concatenate([lazy[:3], lazy[3:3], lazy[3:]], axis=0, allow_unknown_chunksizes=True)
    blocks = parts.map_blocks(lambda b: b, dtype=f.dtype)
    for how in ({}, {"boundary": "periodic", "accuracy": 4}):
        found = dask.compute(*gridgrad.gradient(blocks, **how))
        for got, wanted in zip(found, gridgrad.gradient(f, **how), strict=True):
            same_bits(got, wanted)


def test_the_graph_grows_with_the_blocks_and_not_with_the_dims():
    """At most 6 tasks a block for the gradient of 3 dims in slabs, those of `from_array` among them."""
    for count in (4, 40):
        f = da.from_array(np.zeros((2 * count, 6, 5)), chunks=(2, 6, 5))
        tasks = merged(gridgrad.gradient(f))
        assert len(tasks) <= 6 * count
    cubes = da.from_array(np.zeros((12, 12, 12)), chunks=3)
    tasks = merged(gridgrad.gradient(cubes))
    assert len(tasks) <= 6 * 64
    # A task knows its neighbours and itself, however many there are.
    assert (
        max(len(task.dependencies) for task in tasks.values() if hasattr(task, "dependencies")) <= 3
    )
    thin = merged([gridgrad.laplacian(da.zeros((50, 6), chunks=(1, 6)), accuracy=4)])
    # Itself and 5 others: the edge's rows read 6 samples.
    assert max(len(task.dependencies) for task in thin.values()) == 6


def merged(arrays):
    """All tasks of several arrays, as they are run."""
    return collections_to_expr(arrays).optimize().__dask_graph__()


def test_one_component_needs_nothing_of_the_others():
    f = da.from_array(np.zeros((20, 6)), chunks=(5, 6))
    along, across = gridgrad.gradient(f)
    assert len(merged([across])) == 2 * 4  # no faces where a dim is not cut
    assert len(merged([along])) == 3 * 4


def test_a_block_is_read_once():
    """And before it is read, nothing is: calls are lazy."""
    read = []

    def block(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.random.default_rng(5).standard_normal((4, 6, 6))

    f = da.map_blocks(block, chunks=((4,) * 5, (6,), (6,)), dtype=float, meta=np.empty((0, 0, 0)))
    read.clear()
    results = [*gridgrad.gradient(f), gridgrad.laplacian(f), *gridgrad.hessian(f)[0]]
    assert not read
    dask.compute(*results)
    assert len(read) == 5
    assert len(set(read)) == 5


def test_persisted_and_optimized_graphs_compute_the_same():
    f = np.random.default_rng(6).standard_normal((11, 8))
    lazy = da.from_array(f, chunks=(3, 4))
    wanted = gridgrad.laplacian(f)
    result = gridgrad.laplacian(lazy)
    same_bits(result.persist().compute(), wanted)
    same_bits(dask.optimize(result)[0].compute(), wanted)
    same_bits(result.compute(optimize_graph=False), wanted)
    same_bits((result * 2)[2:9, 1].compute(), (wanted * 2)[2:9, 1])
    same_bits(gridgrad.laplacian(lazy + 1).compute(), gridgrad.laplacian(f + 1))


def test_names_depend_on_the_call_alone():
    f = da.ones((9, 7), chunks=4)
    x = np.cumsum(np.arange(1.0, 10))

    def names(**how):
        return [each.name for each in gridgrad.gradient(f, **how)]

    assert names() == names()
    assert names(spacing=(x, 1)) == names(spacing=(x.copy(), 1))
    calls = [names(), names(spacing=2), names(spacing=(x, 1)), names(spacing=(x * 2, 1))]
    calls += [names(boundary="reflect"), names(boundary=0.0), names(boundary=1.0)]
    calls += [names(accuracy=4), names(spacing=np.float64(2))]
    assert len({name for each in calls for name in each}) == sum(map(len, calls))
    long = np.cumsum(np.random.default_rng(7).uniform(1, 2, 20_000))
    g = da.ones(20_000, chunks=9_000)
    first, again = (gridgrad.gradient(g, spacing=long)[0].name for _ in range(2))
    assert first == again != gridgrad.gradient(g, spacing=long * 2)[0].name


def test_tasks_can_be_pickled():
    """Without the help of cloudpickle, which is slower."""
    long = np.cumsum(np.random.default_rng(8).uniform(1, 2, 20_000))
    f = da.ones((4, 20_000), chunks=(4, 9_000))
    for array in (
        gridgrad.gradient(f, spacing=(1, long))[1],
        gridgrad.gradient(f, dim=0)[0],
        gridgrad.laplacian(f, spacing=(1, long)),
    ):
        for key, task in dict(array.dask.layers[array.name]).items():
            again = pickle.loads(pickle.dumps(task))
            assert again.key == key


def test_components_may_be_cut_differently_or_lie_in_memory():
    rng = np.random.default_rng(9)
    u, v = rng.standard_normal((2, 9, 8))
    wanted = gridgrad.divergence((u, v), spacing=(0.1, 2))
    lazy = da.from_array(u, chunks=(2, 8)), da.from_array(v, chunks=(9, 3))
    same_bits(gridgrad.divergence(lazy, spacing=(0.1, 2)).compute(), wanted)
    same_bits(gridgrad.divergence((lazy[0], v), spacing=(0.1, 2)).compute(), wanted)
    stacked = da.from_array(np.stack([u, v]), chunks=(1, 4, 4))
    same_bits(gridgrad.divergence(stacked, spacing=(0.1, 2)).compute(), wanted)
    same_bits(gridgrad.divergence((u, lazy[1]), spacing=(0.1, 2)).compute(), wanted)
    with pytest.raises(GridTypeError, match="same library as components"):
        gridgrad.divergence((torch.from_numpy(u), lazy[1]))


def test_inputs_are_not_changed():
    f = np.random.default_rng(10).standard_normal((8, 6))
    before = f.copy()
    lazy = da.Array({("f", 0, 0): (lambda: f,)}, "f", ((8,), (6,)), meta=f)
    dask.compute(*gridgrad.gradient(da.concatenate([lazy, lazy]), boundary="periodic"))
    np.testing.assert_array_equal(f, before)


class TestBadInput:
    """One sentence each, and nothing computed."""

    def test_unknown_chunk_sizes(self):
        f = da.arange(10, chunks=5)
        unknown = f[f > 2]
        with pytest.raises(
            GridError, match=r"input must have chunks of known sizes.*compute_chunk_sizes"
        ):
            gridgrad.gradient(unknown)
        with pytest.raises(GridError, match=r"components\[1\] must have chunks of known sizes"):
            gridgrad.jacobian((f, unknown))
        with pytest.raises(GridError, match="components must have chunks of known sizes"):
            gridgrad.divergence(da.ones((4, 3))[da.ones(4) > 0])
        same_bits(
            gridgrad.gradient(unknown.compute_chunk_sizes())[0].compute(),
            gridgrad.gradient(np.arange(3, 10))[0],
        )

    def test_out(self):
        f = da.ones((4, 4))
        with pytest.raises(GridTypeError, match="out is not offered for Dask arrays"):
            gridgrad.gradient(f, out=(np.ones((4, 4)), np.ones((4, 4))))

    @pytest.mark.parametrize(
        ("coordinates", "message"),
        [
            ([0.0, 1, np.nan, 3], "must be finite, but entry 2 is nan"),
            ([0.0, 1, 1, 3], "must be distinct, but entry 2"),
            ([0.0, 1, 3], "must have one entry a sample, 4"),
            ([[0.0, 1, 2, 3]], "must be scalars or 1d"),
        ],
    )
    def test_coordinates(self, coordinates, message):
        f = da.from_array(np.ones((4, 4)), chunks=2)
        x = np.array(coordinates)
        for spacing in ((x, 1), (da.from_array(x, chunks=2), 1)):
            with pytest.raises(GridError, match=message):
                gridgrad.gradient(f, spacing=spacing)

    def test_other_dtypes(self):
        with pytest.raises(GridTypeError, match="input must hold integers"):
            gridgrad.gradient(da.ones(4, dtype=bool))

    def test_too_few_samples_counts_the_whole_dim(self):
        assert gridgrad.gradient(da.ones(4, chunks=1), edge_order=3)[0].shape == (4,)
        with pytest.raises(GridError, match="dim 0 has 3 samples, but edge_order=3 needs 4"):
            gridgrad.gradient(da.ones(3, chunks=1), edge_order=3)


# Faults that these tests found, by name


def test_terms_on_coordinates_were_added_in_another_order_where_runs_were_long():
    """A term with a weight for each sample was added in pairs to the others, and in short runs at once."""
    x = np.cumsum(np.random.default_rng(0).uniform(0.1, 1.1, 23))
    f = np.random.default_rng(0).standard_normal((23, 9, 14))
    whole = gridgrad.laplacian(f, spacing=(x, 2.0, 0.1))
    for n in (1, 8):
        part = gridgrad.laplacian(np.ascontiguousarray(f[:, :, :n]), dim=(0, 1), spacing=(x, 2.0))
        wide = gridgrad.laplacian(f, dim=(0, 1), spacing=(x, 2.0))
        same_bits(part, wide[:, :, :n])
    check(lambda f: gridgrad.laplacian(f, spacing=(x, 2.0, 0.1)), (23, 9, 1), f)
    assert whole.dtype == f.dtype


@pytest.mark.parametrize("chunk", [-1, 7, 3, 1])
def test_terms_of_transposed_chunks_were_added_in_another_order(chunk):
    f = np.random.default_rng(9).normal(size=(30, 20))
    found = gridgrad.laplacian(da.from_array(f, chunks=chunk).T).compute()
    assert found.tobytes() == gridgrad.laplacian(f.T).tobytes()
    found = gridgrad.laplacian(da.from_array(np.asfortranarray(f), chunks=chunk)).compute()
    assert found.tobytes() == gridgrad.laplacian(f).tobytes()


def test_windows_of_edges_alone_crashed_the_kernel():
    """All rows as lower ones, and the kernel took a row beyond the table."""
    f = np.random.default_rng(11).standard_normal((23, 9, 14))
    check(lambda f: gridgrad.laplacian(f, dim=1, accuracy=4, boundary="reflect"), (8, 2, 3), f)


EVEN_HERE_AND_THERE = np.cumsum(
    [1, 1, 1, 2, 2, 2, 2, 3, 1, 1, 1, 1, 4, 1, 2, 1.5, 1.5, 1.5, 1.5, 1.5]
)


def test_even_gaps_at_accuracy_4_were_added_in_other_pairs_in_short_runs():
    f = np.random.default_rng(12).standard_normal((20, 40))
    how = {"dim": 0, "spacing": EVEN_HERE_AND_THERE, "accuracy": 4}
    same_bits(gridgrad.derivative(f[:, :5].copy(), **how), gridgrad.derivative(f, **how)[:, :5])


def test_a_zero_was_negative_in_long_runs_alone():
    how = {"dim": 0, "spacing": -EVEN_HERE_AND_THERE}
    f = np.ones((20, 40))
    same_bits(gridgrad.derivative(f[:, :5].copy(), **how), gridgrad.derivative(f, **how)[:, :5])


def test_one_long_integer_changed_the_rounding_of_all_others():
    f = np.random.default_rng(13).integers(-(2**40), 2**40, (40, 30))
    f[3, 3] = 2**60 + 1
    check(lambda f: gridgrad.laplacian(f, accuracy=6, spacing=0.3), 10, f)


# Dask's own tests of its gradient, with ours in its place

(DASKS_CASES,) = (
    mark.args[1] for mark in dasks_own.test_gradient.pytestmark if "shape" in mark.args[0]
)


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize(("shape", "varargs", "axis"), DASKS_CASES)
def test_dasks_own(shape, varargs, axis, edge_order, monkeypatch):
    """The differences: none. Dask's own signature is numpy.gradient's, which `gridgrad.numpy` has."""
    import gridgrad.numpy

    monkeypatch.setattr(da, "gradient", gridgrad.numpy.gradient)
    dasks_own.test_gradient(shape, varargs, axis, edge_order)


def test_a_hessian_of_which_one_dim_has_coordinates_in_chunks():
    """Arrays between were as wide as the widest result, in memory as wide as the result made from them."""
    x = np.random.default_rng(0).standard_normal((8, 16, 15)).astype("f4")
    uneven = np.cumsum(np.random.default_rng(1).uniform(0.5, 1.5, 8))
    check(lambda x: gridgrad.hessian(x, spacing=[uneven, 0.5, 0.5]), (4, 5, 6), x)
