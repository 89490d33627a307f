"""The fields of a file as they are asked for: curves, maps, slices, vectors; one place or several."""

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gridgrad.app.choosing import shown_dims
from gridgrad.app.pictures.arrows import usual_length
from gridgrad.app.pictures.colours import choose
from gridgrad.app.pictures.curves import COLOURS, Curve, draw_bundle, draw_curves
from gridgrad.app.pictures.maps import draw_maps
from gridgrad.app.pictures.panels import Overlay, Panel
from gridgrad.app.pictures.reading import MOST, Array, read, strides
from gridgrad.app.pictures.scales import Scale, down_and_right, scale_of
from gridgrad.app.pictures.sheet import Size, styled
from gridgrad.app.pictures.slices import Sliced, draw_slices, middle_slices
from gridgrad.app.pictures.vectors import Arrows, Streamlines
from gridgrad.app.pictures.words import labelled, measured, named
from gridgrad.app.roles import roles
from gridgrad.app.source import Source
from gridgrad.errors import GridError
from gridgrad.labelled.names import find, listed

Kind = Literal["auto", "map", "line", "slices", "quiver", "streamlines"]
DIMS: dict[str, int] = {"line": 1, "map": 2, "quiver": 2, "streamlines": 2, "slices": 3}

ONE_VARIABLE = "--panels shows one variable at several places; name one with --var."

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

    def title(self, array: xr.DataArray, apart: Hashable | None = None) -> str:
        """What the sheet is of, and below it the places, but for those of its panels."""
        if self.wish.title is not None:
            return self.wish.title
        known = [dim for dim in array.dims if dim in self.places and dim != apart]
        where = [
            scale_of(array, dim, turning=True).place(self.places[dim])
            for dim in known
            if array.sizes[dim] > 1 or dim in array.coords
        ]
        return "\n".join([self.source.title, ", ".join(where)])

    def with_place(self, apart: Hashable | None, number: int | None) -> dict[Hashable, int]:
        """The places of one of several panels."""
        return self.places if number is None else {**self.places, apart: number}

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
            figure = _maps(sheet, arrays, (kept[0], kept[1]), apart, vector or (), kind)
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
    """Curves below each other, or those of several places in one frame."""
    first, wish = arrays[0], sheet.wish
    if apart is not None and len(arrays) > 1:
        raise GridError(ONE_VARIABLE)
    curves = []
    numbers = [None] if apart is None else _chosen(sheet, first, apart)
    for k, (array, number) in enumerate(itertools.product(arrays, numbers)):
        here = sheet.at(array, sheet.with_place(apart, number))
        by = strides({dim: here.sizes[dim]})
        curves.append(
            Curve(
                _read(sheet, here, by),
                scale_of(here, dim, by[dim], turning=True),
                labelled(array),
                title="" if number is None else scale_of(array, apart, turning=True).place(number),
                colour=COLOURS[k % len(COLOURS)],
                within=wish.within,
            )
        )
    draw = draw_curves if apart is None else draw_bundle
    return draw(curves, sheet.title(first, apart), size=wish.size)


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
    look: str
    over: Overlay | None = None


def _maps(
    sheet: Sheet,
    arrays: Sequence[xr.DataArray],
    kept: tuple[Hashable, Hashable],
    apart: Hashable | None,
    vector: Sequence[xr.DataArray],
    kind: str,
) -> Figure:
    """A map for each field, or for each place along a dim; with or without vectors."""
    base = [*arrays, *vector][0]
    pair = down_and_right(base, kept)
    if apart is not None and len(arrays) > 1:
        raise GridError(ONE_VARIABLE)
    numbers = [None] if apart is None else _chosen(sheet, base, apart)
    most = MOST if len(numbers) == 1 and len(arrays) < 2 else MOST // 2
    by = strides({dim: base.sizes[dim] for dim in pair}, most)
    down, right = (scale_of(base, dim, by[dim]) for dim in pair)

    def values(array: xr.DataArray, number: int | None) -> Array:
        here = sheet.at(array, sheet.with_place(apart, number))
        return _read(sheet, here, by)

    blown = [(values(vector[0], n), values(vector[1], n)) for n in numbers] if vector else []
    overlays = _overlays(blown, vector, kind, light=sheet.source.look == "image")
    maps = []
    for k, number in enumerate(numbers):
        title = "" if number is None else scale_of(base, apart, turning=True).place(number)
        if not arrays:
            words = f"magnitude of ({vector[0].name}, {vector[1].name})"
            label = measured(words, str(vector[0].attrs.get("units", "")))
            maps.append(_Map(np.hypot(*blown[k]), label, title, "size", overlays[k]))
        for array in arrays:
            label = labelled(array)
            if len(arrays) > 1:
                # The name stands above the map, and the unit beside it.
                title = named(array)
                label = label.removeprefix(title).strip(" ()") or label
            over = overlays[k] if overlays else None
            maps.append(_Map(values(array, number), label, title, sheet.source.look, over))
    together = apart is not None and len(maps) > 1
    panels = _coloured(sheet, maps, down, right, together=together)
    return draw_maps(panels, sheet.title(base, apart), one_bar=together, size=sheet.wish.size)


def _overlays(
    blown: Sequence[tuple[Array, Array]], vector: Sequence[xr.DataArray], kind: str, *, light: bool
) -> list[Overlay]:
    """Arrows, which mean the same on all maps, or streamlines."""
    if kind == "streamlines":
        return [Streamlines(up, along) for along, up in blown]
    if not blown:
        return []
    every = [np.stack([each[k] for each in blown]) for k in (0, 1)]
    usual = usual_length(every[0], every[1]) if len(blown) > 1 else None
    unit = str(vector[0].attrs.get("units", ""))
    return [Arrows(up, along, unit, light=light, usual=usual) for along, up in blown]


def _coloured(
    sheet: Sheet, maps: Sequence[_Map], down: Scale, right: Scale, *, together: bool
) -> list[Panel]:
    """Maps in colours of their own, or in those that fit all."""
    wish, panels = sheet.wish, []
    every = np.stack([each.values for each in maps]) if together else None
    for each in maps:
        values = each.values if every is None else every
        colours = choose(values, each.look, within=wish.within, name=wish.map)
        shade = each.look == "terrain"
        panels.append(
            Panel(each.values, down, right, colours, each.label, each.title, shade, each.over)
        )
    return panels
