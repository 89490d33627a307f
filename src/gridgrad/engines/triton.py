"""The GPU engine: runs a plan on CUDA tensors, all its terms in one launch of one Triton kernel.

Each input is read about once and each output written once; there is no other memory, but for arrays between.
Nothing waits for the GPU. What the kernel must know of a plan goes to the GPU once, in two small tables.
"""

import logging
import math
from collections.abc import Callable, Sequence
from functools import cache, reduce
from typing import Any

import numpy as np
import torch

from gridgrad.engines import triton_device
from gridgrad.engines.layout import MOST_STEPS
from gridgrad.engines.program import reads_a_number
from gridgrad.engines.triton_tables import Tables, is_one, lay_out
from gridgrad.engines.triton_walk import Walk, walk
from gridgrad.errors import GridError
from gridgrad.plan import Plan

_log = logging.getLogger("gridgrad.engines")

_REAL = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
_HALF = {torch.complex64: torch.float32, torch.complex128: torch.float64}
_SAMPLES = {
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
    torch.int8, torch.int16, torch.int32, torch.int64,
    torch.uint8, torch.uint16, torch.uint32, torch.uint64,
}  # fmt: skip
_OLDEST = (3, 6)
# Numbers of a launch that is kept: longer coordinates make a plan of their own at each call, and only their
# tables are found again.
_LONGEST = 1 << 16
# Warps of a program. More of them would hold fewer samples each, and fewer in all at once.
WARPS = 4
# Registers of a thread: without a limit the assembler takes so many that few programs run at once. Of 65,536
# registers 96 let five programs run, 128 four, 168 three. Each is for kernels that read up to so many samples
# for one of an output: with fewer registers these would spill.
REGISTERS: dict[float, int] = {4: 96, 6: 128, math.inf: 168}


def run(plan: Plan, inputs: Sequence[Any], outputs: Sequence[Any], computes: Sequence[Any]) -> bool:
    """Run a plan on tensors of one shape and device, each output computed in its dtype.

    Returns False, for the reference engine to take over, where this engine cannot, and says why to the log.
    A `GridError` where the reference engine would break the capture of a CUDA graph.
    """
    reason = reason_not(plan, inputs, outputs, computes)
    if not reason and inputs[0].numel():
        reason = _tried(lambda: _run(plan, inputs, outputs, computes))
    if reason:
        if triton_device.is_capturing(inputs[0].device) and _reads_the_host(plan):
            raise GridError(
                "spacing on the host cannot be sent to the GPU while a CUDA graph is captured; make the "
                "same call once before the capture, or give tensors on the GPU, as is needed where the "
                "kernel does not run or weights take more than "
                f"{triton_device.KEPT >> 20} MiB ({reason})."
            )
        refuse(reason)
        return False
    _log.debug("triton")
    return True


def refuse(reason: str) -> tuple[()]:
    """Say why the reference engine is to run."""
    _log.debug("reference engine: %s", reason)
    return ()


def _tried(work: Callable[[], None]) -> str:
    """Do some work; why it could not be done, or nothing."""
    try:
        work()
    except triton_device.NotUploaded:
        return "a CUDA graph is being captured, and this plan has not run before"
    except Exception as error:
        if not triton_device.is_failure(error):
            raise
        reason = f"Triton failed: {type(error).__name__}: {error}"
        _broken.append(reason)
        _log.warning("%s; the reference engine takes over", reason)
        return reason
    return ""


def repeated(
    plan: Plan, x: Any, results: Sequence[Any], computes: Sequence[Any]
) -> Callable[[Sequence[Any]], bool] | None:
    """What runs a plan on x and outputs, and again on tensors that are like them; None if nothing does.

    It says whether it has.
    """
    arrays = [x, *(torch.empty_like(x, dtype=dtype) for dtype in results)]
    dtype = computes[0]
    if (
        plan.between
        or dtype not in _REAL
        or any(each != dtype for each in computes)
        or not x.numel()
        or reason_not(plan, [x], arrays[1:], computes)
    ):
        return None
    found: list[Launch] = []
    if _tried(lambda: found.append(launch_of(plan, arrays, dtype))):
        return None
    launch, device = found[0], x.device

    def again(arrays: Sequence[Any]) -> bool:
        if _broken:
            return False
        with triton_device.guard(device):
            launch(arrays)
        return True

    return again


_broken: list[str] = []


@cache
def is_installed() -> bool:
    """Whether there is a Triton whose language has what the kernel is written in."""
    try:
        import triton
    except ImportError:
        return False
    first, second, *_ = triton.__version__.split(".")
    return (int(first), int(second)) >= _OLDEST


def reason_not(
    plan: Plan, inputs: Sequence[Any], outputs: Sequence[Any], computes: Sequence[Any]
) -> str:
    """Why this engine cannot run a plan; nothing if it can."""
    if not is_installed():
        return "Triton 3.6 or later is not installed"
    if _broken:
        return _broken[0]
    if not is_runnable(plan):
        return "weights are complex, differentiated, extreme, or too many"
    complex_ones = [x.dtype.is_complex for x in inputs]
    if any(each != dtype.is_complex for each in complex_ones for dtype in computes):
        return "real samples become complex"
    if any(complex_ones) and reads_a_number(plan):
        return "a number stands beyond the edge of complex samples"
    for x in (*inputs, *outputs):
        if x.dtype not in _SAMPLES:
            return f"samples of {x.dtype}"
        if x.is_conj() or x.is_neg():
            return "samples are to be conjugated or negated when they are read"
    if any(dtype not in _REAL and dtype not in _HALF for dtype in computes):
        return f"results computed in {computes}"
    return ""


def is_runnable(plan: Plan) -> bool:
    """Whether every weight is a real number, or a tensor of them that nobody differentiates."""
    return all(
        len(row.offsets) < MOST_STEPS
        and all(_is_real(number) for number in (*row.weights, row.divisor))
        and (isinstance(row.weights[0], float) or is_one(row.divisor))
        for term in plan.terms
        for row in (*term.stencil.lower, term.stencil.interior, *term.stencil.upper)
    )


def _reads_the_host(plan: Plan) -> bool:
    """Whether weights are arrays of NumPy, which the reference engine sends to the GPU at each call."""
    return any(
        isinstance(row.weights[0], np.ndarray)
        for term in plan.terms
        for row in (*term.stencil.lower, term.stencil.interior, *term.stencil.upper)
    )


def _is_real(weight: Any) -> bool:
    if isinstance(weight, np.ndarray):
        return bool(weight.dtype.kind == "f")
    if isinstance(weight, torch.Tensor):
        return weight.is_floating_point() and not weight.requires_grad
    return isinstance(weight, float)


def _run(
    plan: Plan, inputs: Sequence[Any], outputs: Sequence[Any], computes: Sequence[Any]
) -> None:
    if plan.between:
        first, second = plan.stages()
        widest = reduce(torch.promote_types, computes)
        between = [torch.empty_like(inputs[0], dtype=widest) for _ in range(plan.between)]
        _run(first, inputs, between, [widest] * plan.between)
        _run(second, [*inputs, *between], outputs, computes)
        return
    if computes[0].is_complex:
        inputs, outputs = ([torch.view_as_real(x) for x in each] for each in (inputs, outputs))
        computes = [_HALF[dtype] for dtype in computes]
    for dtype in dict.fromkeys(computes):
        chosen = [k for k, each in enumerate(computes) if each == dtype]
        part = plan if len(chosen) == len(computes) else plan.only(chosen)
        arrays = [*inputs, *(outputs[k] for k in chosen)]
        with triton_device.guard(inputs[0].device):
            launch_of(part, arrays, dtype)(arrays)


_launches: dict[Any, Any] = {}


def launch_of(plan: Plan, arrays: Sequence[Any], dtype: Any) -> "Launch":
    """The launch of a plan on such arrays, inputs first, computed in this dtype; kept if axes are short."""
    terms = tuple((*term[:3], id(term.stencil)) for term in plan.terms)
    forms = tuple((x.dtype, x.stride()) for x in arrays)
    key = (plan.inputs, plan.outputs, terms, arrays[0].shape, forms, dtype, arrays[0].device)
    found = _launches.get(key)
    if found is None:
        route, tables = laid_out(plan, arrays, dtype)
        # The stencils are kept too, so that their identities stay theirs.
        found = (Launch(plan, route, tables, arrays, dtype), plan)
        if tables.numbers.size <= _LONGEST and not tables.later:
            if len(_launches) >= 256:
                _launches.clear()
            _launches[key] = found
    return found[0]


def laid_out(plan: Plan, arrays: Sequence[Any], dtype: Any) -> tuple[Walk, Tables]:
    """How such arrays are walked, and what the kernel is told of the plan."""
    cached = triton_device.cache_bytes(arrays[0].device)
    sizes = [x.element_size() for x in arrays]
    strides = [x.stride() for x in arrays]
    route = walk(plan, arrays[0].shape, strides, sizes, dtype.itemsize, cached)
    return route, lay_out(plan, route, _REAL[dtype])


def constants(
    plan: Plan, route: Walk, tables: Tables, arrays: Sequence[Any], dtype: Any
) -> dict[str, Any]:
    """What is compiled into the kernel."""
    from gridgrad.engines.triton_kernels import DTYPES

    return {
        "TERMS": tuple(tuple(map(tuple, each)) for each in tables.kinds),
        "FORM": (
            len(route.shape),  # DIMS
            route.outer,  # OUTER: the dim along which tiles go through bands
            route.tile,  # TILE: its samples along the last three dims
            DTYPES[dtype],  # COMPUTE
            DTYPES[torch.int64 if route.wide else torch.int32],  # INDEX
            route.contiguous,  # CONTIGUOUS
            route.vector,  # VECTOR: what divides strides
            # RESCUES: whether what is not finite is computed again at a smaller scale
            any(_may_overflow(x.dtype, dtype) for x in arrays[: plan.inputs]),
        ),
    }


def options(tables: Tables, dtype: Any) -> dict[str, Any]:
    """How the kernel is compiled, where that is a choice; ROCm has no limit to registers."""
    found = {"num_warps": WARPS}
    return found if torch.version.hip else {**found, "maxnreg": registers(tables, dtype)}


def registers(tables: Tables, dtype: Any) -> int:
    """The limit to a thread's registers: by the samples that an output reads; the last, in doubles."""
    reads = max(sum(kind.reads for kind in kinds) for kinds in tables.kinds)
    if dtype == torch.float64:
        return REGISTERS[math.inf]
    return next(limit for most, limit in REGISTERS.items() if reads <= most)


class Launch:
    """A plan laid out for tensors of one shape, with their strides and dtypes, on one device."""

    def __init__(
        self, plan: Plan, route: Walk, tables: Tables, arrays: Sequence[Any], dtype: Any
    ) -> None:
        from gridgrad.engines.triton_kernels import run_tile

        device = arrays[0].device
        self._inputs, self._sizes = plan.inputs, tables.sizes
        self._places = triton_device.upload(tables.places, device)
        self._numbers = triton_device.upload(tables.numbers, device)
        if tables.later:
            self._numbers = triton_device.fill(self._numbers, tables.later, dtype)
        self._constants = constants(plan, route, tables, arrays, dtype)
        self._options = options(tables, dtype)
        self._kernel = run_tile[(math.prod(route.counts),)]

    def __call__(self, arrays: Sequence[Any]) -> None:
        self._kernel(
            tuple(arrays[: self._inputs]),
            tuple(arrays[self._inputs :]),
            self._sizes,
            triton_device.use(self._places),
            triton_device.use(self._numbers),
            **self._constants,
            **self._options,
        )


def _may_overflow(dtype: Any, compute: Any) -> bool:
    """Whether differences of such samples may be beyond the range computed in."""
    return bool(
        dtype.is_floating_point and torch.finfo(dtype).max > 1e-3 * torch.finfo(compute).max
    )
