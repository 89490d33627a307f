"""Dask arrays: lazily, a block at a time, with rows of neighbouring blocks along differentiated dims.

Each block has a task that copies out the faces which its neighbours need, and one for each result. Nothing is
cut anew, and a block is read from its source once. A task that made all results of a block would hold three
times the memory at once, and gain a tenth of the time.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from dask.array.core import Array, asarray, unify_chunks
from dask.array.utils import meta_from_array
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from dask.task_spec import Task, TaskRef

from gridgrad.arrays.blocks import (
    Face,
    Part,
    Piece,
    Strip,
    Work,
    borrowed,
    cut_faces,
    run_block,
    strip,
)
from gridgrad.arrays.lazy import Lazy
from gridgrad.arrays.standard import Standard
from gridgrad.engines.program import makes_weights
from gridgrad.errors import GridError, GridTypeError
from gridgrad.plan import Plan
from gridgrad.stencil import Row, Stencil
from gridgrad.windows import Span


class Dask(Lazy):
    """Dask arrays with blocks of another library."""

    is_told_by_type = False
    takes_blocks_alone = True

    def __init__(self, inner: Standard) -> None:
        super().__init__(inner, "dask")

    def meta(self, x: Any) -> Any:
        return x._meta if isinstance(x, Array) else x

    def owns(self, value: Any) -> bool:
        return isinstance(value, Array) or self.inner.owns(value)

    def values(self, x: Any) -> Any:
        """Coordinates are few; they are computed at once, so that they can be checked."""
        if not isinstance(x, Array):
            return self.inner.values(x)
        found = self.inner.values(x.compute())
        # What comes from a worker lies anywhere in a message, and the kernel makes weights from aligned
        # coordinates alone.
        return found if type(found) is not np.ndarray else np.require(found, requirements="A")

    def check_out(
        self, out: Any, shape: tuple[int, ...], dtypes: Sequence[Any], read: Sequence[Any]
    ) -> tuple[Any, ...]:
        raise GridTypeError(
            "out is not offered for Dask arrays, which are computed later; dask.array.store writes "
            "results into arrays of yours."
        )

    def later(
        self,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
        by_reference: bool,
    ) -> tuple[Any, ...]:
        arrays = [asarray(x) for x in inputs]
        if len(arrays) > 1:
            index = tuple(range(arrays[0].ndim))
            _, arrays = unify_chunks(*(each for x in arrays for each in (x, index)))
        return _Graph(plan, arrays, results, computes, self.inner, by_reference).results()


_found: dict[int, Dask] = {}


def of(x: Any, name: str, inner: Standard) -> Dask:
    """The library of a Dask array whose blocks are `inner`'s; an error if its shape is not known."""
    if not isinstance(x, Array):
        raise GridTypeError(
            f"{name} is a Dask array of the kind that array.query-planning makes, which has no graph to add "
            "to yet; set array.query-planning to False before dask.array is imported."
        )
    if any(math.isnan(n) for n in x.shape):
        raise GridError(
            f"{name} must have chunks of known sizes, but its shape is {x.shape}; "
            "its method compute_chunk_sizes finds them."
        )
    return _found.setdefault(id(inner), Dask(inner))


class _Line(NamedTuple):
    """One differentiated dim, cut into strips."""

    strips: list[Strip]
    # For each strip, where its halo comes from: (whether from below, which strip, how many rows).
    sources: list[list[tuple[bool, int, int]]]
    # For each strip, how many of its first and of its last rows others need.
    needed: list[list[int]]


class _Graph:
    """The tasks of one call."""

    def __init__(
        self,
        plan: Plan,
        arrays: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
        inner: Standard,
        by_reference: bool,
    ) -> None:
        self.arrays = arrays
        self.chunks = arrays[0].chunks
        is_real = not by_reference and all(dtype.kind == "f" for dtype in computes)
        shape = arrays[0].shape
        stencils: dict[int, list[Stencil]] = {}
        parts: list[list[Part]] = [[] for _ in results]
        for term in plan.terms:
            along = stencils.setdefault(term.dim, [])
            number = next((k for k, each in enumerate(along) if each is term.stencil), len(along))
            if number == len(along):
                along.append(term.stencil)
            parts[term.output].append(Part(term.input, term.dim, number))
        self.works = [
            Work(tuple(each), dtype, compute, inner, by_reference)
            for each, dtype, compute in zip(parts, results, computes, strict=True)
        ]
        self.lines = {
            dim: _cut(
                along,
                self.chunks[dim],
                [is_real and makes_weights(each, shape, dim) for each in along],
            )
            for dim, along in stencils.items()
        }
        self.token = tokenize(
            [x.name for x in arrays],
            parts,
            [str(dtype) for dtype in (*results, *computes)],
            [(dim, _identity(each)) for dim, along in stencils.items() for each in along],
        )
        self.faces = f"gridgrad-faces-{self.token}"

    def results(self) -> tuple[Any, ...]:
        """The arrays, whose graphs share the layer of faces."""
        under = HighLevelGraph.merge(*(x.dask for x in self.arrays))
        inputs = {layer for x in self.arrays for layer in x.__dask_layers__()}
        faces, found = self._cut_faces(), []
        for k, work in enumerate(self.works):
            name = f"gridgrad-{k}-{self.token}"
            layers: dict[str, Any] = {**under.layers, name: self._run_blocks(name, work)}
            depends = {**under.dependencies, name: inputs}
            # Only what needs faces has them in its graph, so that nothing has to be taken out of it again.
            if any(any(self.lines[part.dim].sources) for part in work.parts):
                layers[self.faces], depends[self.faces] = faces, inputs
                depends[name] = inputs | {self.faces}
            meta = meta_from_array(self.arrays[0]._meta, dtype=work.dtype)
            found.append(Array(HighLevelGraph(layers, depends), name, self.chunks, meta=meta))
        return tuple(found)

    def _indices(self) -> Iterator[tuple[int, ...]]:
        return product(*(range(len(each)) for each in self.chunks))

    def _cut_faces(self) -> dict[Any, Task]:
        """For each block whose rows others need, a task that copies them."""
        pairs = sorted({(part.input, part.dim) for work in self.works for part in work.parts})
        found = {}
        for index in self._indices():
            wanted = tuple(
                Face(input, dim, *self.lines[dim].needed[index[dim]])
                for input, dim in pairs
                if any(self.lines[dim].needed[index[dim]])
            )
            if wanted:
                key = (self.faces, *index)
                own = [TaskRef((x.name, *index)) for x in self.arrays]
                found[key] = Task(key, cut_faces, wanted, *own)
        return found

    def _run_blocks(self, name: str, work: Work) -> dict[Any, Task]:
        """For each block the task that makes a result."""
        numbers = tuple(sorted({part.input for part in work.parts}))
        lines = {dim: self.lines[dim] for dim in sorted({part.dim for part in work.parts})}
        found = {}
        for index in self._indices():
            strips, pieces = {}, []
            sources: list[TaskRef] = []
            for dim, line in lines.items():
                at = index[dim]
                strips[dim] = line.strips[at]
                for is_below, other, rows in line.sources[at]:
                    source = None if other == at else len(sources)
                    pieces.append(Piece(dim, is_below, source, rows))
                    if source is not None:
                        sources.append(
                            TaskRef((self.faces, *index[:dim], other, *index[dim + 1 :]))
                        )
            key = (name, *index)
            own = [TaskRef((self.arrays[k].name, *index)) for k in numbers]
            found[key] = Task(key, run_block, work, strips, tuple(pieces), numbers, *own, *sources)
        return found


def _cut(stencils: list[Stencil], chunks: tuple[int, ...], makes: list[bool]) -> _Line:
    n, first = sum(chunks), 0
    strips, spans = [], []
    for length in chunks:
        spans.append(Span(first, first + length))
        strips.append(strip(stencils, n, spans[-1], makes))
        first += length
    sources = [borrowed(each.halo, k, chunks) for k, each in enumerate(strips)]
    needed = [[0, 0] for _ in chunks]
    for k, found in enumerate(sources):
        for is_below, other, rows in found:
            if other != k:
                needed[other][is_below] = max(needed[other][is_below], rows)
    return _Line(strips, sources, needed)


def _identity(stencil: Stencil) -> Any:
    """What distinguishes a stencil from others, the same in every run."""

    def plain(row: Row) -> Any:
        weights = [_doubles(each) for each in row.weights]
        return row.offsets, weights, repr(row.divisor), repr(row.sides)

    if stencil.line is not None:
        return stencil.line, [plain(row) for row in (*stencil.lower, *stencil.upper)]
    rows = (*stencil.lower, stencil.interior, *stencil.upper)
    return [plain(row) for row in rows], stencil.fits_single


def _doubles(weights: Any) -> Any:
    """Weights as doubles whose sum they are: the widest floats have bytes that mean nothing."""
    if isinstance(weights, float):
        return weights
    narrow = np.complex128 if np.iscomplexobj(weights) else np.float64
    high = weights.astype(narrow)
    return high, (weights - high).astype(narrow)
