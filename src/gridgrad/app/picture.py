"""Pictures of a field and its gradient: curves, maps with arrows, and slices."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LightSource
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from gridgrad.app.field import Array, Field, FileProblem, Step, printable
from gridgrad.app.pictures.arrows import cell, cell_centres, cell_means, fitted
from gridgrad.app.pictures.colours import GREY, Colours, choose
from gridgrad.app.pictures.places import borders, drawable, even, extent

MOST = 2000
"""A picture shows no more samples a side than this; more would cost memory and change no pixel."""

# Matplotlib tells on stderr that it builds its cache of fonts; a quiet tool does not.
logging.getLogger("matplotlib").setLevel(logging.ERROR)


def check(field: Field) -> None:
    """Refuse a field that no picture shows, before the work is done."""
    if not 1 <= field.values.ndim <= 3:
        raise FileProblem(
            f"--plot draws 1-D, 2-D and 3-D fields, but this one is {field.values.ndim}-D; "
            "leave --plot out, or choose a part of the input."
        )


@dataclass(frozen=True)
class View:
    """Values and positions as they are drawn: real, float64, and not too many."""

    field: Field
    values: Array
    parts: dict[int, Array]
    """The components by dim."""
    positions: tuple[Array, ...]
    labels: tuple[str, ...]

    @property
    def slope(self) -> Array:
        """The one component, with its sign, or else the length of the gradient."""
        parts = list(self.parts.values())
        if len(parts) == 1:
            return parts[0]
        # Not the root of a sum of squares, which overflows.
        length = np.hypot(parts[0], parts[1])
        return np.hypot(length, parts[2]) if len(parts) == 3 else length

    @property
    def slope_label(self) -> str:
        if len(self.parts) == 1 and not self.complex:
            (dim,) = self.parts
            return f"slope along {self.field.dims[dim].label} ({self.field.slope_unit})"
        return f"slope magnitude ({self.field.slope_unit})"

    @property
    def value_label(self) -> str:
        label = f"|{self.field.label}|" if self.complex else self.field.label
        return (
            f"{label} ({self.field.unit})" if self.field.unit not in ("", "grey levels") else label
        )

    @property
    def complex(self) -> bool:
        return self.field.values.dtype.kind == "c"


def draw(
    field: Field, dims: Sequence[int], components: Sequence[Array], steps: Sequence[Step] | None
) -> Figure:
    """The picture of a field with the components along `dims`, at the spacing that made them."""
    # The user's own style stays outside: some settings (LaTeX, say) need programs that are not
    # here.
    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        view = _view(field, dims, components, steps)
        return {1: _curve, 2: _map, 3: _slices}[field.values.ndim](view)


def save(figure: Figure, file: BinaryIO, suffix: str) -> None:
    """Write a picture; the same numbers give the same bytes."""
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix)
    with matplotlib.rc_context(matplotlib.rcParamsDefault), warnings.catch_warnings():
        matplotlib.rcParams["svg.hashsalt"] = "gridgrad"
        # A file name may have letters that the font lacks; they become boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(file, format=suffix.removeprefix("."), dpi=150, metadata=dates)


def _view(
    field: Field, dims: Sequence[int], components: Sequence[Array], steps: Sequence[Step] | None
) -> View:
    given: dict[int, Step] = {}
    if steps is not None:
        given = dict(zip(dims, [*steps] * (len(dims) // len(steps)), strict=True))
    positions, labels = [], []
    for dim, n in enumerate(field.values.shape):
        known = field.dims[dim]
        step = given.get(dim, field.spacing[dim] if field.spacing is not None else 1.0)
        where = step if isinstance(step, np.ndarray) else known.origin + step * np.arange(n)
        unit = known.unit or ("sample" if dim not in given else "")
        if field.values.ndim == 1 and where.dtype.kind == "M":
            # Matplotlib knows how to write dates below a curve.
            positions.append(where)
            labels.append(known.label)
            continue
        if not drawable(where, monotonic=field.values.ndim > 1):
            where, unit = np.arange(n), "sample"
        where = where.astype(np.float64)
        if unit == "m" and np.ptp(where) >= 5000:
            where, unit = where / 1000, "km"
        positions.append(where)
        labels.append(f"{known.label} ({unit})" if unit else known.label)
    # Curves keep every sample: a line costs little, and its narrowest peak should be seen.
    thin = tuple(slice(None, None, -(-n // MOST)) for n in field.values.shape)
    if field.values.ndim == 1:
        thin = (slice(None),)
    return View(
        field=field,
        values=_real(field.values[thin]),
        parts={dim: _real(part[thin]) for dim, part in zip(dims, components, strict=True)},
        positions=tuple(where[each] for where, each in zip(positions, thin, strict=True)),
        labels=tuple(labels),
    )


def _real(values: Array) -> Array:
    """Values as float64, by their magnitude where they are complex."""
    return (np.abs(values) if values.dtype.kind == "c" else values).astype(np.float64)


def _curve(view: View) -> Figure:
    figure = Figure(figsize=(8, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    (where,), (slope,) = view.positions, view.parts.values()
    name = view.field.label
    below.axhline(0, color="0.6", linewidth=0.8)
    for axes, values, colour in ((above, view.values, "C0"), (below, slope, "C3")):
        axes.plot(where, values, color=colour, linewidth=1.4)
        # A line shows no sample whose neighbours are both missing.
        gaps = np.concatenate([[True], ~np.isfinite(values), [True]])
        dots = (gaps[:-2] & gaps[2:]) | (len(where) <= 60)
        axes.plot(where[dots], values[dots], color=colour, marker="o", markersize=3, linestyle="")
    _say(above.set_ylabel, view.value_label)
    ratio = f"d {name} / d {view.field.dims[0].label}"
    if view.complex:
        ratio = f"|{ratio}|"
    _say(below.set_ylabel, f"{ratio}\n({view.field.slope_unit})")
    _say(below.set_xlabel, view.labels[0])
    _say(figure.suptitle, _short(view.field.title))
    for axes in (above, below):
        axes.grid(color="0.9", linewidth=0.6)
        axes.margins(x=0.01)
        axes.set_axisbelow(True)
    return figure


def _map(view: View) -> Figure:
    across, tall = (extent(view.positions[dim]) for dim in (1, 0))
    ratio = tall / across
    equal = 0.2 <= ratio <= 5
    ratio = ratio if equal else 0.75
    beside = ratio > 0.45
    if beside:
        height = min(max(5.0 * ratio, 3.0), 9.0)
        width = height / ratio
        figure = Figure(figsize=(2 * width + 2.9, height + 1.2), layout="constrained")
    else:
        height, width = 7.5 * ratio, 7.5
        figure = Figure(figsize=(9.5, 2 * (height + 0.7) + 0.6), layout="constrained")
    shape = (1, 2) if beside else (2, 1)
    left, right = figure.subplots(*shape, sharex=True, sharey=True)
    look = view.field.look

    colours = choose(view.values, look)
    _panel(left, view, view.values, colours, (0, 1), shade=look == "terrain")
    _bar(figure, left, colours, view.value_label)
    title = "field" if view.field.label == "value" else view.field.label
    both = len(view.parts) == 2
    # Where the title leaves no room beside it, the key of the arrows stands on a line below it.
    below = "\n" if width < 3.8 + 0.09 * len(title) else ""
    _say(left.set_title, title + below, loc="left")
    if both and not view.complex:
        _arrows(left, view, (width, height), brief=bool(below))

    colours = choose(view.slope, "slope" if both or view.complex else "plain")
    _panel(right, view, view.slope, colours, (0, 1))
    _bar(figure, right, colours, view.slope_label)
    _say(right.set_title, view.slope_label.partition(" (")[0] + below, loc="left")
    for axes in (left, right):
        axes.set_aspect("equal" if equal else "auto")
        _say(axes.set_xlabel, view.labels[1])
        if axes is left or not beside:
            _say(axes.set_ylabel, view.labels[0])
    if not beside:
        left.set_xlabel("")
    _say(figure.suptitle, _short(view.field.title))
    return figure


def _slices(view: View) -> Figure:
    figure = Figure(figsize=(12, 7.2), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    axes = figure.subplots(2, 3)
    magnitude = len(view.parts) > 1 or view.complex
    rows = (
        (view.values, choose(view.values), view.value_label),
        (view.slope, choose(view.slope, "slope" if magnitude else "plain"), view.slope_label),
    )
    for row, (values, colours, label) in zip(axes, rows, strict=True):
        for dim, panel in enumerate(row):
            middle = values.shape[dim] // 2
            pair = tuple(other for other in range(3) if other != dim)
            _panel(panel, view, values.take(middle, axis=dim), colours, pair)
            where = view.positions[dim][middle]
            _say(panel.set_title, f"{view.field.dims[dim].label} = {where:.4g}", fontsize=10)
            _say(panel.set_xlabel, view.labels[pair[1]])
            _say(panel.set_ylabel, view.labels[pair[0]])
            ratio = extent(view.positions[pair[0]]) / extent(view.positions[pair[1]])
            panel.set_aspect("equal" if 0.4 <= ratio <= 2.5 else "auto")
        _bar(figure, row, colours, label)
    _say(figure.suptitle, f"{_short(view.field.title)}: middle slices")
    return figure


def _panel(
    axes: Axes,
    view: View,
    values: Array,
    colours: Colours,
    dims: tuple[int, ...],
    *,
    shade: bool = False,
) -> None:
    """Colour the samples at their positions, the first row at the top."""
    down, right = (view.positions[dim] for dim in dims)
    shown = np.ma.masked_invalid(values)
    axes.set_facecolor(GREY)
    if not (even(down) and even(right)):
        # Every sample fills the way to its neighbours' midpoints.
        axes.pcolormesh(
            borders(right),
            borders(down),
            shown,
            cmap=colours.map,
            norm=colours.norm,
            rasterized=True,
        )
    else:
        # Few samples are shown one by one, many without the moiré of those that have no pixel.
        smooth = "nearest" if min(values.shape) < 150 else "antialiased"
        frame = (*borders(right)[[0, -1]], *borders(down)[[-1, 0]])
        if shade:
            pixels = _shaded(shown, colours, abs(down[1] - down[0]), abs(right[1] - right[0]))
            axes.imshow(pixels, extent=frame, interpolation=smooth)
        else:
            axes.imshow(
                shown, extent=frame, cmap=colours.map, norm=colours.norm, interpolation=smooth
            )
    axes.set_xlim(*borders(right)[[0, -1]])
    axes.set_ylim(*borders(down)[[-1, 0]])


def _shaded(values: Any, colours: Colours, down: float, right: float) -> Array:
    """The colours lit from the north-west, as maps are."""
    light = LightSource(azdeg=315, altdeg=45)
    # Positions are in kilometres here, elevations in metres.
    pixels: Array = light.shade(
        values.filled(np.nan) if np.ma.is_masked(values) else values.data,
        cmap=colours.map,
        norm=colours.norm,
        blend_mode="soft",
        vert_exag=1.5,
        dx=right * 1000,
        dy=down * 1000,
    )
    return pixels


def _arrows(axes: Axes, view: View, inches: tuple[float, float], *, brief: bool) -> None:
    """Arrows uphill, each the mean of its cell, with a key above the panel of so many inches."""
    width, height = inches
    sizes = cell((view.values.shape[0], view.values.shape[1]), height / width)
    up, along, usual = fitted(cell_means(view.parts[0], sizes), cell_means(view.parts[1], sizes))
    if not np.isfinite(up).any():
        return
    down, right = (cell_centres(*each) for each in zip(view.positions, sizes, strict=True))
    white = view.field.look == "image"
    arrows = axes.quiver(
        right, down, along, up, angles="xy", pivot="mid",
        # The usual arrow is as long as a cell is wide, or a tenth of the panel if there are few.
        scale_units="width", scale=usual * max(10, len(right)),
        units="inches", width=0.017,
        headwidth=4, headlength=4.5, headaxislength=4, minlength=0.5,
        color="white" if white else "0.1", edgecolor="0.1" if white else "white", linewidth=0.35,
    )  # fmt: skip
    size = " x ".join(map(str, sizes))
    label = f"{usual:.2g} {view.field.slope_unit} uphill"
    if max(sizes) > 1 and not brief:
        label += f" (means of {size} samples)"
    key = axes.quiverkey(
        arrows, 0.97, 1 + 0.17 / height, usual, label,
        labelpos="W", labelsep=0.15, coordinates="axes", fontproperties={"size": 9}, color="0.1",
    )  # fmt: skip
    key.text.set_parse_math(False)


def _bar(figure: Figure, axes: Any, colours: Colours, label: str) -> None:
    """The colour bar, with points where values lie beyond its ends."""
    source = matplotlib.cm.ScalarMappable(colours.norm, colours.map)
    # Inside the axes' own frame it is as tall as they are, whatever their aspect.
    place = axes.inset_axes((1.03, 0, 0.045, 1)) if isinstance(axes, Axes) else None
    bar = figure.colorbar(source, cax=place, ax=axes, extend=colours.extend)
    _say(bar.ax.set_ylabel, label)


def _say(setter: Any, text: str, **style: Any) -> None:
    """Set a text that has a user's words in it, of which a $ is no formula."""
    setter(text, **style).set_parse_math(False)


def _short(title: str, most: int = 70) -> str:
    """A title on one line, cut in the middle if it is long."""
    title = printable(title)
    half = most // 2 - 1
    return title if len(title) <= most else f"{title[:half]} … {title[-half:]}"
