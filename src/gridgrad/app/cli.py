"""The commands: what is asked for, in which order it is done, and how what goes wrong is told."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gridgrad.app.info import info
from gridgrad.app.options import completion, shared
from gridgrad.app.plot import PLOTS, plot
from gridgrad.app.telling import say, told
from gridgrad.errors import GridError

# NumPy, xarray, Rich and Matplotlib are imported where they are used: `gridgrad --help` answers at
# once.

# Plain help and usage errors: Rich would read brackets in them as markup, and draws boxes around
# one-line messages.
app = typer.Typer(
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
    """Derivatives of sampled data in files."""


def _operate(command: str, **given: Any) -> None:
    with told():
        import warnings

        from gridgrad.app.budget import parse_bytes
        from gridgrad.app.operators import Request
        from gridgrad.app.produce import How, produce
        from gridgrad.app.progress import watcher
        from gridgrad.app.source import shown
        from gridgrad.app.words import names, split
        from gridgrad.errors import NonMonotonicWarning

        output, quiet, memory = given["output"], given["quiet"], given["memory"]
        picture = given["plot"]
        if picture is not None:
            from gridgrad.app.atomic import check_output

            check_output(
                picture,
                "--plot",
                suffixes=PLOTS,
                force=given["force"],
                inputs=[Path(given["source"])],
            )
        several: dict[str, Any] = {
            "var": tuple(names(given["var"], "--var")),
            "dim": tuple(names(given["dim"], "--dim")),
            "boundary": tuple(split(given["boundary"])),
            "period": tuple(split(given["period"])),
        }
        alone = ("accuracy", "edge_order", "time_unit", "coordinate", "dtype")
        request = Request(
            command=command,
            source=given["source"],
            spacing=tuple(_spacing_words(given["spacing"])),
            order=given.get("order", 1),
            side=given.get("side", "center"),
            **several,
            **{key: given[key] for key in alone},
        )
        if given["threads"] is not None and given["threads"] < 1:
            raise GridError(f"--threads must be at least 1, but is {given['threads']}.")
        if given["resume"] and output is None:
            raise GridError("--resume needs the OUTPUT that is to be finished.")
        how = How(
            memory=None if memory is None else parse_bytes(memory, "--memory"),
            threads=given["threads"],
            scheduler=given["scheduler"],
            chunks=tuple(split(given["chunks"])),
            force=given["force"],
            resume=given["resume"],
            holds=picture is not None,
            command_line=shlex.join(["gridgrad", *sys.argv[1:]]),
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", NonMonotonicWarning)
            with watcher(f"{command} of {Path(request.source).name}", quiet) as watched:
                outcome = produce(request, output, how, watched)
            if picture is not None:
                _draw(picture, output, request, outcome, force=given["force"])
        notes = [*outcome.notes, *dict.fromkeys(str(each.message) for each in caught)]
        if output is not None:
            notes.append(_written(shown(output), outcome))
        if picture is not None:
            notes.append(f"Wrote {shown(picture)}.")
        outcome.results.source.close()
        # Only now, so that an error stands alone.
        for sentence in [] if quiet else notes:
            say(sentence)
        _describe(command, given, outcome)


def _draw(picture: Path, output: Path | None, request: Any, outcome: Any, *, force: bool) -> None:
    """The samples beside the results, of which no more are read than are seen."""
    from gridgrad.app.atomic import published
    from gridgrad.app.files import open_source
    from gridgrad.app.pictures.results import draw_results
    from gridgrad.app.pictures.sheet import save

    found = outcome.held
    written = None if found is not None else open_source(str(output))
    if written is not None:
        opened = written.dataset
        found = outcome.dataset.assign(
            {
                name: (each.dims, opened[name].variable, each.attrs)
                for name, each in outcome.dataset.data_vars.items()
                if name in opened.variables
            }
        )
    results = outcome.results
    source = results.source
    fields = [results.placed(source.dataset[name], request) for name in results.fields]
    found = found.assign({name: results.placed(found[name], request) for name in found.data_vars})
    with published(picture, force=force) as file:
        save(draw_results(source, fields, found), file, picture.suffix.lower())
    if written is not None:
        written.close()


def _spacing_words(entries: list[str] | None) -> list[str]:
    """The words of --spacing; a file name may have a comma in it."""
    from gridgrad.app.words import split

    found: list[str] = []
    for entry in entries or ():
        name = entry.partition("=")[2] or entry
        found += [entry] if Path(name).is_file() else split([entry])
    return found


def _written(name: str, outcome: Any) -> str:
    from gridgrad.app.budget import told_bytes

    text = f"Wrote {name}"
    if outcome.seconds > 1:
        rate = told_bytes(outcome.written / outcome.seconds)
        text += f": {told_bytes(outcome.written)} in {outcome.seconds:.1f} s ({rate}/s)"
    return text + "."


def _describe(command: str, given: dict[str, Any], outcome: Any) -> None:
    if given["quiet"] and not given["json"]:
        return
    from gridgrad.app.report import as_json, print_table

    output = given["output"]
    if given["json"]:
        print(as_json(given["source"], None if output is None else str(output), outcome))
    elif sys.stdout is not None:
        title = f"{command.capitalize()} of {outcome.results.source.title}"
        print_table(title, outcome, sys.stdout)


Order = Annotated[int, typer.Option(metavar="N", help="The order of the derivative, 1 to 8.")]
Side = Annotated[
    str,
    typer.Option(
        metavar="SIDE",
        help="Where the interior's stencils lie: center, forward, backward.",
        autocompletion=completion(("center", "forward", "backward")),
    ),
]


@app.command()
@shared(_operate)
def gradient(side: Side = "center") -> None:
    """The derivatives along every dim, one result each: dT_dlat, dT_dlon.

    \b
    Examples:
      gridgrad gradient sample:terrain slope.nc --plot slope.png
      gridgrad gradient slope.nc curvature.zarr --var delevation_dx --dim x
      gridgrad gradient sample:terrain --accuracy 6 --boundary reflect --json
    """


@app.command()
@shared(_operate)
def derivative(order: Order = 1, side: Side = "center") -> None:
    """The derivative of an order along one dim.

    \b
    Examples:
      gridgrad derivative sample:terrain bend.nc --dim x --order 2
      gridgrad derivative sample:terrain upwind.npy --dim y --side backward --edge-order 1
    """


@app.command()
@shared(_operate)
def laplacian() -> None:
    """The sum of the second derivatives along the dims.

    \b
    Example:
      gridgrad laplacian sample:terrain roughness.zarr --boundary replicate
    """


@app.command()
@shared(_operate)
def divergence() -> None:
    """The divergence of a vector field: du/dx + dv/dy + ...

    --var names the components, and --dim the dims that they point along, in the same order.

    \b
    Examples:
      gridgrad gradient sample:terrain slope.nc
      gridgrad divergence slope.nc laplacian.nc --var delevation_dx,delevation_dy --dim x,y
    """


@app.command()
@shared(_operate)
def curl() -> None:
    """The curl of a vector field: dv/dx - du/dy, or the three components of one in three dims.

    --var names the components, and --dim the dims that they point along, in the same order.

    \b
    Examples:
      gridgrad gradient sample:terrain slope.nc
      gridgrad curl slope.nc vorticity.nc --var delevation_dx,delevation_dy --dim x,y
    """


app.command()(info)
app.command()(plot)
