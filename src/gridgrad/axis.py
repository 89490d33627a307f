"""The dims that are differentiated, each with its samples and their positions.

Every error in an argument that describes the grid is raised here or in `spacing`, which this builds on.
"""

import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gridgrad.boundary import ONE_SIDED, PERIODIC, Sides, resolve_periods, resolve_sides
from gridgrad.errors import GridError, GridIndexError, GridTypeError
from gridgrad.spacing import Library, Spacing, close, entries, parse


class Axis(NamedTuple):
    """One differentiated dim: its number of samples, their spacing, and what stands beyond its edges."""

    dim: int
    n: int
    spacing: Spacing
    sides: Sides = (ONE_SIDED, ONE_SIDED)
    period: Any = None  # in the unit of the spacing, where that is coordinates


def resolve_dims(dim: Any, axis: Any, ndim: int) -> tuple[int, ...]:
    """The differentiated dims as numbers from 0, in the order given."""
    if axis is not None:
        if dim is not None:
            raise GridTypeError("dim and its alias axis are both given; give one of them.")
        dim = axis
    if dim is None:
        return tuple(range(ndim))
    given = list(dim) if isinstance(dim, (list, tuple, range)) else [dim]
    dims = tuple(_one_dim(entry, ndim) for entry in given)
    for k, entry in enumerate(dims):
        if entry in dims[:k]:
            raise GridError(f"dim {entry} appears more than once in dim={dim}.")
    return dims


def _one_dim(dim: Any, ndim: int) -> int:
    number = _integer(dim, "dim must be an integer or a sequence of integers")
    if not -ndim <= number < ndim:
        raise GridIndexError(
            f"dim {number} is out of range for an input of {ndim} dims"
            + (f"; it must be from {-ndim} to {ndim - 1}." if ndim else ".")
        )
    return number % ndim


def resolve_order(order: Any) -> int:
    """The order of a derivative."""
    number = _integer(order, "order must be an integer from 1 to 8")
    if not 1 <= number <= 8:
        raise GridError(f"order must be from 1 to 8, but is {number}.")
    return number


def resolve_accuracy(accuracy: Any) -> int:
    """The order of accuracy in the interior."""
    number = _integer(accuracy, "accuracy must be an integer from 1 to 20")
    if not 1 <= number <= 20:
        raise GridError(f"accuracy must be from 1 to 20, but is {number}.")
    return number


def resolve_edge_order(edge_order: Any, default: int = 1) -> int:
    """The order of accuracy at the edges."""
    if edge_order is None:
        return default
    number = _integer(edge_order, "edge_order must be a positive integer")
    if not 1 <= number <= 20:
        raise GridError(f"edge_order must be from 1 to 20, but is {number}.")
    return number


def resolve_side(side: Any) -> str:
    """Where the interior's neighbours are taken from."""
    if side not in ("center", "forward", "backward"):
        raise GridError(f"side must be 'center', 'forward' or 'backward', but is {side!r:.80}.")
    return str(side)


def resolve(
    input: Any,
    library: Library,
    dims: tuple[int, ...],
    spacing: Any,
    boundary: Any = ONE_SIDED,
    period: Any = None,
) -> list[Axis]:
    """The axes along `dims`."""
    sides = resolve_sides(boundary, dims)
    periods = resolve_periods(period, sides, dims)
    found = []
    for dim, entry, each, length in zip(
        dims, entries(spacing, dims, library), sides, periods, strict=True
    ):
        n = input.shape[dim]
        parsed = parse(entry, dim, n, library, input)
        if each[0] == PERIODIC:
            parsed, length = close(parsed, length, dim, n)
        found.append(Axis(dim, n, parsed, each, length))
    return found


def _integer(value: Any, requirement: str) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        shown = f"{value!r:.80}" if isinstance(value, (bool, float, str)) else type(value).__name__
        raise GridTypeError(f"{requirement}, but is {shown}.") from None


def along_direction(direction: Any, count: int, library: Library, input: Any) -> Sequence[Any]:
    """A direction as a number for each of `count` dims, or as a 0-d array where a compiler leaves it open."""
    if not isinstance(direction, np.ndarray):
        found = resolve_direction(direction, count)
        return [library.tensor(a, input) if library.is_symbolic(a) else a for a in found]
    array = library.tensor(direction, input)  # the compiler's: others come as numbers
    if tuple(array.shape) != (count,):
        raise GridError(
            f"direction must have a number for each of the {count} differentiated dims, "
            f"but has shape {tuple(array.shape)}."
        )
    if library.kind(array, "direction") == "complex":
        raise GridTypeError("direction must be real numbers, but is complex.")
    one = library.tensor(1.0, input)  # as wide as numbers are
    return [array[k] * one for k in range(count)]


def resolve_direction(direction: Any, count: int) -> tuple[float, ...]:
    """A direction as one real number for each of `count` dims."""
    if isinstance(direction, np.ndarray):
        direction = direction.tolist()
    numbers_only = isinstance(direction, Sequence) and all(
        isinstance(each, numbers.Real) and -math.inf < float(each) < math.inf for each in direction
    )
    if not numbers_only:
        raise GridTypeError(
            f"direction must be a sequence of real numbers, but is {direction!r:.80}."
        )
    if len(direction) != count:
        raise GridError(
            f"direction must have a number for each of the {count} differentiated dims, "
            f"but has {len(direction)}."
        )
    return tuple(map(float, direction))
