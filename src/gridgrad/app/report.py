"""The numbers that describe a result, as a table and as JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np

from gridgrad.app.field import Array, Field, printable


@dataclass(frozen=True)
class Summary:
    """One component in numbers; those of values hold over the finite ones, and are None where there
    are none.

    For complex components `min`, `max` and `rms` are those of the magnitude, and `mean` is the pair
    (real, imaginary).
    """

    name: str
    dim: int
    shape: tuple[int, ...]
    dtype: str
    min: float | None
    max: float | None
    mean: float | tuple[float, float] | None
    rms: float | None
    nonfinite: int


def summarise(name: str, dim: int, component: Array) -> Summary:
    """The numbers of one component."""
    finite = np.isfinite(component)
    some = component if finite.all() else component[finite]
    nonfinite = component.size - some.size
    low: float | None = None
    high: float | None = None
    rms: float | None = None
    mean: float | tuple[float, float] | None = None
    if some.size:
        size = np.abs(some) if some.dtype.kind == "c" else some
        low, high = float(size.min()), float(size.max())
        # Scaled by the largest, so that neither the sum nor the squares overflow; summed in at
        # least float64.
        largest = max(abs(low), abs(high)) or 1.0
        wide = np.result_type(some.dtype, np.float64)
        scaled = np.divide(some, largest, dtype=wide)
        average = complex(scaled.mean())
        rms = math.sqrt(float(np.mean(np.square(np.abs(scaled))))) * largest
        mean = average.real * largest
        if some.dtype.kind == "c":
            mean = (mean, average.imag * largest)
    return Summary(
        name, dim, component.shape, str(component.dtype), low, high, mean, rms, nonfinite
    )


def summaries(field: Field, dims: Sequence[int], components: Sequence[Array]) -> list[Summary]:
    """The numbers of all components."""
    return [
        summarise(field.component(dim), dim, part)
        for dim, part in zip(dims, components, strict=True)
    ]


def as_json(source: str, unit: str, rows: Sequence[Summary]) -> str:
    """The table for programs; every value is a JSON number, or null."""
    table = {"input": source, "unit": unit, "components": [asdict(row) for row in rows]}
    return json.dumps(table, indent=2, allow_nan=False)


def print_table(title: str, rows: Sequence[Summary], file: IO[str]) -> None:
    """The table for people, one row a component."""
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
    table.add_column("component", no_wrap=True)
    table.add_column("shape")
    table.add_column("dtype")
    for heading in ("min", "max", "mean", "RMS", "non-finite"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            Text(printable(row.name)),
            " x ".join(map(str, row.shape)),
            row.dtype,
            *(_short(value) for value in (row.min, row.max, row.mean, row.rms)),
            str(row.nonfinite),
        )
    # Rich ends the program when a pipe breaks, so it only renders, and the print is ours.
    with console.capture() as rendered:
        console.print(table)
    print(rendered.get(), end="", file=file)


def _short(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return f"{complex(*value):.4g}"
    return f"{value:.5g}"
