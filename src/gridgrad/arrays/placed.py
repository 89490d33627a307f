"""Plans at coordinates that a compiled program is given: made of a call, when the program runs."""

import hashlib
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch

from gridgrad.plan import Plan, Term
from gridgrad.stencil import Row, Stencil

# Coordinates of more bytes are told apart by a digest of them.
_SHORT = 1 << 14
# Of more samples the plan is not kept: to make it at each call takes longer than PyTorch's operations.
MOST = 1 << 16
_NOTHING = Stencil((), Row((0,), (0.0,), plain=True), ())


def filled(spacing: Any, coordinates: Sequence[Any]) -> Any:
    """The spacing of a call with its coordinates.

    `spacing` is whether it is one for a dim, not a sequence, and what each entry is: a number, or whether the
    coordinates that stand there are of the samples' library.

    >>> filled((False, (2.0, False)), [torch.tensor([0.0, 1.0, 3.0])])
    (2.0, array([0., 1., 3.], dtype=float32))
    """
    is_bare, entries = spacing
    arrays = iter(coordinates)
    found = []
    for entry in entries:
        if isinstance(entry, bool):
            array = next(arrays).detach()
            found.append(array if entry else array.numpy())
        else:
            found.append(entry)
    return found[0] if is_bare else tuple(found)


def plan_of(call: tuple[Any, ...], shape: Sequence[int], coordinates: Sequence[Any]) -> Plan:
    """The plan of a call of samples of a shape at these coordinates."""
    work_out, make, dtypes, names, options, more = call
    inputs = [torch.empty((), dtype=getattr(torch, name)).expand(shape) for name in dtypes]
    options = (*options[:2], filled(options[2], coordinates), *options[3:])
    plan: Plan = _function(work_out)(_function(make), inputs, names, options, more)[1].plan
    return plan


def named(function: Callable[..., Any]) -> str:
    """A function of ours by a name that means the same in every process."""
    return f"{function.__module__}:{function.__name__}"


def _function(name: str) -> Any:
    module, _, own = name.partition(":")
    return getattr(importlib.import_module(module), own)


def bare(plan: Plan) -> Plan:
    """What of a plan does not depend on coordinates: which outputs are made of which inputs.

    >>> bare(Plan(1, 1, (Term(0, 0, 1, Stencil((), Row((0, 1), (-1.0, 1.0)), ())),))).links()
    {(0, 0)}
    """
    terms = tuple(Term(each.output, each.input, each.dim, _NOTHING) for each in plan.terms)
    return Plan(plan.inputs, plan.outputs, terms, plan.between)


def values_of(coordinates: Sequence[torch.Tensor]) -> tuple[Any, ...]:
    """What tells coordinates from others: the dtype and the bytes, or a digest of these, of each."""
    found = [(each.dtype, each.detach().numpy().tobytes()) for each in coordinates]
    return tuple(
        (dtype, each if len(each) <= _SHORT else hashlib.sha256(each).digest())
        for dtype, each in found
    )
