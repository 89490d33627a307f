"""The reference engine: what a plan means, in standard array operations.

It runs on every library that speaks the Python Array API, is differentiable and traceable where the
library is, and is the oracle for the fast engines.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from gridgrad.boundary import Fixed, place
from gridgrad.differences import difference, parts, precision
from gridgrad.engines.pairs import is_power_of_two
from gridgrad.plan import Plan, Term
from gridgrad.stencil import Row, Stencil

# Lays pieces end to end along a dim; each is what serves the samples from one index up to another.
Join = Callable[[Sequence[tuple[Any, Any, Any]], int], Any]
# The sum of derivatives in one expression, each by a stencil along a dim of samples; or None. It is told
# along which dims others are made beside it, too.
Whole = Callable[[Sequence[tuple[Stencil, int, Any]], frozenset[int]], Any]


def run(
    plan: Plan, inputs: Sequence[Any], computes: Sequence[Any], xp: Any, join: Join | None = None,
    whole: Whole | None = None,
) -> list[Any]:  # fmt: skip
    """The outputs of a plan, each in its dtype of `computes`.

    They are made of pieces where there is no `whole`, or it gives None; those are concatenated if there is
    no `join`.
    """

    def concat(pieces: Sequence[tuple[Any, Any, Any]], dim: int) -> Any:
        return xp.concat([piece for _, _, piece in pieces], axis=dim)

    if plan.between:
        found: list[Any] = [None] * plan.outputs
        for dtype, chosen, part in plan.by_key(computes):
            first, second = part.stages()
            between = run(first, inputs, [dtype] * part.between, xp, join, whole)
            made = run(second, (*inputs, *between), [dtype] * len(chosen), xp, join, whole)
            for k, value in zip(chosen, made, strict=True):
                found[k] = value
        return found

    dims = frozenset(term.dim for term in plan.terms)

    def total(terms: Sequence[Term], compute: Any) -> Any:
        if whole is not None:
            split = [(term, parts(inputs[term.input], compute, xp)) for term in terms]
            if all(len(samples) == 1 for _, samples in split):
                made = whole(
                    [(term.stencil, term.dim, samples[0]) for term, samples in split], dims
                )
                if made is not None:
                    return made
        if len(terms) > 1:
            return reduce(add, (total([term], compute) for term in terms))
        return _derivative(terms[0], inputs[terms[0].input], compute, xp, join or concat)

    return [
        total([term for term in plan.terms if term.output == output], compute)
        for output, compute in enumerate(computes)
    ]


def _derivative(term: Term, f: Any, compute: Any, xp: Any, join: Join) -> Any:
    """Each row's sum over the samples that it serves, laid end to end."""
    samples = parts(f, compute, xp)
    # Samples near the largest number have differences beyond it, though the derivative may be finite.
    # Scaling by this power of two is exact, and leaves room for any stencil's partial sums. It stands here,
    # as PyTorch's compiler makes a name of every float of a module, and an input of the program.
    room = 2.0**-10
    scaled = tuple(part * room for part in samples)

    def piece(first: int, last: int, row: Row) -> Any:
        found = _sum(term.dim, samples, first, last, row, xp)
        if xp.isdtype(f.dtype, "integral"):
            return found
        if _is_traced(row):
            # What is differentiated by weights must be finite throughout, also where it is not chosen.
            scale = xp.where(
                _is_finite(found, xp), xp.ones_like(found), xp.zeros_like(found) + room
            )
            return _sum(term.dim, samples, first, last, row, xp, scale) / scale
        # Here and not when all are joined, so that a compiler has one expression for each sample.
        rescued = _sum(term.dim, scaled, first, last, row, xp) * (1 / room)
        return xp.where(_is_finite(found, xp), found, rescued)

    n = f.shape[term.dim]
    return join([(*served[:2], piece(*served)) for served in term.stencil.rows(n)], term.dim)


def _is_finite(x: Any, xp: Any) -> Any:
    # Of real numbers this is one comparison, which isfinite is not where PyTorch's compiler makes it.
    return xp.isfinite(x) if xp.isdtype(x.dtype, "complex floating") else xp.abs(x) < math.inf


def _is_traced(row: Row) -> bool:
    """Whether a library differentiates by its weights, or may do so."""
    is_known = isinstance(row.weights[0], (float, np.ndarray))
    return not is_known or not isinstance(row.divisor, (float, complex, np.generic))


def _sum(
    dim: int, samples: tuple[Any, ...], first: int, last: int, row: Row, xp: Any, scale: Any = None
) -> Any:
    """A row's sum for the samples from one index up to another along a dim, each times a `scale`."""
    n = samples[0].shape[dim]

    def sample(offset: int) -> tuple[Any, ...]:
        found = unscaled(offset)
        return found if scale is None else tuple(part * scale for part in found)

    def unscaled(offset: int) -> tuple[Any, ...]:
        start, stop = first + offset, last + offset
        if row.sides is not None:
            start = place(start, n, row.sides)
            if isinstance(start, Fixed):
                # A sum, of which PyTorch's compiler knows how to leave the number open.
                return (xp.zeros_like(_window(samples[0], dim, first, last)) + start.value,)
            stop = start + 1
        return tuple(_window(part, dim, start, stop) for part in samples)

    def same(a: int, b: int) -> bool:
        """Whether two offsets lead to one sample."""
        if row.sides is None:
            return a == b
        return bool(place(first + a, n, row.sides) == place(first + b, n, row.sides))

    def along(weight: Any) -> Any:
        weight = _as_array(weight, samples[0], xp)
        return xp.reshape(weight, (-1, *(1,) * (samples[0].ndim - dim - 1)))

    if isinstance(row.weights[0], float):
        total = _sum_of_numbers(row, sample, same)
    else:
        total = _sum_of_arrays(row, sample, same, along, xp)
    # The sum of nothing is 0, and not -0 where the divisor is negative.
    return xp.zeros_like(sample(0)[0]) if total is None else _divide(total, row.divisor)


def _as_array(weight: Any, like: Any, xp: Any) -> Any:
    """Weights in the dtype and on the device of `like`; those of coordinates come as wide NumPy arrays."""
    if not isinstance(weight, np.ndarray):
        return xp.astype(weight, like.dtype, copy=False)
    if precision(xp, like.dtype) <= 53:
        weight = weight.astype(np.complex128 if np.iscomplexobj(weight) else np.float64)
    return xp.asarray(weight, dtype=like.dtype, device=getattr(like, "device", None))


def _divide(total: Any, divisor: Any) -> Any:
    """total / divisor, even where the divisor is beyond the range of the dtype of `total`."""
    if isinstance(divisor, float) and 1e-4 < abs(divisor) < 1e4 and is_power_of_two(divisor):
        # By a power of two, which is the same number and takes a tenth of the time.
        return total if divisor == 1 else total * (1 / divisor)
    if not isinstance(divisor, (float, complex)) or 1e-30 < abs(divisor) < 1e30:
        return total / divisor
    exponent = math.frexp(abs(divisor))[1]
    total = total / _times_power(divisor, -exponent)
    return _times_power(total, -exponent)


def _times_power(x: Any, exponent: int) -> Any:
    """x * 2**exponent, by factors that every floating dtype but half precision holds."""
    for _ in range(abs(exponent) // 64):
        x = x * 2.0 ** math.copysign(64, exponent)
    return x * 2.0 ** math.fmod(exponent, 64)


def _sum_of_numbers(
    row: Row, sample: Callable[[int], tuple[Any, ...]], same: Callable[[int, int], bool]
) -> Any:
    """The weighted sum of differences; None if there are none."""
    terms = []
    for w, plus, minus in row.differences():
        if minus is None:
            change = reduce(add, sample(plus))
        elif not same(plus, minus):
            change = _change(sample(plus), sample(minus))
        else:
            continue
        terms.append(change if w == 1 else w * change)
    return reduce(add, terms) if terms else None


def _sum_of_arrays(
    row: Row,
    sample: Callable[[int], tuple[Any, ...]],
    same: Callable[[int, int], bool],
    along: Callable[[Any], Any],
    xp: Any,
) -> Any:
    """The same of differences from the sample itself, unless it has no weight and must not be read."""
    weight = {k: along(w) for k, w in zip(row.offsets, row.weights, strict=True)}
    if row.plain:
        values = {k: reduce(add, sample(k)) for k in weight}
        return reduce(
            add, (xp.where(w == 0, xp.zeros_like(values[k]), w * values[k]) for k, w in weight.items())
        )  # fmt: skip
    others = [k for k in row.offsets if not same(k, 0)]
    if not others:
        return None
    other = others[0]
    unread = (weight[0] == 0) & ~xp.isfinite(sample(0)[0])
    pairs = zip(*_alike(sample(other), sample(0)), strict=True)
    reference = tuple(xp.where(unread, there, here) for there, here in pairs)
    total = 0
    for k in others:
        change = _change(sample(k), reference)
        absent = weight[k] == 0
        if not isinstance(row.weights[0], np.ndarray):
            # Another weight, of which this may be differentiated, would have the sample count.
            absent = absent & ~_is_finite(change, xp)
        if same(k, other):
            absent = absent | unread
        total = total + weight[k] * xp.where(absent, xp.zeros_like(change), change)
    return total


def _change(a: tuple[Any, ...], b: tuple[Any, ...]) -> Any:
    return difference(*_alike(a, b))


def _alike(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Two samples in as many parts; a number beyond an edge has one, since it is none of integers."""
    return (a, b) if len(a) == len(b) else ((reduce(add, a),), (reduce(add, b),))


def _window(part: Any, dim: int, start: Any, stop: Any) -> Any:
    return part[(*(slice(None),) * dim, slice(start, stop), ...)]
