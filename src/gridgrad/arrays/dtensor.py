"""PyTorch's distributed tensors: each rank differentiates its shard, with rows of its neighbours' shards.

Only along differentiated dims that are sharded does anything leave a rank: the rows that others' stencils
read, from rank to rank. What follows on a rank is what follows on a block of any array that is cut.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Shard

from gridgrad.arrays.autograd import Differentiated, Work, follow
from gridgrad.arrays.blocks import Faces, Part, Piece, Strip, borrowed, halo, run_block, strip
from gridgrad.arrays.blocks import Work as BlockWork
from gridgrad.arrays.letters import Letters, exchange
from gridgrad.arrays.torch import Torch
from gridgrad.engines.memory import order_of
from gridgrad.engines.program import is_runnable, makes_weights
from gridgrad.errors import GridError, GridTypeError
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
        found: list[int] = self.mesh.mesh[at].tolist()
        return found


class Distributed(Torch):
    """DTensors. Coordinates may be plain tensors, or DTensors that every rank holds whole."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "torch.distributed.tensor"
        self._inner = Torch()

    def owns(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor)

    def kind(self, x: Any, name: str) -> str:
        if isinstance(x, DTensor) and any(each.is_partial() for each in x.placements):
            raise GridError(
                f"{name} must not be a DTensor that is Partial, whose samples are not known before they are "
                f"summed, but has placements {x.placements}; its method redistribute sums them."
            )
        return super().kind(x, name)

    def values(self, x: Any) -> Any:
        # On a GPU too: all ranks must make the same weights.
        return self._inner.read(_local(x) if isinstance(x, DTensor) else x)

    def is_followed(self, x: Any) -> bool:
        if isinstance(x, DTensor):
            return _is_differentiated(x)
        return _is_differentiated(x) or self.values(x) is None

    def check_device(self, x: Any, input: Any, name: str) -> None:
        super().check_device(x, input, name)
        if self.is_followed(x):
            raise GridError(
                f"{name} requires a gradient, which is not offered where input is a DTensor; detach it."
            )
        if isinstance(x, DTensor) and not all(each.is_replicate() for each in x.placements):
            raise GridError(
                f"{name} must be a plain tensor or a DTensor that is Replicate, "
                f"but has placements {x.placements}."
            )

    def check_alike(self, x: Any, input: Any, name: str) -> None:
        if not isinstance(x, DTensor):
            raise GridTypeError(
                f"{name} must be a DTensor as the others are, but is a plain tensor; distribute_tensor makes "
                "one of it."
            )
        if (x.device_mesh, x.placements) != (input.device_mesh, input.placements):
            raise GridError(
                f"{name} must lie on its ranks as the first one does, with placements "
                f"{input.placements} on {input.device_mesh}, but has {x.placements} on {x.device_mesh}; "
                "its method redistribute moves it."
            )

    def components(self, x: Any) -> list[Any]:
        if Layout(x.device_mesh, tuple(x.placements)).axes(0):
            raise GridError(
                "components must not be a DTensor that is sharded along the dim that counts them, but has "
                f"placements {x.placements}; its method redistribute changes them."
            )
        return super().components(x)

    def check_out(
        self, out: Any, shape: tuple[int, ...], dtypes: Sequence[Any], read: Sequence[Any]
    ) -> tuple[Any, ...]:
        raise GridTypeError("out is not offered for DTensors.")

    def run(
        self,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
        out: Sequence[Any] | None = None,
    ) -> tuple[Any, ...]:
        layout = Layout(inputs[0].device_mesh, tuple(inputs[0].placements))
        return self._run(layout, plan, inputs, results, computes)

    def _run(
        self,
        layout: Layout,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
    ) -> tuple[Any, ...]:
        if not all(isinstance(x, DTensor) for x in inputs):
            raise GridTypeError(
                "gradients of a DTensor's derivatives must be DTensors, one at a time, but some are plain "
                "tensors, or a batch of them; distribute_tensor makes a DTensor of a tensor."
            )
        # Gradients come as what followed left them.
        inputs = [
            x if tuple(x.placements) == layout.placements else x.redistribute(*layout)
            for x in inputs
        ]
        if any(map(_is_differentiated, inputs)):
            if not is_runnable(plan):
                raise GridError(
                    "A complex spacing is not differentiated on DTensors; detach input."
                )
            work = Work(partial(self._run, layout), plan.owning(), results, computes)
            return follow(Differentiated, work, inputs)
        if plan.between:
            found: list[Any] = [None] * plan.outputs
            for dtype, chosen, part in plan.by_key(computes):
                first, second = part.stages()
                dtypes = [dtype] * part.between
                between = self._run(layout, first, inputs, dtypes, dtypes)
                made = self._run(
                    layout, second, (*inputs, *between), [results[k] for k in chosen],
                    [dtype] * len(chosen),
                )  # fmt: skip
                for k, value in zip(chosen, made, strict=True):
                    found[k] = value
            return tuple(found)
        with torch.no_grad():
            return _Ranks(self._inner, layout, plan, inputs, results, computes).results()


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
        if len(_lines) >= 256:
            _lines.clear()
        found = _lines[key] = _Line(
            tuple(stencils), strip(stencils, n, spans[mine], makes), sources
        )
    return found


class _Ranks:
    """One call, on one rank."""

    def __init__(
        self,
        inner: Torch,
        layout: Layout,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
    ) -> None:
        self.inner, self.layout, self.dtypes = inner, layout, results
        self.shape = inputs[0].shape
        # Dims in the order of memory, as the CPU engine takes those of the whole.
        self.order = order_of(inputs[0].stride(), self.shape)
        self.coordinate = layout.mesh.get_coordinate()
        blocks = [_local(x) for x in inputs]
        if self.coordinate is None:  # a rank beside the mesh
            self.blocks = blocks
            return
        # As the whole would be run, so that parts of it are rounded alike.
        by_reference = not inner.is_fast(plan, blocks, computes)
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


def _is_differentiated(x: Any) -> bool:
    return bool(x.requires_grad and torch.is_grad_enabled())  # there is no forward mode


def _local(x: Any) -> Any:
    found = x.detach().to_local()
    return found.wait() if hasattr(found, "wait") else found  # of a collective that is under way
