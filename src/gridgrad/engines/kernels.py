"""The loops of the CPU engine, compiled by Numba: one kernel, for float32 and for float64.

A row is a run of samples that are neighbours in memory. A stencil along any dim, applied to a row, is a
weighted sum of rows that begin a fixed number of bytes away; so the same few loops serve every dim, and
only samples that stand at an edge inside a row need single treatment. Rows are addresses: one compiled
kernel then serves any number of inputs and outputs of any shape and strides, and a loop costs a call with
a handful of numbers (arrays as arguments cost more than the loop itself). `unit`, a 1, carries the dtype.

The tables that drive the kernel are laid out in `program`.
"""

from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

# Numbers before the tables themselves.
HEADER = 9
# Columns of the table of terms.
OUTPUT, INPUT, ROW_DIM, N, RUN, LOWER, UPPER, RULES, VARYING, EXPANDED, UNREAD, WIDE = range(12)
TERM_COLUMNS = 12
# Columns of the table of rules (a rule is a stencil's row): differences[FIRST : FIRST + COUNT].
FIRST, COUNT = range(2)
# Columns of the table of differences: byte offsets of the samples. OTHER stands in for MINUS where the
# sample at MINUS has no weight and must not be read.
PLUS, MINUS, OTHER = range(3)

# As in the reference engine: what overflows is computed again at this scale.
ROOM = 2.0**-10

# Only other kernels call these; without wrappers for Python they compile in half the time.
_loop = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


# One rounding less in a sum of products: on coordinates that keeps the error below 4 units in the last
# place of the larger term. Contraction reorders nothing, and assumes nothing of NaN and infinity.
_fused_loop = njit(
    nogil=True,
    error_model="numpy",
    fastmath={"contract"},
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
)


@intrinsic
def _pointer(typingctx: Any, address: Any, unit: Any) -> Any:
    """An address as a pointer to numbers of the type of `unit`."""
    pointer = types.CPointer(unit)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(pointer))

    return pointer(types.int64, unit), codegen


@_loop
def _at(address, n, unit):
    return carray(_pointer(address, unit), (n,))


@_loop
def _bare(array):
    """The same table without its owner: Numba then counts no references, for which threads would fight."""
    return carray(_pointer(array.ctypes.data, array.dtype.type(1)), array.shape)


@_loop
def _table(address, rows, columns):
    return carray(_pointer(address, np.int64(1)), (rows, columns))


@_loop
def _only(row, plus, minus, n, w, d, s):
    """row = w (f[+] - f[-]) / d, and whether all of it is finite"""
    out, a, b = _at(row, n, w), _at(plus, n, w), _at(minus, n, w)
    odd = False
    for j in range(n):
        value = w * (a[j] * s - b[j] * s) / d
        out[j] = value
        odd |= not (abs(value) < np.inf)
    return not odd


@_loop
def _zero(row, n, unit):
    out = _at(row, n, unit)
    for j in range(n):
        out[j] = 0


@_loop
def _next(row, plus, minus, n, w, s):
    """row += w (f[+] - f[-])"""
    out, a, b = _at(row, n, w), _at(plus, n, w), _at(minus, n, w)
    for j in range(n):
        out[j] += w * (a[j] * s - b[j] * s)


@_fused_loop
def _next_two(row, plus, minus, plus2, minus2, n, w, w2, s):
    """row += w (f[+] - f[-]) + w2 (f[+2] - f[-2]); LLVM does not vectorise a loop over more arrays"""
    out, a, b = _at(row, n, w), _at(plus, n, w), _at(minus, n, w)
    c, d = _at(plus2, n, w), _at(minus2, n, w)
    for j in range(n):
        out[j] += w * (a[j] * s - b[j] * s) + w2 * (c[j] * s - d[j] * s)


@_loop
def _divide(row, n, divisor, wide, unit):
    """row /= divisor, in double precision if `wide`, and whether all of it is finite"""
    out = _at(row, n, unit)
    odd = False
    if wide:
        for j in range(n):
            out[j] = np.float64(out[j]) / divisor
            odd |= not (abs(out[j]) < np.inf)
    else:
        d = type(unit)(divisor)
        for j in range(n):
            value = out[j] / d
            out[j] = value
            odd |= not (abs(value) < np.inf)
    return not odd


@_fused_loop
def _varying_two(row, plus, plus2, centre, n, w, w2, s):
    """row = w[j] (f[+] - f[0]) + w2[j] (f[+2] - f[0]), and whether all of it is finite"""
    out, a, b, c = _at(row, n, s), _at(plus, n, s), _at(plus2, n, s), _at(centre, n, s)
    v, v2 = _at(w, n, s), _at(w2, n, s)
    odd = False
    for j in range(n):
        value = v[j] * (a[j] * s - c[j] * s) + v2[j] * (b[j] * s - c[j] * s)
        out[j] = value
        odd |= not (abs(value) < np.inf)
    return not odd


@_loop
def _varying_next(row, plus, centre, n, w, s):
    """row += w[j] (f[+] - f[0]), but nothing where w[j] is 0"""
    out, a, c, v = _at(row, n, s), _at(plus, n, s), _at(centre, n, s), _at(w, n, s)
    for j in range(n):
        if v[j] != 0:
            out[j] += v[j] * (a[j] * s - c[j] * s)


@_loop
def _add(row, other, n, unit):
    """row += other, and whether all of it is finite"""
    out, a = _at(row, n, unit), _at(other, n, unit)
    odd = False
    for j in range(n):
        value = out[j] + a[j]
        out[j] = value
        odd |= not (abs(value) < np.inf)
    return not odd


@_loop
def _rescue(row, scaled, n, s):
    """Where row is not finite, take what the scaled computation found."""
    out, a = _at(row, n, s), _at(scaled, n, s)
    for j in range(n):
        if not (abs(out[j]) < np.inf):
            out[j] = a[j] / s


@_loop
def _sum(row, at, n, differences, k, count, minus, weights, place, step, divisor, wide, unit, s):
    """row = the sum of weights[place + i step] (f[+] - f[-]) over `count` differences from k on, / divisor"""
    if count == 1 and not wide:
        return _only(
            row, at + differences[k, PLUS], at + differences[k, minus], n, weights[place],
            type(unit)(divisor), s,
        )  # fmt: skip
    if count == 1:
        _only(
            row, at + differences[k, PLUS], at + differences[k, minus], n, weights[place], unit, s
        )
        return _divide(row, n, divisor, wide, unit)
    _zero(row, n, unit)
    for i in range(0, count, 2):
        plus, less = at + differences[k + i, PLUS], at + differences[k + i, minus]
        w = weights[place + i * step]
        if i + 1 == count:
            _next(row, plus, less, n, w, s)
            break
        plus2, less2 = at + differences[k + i + 1, PLUS], at + differences[k + i + 1, minus]
        _next_two(row, plus, less, plus2, less2, n, w, weights[place + (i + 1) * step], s)
    return _divide(row, n, divisor, wide, unit)


@_loop
def _sum_varying(row, at, n, differences, k, count, weights, place, step, unread, s):
    """The same where each sample has its own weights, one difference's `step` numbers after another's."""
    size = weights.itemsize
    address = weights.ctypes.data + place * size
    step *= size
    if count == 2:
        finite = _varying_two(
            row, at + differences[k, PLUS], at + differences[k + 1, PLUS], at, n, address,
            address + step, s,
        )  # fmt: skip
    else:
        _zero(row, n, s)
        for i in range(count):
            _varying_next(row, at + differences[k + i, PLUS], at, n, address + i * step, s)
        finite = _divide(row, n, 1.0, 0, s)
    if unread:
        # After them the weights of the sample itself; where that is 0 it must not be read.
        out, own = _at(row, n, s), _at(address + count * step, n, s)
        for j in range(n):
            if own[j] == 0:
                out[j] = 0
                other = _at(at + j * size + differences[k, PLUS], 1, s)[0]
                for i in range(1, count):
                    f = _at(at + j * size + differences[k + i, PLUS], 1, s)[0]
                    out[j] += _at(address + i * step, n, s)[j] * (f * s - other * s)
                finite &= abs(out[j]) < np.inf
    return finite


@_loop
def _sample(
    row, at, n, i, t, terms, rules, differences, weights, divisors, unit, s,
):  # fmt: skip
    """n neighbours in memory that all stand at sample i of the dim of term t."""
    lower, upper, samples = terms[t, LOWER], terms[t, UPPER], terms[t, N]
    rule, varying = terms[t, RULES] + min(i, lower), terms[t, VARYING]
    if i >= samples - upper:
        rule += 1 + i - (samples - upper)
    k, count = rules[rule, FIRST], rules[rule, COUNT]
    place, step, minus = k, 1, MINUS
    if varying >= 0 and lower <= i < samples - upper:
        place, step = varying + i, samples
        if terms[t, UNREAD] and weights[place + count * step] == 0:
            place, k, count, minus = place + step, k + 1, count - 1, OTHER
    return _sum(
        row, at, n, differences, k, count, minus, weights, place, step, divisors[rule],
        terms[t, WIDE], unit, s,
    )  # fmt: skip


@_loop
def _edge(
    row, base, first, last, origin, run, period, plus, minus, w, divisor, start, end, wide, s
):
    """row += w (f[+] - f[-]) for the samples of one edge, whose first run begins at `origin`.

    From 0 if `start`; divided by the divisor if `end`; and whether all that was written is finite.
    """
    out, a, b = _at(row, last - first, s), _at(base + plus, last, s), _at(base + minus, last, s)
    odd = False
    for begin in range(origin, last, period):
        for j in range(max(begin, first), min(begin + run, last)):
            value = w * (a[j] * s - b[j] * s)
            if not start:
                value += out[j - first]
            if end:
                if wide:
                    value = type(s)(np.float64(value) / divisor)
                else:
                    value /= type(s)(divisor)
            out[j - first] = value
            odd |= not (abs(value) < np.inf)
    return not odd


@_loop
def _term(row, base, i, first, n, t, terms, rules, differences, weights, divisors, length, unit, s):
    """Term t for the n samples from `first` on of a row of `length`; whether the result is finite.

    `base` is the address of the row's sample 0, i the row's index along the term's dim if that dim leads
    from row to row.
    """
    size, last = weights.itemsize, first + n
    lower, upper, samples, run = terms[t, LOWER], terms[t, UPPER], terms[t, N], terms[t, RUN]
    varying, inside = terms[t, VARYING] >= 0, terms[t, ROW_DIM] < 0
    period, finite = samples * run, True
    if inside and varying and terms[t, EXPANDED]:
        rule = terms[t, RULES] + lower
        for origin in range(first - first % period, last, period):
            start = max(first, origin + lower * run)
            stop = min(last, origin + period - upper * run)
            if stop > start:
                finite &= _sum_varying(
                    row + (start - first) * size, base + start * size, stop - start, differences,
                    rules[rule, FIRST], rules[rule, COUNT], weights,
                    terms[t, VARYING] + start - origin, period, terms[t, UNREAD], s,
                )  # fmt: skip
    else:
        # Runs of samples with one rule: the row itself if the dim leads from row to row; else, if weights
        # vary, the run of each sample; else all periods at once, as if there were no edges between them.
        runs = inside and varying
        for part in range(first // run, (last - 1) // run + 1) if runs else range(1):
            start, stop = first, last
            if runs:
                i = part % samples
                start, stop = max(first, part * run), min(last, (part + 1) * run)
            elif inside:
                i = lower
                start, stop = max(first, lower * run), min(last, length - upper * run)
            if stop > start:
                finite &= _sample(
                    row + (start - first) * size, base + start * size, stop - start, i, t, terms,
                    rules, differences, weights, divisors, unit, s,
                )  # fmt: skip
        if runs or not inside:
            return finite
    for edge in range(lower + upper):
        rule = terms[t, RULES] + edge + (edge >= lower)
        k, count = rules[rule, FIRST], rules[rule, COUNT]
        origin = (edge if edge < lower else samples - upper - lower + edge) * run
        origin += (first - origin - run + period) // period * period
        for i in range(count):
            finite &= _edge(
                row, base, first, last, origin, run, period, differences[k + i, PLUS],
                differences[k + i, MINUS], weights[k + i], divisors[rule], i == 0,
                i == count - 1, terms[t, WIDE], s,
            )  # fmt: skip
    return finite


def run_box(x, out, tables, weights, unit):
    """Run a plan on a box of rows.

    All arguments are addresses, since an array as an argument costs a small array dear; `unit` is a 1 of
    the dtype computed in.

    `tables` are integers. First the numbers of row dims, inputs, outputs, terms, rules, differences and
    weights, the samples of a row and those of a chunk. Then, as `program` lays them out, the
    strides in bytes of the inputs and of the outputs along the row dims, terms, rules, differences,
    and the bits of the rules' divisors. At the end what differs from box to box: the first row along each
    row dim, one past the last, the first sample of a row and one past the last, the addresses of the
    sample at index 0 of each input, less `x`, and of each output, less `out`.
    """
    at = tables + 8 * HEADER
    tables = _at(tables, HEADER, np.int64(1))
    dims, n_inputs, n_outputs, n_terms = tables[0], tables[1], tables[2], tables[3]
    n_rules, n_differences, length, chunk = tables[4], tables[5], tables[7], tables[8]
    weights = _at(weights, tables[6], unit)
    input_strides = _table(at, n_inputs, dims)
    at += 8 * n_inputs * dims
    output_strides = _table(at, n_outputs, dims)
    at += 8 * n_outputs * dims
    terms = _table(at, n_terms, TERM_COLUMNS)
    at += 8 * n_terms * TERM_COLUMNS
    rules = _table(at, n_rules, 2)
    at += 8 * n_rules * 2
    differences = _table(at, n_differences, 3)
    at += 8 * n_differences * 3
    divisors = _at(at, n_rules, np.float64(1))
    at += 8 * n_rules
    start, stop = _at(at, dims, np.int64(1)), _at(at + 8 * dims, dims, np.int64(1))
    first, last = _at(at + 16 * dims, 2, np.int64(1))
    at += 16 * dims + 16
    inputs = _at(at, n_inputs, np.int64(1))
    outputs = _at(at + 8 * n_inputs, n_outputs, np.int64(1))
    held = np.empty(dims + n_inputs, np.int64)
    index = _bare(held)
    room, size = type(unit)(ROOM), weights.itemsize
    scratch = np.empty(2 * chunk, weights.dtype)
    spare = scratch.ctypes.data
    again = spare + chunk * size
    for d in range(dims):
        if stop[d] <= start[d]:
            return
        index[d] = start[d]
    while True:
        for k in range(n_inputs):
            index[dims + k] = x + inputs[k]
            for d in range(dims):
                index[dims + k] += index[d] * input_strides[k, d]
        for begin in range(first, last, chunk):
            n = min(chunk, last - begin)
            # Every output of a chunk while its input is in the cache.
            for output in range(n_outputs):
                row = out + outputs[output] + begin * size
                for d in range(dims):
                    row += index[d] * output_strides[output, d]
                # Once, and again at another scale if anything is not finite.
                target, scale = row, unit
                while True:
                    fresh = finite = True
                    for t in range(n_terms):
                        if terms[t, OUTPUT] == output:
                            finite = _term(
                                target if fresh else spare, index[dims + terms[t, INPUT]],
                                index[terms[t, ROW_DIM]] if terms[t, ROW_DIM] >= 0 else 0, begin,
                                n, t, terms, rules, differences, weights, divisors, length, unit,
                                scale,
                            )  # fmt: skip
                            if not fresh:
                                finite = _add(target, spare, n, unit)
                            fresh = False
                    if scale == room:
                        _rescue(row, again, n, room)
                        break
                    if finite:
                        break
                    target, scale = again, room
        d = dims - 1
        while d >= 0:
            index[d] += 1
            if index[d] < stop[d]:
                break
            index[d] = start[d]
            d -= 1
        if d < 0:
            break
    # Numba frees an array after its last use by name, and all uses above were by address.
    held[0] = 0
    scratch[0] = 0
