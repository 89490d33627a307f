"""`gridgrad plot`: a picture of what is in a file."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gridgrad.app.options import completion
from gridgrad.app.telling import say, told
from gridgrad.errors import GridError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gridgrad.app.source import Source

# Matplotlib and xarray are imported where they are used: `gridgrad --help` answers at once.

KINDS = ("auto", "map", "line", "slices", "quiver", "streamlines")
PLOTS = (".png", ".pdf", ".svg")
MOST_PANELS = 6


def plot(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", show_default=False, help="A file, or sample:terrain."),
    ],
    picture: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PICTURE]",
            show_default=False,
            help="What to write: .png, .pdf or .svg. Default: FILE's name with .png, in this folder.",
        ),
    ] = None,
    var: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[,NAME...]",
            help="The variables to draw, a panel each. Default: those on the dims of the largest.",
        ),
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIM=VALUE",
            help="The place along a dim that is not shown: a number or a date; the nearest sample is "
            "taken. May be repeated. Default: the first.",
        ),
    ] = None,
    index: Annotated[
        list[str] | None,
        typer.Option(metavar="DIM=N", help="The same by the number of the sample, from 0."),
    ] = None,
    panels: Annotated[
        str | None,
        typer.Option(metavar="DIM", help="A panel for each place along this dim (12 at most)."),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help=f"One of {', '.join(KINDS)}. Default: what the dims suggest.",
            autocompletion=completion(KINDS),
        ),
    ] = "auto",
    vector: Annotated[
        str | None,
        typer.Option(
            metavar="U,V",
            help="Two variables as the components of arrows or streamlines, the one that points to the "
            "right first; over their magnitude, or over --var.",
        ),
    ] = None,
    limits: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Where the colours, or the curves, begin and end. Default: the 2nd and 98th percentile "
            "where a few samples would stretch the range, or else the range.",
        ),
    ] = None,
    cmap: Annotated[
        str | None, typer.Option(metavar="NAME", help="A colour map of Matplotlib.")
    ] = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What is written above the picture.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WIDTH,HEIGHT", help="The size of the picture in inches.")
    ] = None,
    coordinate: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The column of a .csv file that holds the positions."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a picture that exists.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:
    """Draw what is in FILE: curves, maps, slices of 3-D fields, vectors.

    Maps have north above and east on the right, whatever the order in the file.

    \b
    Examples:
      gridgrad plot sample:terrain
      gridgrad plot sample:terrain heights.pdf --limits 300,900 --cmap cividis --title Jacksboro
      gridgrad plot sample:terrain profile.svg --at y=12000 --kind line
    """
    with told():
        from gridgrad.app import words
        from gridgrad.app.atomic import check_output, published
        from gridgrad.app.files import open_source
        from gridgrad.app.source import shown

        wish = {
            "kind": _kind(kind),
            "panels": panels,
            "within": _pair(limits, "--limits", "two numbers, the lower one first", rising=True),
            "map": cmap,
            "title": title,
            "size": _pair(size, "--size", "two lengths in inches, such as 10,6", low=1, high=100),
        }
        target = _target(source, picture)
        check_output(target, "PICTURE", suffixes=PLOTS, force=force, inputs=[Path(source)])
        names = words.names(var, "--var")
        components = words.names([vector] if vector else None, "--vector")
        opened = open_source(source, coordinate=coordinate, var=[*names, *components] or None)
        try:
            figure, notes = _drawn(opened, names, components, at, index, wish)
            from gridgrad.app.pictures.sheet import save

            with published(target, force=force) as file:
                save(figure, file, target.suffix.lower())
        finally:
            opened.close()
        for sentence in [] if quiet else [*opened.notes, *notes, f"Wrote {shown(target)}."]:
            say(sentence)


def _drawn(
    opened: "Source",
    names: list[str],
    components: list[str],
    at: list[str] | None,
    index: list[str] | None,
    wish: dict[str, Any],
) -> "tuple[Figure, list[str]]":
    """The picture, and sentences about what was chosen for it."""
    from gridgrad.app import choosing
    from gridgrad.app.suggestions import component_pairs

    notes = []
    if components and len(components) != 2:
        raise GridError(
            f"--vector must name two variables, such as u,v, but has {len(components)}."
        )
    if wish["kind"] in ("quiver", "streamlines") and not components:
        found = component_pairs(opened.dataset)
        if not found:
            raise GridError(
                f"--kind {wish['kind']} needs --vector U,V, because no two variables of {opened.title} "
                "are known as components by their names."
            )
        components = list(found[0])
        notes.append(f"The vectors are ({', '.join(components)}); --vector names others.")
    if not names and not components:
        names, others = choosing.usual(opened, MOST_PANELS)
        if others:
            notes.append(f"Shown is {', '.join(names)}; --var draws others: {', '.join(others)}.")
    if len(names) > MOST_PANELS:
        raise GridError(
            f"--var draws up to {MOST_PANELS} variables on a sheet, but has {len(names)}."
        )
    arrays = [choosing.variable(opened, name) for name in names]
    both = [choosing.variable(opened, name, "--vector") for name in components]
    places = choosing.places(
        opened.dataset, choosing.pairs(at, "--at"), choosing.pairs(index, "--index")
    )
    # Importing Matplotlib takes a while, so that happens when all else is clear.
    from gridgrad.app.pictures.colours import check_map
    from gridgrad.app.pictures.fields import Wish, draw_fields

    if wish["map"] is not None:
        check_map(wish["map"])
    vector = (both[0], both[1]) if both else None
    figure, more = draw_fields(opened, arrays, places, Wish(**wish), vector)
    return figure, notes + more


def _kind(text: str) -> str:
    if text not in KINDS:
        raise GridError(f"--kind must be one of {', '.join(KINDS)}, but it is {text!r}.")
    return text


def _pair(
    text: str | None,
    option: str,
    what: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    rising: bool = False,
) -> tuple[float, float] | None:
    """Two numbers, as --limits and --size give them."""
    if text is None:
        return None
    try:
        first, second = (float(each) for each in text.replace("x", ",").split(","))
    except ValueError:
        first = second = math.nan
    fits = all(low <= each <= high and math.isfinite(each) for each in (first, second))
    if not fits or (rising and not first < second):
        raise GridError(f"{option} must be {what}, but it is {text!r}.")
    return first, second


def _target(source: str, picture: Path | None) -> Path:
    """The picture's name: the one given, or the file's own with .png, in the current folder."""
    if picture is not None:
        return picture
    name = source.removeprefix("sample:") if source.startswith("sample:") else Path(source).name
    target = Path(f"{Path(name).stem or 'picture'}.png")
    if target.exists() and Path(source).exists() and target.samefile(source):
        return target.with_name(f"{target.stem}-picture.png")
    return target
