"""A plan laid out for the CPU kernel: how arrays of one shape are walked, and the kernel's tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridgrad.plan import Plan, Term
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

    def chunk(self, dtype: Any) -> int:
        """The samples of a row that are worked on at a time."""
        return int(min(CHUNK_BYTES // dtype.itemsize, self.length))

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
        and not any(
            # A neighbour without a weight must not be read; this engine knows that of the sample itself.
            isinstance(w, np.ndarray) and offset != 0 and w.size > 1 and (w == 0).any()
            for offset, w in zip(row.offsets, row.weights, strict=True)
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
    """The kernel's tables, while they grow; see `kernels` for their columns."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.terms: list[list[int]] = []
        self.rules: list[tuple[int, int]] = []
        self.differences: list[tuple[int, int, int]] = []
        self.divisors: list[float] = []
        self.weights: list[float] = []
        self.varying: list[Any] = []

    def add_term(self, term: Term, route: Walk, stride: int) -> None:
        stencil, n = term.stencil, route.shape[term.dim]
        run = math.prod(route.shape[term.dim + 1 :])
        inside = term.dim >= route.split
        expanded = inside and run < _SHORT_RUN
        first_rule = len(self.rules)
        varying, unread = -1, False
        for row in stencil.lower:
            self._add_rule(_numbers(row), stride)
        if isinstance(stencil.interior.weights[0], np.ndarray):
            varying = sum(each.size for each in self.varying)
            unread = self._add_varying_rule(stencil, n, stride, run if expanded else 1)
        else:
            self._add_rule(stencil.interior, stride)
        for row in stencil.upper:
            self._add_rule(_numbers(row), stride)
        self.terms.append([
            term.output, term.input, -1 if inside else term.dim, n, run, len(stencil.lower),
            len(stencil.upper), first_rule, varying, expanded, unread, self._is_wide(stencil),
        ])  # fmt: skip

    def _add_rule(self, row: Row, stride: int) -> None:
        differences = row.differences()
        self.rules.append((len(self.differences), len(differences)))
        self.differences += [(plus * stride, minus * stride, 0) for _, plus, minus in differences]
        self.weights += [weight for weight, _, _ in differences]
        self.divisors.append(row.divisor)

    def _add_varying_rule(self, stencil: Stencil, n: int, stride: int, repeat: int) -> bool:
        """A rule with weights for each sample; whether some samples are not read at themselves."""
        weight = dict(zip(stencil.interior.offsets, stencil.interior.weights, strict=True))
        near = [offset for offset in weight if offset != 0]
        unread = bool((weight[0] == 0).any())
        full = np.zeros((len(near) + unread, n), self.dtype)
        inner = slice(len(stencil.lower), n - len(stencil.upper))
        full[: len(near), inner] = [weight[offset] for offset in near]
        if unread:
            full[-1] = 1  # edges have rules of their own
            full[-1, inner] = weight[0]
        self.varying.append(np.repeat(full, repeat, axis=1).ravel())
        self.rules.append((len(self.differences), len(near)))
        self.differences += [(offset * stride, 0, near[0] * stride) for offset in near]
        self.weights += [0.0] * len(near)
        self.divisors.append(1.0)
        return unread

    def _is_wide(self, stencil: Stencil) -> bool:
        """Whether a float64 scalar of NumPy's divides single precision, which promotes it."""
        divisor = stencil.interior.divisor
        return bool(
            self.dtype == np.float32
            and isinstance(divisor, np.float64)
            and np.float32(divisor) != divisor
        )


def _numbers(row: Row) -> Row:
    """A row for one sample, its weights as numbers."""
    return Row(row.offsets, tuple(float(np.ravel(w)[0]) for w in row.weights), row.divisor)


def compose(
    plan: Plan,
    route: Walk,
    strides: Sequence[tuple[int, ...]],
    dtype: Any,
) -> tuple[Any, Any]:
    """The kernel's tables for arrays of these strides, inputs first, and its weights.

    The last numbers of the tables, for each box anew, are left to the caller: see `kernels.run_box`.
    """
    found = _Tables(dtype)
    for term in plan.terms:
        found.add_term(term, route, strides[term.input][term.dim])
    # Varying weights follow the differences' own.
    for term_row in found.terms:
        if term_row[8] >= 0:
            term_row[8] += len(found.weights)
    weights = np.concatenate([np.array(found.weights, dtype), *found.varying])
    dims = route.split
    header = [
        dims, plan.inputs, plan.outputs, len(found.terms), len(found.rules),
        len(found.differences), len(weights), route.length, route.chunk(dtype),
    ]  # fmt: skip
    rows = [
        header, *(each[:dims] for each in strides), *found.terms, *found.rules,
        *found.differences, np.array(found.divisors, np.float64).view(np.int64),
        [0] * (2 * dims + 2 + plan.inputs + plan.outputs),
    ]  # fmt: skip
    return np.array([number for row in rows for number in row], np.int64), weights
