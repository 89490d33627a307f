"""The short way of plain tensors: a plan laid out once, forwards and backwards, and called by addresses.

Nothing is asked twice of a tensor, and PyTorch remembers as little as it can of a call.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import empty_like, is_grad_enabled
from torch._C import (
    _get_function_stack_at,
    _is_tracing,
    _len_torch_dispatch_stack,
    _len_torch_function_stack,
)
from torch._C._dynamo.eval_frame import get_eval_frame_callback
from torch._C._functorch import is_legacy_batchedtensor, peek_interpreter_stack
from torch.autograd import forward_ad
from torch.utils._device import DeviceContext

from gridgrad.arrays.autograd import Work
from gridgrad.arrays.openmp import team
from gridgrad.arrays.standard import Small
from gridgrad.engines import cpu, jobs, memory
from gridgrad.engines.memory import are_apart, extent, quick_address, span
from gridgrad.engines.recycling import LARGE, maker

_KINDS = (torch.Tensor, torch.nn.Parameter)
_strided = torch.strided
_DTYPES: dict[Any, Any] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
    torch.complex64: np.dtype(np.complex64),
    torch.complex128: np.dtype(np.complex128),
}
# Ways back that a shortcut remembers.
_MOST = 16


def is_plain(x: Any) -> bool:
    """Whether nothing matters but what is in memory."""
    # Asked at every call, so each question is the cheapest that does.
    return (
        type(x) in _KINDS
        and x.layout is _strided
        and not x.is_neg()
        and not x.is_conj()
        and not x._is_zerotensor()
        and forward_ad._current_level < 0
        and peek_interpreter_stack() is None
        and not is_legacy_batchedtensor(x)
        and not _len_torch_dispatch_stack()
        and (not (count := _len_torch_function_stack()) or _are_of_devices(count))
        and get_eval_frame_callback() is None  # the compiler, which has given up on a caller
        and not _is_tracing()
    )


def _are_of_devices(count: int) -> bool:
    """Whether the modes of so many that are on say only where new tensors are made."""
    return all(type(_get_function_stack_at(k)) is DeviceContext for k in range(count))


def layout(x: Any) -> Any:
    """What tells how x lies in memory, and of what it is made; None where more than that matters."""
    if not is_plain(x):
        return None
    dtype = x.dtype
    if x.is_cpu and dtype in _DTYPES:
        return dtype, x.shape, x.is_contiguous() or x.stride()
    # Integers become PyTorch's default dtype.
    return dtype, x.shape, x.stride(), x.device, torch.get_default_dtype()


class Shortcut:
    """`shortcut(inputs, out, read)` makes the outputs of a plan of any inputs of the same layouts."""

    def __init__(self, job: jobs.Run, work: Work, arrays: Sequence[Any]) -> None:
        """`arrays` are the inputs and outputs of a call as NumPy's."""
        x, count = arrays[0], work.plan.outputs
        self.job, self.work, self._count = job, work, work.plan.inputs
        self._shape, self._dtype, self._type = x.shape, x.dtype, work.results[0]
        self._extents = [extent(each.shape, each.strides, each.itemsize) for each in arrays]
        self._is_small = x.flags.c_contiguous and x.nbytes < LARGE
        self._empty, self._align = maker(x.nbytes * count), x.dtype.alignment
        self._outputs = count
        self._fill: Small | None = None
        self.small: Small | None = None
        is_one = self._is_small and self._count == 1
        if is_one and isinstance(job, jobs.Job) and job.is_serial(team()):
            self._fill, self.small = self._for_small(job.kernel, *job.arguments)
        self._ways_back: dict[Any, Callable[[Sequence[Any]], Any]] = {}

    def __call__(
        self, inputs: Sequence[Any], out: Any = None, read: Sequence[Any] = ()
    ) -> tuple[Any, ...] | None:
        if is_grad_enabled():  # which it is not inside of what follows
            for x in inputs:
                if x.requires_grad:
                    return None if out is not None else _follow(self, *inputs)  # type: ignore[no-untyped-call]  # PyTorch does not type it
        if out is None and self._fill is not None:
            return self._fill(inputs[0])
        places = [x.data_ptr() for x in inputs]
        if out is not None:
            outputs = tuple(out)
        elif self._is_small:
            outputs = tuple([empty_like(inputs[0]) for _ in range(self._outputs)])
        else:
            outputs = tuple(_fresh(inputs[0].detach().numpy(), self._dtype, self._outputs))
        places += [x.data_ptr() for x in outputs]
        for place in places:
            if place % self._align:
                return None
        if out is not None:
            if any(x.requires_grad or x.is_inference() for x in out):
                return None
            if not are_apart(places, self._extents, self._count, map(_span, read)):
                return None
            torch.autograd.graph.increment_version(out)
        self.job(places, team())
        return outputs

    def _for_small(self, kernel: Any, call: int, unit: Any) -> tuple[Small, Small]:
        """What gives the outputs of one small tensor: one that lies as it should, and any of its shape."""
        empty, align, dtype = self._empty, self._align, self._dtype
        shape, is_one = (self._outputs, *self._shape), self._outputs == 1

        def fill(x: Any) -> tuple[Any, ...] | None:
            place = x.data_ptr()
            if place % align:
                return None
            if is_one:
                found = empty_like(x)
                kernel(place, found.data_ptr(), call, unit)
                return (found,)
            block = empty(shape, dtype)
            kernel(place, quick_address(block), call, unit)
            return tuple(map(torch.from_numpy, block))

        def small(x: Any) -> tuple[Any, ...] | None:
            if not (is_plain(x) and x.is_contiguous() and x.is_cpu):
                return None
            if x.requires_grad and is_grad_enabled():
                return _follow(self, x)  # type: ignore[no-untyped-call,no-any-return]  # PyTorch does not type it
            return fill(x)

        return fill, small

    def backward(self, needed: tuple[bool, ...], grads: Sequence[Any]) -> list[Any]:
        """The gradients of the inputs that need one, or None where no gradient comes in."""
        key: list[Any] = [needed]
        for grad in grads:
            if grad is None:
                key.append(None)
            elif is_plain(grad):  # of the output's dtype and shape, PyTorch says
                key.append(grad.is_contiguous() or grad.stride())
            else:
                dtypes = [self._type] * self._count
                return self.work.gradients(self._shape, dtypes, needed, grads)
        way = self._ways_back.get(tuple(key))
        if way is None:
            if len(self._ways_back) >= _MOST:
                self._ways_back.clear()
            way = self._ways_back[tuple(key)] = self._find_way_back(needed, grads)
        found: Any = way(grads)
        if found is not None:
            return found  # type: ignore[no-any-return]  # a way gives nothing else
        return self.work.gradients(self._shape, [self._type] * self._count, needed, grads)

    def _find_way_back(self, needed: Sequence[bool], grads: Sequence[Any]) -> Callable[..., Any]:
        given = tuple([k for k, grad in enumerate(grads) if grad is not None])
        wanted, count = self.work.reached(given, needed), self._count
        if not wanted:
            return lambda grads: [None] * count
        work = self.work.backward(self._shape, given, wanted, [self._type] * len(wanted))
        short = shortcut(work, [grads[k] for k in given])
        if short is not None and count == 1 and len(given) == len(grads):
            return short

        def way(grads: Sequence[Any]) -> list[Any]:
            mine = [grads[k] for k in given]
            found = None if short is None else short(mine)
            if found is None:
                found = work(*mine)
            result: list[Any] = [None] * count
            for k, value in zip(wanted, found, strict=True):
                result[k] = value
            return result

        return way


class _Followed(torch.autograd.Function):
    """A shortcut's results where no transform is at work; those ask for more than a short way can give."""

    @staticmethod
    def forward(ctx: Any, shortcut: Shortcut, *inputs: Any) -> tuple[Any, ...]:
        ctx.shortcut = shortcut
        ctx.set_materialize_grads(False)
        found = shortcut(inputs)
        return shortcut.work(*inputs) if found is None else found

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return None, *ctx.shortcut.backward(ctx.needs_input_grad[1:], grads)


# Without the questions about transforms that `Function.apply` asks first: `layout` has asked them.
_follow = super(torch.autograd.Function, _Followed).apply


class OnGpu:
    """The same for one tensor on a GPU, where a call is memory for its outputs and a launch."""

    small: Small | None = None

    def __init__(self, launch: Callable[[Sequence[Any]], bool], work: Work) -> None:
        self._launch, self._work = launch, work

    def __call__(
        self, inputs: Sequence[Any], out: Any = None, read: Sequence[Any] = ()
    ) -> tuple[Any, ...] | None:
        (x,) = inputs
        if x.requires_grad and is_grad_enabled():
            return self._work(x)
        found = tuple([torch.empty_like(x, dtype=dtype) for dtype in self._work.results])
        return found if self._launch((x, *found)) else None


def shortcut(work: Work, inputs: Sequence[Any], out: Any = None) -> Shortcut | None:
    """The short way of all tensors that lie in memory as these, the inputs and `out`, if there is one."""
    x = inputs[0]
    if not x.is_cpu or x.dtype not in _DTYPES or not x.numel():
        return None
    if out is None:
        out = _fresh(x.detach().numpy(), _DTYPES[x.dtype], work.plan.outputs)
    arrays = _as_numpy(inputs, out, work.results, work.computes)
    if not arrays:
        return None
    count, computes = work.plan.inputs, [_DTYPES[dtype] for dtype in work.computes]
    job = cpu.job(work.plan, arrays[:count], arrays[count:], computes)
    return None if job is None else Shortcut(job, work, arrays)


def _as_numpy(inputs: Sequence[Any], outputs: Sequence[Any], *dtypes: Sequence[Any]) -> list[Any]:
    """Inputs and outputs as arrays of NumPy; [] if not all are of those dtypes, and these not of one."""
    tensors, x = [*inputs, *outputs], inputs[0]
    if x.dtype not in _DTYPES or not all(each.is_cpu for each in tensors):
        return []
    if any(dtype != x.dtype for dtype in (*(each.dtype for each in tensors), *chain(*dtypes))):
        return []
    return [each.detach().numpy() for each in tensors]


def _fresh(x: Any, dtype: Any, count: int) -> list[Any]:
    """New tensors that lie in memory as x does, an array of NumPy."""
    return [torch.from_numpy(memory.empty_like(x, dtype)) for _ in range(count)]


def _span(x: Any) -> tuple[int, int]:
    """The same of a tensor, or of an array of NumPy."""
    if isinstance(x, np.ndarray):
        return span(x)
    size = x.element_size()
    first, stop = extent(x.shape, [size * stride for stride in x.stride()], size)
    return x.data_ptr() + first, x.data_ptr() + stop


# The jobs of orders and their numbers of results, by text and layouts; None for what has no short way.
_orders: dict[Any, tuple[jobs.Run, int] | None] = {}


def run_order(
    words: tuple[Any, ...], inputs: Sequence[Any], read: Callable[[], Work]
) -> list[Any] | None:
    """What an order of a compiled program gives, by the short way if there is one.

    `words` tell it from others, and `read` the work that it asks for.
    """
    key: Any = (*words, *map(layout, inputs))
    if None in key:
        return None
    if key not in _orders:
        if len(_orders) >= 1024:
            _orders.clear()
        _orders[key] = _lay_out(read(), inputs)
    found = _orders.get(key)
    if found is None:
        return None
    job, count = found
    made = _memory(inputs[0], count)
    places = [x.data_ptr() for x in (*inputs, *made)]
    align = _DTYPES[inputs[0].dtype].alignment
    for place in places:
        if place % align:
            return None
    job(places, team())
    return made


def _lay_out(work: Work, inputs: Sequence[Any]) -> tuple[jobs.Run, int] | None:
    if inputs[0].dtype not in _DTYPES:
        return None
    count = len(work.computes)
    arrays = _as_numpy(inputs, _memory(inputs[0], count), work.results, work.computes)
    if not arrays:
        return None
    dtypes = [_DTYPES[dtype] for dtype in work.computes]
    job = cpu.job(work.plan, arrays[: len(inputs)], arrays[len(inputs) :], dtypes)
    return None if job is None else (job, count)


def _memory(x: Any, count: int) -> list[Any]:
    """Tensors like x, each in memory of its own, which a program may use again for something else."""
    if x.nbytes < LARGE or not x.is_contiguous():
        return [empty_like(x) for _ in range(count)]
    return _fresh(x.detach().numpy(), _DTYPES[x.dtype], count)
