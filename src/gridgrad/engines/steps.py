"""Steps of a group of terms: what is summed up at one sample, gathered, and the sums.

A step is a weighted difference of two samples. Tables and rows are passed by address; see `kernels`.
"""

from gridgrad.engines.layout import (
    BEHIND,
    CACHE_LINE,
    CAREFUL,
    COUNT,
    DIVISOR,
    EDGE_FIRST,
    EDGE_LAST,
    FACTORS,
    FETCH,
    FETCHED,
    FIRST,
    FIXED,
    GATHERED,
    INPUT,
    LINES,
    LOWER,
    MINUS,
    MOST_COLUMNS,
    NOTHING,
    OTHER,
    PATCHES,
    PLUS,
    ROW_DIM,
    RULE_BYTES,
    RULES,
    RUN,
    STEP_BYTES,
    TERM_BYTES,
    UPPER,
    VARYING,
    ZONE,
    N,
)
from gridgrad.engines.loops import bring, bring_together, divide, nothing, scatter, singles
from gridgrad.engines.weighted import weighted, weighted_row
from gridgrad.engines.words import get, integers, least, loop, part, pointer, put, read


@loop
def rule_of(term, i):
    """The number of the rule that serves sample i of the term's dim."""
    lower, after = read(term, LOWER), i - (read(term, N) - read(term, UPPER))
    return read(term, RULES) + least(i, lower) + (1 + after if after >= 0 else 0)


@loop
def divisor_of(rules, number):
    return read(pointer(rules + RULE_BYTES * number + 8 * DIVISOR, 1.0), 0)


@loop
def begin_of(start, origins, strides, dims, index, k):
    """The address at which array k's current row begins."""
    start += read(origins, k)
    for d in range(dims):
        start += get(index, d) * read(integers(strides), k * dims + d)
    return start


@loop
def gather(
    lists, old, x, origins, strides, dims, index, at, place, head, terms, members, rules, steps, weights,
    size, s,
):  # fmt: skip
    """The steps of a group of terms, at the sample with that `place` in a row; how many there are.

    Addresses are of the sample `at` bytes into the row. `head` is the number of the first member's rule. What
    other groups made of that sample is at `old`, if it is not 0; it makes a step of its own, less nothing.
    """
    ahead, behind = integers(lists), integers(lists + BEHIND)
    own, count = pointer(lists + FACTORS, s), 0
    fetched, far = integers(lists + FETCHED), 0
    if old:
        put(ahead, 0, old)
        put(behind, 0, weights + read(integers(terms), NOTHING))
        put(own, 0, type(s)(1) / s)  # it has its scale already
        count = 1
    for k in range(members):
        term = integers(terms + TERM_BYTES * k)
        dim, lower, samples = read(term, ROW_DIM), read(term, LOWER), read(term, N)
        here = begin_of(x, origins, strides, dims, index, read(term, INPUT)) + at
        if read(term, FETCH):
            far += 1
            put(fetched, far, here + read(term, FETCH))
        i = get(index, dim) if dim >= 0 else place // read(term, RUN) % samples
        number = rule_of(term, i) if k else head
        rule, varying = integers(rules + RULE_BYTES * number), read(term, VARYING)
        first, stop, minus = read(rule, FIRST), read(rule, COUNT), MINUS
        a, stride, mine = 0, 1, weights + first * size
        if varying >= 0 and number == read(term, RULES) + lower:
            stride, mine = samples, weights + (varying + i) * size
            if read(term, CAREFUL) and read(pointer(mine, s), stop * stride) == 0:
                a, minus = 1, OTHER  # the first neighbour stands in for the sample itself
        while a < stop:
            weight = read(pointer(mine, s), a * stride)
            if weight != 0:
                step = integers(steps + STEP_BYTES * (first + a))
                fixed = read(step, FIXED)
                put(ahead, count, read(step, PLUS) + (weights if fixed & 1 else here))
                put(behind, count, read(step, minus) + (weights if fixed & 2 else here))
                put(own, count, weight)
                count += 1
            a += 1
    put(fetched, 0, far)
    return count


@loop
def sum_up(row, n, manner, lists, count, divisor, wide, s):
    """The gathered steps' sum, / divisor."""
    if count == 0:
        bring(manner)
        return nothing(row, n, s)
    behind, shares = integers(lists + BEHIND), True
    for k in range(1, count):
        shares &= get(behind, k) == get(behind, 0)
    done = weighted(
        row, n, manner, lists, lists + BEHIND, lists + FACTORS,
        lists + FETCHED, count, type(s)(divisor), divisor != 1 and wide == 0, shares, s,
    )  # fmt: skip
    finite = done >= 0
    if done == 0:
        bring(manner)
        zero = n - n  # a literal is of a type of its own, for which all would be compiled once more
        finite = singles(
            row, n, lists, lists + BEHIND, lists + FACTORS, count, zero, n, zero, n, n,
            1.0 if wide else divisor, s,
        )  # fmt: skip
    return divide(row, n, divisor, s) if wide else finite


@loop
def edges(
    row, old, first, start, stop, manner, lists, x, origins, strides, dims, index, terms, members, rules,
    steps, weights, size, s,
):  # fmt: skip
    """The edges inside a row of a tiled term, the first of its group, from sample `start` to `stop`.

    They are written to the row, which begins with sample `first`, or kept as patches if `manner` is not 0.
    `old` is the address of what sums begin with, for sample `first`, or 0.
    """
    term, finite = integers(terms), True
    lower, upper = read(term, LOWER), read(term, UPPER)
    samples, run = read(term, N), read(term, RUN)
    period, pitch = samples * run, samples * run
    target, slots = row - first * size, 0
    if manner:
        # Patches begin with the upper edges of one line and go on with the lower ones of the next.
        pitch = (lower + upper) * run
        slots = get(integers(manner), ZONE) + upper * run
        target = get(integers(manner), PATCHES) + (upper * run - slots // period * pitch) * size
    columns, room, here = lists + GATHERED, start - start, start - start
    head, tail = read(term, EDGE_FIRST) * size, read(term, EDGE_LAST) * size
    together = head != 0 and members == 1 and old == 0 and s == 1 and stop - start > 4 * period
    low = start
    while low < stop:
        line, high = low // period, stop
        if together:
            high = least(stop, (line + LINES) * period)
        end = (high - 1) // period + 1
        if together:
            here = begin_of(x, origins, strides, dims, index, read(term, INPUT))
            room = -(-(end - line) * size // CACHE_LINE) * CACHE_LINE // size
            bring_together(
                columns, here + line * period * size, samples, end - line, room, head // size, tail // size,
                size, s,
            )  # fmt: skip
        for k in range(lower + upper):
            i = k if k < lower else samples - upper - lower + k
            # The lines whose edge is, in part, in the range.
            begin = line if line * period + (i + 1) * run > low else line + 1
            after = end if (end - 1) * period + i * run < high else end - 1
            if begin >= after:
                continue
            number = read(term, RULES) + k + (k >= lower)
            count = gather(
                lists, old + (low - first) * size if old else 0, x, origins, strides, dims, index,
                low * size, low, number, terms, members, rules, steps, weights, size, s,
            )  # fmt: skip
            to = target + (begin * pitch + i * run) * size
            if manner and k >= lower:
                to += (pitch - period) * size
            if together and count:
                # What is read of each line stands in a column.
                shift = here + (low - i) * size
                for place in range(lists, lists + 2 * BEHIND, BEHIND):
                    at = integers(place)
                    for step in range(count):
                        j = get(at, step) - shift
                        j -= 0 if j < head else samples * size - tail - head
                        put(at, step, columns + j * LINES)
                made = columns + MOST_COLUMNS * LINES * size
                divisor = type(s)(divisor_of(rules, number))
                finite &= weighted_row(
                    made, room, begin - begin, 0, 0, lists, lists + BEHIND, lists + FACTORS, lists, count, divisor,
                    divisor != 1, s,
                )  # fmt: skip
                scatter(to, pitch, made + (begin - line) * size, after - begin, s)
            else:
                finite &= singles(
                    to, pitch, lists, lists + BEHIND, lists + FACTORS, count, low, high,
                    begin * period + i * run, run, period, divisor_of(rules, number), s,
                )  # fmt: skip
        low = high
    return finite
