"""Tables for people, on a terminal or in a file."""

from collections.abc import Iterable, Sequence
from typing import IO, Any

from gridgrad.app.source import printable


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Any:
    """A table under a title. The columns whose names begin with `>` have their right ends aligned, and
    those that are empty throughout are left out."""
    # Importing Rich takes a while, so that happens only when there is something to print.
    from rich import box
    from rich.table import Table
    from rich.text import Text

    found = Table(
        title=Text(printable(title)),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    filled = [[Text(printable(cell)) for cell in row] for row in rows]
    kept = [k for k in range(len(columns)) if any(row[k].plain for row in filled)]
    for k in kept:
        right = columns[k].startswith(">")
        found.add_column(
            columns[k].removeprefix(">"),
            justify="right" if right else "left",
            no_wrap=k == 0 or right,
            overflow="fold",
        )
    for row in filled:
        found.add_row(*(row[k] for k in kept))
    return found


def show(parts: Iterable[Any], file: IO[str]) -> None:
    """Print tables, and plain text that is not to be broken."""
    from rich.console import Console
    from rich.measure import Measurement

    # A file or a pipe has no width, and a table folded to a guess of one would be hard to read
    # back.
    console = Console(
        file=file, markup=False, highlight=False, emoji=False, width=None if file.isatty() else 200
    )
    # Rich ends the program when a pipe breaks, so it only renders, and the print is ours.
    with console.capture() as rendered:
        for part in parts:
            if isinstance(part, str):
                console.print(part, soft_wrap=True)
                continue
            # The width where no word is broken.
            least = Measurement.get(console, console.options.update(width=10_000), part).minimum
            console.print(part if least <= console.width else _records(part))
    lines = (line.rstrip() for line in rendered.get().splitlines())
    print("\n".join(lines), file=file)


def _records(wide: Any) -> Any:
    """A table that is wider than the terminal, one value below another, since none may be cut off."""
    from rich.table import Table

    found = Table.grid(padding=(0, 3, 0, 0))
    found.title, found.title_justify, found.title_style = wide.title, "left", "bold"
    found.add_column(no_wrap=True)
    found.add_column(overflow="fold")
    for row in zip(*(column.cells for column in wide.columns), strict=True):
        found.add_row()
        for column, cell in zip(wide.columns, row, strict=True):
            if cell.plain:
                found.add_row(column.header, cell)
    found.add_row()
    return found
