"""PyTorch tensors while `torch.compile` or `torch.export` reads this code."""

import math
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import torch
from torch.compiler import is_dynamo_compiling
from torch.fx.experimental.symbolic_shapes import has_static_value

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
from gridgrad.caching import constant, remember
from gridgrad.engines.program import is_runnable
from gridgrad.errors import GridError
from gridgrad.plan import Plan

# Samples up to which the one form of a joined dim takes less time, and the other above.
_FEW = 1 << 13


class Traced(Torch):
    """PyTorch while its compiler reads this code."""

    def overlap(self, a: Any, b: Any) -> bool:
        return a is b  # nothing has an address yet

    def join(self, pieces: Sequence[tuple[Any, Any, Any]], dim: int) -> Any:
        _, n, piece = pieces[-1]
        shape = (*piece.shape[:dim], n, *piece.shape[dim + 1 :])
        few = not any(map(self.is_symbolic, shape)) and math.prod(shape) <= _FEW
        if piece.device.type == "cpu" and not few:
            return super().join(pieces, dim)
        # A sum of padded pieces is one expression for each sample, which the compiler fuses with what comes
        # before and after; a concatenation is memory of its own, which costs a GPU more, and a step of its
        # own for each piece, which costs more than few samples.
        padded = []
        for first, last, each in pieces:
            around = [0] * (2 * (piece.ndim - dim))
            around[-2:] = first, n - last
            padded.append(torch.constant_pad_nd(each, around))
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
        dtypes = [x.dtype for x in inputs]
        if self._on_engine(inputs) and _is_simple(plan, dtypes, computes):
            return _ordered(inputs, _order(plan, results, computes))
        if torch.is_grad_enabled() and any(x.requires_grad for x in inputs) and is_runnable(plan):
            return follow(Differentiated, Work(self.run, plan, results, computes), inputs)
        return Standard.run(self, plan, inputs, results, computes)

    def _on_engine(self, inputs: Sequence[Any]) -> bool:
        """Whether the program is to call the CPU engine: that is faster than what the compiler makes."""
        return (
            is_dynamo_compiling()
            and all(_is_plain(type(x)) for x in inputs)
            and _is_for_engine([x.device for x in inputs])
        )


_operator = register(Torch().run)


def _is_simple(plan: Plan, dtypes: Sequence[Any], computes: Sequence[Any]) -> bool:
    """Whether the operator can be told what to do."""
    return all(x.is_complex == c.is_complex for x in dtypes for c in computes) and is_constant(plan)


def _order(plan: Plan, results: Sequence[Any], computes: Sequence[Any]) -> str:
    inputs, outputs = tuple(range(plan.inputs)), tuple(range(plan.outputs))
    names = tuple(map(name_of, results)), tuple(map(name_of, computes))
    return as_text(Order(plan, *names, inputs, outputs))


def _ordered(inputs: Sequence[Any], order: str) -> tuple[Any, ...]:
    _prepare()
    return tuple(_operator(inputs, order))


def ahead(
    work_out: Any, make: Any, inputs: Sequence[Any], names: Any, options: tuple[Any, ...],
    more: tuple[Any, ...],
) -> tuple[Any, ...] | None:  # fmt: skip
    """The results of a call that `work_out` works out, where the compiler need not read how; else None.

    Of all that the compiler reads, each name is looked up again at every call of the program, to see whether
    it still means the same: for few samples that takes longer than they do. So this reads little.
    """
    layouts: tuple[Any, ...] = ()
    for x in inputs:
        for n in x.shape:
            if not has_static_value(n):
                return None
        layouts = (*layouts, (type(x), x.device, x.dtype, (*x.shape,)))
    for value in (*options, *more):
        if value is None:
            continue
        kind = _kind_of(type(value))
        if kind == "number":
            if not has_static_value(value):
                return None
        elif kind == "tuple":
            if not _are_known(value):
                return None
        elif kind != "word":
            return None
    order = _order_of(work_out, make, layouts, names, options, more)
    return None if order is None else (*_operator(inputs, order),)


@constant
def _kind_of(kind: Any) -> str:
    """What the compiler knows of values of a type: those of words for all calls, those of numbers perhaps."""
    # Words, not names, which would be looked up again.
    if kind in (int, float):
        return "number"
    if kind is tuple:
        return "tuple"
    return "word" if kind in (str, bool) else "other"


def _are_known(values: tuple[Any, ...]) -> bool:
    """Whether those are numbers, words, None, or several, which the compiler knows for all calls."""
    for value in values:
        if value is None:
            continue
        kind = _kind_of(type(value))
        if kind == "tuple":
            if not _are_known(value):
                return False
        elif kind == "number":
            if not has_static_value(value):
                return False
        elif kind != "word":
            return False
    return True


@constant
def _is_plain(kind: Any) -> bool:
    """Whether that is a type of tensors by which no subclass means anything of its own."""
    return kind in (torch.Tensor, torch.nn.Parameter)


@constant
def _order_of(
    work_out: Any, make: Any, layouts: Any, names: Any, options: tuple[Any, ...], more: tuple[Any, ...]
) -> str | None:  # fmt: skip
    """The order that a call comes to, which the compiler evaluates; None if it is to read the call."""
    kinds, devices, dtypes, shapes = zip(*layouts, strict=True)
    if not all(map(_is_plain, kinds)) or not _is_for_engine(devices):
        return None
    inputs = [
        torch.empty(shape, dtype=dtype, device="meta")
        for dtype, shape in zip(dtypes, shapes, strict=True)
    ]
    try:
        _, (plan, results, computes, _) = work_out(make, inputs, names, options, more)
    except GridError:
        return None  # it is raised when the compiler reads the same
    if not _is_simple(plan, dtypes, computes):
        return None
    _prepare()
    return _order(plan, results, computes)


@constant
def _is_for_engine(devices: Sequence[Any]) -> bool:
    """Whether PyTorch lets a program on these devices call the CPU engine."""
    # Under transforms and with subclasses PyTorch wants operations that it knows.
    return (
        not torch.compiler.is_exporting()
        and not is_transforming()
        and all(device.type == "cpu" for device in devices)
    )


@remember
def _prepare() -> None:
    from gridgrad.arrays.fused import Fused, keep_memory

    fuse_by(Fused().run_by_reference)
    keep_memory()
