"""What ranks of a process group send each other: rows of their shards, in letters of bytes."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import distributed

from gridgrad.arrays.blocks import Faces, Piece
from gridgrad.arrays.tensors import is_nowhere


class Letters:
    """What a rank sends along one dim and gets: for each rank one letter, of bytes.

    It holds the rows of one input after another, for each the pieces of the reader's halo in order.
    """

    def __init__(
        self,
        blocks: dict[int, Any],
        dim: int,
        sources: list[list[tuple[bool, int, int]]],
        mine: int,
    ) -> None:
        self.blocks, self.dim, self.sources, self.mine = blocks, dim, sources, mine
        self.sent = {
            reader: torch.cat([_bytes(rows) for rows in written])
            for reader in range(len(sources))
            if reader != mine and (written := list(self._written(reader)))
        }
        x = next(iter(blocks.values()))
        self.received = {
            writer: torch.empty(size, dtype=torch.uint8, device=x.device)
            for writer in sorted({other for _, other, _ in sources[mine]} - {mine})
            if (size := sum(self._sizes(writer)))
        }  # none of nothing, which a shard without samples along another dim would send

    def _written(self, reader: int) -> Iterator[Any]:
        for x in self.blocks.values():
            for below, writer, rows in self.sources[reader]:
                if writer == self.mine and x.numel():
                    yield x.narrow(self.dim, x.shape[self.dim] - rows if below else 0, rows)

    def _shape(self, x: Any, rows: int) -> list[int]:
        return [rows if dim == self.dim else n for dim, n in enumerate(x.shape)]

    def _sizes(self, writer: int) -> list[int]:
        return [
            math.prod(self._shape(x, rows)) * x.itemsize
            for x in self.blocks.values()
            for _, other, rows in self.sources[self.mine]
            if other == writer
        ]

    def opened(self) -> list[tuple[Piece, Faces | None]]:
        """The pieces of the halo, and the faces that hold them, of all inputs; of the own shard none."""
        mine = self.sources[self.mine]
        found: list[tuple[Piece, Faces | None]] = [
            (Piece(self.dim, below, None, rows), None if writer == self.mine else {})
            for below, writer, rows in mine
        ]
        x = next(iter(self.blocks.values()))
        nothing = torch.empty(0, dtype=torch.uint8, device=x.device)
        rest = {writer: self.received.get(writer, nothing) for _, writer, _ in mine}
        for number, x in self.blocks.items():
            for (below, writer, rows), (_, face) in zip(mine, found, strict=True):
                if face is not None:
                    shape = self._shape(x, rows)
                    size = math.prod(shape) * x.itemsize
                    part, rest[writer] = rest[writer][:size], rest[writer][size:]
                    face[number, self.dim, below] = part.clone().view(x.dtype).reshape(shape)
        return found


def exchange(letters: Sequence[tuple[Any, Sequence[int], Letters]]) -> None:
    """Send and receive letters within process groups, of which the ranks are given, too.

    All that passes between ranks passes here.
    """
    waiting: list[Any] = []
    for group, ranks, post in letters:
        orders = [
            *(distributed.P2POp(distributed.isend, letter, ranks[reader], group)
              for reader, letter in post.sent.items() if not is_nowhere(letter)),
            *(distributed.P2POp(distributed.irecv, letter, ranks[writer], group)
              for writer, letter in post.received.items() if not is_nowhere(letter)),
        ]  # fmt: skip
        if orders:
            waiting += distributed.batch_isend_irecv(orders)
    for each in waiting:
        each.wait()


def _bytes(x: Any) -> Any:
    return x.contiguous().reshape(-1).view(torch.uint8)
