"""The dims that are differentiated, each with its samples and their positions.

Every error in an argument that describes the grid is raised here or in `spacing`, which this builds on.
"""

import operator
from dataclasses import dataclass
from typing import Any

from gridgrad.errors import GridError, GridIndexError, GridTypeError
from gridgrad.spacing import Library, Spacing, entries, parse


@dataclass(frozen=True)
class Axis:
    """One differentiated dim: its number of samples and its spacing."""

    dim: int
    n: int
    spacing: Spacing


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


def resolve_edge_order(edge_order: Any) -> int:
    """The order of accuracy at the edges; None is PyTorch's default, 1."""
    if edge_order is None:
        return 1
    number = _integer(edge_order, "edge_order must be 1 or 2")
    if number not in (1, 2):
        raise GridError(f"edge_order must be 1 or 2, but is {number}.")
    return number


def refuse_unoffered(accuracy: Any, boundary: Any, period: Any) -> None:
    """These arguments have their place in the interface, and so far one value each."""
    for name, given, offered in (
        ("accuracy", accuracy, 2),
        ("boundary", boundary, "one-sided"),
        ("period", period, None),
    ):
        if given is not offered and not (type(given) is type(offered) and given == offered):
            raise GridError(
                f"{name}={given!r:.80} is not offered yet; the only {name} so far is {offered!r}."
            )


def resolve(
    input: Any, library: Library, dims: tuple[int, ...], spacing: Any, samples: int, why: str
) -> list[Axis]:
    """The axes along `dims`, each of which must have at least so many `samples`."""
    for dim in dims:
        n = input.shape[dim]
        if n < samples:
            raise GridError(f"dim {dim} has {n} sample{'s' * (n != 1)}, but {why} needs {samples}.")
    return [
        Axis(dim, input.shape[dim], parse(entry, dim, input.shape[dim], library, input))
        for dim, entry in zip(dims, entries(spacing, dims, library), strict=True)
    ]


def _integer(value: Any, requirement: str) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        shown = f"{value!r:.80}" if isinstance(value, (bool, float, str)) else type(value).__name__
        raise GridTypeError(f"{requirement}, but is {shown}.") from None
