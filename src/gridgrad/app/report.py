"""The table of results, for people and as JSON."""

import json
from typing import IO, Any

from gridgrad.app.produce import Outcome
from gridgrad.app.summary import describe
from gridgrad.app.tables import show, table


def rows(outcome: Outcome) -> list[dict[str, Any]]:
    """For each result its name, dims, shape, dtype and units, and its numbers."""
    found = []
    for name, summary in outcome.summaries.items():
        variable, dtype = outcome.dataset.variables[name], outcome.dtypes[name]
        found.append(
            {
                "name": str(name),
                "dims": list(map(str, variable.dims)),
                "shape": list(variable.shape),
                "dtype": str(dtype),
                "units": variable.attrs.get("units"),
                **describe(summary, dtype.kind == "c"),
            }
        )
    return found


def as_json(source: str, output: str | None, outcome: Outcome) -> str:
    """The table for programs; every value is a JSON number, or null."""
    table = {"input": source, "output": output, "results": rows(outcome)}
    return json.dumps(table, indent=2, allow_nan=False)


def print_table(title: str, outcome: Outcome, file: IO[str]) -> None:
    """The table for people, one row a result."""
    numbers = ("min", "max", "mean", "rms")
    cells = [
        (
            row["name"], " x ".join(map(str, row["shape"])), row["dtype"], row["units"] or "",
            *(_short(row[key]) for key in numbers), str(row["nonfinite"]),
        )
        for row in rows(outcome)
    ]  # fmt: skip
    columns = ("result", "shape", "dtype", "units", ">min", ">max", ">mean", ">RMS", ">non-finite")
    show([table(title, columns, cells)], file)


def _short(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return f"{complex(*value):.4g}"
    return f"{value:.5g}"
