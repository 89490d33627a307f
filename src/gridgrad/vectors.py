"""Operators of several terms: each is a plan, run in one sweep over its inputs."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from gridgrad.arrays.dispatch import library_of
from gridgrad.axis import along_direction
from gridgrad.caching import is_compiling
from gridgrad.calls import Call, answer
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

    Source: ISO 80000-2 (2019), Mathematics, scalars, vectors and tensors; of the stencils as for
    `derivative`.

    >>> import numpy as np
    >>> import gridgrad
    >>> x, y = np.mgrid[0:4, 0:5] * 0.5
    >>> bool(np.allclose(gridgrad.laplacian(x**2 + 3 * y**2, spacing=0.5), 8))
    True
    """
    options = (dim, axis, spacing, accuracy, edge_order, boundary, period)
    found: A = _only(answer(_laplacian, (input,), ("input",), options, _one(out), ()))
    return found


def _laplacian(call: Call) -> Plan:
    _need(call.axes, 1, "dims")
    terms = tuple(Term(0, 0, each.dim, call.stencil(k, 2)) for k, each in enumerate(call.axes))
    return Plan(1, 1, terms)


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

    Source: ISO 80000-2 (2019), Mathematics, scalars, vectors and tensors; of the stencils as for
    `derivative`.

    >>> import numpy as np
    >>> import gridgrad
    >>> x, y = np.mgrid[0:4, 0:5] * 0.5
    >>> bool(np.allclose(gridgrad.divergence((x**2, x * y), spacing=0.5), 3 * x))
    True
    """
    options = (dim, axis, spacing, accuracy, edge_order, boundary, period)
    found: A = _only(answer(_divergence, *_split(components), options, _one(out), ()))
    return found


def _divergence(call: Call) -> Plan:
    _need_components(call, "a divergence")
    terms = tuple(Term(0, k, each.dim, call.stencil(k)) for k, each in enumerate(call.axes))
    return Plan(len(terms), 1, terms)


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

    Source: ISO 80000-2 (2019), Mathematics, scalars, vectors and tensors (there called rotation); of
    the stencils as for `derivative`.

    >>> import numpy as np
    >>> import gridgrad
    >>> x, y = np.mgrid[0:4, 0:5] * 1.0
    >>> bool((gridgrad.curl((-y, x)) == 2).all())
    True
    """
    options = (dim, axis, spacing, accuracy, edge_order, boundary, period)
    inputs, names = _split(components)
    if len(inputs) == 3:
        return answer(_curl, inputs, names, options, out, ())
    return _only(answer(_curl, inputs, names, options, _one(out), ()))


def _curl(call: Call) -> Plan:
    _need_components(call, "a curl")
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
    return Plan(count, 2 * count - 3, terms)


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

    Source: C. G. J. Jacobi, De determinantibus functionalibus, Crelle's Journal 22 (1841), 319-359; of the
    stencils as for `derivative`. Rows are components, as in `torch.func.jacrev`.

    >>> import numpy as np
    >>> import gridgrad
    >>> x, y = np.mgrid[0:3, 0:3] * 1.0
    >>> [[float(each[1, 1]) for each in row] for row in gridgrad.jacobian((x + 2 * y, 3 * x))]
    [[1.0, 2.0], [3.0, 0.0]]
    """
    options = (dim, axis, spacing, accuracy, edge_order, boundary, period)
    inputs, names = _split(components)
    found = answer(_jacobian, inputs, names, options, None, ())
    count = len(found) // len(inputs)
    return tuple(found[i * count : (i + 1) * count] for i in range(len(inputs)))


def _jacobian(call: Call) -> Plan:
    count = len(call.axes)
    _need(call.axes, 1, "dims")
    stencils = [call.stencil(k) for k in range(count)]
    terms = tuple(
        Term(i * count + j, i, call.axes[j].dim, stencils[j])
        for i in range(len(call.inputs))
        for j in range(count)
    )
    return Plan(len(call.inputs), len(terms), terms)


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
    dims and then along the earlier, computed once for both places. All are made in one sweep over the input.
    Parameters, units and errors are those of `laplacian`. Where a number stands beyond the edges of one dim,
    the derivative along another is 0 there.

    Source: O. Hesse, Crelle's Journal 28 (1844), 68-96; of the stencils as for `derivative`.

    >>> import numpy as np
    >>> import gridgrad
    >>> x, y = np.mgrid[0:4, 0:4] * 1.0
    >>> [[float(each[1, 1]) for each in row] for row in gridgrad.hessian(x**2 + 3 * x * y)]
    [[2.0, 3.0], [3.0, 0.0]]
    """
    options = (dim, axis, spacing, accuracy, edge_order, boundary, period)
    found = answer(_hessian, (input,), ("input",), options, None, ())
    count = (math.isqrt(8 * len(found) + 1) - 1) // 2
    table: dict[tuple[int, int], A] = {(k, k): found[k] for k in range(count)}
    for (i, j), value in zip(_pairs(count), found[count:], strict=True):
        table[i, j] = table[j, i] = value
    return tuple(tuple(table[i, j] for j in range(count)) for i in range(count))


def _pairs(count: int) -> list[tuple[int, int]]:
    return [(i, j) for j in range(1, count) for i in range(j)]


def _hessian(call: Call) -> Plan:
    count = len(call.axes)
    _need(call.axes, 1, "dims")
    dims, firsts = [each.dim for each in call.axes], [call.stencil(k) for k in range(count)]
    pairs = _pairs(count)
    outputs = count + len(pairs)
    terms = (
        *(Term(k, 0, dims[k], call.stencil(k, 2)) for k in range(count)),
        # First derivatives stand between, and mixed ones are made from them. Where a number stands beyond the
        # edges along one dim, the derivative along another is 0 there.
        *(Term(outputs + j - 1, 0, dims[j], firsts[j]) for j in range(1, count)),
        *(
            Term(count + k, 1 + j - 1, dims[i], firsts[i].linear())
            for k, (i, j) in enumerate(pairs)
        ),
    )
    return Plan(1, outputs, terms, count - 1)


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

    `direction` has a real number for each of the dims, is not normalised, and may be a 1-D array of NumPy.
    Other parameters and errors are those of `laplacian`; units those of `gradient`, times the direction's.

    Source: the gradient's product with the direction; of the stencils as for `derivative`.

    >>> import numpy as np
    >>> import gridgrad
    >>> x, y = np.mgrid[0:3, 0:3] * 1.0
    >>> bool((gridgrad.directional_derivative(x + 2 * y, (3, -1)) == 1).all())
    True
    """
    options = (dim, axis, spacing, accuracy, edge_order, boundary, period)
    if isinstance(direction, np.ndarray) and not is_compiling():
        direction = direction.tolist()
    more = (tuple(direction) if isinstance(direction, (tuple, list)) else direction,)
    found: A = _only(answer(_directional, (input,), ("input",), options, _one(out), more))
    return found


def _directional(call: Call, direction: Any) -> Plan:
    _need(call.axes, 1, "dims")
    factors = along_direction(direction, len(call.axes), call.library, call.inputs[0])
    terms = tuple(
        Term(0, 0, each.dim, call.stencil(k, 1, factors[k]))
        for k, each in enumerate(call.axes)
        if not isinstance(factors[k], float) or factors[k]
    )
    if not terms:
        raise GridError("direction must not be zero in every dim.")
    return Plan(1, 1, terms)


def _one(out: Any) -> Any:
    """`out` for the one result of a plan."""
    return None if out is None else (out,)


def _only(found: tuple[Any, ...]) -> Any:
    (result,) = found
    return result


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
        components = library_of(components, "components").components(components)
    if not components:
        raise GridError("components must hold at least one array, but are none.")
    return tuple(components), [f"components[{k}]" for k in range(len(components))]


def _need_components(call: Call, what: str) -> None:
    """Refuse a call whose k-th input does not belong to its k-th dim."""
    if len(call.axes) != len(call.inputs):
        raise GridError(
            f"{what} needs a component for each differentiated dim, but is given {len(call.inputs)} "
            f"components for the dims {call.dims}; name the dims by dim=."
        )
