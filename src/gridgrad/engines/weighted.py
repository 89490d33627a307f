"""The loop that all stencils of numbers run in: a weighted sum of differences of rows."""

from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gridgrad.engines.lanes import BIT, INTEGER, Lanes, constant
from gridgrad.engines.layout import CACHE_LINE

# Vectors, each a line of the cache, that are worked on together: four fill half of sixteen registers of
# 32 bytes. Where references are kept too, four need as many registers as processors with AVX-512 have.
_APART = 4
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
        lanes = Lanes(builder, number, CACHE_LINE // Lanes(builder, number, 1).size)
        finite = cgutils.alloca_once_value(builder, ir.Constant(BIT, 1))
        at = cgutils.alloca_once_value(builder, constant(0))
        is_plain = builder.fcmp_ordered("==", args[-1], ir.Constant(number, 1.0))
        with builder.if_else(is_plain) as (plain, scaled):
            with plain:
                with builder.if_else(args[-2]) as (shared, apart):
                    with shared:
                        _blocks(builder, args, lanes, _SHARED, at, finite, shares=True)
                    with apart:
                        _blocks(builder, args, lanes, _APART, at, finite)
                _blocks(builder, args, lanes, 1, at, finite)
            with scaled:
                _blocks(builder, args, lanes, 1, at, finite, scaled=True)
        done = builder.load(at)
        return builder.select(builder.load(finite), done, builder.not_(done))

    addresses = (types.int64,) * 7
    return types.int64(*addresses, s, types.boolean, types.boolean, s), codegen


def _blocks(
    builder: Any, args: Any, lanes: Lanes, vectors: int, at: Any, finite: Any, *, scaled: bool = False,
    shares: bool = False,
) -> None:  # fmt: skip
    """As many blocks of so many vectors as there are samples left for, from `at` on.

    Single vectors end with one that may overlap the one before, if there are samples enough for it.
    """
    row, n, ahead, behind, weights, fetched, count, divisor, divides, _, scale = args

    def sample(address: Any, k: int) -> Any:
        found = lanes.load(address, builder.add(here, constant(k * lanes.lanes)))
        return builder.fmul(found, lanes.spread(scale)) if scaled else found

    def samples(address: Any) -> list[Any]:
        return [sample(address, k) for k in range(vectors)]

    def step(i: Any) -> tuple[Any, list[Any]]:
        """The weight of a step and its differences."""
        plus = lanes.entry(ahead, i, INTEGER)
        theirs = reference if shares else samples(lanes.entry(behind, i, INTEGER))
        changes = [builder.fsub(sample(plus, k), theirs[k]) for k in range(vectors)]
        return lanes.spread(lanes.entry(weights, i, lanes.number)), changes

    head, body, done = (builder.append_basic_block() for _ in range(3))
    block = constant(lanes.lanes * vectors)
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
    sums = [cgutils.alloca_once(builder, lanes.vector) for _ in range(vectors)]
    if vectors > 1:
        with cgutils.for_range(builder, lanes.entry(fetched, constant(0), INTEGER)) as loop:
            far = lanes.entry(fetched, builder.add(loop.index, constant(1)), INTEGER)
            for k in range(vectors):
                lanes.prefetch(far, builder.add(here, constant(k * lanes.lanes)))
    reference = samples(lanes.entry(behind, constant(0), INTEGER)) if shares else []
    weight, changes = step(constant(0))
    for total, change in zip(sums, changes, strict=True):
        builder.store(builder.fmul(weight, change), total)
    with cgutils.for_range_slice(builder, constant(1), count, constant(1)) as (i, _):
        weight, changes = step(i)
        for total, change in zip(sums, changes, strict=True):
            builder.store(lanes.multiply_add(weight, change, builder.load(total)), total)
    with builder.if_then(divides):
        for total in sums:
            builder.store(builder.fdiv(builder.load(total), lanes.spread(divisor)), total)
    made = [builder.load(total) for total in sums]
    for k, value in enumerate(made):
        lanes.store(value, row, builder.add(here, constant(k * lanes.lanes)))
    builder.store(builder.and_(builder.load(finite), lanes.are_finite(made)), finite)
    after = builder.add(here, block)
    if vectors > 1:
        # From the second block on they are lines of the cache in what is written, and in most of what is
        # read, as arrays begin alike: a vector across two lines costs twice.
        past = builder.udiv(builder.and_(row, constant(CACHE_LINE - 1)), constant(lanes.size))
        is_first = builder.icmp_signed("==", here, constant(0))
        after = builder.sub(after, builder.select(is_first, past, constant(0)))
    builder.store(after, at)
    builder.branch(head)
    builder.position_at_end(done)
