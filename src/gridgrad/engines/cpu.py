"""The CPU engine: runs a plan on arrays in memory, reading each input once and writing each output once.

Arrays of the dtype computed in, whose samples are neighbours in memory along some dim, are read and
written in place. All others (integers, half precision, every second column of an image) pass through
blocks that fit in the cache; no input is ever copied whole.
"""

import math
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gridgrad.engines import program
from gridgrad.engines.memory import address, contiguous_strides, memory_order
from gridgrad.engines.recycling import empty
from gridgrad.engines.staging import Inexact, Stages
from gridgrad.engines.tables import compose
from gridgrad.engines.threads import share, threads_here
from gridgrad.plan import Plan

_DTYPES = tuple(np.dtype(name) for name in ("f4", "f8", "c8", "c16"))
# Samples of all results, up to which a second thread costs more than it saves.
SERIAL = 1 << 20
# Bytes of the arrays between that a thread makes at a time.
_SLAB = 1 << 22


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
            _prepare(part, inputs, [outputs[k] for k in chosen], dtype)
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


class SmallJob:
    """A plan laid out once for contiguous real arrays of one shape and dtype.

    For small arrays the work is nothing and the way to it everything, so that no choice is left to make:
    `kernel(address of x, address of the outputs, *arguments)`, where the outputs lie one after another.
    With several inputs, or outputs in memory of their own, it is `call(addresses of all of them)`.
    """

    def __init__(self, plan: Plan, x: Any) -> None:
        kept = _kept(plan, x.shape)
        shape = tuple(x.shape[dim] for dim in kept)
        place = {dim: k for k, dim in enumerate(kept)}
        terms = tuple(term._replace(dim=place[term.dim]) for term in plan.terms)
        plan = Plan(plan.inputs, plan.outputs, terms)
        strides = [contiguous_strides(shape, x.itemsize)] * (plan.inputs + plan.outputs)
        route = program.walk(shape, strides, x.itemsize)
        tables, weights = compose(plan, route, strides, x.dtype)
        boxes = program.boxes(
            route, program.cached_blocks(route, _reach(plan, route), x.itemsize, 1)
        )
        results = [k * x.nbytes for k in range(plan.outputs)]
        tables[-2 - len(strides) :] = [len(boxes), address(boxes), *[0] * plan.inputs, *results]
        self._held = tables, weights, boxes
        self.shape, self.dtype = (plan.outputs, *x.shape), x.dtype
        self.arguments = address(tables), address(weights), _unit(x.dtype)
        self.kernel = _kernel(x.dtype)

    def call(self, addresses: Sequence[int]) -> None:
        tables = self._held[0].copy()  # another thread may be here
        tables[-len(addresses) :] = addresses
        self.kernel(0, 0, address(tables), *self.arguments[1:])


def small_job(plan: Plan, x: Any, computes: Sequence[Any]) -> SmallJob | None:
    """A job for all contiguous arrays of this dtype and shape, if x is small and the kernel can do it."""
    fits = (
        plan.between == 0
        and 0 < x.size * max(plan.inputs, plan.outputs) <= SERIAL
        and program.is_runnable(plan)
        and all(dtype == x.dtype for dtype in computes)
    )
    return SmallJob(plan, x) if fits and x.dtype in _DTYPES[:2] and x.dtype.isnative else None


def _prepare(plan: Plan, inputs: Sequence[Any], outputs: Sequence[Any], dtype: Any) -> None:
    """Make the arrays real and put their dims in the order of memory."""
    if dtype.kind == "c":
        inputs, outputs = ([_as_pairs(x) for x in arrays] for arrays in (inputs, outputs))
        dtype = np.dtype(f"f{dtype.itemsize // 2}")
    kept = _kept(plan, inputs[0].shape)
    order = tuple(dim for dim in memory_order(inputs[0]) if dim in kept) or (0,)
    if order != tuple(range(inputs[0].ndim)):
        inputs, outputs = ([_rearranged(x, order) for x in arrays] for arrays in (inputs, outputs))
        place = {dim: k for k, dim in enumerate(order)}
        terms = tuple(term._replace(dim=place[term.dim]) for term in plan.terms)
        plan = plan._replace(terms=terms)
    run = _run_between if plan.between else _run
    run(plan, [*inputs, *outputs], len(inputs), dtype)


def _run_between(plan: Plan, arrays: list[Any], count: int, dtype: Any) -> None:
    """The same for a plan with arrays between: slabs of them are made, and used while they are cached."""
    first, second = plan.stages()
    shape, inputs, outputs = arrays[0].shape, arrays[:count], arrays[count:]
    plane = math.prod(shape[1:]) * dtype.itemsize * plan.between
    reach = program.reach(second, 0)
    rows = max(4 * reach, 1, _SLAB // max(plane, 1))
    if (
        rows >= shape[0]
        or program.wraps(second, 0)
        or not all(_is_direct(x, dtype) for x in arrays)
    ):
        between = [empty(shape, dtype) for _ in range(plan.between)]
        _run(first, [*inputs, *between], count, dtype)
        _run(second, [*inputs, *between, *outputs], count + plan.between, dtype)
        return
    slab = (rows + 2 * reach, *shape[1:])
    strides = [x.strides for x in arrays]
    theirs = [contiguous_strides(slab, dtype.itemsize)] * plan.between
    route = program.walk(shape, [*strides, *theirs], dtype.itemsize)
    makes = compose(first, route, [*strides[:count], *theirs], dtype)
    uses = compose(second, route, [*strides[:count], *theirs, *strides[count:]], dtype)
    blocks = program.cached_blocks(route, _reach(plan, route), dtype.itemsize, 1)
    ins, outs = ([address(x) for x in each] for each in (inputs, outputs))

    def work(starts: Iterable[int]) -> None:
        held = np.empty((plan.between, *slab), dtype)
        for start in starts:
            stop = min(start + rows, shape[0])
            low, high = max(0, start - reach), min(shape[0], stop + reach)
            # The addresses at which sample 0 would stand if the slab were the whole.
            own = [address(x) - low * x.strides[0] for x in held]
            _call(makes, program.boxes(route, blocks, (low, high)), [*ins, *own], dtype)
            _call(uses, program.boxes(route, blocks, (start, stop)), [*ins, *own, *outs], dtype)

    threads = threads_here() if arrays[0].size * plan.outputs > SERIAL else 1
    share(work, list(range(0, shape[0], rows)), threads)


def _call(laid_out: tuple[Any, Any], boxes: Any, origins: list[int], dtype: Any) -> None:
    """Run the kernel on boxes of arrays whose samples 0 stand at these addresses."""
    tables, weights = laid_out
    mine = tables.copy()  # each thread its own
    mine[len(tables) - 2 - len(origins) :] = [len(boxes), address(boxes), *origins]
    _kernel(dtype)(0, 0, address(mine), address(weights), _unit(dtype))


def _run(plan: Plan, arrays: list[Any], count: int, dtype: Any) -> None:
    """The same for real arrays whose dims are in the order of memory; the first `count` are inputs."""
    shape = arrays[0].shape
    direct = [_is_direct(x, dtype) for x in arrays]
    threads = threads_here() if arrays[0].size * plan.outputs > SERIAL else 1
    if all(direct):
        strides = tuple(x.strides for x in arrays)
        *laid_out, tasks = _remembered(
            plan,
            (shape, strides, dtype, threads),
            lambda: _lay_out(plan, shape, strides, dtype, threads),
        )
        origins = [address(x) for x in arrays]

        def work(parts: Iterable[Any]) -> None:
            for part in parts:
                call(part, origins)

    else:
        kept = tuple(x.strides if here else None for x, here in zip(arrays, direct, strict=True))
        route = program.walk(shape, [each for each in kept if each], dtype.itemsize)
        whole = [program.wraps(plan, dim) for dim in range(route.split + 1)]
        stages = Stages(arrays, count, direct, route, _reach(plan, route), whole, dtype)
        laid_out = _remembered(
            plan, (shape, kept, dtype), lambda: compose(plan, route, stages.strides, dtype)
        )
        tasks = list(program.boxes(route, stages.blocks))

        def work(parts: Iterable[Any]) -> None:
            with np.errstate(all="ignore"):  # each thread has its own
                stages.work(parts, call)

    def call(boxes: Any, origins: Any) -> None:
        _call((laid_out[0], laid_out[1]), boxes, origins, dtype)

    share(work, tasks, threads)


def _lay_out(
    plan: Plan, shape: tuple[int, ...], strides: Sequence[Any], dtype: Any, threads: int
) -> tuple[Any, Any, list[Any]]:
    """The kernel's tables and weights for arrays that it reads and writes in place, and tables of boxes.

    There are several for each thread, so that none waits long for another at the end.
    """
    route = program.walk(shape, strides, dtype.itemsize)
    blocks = program.cached_blocks(route, _reach(plan, route), dtype.itemsize, threads)
    boxes = program.boxes(route, blocks)
    tasks = np.array_split(boxes, min(len(boxes), 16 * threads if threads > 1 else 1))
    return (*compose(plan, route, strides, dtype), tasks)


def _reach(plan: Plan, route: program.Walk) -> list[int]:
    return [program.reach(plan, dim) for dim in range(route.split + 1)]


_tables: dict[Any, Any] = {}


def _remembered(plan: Plan, how: tuple[Any, ...], make: Callable[[], tuple[Any, ...]]) -> Any:
    """What was made for a plan, kept if its axes are short, so that its stencils are themselves kept."""
    stencils = tuple(term.stencil for term in plan.terms)
    if any(each.line is not None or np.size(each.interior.weights[0]) > 4096 for each in stencils):
        return make()
    terms = tuple((*term[:3], id(term.stencil)) for term in plan.terms)
    key = (plan.inputs, plan.outputs, terms, *how)
    found = _tables.get(key)  # one look: another thread may clear them at any time
    if found is None:
        if len(_tables) >= 256:
            _tables.clear()
        # The stencils are kept too, so that their identities stay theirs.
        found = _tables[key] = (stencils, make())
    return found[1]


def _unit(dtype: Any) -> Any:
    return 1.0 if dtype == np.float64 else np.float32(1)


_kernels: dict[Any, Any] = {}
_compiling = threading.RLock()


def _kernel(dtype: Any) -> Any:
    found = _kernels.get(dtype)
    if found is None:
        with _compiling:
            from gridgrad.engines import compiled  # Numba is imported when it is first needed

            found = _kernels[dtype] = compiled.kernel(dtype)
    return found


if hasattr(os, "register_at_fork"):
    # A child forked while Numba is imported or compiles would wait for its locks for ever. This comes after
    # `threads` has imported the pool and with it `logging`: hooks run from the last registered to the first,
    # and whoever compiles asks for logging's lock while holding this one.
    os.register_at_fork(
        before=_compiling.acquire,
        after_in_parent=_compiling.release,
        after_in_child=_compiling.release,
    )


def _as_pairs(x: Any) -> Any:
    """Complex numbers as a last dim of real and imaginary parts."""
    half = x.dtype.itemsize // 2
    return np.ndarray(
        (*x.shape, 2), f"{x.dtype.byteorder}f{half}", x, strides=(*x.strides, half)
    ) if x.flags.c_contiguous else np.lib.stride_tricks.as_strided(
        x.real, (*x.shape, 2), (*x.strides, half)
    )  # fmt: skip


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
