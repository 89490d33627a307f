"""The loop for weights that differ from sample to sample inside a row: coordinates along the last dim."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gridgrad.engines.lanes import INTEGER, Lanes, constant
from gridgrad.engines.layout import PLUS, STEP_COLUMNS
from gridgrad.engines.passes import Pass

# Vectors that are worked on together, each with a sum and a reference of its own.
_TOGETHER = 4


@intrinsic
def varied(
    typingctx: Any, row: Any, n: Any, manner: Any, here: Any, centre: Any, steps: Any, count: Any,
    weights: Any, stride: Any, own: Any, old: Any, s: Any,
) -> Any:  # fmt: skip
    """row[j] = old[j] + the sum of w[i][j] (f[j + step i] - f[j]) over `count` steps; whether all are finite.

    Rows are addresses: `here` that of f, from which samples of steps are reckoned; `centre` that of what is
    subtracted; `weights` that of w[0], after which each step's follows `stride` bytes later. `old` may be 0,
    for nothing. `manner` is the address of the table of how the row is written.

    Where a weight is 0 the sample must not count, whatever it is: if some are, `own` is the address of the
    weights of the sample itself, for which the first step's stands in; else it is 0. Steps are added one
    after another, as in `weighted`: results must not depend on which of the two is taken.
    """
    if not isinstance(s, types.Float):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        row, n, manner, *rest = args
        over = Pass(context, builder, s, row, n, manner)
        *rest, own, old, scale = rest
        is_sure = builder.icmp_signed("==", own, constant(0))
        is_plain = builder.fcmp_ordered("==", scale, ir.Constant(scale.type, 1.0))
        with builder.if_then(builder.and_(is_sure, is_plain)):
            _run(over, over.lanes(), _TOGETHER, (*rest, own, old, None))
        # Any weights that are not 0 will do for those of the sample itself.
        own = builder.select(is_sure, rest[-2], own)
        for lanes in (0, 1):
            _run(over, over.lanes(lanes), 1, (*rest, own, old, scale), careful=True)
        return over.finite

    return types.boolean(*(types.int64,) * 11, s), codegen


def _run(over: Pass, lanes: Lanes, vectors: int, args: Any, *, careful: bool = False) -> None:
    """As many blocks of so many vectors as there are samples left for."""
    here, centre, steps, count, weights, stride, own, old, scale = args
    builder = lanes.builder

    def make(first: Any) -> list[Any]:
        places = [k * lanes.lanes for k in range(vectors)]
        zero = lanes.number_of(0.0)

        def plus(i: Any) -> Any:
            """The address of the row of step i."""
            column = builder.add(builder.mul(i, constant(STEP_COLUMNS)), constant(PLUS))
            return builder.add(here, lanes.entry(steps, column, INTEGER))

        def samples(address: Any) -> list[Any]:
            found = [lanes.load(address, first, more) for more in places]
            return found if scale is None else [builder.fmul(f, lanes.spread(scale)) for f in found]

        references = samples(centre)
        if careful:
            unread = [
                builder.fcmp_ordered("==", lanes.load(own, first, more), zero) for more in places
            ]
            others = samples(plus(constant(0)))
            references = [
                builder.select(no, there, f)
                for no, there, f in zip(unread, others, references, strict=True)
            ]
        begun = builder.icmp_signed("!=", old, constant(0))
        sums = [cgutils.alloca_once(builder, lanes.vector) for _ in places]
        some = [cgutils.alloca_once(builder, unread[0].type) for _ in places] if careful else []
        with builder.if_else(begun) as (more, fresh):
            with more:
                for total, more in zip(sums, places, strict=True):
                    builder.store(lanes.load(old, first, more), total)
            with fresh:
                # What is added to this is itself, whatever its sign.
                for total in sums:
                    builder.store(lanes.number_of(-0.0), total)
        for any_yet in some:
            builder.store(_everywhere(builder, begun, unread[0].type), any_yet)
        with cgutils.for_range(builder, count) as loop:
            theirs = samples(plus(loop.index))
            mine = builder.add(weights, builder.mul(loop.index, stride))
            for k, place in enumerate(places):
                weight, total = lanes.load(mine, first, place), builder.load(sums[k])
                change = builder.fsub(theirs[k], references[k])
                found = lanes.multiply_add(weight, change, total)
                if careful:
                    absent = builder.fcmp_ordered("==", weight, zero)
                    is_first = builder.icmp_signed("==", loop.index, constant(0))
                    stands_in = builder.and_(_everywhere(builder, is_first, absent.type), unread[k])
                    absent = builder.or_(absent, stands_in)
                    found = builder.select(absent, total, found)
                    builder.store(builder.or_(builder.load(some[k]), builder.not_(absent)), some[k])
                builder.store(found, sums[k])
        made = [builder.load(total) for total in sums]
        if careful:
            made = [
                builder.select(builder.load(any_yet), value, zero)
                for any_yet, value in zip(some, made, strict=True)
            ]
        return made

    over.run(lanes, vectors, make)


def _everywhere(builder: Any, bit: Any, kind: Any) -> Any:
    """A bit in every lane of a mask."""
    if kind == bit.type:
        return bit
    return builder.select(
        bit, ir.Constant(kind, [1] * kind.count), ir.Constant(kind, [0] * kind.count)
    )
