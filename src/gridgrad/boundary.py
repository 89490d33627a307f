"""What stands beyond the edges of a dim, for stencils that reach there."""

import math
import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple

from gridgrad.errors import GridError, GridTypeError

ONE_SIDED, PERIODIC, REFLECT, REPLICATE = "one-sided", "periodic", "reflect", "replicate"
_KINDS = (ONE_SIDED, PERIODIC, REFLECT, REPLICATE)

# For the lower side and the upper: one of the kinds, or the number that stands everywhere beyond.
Sides = tuple[Any, Any]


class Fixed(NamedTuple):
    """A sample beyond the edge that is not in the input."""

    value: float


def place(index: Any, n: Any, sides: Sides) -> Any:
    """Which sample stands at an index from below 0 to above n - 1: an index of the input, or Fixed.

    >>> [place(i, 4, ("reflect", "replicate")) for i in (-2, -1, 0, 3, 4, 5)]
    [2, 1, 0, 3, 3, 3]
    >>> [place(i, 4, ("periodic", "periodic")) for i in (-1, 4)]
    [3, 0]
    """
    if 0 <= index < n:
        return index
    kind = sides[0] if index < 0 else sides[1]
    if kind == PERIODIC:
        return index % n
    if kind == REFLECT:
        return -index if index < 0 else 2 * (n - 1) - index
    if kind == REPLICATE:
        return 0 if index < 0 else n - 1
    return Fixed(kind)


def resolve_sides(boundary: Any, dims: tuple[int, ...]) -> list[Sides]:
    """The `boundary` argument as two sides for each differentiated dim."""
    if _is_one(boundary):
        return [(_side(boundary), _side(boundary))] * len(dims)
    if not isinstance(boundary, (tuple, list)):
        raise GridTypeError(_not_understood(boundary))
    if len(dims) == 1 and len(boundary) == 2 and all(map(_is_one, boundary)):
        boundary = [boundary]  # the two sides of the only dim
    if len(boundary) != len(dims):
        raise GridError(
            f"boundary must be one value or have one entry for each of the {len(dims)} differentiated "
            f"dims, each a value or a pair (lower side, upper side), but has {len(boundary)} entries."
        )
    return [_pair(entry, dim) for entry, dim in zip(boundary, dims, strict=True)]


def _pair(entry: Any, dim: int) -> Sides:
    if _is_one(entry):
        return _side(entry), _side(entry)
    if not isinstance(entry, (tuple, list)) or len(entry) != 2 or not all(map(_is_one, entry)):
        raise GridTypeError(_not_understood(entry))
    lower, upper = _side(entry[0]), _side(entry[1])
    if (lower == PERIODIC) != (upper == PERIODIC):
        raise GridError(
            f"boundary for dim {dim} is periodic on one side only, {lower!r} and {upper!r}; a periodic "
            "dim has no edges."
        )
    return lower, upper


def _is_one(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, numbers.Real) and not isinstance(value, bool)
    )


def _side(value: Any) -> Any:
    if isinstance(value, str):
        if value not in _KINDS:
            raise GridError(
                f"boundary must be one of {', '.join(map(repr, _KINDS))} or a number, but is {value!r:.80}."
            )
        return value
    if not -math.inf < value < math.inf:  # isfinite is none of the functions that compilers read
        raise GridError(f"boundary must be a finite number, but is {value}.")
    return float(value)


def _not_understood(value: Any) -> str:
    return (
        f"boundary must be one of {', '.join(map(repr, _KINDS))}, a number, or a pair of these "
        f"(lower side, upper side), but is {value!r:.80}."
    )


def resolve_periods(period: Any, sides: Sequence[Sides], dims: tuple[int, ...]) -> list[Any]:
    """The `period` argument as one entry, or None, for each differentiated dim."""
    periods = list(period) if isinstance(period, (tuple, list)) else [period] * len(dims)
    if len(periods) != len(dims):
        raise GridError(
            f"period must be one value or have one entry for each of the {len(dims)} differentiated dims, "
            f"but has {len(periods)}."
        )
    if not isinstance(period, (tuple, list)) and any(each[0] == PERIODIC for each in sides):
        periods = [
            p if each[0] == PERIODIC else None for p, each in zip(periods, sides, strict=True)
        ]
    for entry, each, dim in zip(periods, sides, dims, strict=True):
        if entry is not None and each[0] != PERIODIC:
            raise GridError(f"period={entry!r:.80} is given for dim {dim}, which is not periodic.")
    return periods
