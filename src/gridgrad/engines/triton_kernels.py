"""The kernel that runs a plan on a GPU, in Triton.

A program makes one tile of every output: a box of samples of the last three dims, at one index of all dims
before. What it must know comes in two tables (`triton_tables`), so that one compiled kernel serves all shapes,
steps, boundaries and edges. Compiled in are only dtypes, the size of a tile, and which neighbours the
interior's rows read.
"""

import torch
import triton
import triton.language as tl

# Samples near the largest number have differences beyond it, though the derivative may be finite. Scaling by
# this power of two is exact, and leaves room for any stencil's partial sums.
_ROOM = tl.constexpr(2.0**-10)
# The one step from a sample to itself.
_HERE = tl.constexpr(((0,),))


@triton.jit
def run_tile(
    inputs,
    outputs,
    sizes,
    places,
    numbers,
    TERMS: tl.constexpr,
    DIMS: tl.constexpr,
    OUTER: tl.constexpr,
    TILE: tl.constexpr,
    COMPUTE: tl.constexpr,
    INDEX: tl.constexpr,
    CONTIGUOUS: tl.constexpr,
    VECTOR: tl.constexpr,
    RESCUES: tl.constexpr,
):
    """One tile of every output, of which TERMS has the terms; see `triton_tables.Kind` for what they say."""
    shape = _shape(sizes, DIMS, INDEX, VECTOR)
    starts = _starts(sizes, DIMS, OUTER, TILE, INDEX)
    index = (
        tl.arange(0, TILE[0])[:, None, None].to(INDEX),
        tl.arange(0, TILE[1])[None, :, None].to(INDEX),
        tl.arange(0, TILE[2])[None, None, :].to(INDEX),
    )
    valid = (
        index[0] < shape[DIMS - 3] - starts[DIMS - 3],
        index[1] < shape[DIMS - 2] - starts[DIMS - 2],
        index[2] < shape[DIMS - 1] - starts[DIMS - 1],
    )
    everywhere = valid[0] & valid[1] & valid[2]
    grid = (shape, starts, index, valid)
    AT: tl.constexpr = 1 + 2 * DIMS  # where strides begin
    for k in tl.static_range(len(outputs)):
        total = _output(
            inputs, sizes, places, numbers, grid,
            TERMS, k, 1.0, DIMS, TILE, COMPUTE, INDEX, CONTIGUOUS, VECTOR,
        )  # fmt: skip
        if RESCUES:
            lost = (_is_infinite(total) & everywhere).to(tl.int32)
            if tl.max(lost, axis=None) > 0:
                again = _output(
                    inputs, sizes, places, numbers, grid,
                    TERMS, k, _ROOM, DIMS, TILE, COMPUTE, INDEX, CONTIGUOUS, VECTOR,
                )  # fmt: skip
                total = tl.where(lost > 0, again / _ROOM, total)
        strides = _strides(sizes, AT + (len(inputs) + k) * DIMS, DIMS, VECTOR)
        to = outputs[k] + _origin(starts, strides, DIMS, CONTIGUOUS, DIMS)
        to += _offset(index, strides, DIMS, INDEX, CONTIGUOUS, DIMS)
        tl.store(to, total.to(to.dtype.element_ty), mask=everywhere)


@triton.constexpr_function
def _at(entries, *path):
    """An entry of tuples in tuples, which Triton itself does not tell."""
    for k in path:
        entries = entries[k]
    return entries


@triton.constexpr_function
def _count(entries):
    return len(entries)


# Where a tile stands


@triton.jit
def _entries(sizes, AT: tl.constexpr, COUNT: tl.constexpr, DTYPE: tl.constexpr):
    """Sizes, one after another.

    They come as 2 n + 3, since Triton compiles anew for arguments that are 1 or multiples of 16.
    """
    found = ()
    for k in tl.static_range(COUNT):
        found = found + (((sizes[AT + k] - 3) >> 1).to(DTYPE),)
    return found


@triton.jit
def _shape(sizes, DIMS: tl.constexpr, INDEX: tl.constexpr, VECTOR: tl.constexpr):
    """The samples along each dim; along the last a multiple of VECTOR, which the compiler sees."""
    last = _entries(sizes, 2 * DIMS, 1, INDEX)
    return _entries(sizes, DIMS + 1, DIMS - 1, INDEX) + (last[0] * VECTOR,)


@triton.jit
def _strides(sizes, AT: tl.constexpr, DIMS: tl.constexpr, VECTOR: tl.constexpr):
    """An array's strides: multiples of VECTOR but for the last."""
    given = _entries(sizes, AT, DIMS, tl.int64)
    found = ()
    for d in tl.static_range(DIMS - 1):
        found = found + (given[d] * VECTOR,)
    return found + (given[DIMS - 1],)


@triton.jit
def _starts(
    sizes, DIMS: tl.constexpr, OUTER: tl.constexpr, TILE: tl.constexpr, INDEX: tl.constexpr
):
    """The first sample of this program's tile along each dim.

    Programs follow the last dims first. Along dim OUTER they go through a band of the next dim before they go
    on to the next band, so that the samples that a tile reads from the tiles around it are still cached.
    """
    counts = _entries(sizes, 0, DIMS + 1, tl.int32)
    width = counts[DIMS]
    rest = tl.program_id(0)
    tiles = ()
    for k in tl.static_range(DIMS - 2 - OUTER):
        tiles = (rest % counts[DIMS - 1 - k],) + tiles
        rest = rest // counts[DIMS - 1 - k]
    plane = counts[OUTER] * counts[OUTER + 1]
    before = rest // plane
    rest = rest % plane
    band = rest // (counts[OUTER] * width)
    rest = rest - band * counts[OUTER] * width
    within = tl.minimum(width, counts[OUTER + 1] - band * width)
    tiles = (rest // within, band * width + rest % within) + tiles
    for k in tl.static_range(OUTER):
        tiles = (before % counts[OUTER - 1 - k],) + tiles
        before = before // counts[OUTER - 1 - k]
    found = ()
    for d in tl.static_range(DIMS):
        if d < DIMS - 3:
            found = found + (tiles[d].to(INDEX),)
        else:
            found = found + (tiles[d].to(INDEX) * TILE[d - DIMS + 3],)
    return found


@triton.jit
def _origin(starts, strides, DIMS: tl.constexpr, CONTIGUOUS: tl.constexpr, BUT: tl.constexpr):
    """How far a tile's first sample is from the array's; dim BUT does not count."""
    found = tl.full((), 0, tl.int64)
    for d in tl.static_range(DIMS):
        if d != BUT:
            if CONTIGUOUS and d == DIMS - 1:
                found += starts[d].to(tl.int64)
            else:
                found += starts[d].to(tl.int64) * strides[d]
    return found


@triton.jit
def _offset(
    index, strides, DIMS: tl.constexpr, INDEX: tl.constexpr, CONTIGUOUS: tl.constexpr, BUT: tl.constexpr
):  # fmt: skip
    """How far a tile's samples are from its first; dim BUT does not count."""
    found = tl.zeros((1, 1, 1), INDEX)
    for k in tl.static_range(3):
        if DIMS - 3 + k != BUT:
            if CONTIGUOUS and k == 2:
                found = found + index[k]
            else:
                found = found + index[k] * strides[DIMS - 3 + k].to(INDEX)
    return found


@triton.jit
def _inside(grid, offset: tl.constexpr, DIM: tl.constexpr, DIMS: tl.constexpr):
    """Where there is a sample so far along a dim."""
    shape, starts, index, valid = grid
    if offset == 0:
        found = valid[0] & valid[1] & valid[2]
    elif DIM < DIMS - 3:
        place = starts[DIM] + offset
        found = valid[0] & valid[1] & valid[2] & (place >= 0) & (place < shape[DIM])
    else:
        place = index[DIM - DIMS + 3] + offset
        along = (place >= -starts[DIM]) & (place < shape[DIM] - starts[DIM])
        found = along & _all_but(valid, DIM - DIMS + 3)
    return found


@triton.jit
def _all_but(valid, BUT: tl.constexpr):
    if BUT == 0:
        found = valid[1] & valid[2]
    elif BUT == 1:
        found = valid[0] & valid[2]
    elif BUT == 2:
        found = valid[0] & valid[1]
    else:
        found = valid[0] & valid[1] & valid[2]
    return found


# What a sample is


@triton.jit
def _is_infinite(x):
    """Whether x is infinite or not a number."""
    return x - x != 0


@triton.jit
def _is(a, b, like):
    """Whether two numbers are equal, everywhere: the interpreter cannot spread what a comparison gives."""
    return tl.zeros_like(like) + a == b


@triton.jit
def _parts(raw, COMPUTE: tl.constexpr, SCALE: tl.constexpr):
    """Numbers of the dtype computed in whose exact sum a sample is: two for integers of 64 bits."""
    if raw.dtype.is_int() and raw.dtype.primitive_bitwidth == 64:
        low = raw & 0xFFFFFFFF
        found = ((raw - low).to(COMPUTE), low.to(COMPUTE))
    elif SCALE != 1.0:
        found = (raw.to(COMPUTE) * SCALE,)
    else:
        found = (raw.to(COMPUTE),)
    return found


@triton.jit
def _difference(a, b):
    total = a[0] - b[0]
    if len(a) > 1:
        total = total + (a[1] - b[1])
    return total


@triton.jit
def _whole(a):
    total = a[0]
    if len(a) > 1:
        total = total + a[1]
    return total


@triton.jit
def _quotient(a, b):
    """a / b, rounded once; `/` does so in double precision only."""
    b = tl.zeros_like(a) + b
    if a.dtype == tl.float32:
        found = tl.div_rn(a, b)
    else:
        found = a / b
    return found


# What an output is


@triton.jit
def _output(
    inputs, sizes, places, numbers, grid,
    TERMS: tl.constexpr, OUTPUT: tl.constexpr, SCALE: tl.constexpr, DIMS: tl.constexpr,
    TILE: tl.constexpr, COMPUTE: tl.constexpr, INDEX: tl.constexpr, CONTIGUOUS: tl.constexpr,
    VECTOR: tl.constexpr,
):  # fmt: skip
    """The sum of an output's terms."""
    OWN: tl.constexpr = _at(TERMS, OUTPUT)
    total = _term(
        inputs, sizes, places, numbers, grid,
        OWN, 0, SCALE, DIMS, TILE, COMPUTE, INDEX, CONTIGUOUS, VECTOR,
    )  # fmt: skip
    for k in tl.static_range(1, _count(OWN)):
        total = total + _term(
            inputs, sizes, places, numbers, grid,
            OWN, k, SCALE, DIMS, TILE, COMPUTE, INDEX, CONTIGUOUS, VECTOR,
        )  # fmt: skip
    return total


@triton.jit
def _term(
    inputs, sizes, places, numbers, grid,
    TERMS: tl.constexpr, K: tl.constexpr, SCALE: tl.constexpr, DIMS: tl.constexpr,
    TILE: tl.constexpr, COMPUTE: tl.constexpr, INDEX: tl.constexpr, CONTIGUOUS: tl.constexpr,
    VECTOR: tl.constexpr,
):  # fmt: skip
    """A stencil's interior row everywhere, and then the rows of its edges where they are."""
    TERM: tl.constexpr = _at(TERMS, K)
    INPUT: tl.constexpr = _at(TERM, 0)
    DIM: tl.constexpr = _at(TERM, 1)
    AT: tl.constexpr = _at(TERM, 8)
    shape, starts, index, valid = grid
    strides = _strides(sizes, 1 + 2 * DIMS + INPUT * DIMS, DIMS, VECTOR)
    first = inputs[INPUT] + _origin(starts, strides, DIMS, CONTIGUOUS, DIMS)
    offset = _offset(index, strides, DIMS, INDEX, CONTIGUOUS, DIMS)
    stride = strides[DIM]
    if CONTIGUOUS and DIM == DIMS - 1:
        stride = tl.full((), 1, tl.int64)
    told = _entries(sizes, AT, 6, tl.int64)
    weights = numbers + told[4]
    if _at(TERM, 3):
        total = _varying(
            first, offset, stride, weights, grid, TERM, SCALE, DIMS, TILE, COMPUTE,
        )  # fmt: skip
    else:
        total = _constant(
            first, offset, stride, weights, grid, TERM, SCALE, DIMS, TILE, COMPUTE,
        )  # fmt: skip
    # The edges: a row for each sample, wherever this tile has such samples.
    lower = told[0].to(INDEX)
    upper = told[1].to(INDEX)
    steps = told[2].to(tl.int32)
    top = shape[DIM] - upper
    begin = starts[DIM]
    if DIM < DIMS - 3:
        end = begin + 1
    else:
        end = tl.minimum(begin + TILE[DIM - DIMS + 3], shape[DIM])
    low = tl.maximum(tl.minimum(end, lower) - begin, 0).to(tl.int32)
    high = tl.maximum(begin, top)
    count = low + tl.maximum(end - high, 0).to(tl.int32)
    line = inputs[INPUT] + _origin(starts, strides, DIMS, CONTIGUOUS, DIM)
    across = _offset(index, strides, DIMS, INDEX, CONTIGUOUS, DIM)
    mask = _all_but(valid, DIM - DIMS + 3)
    if DIM < DIMS - 1:
        # As large as the tile, not a slice of it, so that both have one layout.
        across = tl.broadcast_to(across, TILE)
    for k in range(count):
        sample = tl.where(k < low, begin + k, high + (k - low))
        row = tl.where(sample < lower, sample, sample - top + lower)
        where = _is_there(index, sample - begin, DIM - DIMS + 3)
        if DIM < DIMS - 1:
            reads = mask & where
        else:
            reads = mask
        found = _edge(
            line, across, reads, stride,
            places + told[3] + row * (2 + 2 * steps), numbers + told[5] + row * (2 + 3 * steps),
            _at(TERM, 7), SCALE, COMPUTE,
        )  # fmt: skip
        total = tl.where(where, found, total)
    return total


@triton.jit
def _is_there(index, place, DIM: tl.constexpr):
    """Where a tile's samples have this index along a dim; everywhere, if the tile has one index there."""
    if DIM < 0:
        found = index[0] >= 0
    else:
        found = index[DIM] == place
    return found


@triton.jit
def _constant(
    first, offset, stride, weights, grid,
    TERM: tl.constexpr, SCALE: tl.constexpr, DIMS: tl.constexpr, TILE: tl.constexpr,
    COMPUTE: tl.constexpr,
):  # fmt: skip
    """The interior's row where its weights are numbers: a sum over pairs of neighbours."""
    DIM: tl.constexpr = _at(TERM, 1)
    STEPS: tl.constexpr = _at(TERM, 2)
    PLAIN: tl.constexpr = _at(TERM, 4)
    DIVIDES: tl.constexpr = _at(TERM, 6)
    total = tl.zeros(TILE, COMPUTE)
    for k in tl.static_range(_count(STEPS)):
        weight = tl.load(weights + 1 + k)
        ahead = _near(first, offset, stride, grid, STEPS, k, 0, DIM, SCALE, DIMS, COMPUTE)
        if PLAIN:
            change = _whole(ahead)
        else:
            behind = _near(first, offset, stride, grid, STEPS, k, 1, DIM, SCALE, DIMS, COMPUTE)
            change = _difference(ahead, behind)
        if k == 0:
            total = weight * change
        else:
            total = tl.fma(tl.broadcast_to(weight, TILE), change, total)
    if DIVIDES:
        total = _quotient(total, tl.load(weights))
    return total


@triton.jit
def _near(
    first, offset, stride, grid,
    STEPS: tl.constexpr, K: tl.constexpr, END: tl.constexpr, DIM: tl.constexpr,
    SCALE: tl.constexpr, DIMS: tl.constexpr, COMPUTE: tl.constexpr,
):  # fmt: skip
    """The samples that a step leads to."""
    STEP: tl.constexpr = _at(STEPS, K, END)
    raw = tl.load(first + STEP * stride + offset, mask=_inside(grid, STEP, DIM, DIMS), other=0)
    return _parts(raw, COMPUTE, SCALE)


@triton.jit
def _varying(
    first, offset, stride, weights, grid,
    TERM: tl.constexpr, SCALE: tl.constexpr, DIMS: tl.constexpr, TILE: tl.constexpr,
    COMPUTE: tl.constexpr,
):  # fmt: skip
    """The interior's row where every sample has weights of its own.

    Differences are from the sample itself. Where that has no weight, and is not finite, another takes its place.
    What has no weight has no part in the sum, if it is CAREFUL.
    """
    DIM: tl.constexpr = _at(TERM, 1)
    STEPS: tl.constexpr = _at(TERM, 2)
    PLAIN: tl.constexpr = _at(TERM, 4)
    CAREFUL: tl.constexpr = _at(TERM, 5)
    total = tl.zeros(TILE, COMPUTE)
    if not PLAIN:
        here = _near(first, offset, stride, grid, _HERE, 0, 0, DIM, SCALE, DIMS, COMPUTE)
        if CAREFUL:
            weight = _weight(weights, grid, _count(STEPS), DIM, DIMS)
            unread = _is(weight, 0.0, total) & _is_infinite(here[0])
            there = _near(first, offset, stride, grid, STEPS, 0, 0, DIM, SCALE, DIMS, COMPUTE)
            if len(here) == 1:
                here = (tl.where(unread, there[0], here[0]),)
    for k in tl.static_range(_count(STEPS)):
        weight = _weight(weights, grid, k, DIM, DIMS)
        near = _near(first, offset, stride, grid, STEPS, k, 0, DIM, SCALE, DIMS, COMPUTE)
        if PLAIN:
            change = _whole(near)
        else:
            change = _difference(near, here)
        if CAREFUL:
            absent = _is(weight, 0.0, total)
            if k == 0 and not PLAIN:
                absent = absent | unread
            change = tl.where(absent, 0.0, change)
        total = tl.fma(tl.broadcast_to(weight, TILE), change, total)
    return total


@triton.jit
def _weight(weights, grid, k: tl.constexpr, DIM: tl.constexpr, DIMS: tl.constexpr):
    """The k-th weight of the samples along a dim."""
    shape, starts, index, valid = grid
    at = weights + k * shape[DIM].to(tl.int64) + starts[DIM]
    if DIM < DIMS - 3:
        found = tl.load(at)
    else:
        found = tl.load(at + index[DIM - DIMS + 3], mask=valid[DIM - DIMS + 3], other=0.0)
    return found


@triton.jit
def _edge(
    line, across, mask, stride, places, values,
    UNSEEN: tl.constexpr, SCALE: tl.constexpr, COMPUTE: tl.constexpr,
):  # fmt: skip
    """One sample of an edge, all along it: a sum over pairs of samples, or of numbers beyond the edge.

    UNSEEN weights may be 0: then they have no part in it, as in `_varying`.
    """
    count = tl.load(places).to(tl.int32)
    total = tl.zeros_like(across).to(COMPUTE)
    for k in range(count):
        plus = tl.load(places + 2 + 2 * k)
        minus = tl.load(places + 3 + 2 * k)
        weight = tl.load(values + 2 + 3 * k)
        value = tl.load(values + 3 + 3 * k)
        ahead = _end(line, across, mask, stride, plus, value, SCALE, COMPUTE)
        value = tl.load(values + 4 + 3 * k)
        behind = _end(line, across, mask, stride, minus, value, SCALE, COMPUTE)
        if UNSEEN:
            other = tl.load(places + 1)
            centre = tl.load(values + 1)
            unread = _is(centre, 0.0, total) & _is_infinite(behind[0])
            if len(behind) == 1:
                spare = _end(line, across, mask, stride, other, centre, SCALE, COMPUTE)
                behind = (tl.where(unread, spare[0], behind[0]),)
            absent = _is(weight, 0.0, total) | (unread & _is(plus - other, 0, across))
            total += tl.where(absent, 0.0, weight * _difference(ahead, behind))
        else:
            total += weight * _difference(ahead, behind)
    return _quotient(total, tl.load(values))


@triton.jit
def _end(
    line, across, mask, stride, place, value, SCALE: tl.constexpr, COMPUTE: tl.constexpr
):  # fmt: skip
    """The samples at a place along a dim, or the value where that is negative."""
    exists = place + tl.zeros_like(across) >= 0
    raw = tl.load(line + place * stride + across, mask=mask & exists, other=0)
    found = _parts(raw, COMPUTE, SCALE)
    first = tl.where(exists, found[0], value * SCALE)
    if len(found) > 1:
        found = (first, found[1])
    else:
        found = (first,)
    return found


DTYPES = {
    torch.float32: tl.float32,
    torch.float64: tl.float64,
    torch.int32: tl.int32,
    torch.int64: tl.int64,
}
