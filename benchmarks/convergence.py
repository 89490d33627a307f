"""The order of accuracy that was measured, for docs/accuracy.md. Tests measure it by the same functions."""

import numpy as np

from benchmarks.tables import table
from tests.slopes import GRIDS, ORDERS, Cell, accuracies, exactly, matrix_of, measured

EDGES = (1, 2, 3, 4, 6, 8, 12, 16, 20)


def sections() -> list[str]:
    """Tables of the interior and of the edges, on each kind of grid."""
    found = [
        "## Order of accuracy",
        "Waves exp(i θ x) become longer on a grid whose gaps are near 1, which is to refine it. For "
        "each sample "
        "the slope of log(error) against log(θ) is measured, in float64 where rounding does not hide "
        "it, and in "
        "150 digits, with the exact weights of the samples that it reads, for all. The tests do that "
        "for every order, "
        "accuracy, edge order, grid and side; here is what is measured for all orders and "
        "accuracies, edge orders "
        f"{', '.join(map(str, EDGES[:-1]))} and {EDGES[-1]}, and centred stencils. *Even*: equal "
        "gaps. *Jittered*: "
        "gaps of 0.5 to 1.5 at random. *Stretched*: gaps that grow from 1 to 2.6.",
    ]
    deviations, tables = [], []
    for grid in GRIDS:
        row, interior, edges = _measure(grid)
        deviations.append(row)
        tables += [
            f"{grid.capitalize()} grid, least exact slope of the samples in the interior:",
            table(["order", *(f"accuracy {p}" for p in accuracies(grid))], interior),
            f"{grid.capitalize()} grid, least exact slope of the samples at one-sided edges:",
            table(["order", *(f"edge order {q}" for q in EDGES)], edges),
        ]
    head = [
        "grid", "rows", "worst slope less the promise, exact", "rows seen in float64",
        "worst slope less the promise, float64", "largest error of a weight",
    ]  # fmt: skip
    found += [
        "The worst deviations from the promise. In float64 waves are not long enough for more digits "
        "of a slope: "
        "the finite length takes up to 0.5 off it, an order lost would take 1. The error of a weight "
        "is in units of "
        "2**-52 of the row's largest.",
        table(head, deviations),
        *tables,
        "Centred stencils on coordinates have an odd number of samples, which gains an order where "
        "order + accuracy "
        "is even.",
    ]
    return found


def _measure(grid: str) -> tuple[list[str], list[list[str]], list[list[str]]]:
    rows = seen = 0
    exact_worst = float_worst = np.inf
    weights = 0.0
    interior: dict[tuple[int, int], float] = {}
    edges: dict[tuple[int, int], float] = {}
    for order in ORDERS:
        for k, accuracy in enumerate(accuracies(grid)):
            # All edge orders are gone through, in turn, at each accuracy and two of them at once.
            for edge_order in {EDGES[k % len(EDGES)], EDGES[(k + 4) % len(EDGES)]}:
                cell = Cell(order, accuracy, edge_order, grid)
                matrix = matrix_of(cell)
                exact = exactly(cell, matrix)
                slope = np.array([row.slope for row in exact])
                in_float = measured(cell, matrix)
                rows += len(exact)
                seen += int((~np.isnan(in_float)).sum())
                exact_worst = min(exact_worst, float((slope - cell.promise).min()))
                float_worst = min(
                    float_worst, float(np.nanmin([*(in_float - cell.promise), np.inf]))
                )
                weights = max(weights, *(row.weights for row in exact))
                below, above = cell.reaches
                inner = slice(below, cell.n - above)
                _least(interior, (order, accuracy), slope[inner])
                _least(edges, (order, edge_order), np.delete(slope, np.r_[inner]))
    unit = float(np.finfo(float).eps)
    return (
        [
            grid,
            str(rows),
            f"{exact_worst:+.4f}",
            f"{seen / rows:.0%}",
            f"{float_worst:+.2f}",
            f"{weights / unit:.2f}",
        ],
        [[str(m), *(f"{interior[m, p]:.2f}" for p in accuracies(grid))] for m in ORDERS],
        [[str(m), *(f"{edges[m, q]:.2f}" for q in EDGES)] for m in ORDERS],
    )  # fmt: skip


def _least(found: dict[tuple[int, int], float], key: tuple[int, int], slopes: np.ndarray) -> None:
    if len(slopes):
        found[key] = min(found.get(key, np.inf), float(slopes.min()))
