"""Sheets of curves, one above the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gridgrad.app.pictures.reading import Array
from gridgrad.app.pictures.scales import Scale
from gridgrad.app.pictures.sheet import PAGE, Room, Size, headed, heading, sheet
from gridgrad.app.pictures.words import folded, say

COLOURS = ("C0", "C3", "C2", "C4", "C1", "C5")


@dataclass(frozen=True)
class Curve:
    """Samples along one dim."""

    values: Array
    along: Scale
    label: str
    title: str = ""
    zero: bool = False
    """Whether a line marks zero."""
    colour: str = "C0"
    within: tuple[float, float] | None = None


def draw_curves(curves: Sequence[Curve], title: str, *, size: Size | None = None) -> Figure:
    """Curves below each other, with one axis of positions where they have the same."""
    first = curves[0].along
    alike = all(
        curve.along.label == first.label and np.array_equal(curve.along.where, first.where)
        for curve in curves
    )
    each = 0.15 + 0.25 * any(curve.title for curve in curves) + 0.5 * (not alike)
    room = Room((0.9, each), (0.0, heading(title) + 0.5 * alike))
    tall = 3.4 if len(curves) == 1 else 2.3
    tall = max(min(tall, (PAGE[1] - room.once[1]) / len(curves) - each), 0.9)
    figure = sheet(len(curves), 1, (7.6, tall), room, size)
    places = figure.subplots(len(curves), 1, squeeze=False, sharex=alike)[:, 0]
    for curve, axes in zip(curves, places, strict=True):
        _draw(axes, curve, tall)
        if axes is places[-1] or not alike:
            say(axes.set_xlabel, curve.along.label)
    headed(figure, title)
    return figure


def _draw(axes: Axes, curve: Curve, tall: float) -> None:
    where, values = curve.along.where, curve.values
    if curve.zero:
        axes.axhline(0, color="0.6", linewidth=0.8)
    axes.plot(where, values, color=curve.colour, linewidth=1.4)
    # A line shows no sample whose neighbours are both missing.
    gaps = np.concatenate([[True], ~np.isfinite(values), [True]])
    dots = (gaps[:-2] & gaps[2:]) | (len(where) <= 60)
    axes.plot(where[dots], values[dots], color=curve.colour, marker="o", markersize=3, linestyle="")
    axes.grid(color="0.9", linewidth=0.6)
    axes.margins(x=0.01)
    axes.set_axisbelow(True)
    if curve.within is not None:
        axes.set_ylim(*curve.within)
    curve.along.dress(axes.xaxis)
    if curve.title:
        say(axes.set_title, curve.title, loc="left", fontsize=11)
    say(axes.set_ylabel, folded(curve.label, max(18, int(tall * 9.5))))
