"""PyTorch tensors."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any

import array_api_compat.torch as xp
import numpy as np
import torch

from gridgrad.arrays.autograd import Followed, Work, follow
from gridgrad.arrays.numpy import share_memory
from gridgrad.arrays.shortcut import OnGpu, layout, shortcut
from gridgrad.arrays.standard import Quick, Standard
from gridgrad.arrays.tensors import (
    as_numpy,
    extent,
    from_numpy,
    holds_ranks,
    inside_transform,
    is_asked,
    is_differentiated,
    is_distributed,
    is_hidden,
    is_memory,
    is_nowhere,
    is_transforming,
    is_watched,
    laid_out,
    promoted,
)
from gridgrad.engines import cpu
from gridgrad.engines.memory import BFLOAT16, empty_like
from gridgrad.engines.program import is_runnable
from gridgrad.errors import GridError, GridTypeError
from gridgrad.plan import Plan


def _unread(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the compiler must not read, as it tries to where it has given up on a caller.

    It would put tensors in the place of NumPy's numbers. It is told when it is there: that takes its import.
    """
    found: list[Any] = []

    @wraps(function)
    def call(*arguments: Any) -> Any:
        if not found:
            if "torch._dynamo" not in sys.modules:
                return function(*arguments)
            found.append(torch.compiler.disable(function))  # type: ignore[no-untyped-call]  # PyTorch does not type it
        return found[0](*arguments)

    return call


# Coordinates of these dtypes may be compared as NumPy's.
_READABLE = (torch.float32, torch.float64, torch.int32, torch.int64)


class Torch(Standard):
    """PyTorch, on any device."""

    def __init__(self, of_ranks: Callable[[], Standard] | None = None) -> None:
        """`of_ranks` gives the library of DTensors, which a transform may hold."""
        super().__init__(xp)
        self.name, self._of_ranks = "torch", of_ranks

    def owns(self, value: Any) -> bool:
        # A transform may hold DTensors, which are told from others where it is done.
        return isinstance(value, torch.Tensor) and (not is_distributed(value) or is_transforming())

    def kind(self, x: Any, name: str) -> str:
        if x.layout != torch.strided:
            raise GridTypeError(f"{name} must be a dense tensor, but its layout is {x.layout}.")
        if x.dtype.is_floating_point and x.dtype.itemsize >= 2:
            return "real"
        if x.dtype.is_complex:
            return "complex"
        if x.dtype == torch.bool or not self.xp.isdtype(x.dtype, "integral"):
            raise self.refused(x, name)
        return "integer"

    def values(self, x: Any) -> Any:
        return None if x.device.type == _GPU else self.read(x)  # nothing waits for a GPU

    def read(self, x: Any) -> Any:
        """The values of x on any device as a NumPy array, or None where a transform keeps them to itself."""
        if self._of_ranks is not None and is_distributed(x):
            found = self._of_ranks()
            found.check_device(x, x, "spacing")
            return found.values(x)
        if is_hidden(x):
            return None
        if is_transforming():
            return inside_transform(x)
        x = x.detach().cpu().resolve_conj().resolve_neg()
        return (x.float() if x.dtype == torch.bfloat16 else x).numpy()

    def is_followed(self, x: Any) -> bool:
        if self._of_ranks is not None and is_distributed(x):
            return self._of_ranks().is_followed(x)
        return is_hidden(x) or is_differentiated(x) or is_asked(x) or self.values(x) is None

    def check_device(self, x: Any, input: Any, name: str) -> None:
        # A step on the CPU is a number to other devices, too.
        if x.device != input.device and not (x.ndim == 0 and x.device.type == "cpu"):
            raise GridError(
                f"{name} must be on the input's device, {input.device}, but is on {x.device}."
            )

    def floating(self, x: Any) -> Any:
        is_inexact = x.dtype.is_floating_point or x.dtype.is_complex
        return x.dtype if is_inexact else torch.get_default_dtype()

    def default_floating(self) -> Any:
        return torch.get_default_dtype()

    def has_double(self, x: Any) -> bool:
        return bool(x.device.type != "mps")

    def promote(self, a: Any, b: Any) -> Any:
        return promoted(a, b)

    def is_symbolic(self, number: Any) -> bool:
        return isinstance(number, (torch.SymFloat, torch.SymInt))

    def tensor(self, values: Any, input: Any) -> Any:
        if isinstance(values, np.ndarray):
            values = torch.as_tensor(values)
            is_wide = values.dtype == torch.float64 and not self.has_double(input)
            return values.to(input.device, torch.float32 if is_wide else values.dtype)
        wide = torch.float64 if self.has_double(input) else None
        if self.is_symbolic(values):
            # A product, which the compiler makes for any number; `torch.tensor` it makes anew for each.
            return torch.ones((), dtype=wide, device=input.device) * values
        if isinstance(values, (list, tuple)) and any(map(self.is_symbolic, values)):
            return torch.stack([self.tensor(value, input) for value in values])
        if isinstance(values, (list, tuple)) and any(
            isinstance(value, complex) for value in values
        ):
            wide = torch.complex128 if self.has_double(input) else None
        return torch.tensor(values, dtype=wide, device=input.device)

    def join(self, pieces: Sequence[tuple[Any, Any, Any]], dim: int) -> Any:
        return torch.cat([piece for _, _, piece in pieces], dim)

    def quiet(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def check_writable(self, array: Any, k: int) -> None:
        is_inferred = not torch.compiler.is_compiling() and array.is_inference()
        if is_inferred and not torch.is_inference_mode_enabled():
            raise GridError(
                f"out[{k}] was made in inference mode, and must not be changed outside it."
            )
        if array.requires_grad and array.is_leaf and torch.is_grad_enabled():
            raise GridError(f"out[{k}] requires a gradient, which writing into it would break.")
        if any(
            stride == 0 and n > 1 for stride, n in zip(array.stride(), array.shape, strict=True)
        ):
            raise GridError(
                f"out[{k}] must not be an expanded tensor, whose elements share memory."
            )

    def overlap(self, a: Any, b: Any) -> bool:
        if isinstance(b, np.ndarray):
            return is_memory(a) and share_memory(as_numpy(a), b)
        if not isinstance(b, torch.Tensor) or a.device != b.device:
            return False
        if is_memory(a) and is_memory(b):
            return share_memory(as_numpy(a), as_numpy(b))
        if is_nowhere(a) or is_nowhere(b):
            return a is b
        (a_first, a_last), (b_first, b_last) = extent(a), extent(b)
        return bool(a_first < b_last and b_first < a_last)

    def is_fast(self, plan: Plan, inputs: Sequence[Any], computes: Sequence[Any]) -> bool:
        return (
            all(map(is_memory, inputs))
            and all(dtype in _NUMPY for dtype in computes)
            and cpu.can_run(plan, [as_numpy(x) for x in inputs], [_NUMPY[c] for c in computes])
        )

    layout = staticmethod(layout)

    def content(self, x: Any) -> Any:
        where = layout(x)
        if where is None or not x.is_cpu or x.requires_grad or x.dtype not in _READABLE:
            return super().content(x)
        found = super().content(x.numpy())
        return None if found is None else (x.dtype, *found)

    def quick(
        self, plan: Plan, inputs: Sequence[Any], results: Sequence[Any], computes: Sequence[Any], out: Any
    ) -> Quick | None:  # fmt: skip
        work = Work(self.run, plan, results, computes)
        if inputs[0].device.type != _GPU:
            return shortcut(work, inputs, out)
        if len(inputs) > 1 or out is not None or not inputs[0].is_contiguous():
            return None
        from gridgrad.engines import triton

        launch = triton.repeated(plan, inputs[0].detach(), results, computes)
        return None if launch is None else OnGpu(launch, work)

    def run(
        self,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
        out: Sequence[Any] | None = None,
    ) -> tuple[Any, ...]:
        if torch.overrides.has_torch_function(inputs):  # subclasses and modes have their say
            found: tuple[Any, ...] = torch.overrides.handle_torch_function(
                self.run, inputs, plan, inputs, results, computes, out
            )
            return found
        if self._of_ranks is not None and any(map(holds_ranks, inputs)):
            if not is_runnable(plan):
                raise GridError(
                    "A spacing that is complex, or that a transform differentiates or batches, is not "
                    "offered for DTensors."
                )
            if any(map(is_distributed, inputs)):
                return self._of_ranks().run(plan, inputs, results, computes, out)
        if any(map(is_watched, inputs)) and _is_known(plan):
            found = follow(Followed, Work(self.run, plan.owning(), results, computes), inputs)
            if out is None:
                return found
            return tuple(array.copy_(value) for array, value in zip(out, found, strict=True))
        if inputs[0].device.type == _GPU:
            found = _on_gpu(plan, inputs, results, computes, out)
            return found or super().run(plan, inputs, results, computes, out)
        if all(is_memory(x) for x in (*inputs, *(out or ()))) and all(
            c in _NUMPY for c in computes
        ):
            # A transform of other tensors would wrap what is made of these.
            with torch._C._DisableFuncTorch():
                found = self._on_memory(plan, inputs, results, computes, out)
            if found:
                return found
        found = super().run(plan, inputs, results, computes, out)
        return found if out is not None else tuple(laid_out(x, inputs[0]) for x in found)

    @_unread
    def _on_memory(
        self, plan: Plan, inputs: Sequence[Any], results: Sequence[Any], computes: Sequence[Any], out: Any
    ) -> tuple[Any, ...]:  # fmt: skip
        """What the CPU engine makes of tensors that are memory of this machine; () if it cannot."""
        if out is None and not inputs[0].numel() and is_runnable(plan):
            # NumPy's strides would all be 0.
            return tuple(torch.empty_like(inputs[0], dtype=dtype) for dtype in results)
        arrays = [as_numpy(x) for x in inputs]
        if out is None:
            outputs = [empty_like(arrays[0], _NUMPY[dtype]) for dtype in results]
        else:
            outputs = [as_numpy(x) for x in out]
        if not cpu.run(plan, arrays, outputs, [_NUMPY[dtype] for dtype in computes]):
            return ()
        if out is None:
            return tuple(from_numpy(x) for x in outputs)
        torch.autograd.graph.increment_version(out)
        return tuple(out)


@_unread
def _on_gpu(
    plan: Plan, inputs: Sequence[Any], results: Sequence[Any], computes: Sequence[Any], out: Any
) -> tuple[Any, ...]:
    """What the GPU engine makes of tensors on one GPU; () if it cannot."""
    from gridgrad.engines import triton  # it imports Triton when it is first needed

    if not _is_known(plan):
        return triton.refuse(
            "weights are complex, or PyTorch differentiates, batches or traces them"
        )
    if not all(is_memory(x, _GPU) for x in (*inputs, *(out or ()))):
        return triton.refuse(
            "tensors are transformed, of a subclass, or to be conjugated when read"
        )
    with torch._C._DisableFuncTorch():
        outputs = out or [torch.empty_like(inputs[0], dtype=dtype) for dtype in results]
        if not triton.run(plan, inputs, outputs, computes):
            return ()
        if out:
            torch.autograd.graph.increment_version(out)
    return tuple(outputs)


# The kind of device that the GPU engine runs on; ROCm's go by this name too. Tests put another in its place.
_GPU = "cuda"
_NUMPY = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
    torch.complex64: np.dtype(np.complex64),
    torch.complex128: np.dtype(np.complex128),
    torch.float16: np.dtype(np.float16),
    torch.bfloat16: BFLOAT16,
}


def _is_known(plan: Plan) -> bool:
    """Whether weights are real numbers, on a GPU perhaps, that nobody differentiates, batches or traces."""
    if is_runnable(plan):
        return True
    weights = [
        number
        for term in plan.terms
        for row in (*term.stencil.lower, term.stencil.interior, *term.stencil.upper)
        for number in (*row.weights, row.divisor)
        if isinstance(number, torch.Tensor)
    ]
    if not weights or not all(is_memory(weight, _GPU) for weight in weights):
        return False
    from gridgrad.engines import triton

    return triton.is_runnable(plan)
