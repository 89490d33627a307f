"""The fields of a file as they are asked for: curves, maps, slices, vectors; one place or several."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gridgrad.app.choosing import shown_dims
from gridgrad.app.pictures.colours import choose
from gridgrad.app.pictures.curves import COLOURS, Curve, draw_curves
from gridgrad.app.pictures.maps import draw_maps
from gridgrad.app.pictures.panels import Panel
from gridgrad.app.pictures.reading import MOST, Array, read, strides
from gridgrad.app.pictures.scales import Scale, down_and_right, scale_of
from gridgrad.app.pictures.sheet import Size, styled
from gridgrad.app.pictures.slices import Sliced, draw_slices, middle_slices
from gridgrad.app.pictures.vectors import vectors
from gridgrad.app.pictures.words import labelled, measured, named
from gridgrad.app.roles import roles
from gridgrad.app.source import Source
from gridgrad.errors import GridError
from gridgrad.labelled.names import find, listed

Kind = Literal["auto", "map", "line", "slices", "quiver", "streamlines"]
DIMS: dict[str, int] = {"line": 1, "map": 2, "quiver": 2, "streamlines": 2, "slices": 3}

MANY = 12
"""No more small multiples than this are on a sheet."""


@dataclass(frozen=True)
class Wish:
    """How fields are to be drawn."""

    kind: Kind = "auto"
    panels: str | None = None
    """The dim along which there is a panel for each place."""
    within: tuple[float, float] | None = None
    map: str | None = None
    title: str | None = None
    size: Size | None = None


@dataclass
class Sheet:
    """What is on one sheet: fields with one place along every dim that is not shown."""

    source: Source
    wish: Wish
    places: dict[Hashable, int]
    notes: list[str] = field(default_factory=list)

    def title(self, array: xr.DataArray, apart: Sequence[Hashable] = ()) -> str:
        """What the sheet is of, and below it the places."""
        if self.wish.title is not None:
            return self.wish.title
        where = [
            scale_of(array, dim, turning=True).place(number)
            for dim, number in ((dim, self.places.get(dim)) for dim in array.dims)
            if number is not None and dim not in apart
        ]
        return "\n".join([self.source.title, ", ".join(where)])

    def at(self, array: xr.DataArray, place: Mapping[Hashable, int]) -> xr.DataArray:
        """The part of a field that is at a place along some dims."""
        return array.isel({dim: n for dim, n in place.items() if dim in array.dims}, drop=True)


def draw_fields(
    source: Source,
    arrays: Sequence[xr.DataArray],
    places: Mapping[Hashable, int],
    wish: Wish,
    vector: tuple[xr.DataArray, xr.DataArray] | None = None,
) -> tuple[Figure, list[str]]:
    """A sheet of fields, and sentences about what was chosen for it.

    `places` are samples along dims that are not shown. Along others that have no room the first is taken.
    """
    every = [*arrays, *(vector or ())]
    _check(every, places)
    first = every[0]
    apart = None if wish.panels is None else find(first, wish.panels).dim
    if apart is not None and apart in places:
        raise GridError(f"--panels {wish.panels} and a place along it cannot be given both.")
    kind = _kind(first, [*places, apart], wish.kind, vector is not None)
    rest = first.isel({dim: 0 for dim in places if dim in first.dims}, drop=True)
    kept = shown_dims(rest, DIMS[kind], apart=[] if apart is None else [apart])
    if len(kept) < DIMS[kind]:
        raise GridError(
            f"--kind {kind} shows {DIMS[kind]} dims, but {first.name!r} has only {listed(kept)} here."
        )
    sheet = Sheet(source, wish, dict(places.items()))
    for dim in rest.dims:
        if dim in kept or dim == apart:
            continue
        sheet.places[dim] = 0
        if rest.sizes[dim] > 1:
            sheet.notes.append(
                f"Shown is the first of {rest.sizes[dim]} along {dim!r}; --at {dim}=VALUE chooses another"
                + (f", --panels {dim} shows several." if apart is None else ".")
            )
    for array in every:
        left = [dim for dim in array.dims if dim not in (*sheet.places, apart)]
        if set(left) != set(kept):
            raise GridError(
                f"{array.name!r} has the dims {listed(array.dims)}, and does not go with "
                f"{first.name!r}, which has {listed(first.dims)}; draw it by itself."
            )
    if any(array.dtype.kind == "c" for array in every):
        sheet.notes.append("Complex numbers are drawn by their magnitude.")
    with styled():
        if kind == "slices":
            figure = _slices(sheet, arrays, kept)
        elif kind == "line":
            figure = _lines(sheet, arrays, kept[0], apart)
        else:
            figure = _maps(sheet, arrays, (kept[0], kept[1]), apart, vector, kind)
    return figure, sheet.notes


def _check(arrays: Sequence[xr.DataArray], places: Mapping[Hashable, int]) -> None:
    for dim in places:
        if not any(dim in array.dims for array in arrays):
            raise GridError(
                f"a place along {dim!r} is given, but {listed(array.name for array in arrays)} "
                f"has the dims {listed(arrays[0].dims)}."
            )
    for array in arrays:
        if not array.size:
            raise GridError(f"{array.name!r} has no samples: its shape is {array.shape}.")


def _kind(array: xr.DataArray, taken: Sequence[Any], asked: Kind, vector: bool) -> str:
    """What is drawn where it is left to us."""
    if asked != "auto":
        return asked
    if vector:
        return "quiver"
    known = roles(array)
    free = [dim for dim in array.dims if dim not in taken and array.sizes[dim] > 1]
    if not free:
        raise GridError(f"{array.name!r} is a single number here, of which there is no picture.")
    if len(free) == 1:
        return "line"
    timed = any(known[dim] == "time" for dim in free)
    return "slices" if len(free) == 3 and not timed and not any(taken) else "map"


def _chosen(sheet: Sheet, array: xr.DataArray, apart: Hashable) -> list[int]:
    """The places along the dim of small multiples: all, or some at equal steps."""
    n = array.sizes[apart]
    if n <= MANY:
        return list(range(n))
    sheet.notes.append(f"Shown are {MANY} of {n} along {apart!r}, at equal steps.")
    return [round(k * (n - 1) / (MANY - 1)) for k in range(MANY)]


def _read(sheet: Sheet, array: xr.DataArray, by: Mapping[Hashable, int]) -> Array:
    thinned = [f"every {_ordinal(step)} along {dim!r}" for dim, step in by.items() if step > 1]
    note = f"Of the samples of {array.name!r}, the picture shows {' and '.join(thinned)}."
    if thinned and note not in sheet.notes:
        sheet.notes.append(note)
    return read(array, by)


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 // 10 != 1 else 0, "th")
    return f"{number}{ending}"


def _lines(
    sheet: Sheet, arrays: Sequence[xr.DataArray], dim: Hashable, apart: Hashable | None
) -> Figure:
    curves: list[Curve] = []
    for array in arrays:
        places = [None] if apart is None else _chosen(sheet, array, apart)
        for number in places:
            here = sheet.at(array, {**sheet.places, **({} if number is None else {apart: number})})
            by = strides({dim: here.sizes[dim]})
            along = scale_of(here, dim, by[dim], turning=True)
            curves.append(
                Curve(
                    _read(sheet, here, by),
                    along,
                    labelled(array),
                    title="" if number is None else scale_of(array, apart).place(number),
                    colour=COLOURS[len(curves) % len(COLOURS)] if apart is None else COLOURS[0],
                    within=sheet.wish.within,
                )
            )
    return draw_curves(curves, sheet.title(arrays[0]), size=sheet.wish.size)


def _slices(sheet: Sheet, arrays: Sequence[xr.DataArray], kept: Sequence[Hashable]) -> Figure:
    wish, fields = sheet.wish, []
    for array in arrays:
        here = sheet.at(array, sheet.places).transpose(*kept)
        fields.append(
            Sliced(middle_slices(here), labelled(array), within=wish.within, map=wish.map)
        )
    first = sheet.at(arrays[0], sheet.places).transpose(*kept)
    title = sheet.title(arrays[0])
    if wish.title is None:
        title = title.replace("\n", ": middle slices\n", 1)
    return draw_slices(first, fields, title, size=wish.size)


@dataclass(frozen=True)
class _Map:
    """What one map shows: a field, at one place more where there are small multiples."""

    values: Array
    label: str
    title: str
    over: Any = None


def _maps(
    sheet: Sheet,
    arrays: Sequence[xr.DataArray],
    kept: tuple[Hashable, Hashable],
    apart: Hashable | None,
    vector: tuple[xr.DataArray, xr.DataArray] | None,
    kind: str,
) -> Figure:
    base = arrays[0] if arrays else vector[0]  # type: ignore[index]  # one of them is given
    pair = down_and_right(base, kept)
    if apart is not None and len(arrays) > 1:
        raise GridError("--panels shows one variable at several places; name one with --var.")
    numbers = [None] if apart is None else _chosen(sheet, base, apart)
    several = len(numbers) > 1 or len(arrays) > 1
    most = MOST if not several else max(400, MOST // 2)
    by = strides({dim: base.sizes[dim] for dim in pair}, most)
    down, right = (scale_of(base, dim, by[dim]) for dim in pair)

    def values(array: xr.DataArray, number: int | None) -> Array:
        place = {**sheet.places, **({} if number is None else {apart: number})}
        return _read(sheet, sheet.at(array, place).transpose(*pair), by)

    maps: list[_Map] = []
    for number in numbers:
        title = "" if number is None else scale_of(base, apart).place(number)
        over, speed = None, None
        if vector is not None:
            along, up = (values(part, number) for part in vector)
            unit = str(vector[0].attrs.get("units", ""))
            over = vectors("streamlines" if kind == "streamlines" else "quiver", up, along, unit)
            speed = np.hypot(along, up)
        if not arrays:
            assert vector is not None
            words = f"magnitude of ({vector[0].name}, {vector[1].name})"
            maps.append(_Map(speed, measured(words, unit), title, over))  # type: ignore[arg-type]
        for array in arrays:
            label = labelled(array)
            if len(arrays) > 1:
                # The name stands above the map, and the unit beside it.
                title = named(array)
                label = label.removeprefix(title).strip(" ()") or label
            maps.append(_Map(values(array, number), label, title, over))
    return draw_maps(
        _coloured(sheet, maps, down, right, together=apart is not None),
        sheet.title(base, apart=[] if apart is None else [apart]),
        one_bar=apart is not None and len(maps) > 1,
        size=sheet.wish.size,
    )


def _coloured(
    sheet: Sheet, maps: Sequence[_Map], down: Scale, right: Scale, *, together: bool
) -> list[Panel]:
    """Maps in colours of their own, or in those that fit all."""
    look, wish = sheet.source.look, sheet.wish
    pick: Callable[[Array], Any] = lambda values: choose(  # noqa: E731
        values, look, within=wish.within, name=wish.map
    )
    shared = pick(np.stack([each.values for each in maps])) if together else None
    return [
        Panel(
            each.values,
            down,
            right,
            shared or pick(each.values),
            each.label,
            title=each.title,
            shade=look == "terrain",
            over=each.over,
        )
        for each in maps
    ]
