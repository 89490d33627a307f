"""Expressions for a derivative along one dim, of operations that PyTorch's compiler fuses: `fused` picks one.

Each reads its samples another way: by index, as the next ones in memory, or as pieces laid end to end.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice, pairwise, repeat
from typing import Any

import torch

from gridgrad.arrays.near import Near, Part
from gridgrad.engines.pairs import Pairs, Varied

# Samples up to which the one form of a joined dim takes less time, and the other above.
FEW = 1 << 13
# Of fewer rows than this the first and the last are much of all.
_FEW_ROWS = 64


def cuts(found: Pairs | Near, n: int) -> list[tuple[int, int]]:
    """From which sample up to which each row serves that serves some."""
    before, after = found.edges(n)
    return list(pairwise(sorted({*range(before + 1), *range(n - after, n + 1)})))


def piece(found: Pairs | Near, dim: int, arrays: Iterable[Any], begin: int, end: int) -> Any:
    """The derivative from one sample up to another, which one row serves.

    Each sample that it reads is of an array; all of these hold the same.
    """
    arrays, count = iter(arrays), end - begin
    samples = [
        x.narrow(dim, found.place(begin + offset, x.shape[dim]), count)
        for x, offset in zip(islice(arrays, len(found.offsets)), found.offsets, strict=True)
    ]

    def along(number: Any) -> Any:
        if isinstance(number, Varied):
            return number.at(begin)
        return number.across(dim, samples[0], begin, end)

    total = found.value(samples, along)
    for third in found.thirds:
        if third.place == begin:
            total = third.added(total, lambda i: next(arrays).narrow(dim, i, 1))
    return total


def reads(found: Pairs | Near) -> int:
    """How many arrays to read is most."""
    return len(found.offsets) + 2 * len(found.thirds)


def by_index(
    found: Pairs | Near,
    dim: int,
    arrays: Iterable[Any],
    places: range | None = None,
    own: bool = False,
    apart: Any = None,
) -> Any:
    """All samples read by index, where the compiler sees what is next to what.

    It makes one loop of derivatives along several dims only if each reads a sample in its `own` place, too.
    """
    arrays = list(islice(arrays, reads(found)))
    first, n = arrays[0], arrays[0].shape[dim]
    places = places or range(n)
    place = places_of(dim, first, places)
    index = torch.arange(places.start, places.stop, device=first.device)

    def sample(x: Any, offset: int, own: bool) -> Any:
        if offset == 0:
            return x.narrow(dim, places.start, len(places))
        at = index + offset
        edge = {"max": n - 1} if offset > 0 else {"min": 0}
        at = at % n if found.wraps else at.clamp(**edge)
        moved = x[(slice(None),) * dim + (at,)]
        return torch.where(place == (n - 1 if offset > 0 else 0), x, moved) if own else moved

    def across(part: Part) -> Any:
        return part.across(dim, first, places.start, places.stop)

    along = _along(lambda i: place == i, first, across, apart)
    own = own and not found.wraps and 0 not in found.offsets
    others = iter(arrays[len(found.offsets) :])

    def another(i: int, is_own: bool) -> Any:
        x = next(others)
        return sample(x, 0, False) if is_own else x.narrow(dim, i, 1)

    samples = [*map(sample, arrays, found.offsets, (own, False, False))]
    return _with_thirds(found, samples, along, lambda i: place == i, another)


def by_rows(found: Pairs | Near, x: Any, n: int, step: int, is_given: bool) -> Any:
    """The derivative along a dim of n samples within rows, whose neighbours are so far away in memory.

    At an edge they are the sample itself; or others, if a row is n samples and no more.
    """
    rows, length = x.shape
    index = torch.arange(rows, device=x.device)
    place = places_of(1, x, range(length))
    if length > n * step:
        # Memory, though of one row only, where it would be a division for each sample.
        place = (place // step % n).as_strided((length,), (1,))
    flat = x
    if is_given:
        # That would lead beyond all samples in the first and in the last row, which are made apart.
        inner, line = (index - 1).clamp(0, rows - 3), x.reshape(-1)

        def neighbours(offset: int) -> Any:
            inside = line.narrow(0, length + offset * step, (rows - 2) * length)
            return inside.reshape(rows - 2, length)[inner]
    else:
        # What is made here has a row more on either side, and `as_strided` makes memory of it.
        padded = torch.constant_pad_nd(x, [0, 0, 1, 1])

        def neighbours(offset: int) -> Any:
            return padded.as_strided((rows, length), (length, 1), length + offset * step)

        flat = neighbours(0)

    def at(i: int) -> Any:
        if step == 1 or length > n * step:
            return place == i
        return place < step if i == 0 else (place >= i * step) & (place < (i + 1) * step)

    def sample(offset: int) -> Any:
        if offset == 0:
            return flat
        moved = neighbours(offset)
        for i in found.beyond(offset, n):
            there = found.place(i + offset, n)
            moved = torch.where(at(i), flat if there == i else flat.narrow(1, there, 1), moved)
        return moved

    def across(part: Part) -> Any:
        if n == length:
            return part.across(1, x, 0, n)
        # Memory, as the row of places is.
        row = (
            part.numbers.narrow(0, part.first, n)
            .reshape(-1, 1)
            .expand(length // (n * step), n, step)
        )
        return row.reshape(length).as_strided((length,), (1,))

    def another(i: int, is_own: bool) -> Any:
        return flat if is_own else flat.narrow(1, i, 1)

    samples = [*map(sample, found.offsets)]
    total = _with_thirds(found, samples, _along(at, x, across), at, another)
    if not is_given:
        return total
    ends = _ends(found, x.reshape(rows, -1, n, step)[:: rows - 1], rows).reshape(2, length)
    row = places_of(0, flat, range(rows))
    return torch.where((row == 0) | (row == rows - 1), ends[index.clamp(max=1)], total)


def _with_thirds(
    found: Pairs | Near,
    samples: Sequence[Any],
    along: Callable[[Any], Any],
    at: Callable[[int], Any],
    another: Callable[[int, bool], Any],
) -> Any:
    """The derivative of these samples and, at edges, of others, which `another` reads, told of the own."""
    total = found.value(samples, along)
    for third in found.thirds:

        def sample(i: int, place: int = third.place) -> Any:
            if i - place in found.offsets:  # which is read there as it is
                return samples[found.offsets.index(i - place)]
            return another(i, i == place)

        total = torch.where(at(third.place), third.added(total, sample), total)
    return total


def _ends(found: Pairs | Near, x: Any, rows: int) -> Any:
    """The derivative along the third of four dims, in the first and the last of so many rows.

    Memory, as every row reads it: of operations that are made again, which read by index; or, where that
    would take as long as all other rows, of pieces laid end to end.
    """
    _, groups, n, step = x.shape
    length = groups * n * step
    if rows >= _FEW_ROWS or length < FEW:
        return by_index(found, 2, repeat(x)).as_strided(x.shape, (length, n * step, step, 1))
    return torch.cat([piece(found, 2, repeat(x), *cut) for cut in cuts(found, n)], 2)


def places_of(dim: int, x: Any, places: range) -> Any:
    """Indices of samples along a dim, in 32 bits: those of 64 PyTorch keeps for a backward pass."""
    index = torch.arange(places.start, places.stop, dtype=torch.int32, device=x.device)
    return index.reshape((len(places),) + (1,) * (x.ndim - dim - 1))


def _along(
    at: Callable[[int], Any], x: Any, across: Callable[[Part], Any], apart: Any = None
) -> Callable[[Any], Any]:
    """What makes of a varied number one for each sample, or one for all; `at` says where a place is.

    Numbers for each sample are laid `across`.
    """

    def along(number: Any) -> Any:
        if not isinstance(number, Varied):
            values = across(number)
            return values if apart is None else torch.where(apart, x.new_full((), 0), values)
        values = number.inner
        others = [(at(i), value) for i, value in number.others if value != number.inner]
        for where, value in others if apart is None else [*others, (apart, 0.0)]:
            rest = values if isinstance(values, torch.Tensor) else x.new_full((), values)
            values = torch.where(where, x.new_full((), value), rest)
        return values

    return along
