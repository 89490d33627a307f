"""The dims of one call: the coordinates along each as gridgrad takes them, their units, their boundaries."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from gridgrad.boundary import PERIODIC, resolve_periods, resolve_sides
from gridgrad.errors import GridError, GridTypeError
from gridgrad.labelled import quantities
from gridgrad.labelled.attributes import is_longitude, title
from gridgrad.labelled.names import Found, Labelled, by_dim, find_all, listed
from gridgrad.labelled.times import TimeUnit, as_numpy_times, is_time, resolve_time_unit
from gridgrad.positions import Positions, check_shape, common_step, from_values, seconds


@dataclass(frozen=True, eq=False)
class Along:
    """One differentiated dim."""

    dim: Hashable
    name: Hashable  # of the coordinate
    title: str
    entry: Any  # what gridgrad takes as its spacing
    unit: Any  # the coordinate's: text, pint's, or None
    is_longitude: bool = False


@dataclass(frozen=True, eq=False)
class Grid:
    """The differentiated dims, and what else the operators are given about them."""

    along: list[Along]
    boundary: Any
    period: Any
    time_unit: TimeUnit

    @property
    def dims(self) -> list[Hashable]:
        return [each.dim for each in self.along]

    @property
    def spacing(self) -> tuple[Any, ...]:
        """An entry for each dim; the step of even coordinates, where that says it all, is found faster."""
        entries = tuple(each.entry for each in self.along)
        if self.boundary != "one-sided" or self.period is not None:
            return entries
        return tuple(_step(entry) if isinstance(entry, Positions) else entry for entry in entries)


def resolve(
    obj: Labelled,
    names: Any,
    *,
    spacing: Any = None,
    boundary: Any = "one-sided",
    period: Any = None,
    time_unit: Any = None,
) -> Grid:
    """The dims of these names (all, if that is None), with their coordinates."""
    found, unit = find_all(obj, names), resolve_time_unit(time_unit)
    given = _given(obj, found, spacing)
    along = [_along(obj, each, given, unit) for each in found]
    if isinstance(boundary, str) and boundary == "one-sided" and period is None:
        return Grid(along, boundary, period, unit)
    labels: Any = tuple(repr(each.dim) for each in found)
    if isinstance(boundary, Mapping):
        entries = _of_these(obj, found, boundary, "boundary")
        boundary = [entries.get(each.dim, "one-sided") for each in found]
    sides = resolve_sides(boundary, labels)
    if isinstance(period, Mapping):
        entries = _of_these(obj, found, period, "period")
        period = [entries.get(each.dim) for each in found]
    periods = [
        360.0 if own is None and side[0] == PERIODIC and each.is_longitude else _plain(own, unit)
        for own, side, each in zip(
            resolve_periods(period, sides, labels), sides, along, strict=True
        )
    ]
    return Grid(along, sides, periods, unit)


def _step(positions: Positions) -> Any:
    step = common_step(positions, positions.parts[0].shape[0])
    return positions if step is None else step


def _given(obj: Labelled, found: Sequence[Found], spacing: Any) -> dict[Hashable, Any]:
    """The argument `spacing` as entries for dims, none of which has a coordinate too."""
    if spacing is None:
        return {}
    if isinstance(spacing, Mapping):
        given = _of_these(obj, found, spacing, "spacing")
    elif len(found) == 1:
        given = {found[0].dim: spacing}
    elif isinstance(spacing, (list, tuple)):
        if len(spacing) != len(found):
            raise GridError(
                f"spacing must have an entry for each of the dims {listed(each.dim for each in found)}, "
                f"but has {len(spacing)}; a mapping names them."
            )
        given = {each.dim: entry for each, entry in zip(found, spacing, strict=True)}
    else:
        given = {each.dim: spacing for each in found}
    for each in found:
        if each.dim in given and each.variable is not None:
            raise GridError(
                f"spacing is given twice for the dim {each.dim!r}: by the argument and by the coordinate "
                f"{each.name!r}; leave the dim out of the argument, or take the coordinate away."
            )
    return given


def _of_these(
    obj: Labelled, found: Sequence[Found], given: Mapping[Any, Any], argument: str
) -> dict[Hashable, Any]:
    """A mapping from differentiated dims; an error for others."""
    entries, dims = by_dim(obj, given, argument), [each.dim for each in found]
    extra = [dim for dim in entries if dim not in dims]
    if extra:
        raise GridError(
            f"{argument} is given for {listed(extra)}, along which nothing is differentiated; "
            f"that is {listed(dims)}."
        )
    return entries


def _plain(period: Any, unit: TimeUnit) -> Any:
    """A period as a number in the unit of the coordinates."""
    if isinstance(period, np.timedelta64):
        return seconds(period, "the period") / float(unit.seconds)
    return period


def _along(obj: Labelled, found: Found, given: dict[Hashable, Any], time_unit: TimeUnit) -> Along:
    variable = found.variable
    if variable is None:
        if found.dim not in given:
            raise GridError(
                f"dim {found.dim!r} has no coordinate to take positions from; give it one with "
                f"assign_coords, or its step with spacing={{{found.dim!r}: ...}} (1 counts samples)."
            )
        values, attrs = given[found.dim], {}
        if isinstance(values, xr.DataArray):
            attrs, values = values.attrs, values.variable.data
    else:
        attrs = variable.attrs
        values = variable.values if isinstance(variable, xr.IndexVariable) else variable.data
    unit: Any = None if attrs.get("units") is None else str(attrs["units"])
    if not isinstance(values, np.ndarray):
        values, quantity = quantities.split(values)
        unit = unit if quantity is None else quantity
    entry, is_timed = _entry(values, repr(found.name), obj.sizes[found.dim], time_unit)
    if is_timed:
        unit = time_unit.text
    return Along(
        found.dim,
        found.name,
        title(found.name, attrs),
        entry,
        unit,
        is_longitude(attrs, unit),
    )


def _entry(values: Any, name: str, n: int, unit: TimeUnit) -> tuple[Any, bool]:
    """What gridgrad takes as spacing, and whether it is times.

    Coordinates become positions, checked, and known to errors by their name; they do not widen the dtype
    of the result, as those of NumPy do in `gridgrad.gradient`.
    """
    if isinstance(values, np.ndarray) and values.ndim == 0:
        values = values[()]
    if isinstance(values, np.timedelta64):
        return seconds(values, name) / float(unit.seconds), True
    if isinstance(values, (list, tuple, range)) or hasattr(values, "__dask_graph__"):
        values = np.asarray(values)  # coordinates are read, even those of Dask
    if not isinstance(values, np.ndarray):
        return values, False
    check_shape(values.shape, name, n)
    is_timed = is_time(values)
    if is_timed:
        values = as_numpy_times(values, f"coordinate {name}")
    elif values.dtype.kind not in "iufc" and values.dtype.name != "bfloat16":
        raise GridTypeError(
            f"coordinate {name} must hold numbers or times, but holds {values.dtype}."
        )
    return from_values(values, name, unit.seconds if is_timed else 1), is_timed
