"""Derivatives as sparse matrices: a plan written out."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gridgrad.adjoint import gathered
from gridgrad.axis import Axis, resolve_direction, resolve_order
from gridgrad.boundary import Fixed, place
from gridgrad.calls import Call
from gridgrad.errors import GridError, GridTypeError
from gridgrad.spacing import of_one_dim
from gridgrad.stencil import Row, Stencil

OPERATORS = (
    "laplacian",
    "gradient",
    "divergence",
    "curl",
    "jacobian",
    "hessian",
    "directional_derivative",
)


def derivative_matrix(
    n_or_coordinates: Any,
    *,
    order: int = 1,
    spacing: Any = 1,
    accuracy: int = 2,
    edge_order: int | None = None,
    boundary: Any = "one-sided",
    period: Any = None,
    side: str = "center",
) -> Any:
    """The matrix that takes samples to their derivative: `matrix @ f` is `derivative(f, ...)`, to rounding.

    `n_or_coordinates` is the number of samples, on the step `spacing`, or their 1-D coordinates. All else is
    as for `derivative`; a number beyond an edge must be 0, since a matrix adds nothing. Returns an n x n
    `scipy.sparse.csr_array` of float64 (complex128 for complex coordinates). Needs SciPy, which
    `pip install 'gridgrad[matrices]'` brings.

    Source: the weights of `derivative`, a row for each sample.

    >>> import gridgrad
    >>> print(gridgrad.derivative_matrix(4, order=2, boundary="periodic").toarray())
    [[-2.  1.  0.  1.]
     [ 1. -2.  1.  0.]
     [ 0.  1. -2.  1.]
     [ 1.  0.  1. -2.]]
    """
    n, spacing = _samples(n_or_coordinates, spacing)
    call = _call((n,), (0,), spacing, accuracy, edge_order, boundary, period, side)
    return _matrix(call.axes[0], call.stencil(0, resolve_order(order)))


def operator_matrix(
    operator: str,
    shape: Sequence[int],
    *,
    spacing: Any = 1,
    dim: int | Sequence[int] | None = None,
    accuracy: int = 2,
    edge_order: int | None = None,
    boundary: Any = "one-sided",
    period: Any = None,
    direction: Sequence[float] | None = None,
) -> Any:
    """The matrix of a whole operator on samples of an N-D grid, flattened in C order.

    `operator` is one of these, with samples and results flattened one array after another:

    - "laplacian": the size by itself
    - "gradient": the matrices of the dims one below another
    - "divergence": the same side by side, for a component for each dim
    - "curl": for two components or three, with as many results as the operator has (one or three)
    - "jacobian": the gradient of each of as many components as there are dims
    - "hessian": d**2/dxi dxj one below another, by i and then by j, all of them
    - "directional_derivative": the size by itself, for a `direction` with a number for each of the dims

    Each is made of 1-D matrices by Kronecker products: along dim d, I x ... x D x ... x I. Parameters are
    those of the operator; as there, edges are as accurate as the interior, but for "gradient", whose edge
    order is 1 at accuracy 2. Raises `GridError` for other operators, and as the operator does.

    Source: C. F. Van Loan, The ubiquitous Kronecker product, Journal of Computational and Applied Mathematics
    123 (2000), 85-100.

    >>> import numpy as np
    >>> import gridgrad
    >>> f = np.arange(12.0).reshape(3, 4) ** 2
    >>> matrix = gridgrad.operator_matrix("laplacian", (3, 4), boundary="replicate")
    >>> bool(np.allclose(matrix @ f.ravel(), gridgrad.laplacian(f, boundary="replicate").ravel()))
    True
    """
    if operator not in OPERATORS:
        raise GridError(f"operator must be one of {', '.join(OPERATORS)}, but is {operator!r:.80}.")
    edges = 1 if operator == "gradient" and accuracy == 2 else None
    shape = tuple(shape)
    call = _call(shape, dim, spacing, accuracy, edge_order, boundary, period, "center", edges)
    count = len(call.axes)
    if not count:
        raise GridError("at least 1 of the dims must be differentiated, but none is.")
    if operator == "curl" and count not in (2, 3):
        raise GridError(f"a curl needs 2 or 3 dims, but {count} are differentiated.")
    if (direction is not None) != (operator == "directional_derivative"):
        raise GridError(
            'direction is for "directional_derivative", which needs it, and for no other operator.'
        )
    if direction is not None:
        direction = resolve_direction(direction, count)
    sparse = _sparse()

    def along(k: int, order: int = 1) -> Any:
        axis = call.axes[k]
        before, after = math.prod(shape[: axis.dim]), math.prod(shape[axis.dim + 1 :])
        part = _matrix(axis, call.stencil(k, order))
        part = sparse.kron(sparse.eye_array(before), part, format="csr")
        return sparse.kron(part, sparse.eye_array(after), format="csr")

    if operator == "laplacian":
        return sum((along(k, 2) for k in range(1, count)), along(0, 2)).tocsr()
    parts = [along(k) for k in range(count)]
    if operator == "gradient":
        blocks = [[part] for part in parts]
    elif operator == "divergence":
        blocks = [parts]
    elif direction is not None:
        blocks = [[sum(part * a for a, part in zip(direction, parts, strict=True))]]
    elif operator == "curl" and count == 2:
        blocks = [[-parts[1], parts[0]]]
    elif operator == "curl":
        x, y, z = parts
        blocks = [[None, -z, y], [z, None, -x], [-y, x, None]]
    elif operator == "jacobian":
        blocks = [[sparse.kron(sparse.eye_array(count), sparse.vstack(parts), format="csr")]]
    else:
        blocks = [
            [along(i, 2) if i == j else parts[i] @ parts[j]]
            for i in range(count)
            for j in range(count)
        ]
    return sparse.block_array(blocks, format="csr")


def _samples(n_or_coordinates: Any, spacing: Any) -> tuple[int, Any]:
    if isinstance(n_or_coordinates, (int, np.integer)) and not isinstance(n_or_coordinates, bool):
        if n_or_coordinates < 1:
            raise GridError(f"n_or_coordinates must be at least 1, but is {n_or_coordinates}.")
        return int(n_or_coordinates), of_one_dim(spacing)
    if not (isinstance(spacing, (int, float)) and spacing == 1):
        raise GridError("spacing is given twice: by n_or_coordinates and by spacing.")
    coordinates = np.asarray(n_or_coordinates)
    if coordinates.ndim != 1:
        raise GridTypeError(
            "n_or_coordinates must be a number of samples or 1-D coordinates, "
            f"but is {n_or_coordinates!r:.80}."
        )
    return len(coordinates), (coordinates,)


def _call(
    shape: tuple[int, ...], dim: Any, spacing: Any, accuracy: Any, edge_order: Any, boundary: Any,
    period: Any, side: Any, edges: int | None = None,
) -> Call:  # fmt: skip
    samples = np.broadcast_to(np.zeros(()), shape)  # no memory, whatever the shape
    return Call(
        (samples,), ("shape",), dim=dim, spacing=spacing, accuracy=accuracy, edge_order=edge_order,
        boundary=boundary, period=period, side=side, edges=edges,
    )  # fmt: skip


def _matrix(axis: Axis, stencil: Stencil) -> Any:
    n = axis.n
    rows, columns, values = [], [], []
    for first, last, row in stencil.rows(n):
        samples = np.arange(first, last)
        if row.sides is None:
            served = dict(zip(row.offsets, row.weights, strict=True))
        else:
            places = [_placed(first + offset, n, row) for offset in row.offsets]
            found = gathered(first, row, places, row.weights)
            served = {k - first: w for k, w in found.items() if k is not None}
        for offset, weight in served.items():
            column, value = samples + offset, np.asarray(weight) / row.divisor
            value = value.astype(np.complex128 if np.iscomplexobj(value) else np.float64)
            rows.append(samples)
            columns.append(column)
            values.append(np.broadcast_to(value, samples.shape))
    made = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    matrix = _sparse().coo_array(made, shape=(n, n)).tocsr()
    matrix.eliminate_zeros()
    return matrix


def _placed(index: int, n: int, row: Row) -> int | None:
    """The column of an index that may lie beyond an edge; None where a zero stands there."""
    found = place(index, n, row.sides)  # type: ignore[arg-type]  # only rows with sides are asked for
    if not isinstance(found, Fixed):
        return int(found)
    if found.value != 0:
        raise GridError(
            f"boundary must not be {found.value:g} for a matrix, which adds nothing; 0 is possible."
        )
    return None


def _sparse() -> Any:
    try:
        import scipy.sparse
    except ImportError as error:
        raise ImportError(
            "matrices need SciPy; pip install 'gridgrad[matrices]' brings it."
        ) from error
    return scipy.sparse
