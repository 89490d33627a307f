"""The CPU engine: runs a plan on arrays in memory, reading each input once and writing each output once.

Arrays of the dtype computed in, whose samples are neighbours in memory along some dim, are read and
written in place. All others (integers, half precision, every second column of an image) pass through
blocks that fit in the cache; no input is ever copied whole.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gridgrad.engines import jobs, program
from gridgrad.engines.jobs import Boxes, Job, Run, Slabs, Sweep, reach_of, threads_for
from gridgrad.engines.memory import address, as_pairs, memory_order
from gridgrad.engines.recycling import empty
from gridgrad.engines.staging import Inexact, Stages
from gridgrad.engines.threads import apart, share
from gridgrad.plan import Plan

_DTYPES = tuple(np.dtype(name) for name in ("f4", "f8", "c8", "c16"))


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
    if size == 0 or (_is_long(plan) and size * max(plan.inputs, plan.outputs) > jobs.SERIAL):
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


def _run_staged(plan: Plan, arrays: list[Any], count: int, dtype: Any) -> None:
    """The same where some arrays pass through blocks."""
    shape = arrays[0].shape
    direct = [_is_direct(x, dtype) for x in arrays]
    kept = tuple(x.strides if here else None for x, here in zip(arrays, direct, strict=True))
    route = program.walk(shape, [each for each in kept if each], dtype.itemsize)
    whole = [program.wraps(plan, dim) for dim in range(route.split + 1)]
    stages = Stages(arrays, count, direct, route, reach_of(plan, route), whole, dtype)
    sweep = _remembered(
        plan, (shape, kept, dtype), lambda: Sweep(plan, route, stages.strides, dtype)
    )

    def work(parts: Iterable[Any]) -> None:
        with np.errstate(all="ignore"):  # each thread has its own
            stages.work(parts, lambda boxes, addresses: sweep(Boxes(boxes), addresses))

    boxes = list(program.boxes(route, stages.blocks))
    threads = threads_for(arrays[0].size * plan.outputs)
    share(work, apart(boxes, threads), threads)


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
    return any(term.stencil.is_long for term in plan.terms)


def _real(dtype: Any) -> Any:
    """The dtype of the real numbers that complex ones are made of."""
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


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
