"""One call on DTensors, on one rank: its shard, the rows that it borrows, and what it makes of them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Shard
from torch.utils._python_dispatch import _disable_current_modes

from gridgrad.arrays.blocks import Faces, Part, Piece, Strip, borrowed, halo, run_block, strip
from gridgrad.arrays.blocks import Work as BlockWork
from gridgrad.arrays.letters import Letters, exchange
from gridgrad.arrays.torch import Torch
from gridgrad.engines.memory import order_of
from gridgrad.engines.program import makes_weights
from gridgrad.errors import GridError
from gridgrad.plan import Plan
from gridgrad.stencil import Stencil
from gridgrad.windows import Span


class Layout(NamedTuple):
    """How a tensor lies on its ranks."""

    mesh: DeviceMesh
    placements: tuple[Placement, ...]

    def axes(self, dim: int) -> list[int]:
        """The mesh's dims over which a dim of the tensor is cut; ranks alone in theirs hold it whole."""
        return [
            k for k, each in enumerate(self.placements)
            if getattr(each, "dim", None) == dim and self.mesh.size(k) > 1  # of strided shards, too
        ]  # fmt: skip

    def ranks(self, coordinate: Sequence[int], axis: int) -> list[int]:
        """The ranks along one dim of the mesh, at this coordinate along its others."""
        at = tuple(slice(None) if k == axis else place for k, place in enumerate(coordinate))
        with _disable_current_modes():  # which would take the mesh for samples
            found: list[int] = self.mesh.mesh[at].tolist()
        return found


class _Line(NamedTuple):
    """One differentiated dim, cut into shards, as a rank sees it."""

    stencils: tuple[Stencil, ...]  # kept, so that their identities stay theirs
    strip: Strip  # this rank's
    # For each shard, where its halo comes from: (whether from below, which shard, how many rows).
    sources: list[list[tuple[bool, int, int]]]


_lines: dict[Any, _Line] = {}


def _line(stencils: list[Stencil], n: int, count: int, mine: int, makes: list[bool]) -> _Line:
    """The line of n samples cut into so many shards, as DTensors are: as equal as `torch.chunk`'s."""
    key = (*map(id, stencils), n, count, mine, *makes)
    found = _lines.get(key)
    if found is None:
        size = -(-n // count)
        spans = [Span(min(n, k * size), min(n, (k + 1) * size)) for k in range(count)]
        lengths = [len(each) for each in spans]
        sources = [borrowed(halo(stencils, n, each), k, lengths) for k, each in enumerate(spans)]
        found = _Line(tuple(stencils), strip(stencils, n, spans[mine], makes), sources)
        if any(each.is_long for each in stencils):
            return found
        if len(_lines) >= 256:
            _lines.clear()
        _lines[key] = found
    return found


class Ranks:
    """One call, on one rank."""

    def __init__(
        self,
        layout: Layout,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
        by_reference: bool,
    ) -> None:
        self.layout, self.dtypes = layout, results
        self.shape = inputs[0].shape
        # Dims in the order of memory, as the CPU engine takes those of the whole.
        self.order = order_of(inputs[0].stride(), self.shape)
        self.coordinate = layout.mesh.get_coordinate()
        blocks = [local_of(x) for x in inputs]
        if self.coordinate is None:  # a rank beside the mesh
            self.blocks = blocks
            return
        self.blocks = [x.resolve_conj().resolve_neg().permute(self.order) for x in blocks]
        place = {dim: k for k, dim in enumerate(self.order)}
        stencils: dict[int, list[Stencil]] = {}
        parts: list[list[Part]] = [[] for _ in results]
        for term in plan.terms:
            along = stencils.setdefault(place[term.dim], [])
            number = next((k for k, each in enumerate(along) if each is term.stencil), len(along))
            if number == len(along):
                along.append(term.stencil)
            parts[term.output].append(Part(term.input, place[term.dim], number))
        self.works = [
            BlockWork(tuple(each), dtype, compute, _InMemoryOrder(self.order), by_reference)
            for each, dtype, compute in zip(parts, results, computes, strict=True)
        ]
        shape = tuple(self.shape[dim] for dim in self.order)
        is_real = not by_reference and all(dtype.is_floating_point for dtype in computes)
        self.axis: dict[int, int] = {}  # of the mesh, along which a differentiated dim is cut
        self.lines: dict[int, _Line] = {}
        for dim, along in stencils.items():
            count, mine = 1, 0
            for axis in self._axes(self.order[dim]):
                self.axis[dim] = axis
                count, mine = layout.mesh.size(axis), self.coordinate[axis]
            makes = [is_real and makes_weights(each, shape, dim) for each in along]
            self.lines[dim] = line = _line(along, shape[dim], count, mine, makes)
            if any(x.shape[dim] != len(line.strip.own) for x in self.blocks):
                raise GridError(
                    f"input must be a DTensor cut as torch.chunk cuts, with {len(line.strip.own)} samples of "
                    f"dim {self.order[dim]} on this rank, but has {self.blocks[0].shape[dim]}."
                )

    def _axes(self, dim: int) -> list[int]:
        axes = self.layout.axes(dim)
        if len(axes) > 1 or any(type(self.layout.placements[k]) is not Shard for k in axes):
            raise GridError(
                f"input must be sharded at most once, by Shard, along a differentiated dim, but has "
                f"placements {self.layout.placements} and is differentiated along dim {dim}; its method "
                "redistribute changes them."
            )
        return axes

    def results(self) -> tuple[Any, ...]:
        if self.coordinate is None:
            return tuple(self._whole(self.blocks[0].to(dtype)) for dtype in self.dtypes)
        pieces, faces = self._borrow()
        return tuple(self._whole(self._run(work, pieces, faces)) for work in self.works)

    def _run(self, work: BlockWork, pieces: list[Piece], faces: list[Faces]) -> Any:
        numbers = tuple(sorted({part.input for part in work.parts}))
        dims = {part.dim for part in work.parts}
        found = run_block(
            work,
            {dim: self.lines[dim].strip for dim in dims},
            [each for each in pieces if each.dim in dims],
            numbers,
            *(self.blocks[k] for k in numbers),
            *faces,
        )
        return found.contiguous().permute([self.order.index(dim) for dim in range(found.ndim)])

    def _borrow(self) -> tuple[list[Piece], list[Faces]]:
        """The rows of other shards that this rank's results need, once others have got theirs."""
        assert self.coordinate is not None
        pieces: list[Piece] = []
        faces: list[Faces] = []
        letters = [
            Letters(self._inputs_along(dim), dim, line.sources, self.coordinate[self.axis[dim]])
            for dim, line in self.lines.items()
            if dim in self.axis
        ]
        exchange([self._address(self.axis[each.dim], each) for each in letters])
        for each in letters:
            for piece, face in each.opened():
                source = None if face is None else len(faces)
                pieces.append(piece._replace(source=source))
                if face is not None:
                    faces.append(face)
        return pieces, faces

    def _address(self, axis: int, letter: Letters) -> tuple[Any, list[int], Letters]:
        assert self.coordinate is not None
        ranks = self.layout.ranks(self.coordinate, axis)
        return self.layout.mesh.get_group(axis), ranks, letter

    def _inputs_along(self, dim: int) -> dict[int, Any]:
        numbers = {part.input for work in self.works for part in work.parts if part.dim == dim}
        return {number: self.blocks[number] for number in sorted(numbers)}

    def _whole(self, local: Any) -> Any:
        """The DTensor of which this is a rank's part."""
        stride = [0] * len(self.order)
        for k, dim in enumerate(self.order):
            stride[dim] = math.prod(max(1, self.shape[later]) for later in self.order[k + 1 :])
        return DTensor.from_local(
            local, *self.layout, run_check=False, shape=self.shape, stride=tuple(stride)
        )


class _InMemoryOrder(Torch):
    """PyTorch for blocks whose dims are permuted: plans are of theirs, but run as those of the whole.

    The last dim's terms are added up first, so that the order of the dims is part of what a plan means.
    """

    def __init__(self, order: tuple[int, ...]) -> None:
        super().__init__()
        self.order = order

    def run(
        self,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
        out: Sequence[Any] | None = None,
    ) -> tuple[Any, ...]:
        terms = tuple(term._replace(dim=self.order[term.dim]) for term in plan.terms)
        back = [self.order.index(dim) for dim in range(len(self.order))]
        found = super().run(
            plan._replace(terms=terms), [x.permute(back) for x in inputs], results, computes
        )
        return tuple(x.permute(self.order) for x in found)


def local_of(x: Any) -> Any:
    """This rank's part of a DTensor."""
    with torch.no_grad():  # not a function of its own, which no transform could read
        found = x.to_local()
    return found.wait() if hasattr(found, "wait") else found  # of a collective that is under way
