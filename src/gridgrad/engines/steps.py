"""Steps of a group of terms: what is summed up at one sample, gathered.

A step is a weighted difference of two samples. `call` is the table of what all parts of the kernel are told
of a call; other tables and rows are passed by address; see `kernels`.
"""

from gridgrad.engines.layout import (
    BEHIND,
    CAREFUL,
    COUNT,
    DIMS,
    DIVISOR,
    FACTORS,
    FETCH,
    FETCHED,
    FIRST,
    FIXED,
    INDEX_AT,
    INPUT,
    LISTS_AT,
    LOWER,
    MINUS,
    NOTHING,
    ORIGINS_AT,
    OTHER,
    PLUS,
    ROW_DIM,
    RULE_BYTES,
    RULES,
    RULES_AT,
    RUN,
    SIZE,
    STEP_BYTES,
    STEPS_AT,
    STRIDES_AT,
    TERM_BYTES,
    UPPER,
    VARYING,
    WEIGHTS_AT,
    N,
    X,
)
from gridgrad.engines.words import (
    get,
    integers,
    least,
    loop,
    pointer,
    put,
    read,
    remainder_of,
    whole_of,
)


@loop
def rule_of(term, i):
    """The number of the rule that serves sample i of the term's dim."""
    lower, after = read(term, LOWER), i - (read(term, N) - read(term, UPPER))
    return read(term, RULES) + least(i, lower) + (1 + after if after >= 0 else 0)


@loop
def divisor_of(call, number):
    return read(pointer(get(call, RULES_AT) + RULE_BYTES * number + 8 * DIVISOR, 1.0), 0)


@loop
def begin_of(call, start, k):
    """The address at which array k's current row begins."""
    dims, index = get(call, DIMS), integers(get(call, INDEX_AT))
    strides = integers(get(call, STRIDES_AT))
    start += read(integers(get(call, ORIGINS_AT)), k)
    for d in range(dims):
        start += get(index, d) * read(strides, k * dims + d)
    return start


@loop
def gather(call, old, place, head, terms, members, s):
    """The steps of a group of terms, at the sample with that `place` in a row; how many there are.

    They go to the lists, as addresses of that sample. `head` is the number of the first member's rule. What
    other groups made of that sample is at `old`, if it is not 0; it makes a step of its own, less nothing.
    """
    size, weights, rules = get(call, SIZE), get(call, WEIGHTS_AT), get(call, RULES_AT)
    steps, lists, index = get(call, STEPS_AT), get(call, LISTS_AT), integers(get(call, INDEX_AT))
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
        here = begin_of(call, get(call, X), read(term, INPUT)) + place * size
        if read(term, FETCH):
            far += 1
            put(fetched, far, here + read(term, FETCH))
        line = whole_of(place, read(term, RUN))
        i = get(index, dim) if dim >= 0 else remainder_of(line, samples)
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
