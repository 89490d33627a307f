"""The picture of convergence: the largest error against the number of samples, on logarithmic scales."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gridgrad

ACCURACIES = (2, 4, 6, 8, 10, 12)
PERIODS = 3
SIZES = tuple(round(2 ** (k / 2)) for k in range(10, 25))
_RIVALS = {
    "numpy.gradient": ("#0072B2", "s"),
    "torch.gradient": ("#CC79A7", "^"),
    "findiff, accuracy 2": ("#8A6D00", "v"),
    "findiff, accuracy 8": ("#009E73", "D"),
}
_INK, _FAINT = "#222222", "#DDDDDD"

# A function of samples and what their spacing is.
Differentiate = Callable[[np.ndarray, Any], Any]


def samples(n: int, even: bool) -> tuple[np.ndarray, Any]:
    """Positions on [0, 1], and what to give as spacing."""
    x = np.arange(n) / (n - 1)
    if even:
        return x, 1 / (n - 1)
    x[1:-1] += np.random.default_rng(n).uniform(-0.3, 0.3, n - 2) / (n - 1)
    return x, x


def errors(differentiate: Differentiate, order: int, even: bool) -> list[float]:
    """The largest error, edges included, over the largest derivative, for each of SIZES."""
    found = []
    for n in SIZES:
        x, spacing = samples(n, even)
        phase = 2 * np.pi * PERIODS * x + 1
        exact = np.sin(phase + order * np.pi / 2)
        result = np.asarray(differentiate(np.sin(phase), spacing))
        found.append(float(np.abs(result / (2 * np.pi * PERIODS) ** order - exact).max()))
    return found


def gridgrads(accuracy: int, order: int) -> Differentiate:
    return lambda f, s: gridgrad.derivative(f, spacing=s, order=order, accuracy=accuracy)


def rivals(order: int) -> dict[str, Differentiate]:
    """What others offer: NumPy and PyTorch differentiate again for a second derivative."""
    import findiff
    import torch

    def with_torch(f: np.ndarray, s: Any) -> np.ndarray:
        found = torch.from_numpy(f)
        spacing = (torch.from_numpy(s),) if isinstance(s, np.ndarray) else s
        for _ in range(order):
            (found,) = torch.gradient(found, spacing=spacing, edge_order=2)
        return found.numpy()

    def with_numpy(f: np.ndarray, s: Any) -> np.ndarray:
        for _ in range(order):
            f = np.gradient(f, s, edge_order=2)
        return f

    def with_findiff(accuracy: int) -> Differentiate:
        return lambda f, s: (findiff.Diff(0, s, acc=accuracy) ** order)(f)

    return {
        "numpy.gradient": with_numpy,
        "torch.gradient": with_torch,
        "findiff, accuracy 2": with_findiff(2),
        "findiff, accuracy 8": with_findiff(8),
    }


def draw(path: Path) -> None:
    """Draw first and second derivatives on even and on jittered grids."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 11, "font.family": "DejaVu Sans"})
    figure, axes = plt.subplots(
        2, 2, figsize=(13.5, 11), sharex=True, sharey="row", layout="constrained"
    )
    for row, order in zip(axes, (1, 2), strict=True):
        for axis, even in zip(row, (True, False), strict=True):
            _panel(axis, order, even)
    for axis in axes[1]:
        axis.set_xlabel("samples", color=_INK)
    for axis in axes[:, 0]:
        axis.set_ylabel("largest error / largest derivative", color=_INK)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=11,
        labelcolor=_INK,
    )  # fmt: skip
    figure.suptitle(
        "Errors of the derivatives of a sine of three periods in float64, edges included",
        x=0.01, ha="left", fontsize=14, color=_INK,
    )  # fmt: skip
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _panel(axis: Any, order: int, even: bool) -> None:
    from matplotlib import colormaps
    from matplotlib.ticker import LogLocator, NullLocator

    shades = colormaps["YlOrRd"](np.linspace(0.45, 0.95, len(ACCURACIES)))
    for name, differentiate in rivals(order).items():
        colour, shape = _RIVALS[name]
        axis.plot(
            SIZES, errors(differentiate, order, even), color=colour, marker=shape, markersize=6,
            linewidth=1.3, markerfacecolor="white", markeredgewidth=1.3, label=name, zorder=4,
            linestyle=(0, (4, 2)),
        )  # fmt: skip
    for k, accuracy in enumerate(ACCURACIES):
        found = errors(gridgrads(accuracy, order), order, even)
        # Where it stops falling an error is that of rounding the samples: drawn faintly from there.
        least = _falls(found)
        axis.plot(SIZES, found, color=shades[k], linewidth=1.2, alpha=0.35, zorder=2)
        axis.plot(
            SIZES[:least], found[:least], color=shades[k], linewidth=2.6, zorder=3, marker="o",
            markersize=4.5, label="gridgrad, accuracies 2 to 12" if k == 3 else None,
        )  # fmt: skip
        _name(axis, found, str(accuracy), shades[k])
    axis.set(xscale="log", yscale="log", xlim=(SIZES[0] / 1.25, SIZES[-1] * 1.6), ylim=(1e-13, 4))
    axis.set_title(
        f"{'first' if order == 1 else 'second'} derivative, {'even' if even else 'jittered'} grid",
        loc="left", fontsize=12, color=_INK,
    )  # fmt: skip
    axis.xaxis.set_major_locator(LogLocator(10, numticks=12))
    axis.yaxis.set_major_locator(LogLocator(100, numticks=12))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_xticks([32, 128, 512, 2048], labels=["32", "128", "512", "2048"])
    axis.grid(True, color=_FAINT, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(colors=_INK, length=0)


def _name(axis: Any, found: list[float], name: str, colour: Any) -> None:
    """Write the accuracy beside its line, halfway to the end or to where rounding begins."""
    place = max(1, _falls(found) // 2)
    axis.annotate(
        name, (SIZES[place], found[place]), xytext=(-9, -11), textcoords="offset points",
        color=colour, fontsize=12, fontweight="bold", ha="center", zorder=5,
        path_effects=_outline(),
    )  # fmt: skip


def _falls(found: list[float]) -> int:
    """For how many sizes an error falls, one after another."""
    falling = (k for k in range(1, len(found)) if found[k] > found[k - 1])
    return next(falling, len(found))


def _outline() -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=3, foreground="white")]
