"""How a result that is larger than memory is cut into regions, each of which is made and written by itself.

A region is made of whole chunks of the output (of shards, where there are some), so that no chunk is written
twice. It reads its own samples and a halo of some more. Where a dim with a halo is cut, the chunks of the
input next to the cut are read once more; so regions grow along such dims first, as far as memory allows.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gridgrad.windows import Span

# Regions without a halo need not be larger: beyond, nothing gets faster, and progress is coarser.
_ENOUGH = 32 << 20
# Chunks for a file that has none: large enough to be read at the speed of a disk.
_CHUNK = 4 << 20


@dataclass(frozen=True)
class Field:
    """What is known of results that are made together, and of what they are made from."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    """Of the output; what is never written in parts."""
    read_chunks: tuple[int, ...]
    """Of the input; what is never read in parts."""
    halo: tuple[int, ...]
    """How many samples are read beyond a region, below and above it together."""
    input_bytes: int
    """Of one sample of all inputs."""
    output_bytes: int
    """Of one sample of all results."""

    @property
    def least(self) -> tuple[int, ...]:
        """The lengths of the smallest regions: a chunk of the output."""
        return tuple(min(n, chunk) for n, chunk in zip(self.shape, self.chunks, strict=True))

    def held(self, lengths: Sequence[int]) -> int:
        """The bytes in memory while a region is made: its inputs, its results, and chunks on their way."""
        around = math.prod(
            min(n, length + halo)
            for n, length, halo in zip(self.shape, lengths, self.halo, strict=True)
        )
        passing = 3 * max(
            math.prod(self.read_chunks) * self.input_bytes,
            math.prod(self.chunks) * self.output_bytes,
        )
        return around * (self.input_bytes + self.output_bytes) + passing

    def read(self, lengths: Sequence[int]) -> float:
        """How many samples are read for each that is made."""
        found = 1.0
        for n, length, halo, chunk in zip(
            self.shape, lengths, self.halo, self.read_chunks, strict=True
        ):
            if length < n:
                more = 2 * math.ceil(halo / 2 / chunk) * chunk  # chunks that others read too
                more += chunk if length % chunk else 0
                found *= (length + more) / length
        return found


def default_chunks(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Chunks of some megabytes: as many of the last dims as fit, whole.

    >>> default_chunks((365, 1000, 2000), 4)
    (1, 524, 2000)
    """
    left, found = max(1, _CHUNK // itemsize), []
    for n in reversed(shape):
        found.append(max(1, min(n, left)))
        left = max(1, left // max(n, 1))
    return tuple(reversed(found))


def region_lengths(field: Field, limit: int) -> tuple[int, ...]:
    """The lengths of regions of which one is held in at most so many bytes; (), if none is.

    They are multiples of the output's chunks.
    """
    lengths = list(field.least)
    if field.held(lengths) > limit:
        return ()
    while True:
        best, least = None, field.read(lengths)
        is_small = math.prod(lengths) * (field.input_bytes + field.output_bytes) < _ENOUGH
        # The last dim first, whose samples are neighbours.
        for dim in reversed(range(len(lengths))):
            if lengths[dim] == field.shape[dim]:
                continue
            longer = list(lengths)
            longer[dim] = min(field.shape[dim], 2 * lengths[dim])
            if field.held(longer) > limit:
                continue
            cost = field.read(longer)
            if cost < least * 0.999 or (is_small and best is None):
                best, least = longer, min(cost, least)
        if best is None:
            return tuple(lengths)
        lengths = best


def boxes(shape: Sequence[int], lengths: Sequence[int]) -> Iterator[tuple[Span, ...]]:
    """All regions, in the order of memory.

    >>> [[str(each.first) for each in box] for box in boxes((3, 2), (2, 2))]
    [['0', '0'], ['2', '0']]
    """
    spans = [
        [Span(first, min(n, first + length)) for first in range(0, n, length)]
        for n, length in zip(shape, lengths, strict=True)
    ]
    return itertools.product(*spans)
