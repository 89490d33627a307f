"""The loop that all stencils of numbers run in: a weighted sum of differences of rows."""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gridgrad.engines.lanes import BIT, INTEGER, Lanes, constant
from gridgrad.engines.layout import CACHE_LINE, ROWS, ROWS_BYTES
from gridgrad.engines.passes import Pass

# Vectors, each a line of the cache, that are worked on together: four fill half of sixteen registers of
# 32 bytes. Where references are kept too, four need as many registers as processors with AVX-512 have.
_APART = 4
_SHARED = 4 if get_host_cpu_features().get("avx512f") else 2


@intrinsic
def weighted(
    typingctx: Any, row: Any, n: Any, manner: Any, ahead: Any, behind: Any, weights: Any, fetched: Any,
    count: Any, divisor: Any, divides: Any, shares: Any, s: Any,
) -> Any:  # fmt: skip
    """row = the sum of weights[i] (f[+] - f[-]) over `count` steps, / divisor if it `divides`.

    Returns how many samples are done, all n, or none of fewer than a vector; if some are not finite, the
    complement of that number.

    `manner` is the address of the table of how the row is written. `ahead` and `behind` are those of tables
    of addresses, at which samples f[+] and f[-] of each step begin; those behind are all the same where steps
    share a reference, which is then read once. `fetched` is the address of a number and of so many
    addresses: what stands there and after is fetched into the cache meanwhile, since among so many streams
    the processor does not do it in time by itself.

    One pass for any number of steps: sums stay in registers while step follows step. It is written out, since
    LLVM does not see that by itself. Every sample's sum is rounded alike, wherever it stands.
    """
    if not isinstance(s, types.Float):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # Inside the functions that call it, its loops would share registers with all that stands around.
        builder.function.attributes.add("noinline")
        row, n, manner, *rest, divides, shares, scale = args
        number = context.get_value_type(s)
        over = Pass(context, builder, s, row, n, manner)
        is_plain = builder.fcmp_ordered("==", scale, ir.Constant(number, 1.0))
        with builder.if_then(is_plain), builder.if_else(shares) as (shared, separate):
            with shared:
                _run(over, _SHARED, (*rest, divides), shares=True)
            with separate:
                _run(over, _APART, (*rest, divides))
        _run(over, 1, (*rest, divides), scale=scale)
        return builder.select(over.finite, over.done, builder.not_(over.done))

    addresses = (types.int64,) * 8
    return types.int64(*addresses, s, types.boolean, types.boolean, s), codegen


def _together(rows: int, bytes_of_each: int) -> Any:
    """A loop over so many rows at once, which are made in blocks of so many bytes."""

    @intrinsic
    def together(
        typingctx: Any, row: Any, n: Any, streams: Any, pitch: Any, apart: Any, ahead: Any, behind: Any,
        weights: Any, fetched: Any, count: Any, divisor: Any, divides: Any, s: Any,
    ) -> Any:  # fmt: skip
        if not isinstance(s, types.Float):
            return None

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            row, n, streams, pitch, apart, *rest, _ = args
            number = context.get_value_type(s)
            lanes = Lanes(builder, number, CACHE_LINE // Lanes(builder, number, 1).size)
            block = bytes_of_each // lanes.size
            finite = cgutils.alloca_once_value(builder, ir.Constant(BIT, 1))
            past_caches = builder.icmp_signed("!=", streams, constant(0))
            with cgutils.for_range_slice(builder, constant(0), n, constant(block)) as (here, _):
                read, written = (
                    [builder.mul(each, constant(k)) for k in range(rows)] for each in (apart, pitch)
                )
                places = [(k, more) for k in range(rows) for more in range(0, block, lanes.lanes)]
                made = _sums(lanes, here, places, tuple(rest), read, fetches=rows > 1)
                whole = builder.and_(builder.load(finite), lanes.are_finite(made))
                builder.store(whole, finite)
                with builder.if_else(past_caches) as (past, through):
                    for branch, store in ((past, lanes.stream), (through, lanes.store)):
                        with branch:
                            for value, (k, more) in zip(made, places, strict=True):
                                store(value, builder.add(row, written[k]), here, more)
            return builder.load(finite)

        addresses = (types.int64,) * 10
        return types.boolean(*addresses, s, types.boolean, s), codegen

    return together


# f(row, n, streams, pitch, apart, and what `weighted` is given): the same for ROWS rows at once, which lie
# `pitch` bytes one after another, of samples `apart` bytes one after another. What a row reads, the next one
# reads too, while it is in the first-level cache; row after row, a stencil along the dim that leads from row
# to row waits for the second level. Each step has ROWS weights, one for each row. n are whole blocks of
# ROWS_BYTES, and if it `streams` lines of the cache begin at all rows. It says whether all that is made is
# finite.
weighted_rows = _together(ROWS, ROWS_BYTES)
# The same for one short row, of whole lines of the cache.
weighted_row = _together(1, CACHE_LINE)


def _run(over: Pass, vectors: int, args: Any, *, scale: Any = None, shares: bool = False) -> None:
    """As many blocks of so many vectors as there are samples left for."""
    lanes = over.lanes()

    def make(here: Any) -> list[Any]:
        places = [(0, k * lanes.lanes) for k in range(vectors)]
        return _sums(lanes, here, places, args, fetches=vectors > 1, scale=scale, shares=shares)

    over.run(lanes, vectors, make)


def _sums(
    lanes: Lanes, here: Any, places: Sequence[tuple[int, int]], args: Any, shifts: Sequence[Any] = (),
    *, fetches: bool = True, scale: Any = None, shares: bool = False,
) -> list[Any]:  # fmt: skip
    """The sums in vectors at some places: of the k-th row, so many samples after `here`.

    `shifts` says how many bytes after the first row the others begin.
    """
    ahead, behind, weights, fetched, count, divisor, divides = args
    builder = lanes.builder

    rows = max(1, len(shifts))

    def row(address: Any, k: int) -> Any:
        return builder.add(address, shifts[k]) if k else address

    def sample(address: Any, place: tuple[int, int]) -> Any:
        k, more = place
        found = lanes.load(row(address, k), here, more)
        return found if scale is None else builder.fmul(found, lanes.spread(scale))

    def samples(address: Any) -> list[Any]:
        return [sample(address, place) for place in places]

    def step(i: Any) -> tuple[list[Any], list[Any]]:
        """The weights of a step, one for each row, and its differences."""
        plus = lanes.entry(ahead, i, INTEGER)
        theirs = reference if shares else samples(lanes.entry(behind, i, INTEGER))
        changes = [
            builder.fsub(sample(plus, place), f) for place, f in zip(places, theirs, strict=True)
        ]
        first = builder.mul(i, constant(rows))
        factors = (
            lanes.entry(weights, builder.add(first, constant(k)), lanes.number) for k in range(rows)
        )
        return list(map(lanes.spread, factors)), changes

    if fetches:
        with cgutils.for_range(builder, lanes.entry(fetched, constant(0), INTEGER)) as loop:
            far = lanes.entry(fetched, builder.add(loop.index, constant(1)), INTEGER)
            for k, more in places:
                lanes.prefetch(row(far, k), here, more)
    sums = [cgutils.alloca_once(builder, lanes.vector) for _ in places]
    reference = samples(lanes.entry(behind, constant(0), INTEGER)) if shares else []
    # What is added to -0 is itself, whatever its sign.
    for total in sums:
        builder.store(lanes.number_of(-0.0), total)
    with cgutils.for_range(builder, count) as loop:
        factors, changes = step(loop.index)
        for (k, _), total, change in zip(places, sums, changes, strict=True):
            found = lanes.multiply_add(factors[k], change, builder.load(total))
            builder.store(found, total)
    with builder.if_then(divides):
        for total in sums:
            builder.store(builder.fdiv(builder.load(total), lanes.spread(divisor)), total)
    return [builder.load(total) for total in sums]
