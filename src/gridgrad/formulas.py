"""Finite-difference weights: exact rationals on a uniform grid, Fornberg's recursion on any other."""

import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from gridgrad.caching import remember
from gridgrad.errors import GridError, GridTypeError


def weights(offsets: Sequence[int | Fraction], order: int) -> tuple[Fraction, ...]:
    """The exact weights w of sum_j w[j] f(x + offsets[j] h) / h**order, the derivative of that order at x.

    They are the derivative of the polynomial through the samples, for which the sum is exact up to degree
    len(offsets) - 1. `offsets` are distinct integers or fractions, in units of the step; order 0
    interpolates. Raises `GridError` for repeated offsets and for an order that so few samples do not have.

    Source: B. Fornberg, Generation of finite difference formulas on arbitrarily spaced grids,
    Mathematics of Computation 51 (1988), 699-706.

    >>> import gridgrad
    >>> [str(w) for w in gridgrad.weights([-1, 0, 1], 2)]
    ['1', '-2', '1']
    >>> [str(w) for w in gridgrad.weights([0, 1, 2], 1)]
    ['-3/2', '2', '-1/2']
    """
    try:
        exact = tuple(Fraction(offset) for offset in offsets)
        number = operator.index(order)
    except (TypeError, ValueError) as error:
        raise GridTypeError(
            f"offsets must be integers or fractions and order an integer, but are {offsets!r:.80} and "
            f"{order!r:.40}."
        ) from error
    if len(set(exact)) < len(exact):
        raise GridError(f"offsets must be distinct, but are {offsets!r:.80}.")
    if not 0 <= number < len(exact):
        raise GridError(
            f"order must be from 0 to {len(exact) - 1} with {len(exact)} offsets, but is {number}."
        )
    found: tuple[Fraction, ...] = uniform_weights(exact, number)
    return found


@remember
def uniform_weights(offsets: tuple[Any, ...], order: int) -> tuple[Fraction, ...]:
    """The weights w of sum_j w[j] f(x + offsets[j] h) / h**order, the derivative of that order at x.

    Exact rationals: the derivative at 0 of the polynomial through the samples, for which the sum is
    exact up to degree len(offsets) - 1.

    Source: B. Fornberg, Generation of finite difference formulas on arbitrarily spaced grids,
    Mathematics of Computation 51 (1988), 699-706.

    >>> uniform_weights((-1, 0, 1), 1)
    (Fraction(-1, 2), Fraction(0, 1), Fraction(1, 2))
    """
    return tuple(fornberg([Fraction(offset) for offset in offsets], order))


def first_derivative(offsets: Sequence[Any], gap: Callable[[int, int], Any]) -> list[Any]:
    """`fornberg(offsets, 1, gap)` where one offset is the number 0, as products of quotients.

    Fewer operations, and each weight but the sample's own is right to a few roundings, whatever the
    spread of the offsets. Source: the derivative of Lagrange's polynomials.

    >>> from fractions import Fraction
    >>> offsets = [Fraction(-1), 0, Fraction(2)]
    >>> [str(w) for w in first_derivative(offsets, lambda i, j: offsets[i] - offsets[j])]
    ['-2/3', '1/2', '1/6']
    """
    near = [k for k, offset in enumerate(offsets) if not isinstance(offset, int)]
    found: list[Any] = [0] * len(offsets)
    for j in near:
        others = [k for k in near if k != j]
        if not others:
            found[j] = 1 / offsets[j]
        for count, k in enumerate(others):
            if count == 0:  # one division, not two
                found[j] = offsets[k] / (offsets[j] * gap(k, j))
            else:
                found[j] = found[j] * (offsets[k] / gap(k, j))
    own = -sum(found[j] for j in near)
    return [found[k] if k in near else own for k in range(len(offsets))]


def fornberg(
    offsets: Sequence[Any], order: int, gap: Callable[[int, int], Any] | None = None
) -> list[Any]:
    """The weights of the derivative of that order at 0 from samples at `offsets`.

    The offsets are exact numbers, or arrays of one shape with an offset for each of many stencils; the
    weights are alike. `gap(i, j)` is offset i less offset j, for those who know it better than to
    subtract rounded offsets. Additions, products and quotients only, so it is differentiable where they are.

    Source: B. Fornberg, Calculation of weights in finite difference formulas, SIAM Review 40 (1998),
    685-691.

    >>> from fractions import Fraction
    >>> [str(w) for w in fornberg([Fraction(0), Fraction(1), Fraction(2)], 1)]
    ['-3/2', '2', '-1/2']
    """
    if gap is None:
        gap = lambda i, j: offsets[i] - offsets[j]  # noqa: E731  # a def would redefine the argument
    zero = offsets[0] - offsets[0]
    one = zero + 1
    # table[k][j]: the weight of sample j in the derivative of order k, from the samples seen so far.
    table = [[one if k == 0 else zero] for k in range(order + 1)]
    previous_product = one
    for i in range(1, len(offsets)):
        apart = [gap(i, j) for j in range(i)]
        product = one
        for each in apart:
            product = product * each
        newest = [
            previous_product * ((k * table[k - 1][-1] if k else 0) - offsets[i - 1] * table[k][-1])
            for k in range(order + 1)
        ]
        for j in range(i):
            for k in range(order, -1, -1):
                lower = k * table[k - 1][j] if k else 0
                table[k][j] = (offsets[i] * table[k][j] - lower) / apart[j]
        for k in range(order + 1):
            table[k].append(newest[k] / product)
        previous_product = product
    return table[order]
