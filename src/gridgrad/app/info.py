"""`gridgrad info`: what a file holds, and which derivatives can be taken of it."""

import json as texts
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gridgrad.app.telling import say, told

if TYPE_CHECKING:
    from gridgrad.app.survey import Counts, Dim, Held, Survey

# xarray and Rich are imported where they are used: `gridgrad --help` answers at once.


def info(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", show_default=False, help="A file, or sample:terrain."),
    ],
    var: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[,NAME...]", help="Only these variables. Default: all."),
    ] = None,
    values: Annotated[
        bool,
        typer.Option(
            "--values",
            help="Read the samples, too: count those that are missing, and tell their range.",
        ),
    ] = False,
    coordinate: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The column of a .csv file that holds the positions."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no notes about the file.")] = False,
) -> None:
    """What FILE holds: dims, coordinates and their spacing, variables, and the derivatives that make
    sense.

    Samples are not read, however large the file is, unless --values asks for it.

    \b
    Examples:
      gridgrad info sample:terrain
      gridgrad info sample:terrain --values --json
    """
    with told():
        from gridgrad.app.files import open_source
        from gridgrad.app.survey import count, survey
        from gridgrad.app.words import names

        opened = open_source(source, coordinate=coordinate, var=names(var, "--var") or None)
        try:
            options = [] if coordinate is None else ["--coordinate", coordinate]
            found = survey(opened, source, options)
            counts = {}
            if values:
                counts = {
                    each.name: count(opened.dataset.variables[each.name])
                    for each in found.variables
                    if opened.dataset.variables[each.name].dtype.kind in "iufcbmM"
                }
        finally:
            opened.close()
        for sentence in [] if quiet else opened.notes:
            say(sentence)
        if json:
            print(
                texts.dumps({"input": source, **found.as_json(counts)}, indent=2, allow_nan=False)
            )
        elif sys.stdout is not None:
            _print(found, counts)


def _print(found: "Survey", counts: "dict[str, Counts]") -> None:
    """The tables for people."""
    from gridgrad.app.source import printable
    from gridgrad.app.tables import show, table

    parts = [
        table(
            found.title,
            ("dim", ">n", "coordinate", "first", "last", "step", "unit", "dtype", ""),
            [_dim_row(dim) for dim in found.dims],
        ),
        table(
            "Variables",
            (
                "variable", "what", "dims", "dtype", "unit", ">size", "chunks", "compression",
                ">missing", ">infinite", ">min", ">max",
            ),
            [_variable_row(each, counts.get(each.name)) for each in found.variables],
        ),
    ]  # fmt: skip
    if found.sentences:
        parts.append("\n".join(printable(each) for each in found.sentences) + "\n")
    if found.suggestions:
        lines = ["Derivatives that make sense:"]
        for each in found.suggestions:
            also = f" (likewise {', '.join(each.also)})" if each.also else ""
            lines += [f"  # {printable(each.what + also)}", f"  {printable(each.command)}"]
        parts.append("\n".join(lines))
    show(parts, sys.stdout)


def _dim_row(dim: "Dim") -> tuple[str, ...]:
    known = dim.positions
    if known is None:
        return (dim.name, str(dim.n), "none", "", "", "", "", "", "")
    remark = {"regular with gaps": f"{known.missing} missing", "uniform": ""}.get(
        known.kind, known.kind
    )
    if dim.around:
        remark = "periodic"
    return (
        dim.name,
        str(dim.n),
        "yes" if dim.coordinate == dim.name else str(dim.coordinate),
        known.first or "",
        known.last or "",
        known.spacing,
        dim.unit or "",
        dim.dtype or "",
        remark,
    )


def _variable_row(each: "Held", counts: "Counts | None") -> tuple[str, ...]:
    dims = ", ".join(f"{dim} {n}" for dim, n in zip(each.dims, each.shape, strict=True))
    chunks = " x ".join(map(str, each.chunks or ()))
    if each.shards:
        chunks += f" in {' x '.join(map(str, each.shards))}"
    row = (
        each.name,
        each.title,
        dims or "(a single value)",
        f"{each.dtype} (from {each.stored})" if each.stored else each.dtype,
        each.unit or "",
        size(each.nbytes),
        chunks,
        each.compression or "",
    )
    if counts is None:
        return (*row, "", "", "", "")
    low, high = ("-" if end is None else f"{end:.5g}" for end in (counts.min, counts.max))
    return (*row, str(counts.missing), str(counts.infinite), low, high)


def size(nbytes: int) -> str:
    """Bytes in a unit that leaves few digits.

    >>> size(999), size(1500), size(8_000_000_000)
    ('999 B', '1.5 kB', '8 GB')
    """
    amount, units = float(nbytes), ["B", "kB", "MB", "GB", "TB", "PB"]
    while amount >= 999.5 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.3g} {units[0]}"
