"""NumPy arrays, masked ones included."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gridgrad.arrays.standard import Quick, Small, Standard
from gridgrad.engines import cpu, jobs
from gridgrad.engines.memory import address, are_apart, empty_like, extent, quick_address, span
from gridgrad.engines.recycling import maker
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

    def layout(self, x: Any) -> Any:
        return (x.dtype, x.shape, x.strides) if type(x) is np.ndarray else None

    def quick(
        self, plan: Plan, inputs: Sequence[Any], results: Sequence[Any], computes: Sequence[Any], out: Any
    ) -> Quick | None:  # fmt: skip
        made = _fresh(inputs[0], results) if out is None else out
        job = cpu.job(plan, inputs, made, computes)
        return None if job is None else _Quick(job, inputs, made, results)

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
            arrays = _fresh(inputs[0], results)
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


class _Quick:
    """A job of the CPU engine for arrays of NumPy: no choice is left to make, nothing to be asked twice."""

    def __init__(
        self, job: jobs.Run, inputs: Sequence[Any], outputs: Sequence[Any], dtypes: Sequence[Any]
    ) -> None:
        self._job, self._dtypes, self._dtype = job, dtypes, dtypes[0]
        self._tell_in, self._tell_out = (_teller(each) for each in (inputs, outputs))
        self._extents = [extent(x.shape, x.strides, x.itemsize) for x in (*inputs, *outputs)]
        self._align, self._count = self._dtype.alignment, len(inputs)
        # Small results of one call lie in one block.
        x, count = inputs[0], len(dtypes)
        self._in_block = x.flags.c_contiguous and x.size * count <= jobs.SERIAL
        self._shape = x.shape if count == 1 else (count, *x.shape)
        self._offsets = [k * x.size * self._dtype.itemsize for k in range(count)]
        self._empty = maker(x.size * count * self._dtype.itemsize)
        self._fill: Small | None = None
        self.small: Small | None = None
        if self._in_block and self._count == 1 and isinstance(job, jobs.Job):
            self._fill, self.small = self._for_small(job.kernel, *job.arguments)

    def __call__(self, inputs: Sequence[Any], out: Any, read: Sequence[Any]) -> Any:
        if out is None and self._fill is not None:
            return self._fill(inputs[0])
        places = list(map(self._tell_in, inputs))
        if out is None and self._in_block:
            block = self._empty(self._shape, self._dtype)
            outputs = (block,) if len(self._offsets) == 1 else tuple(block)
            first = quick_address(block)
            places += [first + offset for offset in self._offsets]
        else:
            outputs = tuple(out or _fresh(inputs[0], self._dtypes))
            places += map(self._tell_out, outputs)
        for place in places:
            if place % self._align:
                return None
        if out is not None and not (
            all(x.flags.writeable for x in out)
            and are_apart(places, self._extents, self._count, map(span, read))
        ):
            return None
        self._job(places)
        return outputs

    def _for_small(self, kernel: Any, call: int, unit: Any) -> tuple[Small, Small]:
        """What gives the outputs of one small array: one that lies as it should, and any of its shape."""
        empty, shape, dtype = self._empty, self._shape, self._dtype
        align, is_one = self._align, len(self._offsets) == 1

        def fill(x: Any) -> Any:
            place = quick_address(x)
            if place % align:
                return None
            block = empty(shape, dtype)
            kernel(place, quick_address(block), call, unit)
            return (block,) if is_one else tuple(block)

        def small(x: Any) -> Any:
            return fill(x) if type(x) is np.ndarray and x.flags.c_contiguous else None

        return fill, small


def _teller(arrays: Sequence[Any]) -> Callable[[Any], int]:
    """What tells the addresses of arrays that lie in memory as these do."""
    return quick_address if all(x.flags.c_contiguous for x in arrays) else address


def _fresh(x: Any, dtypes: Sequence[Any]) -> list[Any]:
    return [empty_like(x, dtype) for dtype in dtypes]


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
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]  # NumPy types its two special values only
    except np.exceptions.TooHardError:
        return True
