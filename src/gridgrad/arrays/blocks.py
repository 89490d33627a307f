"""A plan on one block of an array that is cut into blocks, with rows of its neighbours: what one task does.

Nothing here knows who cut the array, nor where the other blocks are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from gridgrad.arrays.dispatch import library_of
from gridgrad.plan import Plan, Term
from gridgrad.stencil import Stencil
from gridgrad.windows import Span, leaving, reads, window

# A block as long as so many times its halo is worked on where it lies, and its ends once more with a few
# rows around them. A shorter one is copied with its halo.
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
        return tuple(
            window(each, n, held, makes)
            for each, makes in zip(stencils, makes_weights, strict=True)
        )

    def counted(span: Span) -> Span:
        return Span(span.first - own.first, span.last - own.first)

    def around(results: Span) -> Span:
        held = results
        for each in stencils:
            held = held.around(reads(each, n, results))
        return held

    if not len(own):
        return Strip(counted(own), counted(own), tuple(stencils))
    held = around(own)
    if held == own or own == Span(0, n):
        return Strip(counted(own), counted(own), windows(own), windows(own))
    if len(own) < _THICK * (len(held) - len(own)):
        return Strip(counted(own), counted(held), windows(held))
    wrong = [leaving(each, n, own, own) for each in stencils]
    below, above = (max(each[k] for each in wrong) for k in (0, 1))
    ends = []
    for results in (Span(own.first, own.first + below), Span(own.last - above, own.last)):
        if len(results):
            near = around(results)
            ends.append(End(counted(results), counted(near), windows(near)))
    return Strip(counted(own), counted(held), windows(held), windows(own), tuple(ends))


class Part(NamedTuple):
    """A term, its stencil by its number among those of its dim."""

    output: int
    input: int
    dim: int
    stencil: int


@dataclass(frozen=True)
class Work:
    """What is the same for every block of a call."""

    parts: tuple[Part, ...]
    results: tuple[Any, ...]
    computes: tuple[Any, ...]
    by_reference: bool


class Face(NamedTuple):
    """Rows of a block that others need: its first `head` and last `tail` along a dim of an input."""

    input: int
    dim: int
    head: int
    tail: int


class Piece(NamedTuple):
    """Rows for a halo: the last, or the first, `rows` of a block's face; of the block itself, if that is None."""

    dim: int
    is_below: bool
    source: int | None
    rows: int


Faces = dict[tuple[int, int, bool], Any]


def cut_faces(faces: Sequence[Face], *blocks: Any) -> Faces:
    """Copies of a block's faces, by input, dim, and whether they are its last rows."""
    found = {}
    for input, dim, head, tail in faces:
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
    count: int,
    *arrays: Any,
) -> Any:
    """The results of a plan on one block: an array, or a tuple of several.

    `arrays` are the `count` inputs' blocks, then the faces that pieces come from.
    """
    block = _Block(work, strips, pieces, arrays[:count], arrays[count:])
    found = block.run()
    return found if len(found) > 1 else found[0]


class _Block:
    def __init__(
        self,
        work: Work,
        strips: dict[int, Strip],
        pieces: Sequence[Piece],
        inputs: Sequence[Any],
        faces: Sequence[Faces],
    ) -> None:
        self.work, self.strips, self.pieces = work, strips, pieces
        self.inputs, self.faces = inputs, faces
        self.library = library_of(inputs[0])
        self.halved = {dim for dim, each in strips.items() if each.held != each.own}

    def run(self) -> list[Any]:
        outputs = range(len(self.work.results))
        x = self.inputs[0]
        if 0 in x.shape:
            return [self._zeros(x.shape, dtype, x) for dtype in self.work.results]
        whole = {dim: each.own for dim, each in self.strips.items()}
        stencils = {dim: each.padded for dim, each in self.strips.items()}
        in_place = all(self.strips[dim].inside for dim in self.halved)
        if not in_place or not array_api_compat.is_writeable_array(x):
            held = {dim: self.strips[dim].held for dim in self.halved}
            return self._region(outputs, whole, held, stencils)
        inside = {dim: each.inside for dim, each in self.strips.items()}
        found = self._run(outputs, self.inputs, inside)
        for dim in self.halved:
            again = sorted({part.output for part in self.work.parts if part.dim == dim})
            others = self._dims(again) & self.halved - {dim}
            held = {other: self.strips[other].held for other in others}
            for end in self.strips[dim].ends:
                results = {**whole, dim: end.results}
                values = self._region(
                    again, results, {**held, dim: end.held}, {**stencils, dim: end.stencils}
                )
                for output, value in zip(again, values, strict=True):
                    _rows(found[output], dim, end.results.first, end.results.last)[...] = value
        return found

    def _dims(self, outputs: Iterable[int]) -> set[int]:
        return {part.dim for part in self.work.parts if part.output in outputs}

    def _region(
        self,
        outputs: Sequence[int],
        results: dict[int, Span],
        held: dict[int, Span],
        stencils: dict[int, tuple[Stencil, ...]],
    ) -> list[Any]:
        """Some outputs in a region of the block, from an array that holds what they read."""
        held = {dim: span for dim, span in held.items() if dim in self._dims(outputs)}
        used = {part.input for part in self.work.parts if part.output in outputs}
        arrays = [
            self._gather(k, held) if k in used else None for k in range(len(self.inputs))
        ]
        found = self._run(outputs, arrays, stencils)
        for dim, span in held.items():
            first = results[dim].first - span.first
            found = [_rows(x, dim, first, first + len(results[dim])) for x in found]
        # Not a view, which would keep what is around it.
        return [_copy(x) for x in found] if held else found

    def _run(
        self,
        outputs: Sequence[int],
        arrays: Sequence[Any],
        stencils: dict[int, tuple[Stencil, ...]],
    ) -> list[Any]:
        place = {output: k for k, output in enumerate(outputs)}
        parts = [part for part in self.work.parts if part.output in place]
        used = sorted({part.input for part in parts})
        terms = tuple(
            Term(
                place[part.output], used.index(part.input), part.dim,
                stencils[part.dim][part.stencil],
            )
            for part in parts
        )  # fmt: skip
        plan = Plan(len(used), len(place), terms)
        return list(
            self.library.run(
                plan,
                [arrays[k] for k in used],
                [self.work.results[k] for k in outputs],
                [self.work.computes[k] for k in outputs],
                by_reference=self.work.by_reference,
            )
        )

    def _gather(self, input: int, held: dict[int, Span]) -> Any:
        """An input's samples in these spans: the block's own, and halos; zeros where no stencil reads."""
        found = self.inputs[input]
        own = {dim: self.strips[dim].own for dim in held}
        inner = {
            dim: Span(max(span.first, own[dim].first), min(span.last, own[dim].last))
            for dim, span in held.items()
        }
        for dim, span in inner.items():
            found = _rows(found, dim, span.first, span.last)
        for done, (dim, span) in enumerate(held.items()):
            below, above = max(0, -span.first), max(0, span.last - own[dim].last)
            sides = []
            for is_below, rows in ((True, below), (False, above)):
                if not rows:
                    continue
                side = self._halo(input, dim, is_below, rows, found)
                if side is None:
                    shape = list(found.shape)
                    shape[dim] = rows
                    sides.append((is_below, self._zeros(shape, found.dtype, found)))
                    continue
                for other, there in inner.items():
                    if other != dim:
                        side = _rows(side, other, there.first, there.last)
                # Along dims that are done already, halos of halos: nothing reads them.
                for other in list(held)[:done]:
                    wide, own_span = held[other], own[other]
                    for before, missing in (
                        (True, max(0, -wide.first)),
                        (False, max(0, wide.last - own_span.last)),
                    ):
                        if missing:
                            shape = list(side.shape)
                            shape[other] = missing
                            corner = self._zeros(shape, side.dtype, side)
                            side = self._concat(
                                [corner, side] if before else [side, corner], other
                            )
                sides.append((is_below, side))
            found = self._concat(
                [
                    *(side for is_below, side in sides if is_below), found,
                    *(side for is_below, side in sides if not is_below),
                ],
                dim,
            )  # fmt: skip
        return found

    def _halo(self, input: int, dim: int, is_below: bool, rows: int, like: Any) -> Any:
        """So many rows beyond the block along a dim, next to it; None if none came."""
        found = []
        for piece in self.pieces:
            if piece.dim != dim or piece.is_below != is_below:
                continue
            if piece.source is None:
                face = self.inputs[input]
            else:
                face = self.faces[piece.source].get((input, dim, is_below))
            if face is None:
                return None
            n = face.shape[dim]
            start = n - piece.rows if is_below else 0
            found.append(_rows(face, dim, start, start + piece.rows))
        joined = self._concat(found, dim)
        n = joined.shape[dim]
        return _rows(joined, dim, n - rows, n) if is_below else _rows(joined, dim, 0, rows)

    def _concat(self, arrays: list[Any], dim: int) -> Any:
        if len(arrays) == 1:
            return arrays[0]
        if any(isinstance(x, np.ma.MaskedArray) for x in arrays):
            return np.ma.concatenate(arrays, axis=dim)
        return self.library.namespace(arrays[0]).concat(arrays, axis=dim)

    def _zeros(self, shape: Sequence[int], dtype: Any, like: Any) -> Any:
        xp = self.library.namespace(like)
        return xp.zeros(tuple(shape), dtype=dtype, device=getattr(like, "device", None))


def _rows(x: Any, dim: int, first: int, last: int) -> Any:
    return x[(*(slice(None),) * dim, slice(first, last), ...)]


def _copy(x: Any) -> Any:
    if hasattr(x, "copy"):
        return x.copy()
    return array_api_compat.array_namespace(x).asarray(x, copy=True)
