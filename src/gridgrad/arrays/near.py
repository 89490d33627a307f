"""Derivatives made of a sample and its two neighbours, with weights of each sample's own, for fused programs.

At edges a third neighbour may be read besides.

The weights are arrays that a program gets when it runs: see `placed`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from gridgrad.engines.pairs import Neighbours, Third
from gridgrad.errors import GridError
from gridgrad.plan import Plan, Term
from gridgrad.stencil import Row, Stencil

_AROUND = (-1, 0, 1)
# Arrays for the derivative and for its transpose, of as many numbers as samples; and numbers besides.
_FORWARD, _BACK, _BESIDES = 3, 4, 2


class Part(NamedTuple):
    """Numbers for samples, one each: some of many, from the first on."""

    numbers: Any
    first: int

    def across(self, dim: int, x: Any, begin: int, end: int) -> Any:
        """The numbers of those samples of x along a dim, for all of x.

        What is as large as x a program makes again for its backward pass, and all parts of the numbers
        together then; parts of their own it would keep, each for itself.
        """
        whole = self.numbers.reshape((-1,) + (1,) * (x.ndim - dim - 1))
        shape = *x.shape[:dim], whole.shape[0], *x.shape[dim + 1 :]
        return whole.expand(shape).narrow(dim, self.first + begin, end - begin)


@dataclass(frozen=True)
class Near(Neighbours):
    """The derivative at sample i of samples i - 1, i and i + 1, or its transpose, if it is `plain`.

    Indices beyond an edge lead to the last sample before it, which has no weight then.
    """

    arrays: tuple[Part, ...]
    plain: bool

    def value(self, samples: Sequence[Any], along: Callable[[Any], Any]) -> Any:
        """The derivative, of the samples and what `along` makes of arrays: such that match these.

        Weights are halves at most and differences halved, so that nothing overflows but what must. What has
        no weight is not read. That of the one after is 0, too, where the sample itself has none: all is in
        what the one before differs by then.
        """
        *weights, size = map(along, self.arrays)
        before, own, after = samples
        if self.plain:
            changes = list(samples)
        else:
            reference = torch.where(weights[1] == 0, after, own)
            changes = [before * 0.5 - reference * 0.5, after * 0.5 - own * 0.5]
        nothing = own.new_full((), 0)
        total = None
        for weight, change in zip(weights, changes, strict=True):
            each = torch.where(weight == 0, nothing, weight * change)
            total = each if total is None else total + each
        return total * size


def near(stencil: Stencil, n: int) -> Near | None:
    """What `with_arrays` put into a stencil for n samples, if it did."""
    parts, plain = stencil.interior.weights, stencil.interior.plain
    if not isinstance(parts[0], Part):
        return None
    thirds = []
    edges = (0, 1, 2), (n - 1, n - 2, n - 3)
    for row, (edge, neighbour, far) in zip((*stencil.lower, *stencil.upper), edges, strict=False):
        ends = (
            (far, edge, row.weights[0], None) if plain else (edge, far, row.weights[0], neighbour)
        )
        thirds.append(Third(*ends))
    return Near(_AROUND, False, tuple(thirds), tuple(parts), plain)


def edges_of(plan: Plan, shape: Sequence[int]) -> int:
    """How many samples all edges read if every term of a plan is made of a sample's neighbours; else 0.

    >>> ends = Row((0, 1), (-1.0, 1.0)), Row((-1, 0), (-1.0, 1.0))
    >>> stencil = Stencil(ends[:1], Row((-1, 0, 1), (-1.0, 0.0, 1.0)), ends[1:])
    >>> edges_of(Plan(1, 1, (Term(0, 0, 0, stencil),)), (9,))
    2
    """
    found = {_edges_of(term.stencil, shape[term.dim]) for term in plan.terms}
    return found.pop() if len(found) == 1 else 0


def _edges_of(stencil: Stencil, n: int) -> int:
    rows = (*stencil.lower, stencil.interior, *stencil.upper)
    if stencil.interior.offsets != _AROUND or not len(stencil.lower) == len(stencil.upper) == 1:
        return 0
    if any(row.sides is not None or row.plain for row in rows):
        return 0
    lower, _, upper = (row.offsets for row in rows)
    if lower == (0, 1) and upper == (-1, 0):
        return 2
    # Of 5 samples both edges read the one in the middle.
    return 3 if lower == (0, 1, 2) and upper == (-2, -1, 0) and n != 5 else 0


def count(plan: Plan, shape: Sequence[int]) -> int:
    """How many numbers `arrays_of` makes for a plan."""
    return sum(_count(shape[term.dim]) for term in plan.terms)


def _count(n: int) -> int:
    return (_FORWARD + _BACK) * n + _BESIDES


def arrays_of(plan: Plan, shape: Sequence[int], dtype: Any) -> Any:
    """The numbers of all terms of a plan, one after another.

    Each has the arrays of the derivative, those of its transpose, and for either edge a quarter of the weight
    of the third sample that it reads, or 0.

    Raises `GridError` for weights beyond the range of the dtype.
    """
    found = [_arrays(term.stencil, shape[term.dim], dtype, term.dim) for term in plan.terms]
    return np.concatenate([each.ravel() for arrays in found for each in arrays])


def with_arrays(
    plan: Plan, shape: Sequence[int], numbers: Any, edges: int, transposed: bool
) -> Plan:
    """A plan whose edges read so many samples, or its transpose, with what `arrays_of` made for it."""
    terms, first = [], 0
    for term in plan.terms:
        n, ends = shape[term.dim], (term.output, term.input)
        begin, kind = (first + _FORWARD * n, _BACK) if transposed else (first, _FORWARD)
        parts = tuple(Part(numbers, begin + i * n) for i in range(kind))
        first += _count(n)
        thirds: list[tuple[Row, ...]] = [(), ()]
        if edges == 3:
            places = first - _BESIDES, first - 1
            thirds = [(Row((0,), (numbers.narrow(0, k, 1),)),) for k in places]
        stencil = Stencil(thirds[0], Row(_AROUND, parts, plain=transposed), thirds[1])
        terms.append(Term(*(ends[::-1] if transposed else ends), term.dim, stencil))
    ends = (plan.outputs, plan.inputs) if transposed else (plan.inputs, plan.outputs)
    return Plan(*ends, tuple(terms), plan.between)


def _arrays(stencil: Stencil, n: int, dtype: Any, dim: int) -> list[Any]:
    weights, thirds = np.zeros((3, n)), np.zeros(_BESIDES)
    for first, last, row in stencil.rows(n):
        for offset, weight in zip(row.offsets, row.weights, strict=True):
            if abs(offset) > 1:
                thirds[int(offset < 0)] = np.ravel(weight)[0] / row.divisor
            else:
                weights[1 + offset, first:last] = weight / row.divisor
    before, own, after = weights
    back = np.zeros_like(weights)
    back[0, 1:], back[1], back[2, :-1] = after[:-1], own, before[1:]
    ahead = np.stack([before, np.where(own == 0, 0, after)])
    if thirds.any():
        # A third sample counts less the neighbour, so that a sample without a weight is not read.
        ahead[1, 0], ahead[0, -1] = -own[0], -own[-1]
    found = [
        np.concatenate(_scaled(each, thirds, places, halves, dtype, dim))
        for each, places, halves in ((ahead, [0, n - 1], 1), (back, [2, n - 3], 0))
    ]
    return [*found, (thirds / 4).astype(dtype)]


def _scaled(
    weights: Any, thirds: Any, places: Sequence[int], halves: int, dtype: Any, dim: int
) -> tuple[Any, Any]:
    """Weights that add up to 1 at most, and a factor for each sample, a power of two, to make up for it.

    It makes up for samples that are halved so many times, too, but leaves a quarter where a third sample is
    to be added, at these places.
    """
    largest = np.abs(weights).max(axis=0)
    if thirds.any():
        largest[places] = np.maximum(largest[places], np.abs(thirds))
    powers = np.frexp(largest)[1] + 1 + (len(weights) > 2)
    sizes = powers + halves
    if sizes.min() < np.finfo(dtype).minexp + 2 or sizes.max() >= np.finfo(dtype).maxexp:
        raise GridError(
            f"coordinates for dim {dim} have gaps of sizes beyond the range of {np.dtype(dtype).name}, "
            "which no compiled program is made for."
        )
    if thirds.any():
        sizes[places] -= 2
    found = np.ldexp(weights, -powers).astype(dtype)
    # What has no weight is not read: what has one may not lose it.
    lost = (weights != 0) & (found == 0)
    found[lost] = np.copysign(np.finfo(dtype).tiny, weights[lost])
    return found, np.ldexp(np.ones((1, 1)), sizes).astype(dtype)
