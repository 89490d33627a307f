"""The CPU engine: runs a plan on arrays in memory, reading each input once and writing each output once.

Arrays of the dtype computed in, whose samples are neighbours in memory along some dim, are read and
written in place. All others (integers, half precision, every second column of an image) pass through
blocks that fit in the cache; no input is ever copied whole.
"""

import math
import os
import threading
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from gridgrad.engines import program
from gridgrad.engines.memory import address, as_pairs, contiguous_strides, memory_order
from gridgrad.engines.recycling import empty
from gridgrad.engines.staging import Inexact, Stages
from gridgrad.engines.tables import compose
from gridgrad.engines.threads import apart, share, threads_here
from gridgrad.plan import Plan

_DTYPES = tuple(np.dtype(name) for name in ("f4", "f8", "c8", "c16"))
# Samples of all results, up to which a second thread costs more than it saves.
SERIAL = 1 << 20
# Samples of all terms, up to which that is so of threads of another's, which begin at once; and samples of
# all results, above which these make no difference any more, while an interrupt would have to wait for them.
TEAMED, LONG = 1 << 18, 1 << 26
# How many times as long a sample takes whose weights are made meanwhile.
MAKING = 8
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


def run(plan: Plan, inputs: Sequence[Any], outputs: Sequence[Any], computes: Sequence[Any]) -> bool:
    """Run a plan on arrays of one shape, of any dtypes and strides, each output computed in its dtype.

    Returns False, for the reference engine to take over, where this engine cannot: what `can_run` says, and
    64-bit integers with too many digits.
    """
    if not can_run(plan, inputs, computes):
        return False
    if inputs[0].size == 0:
        return True
    try:
        for dtype, chosen, part in plan.by_key(computes):
            _run(*_arranged(part, inputs, [outputs[k] for k in chosen], dtype), len(inputs), dtype)
    except Inexact:
        return False
    return True


def can_run(plan: Plan, inputs: Sequence[Any], computes: Sequence[Any]) -> bool:
    """Whether this engine is made for arrays of these dtypes and for the weights of the plan.

    It is not for a dtype that is not single or double precision, nor for weights that are not real numbers.
    """
    if not program.is_runnable(plan) or any(dtype not in _DTYPES for dtype in computes):
        return False
    if any((x.dtype.kind == "c") != (dtype.kind == "c") for dtype in computes for x in inputs):
        return False  # real samples become complex through weights, which this engine has not
    # A number beyond an edge is real, while here every complex number is two.
    return inputs[0].dtype.kind != "c" or not program.reads_a_number(plan)


def job(
    plan: Plan, inputs: Sequence[Any], outputs: Sequence[Any], computes: Sequence[Any]
) -> Run | None:
    """The plan laid out for all arrays that lie in memory as these do.

    None where the kernel can't take arrays in place, and where what is to be kept is large beside them.
    """
    dtype = computes[0]
    if any(each != dtype for each in computes) or not can_run(plan, inputs, computes):
        return None
    size = inputs[0].size
    if size == 0 or (_is_long(plan) and size * max(plan.inputs, plan.outputs) > SERIAL):
        return None
    return _job(*_arranged(plan, inputs, outputs, dtype), len(inputs), dtype)


def _arranged(
    plan: Plan, inputs: Sequence[Any], outputs: Sequence[Any], dtype: Any
) -> tuple[Plan, list[Any]]:
    """The plan and its arrays, these made real, with their dims in the order of memory.

    Terms of one output stay in the order in which they are added up, the last dim's first, so that no bit of
    a sum depends on how arrays lie in memory: one cut into chunks may lie otherwise.
    """
    plan = plan._replace(terms=tuple(sorted(plan.terms, key=lambda term: (term.output, -term.dim))))
    if dtype.kind == "c":
        inputs, outputs = ([as_pairs(x) for x in arrays] for arrays in (inputs, outputs))
    kept = _kept(plan, inputs[0].shape)
    order = tuple(dim for dim in memory_order(inputs[0]) if dim in kept) or (0,)
    if order != tuple(range(inputs[0].ndim)):
        inputs, outputs = ([_rearranged(x, order) for x in arrays] for arrays in (inputs, outputs))
        place = {dim: k for k, dim in enumerate(order)}
        terms = tuple(term._replace(dim=place[term.dim]) for term in plan.terms)
        plan = plan._replace(terms=terms)
    return plan, [*inputs, *outputs]


def _run(plan: Plan, arrays: list[Any], count: int, dtype: Any) -> None:
    """Run a plan on arranged arrays; the first `count` are inputs."""
    direct = _job(plan, arrays, count, dtype)
    if direct is not None:
        direct([address(x) for x in arrays])
    elif plan.between:
        first, second = plan.stages()
        inputs, outputs = arrays[:count], arrays[count:]
        between = [empty(inputs[0].shape, _real(dtype)) for _ in range(plan.between)]
        _run(first, [*inputs, *between], count, dtype)
        _run(second, [*inputs, *between, *outputs], count + plan.between, dtype)
    else:
        _run_staged(plan, arrays, count, _real(dtype))


def _job(plan: Plan, arrays: Sequence[Any], count: int, dtype: Any) -> Run | None:
    """The job for arranged arrays, if they are read and written in place and need be made in one go."""
    dtype = _real(dtype)
    if not all(_is_direct(x, dtype) for x in arrays):
        return None
    shape, strides = arrays[0].shape, tuple(x.strides for x in arrays)

    def make() -> Any:
        if plan.between:
            return Slabs(plan, shape, strides, dtype)
        return Job(plan, shape, strides, dtype)

    if plan.between and program.wraps(plan.stages()[1], 0):
        return None
    found: Run = _remembered(plan, (shape, strides, dtype), make)
    return found


class _Sweep:
    """The kernel with the tables of a plan: it sweeps over boxes of arrays at any addresses."""

    def __init__(
        self, plan: Plan, route: program.Walk, strides: Sequence[Any], dtype: Any, streams: bool = False,
        blocks: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self._tables = compose(plan, route, strides, dtype, streams, blocks)
        self._lines = [term.stencil.line for term in plan.terms]  # whose addresses these hold
        self.told, self.unit = tuple(map(address, self._tables)), _unit(dtype)
        self.kernel = _kernel(dtype)

    def __call__(self, boxes: "_Boxes", addresses: Sequence[int]) -> None:
        call = array("q", [*boxes.told, *self.told, *addresses])
        self.kernel(0, 0, call.buffer_info()[0], self.unit)


class _Boxes:
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
        self._effort = MAKING if any(term.stencil.line is not None for term in plan.terms) else 1
        self._reach, self._itemsize = _reach(plan, self._route), dtype.itemsize
        streams = self._samples * dtype.itemsize > STREAMED
        self._sweep = _Sweep(plan, self._route, strides, dtype, streams, self._blocks(1))
        self._dtype = dtype
        self._tasks: dict[int, list[_Boxes]] = {}  # by the number of threads
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
        self, team: Team, threads: int, tasks: Sequence["_Boxes"], addresses: Sequence[int]
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
        return list(map(_Boxes, np.array_split(boxes, parts)))


class Slabs:
    """The same for a plan with arrays between: slabs of them are made, and used while they are cached."""

    def __init__(self, plan: Plan, shape: Any, strides: Sequence[Any], dtype: Any) -> None:
        first, second = plan.stages()
        plane = math.prod(shape[1:]) * dtype.itemsize * plan.between
        reach, self._samples = program.reach(second, 0), math.prod(shape) * plan.outputs
        rows, threads = _SLAB // max(plane, 1), _threads(self._samples)
        if threads > 1:
            rows = min(rows, -(-shape[0] // (2 * threads)))
        rows = min(shape[0], max(4 * reach, 1, rows))
        self._slab = (plan.between, rows + 2 * reach, *shape[1:])
        self._count, self._dtype = plan.inputs, dtype
        ins, outs = strides[: plan.inputs], strides[plan.inputs :]
        own = [contiguous_strides(self._slab[1:], dtype.itemsize)] * plan.between
        route = program.walk(shape, [*strides, *own], dtype.itemsize)
        self._makes = _Sweep(first, route, [*ins, *own], dtype)
        streams = self._samples * dtype.itemsize > STREAMED
        self._uses = _Sweep(second, route, [*ins, *own, *outs], dtype, streams)
        blocks = program.cached_blocks(route, _reach(plan, route), dtype.itemsize, 1)
        self._plane = own[0][0]
        self._tasks = []
        for start in range(0, shape[0], rows):
            stop = min(start + rows, shape[0])
            low, high = max(0, start - reach), min(shape[0], stop + reach)
            made, used = (
                program.boxes(route, blocks, each) for each in ((low, high), (start, stop))
            )
            self._tasks.append((low, _Boxes(made), _Boxes(used)))

    def __call__(self, addresses: Sequence[int], team: Team | None = None) -> None:
        ins, outs = addresses[: self._count], addresses[self._count :]

        def work(tasks: Iterable[Any]) -> None:
            held = np.empty(self._slab, self._dtype)
            for low, made, used in tasks:
                # The addresses at which sample 0 would stand if the slab were the whole.
                own = [address(x) - low * self._plane for x in held]
                self._makes(made, [*ins, *own])
                self._uses(used, [*ins, *own, *outs])

        threads = _threads(self._samples)
        share(work, apart(self._tasks, threads), threads)


def _threads(samples: int) -> int:
    """How many threads are worth their cost for so many samples of results."""
    return threads_here() if samples > SERIAL else 1


def _run_staged(plan: Plan, arrays: list[Any], count: int, dtype: Any) -> None:
    """The same where some arrays pass through blocks."""
    shape = arrays[0].shape
    direct = [_is_direct(x, dtype) for x in arrays]
    kept = tuple(x.strides if here else None for x, here in zip(arrays, direct, strict=True))
    route = program.walk(shape, [each for each in kept if each], dtype.itemsize)
    whole = [program.wraps(plan, dim) for dim in range(route.split + 1)]
    stages = Stages(arrays, count, direct, route, _reach(plan, route), whole, dtype)
    sweep = _remembered(
        plan, (shape, kept, dtype), lambda: _Sweep(plan, route, stages.strides, dtype)
    )

    def work(parts: Iterable[Any]) -> None:
        with np.errstate(all="ignore"):  # each thread has its own
            stages.work(parts, lambda boxes, addresses: sweep(_Boxes(boxes), addresses))

    boxes = list(program.boxes(route, stages.blocks))
    threads = _threads(arrays[0].size * plan.outputs)
    share(work, apart(boxes, threads), threads)


def _reach(plan: Plan, route: program.Walk) -> list[int]:
    return [program.reach(plan, dim) for dim in range(route.split + 1)]


_tables: dict[Any, Any] = {}


def _remembered(plan: Plan, how: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    """What was made for a plan, kept if its axes are short, so that its stencils are themselves kept."""
    if _is_long(plan):
        return make()
    terms = tuple([(*term[:3], id(term.stencil)) for term in plan.terms])
    key = (plan.inputs, plan.outputs, terms, *how)
    found = _tables.get(key)  # one look: another thread may clear them at any time
    if found is None:
        if len(_tables) >= 256:
            _tables.clear()
        # The stencils are kept too, so that their identities stay theirs.
        found = _tables[key] = (plan, make())
    return found[1]


def _is_long(plan: Plan) -> bool:
    """Whether weights are too many to keep, or not kept by the stencils themselves."""
    return any(
        each.line is not None or np.size(each.interior.weights[0]) > 4096
        for each in (term.stencil for term in plan.terms)
    )


def _real(dtype: Any) -> Any:
    """The dtype of the real numbers that complex ones are made of."""
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


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


def _kept(plan: Plan, shape: Sequence[int]) -> list[int]:
    """The dims that matter: those of one sample do not, unless a part of a longer one has a term there."""
    dims = {term.dim for term in plan.terms}
    return [dim for dim, n in enumerate(shape) if n > 1 or dim in dims]


def _rearranged(x: Any, order: tuple[int, ...]) -> Any:
    """The dims of x in that order; those left out have one sample, and strides that mean nothing."""
    left_out = tuple(dim for dim in range(x.ndim) if dim not in order)
    return x.transpose(*left_out, *order)[(0,) * len(left_out)]


def _is_direct(x: Any, dtype: Any) -> bool:
    """Whether the kernel can read or write x where it is."""
    size = dtype.itemsize
    return bool(
        x.dtype == dtype
        and (x.strides[-1] == size or x.shape[-1] == 1)
        and address(x) % size == 0
        and not any(stride % size for stride in x.strides)
    )
