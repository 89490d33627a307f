"""A pass over a row in blocks of vectors, for the loops that are written out in LLVM's own language."""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from gridgrad.engines.lanes import BIT, INTEGER, Lanes, constant
from gridgrad.engines.layout import (
    CACHE_LINE,
    CARRIED_FROM,
    CARRIED_TO,
    LINE_CARRIED,
    PATCHES,
    PERIOD,
    STREAMS,
    WIDTH,
    ZONE,
)


class Pass:
    """A pass over a row of n numbers from an address on, block after block.

    Vectors are lines of the cache in what is written, and in most of what is read, as arrays begin alike: one
    across two lines costs twice.

    `manner` is the address of the table of how the row is written; see `layout`. A line written past the
    caches must be whole: one written in part costs as much as dozens. So what is left of a row after its
    last line is carried over to whoever makes what comes next.
    """

    def __init__(
        self, context: Any, builder: Any, s: Any, address: Any, n: Any, manner: Any
    ) -> None:  # fmt: skip
        self._builder, self._number = builder, context.get_value_type(s)
        self._address, self._n, self._manner = address, n, manner
        self._finite = cgutils.alloca_once_value(builder, ir.Constant(BIT, 1))
        # Read once: what is written to the row might be the table, for all that LLVM knows.
        self._streams, self._patches, self._zone, self._width, self._period = (
            self.lanes(1).entry(manner, constant(column), INTEGER)
            for column in (STREAMS, PATCHES, ZONE, WIDTH, PERIOD)
        )
        before = builder.and_(builder.neg(address), constant(CACHE_LINE - 1))
        before = builder.udiv(before, constant(self.lanes(1).size))
        fits = builder.icmp_signed(">=", n, constant(self.lanes().lanes))
        before = builder.select(fits, before, constant(0))
        # How many numbers are made from the first line on, and are left to be made before it.
        self._at = cgutils.alloca_once_value(builder, before)
        self._left = cgutils.alloca_once_value(builder, before)

    def lanes(self, count: int = 0) -> Lanes:
        """Vectors of so many numbers, or of a line of the cache."""
        found = Lanes(self._builder, self._number, count or 1)
        return found if count else self.lanes(CACHE_LINE // found.size)

    @property
    def done(self) -> Any:
        """How many numbers are made."""
        return self._builder.load(self._at)

    @property
    def finite(self) -> Any:
        """Whether they all are."""
        return self._builder.load(self._finite)

    def run(self, lanes: Lanes, vectors: int, make: Callable[[Any], Sequence[Any]]) -> None:
        """As many blocks of so many vectors as there are numbers left for; `make` makes them from a place on.

        Single vectors also make what is left before the first line and after the last, if there are numbers
        enough for one.
        """
        builder, n = self._builder, self._n
        is_single = vectors == 1 and lanes.lanes > 1
        head, body, done = (builder.append_basic_block() for _ in range(3))
        block = constant(lanes.lanes * vectors)
        builder.branch(head)
        builder.position_at_end(head)
        at = here = builder.load(self._at)
        left = constant(0)
        after = builder.add(at, block)
        is_whole = goes_on = builder.icmp_signed("<=", after, n)
        if is_single:
            end, left = builder.sub(n, block), builder.load(self._left)
            is_before = builder.icmp_signed(">", left, constant(0))
            some = builder.or_(is_before, builder.icmp_signed("<", at, n))
            goes_on = builder.and_(some, builder.icmp_signed(">=", end, constant(0)))
            here = builder.select(is_before, constant(0), builder.select(is_whole, at, end))
            after = builder.select(is_before, at, builder.select(is_whole, after, n))
            is_whole = builder.and_(is_whole, builder.not_(is_before))
        builder.cbranch(goes_on, body, done)
        builder.position_at_end(body)
        made = make(here)
        finite = builder.and_(builder.load(self._finite), lanes.are_finite(made))
        builder.store(finite, self._finite)
        if lanes.lanes == 1:
            lanes.store(made[0], self._address, here)
        else:
            self._write(lanes, made, at, here, left, is_whole)
        if is_single:
            builder.store(constant(0), self._left)
        builder.store(after, self._at)
        builder.branch(head)
        builder.position_at_end(done)

    def _write(
        self, lanes: Lanes, made: Sequence[Any], at: Any, here: Any, left: Any, is_whole: Any
    ) -> None:  # fmt: skip
        builder = self._builder
        places = [k * lanes.lanes for k in range(len(made))]
        streams = builder.icmp_signed("!=", self._streams, constant(0))
        with builder.if_else(streams) as (past_caches, through_caches):
            with past_caches:
                values = self._patched(lanes, made, here, places)
                with builder.if_else(is_whole) as (whole, rest):
                    with whole:
                        for value, more in zip(values, places, strict=True):
                            lanes.stream(value, self._address, here, more)
                    with rest:
                        if len(values) == 1:
                            self._carry(lanes, values[0], at, here, left)
            with through_caches:
                for value, more in zip(made, places, strict=True):
                    lanes.store(value, self._address, here, more)

    def _patched(
        self, lanes: Lanes, made: Sequence[Any], here: Any, places: Sequence[int]
    ) -> Sequence[Any]:  # fmt: skip
        """The vectors with the patches of the zone that they touch; none touch two."""
        builder = self._builder
        # The first zone that ends after the block's begin.
        past = builder.sub(builder.add(here, self._period), self._zone)
        past = builder.sub(past, self._width)
        is_past = builder.icmp_signed(">", past, constant(0))
        k = builder.udiv(builder.select(is_past, past, constant(0)), self._period)
        zone = builder.add(self._zone, builder.mul(k, self._period))
        end = builder.add(here, constant(places[-1] + lanes.lanes))
        values = [cgutils.alloca_once_value(builder, value) for value in made]
        with builder.if_then(builder.icmp_signed("<", zone, end)):
            patch = builder.mul(k, self._width)
            for kept, value, more in zip(values, made, places, strict=True):
                first = builder.sub(zone, builder.add(here, constant(more)))
                last = builder.add(first, self._width)
                found = lanes.load_some(
                    self._patches, builder.sub(patch, first), first, last, value
                )
                builder.store(found, kept)
        return [builder.load(kept) for kept in values]

    def _carry(self, lanes: Lanes, value: Any, at: Any, here: Any, left: Any) -> None:
        """Keep what is made after the row's last line, or complete the line that is kept by what is before.

        Vectors are stored whole, since there is room around the line, and what they write to the row stands
        there, or will, all the same.
        """
        builder, size = self._builder, constant(lanes.size)
        line = builder.add(self._manner, constant(LINE_CARRIED))
        with builder.if_else(builder.icmp_signed(">", left, constant(0))) as (begins, ends):
            with begins:
                before = builder.mul(left, size)
                end = lanes.entry(self._manner, constant(CARRIED_TO), INTEGER)
                with builder.if_else(builder.icmp_signed("==", end, self._address)) as (on, alone):
                    with on:
                        lanes.store(value, builder.sub(line, before), constant(lanes.lanes))
                        last = builder.sub(builder.add(self._address, before), constant(CACHE_LINE))
                        lanes.stream(lanes.load(line, constant(0)), last, constant(0))
                        lanes.put(constant(0), self._manner, CARRIED_TO)
                    with alone:
                        lanes.store(value, self._address, constant(0))
            with ends:
                lanes.store(
                    value, builder.sub(line, builder.mul(builder.sub(at, here), size)), constant(0)
                )
                for column, end in ((CARRIED_FROM, at), (CARRIED_TO, self._n)):
                    place = builder.add(self._address, builder.mul(end, size))
                    lanes.put(place, self._manner, column)
