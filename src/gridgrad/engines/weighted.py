"""The loop that all stencils of numbers run in: a weighted sum of differences of rows."""

from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gridgrad.engines.lanes import INTEGER, Lanes, constant
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
        row, n, manner, *rest, divides, shares, scale = args
        number = context.get_value_type(s)
        over = Pass(typingctx, context, builder, s, row, n, manner)
        is_plain = builder.fcmp_ordered("==", scale, ir.Constant(number, 1.0))
        with builder.if_then(is_plain), builder.if_else(shares) as (shared, apart):
            with shared:
                _run(over, _SHARED, (*rest, divides), shares=True)
            with apart:
                _run(over, _APART, (*rest, divides))
        _run(over, 1, (*rest, divides), scale=scale)
        return builder.select(over.finite, over.done, builder.not_(over.done))

    addresses = (types.int64,) * 8
    return types.int64(*addresses, s, types.boolean, types.boolean, s), codegen


def _run(over: Pass, vectors: int, args: Any, *, scale: Any = None, shares: bool = False) -> None:
    """As many blocks of so many vectors as there are samples left for."""
    ahead, behind, weights, fetched, count, divisor, divides = args
    lanes = over.lanes()
    builder = lanes.builder

    def make(here: Any) -> list[Any]:
        def sample(address: Any, k: int) -> Any:
            found = lanes.load(address, builder.add(here, constant(k * lanes.lanes)))
            return found if scale is None else builder.fmul(found, lanes.spread(scale))

        def samples(address: Any) -> list[Any]:
            return [sample(address, k) for k in range(vectors)]

        def step(i: Any) -> tuple[Any, list[Any]]:
            """The weight of a step and its differences."""
            plus = lanes.entry(ahead, i, INTEGER)
            theirs = reference if shares else samples(lanes.entry(behind, i, INTEGER))
            changes = [builder.fsub(sample(plus, k), theirs[k]) for k in range(vectors)]
            return lanes.spread(lanes.entry(weights, i, lanes.number)), changes

        if vectors > 1:
            _fetch(lanes, fetched, here, vectors)
        sums = [cgutils.alloca_once(builder, lanes.vector) for _ in range(vectors)]
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
        return [builder.load(total) for total in sums]

    over.run(lanes, vectors, make)


def _fetch(lanes: Lanes, fetched: Any, here: Any, vectors: int) -> None:
    builder = lanes.builder
    with cgutils.for_range(builder, lanes.entry(fetched, constant(0), INTEGER)) as loop:
        far = lanes.entry(fetched, builder.add(loop.index, constant(1)), INTEGER)
        for k in range(vectors):
            lanes.prefetch(far, builder.add(here, constant(k * lanes.lanes)))
