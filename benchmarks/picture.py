"""The picture: time against size, on logarithmic scales, with the floor drawn in."""

from pathlib import Path
from typing import Any

from benchmarks.peers import PEERS
from benchmarks.running import Results, Row

# The colours of Okabe and Ito, which people with any colour vision tell apart, and a shape for each.
_LOOK = {
    "gridgrad": ("#D55E00", "o"),
    "numpy": ("#0072B2", "s"),
    "torch": ("#CC79A7", "^"),
    "jax": ("#009E73", "D"),
    "findiff": ("#8A6D00", "v"),
}
_INK, _FAINT, _FLOOR = "#222222", "#DDDDDD", "#666666"
_UNITS = ((1e-6, "µs"), (1e-3, "ms"), (1.0, "s"))


def draw(found: Results, path: Path) -> None:
    """Draw the sweeps, one panel for lines and one for boxes."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    sweep = found.of("sweep")
    panels = [
        ("1-D, float32", [row for row in sweep if len(row.case.shape) == 1]),
        ("3-D, float32, all three dims", [row for row in sweep if len(row.case.shape) == 3]),
    ]
    plt.rcParams.update({"font.size": 11, "font.family": "DejaVu Sans"})
    figure, axes = plt.subplots(1, 2, figsize=(12.5, 6.2), sharey=True, layout="constrained")
    for axis, (title, rows) in zip(axes, panels, strict=True):
        _panel(axis, rows)
        axis.set(xscale="log", yscale="log", xlabel="samples")
        axis.set_title(title, loc="left", fontsize=12, color=_INK)
        axis.yaxis.set_major_locator(LogLocator(10, numticks=12))
        axis.yaxis.set_major_formatter(FuncFormatter(_as_time))
        axis.xaxis.set_major_locator(LogLocator(10, numticks=12))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_minor_locator(NullLocator())
        axis.grid(True, color=_FAINT, linewidth=0.7)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=_INK, length=0)
    axes[1].tick_params(labelleft=True)
    times = [
        row.times[name].median for row in sweep for name in ("floor", *_LOOK) if name in row.times
    ]
    axes[0].set_ylim(min(times) / 2, 3 * max(times))  # the panels share it
    figure.suptitle(
        "Time of one gradient with fresh outputs; medians of interleaved repeats",
        x=0.01, ha="left", fontsize=13, color=_INK,
    )  # fmt: skip
    figure.savefig(path, dpi=130, metadata={"Software": None})
    plt.close(figure)


def _panel(axis: Any, rows: list[Row]) -> None:
    ends: list[tuple[float, str, str]] = []
    sizes = [row.case.size for row in rows]
    floor = [row.times["floor"].median for row in rows]
    axis.fill_between(sizes, floor, [1e-12] * len(rows), color="#EEEEEE", zorder=0)
    axis.plot(sizes, floor, color=_FLOOR, linestyle=(0, (4, 2)), linewidth=1.6)
    ends.append((floor[-1], "plain copy (the floor)", _FLOOR))
    for name, (colour, shape) in _LOOK.items():
        points = [(row.case.size, row.times[name].median) for row in rows if name in row.times]
        if not points:
            continue
        x, y = zip(*points, strict=True)
        mine = name == "gridgrad"
        axis.plot(
            x, y, color=colour, marker=shape, markersize=6 if mine else 5, zorder=4 if mine else 3,
            linewidth=2.6 if mine else 1.5, markeredgecolor="white", markeredgewidth=0.6,
        )  # fmt: skip
        if x[-1] == sizes[-1]:
            ends.append((y[-1], PEERS[name].label, colour))
        else:  # left out of the largest: its name stands where its line ends
            axis.annotate(
                PEERS[name].label, (x[-1], y[-1]), xytext=(-6, 4), textcoords="offset points",
                color=colour, ha="right", fontsize=10.5,
            )  # fmt: skip
    axis.set_xlim(sizes[0] / 1.6, sizes[-1] * 2)
    _label(axis, sizes[-1], ends)


def _label(axis: Any, x: float, ends: list[tuple[float, str, str]]) -> None:
    """Write each name at the end of its line, moved apart where lines end close together."""
    apart, last = 1.62, 0.0
    for y, name, colour in sorted(ends):
        place = max(y, last * apart)
        last = place
        axis.annotate(
            name, (x, y), xytext=(x * 1.9, place), textcoords="data", color=colour, va="center",
            fontsize=10.5, fontweight="bold" if name == "gridgrad" else "normal", annotation_clip=False,
        )  # fmt: skip


def _as_time(value: float, _: object) -> str:
    for scale, unit in reversed(_UNITS):
        if value >= scale * 0.999:
            return f"{value / scale:g} {unit}"
    return f"{value * 1e9:g} ns"
