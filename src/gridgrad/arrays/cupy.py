"""CuPy arrays: on the GPU engine where PyTorch is loaded, by DLPack; else by CuPy's own operations."""

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gridgrad.arrays.standard import Standard, name_of
from gridgrad.plan import Plan


def _of_module(name: str) -> "CuPy":
    return CuPy(importlib.import_module(name))


class CuPy(Standard):
    """CuPy. Nothing is copied on the way to PyTorch's kernels and back, and streams wait for each other."""

    def __reduce__(self) -> Any:
        return _of_module, (self.xp.__name__,)

    def values(self, x: Any) -> Any:
        return None  # nothing waits for a GPU

    def is_followed(self, x: Any) -> bool:
        return True

    def run(
        self,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
        out: Sequence[Any] | None = None,
    ) -> tuple[Any, ...]:
        # Whoever uses CuPy alone is not made to wait for PyTorch's import.
        if "torch" in sys.modules:
            found = self._on_gpu(plan, inputs, results, computes)
            if found:
                return found
        return super().run(plan, inputs, results, computes, out)

    def _on_gpu(
        self, plan: Plan, inputs: Sequence[Any], results: Sequence[Any], computes: Sequence[Any]
    ) -> tuple[Any, ...]:
        """What the GPU engine makes of the same memory; () if it cannot."""
        import torch
        from torch.utils.dlpack import from_dlpack

        from gridgrad.engines import triton

        def dtypes(own: Sequence[Any]) -> list[Any]:
            return [getattr(torch, name_of(dtype)) for dtype in own]

        with torch.no_grad():
            given = [from_dlpack(x) for x in inputs]
            outputs = [torch.empty_like(given[0], dtype=dtype) for dtype in dtypes(results)]
            if not triton.run(_with_weights(plan, from_dlpack), given, outputs, dtypes(computes)):
                return ()
        return tuple(self.xp.from_dlpack(x) for x in outputs)


def _with_weights(plan: Plan, convert: Callable[[Any], Any]) -> Plan:
    """The plan with its weights converted, where they are no numbers; the same if they all are."""

    def row(each: Any) -> Any:
        if isinstance(each.weights[0], (float, np.ndarray)):
            return each
        return each._replace(weights=tuple(map(convert, each.weights)))

    terms = []
    for term in plan.terms:
        rows = (*term.stencil.lower, term.stencil.interior, *term.stencil.upper)
        if all(row(each) is each for each in rows):
            terms.append(term)
            continue
        stencil = term.stencil._replace(
            lower=tuple(map(row, term.stencil.lower)),
            interior=row(term.stencil.interior),
            upper=tuple(map(row, term.stencil.upper)),
        )
        terms.append(term._replace(stencil=stencil))
    return plan._replace(terms=tuple(terms))
