"""The options that all operators take, told once."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Words = list[str] | None
FLOATS = ("float16", "float32", "float64", "complex64", "complex128")


def completion(words: Sequence[str]) -> Callable[[str], list[str]]:
    """What a shell offers for a word that was begun."""

    def offered(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return offered


def _option(metavar: str, text: str, *names: str, words: Sequence[str] = ()) -> Any:
    offered = completion(words) if words else None
    return typer.Option(*names, metavar=metavar, help=text, autocompletion=offered)


def _source(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", show_default=False, help="A file, or sample:terrain.")
    ],
    output: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUTPUT",
            show_default=False,
            help="The file to write, in the format that its name ends in. Without it the results are only "
            "described.",
        ),
    ] = None,
) -> None: ...


def _shared(
    var: Annotated[
        Words, _option("NAME[,NAME...]", "The variables to take. Default: all that have the dims.")
    ] = None,
    dim: Annotated[
        Words,
        _option(
            "DIM[,DIM...]",
            "The dims to differentiate along: by name, by a 1-D coordinate, by number, or by CF role (X, "
            "latitude) with cf-xarray. Default: all.",
        ),
    ] = None,
    accuracy: Annotated[int, _option("N", "The order of accuracy in the interior.")] = 2,
    edge_order: Annotated[
        int | None,
        _option(
            "N", "The order of accuracy at the edges. Default: 1 for gradient, else as inside."
        ),
    ] = None,
    boundary: Annotated[
        Words,
        _option(
            "[DIM=]KIND[,...]",
            "What stands beyond the edges: one-sided, periodic, reflect, replicate, or a number; two with a "
            "colon for two sides (reflect:0). For all dims, or for some by name: lon=periodic.",
            words=("one-sided", "periodic", "reflect", "replicate"),
        ),
    ] = None,
    period: Annotated[
        Words,
        _option(
            "[DIM=]LENGTH[,...]",
            "The period of coordinates along periodic dims; 360 for a longitude in degrees.",
        ),
    ] = None,
    spacing: Annotated[
        Words,
        _option(
            "[DIM=]STEP[,...]",
            "Steps or positions for dims that have no coordinate: a number, a .npy or .csv file, or a 1-D "
            "variable of the input. For all dims, one each, or by name.",
        ),
    ] = None,
    time_unit: Annotated[
        str | None,
        _option(
            "UNIT",
            "What derivatives by time are per: s, min, h, D. Default: s.",
            words=("s", "min", "h", "D"),
        ),
    ] = None,
    coordinate: Annotated[
        str | None, _option("COLUMN", "The column of a table that holds the positions.")
    ] = None,
    dtype: Annotated[
        str | None,
        _option(
            "DTYPE", "The results' dtype, as float32. Default: that of the input.", words=FLOATS
        ),
    ] = None,
    chunks: Annotated[
        Words,
        _option("[DIM=]N[,...]", "The output's chunks. Default: as the input's."),
    ] = None,
    memory: Annotated[
        str | None,
        _option("SIZE", "The memory to stay within, as 1GB. Default: a quarter of what there is."),
    ] = None,
    threads: Annotated[
        int | None, _option("N", "How many regions are made at once. Default: one for each CPU.")
    ] = None,
    scheduler: Annotated[
        str | None,
        _option("ADDRESS", "Let the workers of a Dask scheduler do it, as tcp://host:8786."),
    ] = None,
    plot: Annotated[Path | None, _option("FILE", "Draw it, too: .png, .pdf or .svg.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Finish an output that was cut off.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print errors only (and JSON, if asked for).")
    ] = False,
) -> None: ...


def shared(work: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command of its own options and the shared ones, which calls `work(its name, **options)`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def run(**given: Any) -> None:
            work(command.__name__, **given)

        signatures = [inspect.signature(each) for each in (_source, command, _shared)]
        found = [each for signature in signatures for each in signature.parameters.values()]
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__signature__ = inspect.Signature(found)  # type: ignore[attr-defined]  # inspect, and so Typer, looks here (PEP 362)
        run.__annotations__ = {each.name: each.annotation for each in found}
        return run

    return decorate
