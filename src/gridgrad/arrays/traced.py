"""PyTorch tensors while `torch.compile` or `torch.export` reads this code."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.compiler import is_dynamo_compiling
from torch.fx.experimental.symbolic_shapes import has_static_value

from gridgrad.arrays.autograd import Differentiated, Work, follow
from gridgrad.arrays.fused import Compiled, Fused
from gridgrad.arrays.near import edges_of
from gridgrad.arrays.operator import (
    Order,
    as_text,
    fuse_by,
    has_symbols,
    is_constant,
    register,
)
from gridgrad.arrays.placed import bare, filled, named
from gridgrad.arrays.standard import Standard, name_of
from gridgrad.arrays.tensors import is_transforming
from gridgrad.arrays.torch import Torch
from gridgrad.caching import constant, remember
from gridgrad.engines.program import is_runnable
from gridgrad.engines.recycling import keep_heap
from gridgrad.errors import GridError
from gridgrad.plan import Plan


class Traced(Compiled):
    """PyTorch while its compiler reads this code."""

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


_operator, _operator_at = register(Torch().run)


def _is_simple(plan: Plan, dtypes: Sequence[Any], computes: Sequence[Any]) -> bool:
    """Whether the operator can be told what to do."""
    return all(x.is_complex == c.is_complex for x in dtypes for c in computes) and is_constant(plan)


def _order(
    plan: Plan, results: Sequence[Any], computes: Sequence[Any], call: tuple[Any, ...] | None = None,
    near: int = 0,
) -> str:  # fmt: skip
    inputs, outputs = tuple(range(plan.inputs)), tuple(range(plan.outputs))
    names = tuple(map(name_of, results)), tuple(map(name_of, computes))
    return as_text(Order(plan, *names, inputs, outputs, call=call, near=near))


def _ordered(inputs: Sequence[Any], order: str) -> tuple[Any, ...]:
    _prepare()
    return tuple(_operator(inputs, order))


def ahead(
    order_of: Any, make: Any, inputs: Sequence[Any], names: Any, options: tuple[Any, ...],
    more: tuple[Any, ...],
) -> tuple[Any, ...] | None:  # fmt: skip
    """The results of a call that comes to an order, where the compiler need not read how; else None.

    Of all that the compiler reads, each name is looked up again at every call of the program, to see whether
    it still means the same: for few samples that takes longer than they do. So this reads few of them.
    """
    # Types taken from literals, since their names the compiler would look up again at every call, too.
    a_tuple, a_word, a_number = ().__class__, "".__class__, ((0).__class__, (0.0).__class__)
    layouts: tuple[Any, ...] = ()
    for x in inputs:
        for n in x.shape:
            if not has_static_value(n):
                return None
        layouts = (*layouts, (x.__class__, x.device, x.dtype, (*x.shape,)))
    # Words and numbers that the compiler knows for all calls, and None.
    values = (*options, *more)
    while values:
        value, values = values[0], values[1:]
        if value is None:
            continue
        # By `isinstance`, since the compiler would look up what each value's class is, too.
        if isinstance(value, a_tuple):
            values = (*value, *values)
        elif isinstance(value, a_number):
            if not has_static_value(value):
                return None
        elif not isinstance(value, a_word):
            return _ahead_at(order_of, make, inputs, layouts, names, options, more)
    order = order_of(make, layouts, names, options, more)
    if order is not None:
        return (*_operator(inputs, order),)
    return _ahead_at(order_of, make, inputs, layouts, names, options, more)


def _ahead_at(
    order_of: Any, make: Any, inputs: Sequence[Any], layouts: Any, names: Any,
    options: tuple[Any, ...], more: tuple[Any, ...],
) -> tuple[Any, ...] | None:  # fmt: skip
    """The same where coordinates are arrays, with which the program makes the plan when it runs."""
    spacing = options[2]
    is_bare = not isinstance(spacing, (tuple, list))
    coordinates: tuple[Any, ...] = ()
    told: tuple[Any, ...] = ()
    for entry in (spacing,) if is_bare else spacing:
        if isinstance(entry, (torch.Tensor, np.ndarray, tuple, list)):
            if isinstance(entry, (tuple, list)):
                for number in entry:
                    if not isinstance(number, (int, float)) or not has_static_value(number):
                        return None
                # Integers keep all their digits.
                whole = [number for number in entry if isinstance(number, int)]
                kind = torch.int64 if len(whole) == len(entry) else torch.float64
                array = torch.tensor(entry, dtype=kind)
            else:
                array = torch.as_tensor(entry)
            if array.ndim != 1 or array.requires_grad or array.device.type != "cpu":
                return None
            if array.is_complex():  # no engine takes such weights
                return None
            if not has_static_value(array.shape[0]) or not _is_plain(array.__class__):
                return None
            coordinates = (*coordinates, array)
            is_own = isinstance(entry, torch.Tensor)
            told = (*told, (is_own, array.dtype, array.shape[0]))
        elif isinstance(entry, bool):  # which says here what is told: others refuse it
            return None
        elif isinstance(entry, (int, float)) and has_static_value(entry):
            told = (*told, entry)
        else:
            return None
    # Words and numbers else, as above.
    values = (*options[:2], *options[3:], *more)
    while values:
        value, values = values[0], values[1:]
        if isinstance(value, tuple):
            values = (*value, *values)
        elif isinstance(value, (int, float)):
            if not has_static_value(value):
                return None
        elif value is not None and not isinstance(value, str):
            return None
    if not coordinates:  # a list of steps
        order = order_of(make, layouts, names, (*options[:2], told, *options[3:]), more)
        return None if order is None else (*_operator(inputs, order),)
    options = (*options[:2], (is_bare, told), *options[3:])
    order = order_of(make, layouts, names, options, more, True)
    return None if order is None else (*_operator_at(inputs, order, coordinates),)


def order_of(
    work_out: Any, make: Any, layouts: Any, names: Any, options: tuple[Any, ...], more: tuple[Any, ...],
    is_placed: bool = False,
) -> str | None:  # fmt: skip
    """The order that a call comes to, as `work_out` says; None if the compiler is to read the call.

    Where the call `is_placed`, at coordinates that are known when the program runs, its spacing is only told
    of: whether it is one for a dim, and what its entries are.
    """
    kinds, devices, dtypes, shapes = zip(*layouts, strict=True)
    if not all(map(_is_plain, kinds)) or not _is_for_engine(devices):
        return None
    inputs = [
        torch.empty(shape, dtype=dtype, device="meta")
        for dtype, shape in zip(dtypes, shapes, strict=True)
    ]
    call = None
    if is_placed:
        (is_bare, told), before, after = options[2], options[:2], options[3:]
        arrays = [each for each in told if isinstance(each, tuple)]
        if any(dtype in (torch.float16, torch.bfloat16) for _, dtype, _ in arrays):
            return None
        spacing = is_bare, tuple(each[0] if isinstance(each, tuple) else each for each in told)
        # Any will do here: whether values can be meant is found when the program runs.
        some = [
            torch.arange(n, device="meta" if own else "cpu").to(dtype) for own, dtype, n in arrays
        ]
        options = (*before, filled(spacing, some), *after)
        kind = tuple(map(name_of, dtypes)), tuple(names), (*before, spacing, *after), more
        call = (named(work_out), named(make), *kind)
    try:
        _, (plan, results, computes, _) = work_out(make, inputs, names, options, more)
    except GridError:
        return None  # it is raised when the compiler reads the same
    if not results:  # no dims to differentiate along
        return None
    near = 0
    if call is not None:
        # Integers are differenced in parts.
        is_of_floats = all(dtype.is_floating_point for dtype in dtypes)
        near, plan = edges_of(plan, shapes[0]) if is_of_floats else 0, bare(plan)
    if not _is_simple(plan, dtypes, computes):
        return None
    _prepare()
    return _order(plan, results, computes, call, near)


def is_of_ranks(inputs: Sequence[Any]) -> bool:
    """Whether these are DTensors, whose rows are exchanged outside the program."""
    return any(_is_distributed(x.__class__) for x in inputs)


def _call(function: Any, *arguments: Any) -> Any:
    return function(*arguments)


outside: Any = torch.compiler.disable(  # type: ignore[no-untyped-call]  # PyTorch does not type it
    _call, reason="gridgrad exchanges rows of DTensors itself"
)
"""outside(f, ...) is f(...), which the compiler does not read."""


@constant
def _is_distributed(kind: Any) -> bool:
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and issubclass(kind, module.DTensor)


@constant
def _is_plain(kind: Any) -> bool:
    """Whether that is a type of tensors that mean nothing of their own, as subclasses may."""
    return kind in (torch.Tensor, torch.nn.Parameter)


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
    fused = Fused()
    fuse_by(fused.run_by_reference, fused.is_lean)
    keep_heap()
