"""The kernel that runs a plan on a GPU, in Triton.

A program makes one tile of every output: a box of samples of the last three dims, at one index of all dims
before. What it must know comes in sizes and tables (`triton_tables`), so that one compiled kernel serves all
shapes, steps, boundaries and edges. Compiled in are only dtypes, the size of a tile, and which neighbours the
interior's rows read.
"""

import torch
import triton
import triton.language as tl

from gridgrad.engines.triton_grid import (
    HERE,
    all_but,
    at,
    count,
    difference,
    entries,
    equals,
    inside,
    is_infinite,
    is_there,
    offset,
    origin,
    parts,
    quotient,
    shape_of,
    starts_of,
    strides_of,
    whole,
)

DTYPES = {
    torch.float32: tl.float32,
    torch.float64: tl.float64,
    torch.int32: tl.int32,
    torch.int64: tl.int64,
}
# Samples near the largest number have differences beyond it, though the derivative may be finite. Scaling by
# this power of two is exact, and leaves room for any stencil's partial sums.
_ROOM = tl.constexpr(2.0**-10)


@triton.jit
def run_tile(inputs, outputs, sizes, places, numbers, TERMS: tl.constexpr, FORM: tl.constexpr):
    """One tile of every output: `triton_tables.Kind` for what TERMS says of each of its terms."""
    DIMS: tl.constexpr = at(FORM, 0)
    INDEX: tl.constexpr = at(FORM, 4)
    shape, starts = shape_of(sizes, FORM), starts_of(sizes, FORM)
    index = (
        tl.arange(0, at(FORM, 2, 0))[:, None, None].to(INDEX),
        tl.arange(0, at(FORM, 2, 1))[None, :, None].to(INDEX),
        tl.arange(0, at(FORM, 2, 2))[None, None, :].to(INDEX),
    )
    valid = (
        index[0] < shape[DIMS - 3] - starts[DIMS - 3],
        index[1] < shape[DIMS - 2] - starts[DIMS - 2],
        index[2] < shape[DIMS - 1] - starts[DIMS - 1],
    )
    everywhere = all_but(valid, -1)
    grid = (shape, starts, index, valid)
    for k in tl.static_range(len(outputs)):
        total = _output(inputs, sizes, places, numbers, grid, TERMS, k, 1.0, FORM)
        if at(FORM, 7):
            lost = (is_infinite(total) & everywhere).to(tl.int32)
            if tl.max(lost, axis=None) > 0:
                again = _output(inputs, sizes, places, numbers, grid, TERMS, k, _ROOM, FORM)
                total = tl.where(lost > 0, again / _ROOM, total)
        strides = strides_of(sizes, len(inputs) + k, FORM)
        to = outputs[k] + origin(starts, strides, DIMS, FORM) + offset(index, strides, DIMS, FORM)
        tl.store(to, total.to(to.dtype.element_ty), mask=everywhere)


@triton.jit
def _output(
    inputs, sizes, places, numbers, grid, TERMS: tl.constexpr, OUTPUT: tl.constexpr,
    SCALE: tl.constexpr, FORM: tl.constexpr,
):  # fmt: skip
    """The sum of an output's terms."""
    OWN: tl.constexpr = at(TERMS, OUTPUT)
    total = _term(inputs, sizes, places, numbers, grid, OWN, 0, SCALE, FORM)
    for k in tl.static_range(1, count(OWN)):
        total = total + _term(inputs, sizes, places, numbers, grid, OWN, k, SCALE, FORM)
    return total


@triton.jit
def _term(
    inputs, sizes, places, numbers, grid, TERMS: tl.constexpr, K: tl.constexpr,
    SCALE: tl.constexpr, FORM: tl.constexpr,
):  # fmt: skip
    """A stencil's interior row everywhere, and then the rows of its edges where they are."""
    TERM: tl.constexpr = at(TERMS, K)
    INPUT: tl.constexpr = at(TERM, 0)
    DIM: tl.constexpr = at(TERM, 1)
    DIMS: tl.constexpr = at(FORM, 0)
    INDEX: tl.constexpr = at(FORM, 4)
    shape, starts, index, valid = grid
    strides = strides_of(sizes, INPUT, FORM)
    first = inputs[INPUT] + origin(starts, strides, DIMS, FORM)
    within = offset(index, strides, DIMS, FORM)
    told = entries(sizes, at(TERM, 8), 6, tl.int64)
    weights = numbers + told[4]
    if at(TERM, 3):
        total = _varying(first, within, strides[DIM], weights, grid, TERM, SCALE, FORM)
    else:
        total = _constant(first, within, strides[DIM], weights, grid, TERM, SCALE, FORM)
    # The edges: a row for each sample, wherever this tile has such samples.
    lower, upper, steps = told[0].to(INDEX), told[1].to(INDEX), told[2].to(tl.int32)
    top = shape[DIM] - upper
    begin = starts[DIM]
    if DIM < DIMS - 3:
        end = begin + 1
    else:
        end = tl.minimum(begin + at(FORM, 2, DIM - DIMS + 3), shape[DIM])
    low = tl.maximum(tl.minimum(end, lower) - begin, 0).to(tl.int32)
    high = tl.maximum(begin, top)
    edges = low + tl.maximum(end - high, 0).to(tl.int32)
    line = inputs[INPUT] + origin(starts, strides, DIM, FORM)
    across = offset(index, strides, DIM, FORM)
    mask = all_but(valid, DIM - DIMS + 3)
    if DIM < DIMS - 1:
        # As large as the tile, not a slice of it, so that both have one layout.
        across = tl.broadcast_to(across, at(FORM, 2))
    for k in range(edges):
        sample = tl.where(k < low, begin + k, high + (k - low))
        row = tl.where(sample < lower, sample, sample - top + lower)
        there = is_there(index, sample - begin, DIM - DIMS + 3)
        reads = mask
        if DIM < DIMS - 1:
            reads = mask & there
        found = _edge(
            line, across, reads, strides[DIM],
            places + told[3] + row * (2 + 2 * steps), numbers + told[5] + row * (2 + 3 * steps),
            at(TERM, 7), SCALE, FORM,
        )  # fmt: skip
        total = tl.where(there, found, total)
    return total


@triton.jit
def _near(
    first, within, stride, grid, STEPS: tl.constexpr, K: tl.constexpr, END: tl.constexpr,
    DIM: tl.constexpr, SCALE: tl.constexpr, FORM: tl.constexpr,
):  # fmt: skip
    """The samples that a step leads to."""
    STEP: tl.constexpr = at(STEPS, K, END)
    raw = tl.load(first + STEP * stride + within, mask=inside(grid, STEP, DIM, FORM), other=0)
    return parts(raw, SCALE, FORM)


@triton.jit
def _constant(
    first, within, stride, weights, grid, TERM: tl.constexpr, SCALE: tl.constexpr,
    FORM: tl.constexpr,
):  # fmt: skip
    """The interior's row where its weights are numbers: a sum over pairs of neighbours."""
    DIM: tl.constexpr = at(TERM, 1)
    STEPS: tl.constexpr = at(TERM, 2)
    total = tl.zeros(at(FORM, 2), at(FORM, 3))
    for k in tl.static_range(count(STEPS)):
        weight = tl.load(weights + 1 + k)
        ahead = _near(first, within, stride, grid, STEPS, k, 0, DIM, SCALE, FORM)
        if at(TERM, 4):  # plain
            change = whole(ahead)
        else:
            behind = _near(first, within, stride, grid, STEPS, k, 1, DIM, SCALE, FORM)
            change = difference(ahead, behind)
        if k == 0:
            total = weight * change
        else:
            total = tl.fma(tl.broadcast_to(weight, at(FORM, 2)), change, total)
    if at(TERM, 6):  # divides
        total = quotient(total, tl.load(weights))
    return total


@triton.jit
def _varying(
    first, within, stride, weights, grid, TERM: tl.constexpr, SCALE: tl.constexpr,
    FORM: tl.constexpr,
):  # fmt: skip
    """The interior's row where every sample has weights of its own.

    Differences are from the sample itself. Where that has no weight, and is not finite, another takes its
    place. What has no weight has no part in the sum, if it is CAREFUL.
    """
    DIM: tl.constexpr = at(TERM, 1)
    STEPS: tl.constexpr = at(TERM, 2)
    PLAIN: tl.constexpr = at(TERM, 4)
    CAREFUL: tl.constexpr = at(TERM, 5)
    total = tl.zeros(at(FORM, 2), at(FORM, 3))
    if not PLAIN:
        here = _near(first, within, stride, grid, HERE, 0, 0, DIM, SCALE, FORM)
        if CAREFUL:
            weight = _weight(weights, grid, count(STEPS), DIM, FORM)
            unread = equals(weight, 0.0, total) & is_infinite(here[0])
            there = _near(first, within, stride, grid, STEPS, 0, 0, DIM, SCALE, FORM)
            if len(here) == 1:
                here = (tl.where(unread, there[0], here[0]),)
    for k in tl.static_range(count(STEPS)):
        weight = _weight(weights, grid, k, DIM, FORM)
        near = _near(first, within, stride, grid, STEPS, k, 0, DIM, SCALE, FORM)
        if PLAIN:
            change = whole(near)
        else:
            change = difference(near, here)
        if CAREFUL:
            absent = equals(weight, 0.0, total)
            if k == 0 and not PLAIN:
                absent = absent | unread
            change = tl.where(absent, 0.0, change)
        total = tl.fma(tl.broadcast_to(weight, at(FORM, 2)), change, total)
    return total


@triton.jit
def _weight(weights, grid, K: tl.constexpr, DIM: tl.constexpr, FORM: tl.constexpr):
    """The k-th weight of the samples along a dim."""
    DIMS: tl.constexpr = at(FORM, 0)
    shape, starts, index, valid = grid
    first = weights + K * shape[DIM].to(tl.int64) + starts[DIM]
    if DIM < DIMS - 3:
        found = tl.load(first)
    else:
        found = tl.load(first + index[DIM - DIMS + 3], mask=valid[DIM - DIMS + 3], other=0.0)
    return found


@triton.jit
def _edge(
    line, across, mask, stride, places, values, UNSEEN: tl.constexpr, SCALE: tl.constexpr,
    FORM: tl.constexpr,
):  # fmt: skip
    """One sample of an edge, all along it: a sum over pairs of samples, or of numbers beyond the edge.

    UNSEEN weights may be 0: then they have no part in it, as in `_varying`.
    """
    total = tl.zeros_like(across).to(at(FORM, 3))
    for k in range(tl.load(places).to(tl.int32)):
        plus = tl.load(places + 2 + 2 * k)
        minus = tl.load(places + 3 + 2 * k)
        weight = tl.load(values + 2 + 3 * k)
        ahead = _end(line, across, mask, stride, plus, tl.load(values + 3 + 3 * k), SCALE, FORM)
        behind = _end(line, across, mask, stride, minus, tl.load(values + 4 + 3 * k), SCALE, FORM)
        if UNSEEN:
            other = tl.load(places + 1)
            centre = tl.load(values + 1)
            unread = equals(centre, 0.0, total) & is_infinite(behind[0])
            if len(behind) == 1:
                spare = _end(line, across, mask, stride, other, centre, SCALE, FORM)
                behind = (tl.where(unread, spare[0], behind[0]),)
            absent = equals(weight, 0.0, total) | (unread & equals(plus - other, 0, across))
            total += tl.where(absent, 0.0, weight * difference(ahead, behind))
        else:
            total += weight * difference(ahead, behind)
    return quotient(total, tl.load(values))


@triton.jit
def _end(
    line, across, mask, stride, place, value, SCALE: tl.constexpr, FORM: tl.constexpr
):  # fmt: skip
    """The samples at a place along a dim, or the value where that is negative."""
    exists = place + tl.zeros_like(across) >= 0
    raw = tl.load(line + place * stride + across, mask=mask & exists, other=0)
    found = parts(raw, SCALE, FORM)
    first = tl.where(exists, found[0], value * SCALE)
    if len(found) > 1:
        found = (first, found[1])
    else:
        found = (first,)
    return found
