"""A sheet of pictures: how large it is, how its panels lie, and how it becomes a file."""

import logging
import warnings
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


def styled() -> "matplotlib.rc_context":  # type: ignore[valid-type]
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


def grid(n: int, ratio: float, *, beside: Size = (1.45, 1.0)) -> tuple[int, int, Size]:
    """Rows, columns and the inches of a panel, for `n` panels of height / width `ratio`.

    The columns are those that make panels largest on the page. `beside` is what each needs around it.
    """
    best = (0.0, 1, 1, (1.0, 1.0))
    for columns in range(1, n + 1):
        rows = -(-n // columns)
        wide = PAGE[0] / columns - beside[0]
        tall = (PAGE[1] - 0.5) / rows - beside[1]
        width = min(wide, tall / ratio, 8.5, 6.2 / ratio)
        area = width * width * ratio
        # A sheet with a hole in it is worth a little less.
        if width > 0 and area * (1 - 0.1 * (rows * columns - n) / n) > 1.001 * best[0]:
            best = (area, rows, columns, (max(width, 1.2), max(width * ratio, 1.2)))
    return best[1:]


def sheet(
    rows: int, columns: int, panel: Size, *, beside: Size = (1.45, 1.0), size: Size | None = None
) -> Figure:
    """A figure with room for so many panels."""
    if size is None:
        size = (columns * (panel[0] + beside[0]), rows * (panel[1] + beside[1]) + 0.5)
    return Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))


def headed(figure: Figure, title: str) -> None:
    """Write what the sheet is of above it, cut to its width."""
    lines = [short(line, max(24, int(figure.get_figwidth() * 9.5))) for line in title.split("\n")]
    say(figure.suptitle, "\n".join(line for line in lines if line))
