"""The CPU engine: runs a plan on arrays in memory, reading each input once and writing each output once.

Arrays of the dtype computed in, whose samples are neighbours in memory along some dim, are read and
written in place. All others (integers, half precision, every second column of an image) pass through
blocks that fit in the cache; no input is ever copied whole.
"""

import ctypes
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gridgrad.engines import program
from gridgrad.engines.threads import share, threads_here
from gridgrad.plan import Plan

# PyTorch's bfloat16, which NumPy has no dtype for, comes as this.
BFLOAT16 = np.dtype([("bfloat16", np.uint16)])

_DTYPES = tuple(np.dtype(name) for name in ("f4", "f8", "c8", "c16"))
# Samples below which a second thread costs more than it saves.
SERIAL = 1 << 16
# Samples of a block that is converted or gathered.
_BLOCK = 1 << 15
# Bytes of the planes around a plane, above which they are cut into blocks of so many bytes to stay cached.
_PLANES, _PLANE_BLOCK = 1 << 23, 1 << 18

Box = tuple[
    tuple[int, int], ...
]  # for each dim up to the walk's `split`, the first and one past the last


class _Inexact(Exception):
    """64-bit integers that double precision does not hold; the reference engine takes them apart."""


def empty_like(x: Any, dtype: Any) -> Any:
    """A new array of the shape of x, laid out in memory in the same order of dims.

    NumPy asks for large pages, which makes first use of fresh memory several times cheaper.
    """
    order = memory_order(x)
    if order == tuple(range(x.ndim)):
        return np.empty(x.shape, dtype)
    return np.empty([x.shape[dim] for dim in order], dtype).transpose(np.argsort(order))


def memory_order(x: Any) -> tuple[int, ...]:
    """The dims from the longest stride to the shortest; as they are if samples share memory."""
    strides = x.strides
    if 0 in strides and any(s == 0 and n > 1 for s, n in zip(strides, x.shape, strict=True)):
        return tuple(range(x.ndim))
    return tuple(sorted(range(x.ndim), key=lambda dim: -abs(strides[dim])))


def run(plan: Plan, inputs: Sequence[Any], outputs: Sequence[Any], computes: Sequence[Any]) -> bool:
    """Run a plan on arrays of one shape, of any dtypes and strides, each output computed in its dtype.

    Returns False, for the reference engine to take over, where this engine cannot: a dtype that is not
    single or double precision, weights that are not real numbers, 64-bit integers with too many digits.
    """
    if not program.is_runnable(plan) or any(dtype not in _DTYPES for dtype in computes):
        return False
    if any((x.dtype.kind == "c") != (dtype.kind == "c") for dtype in computes for x in inputs):
        return False  # real samples become complex through weights, which this engine has not
    if inputs[0].size == 0:
        return True
    try:
        for dtype in dict.fromkeys(computes):
            chosen = [k for k, each in enumerate(computes) if each == dtype]
            part = plan if len(chosen) == len(computes) else plan.only(chosen)
            _prepare(part, inputs, [outputs[k] for k in chosen], dtype)
    except _Inexact:
        return False
    return True


class SmallJob:
    """A plan of one input, laid out once for contiguous real arrays of one shape and dtype.

    For small arrays the work is nothing and the way to it everything, so that no choice is left to make:
    `kernel(address of x, address of the outputs, *arguments)`, where the outputs lie one after another.
    """

    def __init__(self, plan: Plan, x: Any) -> None:
        shape = tuple(n for n in x.shape if n > 1)
        place = {dim: k for k, dim in enumerate(d for d, n in enumerate(x.shape) if n > 1)}
        terms = tuple(term._replace(dim=place[term.dim]) for term in plan.terms)
        plan = Plan(1, plan.outputs, terms)
        strides = [_contiguous_strides(shape, x.itemsize)] * (1 + plan.outputs)
        route = program.walk(shape, strides, x.itemsize)
        tables, weights = program.compose(plan, route, strides, x.dtype)
        box = tables[len(tables) - (2 * route.split + 3 + plan.outputs) :]
        box[route.split : 2 * route.split] = shape[: route.split]
        box[2 * route.split + 1] = route.length
        box[2 * route.split + 3 :] = np.arange(plan.outputs) * x.nbytes
        self._held = tables, weights
        self.shape, self.dtype = (plan.outputs, *x.shape), x.dtype
        self.arguments = address(tables), address(weights), _unit(x.dtype)
        self.kernel = _kernel(x.dtype)


def small_job(plan: Plan, x: Any, computes: Sequence[Any]) -> SmallJob | None:
    """A job for all contiguous arrays of this dtype and shape, if x is small and the kernel can do it."""
    fits = (
        0 < x.size <= SERIAL
        and program.is_runnable(plan)
        and all(dtype == x.dtype for dtype in computes)
    )
    return SmallJob(plan, x) if fits and x.dtype in _DTYPES[:2] and x.dtype.isnative else None


def _prepare(plan: Plan, inputs: Sequence[Any], outputs: Sequence[Any], dtype: Any) -> None:
    """Make the arrays real and put their dims in the order of memory."""
    if dtype.kind == "c":
        inputs, outputs = ([_as_pairs(x) for x in arrays] for arrays in (inputs, outputs))
        dtype = np.dtype(f"f{dtype.itemsize // 2}")
    order = tuple(dim for dim in memory_order(inputs[0]) if inputs[0].shape[dim] > 1) or (0,)
    if order != tuple(range(inputs[0].ndim)):
        inputs, outputs = ([_rearranged(x, order) for x in arrays] for arrays in (inputs, outputs))
        place = {dim: k for k, dim in enumerate(order)}
        terms = tuple(term._replace(dim=place[term.dim]) for term in plan.terms)
        plan = Plan(plan.inputs, plan.outputs, terms)
    _run(plan, [*inputs, *outputs], len(inputs), dtype)


def _run(plan: Plan, arrays: list[Any], count: int, dtype: Any) -> None:
    """The same for real arrays whose dims are in the order of memory; the first `count` are inputs."""
    shape, size = arrays[0].shape, dtype.itemsize
    direct = [_is_direct(x, dtype) for x in arrays]
    route = program.walk(
        shape, [x.strides for x, here in zip(arrays, direct, strict=True) if here], size
    )
    reach = [program.reach(plan, dim) for dim in range(route.split + 1)]
    threads = threads_here() if arrays[0].size > SERIAL else 1
    if all(direct):
        blocks = _pieces(route, reach, size, threads)
        strides = [x.strides for x in arrays]
        halos = [[0] * len(reach)] * len(arrays)
    else:
        blocks = _cache_blocks(route, reach)
        halos = [reach if k < count else [0] * len(reach) for k in range(len(arrays))]
        whole = shape[route.split + 1 :]
        stage_shapes = [
            (*(min(b + 2 * h, n) for b, h, n in zip(blocks, halo, shape, strict=False)), *whole)
            for halo in halos
        ]
        strides = [
            x.strides if here else _contiguous_strides(stage, size)
            for x, here, stage in zip(arrays, direct, stage_shapes, strict=True)
        ]
    tables, weights = _composed(plan, route, strides, dtype)
    kernel = _kernel(dtype)
    dims = route.split

    def work(boxes: Iterable[Box]) -> None:
        with np.errstate(all="ignore"):  # each thread has its own
            run_boxes(boxes)

    def run_boxes(boxes: Iterable[Box]) -> None:
        mine = tables.copy()
        box_of = mine[len(mine) - (2 * dims + 2 + len(arrays)) :]
        origins = box_of[2 * dims + 2 :]
        origins[: len(arrays)] = [address(x) for x in arrays]
        stages = [
            None if here else np.empty(stage_shapes[k], dtype) for k, here in enumerate(direct)
        ]
        for box in boxes:
            windows = []
            for k, (x, stage) in enumerate(zip(arrays, stages, strict=True)):
                if stage is None:
                    continue
                reached = [
                    (max(0, a - h), min(n, b + h))
                    for (a, b), h, n in zip(box, halos[k], shape, strict=False)
                ]
                held = stage[tuple(slice(b - a) for a, b in reached)]
                theirs = x[tuple(slice(a, b) for a, b in reached)]
                windows.append((k, held, theirs))
                # The address at which sample 0 would stand if the stage went on for ever.
                skipped = sum(a * s for (a, _), s in zip(reached, strides[k], strict=False))
                origins[k] = address(stage) - skipped
                if k < count:
                    _load(held, theirs)
            for dim, (a, b) in enumerate(box[:-1]):
                box_of[dim], box_of[dims + dim] = a, b
            box_of[2 * dims : 2 * dims + 2] = np.multiply(box[-1], route.period)
            kernel(0, 0, address(mine), address(weights), _unit(dtype))
            for k, held, theirs in windows:
                if k >= count:
                    _store(theirs, held)

    share(work, _boxes(route, blocks), threads)


_tables: dict[Any, Any] = {}


def _composed(plan: Plan, route: program.Walk, strides: Sequence[Any], dtype: Any) -> Any:
    """`program.compose`, remembered for short axes, whose stencils are themselves remembered."""
    stencils = tuple(term.stencil for term in plan.terms)
    if any(np.size(each.interior.weights[0]) > 4096 for each in stencils):
        return program.compose(plan, route, strides, dtype)
    terms = tuple((*term[:3], id(term.stencil)) for term in plan.terms)
    key = (plan.inputs, plan.outputs, terms, route.shape, route.split, tuple(strides), dtype)
    found = _tables.get(key)  # one look: another thread may clear them at any time
    if found is None:
        if len(_tables) >= 256:
            _tables.clear()
        # The stencils are kept with the tables, so that their identities stay theirs.
        found = _tables[key] = (stencils, *program.compose(plan, route, strides, dtype))
    return found[1:]


def address(x: Any) -> int:
    """Where the sample at index 0 of every dim stands."""
    return int(x.__array_interface__["data"][0])


def quick_address(x: Any) -> int:
    """The address of a contiguous array, in a third of the time that NumPy takes to tell it."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(x))
    except TypeError:  # read-only
        return address(x)


def _unit(dtype: Any) -> Any:
    return 1.0 if dtype == np.float64 else np.float32(1)


def _kernel(dtype: Any) -> Any:
    from gridgrad.engines import compiled  # Numba is imported when it is first needed

    return compiled.kernel(dtype)


def _as_pairs(x: Any) -> Any:
    """Complex numbers as a last dim of real and imaginary parts."""
    half = x.dtype.itemsize // 2
    return np.ndarray(
        (*x.shape, 2), f"{x.dtype.byteorder}f{half}", x, strides=(*x.strides, half)
    ) if x.flags.c_contiguous else np.lib.stride_tricks.as_strided(
        x.real, (*x.shape, 2), (*x.strides, half)
    )  # fmt: skip


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


def _contiguous_strides(shape: Sequence[int], size: int) -> tuple[int, ...]:
    return tuple(size * math.prod(shape[k + 1 :]) for k in range(len(shape)))


def _pieces(route: program.Walk, reach: list[int], size: int, threads: int) -> list[int]:
    """Blocks that give each thread several tasks and keep the planes that a plane reads in the cache."""
    blocks = list(route.shape[: route.split + 1])
    if route.split > 0 and reach[0] and blocks[0] > 1:
        plane = math.prod(route.shape[1:]) * size
        if plane * (2 * reach[0] + 1) > _PLANES:
            blocks[1] = max(8 * reach[1], 1, _PLANE_BLOCK * blocks[1] // plane)
    wanted = 4 * threads if threads > 1 else 1
    for dim in (1, 0, *range(2, len(blocks))) if len(blocks) > 1 else (0,):
        n = route.shape[dim]
        found = -(-n // blocks[dim])
        if found < wanted and not (dim == 1 and found == 1 and route.shape[0] >= wanted):
            blocks[dim] = -(-n // min(n, wanted))
            found = -(-n // blocks[dim])
        wanted = -(-wanted // found)
    return blocks


def _cache_blocks(route: program.Walk, reach: list[int]) -> list[int]:
    """Blocks of about _BLOCK samples, wider along dims whose neighbours a block must bring along."""
    shape = route.shape[: route.split + 1]
    blocks = [1] * len(shape)
    blocks[-1] = min(shape[-1], max(1, 1024 // route.period))
    while True:
        size = math.prod(b + 2 * r for b, r in zip(blocks, reach, strict=True)) * route.period
        open_dims = [d for d, n in enumerate(shape) if blocks[d] < n]
        if size * 2 > _BLOCK or not open_dims:
            return blocks
        narrowest = min(open_dims, key=lambda d: (reach[d] == 0, blocks[d] / (reach[d] or 1), -d))
        blocks[narrowest] = min(2 * blocks[narrowest], shape[narrowest])


def _boxes(route: program.Walk, blocks: Sequence[int]) -> list[Box]:
    cuts = [
        [(a, min(a + block, n)) for a in range(0, n, block)]
        for n, block in zip(route.shape, blocks, strict=False)
    ]
    return list(itertools.product(*cuts))


def _load(target: Any, source: Any) -> None:
    if source.dtype == BFLOAT16:
        np.copyto(target, (source["bfloat16"].astype(np.uint32) << 16).view(np.float32))
        return
    np.copyto(target, source, casting="unsafe")
    if source.dtype.kind in "iu" and source.dtype.itemsize == 8 and np.abs(target).max() >= 2**53:
        raise _Inexact


def _store(target: Any, source: Any) -> None:
    if target.dtype == BFLOAT16:
        bits = source.astype(np.float32).view(np.uint32)
        rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
        # Rounding must not carry the digits of a NaN over into its exponent.
        target["bfloat16"] = np.where(np.isnan(source), 0x7FC0, rounded)
        return
    np.copyto(target, source, casting="unsafe")
