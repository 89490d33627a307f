"""Arrays that the kernel can't read or write in place pass through blocks that fit in the cache."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gridgrad.differences import parts
from gridgrad.engines import program
from gridgrad.engines.memory import BFLOAT16, address, contiguous_strides


class Inexact(Exception):
    """64-bit integers that double precision does not hold, beside samples of another kind."""


class Stages:
    """The blocks of one call, and what goes in and out of them; `count` of the arrays are inputs."""

    def __init__(
        self,
        arrays: Sequence[Any],
        count: int,
        direct: Sequence[bool],
        route: program.Walk,
        reach: list[int],
        whole: Sequence[bool],
        dtype: Any,
    ) -> None:
        shape = arrays[0].shape
        self.blocks = program.staged_blocks(route, reach, whole)
        self._arrays, self._count, self._route, self._dtype = arrays, count, route, dtype
        # An input's blocks have a halo of what the stencils read beyond them.
        self._halos = [reach if k < count else [0] * len(reach) for k in range(len(arrays))]
        rest = shape[route.split + 1 :]
        self._shapes = [
            None if here else
            (*(min(b + 2 * h, n) for b, h, n in zip(self.blocks, halo, shape, strict=False)), *rest)
            for here, halo in zip(direct, self._halos, strict=True)
        ]  # fmt: skip
        self.strides = [
            x.strides if stage is None else contiguous_strides(stage, dtype.itemsize)
            for x, stage in zip(arrays, self._shapes, strict=True)
        ]

    def work(self, boxes: Iterable[Any], call: Callable[[Any, Any], None]) -> None:
        """Load, compute by `call` and store each box; each thread has blocks of its own."""
        dims, shape = self._route.split, self._route.shape
        origins = [address(x) for x in self._arrays]
        stages = [None if each is None else np.empty(each, self._dtype) for each in self._shapes]
        for box in boxes:
            period = self._route.period
            ranges = [
                *zip(box[:dims], box[dims : 2 * dims], strict=True),
                box[2 * dims :] // period,
            ]
            windows, wide = [], False
            for k, (x, stage) in enumerate(zip(self._arrays, stages, strict=True)):
                if stage is None:
                    continue
                reached = [
                    (max(0, int(a) - h), min(n, int(b) + h))
                    for (a, b), h, n in zip(ranges, self._halos[k], shape, strict=False)
                ]
                held = stage[tuple(slice(b - a) for a, b in reached)]
                theirs = x[tuple(slice(a, b) for a, b in reached)]
                windows.append((k, held, theirs))
                # The address at which sample 0 would stand if the stage went on for ever.
                skipped = sum(a * s for (a, _), s in zip(reached, self.strides[k], strict=False))
                origins[k] = address(stage) - skipped
                if k < self._count and _load(held, theirs):
                    wide = True
            call(box[None], origins)
            if wide:
                self._add_rest(box, origins, windows, ranges, call)
            for k, held, theirs in windows:
                if k >= self._count:
                    _store(theirs, held)

    def _add_rest(
        self,
        box: Any,
        origins: list[int],
        windows: Sequence[tuple[int, Any, Any]],
        ranges: Sequence[Any],
        call: Callable[[Any, Any], None],
    ) -> None:
        """The same for what integers of 64 bits are more than the doubles next to them, and the sum of both.

        Where that is nothing the results stay what they are, so that no sample's depend on others beyond its
        reach.
        """
        staged = {k: held for k, held, _ in windows}
        if any(k not in staged for k in range(self._count)):
            raise Inexact
        here = tuple(slice(int(a), int(b)) for a, b in ranges)
        outputs = [
            staged[k] if k in staged else self._arrays[k][here]
            for k in range(self._count, len(self._arrays))
        ]
        before = [x.copy() for x in outputs]
        for k, held, theirs in windows:
            if k < self._count:
                _load_rest(held, theirs)
        call(box[None], origins)
        for x, first in zip(outputs, before, strict=True):
            np.copyto(x, np.where(x == 0, first, first + x))


def _load(target: Any, source: Any) -> bool:
    """Whether the target does not hold all digits of the source."""
    if source.dtype == BFLOAT16:
        np.copyto(target, (source["bfloat16"].astype(np.uint32) << 16).view(np.float32))
        return False
    np.copyto(target, source, casting="unsafe")
    is_long = source.dtype.kind in "iu" and source.dtype.itemsize == 8
    return is_long and bool(np.abs(target).max() >= 2**53)


def _load_rest(target: Any, source: Any) -> None:
    """What the source is more than `_load` made of it."""
    if source.dtype.kind not in "iu" or source.dtype.itemsize < 8:
        target[...] = 0
        return
    top, low = parts(source, np.dtype(np.float64), np)
    np.copyto(target, (top - source.astype(np.float64)) + low, casting="unsafe")


def _store(target: Any, source: Any) -> None:
    if target.dtype == BFLOAT16:
        bits = source.astype(np.float32).view(np.uint32)
        rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
        # Rounding must not carry the digits of a NaN over into its exponent.
        target["bfloat16"] = np.where(np.isnan(source), 0x7FC0, rounded)
        return
    np.copyto(target, source, casting="unsafe")
