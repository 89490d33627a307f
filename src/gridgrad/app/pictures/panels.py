"""One map: colours at the places of the samples, and the bar that says what they mean."""

from dataclasses import dataclass
from typing import Any, Protocol

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LightSource
from matplotlib.figure import Figure

from gridgrad.app.pictures.colours import GREY, Colours
from gridgrad.app.pictures.places import borders, even
from gridgrad.app.pictures.reading import Array
from gridgrad.app.pictures.scales import Scale, pair, stretch
from gridgrad.app.pictures.sheet import Size
from gridgrad.app.pictures.words import folded, say


class Overlay(Protocol):
    """What is drawn over a map."""

    def draw(self, axes: Axes, panel: "Panel", inches: Size) -> None:
        """Draw on axes of so many inches."""


@dataclass(frozen=True)
class Panel:
    """A map, before it is drawn."""

    values: Array
    """Down by right."""
    down: Scale
    right: Scale
    colours: Colours
    label: str
    """What the colours are."""
    title: str = ""
    shade: bool = False
    """Whether the field is a surface to be lit."""
    over: Overlay | None = None

    @property
    def ratio(self) -> float:
        """Height by width."""
        return pair(self.down, self.right)[1]

    def draw(self, axes: Axes, inches: Size) -> None:
        """Colour the samples at their positions."""
        paint(axes, self)
        if self.title:
            say(
                axes.set_title,
                folded(self.title, max(16, int(inches[0] * 9.5))),
                loc="left",
                fontsize=11,
            )
        if self.over is not None:
            self.over.draw(axes, self, inches)


def paint(axes: Axes, panel: Panel) -> None:
    """Colour the samples, and dress the axes."""
    down, right, colours = panel.down, panel.right, panel.colours
    shown = np.ma.masked_invalid(panel.values)
    columns, rows = borders(right.where), borders(down.where)
    axes.set_facecolor(GREY)
    if not (even(down.where) and even(right.where)):
        # Every sample fills the way to its neighbours' midpoints.
        axes.pcolormesh(
            columns, rows, shown, cmap=colours.map, norm=colours.norm, rasterized=True
        )  # fmt: skip
    else:
        # Few samples are shown one by one, many without the moiré of those that have no pixel.
        smooth = "nearest" if min(panel.values.shape) < 150 else "antialiased"
        frame = (columns[0], columns[-1], rows[-1], rows[0])
        if panel.shade:
            axes.imshow(_lit(shown, panel), extent=frame, interpolation=smooth)
        else:
            axes.imshow(
                shown, extent=frame, cmap=colours.map, norm=colours.norm, interpolation=smooth
            )
    axes.set_xlim(columns.min(), columns.max())
    axes.set_ylim(*(rows.max(), rows.min()) if down.downward else (rows.min(), rows.max()))
    right.dress(axes.xaxis)
    down.dress(axes.yaxis)
    equal, _ = pair(down, right)
    geographic = {down.role, right.role} == {"latitude", "longitude"}
    aspect: Any = (stretch(down) if geographic else 1.0) if equal else "auto"
    axes.set_aspect(aspect)


def _lit(values: Any, panel: Panel) -> Array:
    """The colours of a surface lit from the upper left, as maps are."""
    light = LightSource(azdeg=315, altdeg=45)
    down, right = panel.down.where, panel.right.where
    # Heights are in metres, even where positions are in kilometres.
    metres = 1000 if panel.right.unit == "km" else 1
    # Matplotlib takes the first row for the upper one, and the first column for the left one.
    falls = 1 if panel.down.downward else -1
    pixels: Array = light.shade(
        values.filled(np.nan) if np.ma.is_masked(values) else values.data,
        cmap=panel.colours.map,
        norm=panel.colours.norm,
        blend_mode="soft",
        vert_exag=1.5,
        dx=(right[1] - right[0]) * metres if len(right) > 1 else 1,
        dy=(down[1] - down[0]) * metres * falls if len(down) > 1 else 1,
    )
    return pixels


def bar(figure: Figure, axes: Any, colours: Colours, label: str, inches: Size) -> None:
    """The colour bar of one panel, or of several, with points where values lie beyond its ends."""
    source = matplotlib.cm.ScalarMappable(colours.norm, colours.map)
    if isinstance(axes, Axes):
        # Inside the axes' own frame it is as tall as they are, whatever their aspect.
        width, tall = 0.17 / inches[0], inches[1]
        place: Any = axes.inset_axes((1 + 0.6 * width, 0, width, 1))
        drawn = figure.colorbar(source, cax=place, extend=colours.extend)
    else:
        tall = inches[1] * len(axes)
        drawn = figure.colorbar(
            source, ax=axes, extend=colours.extend, aspect=max(12, 5 * tall), pad=0.015
        )
    say(drawn.ax.set_ylabel, folded(label, max(20, int(tall * 9.5))))
