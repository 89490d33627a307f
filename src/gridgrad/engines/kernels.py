"""The kernel of the CPU engine, compiled by Numba: it runs a plan, for float32 and for float64.

The tables that drive it are laid out in `program`; the loops that it is made of are in `loops`. Tables and
rows are passed by address: an array as an argument costs more than many a row.
"""

from gridgrad.engines.layout import (
    BEHIND,
    CACHE_LINE,
    CAREFUL,
    CARRIED_TO,
    CHUNK_BYTES,
    COUNT,
    FACTORS,
    FAR,
    FETCHED,
    FIRST,
    FIXED,
    GATHERED,
    HEADER,
    INPUT,
    LINE,
    LINE_BYTES,
    LINES_TOGETHER,
    LOWER,
    MEMBERS,
    MINUS,
    OUTPUT,
    PATCHES,
    PERIOD,
    ROW_DIM,
    RULE_BYTES,
    RULES,
    ROWS,
    ROWS_BYTES,
    RUN,
    SINGLE,
    STEP_BYTES,
    STREAMABLE,
    STREAMS,
    STRETCH,
    TERM_BYTES,
    TILE,
    TOGETHER,
    UPPER,
    VARYING,
    WIDE,
    WIDTH,
    ZONE,
    N,
)
from gridgrad.engines.loops import bring, line_weights, rescue
from gridgrad.engines.steps import begin_of, divisor_of, edges, gather, rule_of, sum_up
from gridgrad.engines.varied import varied
from gridgrad.engines.weighted import weighted_rows
from gridgrad.engines.words import (
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
    room_for_manner,
)

# As in the reference engine: what overflows is computed again at this scale.
ROOM = 2.0**-10


@loop
def _vary(
    row, first, begin, end, zone, old, room, manner, base, term, rule, steps, weights, size, s
):
    """Samples `begin` to `end` of a row by a term whose weights vary inside rows."""
    count, tile, finite = read(rule, COUNT), read(term, TILE), True
    at_step = integers(steps)
    for origin in range(begin - begin % tile, end, tile):
        start, stop = most(begin, origin), least(end, origin + tile)
        here, own, stride = base + start * size, room, CHUNK_BYTES
        if read(term, LINE):
            line_weights(
                room, room + 2 * CHUNK_BYTES, read(term, LINE) + (start - origin) * read(term, LINE_BYTES),
                read(term, LINE_BYTES), stop - start, s,
            )  # fmt: skip
        else:
            own, stride = weights + (read(term, VARYING) + start - origin) * size, tile * size
        centre = weights + read(at_step, MINUS) if read(at_step, FIXED) else here
        mine = own + count * stride if read(term, CAREFUL) else 0
        put(integers(manner), ZONE, zone + begin - start)
        finite &= varied(
            row + (start - first) * size, stop - start, manner, here, centre, steps, count, own, stride, mine,
            old + (start - first) * size if old else 0, s,
        )  # fmt: skip
    return finite


@loop
def _together(
    row, pitch, apart, n, i, after, x, origins, strides, dims, index, place, lists, term, rules, steps,
    weights, size, streams, s,
):  # fmt: skip
    """n samples of ROWS rows, of that `place` in each and on, if no edge is among them; whether they are made.

    The first is at address `row`, and the others `pitch` bytes one after another; what they read, `apart`
    bytes. They are samples i and on of the term's dim, of which those from `after` on are another's.
    """
    how = integers(term)
    lower, samples, varying = read(how, LOWER), read(how, N), read(how, VARYING)
    if i + ROWS > least(after, samples - read(how, UPPER)) or i < lower:
        return False
    number = read(how, RULES) + lower
    count = gather(
        lists, row - row, x, origins, strides, dims, index, place * size, place, number, term, 1, rules, steps,
        weights, size, s,
    )  # fmt: skip
    if count < read(integers(rules + RULE_BYTES * number), COUNT):
        return False  # not all have a weight
    one, each = pointer(lists + FACTORS, s), pointer(lists + GATHERED, s)
    for k in range(count * ROWS):
        weight = get(one, k // ROWS)
        if varying >= 0:
            own = pointer(weights + (varying + i + k % ROWS) * size, s)
            weight = read(own, k // ROWS * samples)
            if weight == 0:
                return False
        put(each, k, weight)
    divisor = divisor_of(rules, number)
    return weighted_rows(
        row, n, streams, pitch, apart, lists, lists + BEHIND, lists + GATHERED, lists + FETCHED, count,
        type(s)(divisor), divisor != 1, s,
    )  # fmt: skip


@loop
def _group(
    row, first, n, length, old, streams, room, manner, lists, x, origins, strides, dims, index, terms, rules,
    steps, weights, size, s,
):  # fmt: skip
    """A group of terms for the n samples from `first` on of a row; whether the result is finite.

    Sums begin with what stands at address `old`, if it is not 0. If it `streams`, the row is written past the
    caches. Weights made for a chunk go to `room`.
    """
    term, how, last, finite = integers(terms), integers(manner), first + n, True
    members, tile = read(term, MEMBERS), read(term, TILE)
    lower, run = read(term, LOWER), read(term, RUN)
    period, upper, vector = read(term, N) * run, read(term, UPPER) * run, CACHE_LINE // size
    start = first
    while start < last:
        here = row + (start - first) * size
        if read(term, LINES_TOGETHER) and old == 0 and s == 1 and start % run == 0 and (
            start + ROWS * run <= last and (streams == 0 or here % CACHE_LINE == 0)
            and _together(
                here, run * size, run * size, run, start // run % read(term, N), read(term, N), x, origins,
                strides, dims, index, start, lists, terms, rules, steps, weights, size, streams, s,
            )
        ):  # fmt: skip
            start += ROWS * run
            continue
        # As far as each member has one rule.
        stop = last
        for k in range(members):
            other = integers(terms + TERM_BYTES * k)
            if read(other, ROW_DIM) < 0 and read(other, TILE) == 0:
                samples, end = read(other, N), read(other, N) - read(other, UPPER)
                place = start // read(other, RUN)
                i = place % samples
                is_inner = read(other, VARYING) < 0 and read(other, LOWER) <= i < end
                stop = least(stop, (place + (end - i if is_inner else 1)) * read(other, RUN))
        begin, end, number, dim = start, stop, read(term, RULES) + lower, read(term, ROW_DIM)
        patched = False
        if tile:
            # All periods at once, as if there were no edges between them, which are then written over, or
            # else made first and put in their place.
            begin, end = most(start, lower * run), least(stop, length - upper)
            patched = streams != 0 and end - begin >= vector
            if read(term, SINGLE):
                # No piece between tiles is too short for it either.
                patched &= least(tile - begin % tile, (end - 1) % tile + 1) >= vector
        else:
            i = get(index, dim) if dim >= 0 else start // run % read(term, N)
            number = rule_of(term, i)
        zone = begin // period * period - upper if patched else FAR
        put(how, STREAMS, streams if patched or tile == 0 else 0)
        put(how, WIDTH, lower * run + upper)
        put(how, PERIOD, period)
        # In turns, so that each loop is called at one place: every place is compiled once more.
        for turn in range(4):
            if turn == 1:
                zone -= begin
                if end <= begin:
                    continue
                if read(term, SINGLE):
                    rule = integers(rules + RULE_BYTES * number)
                    finite &= _vary(
                        row, first, begin, end, zone, old, room, manner,
                        begin_of(x, origins, strides, dims, index, read(term, INPUT)), term, rule,
                        steps + STEP_BYTES * read(rule, FIRST), weights, size, s,
                    )  # fmt: skip
                    continue
                count = gather(
                    lists, old + (begin - first) * size if old else 0, x, origins, strides, dims, index,
                    begin * size, begin, number, terms, members, rules, steps, weights, size, s,
                )  # fmt: skip
                put(how, ZONE, zone)
                patched &= count > 0
                finite &= sum_up(
                    row + (begin - first) * size, end - begin, manner, lists, count,
                    divisor_of(rules, number), read(term, WIDE), s,
                )  # fmt: skip
                continue
            # Edges: those that are kept as patches, those before these, or all, and those after these.
            if tile == 0 or (turn != 2 and not patched):
                continue
            low, high, kept = begin, end, manner
            if turn == 0:
                put(how, ZONE, zone)
            else:
                kept = start - start  # a literal would be of a type of its own
                low, high = (start, begin) if turn == 2 else (end, stop)
                if not patched:
                    high = stop
            finite &= edges(
                row, old, first, low, high, kept, lists, x, origins, strides, dims, index, terms, members,
                rules, steps, weights, size, s,
            )  # fmt: skip
        start = stop
    return finite


@part
def _row(
    row, x, origins, strides, dims, index, first, last, chunk, length, group, after, rules, steps, weights,
    size, spare, manner, lists, streams, unit,
):  # fmt: skip
    """One row of one output, which begins at address `row`, from sample `first` to `last`.

    The first of the output's groups is at address `group`, and the last ends at `after`. Each begins its sums
    with what the one before made, which only the last writes to the row.
    """
    again, scale, stretch = spare + 2 * chunk * size, unit, read(integers(group), STRETCH)
    # From the second on stretches begin with a line of the cache.
    begin, end = first, least(first + stretch, last)
    if end < last:
        end -= ((row + end * size) & (CACHE_LINE - 1)) // size
    start, stop, target = begin, end, row + begin * size
    while begin < last:
        finite, old, other, mine = True, start - start, spare, group
        while mine < after:
            following = mine + TERM_BYTES * read(integers(mine), MEMBERS)
            made, past_caches = target, streams * read(integers(mine), STREAMABLE)
            if following < after:
                made, past_caches = other, 0
                other = 2 * spare + chunk * size - other  # the other of two
            if scale != unit:
                past_caches = 0
            finite &= _group(
                made, start, stop - start, length, old, past_caches, spare + 3 * chunk * size, manner, lists,
                x, origins, strides, dims, index, mine, rules, steps, weights, size, scale,
            )  # fmt: skip
            old, mine = made, following
        bring(manner)
        # If not all of a stretch is finite, its chunks are made once more, at another scale.
        if scale != unit:
            rescue(row + start * size, again, stop - start, scale)
            start = stop
        elif not finite:
            target, scale = again, type(unit)(ROOM)
        else:
            start = end
        if start == end:
            begin, scale = end, unit
            end = least(end + stretch, last)
            start, stop, target = begin, end, row + begin * size
        else:
            stop = least(start + chunk, end)


def kernel(sources):
    """A function that runs a plan on boxes of rows: f(x, out, call, unit).

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

    Numba looks only at the function that it keeps on disk for changes, and at the variables of its closure:
    `sources`, a digest of the sources of what it calls, is one of them.
    """

    def run_boxes(x, out, call, unit):
        if sources < 0:
            return
        given = integers(call)
        n_boxes, boxes = read(given, 0), read(given, 1)
        tables, weights = read(given, 2), read(given, 3)
        header, origins = integers(tables), integers(call + 32)
        dims, n_inputs = read(header, 0), read(header, 1)
        n_outputs, n_terms = read(header, 2), read(header, 3)
        length, chunk = read(header, 6), read(header, 7)
        strides = tables + 8 * HEADER
        terms = strides + 8 * dims * (n_inputs + n_outputs)
        rules = terms + TERM_BYTES * n_terms
        steps = rules + RULE_BYTES * read(header, 4)
        size, streams = read(header, 8), read(header, 9)
        spare, index, lists = room_for_chunks(), integers(room_for_index()), room_for_lists()
        manner = room_for_manner()
        put(integers(manner), PATCHES, spare + 6 * CHUNK_BYTES)
        put(integers(manner), CARRIED_TO, 0)
        # One output of a box after another, each written in one go, while the inputs stay in the cache.
        made = low = high = n_boxes - n_boxes  # a literal would be of a type of its own
        for job in range(n_boxes * n_outputs):
            output, box = job % n_outputs, integers(boxes + 8 * (2 * dims + 2) * (job // n_outputs))
            if output == 0:
                stop = terms
            # Terms come in the order of their outputs.
            group = stop
            while stop < rules and read(integers(stop), OUTPUT) == output:
                stop += TERM_BYTES
            for d in range(dims):
                put(index, d, read(box, d))
            while True:
                row = begin_of(out, origins, strides, dims, index, n_inputs + output)
                begin, end = read(box, 2 * dims), read(box, 2 * dims + 1)
                if made == 0 and read(integers(group), TOGETHER):
                    pitch = read(integers(strides), (n_inputs + output) * dims + dims - 1)
                    low = begin + (-(row + begin * size) & (CACHE_LINE - 1)) // size
                    high = end - (end - low) * size % ROWS_BYTES // size
                    apart = read(integers(strides), read(integers(group), INPUT) * dims + dims - 1)
                    if low < high and pitch % CACHE_LINE == 0 and _together(
                        row + low * size, pitch, apart, high - low, get(index, dims - 1),
                        read(box, 2 * dims - 1), x, origins, strides, dims, index, low, lists, group, rules,
                        steps, weights, size, streams, unit,
                    ):  # fmt: skip
                        made = ROWS
                # What is not made of the row, before and after what is.
                first, last = begin, low if made else end
                for _ in range(2):
                    if first < last:
                        _row(
                            row, x, origins, strides, dims, index, first, last, chunk, length, group, stop,
                            rules, steps, weights, size, spare, manner, lists, streams, unit,
                        )  # fmt: skip
                    first, last = high if made else end, end
                made -= made > 0
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

    return run_boxes
