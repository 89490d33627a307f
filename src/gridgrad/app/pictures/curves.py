"""Sheets of curves: below each other, in one frame, or upright beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
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
    """Curves below each other, with one axis of positions where they have the same. Profiles, which run
    along heights or depths, stand beside each other."""
    first, n = curves[0].along, len(curves)
    alike = all(
        curve.along.label == first.label and np.array_equal(curve.along.where, first.where)
        for curve in curves
    )
    if all(_upright(curve) for curve in curves):
        room = Room((0.4, 0.0), (0.7, heading(title) + 0.6))
        width = max(min(4.0, (PAGE[0] - room.once[0]) / n - 0.4), 1.2)
        figure = sheet(1, n, (width, 5.4), room, size)
        inches = (width, 5.4)
        places = figure.subplots(1, n, squeeze=False, sharey=alike)[0]
    else:
        each = 0.15 + 0.5 * (not alike)
        room = Room((0.9, each), (0.0, heading(title) + 0.5 * alike))
        tall = min(3.4 if n == 1 else 2.3, (PAGE[1] - room.once[1]) / n - each)
        inches = (7.6, max(tall, 0.9))
        figure = sheet(n, 1, inches, room, size)
        places = figure.subplots(n, 1, squeeze=False, sharex=alike)[:, 0]
    for curve, axes in zip(curves, places, strict=True):
        _line(axes, curve)
        _dress(axes, curve, inches, outer=not alike or axes is places[0 if _upright(curve) else -1])
    headed(figure, title)
    return figure


def draw_bundle(curves: Sequence[Curve], title: str, *, size: Size | None = None) -> Figure:
    """Curves of one quantity in one frame, in the order of their colours."""
    upright = _upright(curves[0])
    inches = (4.6, 5.4) if upright else (7.6, 4.2)
    figure = sheet(1, 1, inches, Room((3.2, 0.6), (0.0, heading(title))), size)
    axes = figure.subplots()
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.92, len(curves)))
    for curve, colour in zip(curves, colours, strict=True):
        _line(axes, replace(curve, colour=to_hex(colour)))
    _dress(axes, curves[0], inches, outer=True)
    legend = axes.legend(
        [axes.lines[2 * k] for k in range(len(curves))],
        [curve.title for curve in curves],
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        frameon=False,
        fontsize=9,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    headed(figure, title)
    return figure


def _upright(curve: Curve) -> bool:
    return curve.along.role == "vertical"


def _line(axes: Axes, curve: Curve) -> None:
    """The line, and the dots, of one curve."""
    where, values = curve.along.where, curve.values
    upright = _upright(curve)
    if curve.zero:
        (axes.axvline if upright else axes.axhline)(0, color="0.6", linewidth=0.8)
    # A line shows no sample whose neighbours are both missing.
    gaps = np.concatenate([[True], ~np.isfinite(values), [True]])
    dots = (gaps[:-2] & gaps[2:]) | (len(where) <= 60)
    line, points = (where, values), (where[dots], values[dots])
    if upright:
        line, points = line[::-1], points[::-1]
    axes.plot(*line, color=curve.colour, linewidth=1.4)
    axes.plot(*points, color=curve.colour, marker="o", markersize=3, linestyle="")


def _dress(axes: Axes, curve: Curve, inches: Size, *, outer: bool) -> None:
    """Grid, ticks and names of a frame; the positions are named on the outer one."""
    upright = _upright(curve)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    curve.along.dress(axes.yaxis if upright else axes.xaxis)
    if upright:
        axes.margins(y=0.02)
        if curve.within is not None:
            axes.set_xlim(*curve.within)
        if curve.along.downward and not axes.yaxis_inverted():
            axes.invert_yaxis()
        say(axes.set_xlabel, folded(curve.label, max(18, int(inches[0] * 9.5))))
        if outer:
            say(axes.set_ylabel, curve.along.label)
        return
    axes.margins(x=0.01)
    if curve.within is not None:
        axes.set_ylim(*curve.within)
    say(axes.set_ylabel, folded(curve.label, max(18, int(inches[1] * 9.5))))
    if outer:
        say(axes.set_xlabel, curve.along.label)
