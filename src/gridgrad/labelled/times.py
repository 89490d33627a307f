"""Times as coordinates and as samples: their differences are exact, in a unit of time that is asked for."""

import sys
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from gridgrad.errors import GridError, GridTypeError
from gridgrad.positions import SECONDS

# NumPy's names of units of time, and what UDUNITS calls them where that differs.
_SPELLED = {"W": "week", "D": "day", "m": "min"}
_WORDS = {
    "week": "W", "day": "D", "d": "D", "hour": "h", "minute": "m", "min": "m", "second": "s",
}  # fmt: skip


class TimeUnit(NamedTuple):
    """A unit of time: its length in seconds, and how UDUNITS spells it."""

    seconds: Fraction
    text: str


SECOND = TimeUnit(Fraction(1), "s")


def resolve_time_unit(name: Any) -> TimeUnit:
    """The `time_unit` argument; the second if that is None.

    >>> resolve_time_unit("D")
    TimeUnit(seconds=Fraction(86400, 1), text='day')
    """
    if name is None:
        return SECOND
    code = _WORDS.get(name, name) if isinstance(name, str) else None
    if code not in SECONDS:
        raise GridError(
            f"time_unit must be one of {', '.join(map(repr, SECONDS))} (as in NumPy; 'm' is a minute), "
            f"but is {name!r:.40}."
        )
    return TimeUnit(SECONDS[code], _SPELLED.get(code, code))


def is_time(values: Any) -> bool:
    """Whether an array of NumPy holds datetime64, timedelta64 or cftime."""
    return values.dtype.kind in "mM" or (values.dtype.kind == "O" and _holds_cftime(values))


def _holds_cftime(values: Any) -> bool:
    cftime = sys.modules.get("cftime")
    return cftime is not None and values.size > 0 and isinstance(values.flat[0], cftime.datetime)


def as_numpy_times(values: Any, what: str) -> Any:
    """cftime as exact timedelta64 from the first of them, in microseconds, which is all that it holds."""
    if values.dtype.kind in "mM":
        return values
    try:
        return np.asarray(values - values.flat[0], "timedelta64[us]")
    except (TypeError, ValueError) as error:
        raise GridTypeError(
            f"{what} must hold times of one calendar, but cannot be subtracted: {error}."
        ) from error


class Counts(NamedTuple):
    """Times as whole numbers of a unit; not-a-time is masked."""

    values: Any
    factor: float  # of the derivative of the counts, so that it counts in the unit asked for


def counts(values: Any, unit: TimeUnit, what: str) -> Counts:
    """Samples that are times, as integers, whose differences gridgrad forms exactly."""
    values = as_numpy_times(values, what)
    name, count = np.datetime_data(values.dtype)
    if name in ("Y", "M") and values.dtype.kind == "M":
        values, name, count = values.astype("datetime64[D]"), "D", 1
    if name not in SECONDS:
        raise GridTypeError(f"{what} is {values.dtype}, whose unit has no fixed length.")
    numbers = values.astype(np.int64)
    unknown = np.isnat(values)
    if unknown.any():
        numbers = np.ma.array(np.where(unknown, 0, numbers), mask=unknown)
    return Counts(numbers, float(count * SECONDS[name] / unit.seconds))
