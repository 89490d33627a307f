"""Plans as functions that PyTorch differentiates: the backward pass is the transposed plan.

A plan is linear in its samples, so nothing of them is kept for the backward pass, and its derivative in
forward mode is the plan itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from gridgrad.arrays.tensors import promoted
from gridgrad.plan import Plan

Run = Callable[[Plan, Sequence[Any], Sequence[Any], Sequence[Any]], tuple[Any, ...]]


class Work:
    """A plan with the dtypes of its results, those it is computed in, and what runs it."""

    def __init__(
        self, run: Run, plan: Plan, results: Sequence[Any], computes: Sequence[Any]
    ) -> None:
        self._run, self.plan = run, plan
        self.results, self.computes = tuple(results), tuple(computes)

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        return self._run(self.plan, inputs, self.results, self.computes)

    def of(self, plan: Plan) -> "Work":
        """The same for another plan with the same outputs."""
        return Work(self._run, plan, self.results, self.computes)

    def gradients(
        self, shape: tuple[int, ...], dtypes: Sequence[Any], needed: Sequence[bool], grads: Sequence[Any]
    ) -> list[Any]:  # fmt: skip
        """Gradients of the inputs that need one, from those of the results: None stands for 0 in both."""
        given = tuple(k for k, grad in enumerate(grads) if grad is not None)
        wanted = self.reached(given, needed)
        result: list[Any] = [None] * len(dtypes)
        if wanted:
            dtypes = [dtypes[k] for k in wanted]
            found = self.backward(shape, given, wanted, dtypes)(*(grads[k] for k in given))
            for k, value, dtype in zip(wanted, found, dtypes, strict=True):
                is_real = value.is_complex() and not dtype.is_complex
                result[k] = (value.real if is_real else value).to(dtype)
        return result

    def reached(self, given: Sequence[int], needed: Sequence[bool]) -> tuple[int, ...]:
        """Which of the inputs that need a gradient the `given` results are made from."""
        inputs = {k for output, k in self.plan.links() if output in given}
        return tuple(k for k, need in enumerate(needed) if need and k in inputs)

    def backward(
        self, shape: tuple[int, ...], given: Sequence[int], wanted: Sequence[int], dtypes: Sequence[Any]
    ) -> "Work":  # fmt: skip
        """What takes gradients of the `given` results to those of the `wanted` inputs, of these dtypes."""
        plan = self.plan.adjoint(shape).among(given, wanted)
        computes = list(dtypes)
        for k, grad in plan.links():
            computes[k] = promoted(computes[k], self.computes[given[grad]])
        results = [
            dtype if dtype.is_complex or not compute.is_complex else compute  # its real part, later
            for dtype, compute in zip(dtypes, computes, strict=True)
        ]
        return Work(self._run, plan, results, computes)


class Differentiated(torch.autograd.Function):
    """`apply(work, *inputs)` runs a plan on tensors that require a gradient, compiled or not."""

    @staticmethod
    def forward(work: Work, *inputs: Any) -> tuple[Any, ...]:
        return work(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        ctx.set_materialize_grads(False)
        ctx.work, tensors = inputs[0], inputs[1:]
        ctx.shape, ctx.dtypes = tuple(tensors[0].shape), [x.dtype for x in tensors]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        needed = [ctx.needs_input_grad[1 + k] for k in range(len(ctx.dtypes))]
        return (None, *ctx.work.gradients(ctx.shape, ctx.dtypes, needed, grads))


class Followed(Differentiated):
    """The same in forward mode and under `torch.func` too, of which the compiler knows nothing."""

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> tuple[Any, ...]:
        given = tuple(k for k, tangent in enumerate(tangents) if tangent is not None)
        work, like = ctx.work, tangents[given[0]]
        outputs = tuple(sorted({k for k, input in work.plan.links() if input in given}))
        plan = work.plan.linear().among(given, outputs)
        part = Work(
            work._run, plan, [work.results[k] for k in outputs], [work.computes[k] for k in outputs]
        )
        found = dict(zip(outputs, part(*(tangents[k] for k in given)), strict=True))
        return tuple(
            found[k] if k in found else torch.zeros_like(like, dtype=work.results[k])
            for k in range(work.plan.outputs)
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], work: Work, *inputs: Any) -> tuple[Any, ...]:
        batched = [
            x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
            for x, dim in zip(inputs, in_dims[1:], strict=True)
        ]
        found = work.of(work.plan.shifted())(*batched)
        return found, (0,) * len(found)


def follow(function: type[Differentiated], work: Work, inputs: Sequence[Any]) -> tuple[Any, ...]:
    """A plan's results, of which PyTorch remembers by that function what they were made from."""
    found: tuple[Any, ...] = function.apply(work, *inputs)  # type: ignore[no-untyped-call]  # PyTorch does not type it
    return found
