"""Loops over rows, compiled by Numba.

A row is a run of samples that are neighbours in memory. A stencil along any dim, applied to a row, is a
weighted sum of rows that begin a fixed number of bytes away; so the same few loops serve every dim, and
only samples that stand at an edge inside a row need single treatment.

Rows are addresses; `s` scales what is read. The loops say whether all that they wrote is finite, which costs
nothing.
"""

import numpy as np

from gridgrad.engines.layout import (
    CARRIED_FROM,
    CARRIED_TO,
    LINE_CARRIED,
    LINES,
)
from gridgrad.engines.words import (
    copy,
    fma,
    get,
    integers,
    least,
    loop,
    most,
    pointer,
    put,
    put_alone,
    read,
)


@loop
def divide(row, n, divisor, s):
    """row /= divisor in double precision"""
    out = pointer(row, s)
    odd = False
    for j in range(n):
        put(out, j, np.float64(get(out, j)) / divisor)
        odd |= not (abs(get(out, j)) < np.inf)
    return not odd


@loop
def _less(a, b):
    """a - b as a sum of two numbers, exactly. Source: D. Knuth, The Art of Computer Programming 2, 4.2.2."""
    high = a - b
    back = high - a
    return high, (a - (high - back)) - (b + back)


@loop
def _product(a, a_low, b, b_low):
    """a b for sums of two numbers, as one."""
    high = a * b
    return high, fma(a, b, -high) + (a * b_low + a_low * b)


@loop
def line_weights(room, stride, line, size, n, s):
    """The weights of three neighbours on coordinates for n samples: of the one before, the sample, the next.

    Each is a row of its own, `stride` bytes after the one before. `line` is the address of the coordinate of
    sample 0, of `size` bytes each. With h = x[j] - x[j - 1] and k = x[j + 1] - x[j] they are -k k r,
    (k - h) (h + k) r and h h r, where r = 1 / (h k (h + k)): one division, which takes longer than all else.
    Sums of two numbers keep each right to about one rounding; single precision keeps no more of them than of
    doubles. The result is whether some samples themselves have no weight.
    """
    before, own = pointer(room, s), pointer(room + stride, s)
    after = pointer(room + 2 * stride, s)
    wide, narrow = pointer(line, 1.0), pointer(line, np.float32(1))
    # LLVM knows which it is.
    some, is_single = False, type(s)(1) + type(s)(2.0**-40) == type(s)(1)
    for j in range(n):
        if size == 8:
            a, b, c = read(wide, j - 1), read(wide, j), read(wide, j + 1)
        else:
            a = np.float64(read(narrow, j - 1))
            b, c = np.float64(read(narrow, j)), np.float64(read(narrow, j + 1))
        h, h_low = _less(b, a)
        k, k_low = _less(c, b)
        both, both_low = _less(c, a)
        change, change_low = _less(k, h)
        change_low += k_low - h_low
        if is_single:
            r = 1 / (h * k * both)
            put(before, j, type(s)(-(k * k * r)))
            put(own, j, type(s)((change + change_low) * both * r))
            put(after, j, type(s)(h * h * r))
            some |= get(own, j) == 0
            continue
        product, product_low = _product(h, h_low, k, k_low)
        product, product_low = _product(product, product_low, both, both_low)
        r = 1 / product
        r_low = r * (fma(-r, product, 1.0) - r * product_low)
        square, square_low = _product(k, k_low, k, k_low)
        made, made_low = _product(square, square_low, r, r_low)
        put(before, j, type(s)(-(made + made_low)))
        square, square_low = _product(h, h_low, h, h_low)
        made, made_low = _product(square, square_low, r, r_low)
        put(after, j, type(s)(made + made_low))
        change, change_low = _product(change, change_low, both, both_low)
        made, made_low = _product(change, change_low, r, r_low)
        put(own, j, type(s)(made + made_low))
        some |= get(own, j) == 0
    return some


@loop
def singles(
    target, pitch, ahead, behind, weights, count, first, last, origin, run, period, divisor, s
):
    """Sums of weighted differences for single samples: `run` neighbours in each period from `origin` on.

    They are made from sample `first` to `last`. The tables' addresses are those of sample `first`. What is
    made of sample `origin` goes to `target`, and that of each period `pitch` numbers after that of the one
    before.
    """
    out, finite, k = pointer(target, s), True, 0
    plus, minus, w = integers(ahead), integers(behind), pointer(weights, s)
    # What is added to -0 is itself, whatever its sign.
    begin, start = origin, type(s)(-0.0 if count else 0.0)
    while begin < last:
        for j in range(most(begin, first), least(begin + run, last)):
            value = start
            for i in range(count):
                a, b = pointer(get(plus, i), s), pointer(get(minus, i), s)
                change = get(a, j - first) * s - get(b, j - first) * s
                value = fma(get(w, i), change, value)
            if divisor != 1 and count:  # the sum of nothing is 0, not -0
                value = type(s)(np.float64(value) / divisor)
            put(out, k + j - begin, value)
            finite &= abs(value) < np.inf
        begin += period
        k += pitch
    return finite


@loop
def bring_together(columns, line, samples, lines, room, first, last, size, s):
    """The first and the last samples of `lines` lines, from address `line` on, as columns, LINES apart.

    There is `room` for lines that are not there: they are another's.
    """
    found = pointer(columns, s)
    for k in range(room):
        row = pointer(line + least(k, lines - 1) * samples * size, s)
        for j in range(first):
            put_alone(found, j * LINES + k, get(row, j))
        for j in range(last):
            put_alone(found, (first + j) * LINES + k, get(row, samples - last + j))


@loop
def bring_column(column, address, period, begin, end, room, size, s):
    """column[k] = what stands k periods after an address, for k from `begin` to `end`.

    There is `room` for more: they are another's.
    """
    found = pointer(column, s)
    for k in range(room):
        line = least(most(k, begin), end - 1)
        put_alone(found, k, get(pointer(address + line * period * size, s), 0))


@loop
def scatter(out, pitch, column, n, s):
    """out[pitch k] = column[k]"""
    target, found = pointer(out, s), pointer(column, s)
    for k in range(n):
        put_alone(target, pitch * k, get(found, k))


@loop
def nothing(row, n, s):
    """row = 0"""
    out = pointer(row, s)
    for j in range(n):
        put(out, j, type(s)(0))
    return True


@loop
def bring(manner):
    """What is carried over, to where it belongs."""
    how = integers(manner)
    end = get(how, CARRIED_TO)
    if end:
        begin = get(how, CARRIED_FROM)
        copy(begin, manner + LINE_CARRIED, end - begin)
        put(how, CARRIED_TO, 0)


@loop
def rescue(row, scaled, n, s):
    """Where row is not finite, take what the scaled computation found."""
    out, a = pointer(row, s), pointer(scaled, s)
    for j in range(n):
        if not (abs(get(out, j)) < np.inf):
            put(out, j, get(a, j) / s)
