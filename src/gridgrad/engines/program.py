"""A plan laid out for the CPU kernel: how arrays of one shape are walked, and the kernel's tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridgrad.plan import Plan
from gridgrad.stencil import Row, Stencil

# Samples of a row that are worked on at a time: with every output's, they fit in the first-level cache.
CHUNK_BYTES = 16384
# Below this many neighbours at one sample of a dim, a weight for each is cheaper than a loop for each.
_SHORT_RUN = 32


@dataclass(frozen=True)
class Walk:
    """The order in which samples are visited.

    Dims 0 to `split` lead from row to row or cut rows into pieces; a row is all the samples of dims
    `split` and after, which are neighbours in memory in every array.
    """

    shape: tuple[int, ...]
    split: int

    @property
    def period(self) -> int:
        """The neighbours at each sample of dim `split`."""
        return math.prod(self.shape[self.split + 1 :])

    @property
    def length(self) -> int:
        return math.prod(self.shape[self.split :])


def walk(shape: tuple[int, ...], strides: Sequence[tuple[int, ...]], size: int) -> Walk:
    """Join trailing dims into rows as long as a chunk, where every array has them side by side."""
    split, length = len(shape) - 1, shape[-1]
    while split > 0 and length * size < CHUNK_BYTES:
        if any(each[split - 1] != each[split] * shape[split] for each in strides):
            break
        split -= 1
        length *= shape[split]
    return Walk(shape, split)


def is_runnable(plan: Plan) -> bool:
    """Whether every weight is a real number whose value is known."""
    return all(_is_runnable(term.stencil) for term in plan.terms)


def _is_runnable(stencil: Stencil) -> bool:
    return all(
        isinstance(row.divisor, float)
        and (isinstance(row.weights[0], float) or row.divisor == 1)
        and all(
            isinstance(w, float) or (isinstance(w, np.ndarray) and w.dtype.kind == "f")
            for w in row.weights
        )
        for row in (*stencil.lower, stencil.interior, *stencil.upper)
    )


def reach(plan: Plan, dim: int) -> int:
    """How far along a dim the plan's terms read from a sample."""
    return max(
        (
            abs(offset)
            for term in plan.terms
            if term.dim == dim
            for row in (*term.stencil.lower, term.stencil.interior, *term.stencil.upper)
            for offset in row.offsets
        ),
        default=0,
    )


class _Tables:
    """The kernel's tables, while they grow."""

    def __init__(self, single: bool) -> None:
        self.single = single
        self.terms: list[list[int]] = []
        self.rules: list[tuple[int, int]] = []
        self.differences: list[tuple[int, int, int]] = []
        self.divisors: list[float] = []
        self.weights: list[float] = []
        self.varying: list[Any] = []  # arrays, which follow the weights of the differences

    def add_rule(self, row: Row, stride: int) -> None:
        differences = row.differences()
        self.rules.append((len(self.differences), len(differences)))
        self.differences += [(plus * stride, minus * stride, 0) for _, plus, minus in differences]
        self.weights += [weight for weight, _, _ in differences]
        self.divisors.append(row.divisor)

    def add_varying_rule(self, row: Row, stride: int) -> None:
        near = [offset for offset in row.offsets if offset != 0]
        self.rules.append((len(self.differences), len(near)))
        self.differences += [(offset * stride, 0, near[0] * stride) for offset in near]
        self.weights += [0.0] * len(near)
        self.divisors.append(1.0)

    def is_wide(self, stencil: Stencil) -> bool:
        """Whether a float64 scalar of NumPy's divides single precision, which promotes it."""
        divisor = stencil.interior.divisor
        return self.single and isinstance(divisor, np.float64) and np.float32(divisor) != divisor


def _numbers(row: Row) -> Row:
    """A row for one sample, its weights as numbers."""
    return Row(row.offsets, tuple(float(np.ravel(w)[0]) for w in row.weights), row.divisor)


def tables(
    plan: Plan, route: Walk, input_strides: Sequence[tuple[int, ...]], dtype: Any
) -> tuple[Any, ...]:
    """The tables of terms, rules, differences, weights and divisors; see `kernels` for their columns."""
    found = _Tables(dtype == np.float32)
    place = 0
    for output, input, dim, stencil in plan.terms:
        n, stride = route.shape[dim], input_strides[input][dim]
        run = math.prod(route.shape[dim + 1 :])
        inside = dim >= route.split
        varies = isinstance(stencil.interior.weights[0], np.ndarray)
        expanded = inside and run < _SHORT_RUN
        first_rule = len(found.rules)
        for row in stencil.lower:
            found.add_rule(_numbers(row), stride)
        unread = False
        varying = -1
        if varies:
            interior = stencil.interior
            found.add_varying_rule(interior, stride)
            weight = dict(zip(interior.offsets, interior.weights, strict=True))
            unread = bool((weight[0] == 0).any())
            columns = [w for offset, w in weight.items() if offset != 0]
            columns += [weight[0]] if unread else []
            full = np.zeros((len(columns), n), dtype)
            full[:, len(stencil.lower) : n - len(stencil.upper)] = columns
            if unread:  # edges have rules of their own
                full[-1, : len(stencil.lower)] = full[-1, n - len(stencil.upper) :] = 1
            full = np.repeat(full, run, axis=1) if expanded else full
            varying = place
            found.varying.append(full.ravel())
            place += full.size
        else:
            found.add_rule(stencil.interior, stride)
        for row in stencil.upper:
            found.add_rule(_numbers(row), stride)
        found.terms.append([
            output, input, -1 if inside else dim, n, run, len(stencil.lower), len(stencil.upper),
            first_rule, varying, expanded, unread, found.is_wide(stencil),
        ])  # fmt: skip
    terms = np.array(found.terms, np.int64)
    terms[terms[:, 8] >= 0, 8] += len(found.weights)
    return (
        terms,
        np.array(found.rules, np.int64),
        np.array(found.differences, np.int64),
        np.concatenate([np.array(found.weights, dtype), *found.varying]),
        np.array(found.divisors, np.float64),
    )
