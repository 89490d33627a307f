"""A sheet of pictures: how large it is, how its panels lie, and how it becomes a file."""

import logging
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

import matplotlib
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from gridgrad.app.pictures.words import say, short

# Matplotlib tells on stderr that it builds its cache of fonts; a quiet tool does not.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

PAGE = (13.0, 8.6)
"""In inches, the most that a sheet takes up by itself."""

Size = tuple[float, float]


def styled() -> AbstractContextManager[None]:
    """Matplotlib's own style. The user's stays outside: some settings (LaTeX, say) need programs that
    are not here."""
    return matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "agg"})


def save(figure: Figure, file: BinaryIO, suffix: str) -> None:
    """Write a picture; the same numbers give the same bytes."""
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix)
    with styled(), warnings.catch_warnings():
        matplotlib.rcParams["svg.hashsalt"] = "gridgrad"
        # A name may have letters that the font lacks; they become boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(file, format=suffix.removeprefix("."), dpi=150, metadata=dates)


@dataclass(frozen=True)
class Room:
    """In inches, what is needed around each panel, and once around all of them."""

    each: Size
    once: Size


def grid(n: int, ratio: float, room: Room) -> tuple[int, int, Size]:
    """Rows, columns and the inches of a panel, for `n` panels of height / width `ratio`.

    The columns are those that make panels largest on the page.
    """
    best = (0.0, 1, 1, (1.0, 1.0))
    for columns in range(1, n + 1):
        rows = -(-n // columns)
        wide = (PAGE[0] - room.once[0]) / columns - room.each[0]
        tall = (PAGE[1] - room.once[1]) / rows - room.each[1]
        width = min(wide, tall / ratio, 8.5, 6.2 / ratio)
        area = width * width * ratio
        # A sheet with a hole in it is worth a little less.
        if width > 0 and area * (1 - 0.1 * (rows * columns - n) / n) > 1.001 * best[0]:
            best = (area, rows, columns, (max(width, 1.2), max(width * ratio, 1.2)))
    return best[1:]


def sheet(
    rows: int,
    columns: int,
    panel: Size,
    room: Room,
    size: Size | None = None,
    *,
    maps: bool = False,
) -> Figure:
    """A figure with room for so many panels; those of maps keep their shape, and stand close."""
    if size is None:
        size = (
            columns * (panel[0] + room.each[0]) + room.once[0],
            rows * (panel[1] + room.each[1]) + room.once[1],
        )
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, compress=maps)
    return Figure(figsize=size, layout=layout)


def heading(title: str) -> float:
    """The inches that a title of so many lines takes up."""
    return 0.2 + 0.2 * len([line for line in title.split("\n") if line])


def headed(figure: Figure, title: str) -> None:
    """Write what the sheet is of above it, cut to its width."""
    lines = [short(line, max(24, int(figure.get_figwidth() * 9.5))) for line in title.split("\n")]
    say(figure.suptitle, "\n".join(line for line in lines if line))
