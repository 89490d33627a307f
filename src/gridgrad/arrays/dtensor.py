"""PyTorch's distributed tensors: each rank differentiates its shard, with rows of its neighbours' shards.

Only along differentiated dims that are sharded does anything leave a rank: the rows that others' stencils
read, from rank to rank. What follows on a rank is what follows on a block of any array that is cut.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch.distributed.tensor import DTensor, Replicate

from gridgrad.arrays.autograd import Differentiated, Work, follow
from gridgrad.arrays.ranks import Layout, Ranks, local_of
from gridgrad.arrays.torch import Torch
from gridgrad.engines.program import is_runnable
from gridgrad.errors import GridError, GridTypeError
from gridgrad.plan import Plan


class Distributed(Torch):
    """DTensors. Coordinates may be plain tensors, or DTensors that every rank holds whole."""

    is_told_by_type = False  # inside of transforms they are tensors like others

    def __init__(self) -> None:
        super().__init__()
        self.name = "torch.distributed.tensor"
        self._inner = Torch()

    def owns(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor)

    def kind(self, x: Any, name: str) -> str:
        if isinstance(x, DTensor) and any(each.is_partial() for each in x.placements):
            raise GridError(
                f"{name} must not be a DTensor that is Partial, whose samples are not known before they are "
                f"summed, but has placements {x.placements}; its method redistribute sums them."
            )
        return super().kind(x, name)

    def values(self, x: Any) -> Any:
        # On a GPU too: all ranks must make the same weights.
        return self._inner.read(local_of(x) if isinstance(x, DTensor) else x)

    def is_followed(self, x: Any) -> bool:
        if isinstance(x, DTensor):
            return _is_differentiated(x)
        return _is_differentiated(x) or self.values(x) is None

    def check_device(self, x: Any, input: Any, name: str) -> None:
        super().check_device(x, input, name)
        if self.is_followed(x):
            raise GridError(
                f"{name} requires a gradient, which is not offered where input is a DTensor; detach it."
            )
        if isinstance(x, DTensor) and not all(each.is_replicate() for each in x.placements):
            raise GridError(
                f"{name} must be a plain tensor or a DTensor that is Replicate, "
                f"but has placements {x.placements}."
            )

    def check_alike(self, x: Any, input: Any, name: str) -> None:
        if not isinstance(x, DTensor):
            raise GridTypeError(
                f"{name} must be a DTensor as the others are, but is a plain tensor; distribute_tensor makes "
                "one of it."
            )
        if (x.device_mesh, x.placements) != (input.device_mesh, input.placements):
            raise GridError(
                f"{name} must lie on its ranks as the first one does, with placements "
                f"{input.placements} on {input.device_mesh}, but has {x.placements} on {x.device_mesh}; "
                "its method redistribute moves it."
            )

    def components(self, x: Any) -> list[Any]:
        if Layout(x.device_mesh, tuple(x.placements)).axes(0):
            raise GridError(
                "components must not be a DTensor that is sharded along the dim that counts them, but has "
                f"placements {x.placements}; its method redistribute changes them."
            )
        return super().components(x)

    def check_out(
        self, out: Any, shape: tuple[int, ...], dtypes: Sequence[Any], read: Sequence[Any]
    ) -> tuple[Any, ...]:
        raise GridTypeError("out is not offered for DTensors.")

    def run(
        self,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
        out: Sequence[Any] | None = None,
    ) -> tuple[Any, ...]:
        if not all(isinstance(x, DTensor) for x in inputs):
            raise GridTypeError(
                "components must all be DTensors if some are; distribute_tensor makes one of a tensor."
            )
        # Those that a transform holds were not asked.
        inputs = [_summed(x) for x in inputs]
        layout = Layout(inputs[0].device_mesh, tuple(inputs[0].placements))
        return self._run(layout, plan, inputs, results, computes)

    def _run(
        self,
        layout: Layout,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
        by_reference: bool | None = None,
    ) -> tuple[Any, ...]:
        """`by_reference` is as the whole would be run, of which this may be a stage."""
        if not all(isinstance(x, DTensor) for x in inputs):
            raise GridTypeError(
                "gradients of a DTensor's derivatives must be DTensors, one at a time, but some are plain "
                "tensors, or a batch of them; distribute_tensor makes a DTensor of a tensor."
            )
        # Gradients come as what followed left them.
        inputs = [
            x if tuple(x.placements) == layout.placements else x.redistribute(*layout)
            for x in inputs
        ]
        if any(map(_is_differentiated, inputs)):
            if not is_runnable(plan):
                raise GridError(
                    "A complex spacing is not differentiated on DTensors; detach input."
                )
            work = Work(partial(self._run, layout), plan.owning(), results, computes)
            return follow(Differentiated, work, inputs)
        if by_reference is None:
            by_reference = not self._inner.is_fast(plan, list(map(local_of, inputs)), computes)
        if plan.between:
            found: list[Any] = [None] * plan.outputs
            for dtype, chosen, part in plan.by_key(computes):
                first, second = part.stages()
                dtypes = [dtype] * part.between
                between = self._run(layout, first, inputs, dtypes, dtypes, by_reference)
                made = self._run(
                    layout, second, (*inputs, *between), [results[k] for k in chosen],
                    [dtype] * len(chosen), by_reference,
                )  # fmt: skip
                for k, value in zip(chosen, made, strict=True):
                    found[k] = value
            return tuple(found)
        with torch.no_grad():
            ranks = Ranks(layout, plan, inputs, results, computes, by_reference)
            return ranks.results()


def _is_differentiated(x: Any) -> bool:
    return bool(x.requires_grad and torch.is_grad_enabled())  # there is no forward mode


def _summed(x: Any) -> Any:
    """The same DTensor, but for what is Partial, which is summed."""
    if not any(each.is_partial() for each in x.placements):
        return x
    return x.redistribute(
        placements=[Replicate() if each.is_partial() else each for each in x.placements]
    )
