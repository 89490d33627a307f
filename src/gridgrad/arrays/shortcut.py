"""The short way of small tensors: a plan laid out once, forwards and backwards, and called by addresses.

On a GPU it is that of all sizes. Nothing is asked twice of a tensor, and PyTorch remembers as little as it
can of a call.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch._C._dynamo.eval_frame import get_eval_frame_callback

from gridgrad.arrays.autograd import Work
from gridgrad.engines import cpu
from gridgrad.engines.memory import quick_address
from gridgrad.engines.recycling import empty
from gridgrad.plan import Plan

_KINDS = (torch.Tensor, torch.nn.Parameter)
_DTYPES = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


def is_plain(x: Any) -> Any:
    """Whether x is memory that an engine may take as it is: True on a CPU, its device on a GPU."""
    # Asked at every call, so each question is the cheapest that does.
    return (
        type(x) in _KINDS
        and x.layout is torch.strided
        and x.is_contiguous()
        and not x.is_neg()
        and torch.autograd.forward_ad._current_level < 0
        and torch._C._functorch.peek_interpreter_stack() is None
        and not torch._C._functorch.is_legacy_batchedtensor(x)
        and torch._C._len_torch_dispatch_stack() == 0
        and get_eval_frame_callback() is None  # the compiler, which has given up on a caller
        and (x.is_cpu or (x.is_cuda and x.device))
    )


class Shortcut:
    """`shortcut(x)` makes the outputs of any plain x of one shape and dtype."""

    def __init__(self, job: cpu.SmallJob, work: Work) -> None:
        self._job, self._work = job, work  # the job's tables must live
        self._shape, self._dtype = job.shape, job.dtype
        self._kernel, self._arguments, self._one = job.kernel, job.arguments, job.shape[0] == 1
        self._backward: cpu.SmallJob | None = None

    def __call__(self, x: Any) -> tuple[Any, ...]:
        if x.requires_grad and torch.is_grad_enabled():
            found: tuple[Any, ...] = _follow(self, x)  # type: ignore[no-untyped-call]  # PyTorch does not type it
            return found
        return self.run(x)

    def run(self, x: Any) -> tuple[Any, ...]:
        if self._one:
            one = torch.empty_like(x)
            self._kernel(x.data_ptr(), one.data_ptr(), *self._arguments)
            return (one,)
        out = empty(self._shape, self._dtype)
        self._kernel(x.data_ptr(), quick_address(out), *self._arguments)
        return tuple(map(torch.from_numpy, out))

    def backward(self, grads: Sequence[Any]) -> Any:
        """The gradient of x, or None where no gradient comes in."""
        if not all(
            grad is not None and is_plain(grad) is True and not grad.requires_grad for grad in grads
        ):
            return self._work.gradients(self._shape[1:], (self._work.results[0],), (True,), grads)[
                0
            ]
        job = self._backward
        if job is None:
            like = grads[0].numpy()
            job = cpu.SmallJob(self._work.plan.adjoint(self._shape[1:]), like)
            self._backward = job
        found = torch.empty_like(grads[0])
        if self._one:
            job.kernel(grads[0].data_ptr(), found.data_ptr(), *job.arguments)
        else:
            job.call([*(grad.data_ptr() for grad in grads), found.data_ptr()])
        return found


class _Followed(torch.autograd.Function):
    """A shortcut's results where no transform is at work; those ask for more than a short way can give."""

    @staticmethod
    def forward(ctx: Any, shortcut: Shortcut, x: Any) -> tuple[Any, ...]:
        ctx.shortcut = shortcut
        ctx.set_materialize_grads(False)
        return shortcut.run(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return None, ctx.shortcut.backward(grads)


# Without the questions about transforms that `Function.apply` asks first: `is_plain` has asked them.
_follow = super(torch.autograd.Function, _Followed).apply


class OnGpu:
    """The same on a GPU, where a plan is laid out: a call is memory for its outputs and a launch."""

    def __init__(self, launch: Callable[[Sequence[Any]], bool], work: Work) -> None:
        self._launch, self._work = launch, work

    def __call__(self, x: Any) -> tuple[Any, ...]:
        if not (x.requires_grad and torch.is_grad_enabled()):
            found = tuple(torch.empty_like(x, dtype=dtype) for dtype in self._work.results)
            if self._launch((x, *found)):
                return found
        return self._work(x)


def shortcut(plan: Plan, x: Any, work: Work) -> Shortcut | None:
    """The short way for all plain tensors of this dtype and shape, if there is one."""
    job = _job(plan, x, work.computes)
    return None if job is None else Shortcut(job, work)


def _job(plan: Plan, x: Any, computes: Sequence[Any]) -> cpu.SmallJob | None:
    if x.dtype not in _DTYPES or any(dtype not in _DTYPES for dtype in computes):
        return None
    return cpu.small_job(plan, x.detach().numpy(), [_DTYPES[dtype] for dtype in computes])


# The work of orders, by their text and by the shape and dtype of plain tensors; None for what is not small.
_orders: dict[Any, cpu.SmallJob | None] = {}


def run_order(
    text: str, part: Callable[[Any], Plan], inputs: Sequence[Any], computes: Sequence[Any]
) -> list[Any] | None:
    """What an order of a compiled program gives, by the short way if there is one."""
    x = inputs[0]
    if not all(is_plain(each) is True and each.dtype == x.dtype for each in inputs):
        return None
    key = text, x.shape, x.dtype
    if key not in _orders:
        if len(_orders) >= 1024:
            _orders.clear()
        _orders[key] = _job(part(x.shape), x, computes)
    job = _orders.get(key)
    if job is None:
        return None
    # Each in memory of its own, which the program may use again for something else.
    found = [torch.empty_like(x) for _ in computes]
    job.call([each.data_ptr() for each in (*inputs, *found)])
    return found
