"""Kernels of the GPU engine by what they are compiled for: there are no samples, only their forms."""

from typing import Any

import numpy as np
import torch

from gridgrad.calls import Call
from gridgrad.engines import triton as engine
from gridgrad.plan import Plan, Term, gradient_plan

TYPES = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int64: "*i64",
}


def plan_of(shape: tuple[int, ...], dim: Any = None, order: int = 1, **how: Any) -> Plan:
    call = Call((torch.empty(shape, device="meta"),), ("input",), dim=dim, **how)
    return gradient_plan({each.dim: call.stencil(k, order) for k, each in enumerate(call.axes)})


def arrays_of(plan: Plan, shape: tuple[int, ...], read: Any, written: Any = None) -> list[Any]:
    """Contiguous arrays, of which there is nothing but their form."""
    dtypes = [read] * plan.inputs + [written or read] * plan.outputs
    return [torch.empty(shape, dtype=dtype, device="meta") for dtype in dtypes]


def options(plan: Plan, arrays: list[Any], compute: Any) -> dict[str, Any]:
    """How its kernel is compiled."""
    return engine.options(engine.laid_out(plan, arrays, compute)[1], compute)


def variant(plan: Plan, arrays: list[Any], compute: Any) -> dict[str, Any]:
    """What a kernel is compiled for: the types of its arguments, and constants."""
    route, tables = engine.laid_out(plan, arrays, compute)
    kinds = [TYPES[x.dtype] for x in arrays]
    return {
        "inputs": tuple(kinds[: plan.inputs]),
        "outputs": tuple(kinds[plan.inputs :]),
        "sizes": tuple("i64" if size >= 2**31 else "i32" for size in tables.sizes),
        "places": "*i64",
        "numbers": TYPES[compute],
        **engine.constants(plan, route, tables, arrays, compute),
    }


def laplacian(shape: tuple[int, ...]) -> Plan:
    """One output of three terms, along the last three dims."""
    first = len(shape) - 3
    terms = [
        plan_of(shape, dim=first + k, order=2, accuracy=4, spacing=1 + k).terms[0] for k in range(3)
    ]
    return Plan(1, 1, tuple(Term(0, 0, term.dim, term.stencil) for term in terms))


def cases() -> dict[str, tuple[Plan, list[Any], Any]]:
    """Kernels that between them use all there is in the module."""
    cube, image, line = (512, 512, 512), (3, 1000, 1000), (4096,)
    x = np.cumsum(np.arange(1000) % 3 + 1.0)
    uneven = plan_of(image, dim=(1, 2), spacing=(x, x))
    coordinates, accurate = plan_of(cube, spacing=(x[:512],) * 3), plan_of(cube, accuracy=8)
    unseen = plan_of(line, spacing=torch.empty(4096, device="meta", dtype=torch.float64))
    single = torch.float32
    forms = {
        "cube": (plan_of(cube), cube, (single,), single),
        "uneven": (uneven, image, (torch.bfloat16,), single),
        "transposed": (uneven.adjoint(image), image, (torch.float16,), single),
        "laplacian": (laplacian((2, *cube)), (2, *cube), (torch.float64,), torch.float64),
        "integers": (plan_of(line, accuracy=8), line, (torch.int64, single), torch.float64),
        "unseen": (unseen, line, (single,), single),
        # What has marks to reach, and its backward pass.
        "coordinates": (coordinates, cube, (single,), single),
        "accuracy 8": (accurate, cube, (single,), single),
        "cube, back": (plan_of(cube).adjoint(cube), cube, (single,), single),
        "coordinates, back": (coordinates.adjoint(cube), cube, (single,), single),
        "accuracy 8, back": (accurate.adjoint(cube), cube, (single,), single),
    }
    return {
        name: (plan, arrays_of(plan, shape, *dtypes), compute)
        for name, (plan, shape, dtypes, compute) in forms.items()
    }
