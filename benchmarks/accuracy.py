"""Measures how accurate results are, and writes docs/accuracy.md: `python -m benchmarks.accuracy`."""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import gridgrad

PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"
ORDERS, ACCURACIES = range(1, 9), range(2, 21, 2)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _weight_error(order: int, accuracy: int) -> float:
    """The largest error of a weight in an interior row, in units of its last place."""
    reach = (order + accuracy - 1) // 2
    exact = gridgrad.weights(range(-reach, reach + 1), order)
    row = gridgrad.derivative_matrix(
        2 * reach + 1, order=order, accuracy=accuracy, boundary="periodic"
    ).toarray()[reach]
    return max(
        float(
            abs(Fraction(float(found)) - weight) / Fraction(float(np.spacing(abs(float(weight)))))
        )
        for found, weight in zip(row, exact, strict=True)
        if weight
    )


def _rate(order: int, accuracy: int, grid: str, boundary: str) -> str:
    """The measured order: how the largest error falls when the grid is twice as fine."""
    errors = []
    size = (2 * np.pi) ** order
    for n in (48, 96):
        x = np.arange(n + (boundary == "one-sided")) / n
        spacing: Any = 1 / n
        if grid == "uneven":
            x = x + 0.04 * np.sin(2 * np.pi * x)
            spacing = x
        f = np.sin(2 * np.pi * x + 1)
        exact = size * np.sin(2 * np.pi * x + 1 + order * np.pi / 2)
        how = {"period": 1.0} if boundary == "periodic" else {}
        found = gridgrad.derivative(
            f, order=order, accuracy=accuracy, spacing=spacing, boundary=boundary, **how
        )
        errors.append(float(np.abs(found - exact).max()) / size)
    # Where rounding of the samples shows, the rate means nothing.
    rounding = 2e-16 * (96.0 * 4 / (2 * np.pi)) ** order * 2**accuracy
    if errors[1] < 10 * rounding:
        return "rounding"
    return f"{math.log2(errors[0] / errors[1]):.1f}"


def _offset_rows() -> list[tuple[str, ...]]:
    """Errors on float32 samples 300 + x, whose slope is 1, at a step of 0.013."""
    import findiff
    import torch

    h = 0.013
    f = (300 + np.arange(1000) * h).astype(np.float32)
    best = np.gradient(f.astype(np.float64), h)  # the slopes of the samples as they were rounded

    def worst(found: Any) -> str:
        return f"{float(np.abs(np.asarray(found, np.float64)[1:-1] - best[1:-1]).max()):.2g}"

    constant = np.full(1000, 300.1, np.float32)
    torched = torch.from_numpy
    uneven = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.5, 1000)).astype(np.float32)

    def largest(found: Any) -> str:
        return f"{float(np.abs(np.asarray(found)).max()):.2g}"

    return [
        (
            "gridgrad", worst(gridgrad.gradient(f, spacing=h)[0]),
            largest(gridgrad.gradient(constant, spacing=uneven)[0]),
            largest(gridgrad.derivative(constant, accuracy=8, spacing=h)),
        ),
        (
            "numpy.gradient", worst(np.gradient(f, h)), largest(np.gradient(constant, uneven)), "",
        ),
        (
            "torch.gradient", worst(torch.gradient(torched(f), spacing=h)[0]),
            largest(torch.gradient(torched(constant), spacing=(torched(uneven),))[0]), "",
        ),
        (
            "findiff", worst(findiff.Diff(0, h)(f)), largest(findiff.Diff(0, uneven)(constant)),
            largest(findiff.Diff(0, h, acc=8)(constant)),
        ),
    ]  # fmt: skip


def page() -> str:
    errors = {(m, p): _weight_error(m, p) for m in ORDERS for p in ACCURACIES}
    parts = [
        "# Accuracy",
        "Written by `python -m benchmarks.accuracy`. Every number was measured by it.",
        "## Uniform weights",
        "The largest error of a weight, in units of its last place in float64, against exact rationals. "
        f"The worst of all is {max(errors.values()):.2f}. `gridgrad.weights` gives the rationals themselves.",
        _table(
            ["order", *(f"accuracy {p}" for p in ACCURACIES)],
            [[str(m), *(f"{errors[m, p]:.2f}" for p in ACCURACIES)] for m in ORDERS],
        ),
        "## Order of accuracy",
        "How many times log2 the largest error, edges included, falls when the grid becomes twice as fine "
        "(a sine of one period, 48 and 96 samples). Uneven coordinates stretch and shrink the steps by a "
        "quarter; there, stencils have an odd number of samples, which gains an order for some. *Rounding*: "
        "the error is that of the samples themselves.",
    ]
    for grid in ("even", "uneven"):
        for boundary in ("one-sided", "periodic"):
            rows = [
                [str(m), *(_rate(m, p, grid, boundary) for p in ACCURACIES[:5])]
                for m in range(1, 7)
            ]
            head = ["order", *(f"accuracy {p}" for p in ACCURACIES[:5])]
            parts += [f"{grid.capitalize()} grid, {boundary} boundary:", _table(head, rows)]
    parts += [
        "## Digits kept",
        "Single precision. *300 + x*: the largest error of the slope, which is 1, of float32 samples 300 + x "
        "at a step of 0.013, against the slopes of the same samples in double precision. *Constant*: the "
        "largest derivative of samples that are all 300.1, which should be 0, on uneven coordinates and at "
        "accuracy 8.",
        _table(["", "300 + x", "constant, uneven", "constant, accuracy 8"], _offset_rows()),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"written: {PAGE.name}")
