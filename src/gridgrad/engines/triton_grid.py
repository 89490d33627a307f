"""Where a tile of the GPU kernel stands, and what its samples are."""

import triton
import triton.language as tl

# The one step from a sample to itself.
HERE = tl.constexpr(((0,),))


@triton.constexpr_function
def at(entries, *path):
    """An entry of tuples in tuples, which Triton itself does not tell."""
    for k in path:
        entries = entries[k]
    return entries


@triton.constexpr_function
def count(entries):
    return len(entries)


# FORM is a tuple throughout, that `triton.constants` explains: DIMS, OUTER, TILE, COMPUTE, INDEX, CONTIGUOUS,
# VECTOR, RESCUES.


@triton.jit
def entries(sizes, AT: tl.constexpr, COUNT: tl.constexpr, DTYPE: tl.constexpr):
    """Sizes, one after another.

    They come as 2 n + 3, since Triton compiles anew for arguments that are 1 or multiples of 16.
    """
    found = ()
    for k in tl.static_range(COUNT):
        found = found + (((sizes[AT + k] - 3) >> 1).to(DTYPE),)
    return found


@triton.jit
def shape_of(sizes, FORM: tl.constexpr):
    """The samples along each dim; along the last a multiple of VECTOR, which the compiler sees."""
    DIMS: tl.constexpr = at(FORM, 0)
    last = entries(sizes, 2 * DIMS, 1, at(FORM, 4))
    return entries(sizes, DIMS + 1, DIMS - 1, at(FORM, 4)) + (last[0] * at(FORM, 6),)


@triton.jit
def strides_of(sizes, ARRAY: tl.constexpr, FORM: tl.constexpr):
    """An array's strides: multiples of VECTOR but for the last, which is 1 if all arrays are contiguous."""
    DIMS: tl.constexpr = at(FORM, 0)
    given = entries(sizes, 1 + 2 * DIMS + ARRAY * DIMS, DIMS, tl.int64)
    found = ()
    for d in tl.static_range(DIMS - 1):
        found = found + (given[d] * at(FORM, 6),)
    if at(FORM, 5):
        found = found + (tl.full((), 1, tl.int64),)
    else:
        found = found + (given[DIMS - 1],)
    return found


@triton.jit
def starts_of(sizes, FORM: tl.constexpr):
    """The first sample of this program's tile along each dim.

    Programs follow the last dims first. Along dim OUTER they go through a band of the next dim before they go
    on to the next band, so that the samples that a tile reads from the tiles around it are still cached.
    """
    DIMS: tl.constexpr = at(FORM, 0)
    OUTER: tl.constexpr = at(FORM, 1)
    counts = entries(sizes, 0, DIMS + 1, tl.int32)
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
            found = found + (tiles[d].to(at(FORM, 4)),)
        else:
            found = found + (tiles[d].to(at(FORM, 4)) * at(FORM, 2, d - DIMS + 3),)
    return found


@triton.jit
def origin(starts, strides, BUT: tl.constexpr, FORM: tl.constexpr):
    """How far a tile's first sample is from the array's; dim BUT does not count."""
    found = tl.full((), 0, tl.int64)
    for d in tl.static_range(at(FORM, 0)):
        if d != BUT:
            found += starts[d].to(tl.int64) * strides[d]
    return found


@triton.jit
def offset(index, strides, BUT: tl.constexpr, FORM: tl.constexpr):
    """How far a tile's samples are from its first; dim BUT does not count."""
    DIMS: tl.constexpr = at(FORM, 0)
    found = tl.zeros((1, 1, 1), at(FORM, 4))
    for k in tl.static_range(3):
        if DIMS - 3 + k != BUT:
            found = found + index[k] * strides[DIMS - 3 + k].to(at(FORM, 4))
    return found


@triton.jit
def inside(grid, STEP: tl.constexpr, DIM: tl.constexpr, FORM: tl.constexpr):
    """Where there is a sample so far along a dim."""
    DIMS: tl.constexpr = at(FORM, 0)
    shape, starts, index, valid = grid
    if STEP == 0:
        found = all_but(valid, -1)
    elif DIM < DIMS - 3:
        place = starts[DIM] + STEP
        found = all_but(valid, -1) & (place >= 0) & (place < shape[DIM])
    else:
        place = index[DIM - DIMS + 3] + STEP
        along = (place >= -starts[DIM]) & (place < shape[DIM] - starts[DIM])
        found = along & all_but(valid, DIM - DIMS + 3)
    return found


@triton.jit
def all_but(valid, BUT: tl.constexpr):
    """Where there are samples, as far as the dims of a tile but for one say."""
    if BUT == 0:
        found = valid[1] & valid[2]
    elif BUT == 1:
        found = valid[0] & valid[2]
    elif BUT == 2:
        found = valid[0] & valid[1]
    else:
        found = valid[0] & valid[1] & valid[2]
    return found


@triton.jit
def is_there(index, place, DIM: tl.constexpr):
    """Where a tile's samples have this index along a dim; everywhere, if the tile has one index there."""
    if DIM < 0:
        found = index[0] >= 0
    else:
        found = index[DIM] == place
    return found


# What samples are


@triton.jit
def is_infinite(x):
    """Whether x is infinite or not a number."""
    return x - x != 0


@triton.jit
def equals(a, b, like):
    """Whether two numbers are equal, everywhere: the interpreter cannot spread what a comparison gives."""
    return tl.zeros_like(like) + a == b


@triton.jit
def parts(raw, SCALE: tl.constexpr, FORM: tl.constexpr):
    """Numbers of the dtype computed in whose exact sum a sample is: two for integers of 64 bits."""
    COMPUTE: tl.constexpr = at(FORM, 3)
    if raw.dtype.is_int() and raw.dtype.primitive_bitwidth == 64:
        low = raw & 0xFFFFFFFF
        found = ((raw - low).to(COMPUTE), low.to(COMPUTE))
    elif SCALE != 1.0:
        found = (raw.to(COMPUTE) * SCALE,)
    else:
        found = (raw.to(COMPUTE),)
    return found


@triton.jit
def difference(a, b):
    """The parts of one sample less those of another, rounded once."""
    total = a[0] - b[0]
    if len(a) > 1:
        total = total + (a[1] - b[1])
    return total


@triton.jit
def whole(a):
    """The sum of a sample's parts."""
    total = a[0]
    if len(a) > 1:
        total = total + a[1]
    return total


@triton.jit
def quotient(a, b):
    """a / b, rounded once; `/` does so in double precision only."""
    b = tl.zeros_like(a) + b
    if a.dtype == tl.float32:
        found = tl.div_rn(a, b)
    else:
        found = a / b
    return found
