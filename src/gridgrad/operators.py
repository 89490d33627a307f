"""What a user calls."""

from collections.abc import Sequence
from typing import Any, TypeVar

from gridgrad.axis import resolve_order
from gridgrad.calls import Call, answer
from gridgrad.errors import GridTypeError
from gridgrad.plan import Plan, gradient_plan
from gridgrad.spacing import of_one_dim

A = TypeVar("A")


def gradient(
    input: A,
    *,
    spacing: Any = 1,
    dim: int | Sequence[int] | None = None,
    axis: int | Sequence[int] | None = None,
    edge_order: int | None = None,
    accuracy: int = 2,
    boundary: Any = "one-sided",
    period: Any = None,
    side: str = "center",
    out: Sequence[A] | None = None,
) -> tuple[A, ...]:
    """The derivative of sampled data along each dim, as `torch.gradient`, on every array library.

    For a dim with samples f[i] at positions x[i], h = x[i] - x[i-1] and k = x[i+1] - x[i]::

        interior       (f[i+1] - f[i-1]) / (2 h)                                   a step h = k
                       (h/k (f[i+1] - f[i]) - k/h (f[i-1] - f[i])) / (h + k)       coordinates
        edge_order=1   (f[1] - f[0]) / h                                           lower edge
        edge_order=2   (4 (f[1] - f[0]) - (f[2] - f[0])) / (2 h)                   lower edge, a step

    and the same mirrored at the upper edge. The error falls as h**2 in the interior, as h**edge_order
    at the edges.

    Parameters
    ----------
    input : array
        Samples on a grid of any number of dims: a NumPy (or masked), PyTorch or JAX array, or one of any
        library that speaks the Python Array API. Integers, floats or complex numbers.
    spacing : number, array, or sequence with an entry for each differentiated dim
        Where the samples stand. A number, or a 0-d array, is the step between them. 1-D coordinates (an
        array, or a list inside the sequence) have one entry a sample; they may be uneven, decreasing,
        integers, complex, or `datetime64`. A number serves all dims; a bare 1-D array serves one dim; a
        sequence has one entry a dim, in the order of `dim`, in which numbers and coordinates may mix.
        Times count in seconds.
    dim : int or sequence of ints, optional
        The dims to differentiate along; all of them if left out. Negative ones count from the end.
    axis : optional
        The same as `dim`, for those used to NumPy.
    edge_order : int, optional
        The order of accuracy at the edges: 1 at accuracy 2, as in PyTorch, and else `accuracy`, if left out.
        An edge reads `edge_order` + 1 samples.
    accuracy, boundary, period, side : optional
        As for `derivative`; boundaries and periods one for all dims, or a sequence with an entry for each.
    out : sequence of arrays, optional
        Where to write the results: for each an array of the input's shape and library and of the result's
        dtype, apart from the input in memory. NumPy and PyTorch only.

    Returns
    -------
    tuple of arrays
        For each differentiated dim, in the order of `dim`, the derivative: an array like `input`, in units
        of the samples per unit of the spacing. Floating dtypes are kept (float16 and bfloat16 are computed
        in float32 and rounded once); integers give the library's default floating dtype. Coordinates of
        the input's own library promote the result as that library promotes; a complex spacing makes it
        complex. No dims give ().

    Raises
    ------
    GridError
        (a `ValueError` and a `RuntimeError`) for arguments that cannot be meant: a wrong number of
        spacings, coordinates that are not finite, not distinct or not one a sample, too few samples, an
        `out` of the wrong shape or in the way. `GridIndexError` (also an `IndexError`) for a dim out of
        range, `GridTypeError` (also a `TypeError`) for a wrong type. Nothing is changed.

    Warns
    -----
    NonMonotonicWarning
        Coordinates turn back on themselves.

    Guarantees
    ----------
    A constant has derivative exactly 0. On a uniform grid with `edge_order=1` the results are
    `numpy.gradient`'s bit for bit, in float32 and float64. A NaN reaches exactly the results whose stencil
    gives it a weight; integers do not wrap around and 64-bit ones keep their digits. The input is never
    changed. Differentiable (in values, coordinates and steps) and traceable where the library is.

    Source: B. Fornberg, Generation of finite difference formulas on arbitrarily spaced grids, Mathematics
    of Computation 51 (1988), 699-706; `torch.gradient` and `numpy.gradient` for the meaning.

    Examples
    --------
    >>> import numpy as np
    >>> import gridgrad
    >>> f = np.array([[1.0, 2.0, 4.0, 8.0], [10.0, 20.0, 40.0, 80.0]])
    >>> down, across = gridgrad.gradient(f)
    >>> down
    array([[ 9., 18., 36., 72.],
           [ 9., 18., 36., 72.]])
    >>> across
    array([[ 1. ,  1.5,  3. ,  4. ],
           [10. , 15. , 30. , 40. ]])

    Coordinates for one dim, and a more accurate edge:

    >>> x = np.array([-2.0, -1.0, 1.0, 4.0])
    >>> gridgrad.gradient(x**2, spacing=x, edge_order=2)
    (array([-4., -2.,  2.,  8.]),)

    A step for one dim and coordinates for the other:

    >>> _, across = gridgrad.gradient(f, spacing=(2.0, [0, 3, 6, 9]))
    >>> across[1]
    array([ 3.33333333,  5.        , 10.        , 13.33333333])
    """
    edges = 1 if accuracy == 2 else None
    options = (dim, axis, spacing, accuracy, edge_order, boundary, period, side, edges)
    found: tuple[A, ...] = answer(_gradient, (input,), ("input",), options, out, ())
    return found


def _gradient(call: Call) -> Plan:
    return gradient_plan({each.dim: call.stencil(k) for k, each in enumerate(call.axes)})


def derivative(
    input: A,
    *,
    order: int = 1,
    dim: int = -1,
    axis: int | None = None,
    spacing: Any = 1,
    accuracy: int = 2,
    edge_order: int | None = None,
    boundary: Any = "one-sided",
    period: Any = None,
    side: str = "center",
    out: A | None = None,
) -> A:
    """The derivative of an order along one dim.

    For samples f[i] at positions x[i]: the derivative, at x[i], of the polynomial through the samples at and
    around i. On a step h and with accuracy 2 that is, in the interior::

        order=1    (f[i+1] - f[i-1]) / (2 h)
        order=2    (f[i+1] - 2 f[i] + f[i-1]) / h**2
        order=3    (f[i+2] - 2 f[i+1] + 2 f[i-1] - f[i-2]) / (2 h**3)

    and so on: the error falls as h**accuracy, at one-sided edges as h**edge_order.

    Parameters
    ----------
    input : array
        As for `gradient`, with at least as many samples along the dim as the stencil spans.
    order : int
        1 to 8.
    dim, axis : int
        The dim to differentiate along, the last if left out.
    spacing : number, 1-D array or list
        As for `gradient`: a step, or coordinates.
    accuracy : int
        The order of accuracy in the interior. With a step even, 2 to 20 (any, for a `side`); on coordinates
        any, 1 to 12.
    edge_order : int, optional
        The order of accuracy at one-sided edges; `accuracy` if left out.
    boundary : str, number, or pair of these
        What stands beyond the edges, on both sides or as (lower side, upper side): "one-sided", nothing, so
        that stencils there read inner samples only; "periodic", the other end; "reflect", the samples
        mirrored at the edge sample, as `numpy.pad` and PyTorch pad; "replicate", the edge sample (NumPy's
        "edge"); or this number. Positions beyond the edge are mirrored too. The order of accuracy holds
        there for functions that are smooth when so continued: that are periodic, even about the edge
        sample, or constant near it. For others the stencil sees a kink at the edge.
    period : number, optional
        For a periodic dim with coordinates, how far the first sample is from itself in the next period, in
        the unit of the coordinates. With a step it is n times the step.
    side : "center", "forward" or "backward"
        Where interior stencils take their neighbours: around the sample, or from it on one side, as
        upwind schemes do. On one side they span `order` + `accuracy` samples.
    out : array, optional
        Where to write the result.

    Returns
    -------
    array
        Like `input`, in units of the samples per unit of the spacing to the power of `order`; dtypes as for
        `gradient`.

    Raises
    ------
    GridError
        As `gradient` does; for an order, accuracy or boundary that is not offered; for too few samples,
        saying how many are needed; for one periodic side, and for a missing period.

    Guarantees
    ----------
    A constant has derivative exactly 0 (unless a number stands beyond the edge). Uniform weights are exact
    rationals rounded once. The stated order of accuracy holds everywhere, on any grid (beyond edges as
    `boundary` says). Rolling the samples of a periodic dim with a step rolls the result, bit for bit (under
    `jax.jit`, whose compiler rounds single samples its own way, but for the last bits).

    Source: B. Fornberg, Calculation of weights in finite difference formulas, SIAM Review 40 (1998), 685-691.

    Examples
    --------
    >>> import numpy as np
    >>> import gridgrad
    >>> f = np.array([0.0, 1.0, 8.0, 27.0, 64.0])
    >>> gridgrad.derivative(f, order=2)
    array([ 0.,  6., 12., 18., 24.])
    >>> angle = np.arange(8) * np.pi / 4
    >>> slope = gridgrad.derivative(np.sin(angle), spacing=np.pi / 4, accuracy=6, boundary="periodic")
    >>> float(abs(slope - np.cos(angle)).max()) < 0.002
    True
    >>> gridgrad.derivative(f, spacing=[0, 1, 2, 3, 5], accuracy=1, side="forward")[:2]
    array([1., 7.])
    """
    dims = dim if axis is None else None if dim == -1 else dim
    spacing = of_one_dim(spacing)
    options = (dims, axis, spacing, accuracy, edge_order, boundary, period, side)
    given = None if out is None else (out,)
    more = (order, dim if axis is None else axis)
    (found,) = answer(_derivative, (input,), ("input",), options, given, more)
    result: A = found
    return result


def _derivative(call: Call, order: Any, dim: Any) -> Plan:
    if len(call.axes) != 1:
        raise GridTypeError(f"dim must be one integer, but is {dim!r:.80}.")
    return gradient_plan({call.axes[0].dim: call.stencil(0, resolve_order(order))})
