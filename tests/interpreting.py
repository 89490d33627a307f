"""The GPU engine without a GPU: its kernel under Triton's interpreter, on tensors in memory."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch

from gridgrad import calls
from gridgrad.arrays import shortcut
from gridgrad.arrays import torch as library
from gridgrad.engines import triton as engine
from gridgrad.engines import triton_walk
from gridgrad.plan import Plan


@contextmanager
def interpreting(samples: int = 1024, longest: int = 128) -> Iterator[None]:
    """Run kernels in tiles of so many samples, fast, and without warnings of what is not a number.

    The interpreter patches Triton's language once for a kernel, and again, to no use, for each function that
    it calls: half of its time.
    """
    import triton.language as tl
    from triton.runtime import interpreter

    patch, patched = interpreter._patch_lang, {}

    def patch_once(function: Any) -> Any:
        """Once for each module, whose functions share what they see of the language."""
        module = id(function.__globals__)
        if module not in patched:
            patched[module] = patch(function)
        return mock.Mock()

    cast = interpreter.InterpreterBuilder.cast_impl

    def rounded(self: Any, source: Any, target: Any) -> Any:
        """As a GPU does, to the nearest; the interpreter truncates to bfloat16, and that of float32 only."""
        kinds = source.dtype.scalar, target.scalar
        if tl.bfloat16 not in kinds or kinds[0] == kinds[1]:
            return cast(self, source, target)
        data = torch.from_numpy(np.array(source.data))
        if kinds[0] == tl.bfloat16:
            data = data.view(torch.bfloat16).double().numpy()
            return interpreter.TensorHandle(
                data.astype(interpreter._get_np_dtype(target)), target.scalar
            )
        data = data.float().to(torch.bfloat16).view(torch.uint16)
        return interpreter.TensorHandle(data.numpy(), target.scalar)

    with ExitStack() as stack:
        enter = stack.enter_context
        enter(mock.patch.object(interpreter.InterpreterBuilder, "cast_impl", rounded))
        enter(np.errstate(all="ignore"))
        enter(mock.patch.multiple(triton_walk, _SAMPLES=samples, _LONGEST=longest))
        enter(mock.patch.dict(engine._launches, clear=True))
        enter(mock.patch.object(interpreter, "_patch_lang", patch_once))
        stack.callback(lambda: [scope.restore() for scope in reversed(patched.values())])
        yield


@contextmanager
def on_memory(jobs: bool = False) -> Iterator[None]:
    """Send CPU tensors the way that CUDA tensors go, remembering calls that are repeated or without."""
    layout = shortcut.layout if jobs else lambda x: None
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(library, "_GPU", "cpu"))
        stack.enter_context(mock.patch.object(library.Torch, "layout", staticmethod(layout)))
        stack.enter_context(mock.patch.dict(calls._known, clear=True))
        yield


def run(plan: Plan, inputs: Sequence[Any], outputs: Sequence[Any], computes: Sequence[Any]) -> None:
    """The GPU engine on tensors in memory; nothing else may run the plan."""
    assert engine.run(plan, inputs, outputs, computes), engine.reason_not(
        plan, inputs, outputs, computes
    )
