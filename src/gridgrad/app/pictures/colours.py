"""Which colours a field gets: the map that fits its values, and limits that one outlier cannot
move."""

import difflib
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize

from gridgrad.app.pictures.reading import Array
from gridgrad.errors import GridError

GREY = "0.72"
"""Where there is no number."""

TRIM = 0.02
"""The share of samples at each end that the colours may leave out."""

SIGNED = "RdBu_r"


@dataclass(frozen=True)
class Colours:
    """A colour map with its limits, and which ends of the data lie beyond them."""

    map: Any
    low: float
    high: float
    extend: str

    @property
    def norm(self) -> Normalize:
        return Normalize(self.low, self.high)


def check_map(name: str) -> None:
    """Refuse a colour map that Matplotlib does not have."""
    if name not in matplotlib.colormaps:
        near = difflib.get_close_matches(name, list(matplotlib.colormaps), 3) or ["viridis", SIGNED]
        raise GridError(
            f"--cmap must be a colour map of Matplotlib, such as {', '.join(near)}, but it is {name!r}."
        )


def limits(values: Array) -> tuple[float, float]:
    """The range of the finite values, without a few extreme ones where they would stretch it.

    It is from the 2nd to the 98th percentile, and at least one sample is left out at each end, but only
    if the full range is more than half as wide again: a smooth field keeps it.
    """
    finite = np.sort(values[np.isfinite(values)], axis=None)
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite[0]), float(finite[-1])
    cut = max(1, int(TRIM * finite.size))
    if finite.size > 4:
        inner_low, inner_high = float(finite[cut]), float(finite[-1 - cut])
        # Halves, because the whole range of float64 does not fit into a float64.
        full, inner = high / 2 - low / 2, inner_high / 2 - inner_low / 2
        if 0 < inner < full * 2 / 3:
            low, high = inner_low, inner_high
    return low, high


def choose(
    values: Array,
    look: str = "plain",
    *,
    within: tuple[float, float] | None = None,
    name: str | None = None,
) -> Colours:
    """The colours for `values`: diverging around zero for both signs, sequential for one.

    A `look` of "slope" or "size" is that of lengths, which begin at zero. `within` are limits, and `name` is
    a colour map, that someone asked for.
    """
    low, high = limits(values) if within is None else within
    signed = look == "plain" and low < 0 < high and min(-low, high) > 0.1 * max(-low, high)
    if signed and within is None:
        high = max(-low, high)
        low = -high
    elif look in ("slope", "size") and within is None:
        low = 0.0
    usual = {"image": "gray", "terrain": "gist_earth", "slope": "magma"}.get(look, "viridis")
    if not low < high:
        # A constant field has no range: any will do that has it in the middle.
        room = abs(low) / 2 or 0.5
        low, high = (0.0, 2 * room) if look in ("slope", "size") else (low - room, low + room)
    finite = values[np.isfinite(values)]
    beyond_low, beyond_high = bool((finite < low).any()), bool((finite > high).any())
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[
        beyond_low, beyond_high
    ]
    colours = matplotlib.colormaps[name or (SIGNED if signed else usual)]
    if look == "terrain" and name is None:
        # Without the blue of the sea and the white of the snow, of which this map's ends are made.
        colours = LinearSegmentedColormap.from_list(
            "terrain", colours(np.linspace(0.28, 0.93, 256))
        )
    return Colours(colours.with_extremes(bad=GREY), low, high, extend)
