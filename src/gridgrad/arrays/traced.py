"""PyTorch tensors while `torch.compile` or `torch.export` reads this code."""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import torch

from gridgrad.arrays.autograd import Differentiated, Work, follow
from gridgrad.arrays.operator import (
    Order,
    as_text,
    fuse_by,
    has_symbols,
    is_constant,
    is_symbolic,
    register,
)
from gridgrad.arrays.standard import Standard, name_of
from gridgrad.arrays.torch import Torch, is_transforming
from gridgrad.caching import remember
from gridgrad.engines.program import is_runnable
from gridgrad.plan import Plan


class Traced(Torch):
    """PyTorch while its compiler reads this code."""

    def overlap(self, a: Any, b: Any) -> bool:
        return a is b  # nothing has an address yet

    def join(self, pieces: Sequence[tuple[Any, Any, Any]], dim: int) -> Any:
        if pieces[0][2].device.type == "cpu":
            return super().join(pieces, dim)
        # A sum of padded pieces is one expression for each sample, which the compiler fuses with what comes
        # before and after; a concatenation is memory of its own, which costs a GPU more.
        n = pieces[-1][1]
        padded = []
        for first, last, piece in pieces:
            around = [0] * (2 * (piece.ndim - dim))
            around[-2:] = first, n - last
            padded.append(torch.constant_pad_nd(piece, around))
        return reduce(add, padded)

    def is_symbolic(self, number: Any) -> bool:
        return super().is_symbolic(number) or is_symbolic(number)

    def layout(self, x: Any) -> Any:
        return None

    def run(
        self,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
        out: Sequence[Any] | None = None,
    ) -> tuple[Any, ...]:
        if out is not None:
            made = self.run(plan, inputs, results, computes)
            return tuple(array.copy_(value) for array, value in zip(out, made, strict=True))
        # A symbol is no part of an order, nor of a function with a backward pass of its own.
        if has_symbols(plan):
            return Standard.run(self, plan, inputs, results, computes)
        if self._on_engine(plan, inputs, computes):
            order = Order(
                plan,
                tuple(map(name_of, results)),
                tuple(map(name_of, computes)),
                tuple(range(plan.inputs)),
                tuple(range(plan.outputs)),
            )
            _prepare()
            return tuple(_operator(inputs, as_text(order)))
        if torch.is_grad_enabled() and any(x.requires_grad for x in inputs) and is_runnable(plan):
            return follow(Differentiated, Work(self.run, plan, results, computes), inputs)
        return Standard.run(self, plan, inputs, results, computes)

    def _on_engine(self, plan: Plan, inputs: Sequence[Any], computes: Sequence[Any]) -> bool:
        """Whether the program is to call the CPU engine: that is faster than what the compiler makes."""
        return (
            torch.compiler.is_dynamo_compiling()
            and not torch.compiler.is_exporting()
            # Under transforms and with subclasses PyTorch wants operations that it knows.
            and not is_transforming()
            and all(type(x) in (torch.Tensor, torch.nn.Parameter) for x in inputs)
            and all(x.device.type == "cpu" for x in inputs)
            and all(x.dtype.is_complex == c.is_complex for x in inputs for c in computes)
            and is_constant(plan)
        )


_operator = register(Torch().run)


@remember
def _prepare() -> None:
    fuse_by(Torch().run_by_reference)
