"""Jobs: plans laid out for arrays of one layout, and the threads that sweep over them with the kernel."""

import math
import os
import threading
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from gridgrad.engines import program
from gridgrad.engines.memory import address, contiguous_strides
from gridgrad.engines.tables import compose
from gridgrad.engines.threads import apart, share, threads_here
from gridgrad.plan import Plan

# Samples of all results, up to which a second thread costs more than it saves.
SERIAL = 1 << 20
# Samples of all terms, up to which that is so of threads of another's, which begin at once; and samples of
# all results, above which these make no difference any more, while an interrupt would have to wait for them.
TEAMED, LONG = 1 << 18, 1 << 26
# How many times as long a sample takes whose weights are made meanwhile.
_MAKING = 8
# Bytes of all results, above which no cache would keep them for whoever reads them next: they are written
# past the caches, which saves reading what they replace.
STREAMED = 1 << 25
# Bytes of the arrays between that a thread makes at a time.
_SLAB = 1 << 22


# What runs a plan on arrays of one layout, by the addresses of their samples at index 0, inputs first.
class Run(Protocol):
    def __call__(self, addresses: Sequence[int], team: "Team | None" = None) -> None: ...


# What has a function of C run in threads of another's: its address, that of its argument, and how many.
Team = Callable[[int, int, int], None]


class Sweep:
    """The kernel with the tables of a plan: it sweeps over boxes of arrays at any addresses."""

    def __init__(
        self, plan: Plan, route: program.Walk, strides: Sequence[Any], dtype: Any, streams: bool = False,
        blocks: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self._tables = compose(plan, route, strides, dtype, streams, blocks)
        self._lines = [term.stencil.line for term in plan.terms]  # whose addresses these hold
        self.told, self.unit = tuple(map(address, self._tables)), _unit(dtype)
        self.kernel = _kernel(dtype)

    def __call__(self, boxes: "Boxes", addresses: Sequence[int]) -> None:
        call = array("q", [*boxes.told, *self.told, *addresses])
        self.kernel(0, 0, call.buffer_info()[0], self.unit)


class Boxes:
    """A table of boxes, and what the kernel is told of it."""

    __slots__ = ("table", "told")

    def __init__(self, table: Any) -> None:
        self.table = table
        self.told = len(table), address(table)


class Job:
    """A plan laid out for arrays of one layout."""

    def __init__(self, plan: Plan, shape: Any, strides: Sequence[Any], dtype: Any) -> None:
        self._route = program.walk(shape, strides, dtype.itemsize)
        self._samples, self._work = (math.prod(shape) * n for n in (plan.outputs, len(plan.terms)))
        self._effort = _MAKING if any(term.stencil.line is not None for term in plan.terms) else 1
        self._reach, self._itemsize = reach_of(plan, self._route), dtype.itemsize
        streams = self._samples * dtype.itemsize > STREAMED
        self._sweep = Sweep(plan, self._route, strides, dtype, streams, self._blocks(1))
        self._dtype = dtype
        self._tasks: dict[int, list[Boxes]] = {}  # by the number of threads
        self._tables: dict[int, Any] = {}
        (self._whole,) = self._cut(1)
        # For one small input, and outputs one after another, the work is nothing and the way to it all,
        # so that no more is left to do than kernel(address of the input, of the outputs, *arguments).
        size = math.prod(shape) * dtype.itemsize
        sweep, outputs = self._sweep, range(0, plan.outputs * size, size)
        self._call = array("q", [*self._whole.told, *sweep.told, 0, *outputs])
        self.kernel, self.arguments = sweep.kernel, (self._call.buffer_info()[0], sweep.unit)

    def __call__(self, addresses: Sequence[int], team: Team | None = None) -> None:
        if self.is_serial(team):
            self._sweep(self._whole, addresses)
            return
        threads = threads_here()
        tasks = self._tasks.get(threads)
        if tasks is None:
            tasks = self._tasks[threads] = apart(self._cut(threads), threads)
        if team is not None and threads > 1 and self._samples <= LONG:
            self._by(team, threads, tasks, addresses)
            return

        def work(parts: Iterable[Any]) -> None:
            for part in parts:
                self._sweep(part, addresses)

        share(work, tasks, threads)

    def is_serial(self, team: Team | None) -> bool:
        """Whether other threads would cost more than they save."""
        work, least = (self._samples, SERIAL) if team is None else (self._work, TEAMED)
        return bool(work * self._effort <= least)

    def _by(
        self, team: Team, threads: int, tasks: Sequence["Boxes"], addresses: Sequence[int]
    ) -> None:  # fmt: skip
        """Have each task's table ready for the kernel, and threads of another's take one after another."""
        given = self._tables.get(threads)
        if given is None:
            rows = [[*task.told, *self._sweep.told, *addresses] for task in tasks]
            given = self._tables[threads] = np.array(rows, np.int64)
        given = given.copy()
        given[:, -len(addresses) :] = addresses
        worker, one = _worker(self._dtype)
        state = array("q", [one, 0, len(given), address(given), given.strides[0]])
        team(worker, state.buffer_info()[0], min(threads, len(given)))

    def _blocks(self, threads: int) -> list[int]:
        return program.cached_blocks(self._route, self._reach, self._itemsize, threads)

    def _cut(self, threads: int) -> list[Any]:
        """Tables of boxes, several for each thread, so that none waits long for another at the end."""
        boxes = program.boxes(self._route, self._blocks(threads))
        parts = min(len(boxes), 16 * threads if threads > 1 else 1)
        return list(map(Boxes, np.array_split(boxes, parts)))


class Slabs:
    """The same for a plan with arrays between: slabs of them are made, and used while they are cached."""

    def __init__(self, plan: Plan, shape: Any, strides: Sequence[Any], dtype: Any) -> None:
        first, second = plan.stages()
        plane = math.prod(shape[1:]) * dtype.itemsize * plan.between
        reach, self._samples = program.reach(second, 0), math.prod(shape) * plan.outputs
        rows, threads = _SLAB // max(plane, 1), threads_for(self._samples)
        if threads > 1:
            rows = min(rows, -(-shape[0] // (2 * threads)))
        rows = min(shape[0], max(4 * reach, 1, rows))
        self._slab = (plan.between, rows + 2 * reach, *shape[1:])
        self._count, self._dtype = plan.inputs, dtype
        ins, outs = strides[: plan.inputs], strides[plan.inputs :]
        own = [contiguous_strides(self._slab[1:], dtype.itemsize)] * plan.between
        route = program.walk(shape, [*strides, *own], dtype.itemsize)
        self._makes = Sweep(first, route, [*ins, *own], dtype)
        streams = self._samples * dtype.itemsize > STREAMED
        self._uses = Sweep(second, route, [*ins, *own, *outs], dtype, streams)
        blocks = program.cached_blocks(route, reach_of(plan, route), dtype.itemsize, 1)
        self._plane = own[0][0]
        self._tasks = []
        for start in range(0, shape[0], rows):
            stop = min(start + rows, shape[0])
            low, high = max(0, start - reach), min(shape[0], stop + reach)
            made, used = (
                program.boxes(route, blocks, each) for each in ((low, high), (start, stop))
            )
            self._tasks.append((low, Boxes(made), Boxes(used)))

    def __call__(self, addresses: Sequence[int], team: Team | None = None) -> None:
        ins, outs = addresses[: self._count], addresses[self._count :]

        def work(tasks: Iterable[Any]) -> None:
            held = np.empty(self._slab, self._dtype)
            for low, made, used in tasks:
                # The addresses at which sample 0 would stand if the slab were the whole.
                own = [address(x) - low * self._plane for x in held]
                self._makes(made, [*ins, *own])
                self._uses(used, [*ins, *own, *outs])

        threads = threads_for(self._samples)
        share(work, apart(self._tasks, threads), threads)


def threads_for(samples: int) -> int:
    """How many threads are worth their cost for so many samples of results."""
    return threads_here() if samples > SERIAL else 1


def reach_of(plan: Plan, route: program.Walk) -> list[int]:
    return [program.reach(plan, dim) for dim in range(route.split + 1)]


def _unit(dtype: Any) -> Any:
    return 1.0 if dtype == np.float64 else np.float32(1)


_kernels: dict[Any, Any] = {}
_workers: dict[Any, tuple[Any, int]] = {}
_compiling = threading.RLock()


def _kernel(dtype: Any) -> Any:
    found = _kernels.get(dtype)
    if found is None:
        with _compiling:
            from gridgrad.engines import compiled  # Numba is imported when it is first needed

            found = _kernels[dtype] = compiled.kernel(dtype)
    return found


def _worker(dtype: Any) -> tuple[int, int]:
    """The address of what each thread of another's runs, and the bits of the 1 that tells it the dtype."""
    found = _workers.get(dtype)
    if found is None:
        _kernel(dtype)
        with _compiling:
            from gridgrad.engines import compiled

            one = int.from_bytes(np.ones(1, dtype).tobytes(), "little")
            found = _workers[dtype] = compiled.worker(dtype), one
    return found[0].address, found[1]


if hasattr(os, "register_at_fork"):
    # A child forked while Numba is imported or compiles would wait for its locks for ever. This comes after
    # `threads` has imported the pool and with it `logging`: hooks run from the last registered to the first,
    # and whoever compiles asks for logging's lock while holding this one.
    os.register_at_fork(
        before=_compiling.acquire,
        after_in_parent=_compiling.release,
        after_in_child=_compiling.release,
    )
