"""Plans at coordinates that a compiled program is given: made of a call, when the program runs."""

import ast
import hashlib
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from gridgrad.arrays.near import arrays_of
from gridgrad.plan import Plan, Term
from gridgrad.stencil import Row, Stencil

# Coordinates of more bytes are told apart by a digest of them.
_SHORT = 1 << 14
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
            array = next(arrays).clone()  # what is made of them outlives them, or what they hold
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


def computes_of(plan: Plan, computes: Sequence[Any]) -> list[Any]:
    """The dtypes to compute in, doubled where the weights are beyond the range of single precision."""
    wide = {torch.float32: torch.float64, torch.complex64: torch.complex128}
    fits = [
        all(term.stencil.fits_single for path in plan.paths(k) for term in path)
        for k in range(plan.outputs)
    ]
    return [
        dtype if fit else wide.get(dtype, dtype) for dtype, fit in zip(computes, fits, strict=True)
    ]


# What the operator of weights takes, and those that it made: by its call and the coordinates' values.
WORDS = "Tensor[] coordinates, str call, int[] shape, int count, ScalarType dtype"
_made: dict[Any, torch.Tensor] = {}
# Bytes that are kept of these at most.
_KEPT = 1 << 26


def weights_at(
    coordinates: Sequence[torch.Tensor], call: str, shape: Sequence[int], count: int, dtype: Any
) -> torch.Tensor:
    """What `near.arrays_of` makes of the plan of a call: so many numbers."""
    key = call, tuple(shape), dtype, *values_of(coordinates)
    found = _made.get(key)
    if found is None:
        plan = plan_of(ast.literal_eval(call), shape, coordinates)
        kind = torch.empty((), dtype=dtype).numpy().dtype
        found = torch.from_numpy(arrays_of(plan, shape, kind))
        _keep(_made, key, found, [each.nbytes for each in list(_made.values())])
    return found.clone()  # a program may use the memory again for something else


def no_weights_at(
    coordinates: Sequence[torch.Tensor], call: str, shape: Sequence[int], count: int, dtype: Any
) -> torch.Tensor:
    """The same without values."""
    return coordinates[0].new_empty(count, dtype=dtype)


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
    terms = tuple(Term(*each[:3], _NOTHING) for each in plan.terms)
    return Plan(plan.inputs, plan.outputs, terms, plan.between)


def values_of(coordinates: Sequence[torch.Tensor]) -> tuple[Any, ...]:
    """What tells coordinates from others: the dtype and the bytes, or a digest of these, of each."""
    return tuple(
        (each.dtype, each.numpy().tobytes() if each.nbytes <= _SHORT else _digest(each.numpy()))
        for each in coordinates
    )


# Digests of long coordinates, with these, by where they lie in memory: to compare takes less than to digest.
_digests: dict[Any, tuple[Any, bytes]] = {}


def _digest(x: Any) -> bytes:
    key = x.ctypes.data, x.strides, x.dtype, x.shape
    known = _digests.get(key)
    if known is not None and np.array_equal(known[0], x):
        return known[1]
    found = hashlib.sha256(x.tobytes()).digest()
    _keep(_digests, key, (x.copy(), found), [each.nbytes for each, _ in list(_digests.values())])
    return found


def _keep(kept: dict[Any, Any], key: Any, value: Any, sizes: Sequence[int]) -> None:
    """Keep a value besides others of these sizes, or drop those if they are too many bytes."""
    if sum(sizes) > _KEPT:
        kept.clear()
    kept[key] = value
