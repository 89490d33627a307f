"""The commands: what is asked for, in which order it is done, and how what goes wrong is told."""

import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gridgrad.app.info import info
from gridgrad.app.plot import plot
from gridgrad.app.telling import say, told
from gridgrad.errors import GridError, NonMonotonicWarning

if TYPE_CHECKING:
    from gridgrad.app.field import Step

# NumPy, Rich, Matplotlib and Pillow are imported where they are used: `gridgrad --help` answers at
# once.

# Plain help and usage errors: Rich would read brackets in them as markup, and draws boxes around
# one-line messages.
app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        from gridgrad._version import __version__

        typer.echo(f"gridgrad {__version__}")
        raise typer.Exit


@app.callback()
def gridgrad(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Derivatives of sampled data."""


@app.command()
def gradient(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            show_default=False,
            help="A .npy, .npz, .csv, .png, .jpg or .tif file, or sample:terrain.",
        ),
    ],
    spacing: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEP[,STEP...]",
            help="The distance between samples: a number for all dims, or one entry a dim, each a "
            "number, a .npy or .csv file with the positions, or the name of an array in the .npz "
            "input. Default: 1.",
        ),
    ] = None,
    dim: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIM[,DIM...]",
            help="The dims to differentiate along; -1 is the last. Default: all of them.",
        ),
    ] = None,
    edge_order: Annotated[
        int | None,
        typer.Option(metavar="N", help="The order of accuracy at the edges. Default: 1."),
    ] = None,
    var: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The array of an .npz input, or the column of a .csv input."
        ),
    ] = None,
    coordinate: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="The column of a .csv input that holds the positions, by name or number (from 0). "
            "The other column is then the curve; of several, --var chooses.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the result: .npz (every component by name: d_dim0, d_dim1, ...), .npy "
            "(stacked along a new first dim, unless it is only one), or .csv (one component, 1-D "
            "or 2-D).",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw a 1-D, 2-D or 3-D field as .png, .pdf or .svg."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print errors only (and JSON, if asked for).")
    ] = False,
) -> None:
    """The gradient of INPUT, one component a dim.

    Without --coordinate or --var, all columns of a .csv file are one grid (or, if there is only one
    column or row, a curve). Colours become grey levels. sample:terrain is real terrain in metres,
    to try things on.

    \b
    Examples:
      gridgrad gradient sample:terrain --plot terrain.png
      gridgrad gradient sample:terrain --dim 1 --out slope.csv
      gridgrad gradient slope.csv --spacing -92.47,74.57 --out curvature.npz --json
    """
    with told():
        import gridgrad as core
        from gridgrad.app import formats
        from gridgrad.app.atomic import check_output, published
        from gridgrad.app.field import shown
        from gridgrad.app.report import as_json, print_table, summaries

        steps, files = _spacing(spacing, source)
        inputs = [Path(source), *files]
        for path, option, suffixes in (
            (out, "--out", formats.OUTPUTS),
            (plot, "--plot", formats.PLOTS),
        ):
            if path is not None:
                check_output(path, option, suffixes=suffixes, force=force, inputs=inputs)

        field = formats.read(source, coordinate=coordinate, var=var, spaced=steps is not None)
        dims = _dims(dim, field.values.ndim)
        if steps is not None:
            if field.spacing is not None:
                raise GridError(f"--spacing cannot be given, because {field.title} brings its own.")
            field = field.spaced()
        elif field.spacing is not None:
            steps = [field.spacing[each] for each in dims]
        if out is not None:
            formats.check_text(out, field, dims)
        if plot is not None:
            # Importing Matplotlib takes a while, so that happens only for those who want a picture.
            from gridgrad.app import picture

            picture.check(field)

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", NonMonotonicWarning)
            components = core.gradient(
                field.values,
                spacing=1 if steps is None else steps[0] if _is_number(steps) else steps,
                dim=dims,
                edge_order=edge_order,
            )
        notes = [*field.notes, *(str(warning.message) for warning in caught)]
        if field.values.dtype.kind == "c":
            notes.append("The field is complex: min, max, RMS and pictures are of the magnitude.")

        rows = summaries(field, dims, components)
        with ExitStack() as outputs:
            # Both are complete before either appears.
            if out is not None:
                file = outputs.enter_context(published(out, force=force))
                formats.write(file, out.suffix.lower(), field, dims, components)
            if plot is not None:
                file = outputs.enter_context(published(plot, force=force))
                figure = picture.draw(field, dims, components, steps)
                picture.save(figure, file, plot.suffix.lower())
        notes += [f"Wrote {shown(path)}." for path in (out, plot) if path is not None]
        # Only now, so that an error stands alone.
        for sentence in [] if quiet else notes:
            say(sentence)
        if json:
            print(as_json(source, field.slope_unit, rows))
        elif not quiet and sys.stdout is not None:
            title = f"Gradient of {field.title} ({field.slope_unit})"
            print_table(title, rows, sys.stdout)


app.command()(info)
app.command()(plot)


def _spacing(entries: list[str] | None, source: str) -> "tuple[list[Step] | None, list[Path]]":
    """What --spacing gives, and the files that it names."""
    if entries is None:
        return None, []
    from gridgrad.app.formats import read_spacing

    steps, files = [], []
    for entry in entries:
        # A file name may have a comma in it.
        for text in [entry] if Path(entry).is_file() else entry.split(","):
            step, file = read_spacing(text.strip(), source)
            steps.append(step)
            files += [] if file is None else [file]
    return steps, files


def _is_number(steps: "Sequence[Step]") -> bool:
    return len(steps) == 1 and isinstance(steps[0], float)


def _dims(entries: list[str] | None, ndim: int) -> tuple[int, ...]:
    """The dims that --dim gives, counted from the first; all of them where it is not given."""
    if entries is None:
        return tuple(range(ndim))
    dims = []
    for text in ",".join(entries).split(","):
        try:
            dim = int(text)
        except ValueError:
            raise GridError(
                f"--dim must be whole numbers separated by commas, but it has {text!r}."
            ) from None
        if not -ndim <= dim < ndim:
            raise GridError(
                f"--dim must be from {-ndim} to {ndim - 1} for a {ndim}-D field, but it has {dim}."
            )
        dims.append(dim % ndim)
    if len(set(dims)) < len(dims):
        raise GridError(f"--dim must name every dim once, but it is {','.join(entries)}.")
    return tuple(dims)
