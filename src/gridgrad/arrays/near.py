"""Derivatives made of a sample and its two neighbours, with weights of each sample's own, for fused programs.

The weights are arrays that a program gets when it runs: see `placed`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from gridgrad.errors import GridError
from gridgrad.plan import Plan, Term
from gridgrad.stencil import Row, Stencil

_AROUND = (-1, 0, 1)
# Arrays for the derivative and for its transpose, of as many numbers as there are samples.
_FORWARD, _BACK = 3, 4


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


class Near(NamedTuple):
    """The derivative at sample i of samples i - 1, i and i + 1, or its transpose, if it is `plain`.

    Indices beyond an edge lead to the last sample before it, which has no weight then.
    """

    arrays: tuple[Any, ...]
    plain: bool
    offsets: tuple[int, ...] = _AROUND
    wraps: bool = False
    reach: int = 1

    def place(self, index: int, n: int) -> int:
        """The sample that an index leads to."""
        return min(max(index, 0), n - 1)

    def beyond(self, offset: int, n: int) -> range:
        """The samples from which an offset leads beyond an edge."""
        return range(n - offset, n) if offset > 0 else range(-offset)

    def stays(self, n: int) -> bool:
        return True

    def edges(self, n: int) -> tuple[int, int]:
        """How many samples at either edge are not made as all between them are."""
        return 1, 1

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


def near(stencil: Stencil) -> Near | None:
    """The arrays of a stencil that `with_arrays` gave them to."""
    row = stencil.interior
    return Near(tuple(row.weights), row.plain) if isinstance(row.weights[0], Part) else None


def is_near(stencil: Stencil) -> bool:
    """Whether a derivative is made of its neighbours so, by its offsets.

    >>> ends = Row((0, 1), (-1.0, 1.0)), Row((-1, 0), (-1.0, 1.0))
    >>> is_near(Stencil(ends[:1], Row((-1, 0, 1), (-1.0, 0.0, 1.0)), ends[1:]))
    True
    """
    rows = (*stencil.lower, stencil.interior, *stencil.upper)
    is_open = all(row.sides is None and not row.plain for row in rows)
    return is_open and [row.offsets for row in rows] == [(0, 1), _AROUND, (-1, 0)]


def count(plan: Plan, shape: Sequence[int]) -> int:
    """How many numbers `arrays_of` makes for a plan."""
    return sum((_FORWARD + _BACK) * shape[term.dim] for term in plan.terms)


def arrays_of(plan: Plan, shape: Sequence[int], dtype: Any) -> Any:
    """The arrays of all terms of a plan, one after another: those of the derivative, then of its transpose.

    Raises `GridError` for weights beyond the range of the dtype.
    """
    found = [_arrays(term.stencil, shape[term.dim], dtype, term.dim) for term in plan.terms]
    return np.concatenate([each.ravel() for arrays in found for each in arrays])


def with_arrays(plan: Plan, shape: Sequence[int], numbers: Any, transposed: bool) -> Plan:
    """A plan, or its transpose, with what `arrays_of` made for it."""
    terms, first = [], 0
    for term in plan.terms:
        n, ends = shape[term.dim], (term.output, term.input)
        begin, kind = (first + _FORWARD * n, _BACK) if transposed else (first, _FORWARD)
        parts = tuple(Part(numbers, begin + i * n) for i in range(kind))
        stencil = Stencil((), Row(_AROUND, parts, plain=transposed), ())
        terms.append(Term(*(ends[::-1] if transposed else ends), term.dim, stencil))
        first += (_FORWARD + _BACK) * n
    ends = (plan.outputs, plan.inputs) if transposed else (plan.inputs, plan.outputs)
    return Plan(*ends, tuple(terms), plan.between)


def _arrays(stencil: Stencil, n: int, dtype: Any, dim: int) -> list[Any]:
    weights = np.zeros((3, n))
    for first, last, row in stencil.rows(n):
        for offset, weight in zip(row.offsets, row.weights, strict=True):
            weights[1 + offset, first:last] = weight / row.divisor
    before, own, after = weights
    back = np.zeros_like(weights)
    back[0, 1:], back[1], back[2, :-1] = after[:-1], own, before[1:]
    ahead = np.stack([before, np.where(own == 0, 0, after)])
    return [
        np.concatenate([*_scaled(each, dtype, of_sum, of_change, dim)])
        for each, of_sum, of_change in ((ahead, 1, 1), (back, 2, 0))
    ]


def _scaled(weights: Any, dtype: Any, of_sum: int, of_change: int, dim: int) -> tuple[Any, Any]:
    """Weights of 1 at most, halved `of_sum` times, by a factor for each sample: a power of two.

    It makes up for that, and for samples that are halved `of_change` times.
    """
    powers = np.frexp(np.abs(weights).max(axis=0))[1] + of_sum
    sizes = powers + of_change
    if sizes.min() < np.finfo(dtype).minexp or sizes.max() >= np.finfo(dtype).maxexp:
        raise GridError(
            f"coordinates for dim {dim} have gaps of sizes beyond the range of {np.dtype(dtype).name}, "
            "which no compiled program is made for."
        )
    return np.ldexp(weights, -powers).astype(dtype), np.ldexp(np.ones((1, 1)), sizes).astype(dtype)
