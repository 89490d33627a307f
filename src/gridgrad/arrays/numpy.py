"""NumPy arrays, masked ones included."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gridgrad.arrays.standard import Standard
from gridgrad.engines import cpu
from gridgrad.engines.memory import empty_like, quick_address
from gridgrad.engines.recycling import empty
from gridgrad.errors import GridError, GridTypeError
from gridgrad.plan import Plan


class NumPy(Standard):
    """NumPy, in whose promotion a float64 scalar divides float32 data in float64."""

    keeps_numpy_scalars = True

    def __init__(self) -> None:
        super().__init__(np)
        self.name = "numpy"

    def __reduce__(self) -> Any:
        return NumPy, ()

    def owns(self, value: Any) -> bool:
        return isinstance(value, (np.ndarray, np.generic))

    def dtype(self, name: str) -> Any:
        return np.dtype(name)

    def kind(self, x: Any, name: str) -> str:
        kind = {"i": "integer", "u": "integer", "f": "real", "c": "complex"}.get(x.dtype.kind)
        if kind is None and x.dtype.name == "bfloat16":  # from the package ml_dtypes
            kind = "real"
        if kind is None:
            raise self.refused(x, name)
        return kind

    def values(self, x: Any) -> Any:
        return x if isinstance(x, np.ma.MaskedArray) else np.asarray(x)

    def is_followed(self, x: Any) -> bool:
        return False

    def check_device(self, x: Any, input: Any, name: str) -> None:
        pass

    def result_dtype(self, input: Any, dtype: Any, is_complex: bool) -> Any:
        if input.dtype.name == "bfloat16" and is_complex:
            # NumPy itself does not know what kind of number that is.
            input = np.empty(0, np.float32)
        return super().result_dtype(input, dtype, is_complex)

    def floating(self, x: Any) -> Any:
        return np.dtype(np.float64) if x.dtype.kind in "iu" else x.dtype.newbyteorder("=")

    def default_floating(self) -> Any:
        return np.dtype(np.float64)

    def is_plain(self, x: Any) -> bool:
        if type(x) is not np.ndarray:
            return False
        flags = x.flags
        return flags.c_contiguous and flags.aligned

    def job(
        self, plan: Plan, x: Any, results: Sequence[Any], computes: Sequence[Any]
    ) -> Callable[[Any], tuple[Any, ...]] | None:
        job = cpu.small_job(plan, x, computes)
        if job is None:
            return None
        shape, dtype, kernel, arguments = job.shape, job.dtype, job.kernel, job.arguments

        def run(x: Any) -> tuple[Any, ...]:
            out = empty(shape, dtype)
            kernel(quick_address(x), quick_address(out), *arguments)
            return tuple(out)

        run.job = job  # type: ignore[attr-defined]  # its tables must live
        return run

    def run(
        self,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
        out: Sequence[Any] | None = None,
    ) -> tuple[Any, ...]:
        if _are_masked(inputs):
            if out is not None:
                raise GridTypeError("out is not offered for masked input.")
            return _run_masked(self.run, plan, inputs, results, computes)
        arrays = out
        if arrays is None:
            arrays = [empty_like(inputs[0], dtype) for dtype in results]
        if cpu.run(plan, inputs, arrays, computes):
            return tuple(arrays)
        return super().run(plan, inputs, results, computes, out)

    def run_by_reference(
        self, plan: Plan, inputs: Sequence[Any], results: Sequence[Any], computes: Sequence[Any]
    ) -> tuple[Any, ...]:
        if _are_masked(inputs):
            return _run_masked(self.run_by_reference, plan, inputs, results, computes)
        # NumPy itself does not know what kind of number bfloat16 is.
        inputs = [x.astype(np.float32) if x.dtype.name == "bfloat16" else x for x in inputs]
        return super().run_by_reference(plan, inputs, results, computes)

    def is_fast(self, plan: Plan, inputs: Sequence[Any], computes: Sequence[Any]) -> bool:
        return cpu.can_run(plan, inputs, computes)

    def check_writable(self, array: Any, k: int) -> None:
        if isinstance(array, np.ma.MaskedArray):
            raise GridTypeError(f"out[{k}] must be a plain array, but is a masked one.")
        if not array.flags.writeable:
            raise GridError(f"out[{k}] must be writable, but is read-only.")
        if any(stride == 0 and n > 1 for stride, n in zip(array.strides, array.shape, strict=True)):
            raise GridError(f"out[{k}] must not be a broadcast array, whose elements share memory.")

    def overlap(self, a: Any, b: Any) -> bool:
        return isinstance(b, np.ndarray) and share_memory(a, b)


def _are_masked(inputs: Sequence[Any]) -> bool:
    return any(isinstance(x, np.ma.MaskedArray) for x in inputs)


def _run_masked(
    run: Callable[..., tuple[Any, ...]],
    plan: Plan,
    inputs: Sequence[Any],
    results: Sequence[Any],
    computes: Sequence[Any],
) -> tuple[Any, ...]:
    """A masked sample reaches exactly the results that a NaN in its place would reach."""
    found = run(plan, [np.ma.getdata(x) for x in inputs], results, computes)
    marks = [np.where(np.ma.getmaskarray(x), np.nan, 0.0) for x in inputs]
    doubles = [np.dtype(np.float64)] * plan.outputs
    return tuple(
        np.ma.array(value, mask=np.isnan(mark))
        for value, mark in zip(found, run(plan, marks, doubles, doubles), strict=True)
    )


def share_memory(a: Any, b: Any) -> bool:
    """Whether writing one array may change the other."""
    if not np.may_share_memory(a, b):
        return False
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]  # any int will do
    except np.exceptions.TooHardError:
        return True
