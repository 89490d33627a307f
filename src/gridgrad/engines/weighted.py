"""The loop that all stencils of numbers run in: a weighted sum of differences of rows."""

from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gridgrad.engines.layout import CACHE_LINE

# Bytes that are worked on as one vector, a line of the cache: four of them fill half of sixteen registers of
# 32 bytes. Where a reference is kept too, four need as many registers as processors with AVX-512 have.
_VECTOR = CACHE_LINE
_SHARED = 4 if get_host_cpu_features().get("avx512f") else 2


@intrinsic
def weighted(
    typingctx: Any, row: Any, n: Any, ahead: Any, behind: Any, weights: Any, fetched: Any, count: Any,
    divisor: Any, divides: Any, shares: Any, s: Any,
) -> Any:  # fmt: skip
    """row = the sum of weights[i] (f[+] - f[-]) over `count` steps, / divisor if it `divides`.

    Returns how many samples are done, all n, or none of fewer than a vector; if some are not finite, the
    complement of that number.

    `ahead` and `behind` are the addresses of tables of addresses, at which samples f[+] and f[-] of each step
    begin; those behind are all the same where steps share a reference, which is then read once. `fetched` is
    the address of a number and of so many addresses: what stands there and after is fetched into the cache
    meanwhile, since among so many streams the processor does not do it in time by itself.

    One pass for any number of steps: sums stay in registers while step follows step. It is written out, since
    LLVM does not see that by itself. Every sample's sum is rounded alike, wherever it stands.
    """
    if not isinstance(s, types.Float):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = context.get_value_type(s)
        finite = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(1), 1))
        at = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(64), 0))
        is_plain = builder.fcmp_ordered("==", args[-1], ir.Constant(number, 1.0))
        with builder.if_else(is_plain) as (plain, scaled):
            with plain:
                with builder.if_else(args[-2]) as (shared, apart):
                    with shared:
                        _blocks(builder, args, number, _SHARED, at, finite, shares=True)
                    with apart:
                        _blocks(builder, args, number, 4, at, finite)
                _blocks(builder, args, number, 1, at, finite)
            with scaled:
                _blocks(builder, args, number, 1, at, finite, scaled=True)
        done = builder.load(at)
        return builder.select(builder.load(finite), done, builder.not_(done))

    addresses = (types.int64,) * 7
    return types.int64(*addresses, s, types.boolean, types.boolean, s), codegen


def _blocks(
    builder: Any, args: Any, number: Any, vectors: int, at: Any, finite: Any, *, scaled: bool = False,
    shares: bool = False,
) -> None:  # fmt: skip
    """As many blocks of so many vectors as there are samples left for, from `at` on.

    Single vectors end with one that may overlap the one before, if there are samples enough for it.
    """
    row, n, ahead, behind, weights, fetched, count, divisor, divides, _, scale = args
    integer, pointer = ir.IntType(64), ir.PointerType()
    size = 4 if isinstance(number, ir.FloatType) else 8
    lanes = _VECTOR // size
    vector = ir.VectorType(number, lanes)

    def constant(value: int) -> Any:
        return ir.Constant(integer, value)

    def spread(value: Any) -> Any:
        """A number in every lane."""
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, constant(0))
        lane = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        return builder.shuffle_vector(first, first, lane)

    def place(address: Any, k: int) -> Any:
        """Where the k-th vector of a row that begins at `address` stands."""
        offset = builder.mul(builder.add(here, constant(k * lanes)), constant(size))
        return builder.inttoptr(builder.add(address, offset), pointer)

    def entry(table: Any, i: Any, kind: Any) -> Any:
        width = constant(8 if kind is integer else size)
        found = builder.inttoptr(builder.add(table, builder.mul(i, width)), pointer)
        return builder.load(found, typ=kind, align=size)

    def sample(address: Any, k: int) -> Any:
        found = builder.load(place(address, k), typ=vector, align=size)
        return builder.fmul(found, spread(scale)) if scaled else found

    def samples(address: Any) -> list[Any]:
        return [sample(address, k) for k in range(vectors)]

    def step(i: Any) -> tuple[Any, list[Any]]:
        """The weight of a step and its differences."""
        plus = entry(ahead, i, integer)
        theirs = reference if shares else samples(entry(behind, i, integer))
        changes = [builder.fsub(sample(plus, k), theirs[k]) for k in range(vectors)]
        return spread(entry(weights, i, number)), changes

    half = ir.IntType(32)
    prefetch = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), (pointer, half, half, half)),
        "llvm.prefetch.p0",
    )
    to_read, second_level, data = (ir.Constant(half, value) for value in (0, 2, 1))
    multiply_add = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector, (vector,) * 3),
        f"llvm.fma.v{lanes}f{8 * size}",
    )
    head, body, done = (builder.append_basic_block() for _ in range(3))
    block = constant(lanes * vectors)
    builder.branch(head)
    builder.position_at_end(head)
    here = builder.load(at)
    fits = builder.icmp_signed("<=", builder.add(here, block), n)
    if vectors == 1:
        last = builder.sub(n, block)
        some = builder.icmp_signed("<", here, n)
        again = builder.and_(some, builder.icmp_signed(">=", last, constant(0)))
        here = builder.select(fits, here, last)
        fits = builder.or_(fits, again)
    builder.cbranch(fits, body, done)
    builder.position_at_end(body)
    sums = [cgutils.alloca_once(builder, vector) for _ in range(vectors)]
    if vectors > 1:
        number_of = entry(fetched, constant(0), integer)
        with cgutils.for_range(builder, number_of) as loop:
            far = entry(fetched, builder.add(loop.index, constant(1)), integer)
            for k in range(vectors):
                builder.call(prefetch, (place(far, k), to_read, second_level, data))
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
    bits = ir.IntType(lanes)
    odd = builder.bitcast(builder.fcmp_unordered("uno", none, none), bits)
    is_finite = builder.icmp_signed("==", odd, ir.Constant(bits, 0))
    builder.store(builder.and_(builder.load(finite), is_finite), finite)
    after = builder.add(here, block)
    if vectors > 1:
        # From the second block on they are lines of the cache in what is written, and in most of what is
        # read, as arrays begin alike: a vector across two lines costs twice.
        past = builder.udiv(builder.and_(row, constant(_VECTOR - 1)), constant(size))
        is_first = builder.icmp_signed("==", here, constant(0))
        after = builder.sub(after, builder.select(is_first, past, constant(0)))
    builder.store(after, at)
    builder.branch(head)
    builder.position_at_end(done)
