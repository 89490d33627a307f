"""Measures how accurate results are, and writes docs/accuracy.md: `python -m benchmarks.accuracy`."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import gridgrad
from benchmarks import convergence
from benchmarks.accuracy_picture import draw
from benchmarks.tables import table

PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"
ORDERS, ACCURACIES = range(1, 9), range(2, 21, 2)


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


def _offset_rows() -> list[tuple[str, ...]]:
    """Errors on float32 samples 300 + x, whose slope is 1, at a step of 0.013."""
    import findiff
    import torch

    h = 0.013
    f = (300 + np.arange(1000) * h).astype(np.float32)
    # The slopes of the samples as they were rounded, exactly, and half a unit in the last place of each:
    # a difference of float32 samples this close is exact, so that the one quotient is all that rounds.
    exact = [
        (Fraction(float(b)) - Fraction(float(a))) / Fraction(2 * h)
        for a, b in zip(f, f[2:], strict=False)
    ]
    bound = max(float(np.spacing(np.float32(float(each)))) / 2 for each in exact)

    def worst(found: Any) -> str:
        values = np.asarray(found)[1:-1]
        error = max(abs(Fraction(float(v)) - e) for v, e in zip(values, exact, strict=True))
        return f"{float(error):.3g}"

    constant = np.full(1000, 300.1, np.float32)
    torched = torch.from_numpy
    uneven = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.5, 1000)).astype(np.float32)

    def largest(found: Any) -> str:
        return f"{float(np.abs(np.asarray(found)).max()):.2g}"

    rows = [
        (
            "gridgrad", worst(gridgrad.gradient(f, spacing=h)[0]),
            largest(gridgrad.gradient(constant, spacing=uneven)[0]),
            largest(gridgrad.derivative(constant, accuracy=8, spacing=h)),
        ),
        (
            "numpy.gradient", worst(np.gradient(f, h)), largest(np.gradient(constant, uneven)), "–",
        ),
        (
            "torch.gradient", worst(torch.gradient(torched(f), spacing=h)[0]),
            largest(torch.gradient(torched(constant), spacing=(torched(uneven),))[0]), "–",
        ),
        (
            "findiff", worst(findiff.Diff(0, h)(f)), largest(findiff.Diff(0, uneven)(constant)),
            largest(findiff.Diff(0, h, acc=8)(constant)),
        ),
    ]  # fmt: skip
    return [(name, error, f"{bound:.3g}", *rest) for name, error, *rest in rows]


def page() -> str:
    errors = {(m, p): _weight_error(m, p) for m in ORDERS for p in ACCURACIES}
    parts = [
        "# Accuracy",
        "Written by `make accuracy` (`python -m benchmarks.accuracy`). Every number was measured by it.",
        "![Errors against the number of samples](accuracy.png)",
        "The largest error of the derivatives of a sine of three periods, edges included, over the largest "
        "derivative. Numbers name the accuracy of gridgrad; its faint lines go on where rounding of "
        "the samples "
        "is all that is left. Jittered grids move each sample by up to 0.3 steps. NumPy and PyTorch, at "
        "`edge_order=2`, differentiate twice for a second derivative, which costs an order at the edges "
        "and on uneven grids.",
        "## Uniform weights",
        "The largest error of a weight, in units of its last place in float64, against exact rationals. "
        f"The worst of all is {max(errors.values()):.2f}. `gridgrad.weights` gives the rationals "
        "themselves.",
        table(
            ["order", *(f"accuracy {p}" for p in ACCURACIES)],
            [[str(m), *(f"{errors[m, p]:.2f}" for p in ACCURACIES)] for m in ORDERS],
        ),
        *convergence.sections(),
        "## Digits kept",
        "Single precision. *300 + x*: the largest error in the interior of the slope, which is 1, of "
        "float32 "
        "samples 300 + x at a step of 0.013, against the exact slopes of the same samples. *Bound*: "
        "differences of such samples are exact, so that rounding the quotient once is all that the "
        "difference "
        "form costs; this is half a unit in the last place. *Constant*: the largest derivative of samples "
        "that are all 300.1, which should be 0, on uneven coordinates and at accuracy 8 (– is not "
        "offered).",
        table(["", "300 + x", "bound", "constant, uneven", "constant, accuracy 8"], _offset_rows()),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    draw(PAGE.with_suffix(".png"))
    PAGE.write_text(page())
    print(f"written: {PAGE.name} and {PAGE.stem}.png")
