"""The kernel of the CPU engine, compiled by Numba: it runs a plan, for float32 and for float64.

The tables that drive it are laid out in `program`; the loops that it is made of are in `loops`. Tables and
rows are passed by address: an array as an argument costs more than many a row.
"""

from gridgrad.engines.layout import (
    CACHE_LINE,
    CAREFUL,
    CHUNK_BYTES,
    COUNT,
    DIVISOR,
    FETCH,
    FIRST,
    FIXED,
    HEADER,
    INPUT,
    LINE,
    LINE_BYTES,
    LOWER,
    MEMBERS,
    MINUS,
    MOST_STEPS,
    NOTHING,
    OTHER,
    OUTPUT,
    PLUS,
    ROW_DIM,
    RULE_COLUMNS,
    RULES,
    RUN,
    SINGLE,
    STEP_COLUMNS,
    TERM_COLUMNS,
    TILE,
    UPPER,
    VARYING,
    WIDE,
    N,
)  # fmt: skip
from gridgrad.engines.loops import (
    divide,
    line_weights,
    nothing,
    pass_on,
    rescue,
    singles,
)
from gridgrad.engines.varied import varied
from gridgrad.engines.weighted import weighted
from gridgrad.engines.words import (
    copy,
    fence,
    get,
    integers,
    least,
    loop,
    most,
    part,
    pointer,
    put,
    read,
    room_for_chunks,
    room_for_index,
    room_for_lists,
)

# As in the reference engine: what overflows is computed again at this scale.
ROOM = 2.0**-10


@part
def _rule(term, i):
    """The number of the rule that serves sample i of the term's dim."""
    lower, after = read(term, LOWER), i - (read(term, N) - read(term, UPPER))
    return read(term, RULES) + least(i, lower) + (1 + after if after >= 0 else 0)


@part
def _divisor(rules, number):
    return read(pointer(rules + 8 * (RULE_COLUMNS * number + DIVISOR), 1.0), 0)


@part
def _begin(start, origins, strides, dims, index, k):
    """The address at which array k's current row begins."""
    start += read(origins, k)
    for d in range(dims):
        start += get(index, d) * read(integers(strides), k * dims + d)
    return start


@loop
def _gather(
    lists, old, x, origins, strides, dims, index, at, place, head, terms, members, rules, steps, weights,
    size, s,
):  # fmt: skip
    """The steps of a group of terms, at the sample with that `place` in a row; how many there are.

    Addresses are of the sample `at` bytes into the row. `head` is the number of the first member's rule. What
    other groups made of that sample is at `old`, if it is not 0; it makes a step of its own, less nothing.
    """
    ahead, behind = integers(lists), integers(lists + 8 * MOST_STEPS)
    own, count = pointer(lists + 16 * MOST_STEPS, s), 0
    fetched, far = integers(lists + 24 * MOST_STEPS), 0
    if old:
        put(ahead, 0, old)
        put(behind, 0, weights + read(integers(terms), NOTHING))
        put(own, 0, type(s)(1) / s)  # it has its scale already
        count = 1
    for k in range(members):
        term = integers(terms + 8 * TERM_COLUMNS * k)
        dim, lower, samples = read(term, ROW_DIM), read(term, LOWER), read(term, N)
        here = _begin(x, origins, strides, dims, index, read(term, INPUT)) + at
        if read(term, FETCH):
            far += 1
            put(fetched, far, here + read(term, FETCH))
        i = get(index, dim) if dim >= 0 else place // read(term, RUN) % samples
        number = _rule(term, i) if k else head
        rule, varying = integers(rules + 8 * RULE_COLUMNS * number), read(term, VARYING)
        first, stop, minus = read(rule, FIRST), read(rule, COUNT), MINUS
        a, stride, mine = 0, 1, weights + first * size
        if varying >= 0 and number == read(term, RULES) + lower:
            stride, mine = samples, weights + (varying + i) * size
            if read(term, CAREFUL) and read(pointer(mine, s), stop * stride) == 0:
                a, minus = 1, OTHER  # the first neighbour stands in for the sample itself
        while a < stop:
            weight = read(pointer(mine, s), a * stride)
            if weight != 0:
                step = integers(steps + 8 * STEP_COLUMNS * (first + a))
                fixed = read(step, FIXED)
                put(ahead, count, read(step, PLUS) + (weights if fixed & 1 else here))
                put(behind, count, read(step, minus) + (weights if fixed & 2 else here))
                put(own, count, weight)
                count += 1
            a += 1
    put(fetched, 0, far)
    return count


@part
def _sum(row, n, lists, count, divisor, wide, s):
    """The gathered steps' sum, / divisor."""
    if count == 0:
        return nothing(row, n, s)
    behind, shares = integers(lists + 8 * MOST_STEPS), True
    for k in range(1, count):
        shares &= get(behind, k) == get(behind, 0)
    done = weighted(
        row, n, lists, lists + 8 * MOST_STEPS, lists + 16 * MOST_STEPS,
        lists + 24 * MOST_STEPS, count, type(s)(divisor), divisor != 1 and wide == 0, shares, s,
    )  # fmt: skip
    finite = done >= 0
    if done == 0:
        zero = n - n  # a literal is of a type of its own, for which all would be compiled once more
        finite = singles(
            row, lists, lists + 8 * MOST_STEPS, lists + 16 * MOST_STEPS, count, zero, n, zero, n, n,
            1.0 if wide else divisor, s,
        )  # fmt: skip
    return divide(row, n, divisor, s) if wide else finite


@loop
def _edges(
    row, old, first, start, stop, length, lists, x, origins, strides, dims, index, terms, members, rules,
    steps, weights, size, s,
):  # fmt: skip
    """The edges inside a row of a tiled term, the first of its group, from sample `start` to `stop`.

    `old` is the address of what sums begin with, for sample `first`, or 0.
    """
    term, finite = integers(terms), True
    lower, upper, samples, run = (
        read(term, LOWER),
        read(term, UPPER),
        read(term, N),
        read(term, RUN),
    )
    period = samples * run
    for k in range(lower + upper):
        origin = (k if k < lower else samples - upper - lower + k) * run
        origin += (start - origin - run + period) // period * period
        if origin >= stop:
            continue
        number = read(term, RULES) + k + (k >= lower)
        count = _gather(
            lists, old + (start - first) * size if old else 0, x, origins, strides, dims, index,
            start * size, start, number, terms, members, rules, steps, weights, size, s,
        )  # fmt: skip
        finite &= singles(
            row + (start - first) * size, lists,
            lists + 8 * MOST_STEPS, lists + 16 * MOST_STEPS, count, start, stop, origin, run, period,
            _divisor(rules, number), s,
        )  # fmt: skip
    return finite


@loop
def _group(
    row, first, n, length, continues, spare, room, lists, x, origins, strides, dims, index, terms, rules,
    steps, weights, size, s,
):  # fmt: skip
    """A group of terms for the n samples from `first` on of a row; whether the result is finite.

    If it `continues`, sums begin with what stands in the row, of which a copy goes to `spare`. Weights made
    for a chunk go to `room`.
    """
    term, last, finite = integers(terms), first + n, True
    members, tile, lower = read(term, MEMBERS), read(term, TILE), read(term, LOWER)
    inner, outer = lower * read(term, RUN), length - read(term, UPPER) * read(term, RUN)
    old = 0
    if continues:
        copy(spare, row, n * size)
        old = spare
    if read(term, SINGLE):
        rule = integers(rules + 8 * RULE_COLUMNS * (read(term, RULES) + lower))
        base = _begin(x, origins, strides, dims, index, read(term, INPUT))
        rule_steps = steps + 8 * STEP_COLUMNS * read(rule, FIRST)
        at_step = integers(rule_steps)
        for origin in range(first - first % tile, last, tile):
            start, stop = most(most(first, origin), inner), least(least(last, origin + tile), outer)
            if stop <= start:
                continue
            target, here = row + (start - first) * size, base + start * size
            count, own, stride = read(rule, COUNT), room, CHUNK_BYTES
            if read(term, LINE):
                line_weights(
                    room, room + 2 * CHUNK_BYTES, read(term, LINE) + (start - origin) * read(term,
                    LINE_BYTES), read(term, LINE_BYTES), stop - start, s,
                )  # fmt: skip
            else:
                own, stride = weights + (read(term, VARYING) + start - origin) * size, tile * size
            centre = weights + read(at_step, MINUS) if read(at_step, FIXED) else here
            mine = own + count * stride if read(term, CAREFUL) else 0
            finite &= varied(
                target, stop - start, here, centre, rule_steps, count, own, stride, mine,
                old + (start - first) * size if old else 0, s,
            )  # fmt: skip
        finite &= _edges(
            row, old, first, first, last, length, lists, x, origins, strides, dims, index, terms, members,
            rules, steps, weights, size, s,
        )  # fmt: skip
        return finite
    start = first
    while start < last:
        # As far as each member has one rule.
        stop = last
        for k in range(members):
            other = integers(terms + 8 * TERM_COLUMNS * k)
            if read(other, ROW_DIM) < 0 and read(other, TILE) == 0:
                run, samples, end = (
                    read(other, RUN),
                    read(other, N),
                    read(other, N) - read(other, UPPER),
                )
                place = start // run
                i = place % samples
                is_inner = read(other, VARYING) < 0 and read(other, LOWER) <= i < end
                stop = least(stop, (place + (end - i if is_inner else 1)) * run)
        begin, end, number, dim = start, stop, read(term, RULES) + lower, read(term, ROW_DIM)
        if tile:
            # All periods at once, as if there were no edges between them, which are then written over.
            begin, end = most(start, inner), least(stop, outer)
        else:
            i = get(index, dim) if dim >= 0 else start // read(term, RUN) % read(term, N)
            number = _rule(term, i)
        if begin < end:
            count = _gather(
                lists, old + (begin - first) * size if old else 0, x, origins, strides, dims, index,
                begin * size, begin, number, terms, members, rules, steps, weights, size, s,
            )  # fmt: skip
            finite &= _sum(
                row + (begin - first) * size, end - begin, lists, count,
                _divisor(rules, number), read(term, WIDE), s,
            )  # fmt: skip
        if tile:
            finite &= _edges(
                row, old, first, start, stop, length, lists, x, origins, strides, dims, index, terms, members,
                rules, steps, weights, size, s,
            )  # fmt: skip
        start = stop
    return finite


@part
def _row(
    output, row, x, origins, strides, dims, index, first, last, chunk, length, terms, n_terms, rules, steps,
    weights, size, spare, lists, streams, unit,
):  # fmt: skip
    """One row of one output, which begins at address `row`, from sample `first` to `last`.

    If it `streams`, a chunk is made in the cache and then written past it.
    """
    room, again = type(unit)(ROOM), spare + chunk * size
    aside = spare + 5 * CHUNK_BYTES
    for begin in range(first, last, chunk):
        n = least(chunk, last - begin)
        # Once, and again at another scale if anything is not finite.
        place = row + begin * size
        made = aside + (place & (CACHE_LINE - 1)) if streams else place
        target, scale = made, unit
        while True:
            fresh = finite = True
            t = 0
            while t < n_terms:
                group = terms + 8 * TERM_COLUMNS * t
                t += read(integers(group), MEMBERS)
                if read(integers(group), OUTPUT) != output:
                    continue
                finite &= _group(
                    target, begin, n, length, not fresh, spare, spare + 2 * chunk * size, lists, x, origins,
                    strides, dims, index, group, rules, steps, weights, size, scale,
                )  # fmt: skip
                fresh = False
            if scale == room:
                rescue(made, again, n, room)
                break
            if finite:
                break
            target, scale = again, room
        if streams:
            pass_on(place, made, n * size)


@part
def run_boxes(x, out, call, unit):
    """Run a plan on boxes of rows.

    All arguments are addresses, and few, since each costs a small array dear; `unit` is a 1 of the dtype
    computed in.

    `call` is what differs from call to call: the number of boxes and the address of their table; the
    addresses of the tables of the plan and of its weights; those of the sample at index 0 of each input, less
    `x`, and of each output, less `out`.

    The tables are integers. First the numbers of row dims, inputs, outputs, terms, rules and steps, the
    samples of a row, those of a chunk, the bytes of one, and whether outputs are written past the caches.
    Then, as `tables` lays them out, the strides in bytes of the inputs and of the outputs along the row dims,
    terms, rules and steps.

    For each box that table has the first row along each row dim, one past the last, the first sample of
    a row and one past the last.
    """
    given = integers(call)
    n_boxes, boxes = read(given, 0), read(given, 1)
    tables, weights = read(given, 2), read(given, 3)
    header, origins = integers(tables), integers(call + 32)
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
    size, streams = read(header, 8), read(header, 9)
    spare, index, lists = room_for_chunks(), integers(room_for_index()), room_for_lists()
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
                lists, streams, unit,
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
    if streams:
        fence()
