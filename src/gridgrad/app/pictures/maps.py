"""Sheets of maps: one for each field, or for each place along a dim."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from gridgrad.app.pictures.panels import Panel, bar
from gridgrad.app.pictures.sheet import Room, Size, grid, headed, heading, sheet
from gridgrad.app.pictures.words import say


def draw_maps(
    panels: Sequence[Panel], title: str, *, one_bar: bool = False, size: Size | None = None
) -> Figure:
    """Maps beside and below each other, with a colour bar each, or one for all.

    Where all have the same dims, only the outer ones name them.
    """
    first = panels[0]
    alike = all(_alike(panel, first) for panel in panels)
    titled = 0.3 * any(panel.title or panel.over for panel in panels)
    # Ticks and names of the axes, once or around each; a colour bar, likewise.
    names, bars = (0.75, 0.55), 1.05
    room = Room(
        (
            0.12 + bars * (not one_bar) + names[0] * (not alike),
            0.15 + titled + names[1] * (not alike),
        ),
        (0.1 + bars * one_bar + names[0] * alike, heading(title) + names[1] * alike),
    )
    rows, columns, inches = grid(len(panels), first.ratio, room)
    figure = sheet(rows, columns, inches, room, size, maps=True)
    share = alike and len(panels) > 1
    axes = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share)
    places = axes.ravel()
    for number, (panel, place) in enumerate(zip(panels, places, strict=False)):
        panel.draw(place, inches)
        lowest = number + columns >= len(panels)
        if lowest or not alike:
            say(place.set_xlabel, panel.right.label)
            place.tick_params(labelbottom=True)
        if number % columns == 0 or not alike:
            say(place.set_ylabel, panel.down.label)
        if not one_bar:
            bar(figure, place, panel.colours, panel.label, inches)
    for place in places[len(panels) :]:
        place.remove()
    if one_bar:
        shown = list(places[: len(panels)])
        bar(figure, shown, first.colours, first.label, (inches[0], inches[1] * rows / len(shown)))
    headed(figure, title)
    return figure


def _alike(one: Panel, other: Panel) -> bool:
    return all(
        a.label == b.label and np.array_equal(a.where, b.where)
        for a, b in ((one.down, other.down), (one.right, other.right))
    )
