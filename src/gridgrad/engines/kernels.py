"""The kernel of the CPU engine, compiled by Numba: it runs a plan, for float32 and for float64.

The tables that drive it are laid out in `program`; the parts that do the work are in `parts`. Tables and
rows are passed by address: an array as an argument costs more than many a row.
"""

from gridgrad.engines.layout import (
    CACHE_LINE,
    CARRIED_TO,
    CHUNK_BYTES,
    DIMS,
    FAR,
    HEADER,
    INDEX_AT,
    INPUT,
    LINES_TOGETHER,
    LISTS_AT,
    LOWER,
    MANNER_AT,
    MEMBERS,
    ORIGINS_AT,
    OUTPUT,
    OWN_BYTES,
    OWN_WEIGHTS_AT,
    PAGE,
    PATCHES,
    PERIOD,
    ROW_DIM,
    ROWS,
    ROWS_BYTES,
    RULE_BYTES,
    RULES,
    RULES_AT,
    RUN,
    SINGLE,
    SIZE,
    SPARE_AT,
    STEPS_AT,
    STREAMABLE,
    STREAMS,
    STRETCH,
    STRIDES_AT,
    TAKEN,
    TASK_BYTES,
    TASKS,
    TASKS_AT,
    TERM_BYTES,
    TILE,
    TOGETHER,
    UPPER,
    VARYING,
    WEIGHTS_AT,
    WIDE,
    WIDTH,
    ZONE,
    N,
    X,
)
from gridgrad.engines.loops import bring, rescue
from gridgrad.engines.parts import edges, sum_up, together, vary
from gridgrad.engines.steps import begin_of, gather, rule_of
from gridgrad.engines.words import (
    address_of,
    fence,
    get,
    inlined,
    integers,
    least,
    loop,
    most,
    put,
    read,
    remainder_of,
    room_for_call,
    room_for_chunks,
    room_for_index,
    room_for_lists,
    room_for_manner,
    run_kernel,
    take_one,
    whole_of,
)

# As in the reference engine: what overflows is computed again at this scale.
ROOM = 2.0**-10


@loop
def _group(call, row, first, n, length, old, streams, terms, s):
    """A group of terms for the n samples from `first` on of a row; whether the result is finite.

    Sums begin with what stands at address `old`, if it is not 0. If it `streams`, the row is written past the
    caches.
    """
    term, how, last, finite = integers(terms), integers(get(call, MANNER_AT)), first + n, True
    members, tile, size = read(term, MEMBERS), read(term, TILE), get(call, SIZE)
    lower, run, index = read(term, LOWER), read(term, RUN), integers(get(call, INDEX_AT))
    period, upper = read(term, N) * run, read(term, UPPER) * run
    start = next_try = first
    while start < last:
        here = row + (start - first) * size
        tries = read(term, LINES_TOGETHER) and start >= next_try and start + ROWS * run <= last
        if tries and old == 0 and s == 1:
            line = whole_of(start, run)
            starts = line * run == start and (streams == 0 or here & (CACHE_LINE - 1) == 0)
            i, pitch = remainder_of(line, read(term, N)), run * size
            if starts and together(
                call, here, pitch, pitch, run, i, read(term, N), start, streams, terms, s
            ):
                start += ROWS * run
                continue
            # Not all of them are finite, or edges are among them: not to be tried again for each of them.
            next_try = start + ROWS * run if starts else start
        # As far as each member has one rule.
        stop = last
        for k in range(members):
            other = integers(terms + TERM_BYTES * k)
            if read(other, ROW_DIM) < 0 and read(other, TILE) == 0:
                samples, end = read(other, N), read(other, N) - read(other, UPPER)
                place = whole_of(start, read(other, RUN))
                i = remainder_of(place, samples)
                is_inner = read(other, VARYING) < 0 and read(other, LOWER) <= i < end
                stop = least(stop, (place + (end - i if is_inner else 1)) * read(other, RUN))
        begin, end, number, dim = start, stop, read(term, RULES) + lower, read(term, ROW_DIM)
        patched = False
        if tile:
            # All periods at once, as if there were no edges between them, which are then written over, or
            # else made first and put in their place.
            begin, end = most(start, lower * run), least(stop, length - upper)
            shortest = end - begin
            if read(term, SINGLE):
                # No piece between tiles is too short for it either.
                shortest = least(shortest, tile - remainder_of(begin, tile))
                shortest = least(shortest, remainder_of(most(end, 1) - 1, tile) + 1)
            patched = streams != 0 and shortest * size >= CACHE_LINE
        else:
            i = get(index, dim) if dim >= 0 else remainder_of(whole_of(start, run), read(term, N))
            number = rule_of(term, i)
        zone = whole_of(begin, period) * period - upper if patched else FAR
        put(how, STREAMS, streams if patched or tile == 0 else 0)
        put(how, WIDTH, lower * run + upper)
        put(how, PERIOD, period)
        # In turns, so that each part is called at one place: every place takes time to compile.
        for turn in range(4):
            if turn == 1:
                zone -= begin
                if end <= begin:
                    continue
                if read(term, SINGLE):
                    finite &= vary(call, row, first, begin, end, zone, old, number, terms, s)
                    continue
                sums = old + (begin - first) * size if old else 0
                count = gather(call, sums, begin, number, terms, members, s)
                put(how, ZONE, zone)
                patched &= count > 0
                finite &= sum_up(
                    call,
                    row + (begin - first) * size,
                    end - begin,
                    count,
                    number,
                    read(term, WIDE),
                    s,
                )
                continue
            # Edges: those that are kept as patches, those before these, or all, and those after these.
            if tile == 0 or (turn != 2 and not patched):
                continue
            low, high, kept = begin, end, 1
            if turn == 0:
                put(how, ZONE, zone)
            else:
                kept = 0
                low, high = (start, begin) if turn == 2 else (end, stop)
                if not patched:
                    high = stop
            finite &= edges(call, row, old, first, low, high, kept, terms, members, s)
        start = stop
    return finite


@inlined
def _row(call, row, first, last, chunk, length, group, after, streams, unit):
    """One row of one output, which begins at address `row`, from sample `first` to `last`.

    The first of the output's groups is at address `group`, and the last ends at `after`. Each begins its sums
    with what the one before made, which only the last writes to the row.
    """
    size, spare, manner = get(call, SIZE), get(call, SPARE_AT), get(call, MANNER_AT)
    again, scale, stretch = spare + 2 * chunk * size, unit, read(integers(group), STRETCH)
    # From the second on stretches begin with a line of the cache.
    begin, end = first, least(first + stretch, last)
    if end < last:
        end -= whole_of((row + end * size) & (CACHE_LINE - 1), size)
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
            finite &= _group(call, made, start, stop - start, length, old, past_caches, mine, scale)
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
    header = integers(tables)
    dims, n_inputs = read(header, 0), read(header, 1)
    n_outputs, n_terms = read(header, 2), read(header, 3)
    length, chunk = read(header, 6), read(header, 7)
    strides = tables + 8 * HEADER
    terms = strides + 8 * dims * (n_inputs + n_outputs)
    rules = terms + TERM_BYTES * n_terms
    size, streams = read(header, 8), read(header, 9)
    told, spare, manner = integers(room_for_call()), room_for_chunks(), room_for_manner()
    at_index = room_for_index()
    index = integers(at_index)
    put(told, X, x)
    put(told, ORIGINS_AT, call + 32)
    put(told, STRIDES_AT, strides)
    put(told, DIMS, dims)
    put(told, INDEX_AT, at_index)
    put(told, RULES_AT, rules)
    put(told, STEPS_AT, rules + RULE_BYTES * read(header, 4))
    put(told, WEIGHTS_AT, weights)
    put(told, SIZE, size)
    put(told, LISTS_AT, room_for_lists())
    put(told, MANNER_AT, manner)
    put(told, SPARE_AT, spare)
    put(told, OWN_WEIGHTS_AT, spare + 3 * chunk * size)
    put(integers(manner), PATCHES, spare + 3 * CHUNK_BYTES + 3 * OWN_BYTES)
    put(integers(manner), CARRIED_TO, 0)
    made = low = high = n_boxes - n_boxes  # a literal would be of a type of its own
    # One output of a box after another, each written in one go, while the inputs stay in the cache.
    for job in range(n_boxes * n_outputs):
        output, box = remainder_of(job, n_outputs), whole_of(job, n_outputs)
        box = integers(boxes + 8 * (2 * dims + 2) * box)
        if output == 0:
            stop = terms
        # Terms come in the order of their outputs.
        group = stop
        while stop < rules and read(integers(stop), OUTPUT) == output:
            stop += TERM_BYTES
        for d in range(dims):
            put(index, d, read(box, d))
        while True:
            row = begin_of(told, out, n_inputs + output)
            begin, end = read(box, 2 * dims), read(box, 2 * dims + 1)
            if made == 0 and read(integers(group), TOGETHER):
                along = integers(strides + 8 * (dims - 1))
                pitch = read(along, (n_inputs + output) * dims)
                apart = read(along, read(integers(group), INPUT) * dims)
                # In the cache, rows that share its sets would drive each other out.
                fits = pitch & (CACHE_LINE - 1) == 0 and (streams or apart & (PAGE - 1) != 0)
                low = begin + whole_of(-(row + begin * size) & (CACHE_LINE - 1), size)
                high = low + whole_of((most(end - low, 0) * size) & -ROWS_BYTES, size)
                if low < high and fits:
                    found = together(
                        told, row + low * size, pitch, apart, high - low, get(index, dims - 1),
                        read(box, 2 * dims - 1), low, streams, group, unit,
                    )  # fmt: skip
                    # If not all of them are finite, or edges are among them, each is made by itself.
                    made = ROWS if found else -ROWS
            # What is not made of the row, before and after what is.
            first, last = begin, low if made > 0 else end
            for _ in range(2):
                if first < last:
                    _row(told, row, first, last, chunk, length, group, stop, streams, unit)
                first, last = high if made > 0 else end, end
            made -= (made > 0) - (made < 0)
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


def take_tasks(state):
    """Run the kernel on one table after another, until all are taken, by this thread or by others.

    `state` points to a 1 of the dtype computed in. From there on are, of 8 bytes each: that number, how many
    tables are taken, how many there are, the address of the first, and the bytes from one to the next.
    """
    unit, given = read(state, 0), integers(address_of(state))
    while True:
        k = take_one(given, TAKEN)
        if k >= read(given, TASKS):
            break
        run_kernel(read(given, TASKS_AT) + k * read(given, TASK_BYTES), unit)
