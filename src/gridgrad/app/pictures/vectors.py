"""Vectors over a map: arrows that point uphill, arrows of a wind, and the lines that it blows along."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.quiver import Quiver

from gridgrad.app.pictures.arrows import cell, cell_centres, cell_means, fitted
from gridgrad.app.pictures.panels import Panel
from gridgrad.app.pictures.reading import Array
from gridgrad.app.pictures.scales import Scale
from gridgrad.app.pictures.sheet import Size
from gridgrad.app.pictures.words import amount, say, unit_text


@dataclass(frozen=True)
class Arrows:
    """Arrows, each the mean of the vectors in its cell, with a key above the panel."""

    down: Array
    """The component along the dim that is drawn down the side, positive where positions increase."""
    right: Array
    unit: str
    word: str = ""
    """What the key says after the unit."""
    slopes: bool = False
    """Whether they are slopes along the coordinates, rather than a velocity on the ground."""
    light: bool = False
    usual: float | None = None
    """The length that the key tells, where several panels share it."""

    def draw(self, axes: Axes, panel: Panel, inches: Size) -> None:
        """Draw the arrows and their key."""
        width, height = inches
        sizes = cell((self.down.shape[0], self.down.shape[1]), height / width)
        means = [cell_means(part, sizes) for part in (self.down, self.right)]
        up, along, usual = fitted(means[0], means[1], self.usual)
        if not np.isfinite(up).any():
            return
        places = [
            cell_centres(scale.where, size)
            for scale, size in zip((panel.down, panel.right), sizes, strict=True)
        ]
        up, along = _on_paper(up, along, panel.down, places[0], slopes=self.slopes)
        angles: Any = "xy" if self.slopes else "uv"
        if angles == "uv" and panel.down.downward:
            up = -up
        arrows = axes.quiver(
            places[1], places[0], along, up, angles=angles, pivot="mid",
            # The usual arrow is as long as a cell is wide, or a tenth of the panel if there are few.
            scale_units="width", scale=usual * max(10, len(places[1])),
            units="inches", width=0.017,
            headwidth=4, headlength=4.5, headaxislength=4, minlength=0.5,
            color="white" if self.light else "0.1",
            edgecolor="0.1" if self.light else "white", linewidth=0.35,
        )  # fmt: skip
        self._key(axes, arrows, usual, sizes, bool(panel.title), inches)

    def _key(
        self,
        axes: Axes,
        arrows: Quiver,
        usual: float,
        sizes: tuple[int, int],
        titled: bool,
        inches: Size,
    ) -> None:
        """What an arrow of the usual length means, above the right end of the panel."""
        width, height = inches
        label = " ".join(word for word in (amount(usual), unit_text(self.unit), self.word) if word)
        detail = f" (means of {sizes[0]} x {sizes[1]} samples)" if max(sizes) > 1 else ""
        title = axes.get_title(loc="left")
        beside = len(title.split("\n")[-1])

        def fits(letters: int) -> bool:
            return width > 0.6 + 0.085 * letters

        if fits(len(label + detail) + beside) or (
            not fits(len(label) + beside) and fits(len(label + detail))
        ):
            label += detail
        # Where the title leaves no room beside it, the key stands on a line below it.
        if titled and not fits(len(label) + beside):
            say(axes.set_title, title + "\n", loc="left", fontsize=11)
        key = axes.quiverkey(
            arrows, 0.97, 1 + 0.15 / height, usual, label,
            labelpos="W", labelsep=0.15, coordinates="axes", fontproperties={"size": 9}, color="0.1",
        )  # fmt: skip
        key.text.set_parse_math(False)


@dataclass(frozen=True)
class Streamlines:
    """Lines along which the vectors lead."""

    down: Array
    right: Array
    density: float = 2.2

    def draw(self, axes: Axes, panel: Panel, inches: Size) -> None:
        """Draw the lines, on a grid of even steps as Matplotlib needs it."""
        down, along = (
            _evened(part, panel.down.where, panel.right.where) for part in (self.down, self.right)
        )
        y, x = (_even(scale.where) for scale in (panel.down, panel.right))
        if len(x) < 2 or len(y) < 2 or not (np.isfinite(down) & np.isfinite(along)).any():
            return
        if panel.down.role == "latitude" and panel.right.role == "longitude":
            # A degree of longitude is shorter than one of latitude.
            along = along / np.maximum(np.cos(np.radians(y)), 0.05)[:, None]
        limits = axes.get_xlim(), axes.get_ylim()
        longer = max(inches)
        axes.streamplot(
            x, y, np.ma.masked_invalid(along), np.ma.masked_invalid(down),
            density=(self.density * inches[0] / longer, self.density * inches[1] / longer),
            color="0.1", linewidth=0.8, arrowsize=0.9, broken_streamlines=True,
        )  # fmt: skip
        axes.set_xlim(*limits[0])
        axes.set_ylim(*limits[1])


def _on_paper(
    down: Array, right: Array, scale: Scale, where: Array, *, slopes: bool
) -> tuple[Array, Array]:
    """Slopes by latitude and longitude turned so that they point uphill on the ground, as long as
    they were; others as they are."""
    if not slopes or scale.role != "latitude":
        return down, right
    length = np.hypot(down, right)
    right = right / np.maximum(np.cos(np.radians(where)), 0.05)[:, None] ** 2
    now = np.hypot(down, right)
    factor = np.divide(length, now, out=np.ones_like(now), where=now > 0)
    return down * factor, right * factor


MESH = 200
"""Streamlines are followed on a grid of no more steps a side."""


def _even(where: Array) -> Array:
    low, high = float(where.min()), float(where.max())
    return np.linspace(low, high, min(len(where), MESH))


def _evened(values: Array, down: Array, right: Array) -> Array:
    """Values between the samples, on even and increasing positions."""
    for axis, where in enumerate((down, right)):
        if where[0] > where[-1]:
            values, where = np.flip(values, axis), where[::-1]
        x = _even(where)
        at = np.clip(np.searchsorted(where, x, side="right") - 1, 0, max(len(where) - 2, 0))
        if len(where) < 2:
            continue
        share = (x - where[at]) / (where[at + 1] - where[at])
        share = share[:, None] if axis == 0 else share
        before, after = values.take(at, axis), values.take(at + 1, axis)
        # So that a sample counts only where it stands, a missing one beside it does not matter.
        with np.errstate(invalid="ignore"):
            values = np.where(share == 0, before, before + share * (after - before))
    return values
