"""Loops over rows, compiled by Numba.

A row is a run of samples that are neighbours in memory. A stencil along any dim, applied to a row, is a
weighted sum of rows that begin a fixed number of bytes away; so the same few loops serve every dim, and
only samples that stand at an edge inside a row need single treatment.

Rows are addresses: one compiled kernel then serves any number of inputs and outputs of any shape and
strides, and a loop costs a call with a handful of numbers (arrays as arguments cost more than the loop
itself). `unit`, or any other number of the dtype computed in, says what stands at an address; `s` scales
what is read. The loops say whether all that they wrote is finite, which costs nothing.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from gridgrad.engines.layout import CHUNK_BYTES, MOST_DIMS

# Only the kernel calls these; without wrappers for Python they compile in half the time.
_OPTIONS: dict[str, Any] = {
    "nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True,
}  # fmt: skip
loop = njit(**_OPTIONS)
# A part of its only caller: each level of calls would be optimised once more with all that it calls.
part = njit(inline="always", **_OPTIONS)


@intrinsic
def pointer(typingctx: Any, address: Any, unit: Any) -> Any:
    """An address as a pointer to numbers of the type of `unit`."""
    found = types.CPointer(unit)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(found))

    return found(types.int64, unit), codegen


@intrinsic
def integers(typingctx: Any, address: Any) -> Any:
    """An address as a pointer to integers."""
    found = types.CPointer(types.int64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(found))

    return found(types.int64), codegen


@intrinsic
def read(typingctx: Any, row: Any, j: Any) -> Any:
    """row[j] of an input, which nothing writes to meanwhile.

    Knowing that, LLVM vectorises loops over any number of rows; else it gives up at about eight.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = builder.load(builder.gep(args[0], [args[1]]))
        found.set_metadata("invariant.load", builder.module.add_metadata([]))
        return found

    return row.dtype(row, types.int64), codegen


@intrinsic
def get(typingctx: Any, row: Any, j: Any) -> Any:
    """row[j] of what is written to."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.gep(args[0], [args[1]]))

    return row.dtype(row, types.int64), codegen


@intrinsic
def put(typingctx: Any, row: Any, j: Any, value: Any) -> Any:
    """row[j] = value"""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(row, types.int64, row.dtype), codegen


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once.

    That keeps the error on coordinates below 4 units in the last place of the larger term. Said for each
    product, and not left to the compiler, the result is the same in every loop.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return a(a, a, a), codegen


def _room(size: int) -> Any:
    """A function for the address of so many bytes that last as long as the call."""

    @intrinsic
    def room(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            with builder.goto_entry_block():
                found = builder.alloca(ir.ArrayType(ir.IntType(8), size))
            found.align = 64
            return builder.ptrtoint(found, ir.IntType(64))

        return types.int64(), codegen

    return room


room_for_chunks, room_for_index = _room(5 * CHUNK_BYTES), _room(8 * MOST_DIMS)


@loop
def differences(
    row, here, n, count, p, m, p2, m2, p3, m3, p4, m4, w, w2, w3, w4, divides, d, plus, s
):  # fmt: skip
    """row = w (f[p] - f[m]) + ..., of `count` such differences, 1 to 4 of them; / d, if it `divides`.

    If `plus`, they are added to the row.
    """
    out, a, f = pointer(row, s), pointer(here + p, s), pointer(here + m, s)
    b, g = pointer(here + p2, s), pointer(here + m2, s)
    c, h = pointer(here + p3, s), pointer(here + m3, s)
    e, i = pointer(here + p4, s), pointer(here + m4, s)
    odd = False
    for j in range(n):
        value = w * (read(a, j) * s - read(f, j) * s)
        if count > 1:
            value = fma(w2, read(b, j) * s - read(g, j) * s, value)
        if count > 2:
            value = fma(w3, read(c, j) * s - read(h, j) * s, value)
        if count > 3:
            value = fma(w4, read(e, j) * s - read(i, j) * s, value)
        if divides:
            value /= d
        if plus:
            value += get(out, j)
        put(out, j, value)
        odd |= not (abs(value) < np.inf)
    return not odd


@loop
def divide(row, n, divisor, s):
    """row /= divisor in double precision"""
    out = pointer(row, s)
    odd = False
    for j in range(n):
        put(out, j, np.float64(get(out, j)) / divisor)
        odd |= not (abs(get(out, j)) < np.inf)
    return not odd


@part
def _less(a, b):
    """a - b as a sum of two numbers, exactly. Source: D. Knuth, The Art of Computer Programming 2, 4.2.2."""
    high = a - b
    back = high - a
    return high, (a - (high - back)) - (b + back)


@part
def _quotient(a, a_low, b, b_low, c, c_low):
    """a / (b c) for sums of two numbers, rounded about once."""
    product = b * c
    rest = fma(b, c, -product) + (b * c_low + b_low * c)
    found = a / product
    return found + ((fma(-found, product, a) + a_low) - found * rest) / product


@loop
def line_weights(before, own, line, size, n, s):
    """The weights of three neighbours on coordinates: before[j], own[j] and, between them, that of the next.

    `line` is the address of the coordinate of sample 0, of `size` bytes each. Of the sample itself only
    whether it has a weight is told, 0 or 1. The rows lie one after another.
    """
    first, last = pointer(before, s), pointer(own, s)
    second = pointer(before + (own - before) // 2, s)
    wide, narrow = pointer(line, 1.0), pointer(line, np.float32(1))
    for j in range(n):
        if size == 8:
            a, b, c = read(wide, j - 1), read(wide, j), read(wide, j + 1)
        else:
            a = np.float64(read(narrow, j - 1))
            b, c = np.float64(read(narrow, j)), np.float64(read(narrow, j + 1))
        h, h_low = _less(b, a)
        k, k_low = _less(c, b)
        both, both_low = _less(c, a)
        put(first, j, type(s)(-_quotient(k, k_low, h, h_low, both, both_low)))
        put(second, j, type(s)(_quotient(h, h_low, k, k_low, both, both_low)))
        put(last, j, type(s)(0 if h == k and h_low == k_low else 1))


@loop
def varying_two(row, here, n, p, p2, w, w2, own, other, more, s):
    """row = w[j] (f[p] - f[0]) + w2[j] (f[p2] - f[0]); `w` and `w2` are addresses.

    If `more`, they are added to the row. Where a weight is 0 the sample must not be read:
    if some are, the weights of the sample itself begin at `own`, for which f[other] stands in; else that
    is 0.
    """
    out, centre, instead = pointer(row, s), pointer(here, s), pointer(here + other, s)
    a, b = pointer(here + p, s), pointer(here + p2, s)
    a_weight, b_weight = pointer(w, s), pointer(w2, s)
    mine, careful, first = pointer(own, s), own != 0, p == other
    zero, odd = type(s)(0), False
    for j in range(n):
        f0, v1, v2 = read(centre, j), get(a_weight, j), get(b_weight, j)
        swapped = False
        if careful:
            swapped = get(mine, j) == 0
            f0 = read(instead, j) if swapped else f0
        change, change2 = read(a, j) * s - f0 * s, read(b, j) * s - f0 * s
        if careful:
            change = zero if v1 == 0 or (swapped and first) else change
            change2 = zero if v2 == 0 else change2
        value = fma(v2, change2, v1 * change)
        if more:
            value += get(out, j)
        put(out, j, value)
        odd |= not (abs(value) < np.inf)
    return not odd


@loop
def singles(row, base, first, last, origin, run, period, steps, weights, count, divisor, plus, s):
    """row = the sum of weights[i] (f[+] - f[-]) / divisor over `count` steps, and + row if `plus`.

    For single samples, `run` neighbours in each period from `origin` on, of those from `first` to `last`.
    """
    out, finite = pointer(row, s), True
    for begin in range(origin, last, period):
        for j in range(max(begin, first), min(begin + run, last)):
            value = four = type(s)(0)
            for i in range(count):
                ahead = pointer(base + read(steps, 3 * i), s)
                behind = pointer(base + read(steps, 3 * i + 1), s)
                change = read(ahead, j) * s - read(behind, j) * s
                # Four at a time, as other loops take them, so that the sum is rounded alike.
                four = fma(read(weights, i), change, four) if i % 4 else read(weights, i) * change
                if i % 4 == 3 or i + 1 == count:
                    value = four + value if i > 3 else four
            value = type(s)(np.float64(value) / divisor)
            if plus:
                value += get(out, j - first)
            put(out, j - first, value)
            finite &= abs(value) < np.inf
    return finite


@loop
def nothing(row, n, plus, s):
    """row = 0, or as it is if `plus`."""
    out = pointer(row, s)
    for j in range(0 if plus else n):
        put(out, j, type(s)(0))
    return True


@loop
def add(row, other, n, s):
    """row += other, and whether all of it is finite"""
    out, a = pointer(row, s), pointer(other, s)
    odd = False
    for j in range(n):
        value = get(out, j) + get(a, j)
        put(out, j, value)
        odd |= not (abs(value) < np.inf)
    return not odd


@loop
def rescue(row, scaled, n, s):
    """Where row is not finite, take what the scaled computation found."""
    out, a = pointer(row, s), pointer(scaled, s)
    for j in range(n):
        if not (abs(get(out, j)) < np.inf):
            put(out, j, get(a, j) / s)
