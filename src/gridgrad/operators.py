"""What a user calls."""

from collections.abc import Sequence
from typing import Any, TypeVar

from gridgrad.arrays.dispatch import library_of
from gridgrad.axis import refuse_unoffered, resolve, resolve_dims, resolve_edge_order
from gridgrad.plan import gradient_plan
from gridgrad.stencil import build

A = TypeVar("A")

# Small arrays of one shape, called alike, share one job. Types are compared, since True == 1 == 1.0.
_jobs: dict[Any, Any] = {}
_NUMBERS = frozenset((int, float))
_INTEGERS = frozenset((int, type(None)))


def _is_simple(argument: Any, kinds: frozenset[type]) -> bool:
    kind = type(argument)
    if kind is tuple or (kind is list and kinds is _NUMBERS):
        return all(type(entry) in kinds for entry in argument)
    return kind in kinds


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
    edge_order : 1 or 2, optional
        The order of accuracy at the edges, 1 if left out. An edge reads `edge_order` + 1 samples.
    accuracy, boundary, period : optional
        Not offered yet beyond these values.
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
    x: Any = input
    library = library_of(x)
    key = None
    if (
        out is None
        and axis is None
        and _is_simple(spacing, _NUMBERS)
        and _is_simple(dim, _INTEGERS)
        and type(edge_order) in _INTEGERS
        and accuracy == 2
        and boundary == "one-sided"
        and period is None
        and library.is_plain(x)
    ):
        if type(spacing) is list:
            spacing = tuple(spacing)
        key = (x.dtype, x.shape, spacing, dim, edge_order)
        job = _jobs.get(key)
        if job is not None:
            found: tuple[A, ...] = job(x)
            return found
    kind = library.kind(x, "input")
    dims = resolve_dims(dim, axis, x.ndim)
    refuse_unoffered(accuracy, boundary, period)
    edge = resolve_edge_order(edge_order)
    axes = resolve(x, library, dims, spacing, edge + 1, f"edge_order={edge}")
    stencils = {each.dim: build(each, 1, accuracy, edge) for each in axes}
    results = [
        library.result_dtype(x, each.spacing.dtype, each.spacing.is_complex) for each in axes
    ]
    if out is not None:
        given = spacing if isinstance(spacing, (list, tuple)) else [spacing]
        read = [x, *(entry for entry in given if library.owns(entry))]
        out = library.check_out(out, x.shape, results, read)
    if not axes:
        return ()
    computes = [
        library.compute_dtype(result, x, kind == "integer" or not stencil.fits_single)
        for result, stencil in zip(results, stencils.values(), strict=True)
    ]
    plan = gradient_plan(stencils)
    if key is not None and (made := library.job(plan, x, results, computes)):
        if len(_jobs) >= 1024:
            _jobs.clear()
        _jobs[key] = made
    return library.run(plan, (x,), results, computes, out)
