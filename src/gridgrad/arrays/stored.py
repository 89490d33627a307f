"""Arrays that lie elsewhere, in files say, of which any part can be read; and results that are made of such.

A file larger than memory is differentiated region by region: what the results of a region are made from is
read, and the plan runs on that window. Results are those of the whole, bit for bit, whatever the regions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gridgrad.arrays.blocks import halo
from gridgrad.arrays.lazy import Lazy
from gridgrad.arrays.numpy import NumPy
from gridgrad.engines.program import makes_weights
from gridgrad.errors import GridTypeError
from gridgrad.plan import Plan, Term
from gridgrad.stencil import Stencil
from gridgrad.windows import Span, window

Box = tuple[Span, ...]
"""A part of an array: for each dim, which samples."""


class Stored:
    """An array of NumPy's dtypes that lies elsewhere. `read` brings what a tuple of slices selects."""

    def __init__(
        self, shape: Sequence[int], dtype: Any, read: Callable[[tuple[slice, ...]], Any]
    ) -> None:
        self.shape, self.dtype, self._read = tuple(shape), np.dtype(dtype), read

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """xarray keeps what has one as it is."""
        return np

    def gridgrad_library(self) -> Lazy:
        return StoredArrays()

    def read(self, box: Box) -> Any:
        """The samples of a box. Samples beyond an end of a dim are those of its other end."""
        for dim, (span, n) in enumerate(zip(box, self.shape, strict=True)):
            if span.first < 0 or span.last > n:
                parts = [self.read((*box[:dim], part, *box[dim + 1 :])) for part in _turns(span, n)]
                return np.concatenate(parts, axis=dim)
        return self.inside(box)

    def inside(self, box: Box) -> Any:
        return np.asarray(self._read(tuple(slice(*_pair(span)) for span in box)))


class Derived(Stored):
    """A result, which is computed where it is read."""

    def __init__(self, run: "Run", number: int) -> None:
        self.run, self.number = run, number
        self.shape, self.dtype = run.inputs[0].shape, np.dtype(run.results[number])

    def inside(self, box: Box) -> Any:
        return self.run.on(box, [self.number])[0]


class Run:
    """A plan on stored arrays of one shape: all of its results in a box from one read of each input."""

    def __init__(
        self,
        plan: Plan,
        inputs: Sequence[Stored],
        results: Sequence[Any],
        computes: Sequence[Any],
        by_reference: bool,
    ) -> None:
        self.plan, self.inputs = plan, tuple(inputs)
        self.results, self.computes = list(results), list(computes)
        self.by_reference, shape = by_reference, self.inputs[0].shape
        is_real = not by_reference and all(dtype.kind == "f" for dtype in computes)
        self.stencils: dict[int, list[Stencil]] = {}
        for term in plan.terms:
            along = self.stencils.setdefault(term.dim, [])
            if not any(each is term.stencil for each in along):
                along.append(term.stencil)
        self.makes_weights = {
            dim: [is_real and makes_weights(each, shape, dim) for each in along]
            for dim, along in self.stencils.items()
        }

    def held(self, box: Box) -> Box:
        """What is read for the results in a box; it may go on beyond an end of a periodic dim."""
        found = list(box)
        for dim, along in self.stencils.items():
            below, above = halo(along, self.inputs[0].shape[dim], box[dim])
            found[dim] = Span(box[dim].first - below, box[dim].last + above)
        return tuple(found)

    def on(self, box: Box, numbers: Sequence[int] | None = None) -> list[Any]:
        """These results (all, if they are not named) in a box, in memory of their own."""
        plan = self.plan if numbers is None else self.plan.only(numbers)
        numbers = range(self.plan.outputs) if numbers is None else numbers
        held, shape = self.held(box), self.inputs[0].shape
        windows = {
            (dim, id(each)): window(each, shape[dim], held[dim], makes)
            for dim, along in self.stencils.items()
            for each, makes in zip(along, self.makes_weights[dim], strict=True)
        }
        read = sorted({term.input for term in plan.terms})
        arrays = [self.inputs[k].read(held) for k in read]
        terms = tuple(
            Term(t.output, read.index(t.input), t.dim, windows[t.dim, id(t.stencil)])
            for t in plan.terms
        )
        part, library = Plan(len(read), plan.outputs, terms), NumPy()
        results, computes = ([each[k] for k in numbers] for each in (self.results, self.computes))
        if self.by_reference:
            found = library.run_by_reference(part, arrays, results, computes)
        else:
            # Not memory that is kept for the next result: this process promised how much it holds.
            out = [np.empty(arrays[0].shape, dtype) for dtype in results]
            found = library.run(part, arrays, results, computes, out)
        own = tuple(
            slice(inner.first - outer.first, inner.last - outer.first)
            for inner, outer in zip(box, held, strict=True)
        )
        return [each[own] for each in found]


class StoredArrays(Lazy):
    """Arrays that lie elsewhere, by NumPy's rules."""

    def __init__(self) -> None:
        super().__init__(NumPy(), "stored arrays")

    def meta(self, x: Any) -> Any:
        return np.empty((0,) * x.ndim, x.dtype) if isinstance(x, Stored) else x

    def owns(self, value: Any) -> bool:
        return isinstance(value, Stored) or self.inner.owns(value)

    def values(self, x: Any) -> Any:
        if isinstance(x, Stored):
            x = x.read(tuple(Span(0, n) for n in x.shape))
        return self.inner.values(x)

    def check_out(
        self, out: Any, shape: tuple[int, ...], dtypes: Sequence[Any], read: Sequence[Any]
    ) -> tuple[Any, ...]:
        raise GridTypeError("out is not offered for stored arrays, whose results are read later.")

    def later(
        self,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
        by_reference: bool,
    ) -> tuple[Any, ...]:
        run = Run(plan, inputs, results, computes, by_reference)
        return tuple(Derived(run, k) for k in range(plan.outputs))


def _turns(span: Span, n: int) -> list[Span]:
    """A span that goes around, as spans of [0, n)."""
    found, first = [], span.first
    while first < span.last:
        at = first % n
        last = min(span.last, first + n - at)
        found.append(Span(at, at + last - first))
        first = last
    return found


def _pair(span: Span) -> tuple[int, int]:
    return span.first, span.last
