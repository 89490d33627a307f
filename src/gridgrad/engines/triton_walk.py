"""How the GPU kernel walks arrays of one shape: dims joined, cut into tiles, in an order for caches."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from gridgrad.plan import Plan, Term

# Samples of a tile that are computed in single precision, and half as many in double: with 128 threads 8 a
# thread and 4, as many as fit into registers beside others.
_SAMPLES = 1024
# Samples of a tile along the last dim, where there are dims before it: full lines of the cache, and no more.
_LONGEST = 128
# Samples that a 32-bit index can count, with room for what a tile and a stencil reach beyond the last.
_INDEX = 2**31 - 2**20


class Walk(NamedTuple):
    """Arrays as the kernel sees them: three dims or more, those without terms joined where they can be.

    A tile extends along the last three dims. Tiles follow the last dims first; along dim `outer` they go
    through a band of `width` tiles of the next dim before they go on to the next band.
    """

    shape: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]  # of each array, in its elements
    place: tuple[int, ...]  # where each dim of the arrays went, if it has a term
    tile: tuple[int, int, int]
    outer: int
    width: int
    contiguous: bool  # whether every array's last dim is
    vector: int  # samples that may be loaded at once, as far as strides say
    wide: bool  # whether indices need 64 bits

    @property
    def counts(self) -> tuple[int, ...]:
        """Tiles along each dim."""
        sizes = (1,) * (len(self.shape) - 3) + self.tile
        return tuple(-(-n // size) for n, size in zip(self.shape, sizes, strict=True))


def walk(
    plan: Plan,
    shape: Sequence[int],
    strides: Sequence[Sequence[int]],
    sizes: Sequence[int],
    compute: int,
    cache: int,
) -> Walk:
    """The walk of a plan's arrays, inputs first, whose samples take so many bytes.

    They are computed in a dtype of `compute` bytes on a GPU whose second-level cache holds `cache` bytes.
    """
    active = {term.dim for term in plan.terms}
    groups = _join(shape, strides, active)
    place = [-1] * len(shape)
    lead = max(0, 3 - len(groups))
    for k, group in enumerate(groups):
        for dim in group:
            place[dim] = lead + k
    joined = (1,) * lead + tuple(math.prod(shape[dim] for dim in group) for group in groups)
    moves = tuple((0,) * lead + tuple(each[group[-1]] for group in groups) for each in strides)
    terms = tuple(term._replace(dim=place[term.dim]) for term in plan.terms)
    tile = _tile(joined, terms, _SAMPLES * 4 // compute)
    outer, width = _order(joined, terms, tile, plan, sizes, cache)
    contiguous = all(each[-1] == 1 or joined[-1] == 1 for each in moves)
    vector = 16 // max(sizes)
    aligned = all(n % vector == 0 for n in (joined[-1], *(s for each in moves for s in each[:-1])))
    reach = max(sum((n - 1) * s for n, s in zip(joined, each, strict=True)) for each in moves)
    inside = sum((n - 1) * max(each[k - 3] for each in moves) for k, n in enumerate(tile))
    wide = max(joined) > _INDEX or (reach > _INDEX and inside > _INDEX)
    return Walk(
        joined, moves, tuple(place), tile, outer, width, contiguous,
        vector if contiguous and aligned else 1, wide,
    )  # fmt: skip


def _join(
    shape: Sequence[int], strides: Sequence[Sequence[int]], active: set[int]
) -> list[list[int]]:
    """The dims that matter, in the order of memory, in groups of neighbours that are as good as one dim."""
    dims = [dim for dim, n in enumerate(shape) if n > 1 or dim in active]
    if all(strides[0][dim] or shape[dim] == 1 for dim in dims):
        dims.sort(key=lambda dim: -strides[0][dim] if shape[dim] > 1 else 0)
    groups: list[list[int]] = []
    for dim in dims:
        last = groups[-1][-1] if groups else None
        joins = last is not None and not active & {last, dim} and all(
            each[last] == each[dim] * shape[dim] for each in strides
        )  # fmt: skip
        if joins:
            groups[-1].append(dim)
        else:
            groups.append([dim])
    return groups


def _tile(shape: tuple[int, ...], terms: Sequence[Term], samples: int) -> tuple[int, int, int]:
    """As cubic as a tile can be that reads full lines: neighbours then come from the first-level cache."""
    active = {term.dim - len(shape) for term in terms}
    tile = [1, 1, min(_power(shape[-1]), _LONGEST)]
    while tile[2] > 32 and _waste(shape[-1], tile[2]) > 1.125 * _waste(shape[-1], tile[2] // 2):
        tile[2] //= 2
    room = min(samples, math.prod(map(_power, shape[-3:])))
    while math.prod(tile) < room:
        open_dims = [k for k in (0, 1) if tile[k] < shape[k - 3]]
        if open_dims:
            tile[min(open_dims, key=lambda k: (k - 3 not in active, tile[k], -k))] *= 2
        elif tile[2] < shape[-1]:
            tile[2] *= 2
        else:
            break
    return tile[0], tile[1], tile[2]


def _waste(n: int, size: int) -> int:
    """The samples of all tiles along a dim."""
    return -(-n // size) * size


def _power(n: int) -> int:
    """The smallest power of two from n on."""
    return 1 << (n - 1).bit_length()


def _order(
    shape: tuple[int, ...],
    terms: Sequence[Term],
    tile: tuple[int, int, int],
    plan: Plan,
    sizes: Sequence[int],
    cache: int,
) -> tuple[int, int]:
    """The outermost dim along which tiles share samples, and the band of the next that stays cached."""
    dims = len(shape)
    outer = min((term.dim for term in terms if shape[term.dim] > 1), default=0)
    outer = min(outer, dims - 2)
    reach = max(
        (abs(k) for term in terms if term.dim == outer for k in term.stencil.interior.offsets),
        default=0,
    )
    thick = 1 if outer < dims - 3 else tile[outer - dims + 3]
    read, written = sum(sizes[: plan.inputs]), sum(sizes[plan.inputs :])
    # What passes through the cache from a sample's first use to its last, for each row of the next dim.
    row = math.prod(shape[outer + 2 :]) * ((thick + 2 * reach) * read + thick * written)
    size = 1 if outer + 1 < dims - 3 else tile[outer + 1 - dims + 3]
    tiles = -(-shape[outer + 1] // size)
    # Half of the cache: it holds other lines too, and is not the last word on which to keep.
    return outer, max(1, min(tiles, cache // 2 // max(1, row * size)))
