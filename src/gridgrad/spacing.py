"""What a user gives as `spacing`: for each dim a step, or the positions of its samples."""

import datetime
import math
import numbers
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

import numpy as np

from gridgrad.caching import is_compiling
from gridgrad.differences import parts
from gridgrad.errors import GridError, GridTypeError
from gridgrad.positions import Positions, check_shape, common_step, from_values, seconds


class Library(Protocol):
    """What spacing asks of the array library that the input belongs to."""

    keeps_numpy_scalars: bool

    def owns(self, value: Any) -> bool:
        """Whether `value` is an array of this library."""

    def namespace(self, x: Any) -> Any:
        """The Array API functions for x."""

    def kind(self, x: Any, name: str) -> str:
        """'integer', 'real' or 'complex'; an error that names the argument for any other dtype."""

    def values(self, x: Any) -> Any:
        """The values of x as a NumPy array, or None where there are none yet, as under a compiler."""

    def is_followed(self, x: Any) -> bool:
        """Whether x is differentiated or traced, so that weights must be made by its own library."""

    def result_dtype(self, input: Any, dtype: Any, is_complex: bool) -> Any:
        """The dtype of a derivative of `input` by coordinates of `dtype` (None: which do not promote)."""

    def compute_dtype(self, dtype: Any, x: Any, wide: bool) -> Any:
        """The dtype in which results of that dtype are computed, on the device of x; if `wide`, double."""

    def is_symbolic(self, number: Any) -> bool:
        """Whether a compiler knows a number by a name only, since it may be another at the next call."""

    def tensor(self, values: Any, input: Any) -> Any:
        """A number, or a list or NumPy array of them, as an array beside the input."""

    def check_device(self, x: Any, input: Any, name: str) -> None:
        """Refuse an x that lives on another device than the input."""


class Spacing(NamedTuple):
    """A step (a number or a traced 0-d array) or positions, and what they make of the result's dtype."""

    step: Any = None
    positions: Positions | None = None
    # The same positions where their gaps are all equal, so that the step says it all but where they begin.
    even: Positions | None = None
    dtype: Any = None  # floating coordinates of the input's library promote, as its arrays do
    is_complex: bool = False


def entries(spacing: Any, dims: tuple[int, ...], library: Library) -> list[Any]:
    """The `spacing` argument as one entry for each differentiated dim."""
    if library.owns(spacing) or isinstance(spacing, np.ndarray):
        if spacing.ndim == 0:
            return [spacing] * len(dims)
        if spacing.ndim == 1 and len(dims) == 1:
            return [spacing]
        raise GridError(
            f"spacing is one array of shape {tuple(spacing.shape)}, which can only be the coordinates "
            f"of one dim, but {_counted(dims)}; give a sequence with one entry for each dim."
        )
    if spacing is None:
        spacing = 1
    if isinstance(spacing, (str, bytes, dict, set)) or not isinstance(spacing, Sequence):
        return [spacing] * len(dims)
    if len(spacing) != len(dims):
        hint = ""
        if len(dims) == 1:
            hint = "; coordinates go inside a sequence, spacing=(coordinates,), or into an array"
        raise GridError(
            f"spacing must be a number or have one entry for each differentiated dim, "
            f"but has {len(spacing)} and {_counted(dims)}{hint}."
        )
    return list(spacing)


def _counted(dims: tuple[int, ...]) -> str:
    if len(dims) == 1:
        return f"1 dim is differentiated, {dims[0]}"
    return f"{len(dims)} dims are differentiated, {dims}"


def parse(entry: Any, dim: int, n: int, library: Library, input: Any) -> Spacing:
    """One dim's entry of `spacing`, for n samples."""
    if isinstance(entry, Positions):
        check_shape(tuple(entry.parts[0].shape), dim, n)
        return _at(entry, n)
    if isinstance(entry, datetime.timedelta):
        entry = np.timedelta64(entry)
    if isinstance(entry, np.timedelta64):
        return _step(seconds(entry, dim), dim)
    if isinstance(entry, (bool, np.bool_, str, bytes)) or entry is None:
        raise GridTypeError(_not_understood(entry, dim))
    # What the compiler knows by name only, NumPy's arrays among it, is an array of its own library to it.
    if library.is_symbolic(entry) or (
        is_compiling() and isinstance(entry, (list, tuple, np.ndarray))
    ):
        return _traced(library.tensor(entry, input), dim, n, library, input, None)
    if isinstance(entry, (numbers.Number, Decimal, np.number)):
        return _step(_number(entry, dim, library), dim)
    if library.owns(entry):
        library.check_device(entry, input, f"spacing for dim {dim}")
        return _own(entry, dim, n, library, input)
    if isinstance(entry, Sequence) or hasattr(entry, "__array__"):
        # A list, or an array of another library: plain numbers, which never widen the input's dtype.
        try:
            values = np.asarray(entry)
        except Exception as error:
            raise GridTypeError(
                f"spacing for dim {dim} cannot be read as coordinates: {error}"
            ) from error
        return _from_values(values, dim, n, library)
    raise GridTypeError(_not_understood(entry, dim))


def _own(entry: Any, dim: int, n: int, library: Library, input: Any) -> Spacing:
    """An array of the input's own library, which may be differentiated or traced."""
    values = library.values(entry)
    followed = library.is_followed(entry)
    if values is not None and values.dtype.kind in "mM":
        return _from_values(values, dim, n, library)
    name = f"spacing for dim {dim}"
    kind = library.kind(entry, name)
    dtype = None if kind == "integer" or entry.ndim == 0 else entry.dtype
    if values is not None:
        found = _from_values(values, dim, n, library, dtype)
        if not followed:
            return found
    return _traced(entry, dim, n, library, input, dtype)


def _traced(entry: Any, dim: int, n: int, library: Library, input: Any, dtype: Any) -> Spacing:
    """An array whose values are not known, or not for good."""
    xp = library.namespace(entry)
    is_complex = library.kind(entry, f"spacing for dim {dim}") == "complex"
    result = library.result_dtype(input, dtype, is_complex)
    compute = library.compute_dtype(result, entry, wide=True)
    if entry.ndim == 0:
        return Spacing(step=xp.astype(entry, compute), is_complex=is_complex)
    check_shape(tuple(entry.shape), dim, n)
    positions = Positions(parts(entry, compute, xp), xp, traced=True)
    return Spacing(positions=positions, dtype=dtype, is_complex=is_complex)


def _from_values(values: Any, dim: int, n: int, library: Library, dtype: Any = None) -> Spacing:
    """A step or coordinates whose values can be read."""
    if values.ndim == 0:
        if values.dtype.kind == "m":
            return _step(seconds(values, dim), dim)
        if values.dtype.kind not in "iufc" and values.dtype.name != "bfloat16":
            raise GridTypeError(_not_understood(values, dim))
        return _step(_number(values[()], dim, library), dim)
    check_shape(values.shape, dim, n)
    return _at(from_values(values, dim), n, dtype)


def _at(positions: Positions, n: int, dtype: Any = None) -> Spacing:
    """Positions, or the step that says it all where their gaps are equal."""
    step = common_step(positions, n)
    is_complex = positions.parts[0].dtype.kind == "c"
    if step is not None:
        return Spacing(step, None, positions, dtype, is_complex)
    return Spacing(None, positions, None, dtype, is_complex)


def of_one_dim(spacing: Any) -> Any:
    """What is given for the only dim: a list of several numbers is its coordinates."""
    is_list = isinstance(spacing, (list, tuple)) and len(spacing) != 1
    return (spacing,) if is_list else spacing


def close(spacing: Spacing, period: Any, dim: int, n: int) -> tuple[Spacing, Any]:
    """The spacing of a periodic dim, with its period where coordinates need one."""
    if period is not None:
        if isinstance(period, (np.timedelta64, datetime.timedelta)):
            period = seconds(np.timedelta64(period), dim)
        if isinstance(period, bool) or not isinstance(period, numbers.Real):
            raise GridTypeError(f"period for dim {dim} must be a number, but is {period!r:.80}.")
        period = float(period)
        if not 0 < abs(period) < math.inf:
            raise GridError(f"period for dim {dim} must be finite and not zero, but is {period}.")
    step = spacing.step
    if step is not None:
        known = isinstance(step, (float, complex))
        if period is None or not known or abs(abs(period) - abs(n * step)) <= 1e-9 * abs(period):
            return spacing, None
        if spacing.even is None:
            raise GridError(
                f"period={period:g} for dim {dim} does not fit its step: {n} samples, {step:g} apart, "
                f"have the period {abs(n * step):g}."
            )
        spacing = spacing._replace(step=None, positions=spacing.even, even=None)
    if period is None:
        raise GridError(
            f"period for dim {dim} is missing: on uneven coordinates it can't be told how far the last "
            "sample is from the first."
        )
    return spacing, period


def _number(value: Any, dim: int, library: Library) -> Any:
    """A scalar as a Python number; for NumPy data a wide NumPy scalar stays, to divide as NumPy does."""
    if isinstance(value, (np.float64, np.longdouble)) and library.keeps_numpy_scalars:
        return value
    try:
        if isinstance(value, (numbers.Complex, np.complexfloating)) and not isinstance(
            value, numbers.Real
        ):
            return complex(value)
        return float(value)
    except OverflowError:
        raise GridError(
            f"spacing for dim {dim} must be finite, but is too large a number."
        ) from None


def _step(step: Any, dim: int) -> Spacing:
    if not 0 < abs(step) < math.inf:
        raise GridError(f"spacing for dim {dim} must be finite and not zero, but is {step}.")
    return Spacing(step, is_complex=isinstance(step, complex))


def _not_understood(entry: Any, dim: int) -> str:
    shown = repr(entry) if isinstance(entry, (bool, str, type(None))) else type(entry).__name__
    return (
        f"spacing for dim {dim} must be a number or 1-D coordinates (a list, a NumPy array, or an "
        f"array of the input's library), but is {shown:.80}."
    )
