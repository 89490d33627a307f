"""Sheets of maps: one for each field, or for each place along a dim."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from gridgrad.app.pictures.panels import Panel, bar
from gridgrad.app.pictures.sheet import Size, grid, headed, sheet
from gridgrad.app.pictures.words import say


def draw_maps(
    panels: Sequence[Panel], title: str, *, one_bar: bool = False, size: Size | None = None
) -> Figure:
    """Maps beside and below each other, with a colour bar each, or one for all.

    Where all have the same dims, only the outer ones name them.
    """
    first = panels[0]
    beside = (0.75, 0.75) if one_bar else (1.6, 1.0)
    rows, columns, inches = grid(len(panels), first.ratio, beside=beside)
    figure = sheet(rows, columns, inches, beside=beside, size=size)
    alike = all(_alike(panel, first) for panel in panels)
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
