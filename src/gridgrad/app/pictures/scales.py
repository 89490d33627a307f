"""The dims of a picture as its axes: where the samples stand, in what, and which way is up."""

import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib import dates, ticker

from gridgrad.app.pictures.places import drawable, extent
from gridgrad.app.pictures.reading import Array
from gridgrad.app.pictures.words import measured, unit_text
from gridgrad.app.roles import Role, coordinate_of, is_pressure, role_of
from gridgrad.app.source import printable
from gridgrad.labelled.attributes import title

PIXELS = frozenset(("row", "column"))
_NUMBERED = re.compile(r"(?:.*_)?dim(\d+)")
_COUNTS = ("sample", "pixels")
_METRES = frozenset(("m", "meter", "meters", "metre", "metres"))


@dataclass(frozen=True)
class Scale:
    """One dim as it is drawn."""

    dim: Hashable
    where: Array
    """The positions of the samples that are shown, as float64; dates as Matplotlib counts them."""
    words: str
    role: Role
    unit: str = ""
    """What a step is in; empty where that is not known."""
    ticks: Literal["numbers", "degrees east", "degrees north", "dates", "calendar"] = "numbers"
    downward: bool = False
    """Whether positions increase from top to bottom where they stand on the left."""
    calendar: tuple[str, str] | None = None
    names: tuple[str, ...] = ()
    """What the places are called, if they are not positions: stations, say."""

    @property
    def label(self) -> str:
        """What is written along the axis."""
        return measured(self.words, self.unit if self.ticks == "numbers" else "")

    def place(self, number: int) -> str:
        """Where one sample stands, as `depth = 40 m`."""
        where = float(self.where[number])
        if self.names:
            text = self.names[number]
        elif self.ticks == "dates":
            text = f"{dates.num2date(where):%Y-%m-%d %H:%M}".removesuffix(" 00:00")
        elif self.ticks == "calendar":
            text = self._calendar_date(where)
        elif self.ticks != "numbers":
            text = (longitude if self.ticks == "degrees east" else latitude)(round(where, 2))
        else:
            unit = "" if self.unit in (*_COUNTS, "1") else unit_text(self.unit)
            text = f"{where:.4g} {unit}" if abs(where) < 1e4 else f"{where:.6g} {unit}"
        return printable(f"{self.words} = {text.rstrip()}")

    def dress(self, axis: Any) -> None:
        """Write the ticks of Matplotlib's axis as these positions are written."""
        if self.ticks == "dates":
            locator = dates.AutoDateLocator(minticks=3, maxticks=8)
            axis.set_major_locator(locator)
            axis.set_major_formatter(dates.ConciseDateFormatter(locator))
        elif self.ticks == "calendar":
            axis.set_major_locator(ticker.MaxNLocator(5))
            axis.set_major_formatter(ticker.FuncFormatter(self._calendar_date))
        elif self.ticks != "numbers":
            # Of 360 degrees, thirds and sixths are rounder than fifths.
            steps = [1, 1.5, 3, 6, 9, 10] if float(np.ptp(self.where)) > 100 else [1, 2, 5, 10]
            axis.set_major_locator(ticker.MaxNLocator("auto", steps=steps))
            write = longitude if self.ticks == "degrees east" else latitude
            axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: write(value)))
        elif len(self.where) == 1:
            axis.set_major_locator(ticker.FixedLocator(self.where.tolist()))
        elif self.unit in _COUNTS:
            axis.set_major_locator(ticker.MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))

    def _calendar_date(self, value: float, _: Any = None) -> str:
        import cftime

        assert self.calendar is not None
        units, calendar = self.calendar
        found = cftime.num2date(value, units, calendar=calendar)
        return str(found.strftime("%Y-%m-%d"))


def longitude(value: float) -> str:
    """A longitude as maps write it.

    >>> longitude(210), longitude(-0.25), longitude(360), longitude(180)
    ('150°W', '0.25°W', '0°', '180°')
    """
    value = (value + 180) % 360 - 180
    return _degrees(value, "E", "W", plain=(0.0, 180.0))


def latitude(value: float) -> str:
    """A latitude as maps write it.

    >>> latitude(36.5), latitude(-90), latitude(0)
    ('36.5°N', '90°S', '0°')
    """
    return _degrees(value, "N", "S", plain=(0.0,))


def _degrees(value: float, more: str, less: str, plain: tuple[float, ...]) -> str:
    size = round(abs(value), 6)
    letter = "" if size in plain else more if value > 0 else less
    return f"{size:.6g}°{letter}"


def numbered(dim: Hashable) -> Any:
    """Whether a dim has no name of its own: a match of `dim0`, whose group is the number."""
    return _NUMBERED.fullmatch(str(dim))


def scale_of(array: xr.DataArray, dim: Hashable, step: int = 1, *, turning: bool = False) -> Scale:
    """How the samples along a dim are drawn, of which every `step`th is shown.

    `turning` tells that positions may go back and forth, as those below a curve may.
    """
    coordinate = coordinate_of(array, dim)
    role = role_of(dim, coordinate)
    name = str(dim)
    number = numbered(dim)
    called = f"dim {number[1]}" if number else name
    # Arrays are printed with their first row at the top.
    printed = name in PIXELS or number is not None
    kept = slice(None, None, step)
    counted = Scale(
        dim=dim,
        where=np.arange(array.sizes[dim], dtype=np.float64)[kept],
        words=called,
        role=role,
        unit="pixels" if name in PIXELS else "sample",
        downward=printed or role == "other",
    )
    if coordinate is None:
        return counted
    words, values = title(coordinate.name, coordinate.attrs), coordinate.variable.values
    words = called if words == name else words.replace("_", " ")
    if role == "time" and values.dtype.kind == "O":
        return _of_calendar(counted, words, values[kept])
    if values.dtype.kind == "M":
        if np.isnat(values).any():
            return counted
        where = dates.date2num(values[kept].astype("datetime64[us]"))
        return Scale(dim, where, words, role, "day", "dates")
    unit = str(coordinate.attrs.get("units", ""))
    if values.dtype.kind == "m":
        values, unit = values / np.timedelta64(1, "h"), "h"
    if values.dtype.kind not in "iuf":
        return replace(counted, words=words, names=tuple(map(str, values[kept])))
    where = values.astype(np.float64)
    if role == "longitude":
        where = unwrapped(where)
    if not drawable(where, monotonic=not turning):
        return counted
    if unit in _METRES and np.ptp(where) >= 5000:
        where, unit = where / 1000, "km"
    ticks: Any = {"longitude": "degrees east", "latitude": "degrees north"}.get(role, "numbers")
    down = printed or (
        role == "vertical"
        and (
            coordinate.attrs.get("positive") == "down"
            or (is_pressure(coordinate.attrs) and coordinate.attrs.get("positive") != "up")
        )
    )
    return Scale(
        dim, where[kept], words, role, "degree" if ticks != "numbers" else unit, ticks, down
    )


def _of_calendar(counted: Scale, words: str, values: Array) -> Scale:
    """Dates of a calendar that only cftime knows, as days."""
    import cftime

    calendar = (f"days since {values[0].strftime('%Y-%m-%d')}", values[0].calendar)
    where = np.asarray(cftime.date2num(values, calendar[0], calendar=calendar[1]), np.float64)
    if not drawable(where, monotonic=True):
        return counted
    text = f"{words} ({calendar[1]} calendar)"
    return Scale(counted.dim, where, text, "time", "day", "calendar", calendar=calendar)


def unwrapped(where: Array) -> Array:
    """Longitudes that jump by 360 somewhere, as those that cross the date line do, without the jump.

    >>> unwrapped(np.array([178.0, 179, -180, -179]))
    array([178., 179., 180., 181.])
    """
    steps = np.diff(where)
    if not np.isfinite(where).all() or (steps > 0).all() or (steps < 0).all():
        return where
    return np.unwrap(where, period=360)


def pair(first: Scale, second: Scale) -> tuple[bool, float]:
    """For dims drawn (down, right), whether both have one scale on paper, and the height of the
    picture by its width."""
    tall, wide = extent(first.where), extent(second.where)
    if {first.role, second.role} == {"latitude", "longitude"}:
        ratio = tall * stretch(first) / wide
        return 0.1 <= ratio <= 5, ratio if 0.1 <= ratio <= 5 else 0.6
    ratio = tall / wide
    equal = first.unit == second.unit and first.ticks == second.ticks and 0.2 <= ratio <= 5
    if equal:
        return True, ratio
    # A single row needs no height, and a single column no width.
    return False, 0.2 if len(first.where) == 1 else 3.0 if len(second.where) == 1 else 0.75


def stretch(latitudes: Scale) -> float:
    """How much longer a degree of latitude is on paper than one of longitude: as on the globe at the
    middle of a region, and as long on a map of more than a quarter of a meridian."""
    low, high = latitudes.where.min(), latitudes.where.max()
    if high - low > 45:
        return 1.0
    return float(1 / max(np.cos(np.radians((low + high) / 2)), 0.2))


_RIGHTWARD: dict[Role, int] = {"longitude": 4, "x": 4, "time": 3, "other": 2}


def down_and_right(
    array: xr.DataArray, dims: tuple[Hashable, Hashable]
) -> tuple[Hashable, Hashable]:
    """Which of two dims is drawn from left to right: longitude, or else time, or else the later one."""
    ranks = [_RIGHTWARD.get(role_of(dim, coordinate_of(array, dim)), 1) for dim in dims]
    return (dims[1], dims[0]) if ranks[0] > ranks[1] else dims
