"""Calls that are cut into chunks: any operator, with any arguments, and what the results must be like."""

import math
from itertools import pairwise

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

DTYPES = ("f2", "f4", "f8", "c8", "c16", "i1", "i4", "u2", "g")
BOUNDARIES = ("one-sided", "periodic", "reflect", "replicate", 0.0, 2.5)


def same_bits(found, wanted):
    """Whether two arrays are alike to the bit; NaNs differ by how they came about."""
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    known = ~np.isnan(wanted)
    for part in ("real", "imag") if wanted.dtype.kind == "c" else ("real",):
        a, b = getattr(found, part)[known], getattr(wanted, part)[known]
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.signbit(a), np.signbit(b))


def leaves(nested):
    """The arrays of a result, however deep in tuples."""
    if isinstance(nested, tuple):
        return [leaf for each in nested for leaf in leaves(each)]
    return [nested]


@st.composite
def cuts(draw, n):
    """Chunks of a dim: one, as thin as can be, or any."""
    kind = draw(st.sampled_from(("whole", "thin", "any", "any")))
    if kind == "whole" or n == 0:
        return (n,)
    if kind == "thin":
        return (1,) * n
    inner = draw(st.sets(st.integers(1, n - 1), max_size=4)) if n > 1 else set()
    return tuple(b - a for a, b in pairwise([0, *sorted(inner), n]))


@st.composite
def calls(draw):
    """An operator with arguments, inputs and chunks."""
    name = draw(
        st.sampled_from(
            ("gradient", "derivative", "laplacian", "divergence", "curl", "jacobian", "hessian",
             "directional_derivative")
        )
    )  # fmt: skip
    low = 2 if name in ("divergence", "curl") else 1
    ndim = draw(st.integers(low, 3))
    shape = tuple(draw(st.integers(4, 12)) for _ in range(ndim))
    if draw(st.booleans()):
        shape = (*shape[:-1], draw(st.integers(12, 45)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    dims = list(range(ndim))
    if name in ("gradient", "laplacian", "jacobian") and ndim > 1 and draw(st.booleans()):
        dims = draw(st.permutations(dims))[: draw(st.integers(1, ndim))]
    if name == "derivative":
        dims = [draw(st.sampled_from(dims))]
    spacing, boundary, period = [], [], []
    for dim in dims:
        kind, length = draw(st.sampled_from(("step", "scalar", "uneven", "uneven32", "dask"))), None
        # Uneven without symmetry: where neighbours stand evenly, the kernel's own chunks differ (below).
        x = np.cumsum(rng.uniform(0.5, 1.5, shape[dim]))
        if kind == "step":
            spacing.append(draw(st.sampled_from((1, 0.1, -3.0))))
        elif kind == "scalar":
            spacing.append(np.float64(0.1))
        else:
            length = x[-1] - x[0] + 1.25
            x = x.astype("f4") if kind == "uneven32" else x
            spacing.append(("dask", x) if kind == "dask" else x)
        side = draw(st.sampled_from(BOUNDARIES))
        if side != "periodic" and draw(st.booleans()):
            boundary.append((side, draw(st.sampled_from(("one-sided", "reflect", 1.0)))))
        else:
            boundary.append(side)
        period.append(length if boundary[-1] == "periodic" else None)
    how = {
        "spacing": spacing, "boundary": boundary, "period": period,
        "accuracy": draw(st.sampled_from((2, 2, 4, 6))),
        "edge_order": draw(st.sampled_from((None, None, 1, 3))),
    }  # fmt: skip
    if name == "derivative":
        how |= {"dim": dims[0], "order": draw(st.integers(1, 4)), "period": period[0]}
        how |= {"side": draw(st.sampled_from(("center", "center", "forward", "backward")))}
        how["spacing"], how["boundary"] = spacing[0], boundary[0]
    else:
        how["dim"] = tuple(dims)
    count = {"divergence": len(dims), "curl": len(dims), "jacobian": 2}.get(name, 1)
    arrays = [samples(rng, shape, dtype) for _ in range(count)]
    if draw(st.booleans()) and dtype.kind in "fc":
        arrays[0].flat[draw(st.integers(0, arrays[0].size - 1))] = draw(
            st.sampled_from((np.nan, np.inf, np.finfo(dtype).max))
        )
    chunks = tuple(draw(cuts(n)) for n in shape)
    assume(math.prod(map(len, chunks)) <= 150)
    return name, how, arrays, chunks


def samples(rng, shape, dtype):
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    values = rng.standard_normal(shape)
    if dtype.kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)
