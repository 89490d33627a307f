"""The results as tables: of text, from which the terminal's and the page's are drawn alike."""

from collections.abc import Iterable
from typing import NamedTuple

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.marks import MARKS
from benchmarks.peers import PEERS, RIVALS
from benchmarks.running import Results, Row
from benchmarks.training import PAIRS

GOOD, BAD = "met", "MISSED"


class Table(NamedTuple):
    """A heading, column names, and rows of text; `marked` are the rows that lose."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    marked: set[int]


def duration(seconds: float) -> str:
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{digits(seconds * factor)} {unit}"
    return f"{digits(seconds * 1e6)} µs"


def digits(value: float) -> str:
    """Three digits, and no exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def marks_table(found: Results) -> Table:
    rows, missed = [], set()
    for k, mark in enumerate(MARKS):
        value = mark.measure(found, "median")
        verdict = "not measured"
        if value is not None:
            verdict = GOOD if mark.met(value) else BAD
        if verdict == BAD:
            missed.add(k)
        least = mark.shown(mark.measure(found, "least"))
        has_least = mark.unit == " x"
        rows.append([
            mark.work, mark.quantity, mark.required, mark.shown(value), least if has_least else "",
            verdict,
        ])  # fmt: skip
    columns = ["work", "quantity", "required", "measured", "by minima", "verdict"]
    return Table("The marks", columns, rows, missed)


def times_table(title: str, rows: Iterable[Row]) -> Table:
    """gridgrad's time, what it is of the floor's, and how many times faster it is than each peer."""
    columns = ["work", "gridgrad", "over floor", *(PEERS[name].label for name in RIVALS)]
    lines, lost = [], set()
    for k, row in enumerate(rows):
        if row.lost():
            lost.add(k)
        over = row.ratio("gridgrad", "floor")
        cells = [row.case.described, duration(row.times["gridgrad"].median)]
        cells.append("" if over is None else digits(over))
        lines.append([*cells, *(ratio(row.against(name)) for name in RIVALS)])
    return Table(title, columns, lines, lost)


def ratio(value: float | None) -> str:
    return "–" if value is None else digits(value)


def memory_table(found: Results) -> Table:
    columns = ["work", *(PEERS[name].label for name in PEERS if name != "floor")]
    found_for: dict[str, dict[str, float]] = {}
    for each in found.memory:
        found_for.setdefault(each.case.described, {})[each.peer] = max(each.percent, 0.0)
    names = [name for name in PEERS if name != "floor"]
    lines, lost = [], set()
    for k, (work, have) in enumerate(found_for.items()):
        lines.append([work, *(f"{have[n]:.1f} %" if n in have else "–" for n in names)])
        rest = [percent for name, percent in have.items() if name in RIVALS]
        if rest and min(rest) < have["gridgrad"] - 1:  # a percent of the input is noise
            lost.add(k)
    return Table("Peak memory beyond the outputs, as a part of the input", columns, lines, lost)


def startup_table(found: Results) -> Table:
    start = found.startup
    lines = []
    if start is not None:
        lines = [
            ["import numpy", duration(start.numpy_import)],
            ["import gridgrad", duration(start.gridgrad_import)],
            ["first call of a process, kernel on disk", duration(start.warm_call)],
            ["the same with the import, NumPy being loaded", duration(start.warm_with_import)],
            ["first call ever, the kernel compiled", duration(start.cold_call)],
            ["the same with the import, NumPy being loaded", duration(start.cold_with_import)],
        ]
    return Table("Starting", ["what", "time"], lines, set())


def training_table(found: Results) -> Table:
    """Each work done by gridgrad and by another, and how many times faster gridgrad is."""
    lines, lost = [], set()
    for pair in PAIRS if found.training is not None else ():
        assert found.training is not None
        times, faster = found.training.times, found.training.ratio(pair.other, pair.mine, "median")
        if faster is None:
            continue
        if faster < 1 and pair.label != "plain copy":
            lost.add(len(lines))
        lines.append([
            pair.work, duration(times[pair.mine].median), pair.label,
            duration(times[pair.other].median), digits(faster),
        ])  # fmt: skip
    columns = ["work", "gridgrad", "against", "its time", "times faster"]
    return Table("Training on PyTorch", columns, lines, lost)


def show(table: Table, console: Console) -> None:
    if not table.rows:
        return
    drawn = RichTable(title=table.title, title_justify="left")
    for k, column in enumerate(table.columns):
        words = column in ("work", "quantity", "required", "what", "verdict", "against")
        drawn.add_column(
            column, justify="left" if words else "right", overflow="fold", min_width=8 if k else 16
        )
    for k, row in enumerate(table.rows):
        drawn.add_row(*row, style="bold red" if k in table.marked else None)
    console.print(drawn)


def markdown(table: Table) -> str:
    """The table for the page. Rows that lose are in bold."""
    words = ("work", "quantity", "required", "what", "verdict", "against")
    head = ["| " + " | ".join(table.columns) + " |"]
    head.append("|" + "|".join("---" if c in words else "---:" for c in table.columns) + "|")
    lines = []
    for k, row in enumerate(table.rows):
        first = f"**{row[0]}**" if k in table.marked else row[0]
        lines.append("| " + " | ".join([first, *row[1:]]) + " |")
    return "\n".join([*head, *lines])
