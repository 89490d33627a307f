"""Operators of several terms: each is a plan, run in one sweep over its inputs."""

import math
import numbers
from collections.abc import Sequence
from typing import Any, TypeVar

from gridgrad.arrays.dispatch import library_of
from gridgrad.calls import Call
from gridgrad.errors import GridError, GridTypeError
from gridgrad.plan import Plan, Term

A = TypeVar("A")


def laplacian(
    input: A,
    *,
    spacing: Any = 1,
    dim: int | Sequence[int] | None = None,
    axis: int | Sequence[int] | None = None,
    accuracy: int = 2,
    edge_order: int | None = None,
    boundary: Any = "one-sided",
    period: Any = None,
    out: A | None = None,
) -> A:
    """The sum of the second derivatives along the dims: d2f/dx2 + d2f/dy2 + ...

    Parameters are those of `derivative`; `dim` says along which dims (all, if left out; others are batches),
    and `spacing`, `boundary` and `period` are one for all of them or a sequence with an entry for each. The
    result is an array like `input`, in units of the samples per unit of the spacing squared. Raises
    `GridError` as `derivative` does, and where no dim is left. A constant has laplacian exactly 0.

    >>> import numpy as np
    >>> import gridgrad
    >>> x, y = np.mgrid[0:4, 0:5] * 0.5
    >>> bool(np.allclose(gridgrad.laplacian(x**2 + 3 * y**2, spacing=0.5), 8))
    True
    """
    call = Call(
        (input,), ("input",), dim=dim, axis=axis, spacing=spacing, accuracy=accuracy,
        edge_order=edge_order, boundary=boundary, period=period,
    )  # fmt: skip
    _need(call.axes, 1, "dims")
    terms = tuple(Term(0, 0, each.dim, call.stencil(k, 2)) for k, each in enumerate(call.axes))
    found: A = _only(call, Plan(1, 1, terms), out)
    return found


def divergence(
    components: Sequence[A] | A,
    *,
    spacing: Any = 1,
    dim: int | Sequence[int] | None = None,
    axis: int | Sequence[int] | None = None,
    accuracy: int = 2,
    edge_order: int | None = None,
    boundary: Any = "one-sided",
    period: Any = None,
    out: A | None = None,
) -> A:
    """The divergence of a vector field: du/dx + dv/dy + ...

    `components` are arrays of one shape and library, (u, v, ...), or one array whose first dim counts them.
    The k-th is differentiated along the k-th of the dims, which may be left out where there are as many
    components as dims. Other parameters are those of `laplacian`. The result is an array like a component,
    in its unit per unit of the spacing; dtypes of components promote. Raises `GridError` as `derivative`
    does, and where there are not as many components as dims.

    >>> import numpy as np
    >>> import gridgrad
    >>> x, y = np.mgrid[0:4, 0:5] * 0.5
    >>> bool(np.allclose(gridgrad.divergence((x**2, x * y), spacing=0.5), 3 * x))
    True
    """
    call = _of_components(
        components, spacing, dim, axis, accuracy, edge_order, boundary, period, "a divergence"
    )
    terms = tuple(Term(0, k, each.dim, call.stencil(k)) for k, each in enumerate(call.axes))
    found: A = _only(call, Plan(len(terms), 1, terms), out)
    return found


def curl(
    components: Sequence[A] | A,
    *,
    spacing: Any = 1,
    dim: int | Sequence[int] | None = None,
    axis: int | Sequence[int] | None = None,
    accuracy: int = 2,
    edge_order: int | None = None,
    boundary: Any = "one-sided",
    period: Any = None,
    out: Any = None,
) -> Any:
    """The curl of a vector field of 2 or 3 components.

    With components (u, v) along dims (x, y) it is one array, dv/dx - du/dy; with (u, v, w) along (x, y, z) a
    tuple of three: (dw/dy - dv/dz, du/dz - dw/dx, dv/dx - du/dy). Parameters, units and errors are those of
    `divergence`; for 3 components `out` is a sequence of 3 arrays.

    >>> import numpy as np
    >>> import gridgrad
    >>> x, y = np.mgrid[0:4, 0:5] * 1.0
    >>> bool((gridgrad.curl((-y, x)) == 2).all())
    True
    """
    call = _of_components(
        components, spacing, dim, axis, accuracy, edge_order, boundary, period, "a curl"
    )
    count = len(call.axes)
    if count not in (2, 3):
        raise GridError(f"a curl needs 2 or 3 components, but is given {count}.")
    # Output, the component that is differentiated, along which of the dims, with which sign.
    table = [(0, 1, 0, 1.0), (0, 0, 1, -1.0)]
    if count == 3:
        table = [
            (k, component, along, sign)
            for k in range(3)
            for component, along, sign in (
                ((k + 2) % 3, (k + 1) % 3, 1.0),
                ((k + 1) % 3, (k + 2) % 3, -1.0),
            )
        ]
    terms = tuple(
        Term(k, component, call.axes[along].dim, call.stencil(along, 1, sign))
        for k, component, along, sign in table
    )
    if count == 2:
        return _only(call, Plan(2, 1, terms), out)
    return call.run(Plan(3, 3, terms), out)


def jacobian(
    components: Sequence[A] | A,
    *,
    spacing: Any = 1,
    dim: int | Sequence[int] | None = None,
    axis: int | Sequence[int] | None = None,
    accuracy: int = 2,
    edge_order: int | None = None,
    boundary: Any = "one-sided",
    period: Any = None,
) -> tuple[tuple[A, ...], ...]:
    """The derivatives of every component along every dim: result[i][j] is d(component i)/d(dim j).

    `components` as for `divergence`, of any number; `dim` as for `gradient`. Other parameters, units and
    errors are those of `divergence`.

    >>> import numpy as np
    >>> import gridgrad
    >>> x, y = np.mgrid[0:3, 0:3] * 1.0
    >>> [[float(each[1, 1]) for each in row] for row in gridgrad.jacobian((x + 2 * y, 3 * x))]
    [[1.0, 2.0], [3.0, 0.0]]
    """
    inputs, names = _split(components)
    call = Call(
        inputs, names, dim=dim, axis=axis, spacing=spacing, accuracy=accuracy, edge_order=edge_order,
        boundary=boundary, period=period,
    )  # fmt: skip
    count = len(call.axes)
    _need(call.axes, 1, "dims")
    stencils = [call.stencil(k) for k in range(count)]
    terms = tuple(
        Term(i * count + j, i, call.axes[j].dim, stencils[j])
        for i in range(len(inputs))
        for j in range(count)
    )
    found = call.run(Plan(len(inputs), len(terms), terms))
    return tuple(found[i * count : (i + 1) * count] for i in range(len(inputs)))


def hessian(
    input: A,
    *,
    spacing: Any = 1,
    dim: int | Sequence[int] | None = None,
    axis: int | Sequence[int] | None = None,
    accuracy: int = 2,
    edge_order: int | None = None,
    boundary: Any = "one-sided",
    period: Any = None,
) -> tuple[tuple[A, ...], ...]:
    """All second derivatives: result[i][j] is d2f/(d(dim i) d(dim j)), symmetric by construction.

    Those along one dim are `derivative` with order 2; mixed ones are the derivative along the later of the
    dims and then along the earlier, computed once for both places. Parameters, units and errors are those
    of `laplacian`. A number beyond an edge is refused with several dims: it would have to stand beyond the
    edges of first derivatives too.

    >>> import numpy as np
    >>> import gridgrad
    >>> x, y = np.mgrid[0:4, 0:4] * 1.0
    >>> [[float(each[1, 1]) for each in row] for row in gridgrad.hessian(x**2 + 3 * x * y)]
    [[2.0, 3.0], [3.0, 0.0]]
    """
    how: dict[str, Any] = {
        "accuracy": accuracy, "edge_order": edge_order, "boundary": boundary, "period": period,
    }  # fmt: skip
    call = Call((input,), ("input",), dim=dim, axis=axis, spacing=spacing, **how)
    count = len(call.axes)
    _need(call.axes, 1, "dims")
    if count > 1 and any(isinstance(kind, float) for each in call.axes for kind in each.sides):
        raise GridError("a hessian of several dims is not offered with a number beyond an edge.")
    dims = [each.dim for each in call.axes]
    # The second derivatives, and the first that mixed ones are made from, in one sweep.
    stencils = [(dims[k], call.stencil(k, 2)) for k in range(count)]
    stencils += [(dims[k], call.stencil(k)) for k in range(1, count)]
    terms = tuple(Term(k, 0, along, stencil) for k, (along, stencil) in enumerate(stencils))
    found = call.run(Plan(1, len(terms), terms))
    table: dict[tuple[int, int], A] = {(k, k): found[k] for k in range(count)}
    if count > 1:
        firsts = found[count:]
        mixed = Call(
            firsts, ["input"] * len(firsts), dim=dims, spacing=spacing, **how,
        )  # fmt: skip
        pairs = [(i, j) for j in range(1, count) for i in range(j)]
        terms = tuple(Term(k, j - 1, dims[i], mixed.stencil(i)) for k, (i, j) in enumerate(pairs))
        seconds = mixed.run(Plan(len(firsts), len(pairs), terms))
        for (i, j), value in zip(pairs, seconds, strict=True):
            table[i, j] = table[j, i] = value
    return tuple(tuple(table[i, j] for j in range(count)) for i in range(count))


def directional_derivative(
    input: A,
    direction: Sequence[float],
    *,
    spacing: Any = 1,
    dim: int | Sequence[int] | None = None,
    axis: int | Sequence[int] | None = None,
    accuracy: int = 2,
    edge_order: int | None = None,
    boundary: Any = "one-sided",
    period: Any = None,
    out: A | None = None,
) -> A:
    """The derivative along a constant vector: a df/dx + b df/dy + ... for the direction (a, b, ...).

    `direction` has a real number for each of the dims and is not normalised. Other parameters, units and
    errors are those of `laplacian`.

    >>> import numpy as np
    >>> import gridgrad
    >>> x, y = np.mgrid[0:3, 0:3] * 1.0
    >>> bool((gridgrad.directional_derivative(x + 2 * y, (3, -1)) == 1).all())
    True
    """
    call = Call(
        (input,), ("input",), dim=dim, axis=axis, spacing=spacing, accuracy=accuracy,
        edge_order=edge_order, boundary=boundary, period=period,
    )  # fmt: skip
    _need(call.axes, 1, "dims")
    numbers_only = isinstance(direction, Sequence) and all(
        isinstance(each, numbers.Real) and math.isfinite(each) for each in direction
    )
    if not numbers_only:
        raise GridTypeError(
            f"direction must be a sequence of real numbers, but is {direction!r:.80}."
        )
    if len(direction) != len(call.axes):
        raise GridError(
            f"direction must have a number for each of the {len(call.axes)} differentiated dims, "
            f"but has {len(direction)}."
        )
    terms = tuple(
        Term(0, 0, each.dim, call.stencil(k, 1, float(direction[k])))
        for k, each in enumerate(call.axes)
        if direction[k]
    )
    if not terms:
        raise GridError("direction must not be zero in every dim.")
    found: A = _only(call, Plan(1, 1, terms), out)
    return found


def _only(call: Call, plan: Plan, out: Any) -> Any:
    """The one result of a plan."""
    (found,) = call.run(plan, None if out is None else (out,))
    return found


def _need(given: Sequence[Any], count: int, what: str) -> None:
    if len(given) < count:
        raise GridError(f"at least {count} of the {what} must be differentiated, but none is.")


def _split(components: Any) -> tuple[tuple[Any, ...], list[str]]:
    """The components of a vector field as arrays, and what to call them in errors."""
    if not isinstance(components, (tuple, list)):
        shape = getattr(components, "shape", None)
        if not shape:
            raise GridTypeError(
                "components must be a sequence of arrays, or an array whose first dim counts them, "
                f"but is {type(components).__name__}."
            )
        library_of(components, "components")  # whose shape is known, then
        components = [components[k] for k in range(shape[0])]
    if not components:
        raise GridError("components must hold at least one array, but are none.")
    return tuple(components), [f"components[{k}]" for k in range(len(components))]


def _of_components(
    components: Any, spacing: Any, dim: Any, axis: Any, accuracy: Any, edge_order: Any, boundary: Any,
    period: Any, what: str,
) -> Call:  # fmt: skip
    """A call whose k-th input belongs to its k-th dim."""
    inputs, names = _split(components)
    call = Call(
        inputs, names, dim=dim, axis=axis, spacing=spacing, accuracy=accuracy, edge_order=edge_order,
        boundary=boundary, period=period,
    )  # fmt: skip
    if len(call.axes) != len(inputs):
        raise GridError(
            f"{what} needs a component for each differentiated dim, but is given {len(inputs)} components "
            f"for the dims {call.dims}; name the dims by dim=."
        )
    return call
