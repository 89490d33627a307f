"""The table of results, for people and as JSON."""

import json
from typing import IO, Any

from gridgrad.app.produce import Outcome
from gridgrad.app.source import printable
from gridgrad.app.summary import describe


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
    # Importing Rich takes a while, so that happens only when there is something to print.
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A file or a pipe has no width, and a table folded to a guess of one would be hard to read
    # back.
    console = Console(
        file=file, markup=False, highlight=False, emoji=False, width=None if file.isatty() else 200
    )
    table = Table(
        title=Text(printable(title)),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("result", no_wrap=True)
    for heading in ("shape", "dtype", "units"):
        table.add_column(heading)
    for heading in ("min", "max", "mean", "RMS", "non-finite"):
        table.add_column(heading, justify="right")
    for row in rows(outcome):
        table.add_row(
            Text(printable(row["name"])),
            " x ".join(map(str, row["shape"])),
            row["dtype"],
            Text(printable(row["units"] or "")),
            *(_short(row[key]) for key in ("min", "max", "mean", "rms")),
            str(row["nonfinite"]),
        )
    # Rich ends the program when a pipe breaks, so it only renders, and the print is ours.
    with console.capture() as rendered:
        console.print(table)
    print(*(line.rstrip() for line in rendered.get().splitlines()), sep="\n", file=file)


def _short(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return f"{complex(*value):.4g}"
    return f"{value:.5g}"
