"""The parts of the kernel that are compiled by themselves: the loops over rows, and what readies them.

`call` is the table of what all are told of a call; other tables and rows are passed by address. They say
whether all that they made is finite.
"""

from gridgrad.engines.layout import (
    BEHIND,
    CAREFUL,
    COUNT,
    EDGE_FIRST,
    EDGE_LAST,
    FACTORS,
    FETCHED,
    FIRST,
    FIXED,
    GATHERED,
    INPUT,
    LINE,
    LINE_BYTES,
    LINES,
    LISTS_AT,
    LOWER,
    MANNER_AT,
    MEMBERS,
    MINUS,
    MOST_COLUMNS,
    MOST_LANES,
    OWN_BYTES,
    OWN_WEIGHTS_AT,
    PATCHES,
    ROWS,
    RULE_BYTES,
    RULES,
    RULES_AT,
    RUN,
    SIZE,
    STEP_BYTES,
    STEPS_AT,
    TILE,
    UPPER,
    VARYING,
    WEIGHTS_AT,
    ZONE,
    N,
    X,
)
from gridgrad.engines.loops import (
    bring,
    bring_column,
    bring_together,
    divide,
    line_weights,
    nothing,
    scatter,
    singles,
)
from gridgrad.engines.steps import begin_of, divisor_of, gather
from gridgrad.engines.varied import varied
from gridgrad.engines.weighted import weighted, weighted_row, weighted_rows
from gridgrad.engines.words import (
    get,
    integers,
    least,
    most,
    part,
    pointer,
    put,
    read,
    remainder_of,
    whole_of,
)


@part
def sum_up(call, row, n, count, number, wide, s):
    """The gathered steps' sum, / the divisor of a rule."""
    lists, manner, divisor = get(call, LISTS_AT), get(call, MANNER_AT), divisor_of(call, number)
    if count == 0:
        bring(manner)
        return nothing(row, n, s)
    behind, shares = integers(lists + BEHIND), True
    for k in range(1, count):
        shares &= get(behind, k) == get(behind, 0)
    done = weighted(
        row, n, manner, lists, lists + BEHIND, lists + FACTORS, lists + FETCHED, count, type(s)(divisor),
        divisor != 1 and wide == 0, shares, s,
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


@part
def edges(call, row, old, first, start, stop, kept, terms, members, s):
    """The edges inside a row of a tiled term, the first of its group, from sample `start` to `stop`.

    They are written to the row, which begins with sample `first`, or `kept` as patches. `old` is the address
    of what sums begin with, for sample `first`, or 0.
    """
    term, finite, size = integers(terms), True, get(call, SIZE)
    lists, manner = get(call, LISTS_AT), integers(get(call, MANNER_AT))
    lower, upper = read(term, LOWER), read(term, UPPER)
    samples, run = read(term, N), read(term, RUN)
    period, pitch = samples * run, samples * run
    target, slots = row - first * size, 0
    if kept:
        # Patches begin with the upper edges of one line and go on with the lower ones of the next.
        pitch = (lower + upper) * run
        slots = get(manner, ZONE) + upper * run
        target = get(manner, PATCHES) + (upper * run - whole_of(slots, period) * pitch) * size
    columns, room, here = lists + GATHERED, start - start, start - start
    head, tail = read(term, EDGE_FIRST) * size, read(term, EDGE_LAST) * size
    together = head != 0 and old == 0 and s == 1 and stop - start > 4 * period
    low = start
    while low < stop:
        line, high = whole_of(low, period), stop
        if together:
            high = least(stop, (line + LINES) * period)
        end = whole_of(high - 1, period) + 1
        if together:
            here = begin_of(call, get(call, X), read(term, INPUT))
            room = (end - line + MOST_LANES - 1) & -MOST_LANES
            bring_together(
                columns, here + line * period * size, samples, end - line, room, read(term, EDGE_FIRST),
                read(term, EDGE_LAST), size, s,
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
                call, old + (low - first) * size if old else 0, low, number, terms, members, s
            )
            to = target + (begin * pitch + i * run) * size
            if kept and k >= lower:
                to += (pitch - period) * size
            if together and count:
                # What is read of each line stands in a column, or is brought there: what other terms read.
                shift, more = here + (low - i) * size, head + tail
                for place in range(lists, lists + 2 * BEHIND, BEHIND):
                    at = integers(place)
                    for step in range(count):
                        j = get(at, step) - shift
                        if samples * size - tail <= j < samples * size:
                            j -= samples * size - tail - head
                        elif j < 0 or j >= head:
                            bring_column(
                                columns + more * LINES, j + shift + (line * period + i - low) * size, period,
                                begin - line, after - line, room, size, s,
                            )  # fmt: skip
                            j = more
                            more += size
                        put(at, step, columns + j * LINES)
                made = columns + MOST_COLUMNS * LINES * size
                divisor = type(s)(divisor_of(call, number))
                finite &= weighted_row(
                    made, room, begin - begin, 0, 0, lists, lists + BEHIND, lists + FACTORS, lists, count,
                    divisor, divisor != 1, s,
                )  # fmt: skip
                scatter(to, pitch, made + (begin - line) * size, after - begin, s)
            else:
                finite &= singles(
                    to, pitch, lists, lists + BEHIND, lists + FACTORS, count, low, high,
                    begin * period + i * run, run, period, divisor_of(call, number), s,
                )  # fmt: skip
        low = high
    return finite


@part
def vary(call, row, first, begin, end, zone, old, number, terms, s):
    """Samples `begin` to `end` of a row by a term whose weights vary inside rows.

    The row begins with sample `first`, and so does what is added to, at address `old` if that is not 0.
    """
    term, rule = integers(terms), integers(get(call, RULES_AT) + RULE_BYTES * number)
    size, manner, weights = get(call, SIZE), get(call, MANNER_AT), get(call, WEIGHTS_AT)
    room, base = get(call, OWN_WEIGHTS_AT), begin_of(call, get(call, X), read(term, INPUT))
    steps = get(call, STEPS_AT) + STEP_BYTES * read(rule, FIRST)
    count, tile, finite = read(rule, COUNT), read(term, TILE), True
    at_step = integers(steps)
    for origin in range(begin - remainder_of(begin, tile), end, tile):
        start, stop = most(begin, origin), least(end, origin + tile)
        here, own = base + start * size, weights + (read(term, VARYING) + start - origin) * size
        stride = tile * size
        mine = own + count * stride if read(term, CAREFUL) else 0
        if read(term, LINE):
            # A transpose weights a sample as those that read it do: with a row's weights from beside it.
            beside = count - 2
            some_are_none = line_weights(
                room, OWN_BYTES, read(term, LINE) + (start - origin - beside) * read(term, LINE_BYTES),
                read(term, LINE_BYTES), stop - start + 2 * beside, s,
            )  # fmt: skip
            own, stride, mine = room, 2 * OWN_BYTES, room + OWN_BYTES
            if beside:
                # The weights of what comes after a sample are never 0.
                own, stride, mine = room + 2 * OWN_BYTES, size - OWN_BYTES, room + 2 * OWN_BYTES
            if not some_are_none:
                mine = 0
        centre = weights + read(at_step, MINUS) if read(at_step, FIXED) else here
        put(integers(manner), ZONE, zone + begin - start)
        finite &= varied(
            row + (start - first) * size, stop - start, manner, here, centre, steps, count, own, stride, mine,
            old + (start - first) * size if old else 0, s,
        )  # fmt: skip
    return finite


@part
def together(call, row, pitch, apart, n, i, after, place, streams, terms, s):
    """n samples of ROWS rows, from that `place` in each on, if no edge is among them; whether they are made.

    The first is at address `row`, and the others `pitch` bytes one after another; what they read, `apart`
    bytes. They are samples i and on of the term's dim, of which those from `after` on are another's.
    """
    term, lists, size = integers(terms), get(call, LISTS_AT), get(call, SIZE)
    lower, samples, varying = read(term, LOWER), read(term, N), read(term, VARYING)
    if i + ROWS > least(after, samples - read(term, UPPER)) or i < lower:
        return False
    number = read(term, RULES) + lower
    count = gather(call, n - n, place, number, terms, read(term, MEMBERS), s)
    if count < read(integers(get(call, RULES_AT) + RULE_BYTES * number), COUNT):
        return False  # not all have a weight
    one, each = pointer(lists + FACTORS, s), pointer(lists + GATHERED, s)
    weights = get(call, WEIGHTS_AT)
    for step in range(count):
        for k in range(ROWS):
            weight = get(one, step)
            if varying >= 0:
                weight = read(pointer(weights + (varying + i + k) * size, s), step * samples)
                if weight == 0:
                    return False
            put(each, step * ROWS + k, weight)
    divisor = divisor_of(call, number)
    return weighted_rows(
        row, n, streams, pitch, apart, lists, lists + BEHIND, lists + GATHERED, lists + FETCHED, count,
        type(s)(divisor), divisor != 1, s,
    )  # fmt: skip
