"""One result of a plan on one block of arrays that are cut into blocks, with rows of its neighbours.

This is what a task does; nothing here knows who cut the arrays, nor where the other blocks are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from gridgrad.arrays.standard import Standard
from gridgrad.plan import Plan, Term
from gridgrad.stencil import Stencil
from gridgrad.windows import Span, leaving, reads, window

# A block as long as so many times its halo is differentiated where it lies, and its ends once more with a
# few rows around them, so that it is not copied. A shorter one is copied with its halo.
_THICK = 4


@dataclass(frozen=True)
class End:
    """The results at one end of a strip that read beyond it, and stencils for what they read."""

    results: Span
    held: Span
    stencils: tuple[Stencil, ...]


@dataclass(frozen=True)
class Strip:
    """A block's samples along one dim, and each of the dim's stencils for arrays that hold them.

    Spans count from the block's first sample.
    """

    own: Span
    held: Span  # with the halo
    padded: tuple[Stencil, ...]  # for what is held
    inside: tuple[Stencil, ...] = ()  # for the block alone, if it is long enough
    ends: tuple[End, ...] = ()

    @property
    def halo(self) -> tuple[int, int]:
        return -self.held.first, self.held.last - self.own.last


def strip(stencils: Sequence[Stencil], n: int, own: Span, makes_weights: Sequence[bool]) -> Strip:
    """The strip of samples `own` of n."""

    def windows(held: Span) -> tuple[Stencil, ...]:
        pairs = zip(stencils, makes_weights, strict=True)
        return tuple(window(each, n, held, makes) for each, makes in pairs)

    def counted(span: Span) -> Span:
        return Span(span.first - own.first, span.last - own.first)

    if not len(own):
        return Strip(counted(own), counted(own), tuple(stencils))
    held = _held(stencils, n, own)
    if held == own:
        return Strip(counted(own), counted(own), windows(own), windows(own))
    if len(own) < _THICK * (len(held) - len(own)):
        return Strip(counted(own), counted(held), windows(held))
    wrong = [leaving(each, n, own, own) for each in stencils]
    below, above = (max(each[k] for each in wrong) for k in (0, 1))
    ends = []
    for results in (Span(own.first, own.first + below), Span(own.last - above, own.last)):
        if len(results):
            near = _around(stencils, n, results)
            ends.append(End(counted(results), counted(near), windows(near)))
    return Strip(counted(own), counted(held), windows(held), windows(own), tuple(ends))


def halo(stencils: Sequence[Stencil], n: int, own: Span) -> tuple[int, int]:
    """How many samples below the strip of samples `own` of n, and how many above it, it needs."""
    held = _held(stencils, n, own)
    return own.first - held.first, held.last - own.last


def borrowed(halo: tuple[int, int], k: int, lengths: Sequence[int]) -> list[tuple[bool, int, int]]:
    """Where the halo of the k-th strip comes from: (whether from below, which strip, how many rows).

    Strips are of these lengths; beyond the last comes the first. Those of each side are in order.

    >>> borrowed((3, 1), 2, (4, 2, 2, 5))
    [(True, 0, 1), (True, 1, 2), (False, 3, 1)]
    """
    sources: list[tuple[bool, int, int]] = []
    for is_below, rows, step in ((True, halo[0], -1), (False, halo[1], 1)):
        found, other = [], k
        while rows:
            other = (other + step) % len(lengths)
            taken = min(rows, lengths[other])
            rows -= taken
            if taken:
                found.append((is_below, other, taken))
        sources += reversed(found) if is_below else found
    return sources


def _held(stencils: Sequence[Stencil], n: int, own: Span) -> Span:
    """The strip with its halo. What holds all samples, or none, needs no other."""
    return own if not len(own) or own == Span(0, n) else _around(stencils, n, own)


def _around(stencils: Sequence[Stencil], n: int, results: Span) -> Span:
    held = results
    for each in stencils:
        held = held.around(reads(each, n, results))
    return held


class Part(NamedTuple):
    """A term of a result: the number of its input, and of its stencil among those of the dim."""

    input: int
    dim: int
    stencil: int


@dataclass(frozen=True)
class Work:
    """What one result is in every block."""

    parts: tuple[Part, ...]
    dtype: Any
    compute: Any
    library: Standard  # of the blocks
    by_reference: bool  # as the whole would be computed


class Face(NamedTuple):
    """Rows that other blocks need: the first `head` and last `tail` along a dim of an input."""

    input: int
    dim: int
    head: int
    tail: int


class Piece(NamedTuple):
    """Rows of a halo: those of a face that lie next to this block; without a source, the block's own."""

    dim: int
    is_below: bool
    source: int | None
    rows: int


Faces = dict[tuple[int, int, bool], Any]


def cut_faces(wanted: Sequence[Face], *blocks: Any) -> Faces:
    """Copies of a block's faces, by input, dim, and whether they are its last rows."""
    found = {}
    for input, dim, head, tail in wanted:
        block = blocks[input]
        n = block.shape[dim]
        if head:
            found[input, dim, False] = _copy(_rows(block, dim, 0, head))
        if tail:
            found[input, dim, True] = _copy(_rows(block, dim, n - tail, n))
    return found


def run_block(
    work: Work,
    strips: dict[int, Strip],
    pieces: Sequence[Piece],
    numbers: Sequence[int],
    *arrays: Any,
) -> Any:
    """A result on one block. `arrays` are the blocks of the inputs of these numbers, then faces."""
    blocks = dict(zip(numbers, arrays, strict=False))
    return _Block(work, strips, pieces, blocks, arrays[len(numbers) :]).run()


class _Block:
    def __init__(
        self,
        work: Work,
        strips: dict[int, Strip],
        pieces: Sequence[Piece],
        blocks: dict[int, Any],
        faces: Sequence[Faces],
    ) -> None:
        self.work, self.strips, self.pieces = work, strips, pieces
        self.blocks, self.faces = blocks, faces
        self.x = next(iter(blocks.values()))
        self.library = work.library

    def run(self) -> Any:
        if 0 in self.x.shape:
            return self._zeros(self.x.shape, self.work.dtype)
        strips = self.strips
        held = {dim: each.held for dim, each in strips.items() if each.held != each.own}
        own = {dim: each.own for dim, each in strips.items()}
        padded = {dim: each.padded for dim, each in strips.items()}
        if not (
            all(strips[dim].inside for dim in held) and array_api_compat.is_writeable_array(self.x)
        ):
            return self._region(own, held, padded)
        found = self._apply(self.blocks, {dim: each.inside for dim, each in strips.items()})
        for dim in held:
            for end in strips[dim].ends:
                value = self._region(
                    {**own, dim: end.results},
                    {**held, dim: end.held},
                    {**padded, dim: end.stencils},
                )
                _rows(found, dim, end.results.first, end.results.last)[...] = value
        return found

    def _region(
        self,
        results: dict[int, Span],
        held: dict[int, Span],
        stencils: dict[int, tuple[Stencil, ...]],
    ) -> Any:
        """The result in a part of the block, from arrays that hold what it reads."""
        found = self._apply({k: self._gather(k, held) for k in self.blocks}, stencils)
        for dim, span in held.items():
            first = results[dim].first - span.first
            found = _rows(found, dim, first, first + len(results[dim]))
        return _copy(found) if held else found  # not a view, which would keep what is around it

    def _apply(self, arrays: dict[int, Any], stencils: dict[int, tuple[Stencil, ...]]) -> Any:
        place = {number: k for k, number in enumerate(arrays)}
        terms = tuple(
            Term(0, place[part.input], part.dim, _aligned(stencils[part.dim][part.stencil]))
            for part in self.work.parts
        )
        run = self.library.run_by_reference if self.work.by_reference else self.library.run
        (found,) = run(
            Plan(len(arrays), 1, terms),
            list(arrays.values()),
            [self.work.dtype],
            [self.work.compute],
        )
        return found

    def _gather(self, input: int, held: dict[int, Span]) -> Any:
        """An input's samples in these spans: its own, and of its halos what a stencil may read."""
        found, spans = self.blocks[input], {}
        for dim, span in held.items():
            own = self.strips[dim].own
            spans[dim] = Span(max(span.first, own.first), min(span.last, own.last))
            found = _rows(found, dim, spans[dim].first, spans[dim].last)
        for dim, span in held.items():
            parts = [found]
            if span.first < spans[dim].first:
                parts.insert(
                    0, self._halo(input, dim, True, spans[dim].first - span.first, spans, held)
                )
            if span.last > spans[dim].last:
                parts.append(
                    self._halo(input, dim, False, span.last - spans[dim].last, spans, held)
                )
            found = self._concat(parts, dim)
            spans[dim] = span
        return found

    def _halo(
        self,
        input: int,
        dim: int,
        is_below: bool,
        rows: int,
        spans: dict[int, Span],
        held: dict[int, Span],
    ) -> Any:
        """The rows next to the block along a dim, in `spans` along others; zeros where nothing is read."""
        found = self._neighbours(input, dim, is_below)
        if found is None:  # another input is differentiated along this dim
            shape = list(self.x.shape)
            shape[dim] = rows
            found = self._zeros(shape, self.blocks[input].dtype)
        n = found.shape[dim]
        found = _rows(found, dim, n - rows, n) if is_below else _rows(found, dim, 0, rows)
        for other in held:
            if other == dim:
                continue
            own, span = self.strips[other].own, spans[other]
            inner = Span(max(span.first, own.first), min(span.last, own.last))
            parts = [_rows(found, other, inner.first, inner.last)]
            for at, missing in ((0, inner.first - span.first), (2, span.last - inner.last)):
                if missing:
                    shape = list(parts[0].shape)
                    shape[other] = missing
                    parts.insert(at, self._zeros(shape, found.dtype))
            found = self._concat(parts, other)
        return found

    def _neighbours(self, input: int, dim: int, is_below: bool) -> Any:
        """All rows that came from beyond the block along a dim, or None."""
        found = []
        for piece in self.pieces:
            if (piece.dim, piece.is_below) != (dim, is_below):
                continue
            if piece.source is None:
                face = self.blocks[input]
            else:
                face = self.faces[piece.source].get((input, dim, is_below))
            if face is None:
                return None
            n = face.shape[dim]
            first = n - piece.rows if is_below else 0
            found.append(_rows(face, dim, first, first + piece.rows))
        return self._concat(found, dim)

    def _concat(self, arrays: list[Any], dim: int) -> Any:
        if len(arrays) == 1:
            return arrays[0]
        if any(isinstance(x, np.ma.MaskedArray) for x in arrays):
            return np.ma.concatenate(arrays, axis=dim)  # type: ignore[no-untyped-call]  # NumPy does not type it
        return self.library.namespace(arrays[0]).concat(arrays, axis=dim)

    def _zeros(self, shape: Sequence[int], dtype: Any) -> Any:
        xp = self.library.namespace(self.x)
        return xp.zeros(tuple(shape), dtype=dtype, device=getattr(self.x, "device", None))


def _aligned(stencil: Stencil) -> Stencil:
    """The stencil with coordinates as the kernel reads them; those of a message lie anywhere."""
    if stencil.line is None or stencil.line.flags.aligned:
        return stencil
    return stencil._replace(line=stencil.line.copy())


def _rows(x: Any, dim: int, first: int, last: int) -> Any:
    return x[(*(slice(None),) * dim, slice(first, last), ...)]


def _copy(x: Any) -> Any:
    if hasattr(x, "copy"):
        return x.copy()
    return array_api_compat.array_namespace(x).asarray(x, copy=True)
