"""What an operator made of a field, beside the field."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gridgrad.app.choosing import shown_dims
from gridgrad.app.pictures.colours import choose
from gridgrad.app.pictures.curves import COLOURS, Curve, draw_curves
from gridgrad.app.pictures.maps import draw_maps
from gridgrad.app.pictures.panels import Overlay, Panel
from gridgrad.app.pictures.reading import Array, read, strides
from gridgrad.app.pictures.scales import PIXELS, down_and_right, numbered, scale_of
from gridgrad.app.pictures.sheet import styled
from gridgrad.app.pictures.slices import Sliced, draw_slices, middle_slices
from gridgrad.app.pictures.vectors import Arrows
from gridgrad.app.pictures.words import labelled, measured, named
from gridgrad.app.roles import coordinate_of, horizontal, role_of, roles
from gridgrad.app.source import Source
from gridgrad.app.suggestions import component_pairs
from gridgrad.labelled.attributes import derivative_name

MOST_PANELS = 9
"""A sheet shows no more fields and results than this."""


def draw_results(
    source: Source, field: xr.DataArray | Sequence[xr.DataArray], results: xr.Dataset
) -> Figure:
    """A field, or several, with the results of an operator.

    Of a gradient, the field stands beside its slope magnitude, under arrows that point uphill; a single
    derivative keeps its sign. Other results have a panel each. Fields of three dims are drawn as slices.
    Of more dims, or of times, one place in the middle is shown, which the title tells. Positions are those of
    the coordinates of the field: a spacing that was given otherwise is to be made one.
    """
    fields = [field] if isinstance(field, xr.DataArray) else list(field)
    with styled():
        parts = _parts(fields[0], results) if len(fields) == 1 else {}
        if parts and len(parts) == len(results.data_vars):
            return _Pair(source, fields[0], parts).draw()
        return _several(source, fields, results)


def _parts(field: xr.DataArray, results: xr.Dataset) -> dict[Hashable, xr.DataArray]:
    """The results that are first derivatives of the field, by dim."""
    found: dict[Hashable, xr.DataArray] = {}
    for dim in field.dims:
        names = [dim, *(name for name, each in field.coords.items() if each.dims == (dim,))]
        for name in (derivative_name(field.name, [each]) for each in names):
            if name in results.data_vars and results[name].dims == field.dims:
                found[dim] = results[name]
    return found


class _Pair:
    """A field and its slopes."""

    def __init__(
        self, source: Source, field: xr.DataArray, parts: dict[Hashable, xr.DataArray]
    ) -> None:
        self.source, self.whole = source, field
        self.complex = field.dtype.kind == "c"
        self.field, self.where = _shown(field, list(parts))
        self.parts = {dim: _at(part, self.where) for dim, part in parts.items()}
        # Slopes by dims of different units have no length together.
        self.units = {dim: _slope_unit(field, part, dim) for dim, part in parts.items()}
        self.title = _title(source, field, self.where)

    def draw(self) -> Figure:
        together = len({str(part.attrs.get("units", "")) for part in self.parts.values()}) == 1
        if self.field.ndim == 1:
            return self._curves()
        if not together:
            return _several(
                self.source, [self.field], xr.Dataset({p.name: p for p in self.parts.values()}),
                heading=self.title,
            )  # fmt: skip
        return self._slices() if self.field.ndim == 3 else self._maps()

    @property
    def _label(self) -> str:
        """What the slope is called; with its unit, in parentheses."""
        if len(self.parts) > 1 or self.complex:
            return measured("slope magnitude", self._unit)
        unit, (dim,) = self._unit, self.parts
        return measured(f"slope along {scale_of(self.whole, dim, turning=True).words}", unit)

    @property
    def _unit(self) -> str:
        """That of all the slopes; positions whose units are not known may be in several."""
        units = list(dict.fromkeys(self.units.values()))
        return units[0] if len(units) == 1 else f"{units[0].partition(' of ')[0]} of position"

    @property
    def _look(self) -> str:
        return "slope" if len(self.parts) > 1 or self.complex else "plain"

    def _curves(self) -> Figure:
        (dim,), (part,) = self.field.dims, self.parts.values()
        by = strides({dim: self.field.sizes[dim]})
        along = scale_of(self.field, dim, by[dim], turning=True)
        ratio = f"d {named(self.field).strip('|')} / d {along.words}"
        ratio = f"|{ratio}|" if self.complex else ratio
        return draw_curves(
            [
                Curve(read(self.field, by), along, labelled(self.field)),
                Curve(
                    read(part, by), along, measured(ratio, self._unit), zero=True, colour=COLOURS[1]
                ),
            ],
            self.title,
        )

    def _maps(self) -> Figure:
        first, second = self.field.dims
        pair = down_and_right(self.field, (first, second))
        by = strides({dim: self.field.sizes[dim] for dim in pair})
        down, right = (scale_of(self.field, dim, by[dim]) for dim in pair)
        values = read(self.field, by)
        slopes = {dim: read(part, by) for dim, part in self.parts.items()}
        slope = _length(list(slopes.values()))
        over: Overlay | None = None
        look = self.source.look
        if set(pair) <= set(slopes) and not self.complex:
            over = Arrows(
                slopes[pair[0]], slopes[pair[1]], self._unit, "uphill",
                slopes=True, light=look == "image",
            )  # fmt: skip
        name = named(self.field)
        left = Panel(
            values, down, right, choose(values, look), labelled(self.field),
            title="field" if name == "value" else name, shade=look == "terrain", over=over,
        )  # fmt: skip
        beside = Panel(
            slope, down, right, choose(slope, self._look), self._label,
            title=self._label.rpartition(" (")[0] or self._label,
        )  # fmt: skip
        return draw_maps([left, beside], self.title)

    def _slices(self) -> Figure:
        parts = [middle_slices(part) for part in self.parts.values()]
        slope = [_length([part[k] for part in parts]) for k in range(3)]
        fields = [
            Sliced(middle_slices(self.field), labelled(self.field)),
            Sliced((slope[0], slope[1], slope[2]), self._label, self._look),
        ]
        heading, _, below = self.title.partition("\n")
        return draw_slices(self.field, fields, f"{heading}: middle slices\n{below}")


def _length(parts: Sequence[Array]) -> Array:
    """The one component, with its sign, or else the length of the gradient."""
    length = parts[0]
    for part in parts[1:]:
        # Not the root of a sum of squares, which overflows.
        length = np.hypot(length, part)
    return length


def _slope_unit(field: xr.DataArray, part: xr.DataArray, dim: Hashable) -> str:
    """The unit of a slope: what its attribute says, `m/m` rather than 1, or `per sample`."""
    unit, below = str(part.attrs.get("units", "")), coordinate_of(field, dim)
    of = str(field.attrs.get("units", ""))
    if unit not in ("", "1"):
        return unit
    if unit == "1" and below is not None and of not in ("", "1"):
        return f"{of}/{below.attrs.get('units', of)}"
    if below is None:
        return f"{of} per {'pixel' if dim in PIXELS else 'sample'}".strip()
    if role_of(dim, below) == "time":
        return f"{of} per s".strip()
    return f"{of} per unit of {'spacing' if numbered(dim) else below.name}".strip()


def _several(
    source: Source, fields: Sequence[xr.DataArray], results: xr.Dataset, heading: str | None = None
) -> Figure:
    """A panel for each field and each result."""
    whole = [*fields, *results.data_vars.values()]
    every = [each for each in whole if set(each.dims) == set(fields[0].dims)][:MOST_PANELS]
    # A vector is a matter of two dims.
    flat = _vector(fields, results) and (horizontal(roles(fields[0])) or fields[0].dims[-2:])
    first, where = _shown(fields[0], flat or ())
    shown = [_at(each, where).transpose(*first.dims) for each in every]
    heading = heading or _title(source, fields[0], where)
    if first.ndim == 1:
        (dim,) = first.dims
        by = strides({dim: first.sizes[dim]})
        along = scale_of(first, dim, by[dim], turning=True)
        return draw_curves(
            [
                Curve(
                    read(each, by), along, labelled(each), zero=k >= len(fields),
                    colour=COLOURS[min(k // len(fields), 1)],
                )
                for k, each in enumerate(shown)
            ],
            heading,
        )  # fmt: skip
    if first.ndim == 3:
        sliced = [Sliced(middle_slices(each), labelled(each)) for each in shown[:4]]
        title_, _, below = heading.partition("\n")
        return draw_slices(first, sliced, f"{title_}: middle slices\n{below}")
    return draw_maps(_panels(source, shown, len(fields), _vector(fields, results)), heading)


def _panels(
    source: Source, shown: Sequence[xr.DataArray], given: int, components: tuple[int, int] | None
) -> list[Panel]:
    """Maps of 2-D fields, of which the first so many were given, and of results. Components of a vector,
    by their numbers, are arrows on one map."""
    first = shown[0]
    pair = down_and_right(first, (first.dims[0], first.dims[1]))
    by = strides({dim: first.sizes[dim] for dim in pair}, 1000)
    down, right = (scale_of(first, dim, by[dim]) for dim in pair)
    values = [read(each, by) for each in shown]
    panels = []
    if components is not None:
        one, other = components
        unit, names = str(first.attrs.get("units", "")), (shown[one].name, shown[other].name)
        words, speed = (
            f"magnitude of ({names[0]}, {names[1]})",
            np.hypot(values[one], values[other]),
        )
        over = Arrows(values[other], values[one], unit)
        label = measured(words, unit)
        panels.append(
            Panel(speed, down, right, choose(speed, "size"), label, title=words, over=over)
        )
    for k, each in enumerate(shown):
        if components is not None and k in components:
            continue
        look = source.look if k < given else "plain"
        name = "field" if each.name in (None, "values") else str(each.name)
        label = labelled(each)
        if len(label) > 70:
            # Such as that of a mixed derivative. The name stands above.
            label = measured(name, str(each.attrs.get("units", "")))
        colours = choose(values[k], look)
        shade = look == "terrain"
        panels.append(Panel(values[k], down, right, colours, label, title=name, shade=shade))
    return panels


def _vector(fields: Sequence[xr.DataArray], results: xr.Dataset) -> tuple[int, int] | None:
    """The numbers of two components of one vector, of that to the right first, if that is what the fields
    are."""
    if len(fields) != 2 or any(_parts(each, results) for each in fields):
        return None
    one, other = fields
    if set(one.dims) != set(other.dims) or "c" in (one.dtype.kind, other.dtype.kind):
        return None
    known = component_pairs(xr.Dataset({str(each.name): each.variable for each in fields}))
    return (1, 0) if known == [(other.name, one.name)] else (0, 1)


def _shown(
    field: xr.DataArray, along: Sequence[Hashable]
) -> tuple[xr.DataArray, dict[Hashable, int]]:
    """The part of a field that is drawn, and its place along the other dims, in their middle."""
    known = roles(field)
    timed = any(known[dim] == "time" for dim in field.dims)
    if field.ndim < 3 or (field.ndim == 3 and not timed and len(along) != 2):
        return field, {}
    kept = list(along) if len(along) == 2 else shown_dims(field, 2)
    where = {dim: n // 2 for dim, n in field.sizes.items() if dim not in kept}
    return _at(field, where), where


def _at(array: xr.DataArray, where: Mapping[Hashable, int]) -> xr.DataArray:
    return array.isel(where, drop=True)


def _title(source: Source, field: xr.DataArray, where: Mapping[Hashable, int]) -> str:
    places = (scale_of(field, dim, turning=True).place(n) for dim, n in where.items())
    return "\n".join([source.title, ", ".join(places)])
