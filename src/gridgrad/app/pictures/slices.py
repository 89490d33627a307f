"""Three slices through the middle of a 3-D field, a row of them for each field."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gridgrad.app.pictures.colours import choose
from gridgrad.app.pictures.panels import Panel, bar
from gridgrad.app.pictures.reading import Array, read, strides
from gridgrad.app.pictures.scales import down_and_right, scale_of
from gridgrad.app.pictures.sheet import Room, Size, headed, heading, sheet
from gridgrad.app.pictures.words import say


@dataclass(frozen=True)
class Sliced:
    """A field as its three slices, and what its colours are."""

    slices: tuple[Array, Array, Array]
    label: str
    look: str = "plain"
    within: tuple[float, float] | None = None
    map: str | None = None


def middle_slices(array: xr.DataArray) -> tuple[Array, Array, Array]:
    """The slice in the middle of each dim; no more than these is read."""
    found = []
    for dim in array.dims:
        pair = down_and_right(array, _others(array, dim))
        by = strides({other: array.sizes[other] for other in pair})
        plane = array.isel({dim: array.sizes[dim] // 2}, drop=True)
        found.append(read(plane, by))
    return found[0], found[1], found[2]


def draw_slices(
    array: xr.DataArray, fields: Sequence[Sliced], title: str, *, size: Size | None = None
) -> Figure:
    """A row of slices for each of the fields, which lie on the dims of `array`."""
    room = Room((0.75, 0.85), (1.0, heading(title)))
    figure = sheet(len(fields), 3, (3.0, 2.6), room, size)
    rows = figure.subplots(len(fields), 3, squeeze=False)
    for row, field in zip(rows, fields, strict=True):
        every = np.concatenate([part.ravel() for part in field.slices])
        colours = choose(every, field.look, within=field.within, name=field.map)
        for dim, values, axes in zip(array.dims, field.slices, row, strict=True):
            pair = down_and_right(array, _others(array, dim))
            by = strides({other: array.sizes[other] for other in pair})
            down, right = (scale_of(array, other, by[other]) for other in pair)
            panel = Panel(values, down, right, colours, field.label)
            panel.draw(axes, (3.0, 2.6))
            say(axes.set_title, scale_of(array, dim).place(array.sizes[dim] // 2), fontsize=10)
            say(axes.set_xlabel, right.label)
            say(axes.set_ylabel, down.label)
        bar(figure, list(row), colours, field.label, (3.0, 0.8))
    headed(figure, title)
    return figure


def _others(array: xr.DataArray, dim: object) -> tuple[object, object]:
    first, second = (other for other in array.dims if other != dim)
    return first, second
