"""The truth: the stencils of a first derivative in exact rational arithmetic."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np


def fractions(values: Any) -> list[Fraction]:
    """The exact values of integers or floats, longdouble included.

    >>> fractions(np.array([0.5, 3]))
    [Fraction(1, 2), Fraction(3, 1)]
    """
    return [v if isinstance(v, Fraction) else _fraction(v) for v in values]


def weights(x: Sequence[Fraction], i: int, edge_order: int) -> dict[int, Fraction]:
    """The weight of each sample that the derivative at sample i reads, zero weights left out.

    The derivative at x[i] of the polynomial through the stencil's samples, by Lagrange's formula.

    >>> weights(fractions([0, 1, 3]), 1, 1)
    {0: Fraction(-2, 3), 1: Fraction(1, 2), 2: Fraction(1, 6)}
    """
    n = len(x)
    if 0 < i < n - 1:
        window = range(i - 1, i + 2)
    elif i == 0:
        window = range(edge_order + 1)
    else:
        window = range(n - 1 - edge_order, n)
    found = {}
    for j in window:
        others = [k for k in window if k != j]
        numerator = sum(_product(x[i] - x[m] for m in others if m != k) for k in others)
        found[j] = numerator / _product(x[j] - x[k] for k in others)
    return {j: w for j, w in found.items() if w}


def derivative(
    f: Sequence[Any], x: Sequence[Any], edge_order: int = 1
) -> tuple[list[Fraction], list[Fraction]]:
    """The derivative at each sample, and the size of its largest term, w_j (f_j - f_i).

    >>> derivative([4, 1, 1, 16], [-2, -1, 1, 4])[0]
    [Fraction(-3, 1), Fraction(-2, 1), Fraction(2, 1), Fraction(5, 1)]
    """
    f, x = fractions(f), fractions(x)
    values, largest = [], []
    for i in range(len(f)):
        terms = [w * (f[j] - f[i]) for j, w in weights(x, i, edge_order).items()]
        values.append(sum(terms, Fraction(0)))
        largest.append(max(map(abs, terms)))
    return values, largest


def units_off(
    result: Any, f: Sequence[Any], x: Sequence[Any], edge_order: int = 1, digits: int | None = None
) -> float:
    """The largest error of a 1-D result, in units in the last place of the largest term.

    `digits` is the length of the significand whose last place is meant, the result's if not given.
    """
    digits = digits or np.finfo(result.dtype).nmant + 1
    worst = Fraction(0)
    for got, want, largest in zip(fractions(result), *derivative(f, x, edge_order), strict=True):
        error = abs(got - want)
        worst = max(worst, error / unit(largest, digits) if error else Fraction(0))
    return float(worst)


def unit(value: Fraction, digits: int) -> Fraction:
    """The unit in the last place of a number with so many binary digits.

    >>> unit(Fraction(3), 53) == Fraction(2) ** -51
    True
    """
    if not value:
        return Fraction(0)
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    if abs(value) < Fraction(2) ** exponent:
        exponent -= 1
    return Fraction(2) ** (exponent - digits + 1)


def _fraction(value: Any) -> Fraction:
    if isinstance(value, int | np.integer):
        return Fraction(int(value))
    if isinstance(value, np.floating):
        return Fraction(*value.as_integer_ratio())
    return Fraction(value)


def _product(factors: Any) -> Fraction:
    total = Fraction(1)
    for factor in factors:
        total *= factor
    return total
