"""The kernel of the CPU engine, compiled by Numba: it runs a plan, for float32 and for float64.

The tables that drive it are laid out in `program`; the loops that it is made of are in `loops`. Tables and
rows are passed by address: an array as an argument costs more than many a row.
"""

from gridgrad.engines.layout import (
    ADDS,
    CAREFUL,
    CHUNK_BYTES,
    COUNT,
    DIVISOR,
    FIRST,
    HEADER,
    INPUT,
    LINE,
    LINE_BYTES,
    LOWER,
    MINUS,
    OTHER,
    OUTPUT,
    PLUS,
    ROW_DIM,
    RULE_COLUMNS,
    RULES,
    RUN,
    STEP_COLUMNS,
    TERM_COLUMNS,
    TILE,
    UPPER,
    VARYING,
    WIDE,
    N,
)  # fmt: skip
from gridgrad.engines.loops import (
    add,
    differences,
    divide,
    get,
    integers,
    line_weights,
    loop,
    nothing,
    part,
    pointer,
    put,
    read,
    rescue,
    room_for_chunks,
    room_for_index,
    singles,
    varying_two,
)  # fmt: skip

# As in the reference engine: what overflows is computed again at this scale.
ROOM = 2.0**-10


@part
def _sum(row, here, n, steps, count, most, minus, weights, stride, divisor, wide, plus, s):
    """row = the sum of weights[i stride] (f[+] - f[-]) / divisor, and + row if `plus`.

    Only what has a weight is read. At `most` so many steps are taken at a time, 2 or 4.
    """
    if count == 0:
        return nothing(row, n, plus, s)
    unit, weights = type(s)(1), pointer(weights, s)
    divides = divisor != 1
    once, finite, i = count <= 4 and not wide, True, 0
    while i < count:
        stop, found, more = min(i + most, count), 0, plus or i > 0
        w = w2 = w3 = w4 = unit
        p = p2 = p3 = p4 = m = m2 = m3 = m4 = 0
        while i < stop:
            weight = read(weights, i * stride)
            ahead = read(steps, STEP_COLUMNS * i + PLUS)
            behind = read(steps, STEP_COLUMNS * i + minus)
            i += 1
            if weight == 0:
                continue
            if found == 0:
                w, p, m = weight, ahead, behind
            elif found == 1:
                w2, p2, m2 = weight, ahead, behind
            elif found == 2:
                w3, p3, m3 = weight, ahead, behind
            else:
                w4, p4, m4 = weight, ahead, behind
            found += 1
        if found:
            finite = differences(
                row, here, n, found, p, m, p2, m2, p3, m3, p4, m4, w, w2, w3, w4, once and divides,
                type(s)(divisor), more, s,
            )  # fmt: skip
        elif not more:
            nothing(row, n, False, s)
    return finite if once or not divides else divide(row, n, divisor, s)


@loop
def _sum_varying(row, here, n, steps, count, weights, stride, careful, s):
    """The same where each sample has its own weights, one step's `stride` bytes after another's."""
    own, other, finite = weights + count * stride if careful else 0, read(steps, PLUS), True
    for i in range(0, count, 2):
        w = weights + i * stride
        p, p2 = read(steps, STEP_COLUMNS * i + PLUS), read(steps, STEP_COLUMNS * (i + 1) + PLUS)
        finite = varying_two(row, here, n, p, p2, w, w + stride, own, other, i > 0, s)
    return finite


@loop
def _sample(row, here, n, i, term, rules, steps, weights, size, plus, s):
    """n neighbours in memory that all stand at sample i of the dim of the term."""
    lower, upper, samples = read(term, LOWER), read(term, UPPER), read(term, N)
    number, varying = read(term, RULES) + min(i, lower), read(term, VARYING)
    if i >= samples - upper:
        number += 1 + i - (samples - upper)
    rule = integers(rules + 8 * RULE_COLUMNS * number)
    divisor = read(pointer(rules + 8 * (RULE_COLUMNS * number + DIVISOR), 1.0), 0)
    k, count = read(rule, FIRST), read(rule, COUNT)
    place, stride, minus, most = weights + k * size, 1, MINUS, 4
    if varying >= 0 and lower <= i < samples - upper:
        place, stride, most = weights + (varying + i) * size, samples, 2
        if count == 2 and not read(term, CAREFUL):
            # The shortest way to the loop, since runs may be short.
            step, pair, unit = integers(steps + 8 * STEP_COLUMNS * k), pointer(place, s), type(s)(1)
            return differences(
                row, here, n, 2, read(step, PLUS), 0, read(step, STEP_COLUMNS + PLUS), 0, 0, 0, 0, 0,
                read(pair, 0), read(pair, samples), unit, unit, False, unit, plus, s,
            )  # fmt: skip
        if read(term, CAREFUL) and read(pointer(place, s), count * stride) == 0:
            place, k, count, minus = place + stride * size, k + 1, count - 1, OTHER
    return _sum(
        row, here, n, integers(steps + 8 * STEP_COLUMNS * k), count, most, minus, place, stride, divisor,
        read(term, WIDE), plus, s,
    )  # fmt: skip


@part
def _term(row, base, i, first, n, term, rules, steps, weights, size, length, room, plus, s):
    """A term for the n samples from `first` on of a row of `length`; whether the result is finite.

    `base` is the address of the row's sample 0, i the row's index along the term's dim if that dim leads
    from row to row. Weights made for a chunk go to `room`.
    """
    if read(term, ROW_DIM) >= 0:
        return _sample(row, base + first * size, n, i, term, rules, steps, weights, size, plus, s)
    lower, upper, samples, run = (
        read(term, LOWER),
        read(term, UPPER),
        read(term, N),
        read(term, RUN),
    )
    last, period, varying, finite = first + n, samples * run, read(term, VARYING), True
    tile = read(term, TILE)
    if not tile:
        # Runs of samples with one rule: each sample's at edges and where weights vary; else the interior.
        place = first // run
        while place * run < last:
            i, places = place % samples, 1
            if varying < 0 and lower <= i < samples - upper:
                places = samples - upper - i
            start, stop = max(first, place * run), min(last, (place + places) * run)
            finite &= _sample(
                row + (start - first) * size, base + start * size, stop - start, i, term, rules, steps,
                weights, size, plus, s,
            )  # fmt: skip
            place += places
        return finite
    # All periods at once, as if there were no edges between them, which are then written over.
    number = read(term, RULES)
    for origin in range(first - first % tile, last, tile):
        start = max(first, origin, lower * run)
        stop = min(last, origin + tile, length - upper * run)
        if stop <= start:
            continue
        row_at, base_at = row + (start - first) * size, base + start * size
        if read(term, LINE):
            rule, bytes_each = (
                integers(rules + 8 * RULE_COLUMNS * (number + lower)),
                read(term, LINE_BYTES),
            )
            line_weights(
                room, room + 2 * CHUNK_BYTES, read(term, LINE) + (start - origin) * bytes_each, bytes_each,
                stop - start, s,
            )  # fmt: skip
            finite &= _sum_varying(
                row_at, base_at, stop - start, integers(steps + 8 * STEP_COLUMNS * read(rule, FIRST)), 2,
                room, CHUNK_BYTES, True, s,
            )  # fmt: skip
        elif varying >= 0:
            rule = integers(rules + 8 * RULE_COLUMNS * (number + lower))
            finite &= _sum_varying(
                row_at, base_at, stop - start, integers(steps + 8 * STEP_COLUMNS * read(rule, FIRST)),
                read(rule, COUNT), weights + (varying + start - origin) * size, tile * size,
                read(term, CAREFUL), s,
            )  # fmt: skip
        else:
            finite &= _sample(
                row_at, base_at, stop - start, lower, term, rules, steps, weights, size, plus, s
            )
    for k in range(lower + upper):
        at_rule = rules + 8 * RULE_COLUMNS * (number + k + (k >= lower))
        rule, divisor = integers(at_rule), read(pointer(at_rule + 8 * DIVISOR, 1.0), 0)
        origin = (k if k < lower else samples - upper - lower + k) * run
        origin += (first - origin - run + period) // period * period
        step = read(rule, FIRST)
        finite &= singles(
            row, base, first, last, origin, run, period, integers(steps + 8 * STEP_COLUMNS * step),
            pointer(weights + step * size, s), read(rule, COUNT), divisor, plus, s,
        )  # fmt: skip
    return finite


@part
def _begin(start, origins, strides, dims, index, k):
    """The address at which array k's current row begins."""
    start += read(origins, k)
    for d in range(dims):
        start += get(index, d) * read(integers(strides), k * dims + d)
    return start


@part
def _row(
    output, row, x, origins, strides, dims, index, first, last, chunk, length, terms, n_terms, rules, steps,
    weights, size, spare, unit,
):  # fmt: skip
    """One row of one output, which begins at address `row`, from sample `first` to `last`."""
    room, again = type(unit)(ROOM), spare + chunk * size
    for begin in range(first, last, chunk):
        n = min(chunk, last - begin)
        # Once, and again at another scale if anything is not finite.
        target, scale = row + begin * size, unit
        while True:
            fresh = finite = True
            for t in range(n_terms):
                term = integers(terms + 8 * TERM_COLUMNS * t)
                if read(term, OUTPUT) != output:
                    continue
                dim, adds = read(term, ROW_DIM), fresh or read(term, ADDS) != 0
                base = _begin(x, origins, strides, dims, index, read(term, INPUT))
                finite = _term(
                    target if adds else spare, base, get(index, dim) if dim >= 0 else 0, begin, n, term,
                    rules, steps, weights, size, length, spare + 2 * chunk * size, adds and not fresh, scale,
                )  # fmt: skip
                if not adds:
                    finite = add(target, spare, n, unit)
                fresh = False
            if scale == room:
                rescue(row + begin * size, again, n, room)
                break
            if finite:
                break
            target, scale = again, room


@part
def run_boxes(x, out, tables, weights, unit):
    """Run a plan on boxes of rows.

    All arguments are addresses, since an array as an argument costs a small array dear; `unit` is a 1 of
    the dtype computed in.

    `tables` are integers. First the numbers of row dims, inputs, outputs, terms, rules and steps, the
    samples of a row, those of a chunk, and the bytes of one. Then, as `program` lays them out, the strides
    in bytes of the inputs and of the outputs along the row dims, terms, rules and steps. At the end what
    differs from call to call: the number of boxes and the address of their table; the addresses of the
    sample at index 0 of each input, less `x`, and of each output, less `out`.

    For each box that table has the first row along each row dim, one past the last, the first sample of
    a row and one past the last.
    """
    header = integers(tables)
    dims, n_inputs, n_outputs, n_terms = (
        read(header, 0),
        read(header, 1),
        read(header, 2),
        read(header, 3),
    )
    length, chunk = read(header, 6), read(header, 7)
    strides = tables + 8 * HEADER
    terms = strides + 8 * dims * (n_inputs + n_outputs)
    rules = terms + 8 * TERM_COLUMNS * n_terms
    steps = rules + 8 * RULE_COLUMNS * read(header, 4)
    call = steps + 8 * STEP_COLUMNS * read(header, 5)
    n_boxes, boxes, origins = read(integers(call), 0), read(integers(call), 1), integers(call + 16)
    size = read(header, 8)
    spare, index = room_for_chunks(), integers(room_for_index())
    # One output of a box after another, each written in one go, while the inputs stay in the cache.
    for job in range(n_boxes * n_outputs):
        output, box = job % n_outputs, integers(boxes + 8 * (2 * dims + 2) * (job // n_outputs))
        for d in range(dims):
            put(index, d, read(box, d))
        while True:
            row = _begin(out, origins, strides, dims, index, n_inputs + output)
            _row(
                output, row, x, origins, strides, dims, index, read(box, 2 * dims),
                read(box, 2 * dims + 1), chunk, length, terms, n_terms, rules, steps, weights, size, spare,
                unit,
            )  # fmt: skip
            d = dims - 1
            while d >= 0:
                put(index, d, get(index, d) + 1)
                if get(index, d) < read(box, dims + d):
                    break
                put(index, d, read(box, d))
                d -= 1
            if d < 0:
                break
