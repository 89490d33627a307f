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
from numba.core import cgutils
from numba.extending import intrinsic

from gridgrad.engines.layout import CHUNK_BYTES, MOST_DIMS, MOST_STEPS

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


def _chosen(is_first: str) -> Any:
    """A function for a if `a is_first b` holds, else b: Python's own take long to compile."""

    @intrinsic
    def choose(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.select(builder.icmp_signed(is_first, *args), *args)

        return types.int64(types.int64, types.int64), codegen

    return choose


least, most = _chosen("<"), _chosen(">")


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


room_for_chunks, room_for_index = _room(6 * CHUNK_BYTES), _room(8 * MOST_DIMS)
room_for_lists = _room(24 * MOST_STEPS)


# Bytes that are worked on as one vector: four of them fill half of sixteen registers of 32 bytes.
_VECTOR = 64


@intrinsic
def weighted(
    typingctx: Any, row: Any, n: Any, ahead: Any, behind: Any, weights: Any, count: Any, divisor: Any,
    divides: Any, shares: Any, s: Any,
) -> Any:  # fmt: skip
    """row = the sum of weights[i] (f[+] - f[-]) over `count` steps, / divisor; whether it is finite.

    `ahead` and `behind` are the addresses of tables of addresses, at which samples f[+] and f[-] of each step
    begin; those behind are all the same where steps share a reference, which is then read once. One pass
    for any number of steps: sums stay in registers while step follows step. It is written out, since LLVM
    does not see that by itself. Every sample's sum is rounded alike, wherever it stands.
    """
    integer = types.int64
    if not isinstance(s, types.Float):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = context.get_value_type(s)
        width = _VECTOR // (s.bitwidth // 8)
        finite = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(1), 1))
        at = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(64), 0))
        is_plain = builder.fcmp_ordered("==", args[-1], ir.Constant(number, 1.0))
        with builder.if_else(is_plain) as (plain, scaled):
            with plain:
                with builder.if_else(args[-2]) as (shared, apart):
                    with shared:
                        _weighted_blocks(builder, args, number, width, 2, at, finite, shares=True)
                    with apart:
                        _weighted_blocks(builder, args, number, width, 4, at, finite)
                for lanes in (width, 1):
                    _weighted_blocks(builder, args, number, lanes, 1, at, finite)
            with scaled:
                for lanes in (width, 1):
                    _weighted_blocks(builder, args, number, lanes, 1, at, finite, scaled=True)
        return builder.load(finite)

    signature = types.boolean(
        integer, integer, integer, integer, integer, integer, s, types.boolean, types.boolean, s
    )
    return signature, codegen


def _weighted_blocks(
    builder: Any, args: Any, number: Any, lanes: int, vectors: int, at: Any, finite: Any, *,
    scaled: bool = False, shares: bool = False,
) -> None:  # fmt: skip
    """As many blocks of so many vectors as there are samples left for, from `at` on."""
    row, n, ahead, behind, weights, count, divisor, divides, _, scale = args
    integer, pointer = ir.IntType(64), ir.PointerType()
    kind = number if lanes == 1 else ir.VectorType(number, lanes)
    size = 4 if isinstance(number, ir.FloatType) else 8

    def constant(value: int) -> Any:
        return ir.Constant(integer, value)

    def spread(value: Any) -> Any:
        """A number in every lane."""
        if lanes == 1:
            return value
        first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, constant(0))
        return builder.shuffle_vector(
            first, first, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        )

    def place(address: Any, k: int) -> Any:
        """Where the k-th vector of a row that begins at `address` stands."""
        offset = builder.mul(builder.add(here, constant(k * lanes)), constant(size))
        return builder.inttoptr(builder.add(address, offset), pointer)

    def entry(table: Any, i: Any, kind: Any) -> Any:
        found = builder.add(
            table, builder.mul(i, constant(kind.width // 8 if kind is integer else size))
        )
        return builder.load(builder.inttoptr(found, pointer), typ=kind, align=size)

    def sample(address: Any, k: int) -> Any:
        found = builder.load(place(address, k), typ=kind, align=size)
        return builder.fmul(found, spread(scale)) if scaled else found

    def samples(address: Any) -> list[Any]:
        return [sample(address, k) for k in range(vectors)]

    name = f"llvm.fma.{f'v{lanes}' if lanes > 1 else ''}f{8 * size}"
    multiply_add = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, (kind, kind, kind)), name
    )

    def step(i: Any) -> tuple[Any, list[Any]]:
        """The weight of a step and its differences."""
        plus = entry(ahead, i, integer)
        theirs = reference if shares else samples(entry(behind, i, integer))
        changes = [builder.fsub(sample(plus, k), theirs[k]) for k in range(vectors)]
        return spread(entry(weights, i, number)), changes

    head = builder.append_basic_block()
    body = builder.append_basic_block()
    done = builder.append_basic_block()
    builder.branch(head)
    builder.position_at_end(head)
    here = builder.load(at)
    stop = builder.add(here, constant(lanes * vectors))
    builder.cbranch(builder.icmp_signed("<=", stop, n), body, done)
    builder.position_at_end(body)
    sums = [cgutils.alloca_once(builder, kind) for _ in range(vectors)]
    reference = samples(entry(behind, constant(0), integer)) if shares else []
    weight, changes = step(constant(0))
    for total, change in zip(sums, changes, strict=True):
        builder.store(builder.fmul(weight, change), total)
    with cgutils.for_range_slice(builder, constant(1), count, constant(1)) as (i, _):
        weight, changes = step(i)
        for total, change in zip(sums, changes, strict=True):
            builder.store(builder.call(multiply_add, (weight, change, builder.load(total))), total)
    with builder.if_then(divides):
        for total in sums:
            builder.store(builder.fdiv(builder.load(total), spread(divisor)), total)
    none = None
    for k, total in enumerate(sums):
        found = builder.load(total)
        builder.store(found, place(row, k), align=size)
        nothing = builder.fsub(found, found)  # NaN, if it is not finite
        none = nothing if none is None else builder.fadd(none, nothing)
    odd = builder.fcmp_unordered("uno", none, none)
    if lanes > 1:
        bits = ir.IntType(lanes)
        odd = builder.icmp_signed("!=", builder.bitcast(odd, bits), ir.Constant(bits, 0))
    builder.store(builder.and_(builder.load(finite), builder.not_(odd)), finite)
    builder.store(stop, at)
    builder.branch(head)
    builder.position_at_end(done)


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
def varying_two(row, here, centre, n, p, p2, w, w2, own, other, more, s):
    """row = w[j] (f[p] - f[0]) + w2[j] (f[p2] - f[0]); `w` and `w2` are addresses, `centre` that of f[0].

    If `more`, the sum goes on from what is in the row. Where a weight is 0 the sample must not be read:
    if some are, the weights of the sample itself begin at `own`, for which f[other] stands in; else that
    is 0.
    """
    out, centre, instead = pointer(row, s), pointer(centre, s), pointer(here + other, s)
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
        before = get(out, j) if more else zero
        value = fma(v1, change, before) if more else v1 * change
        found = fma(v2, change2, value)
        if careful:
            # A step that is left out leaves no trace, not even in the sign of a zero.
            skips = v1 == 0 or (swapped and first)
            value = before if skips else value
            found = fma(v2, change2, value) if more or not skips else v2 * change2
            found = value if v2 == 0 else found
        put(out, j, found)
        odd |= not (abs(found) < np.inf)
    return not odd


@loop
def singles(row, ahead, behind, weights, count, first, last, origin, run, period, divisor, s):
    """The same for single samples: `run` neighbours in each period from `origin` on, from `first` to `last`.

    `row` and the tables' addresses are those of sample `first`.
    """
    out, finite = pointer(row, s), True
    plus, minus, w = integers(ahead), integers(behind), pointer(weights, s)
    for begin in range(origin, last, period):
        for j in range(most(begin, first) - first, least(begin + run, last) - first):
            value = type(s)(0)
            for i in range(count):
                change = (
                    get(pointer(get(plus, i), s), j) * s - get(pointer(get(minus, i), s), j) * s
                )
                value = fma(get(w, i), change, value) if i else get(w, 0) * change
            value = type(s)(np.float64(value) / divisor)
            put(out, j, value)
            finite &= abs(value) < np.inf
    return finite


@loop
def nothing(row, n, s):
    """row = 0"""
    out = pointer(row, s)
    for j in range(n):
        put(out, j, type(s)(0))
    return True


@loop
def copy(row, other, n, s):
    """row = other"""
    out, a = pointer(row, s), pointer(other, s)
    for j in range(n):
        put(out, j, get(a, j))


@loop
def rescue(row, scaled, n, s):
    """Where row is not finite, take what the scaled computation found."""
    out, a = pointer(row, s), pointer(scaled, s)
    for j in range(n):
        if not (abs(get(out, j)) < np.inf):
            put(out, j, get(a, j) / s)
