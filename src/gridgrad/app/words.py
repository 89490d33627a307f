"""What options mean: lists, names with values, boundaries, dims, spacing."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridgrad.app.source import FileProblem, shown
from gridgrad.errors import GridError

if TYPE_CHECKING:
    import xarray as xr


def split(entries: Iterable[str] | None) -> list[str]:
    """The words of an option that may be repeated, and that takes several at once.

    >>> split(["a,b", "c"])
    ['a', 'b', 'c']
    """
    words = [word.strip() for entry in entries or () for word in entry.split(",")]
    return [word for word in words if word]


def names(entries: Iterable[str] | None, option: str) -> list[str]:
    """The words of an option that takes each name once."""
    found = split(entries)
    for name in found:
        if found.count(name) > 1:
            raise GridError(f"{option} is given twice for {name!r}.")
    return found


def dims_of(words: Sequence[str], array: "xr.DataArray") -> list[Any]:
    """Dims as xarray takes them: names, and numbers for dims by position."""
    found: list[Any] = []
    for word in words:
        digits = word.removeprefix("-")
        if word not in array.dims and word not in array.coords and digits.isdecimal():
            number = int(word)
            if not -array.ndim <= number < array.ndim:
                raise GridError(
                    f"--dim must name a dim, or number one from {-array.ndim} to {array.ndim - 1}, "
                    f"but is {word!r}."
                )
            found.append(array.dims[number])
        else:
            found.append(word)
    return found


def by_dim(
    words: Sequence[str], option: str, read: Callable[[str], Any], dims: Sequence[Any]
) -> Any:
    """An option with one value, one for each dim in order, or some named, as in `lon=periodic`.

    None where it is not given; a mapping from dims where it names them.
    """
    if not words:
        return None
    named = [word for word in words if "=" in word]
    if not named:
        values = [read(word) for word in words]
        if len(values) == 1:
            return values[0]
        if len(values) != len(dims):
            raise GridError(
                f"{option} must have one value, or one for each of the {len(dims)} dims, but has "
                f"{len(values)}."
            )
        return dict(zip(dims, values, strict=True))
    if len(named) < len(words):
        raise GridError(
            f"{option} must name the dim of every value, or of none, but is {', '.join(words)}."
        )
    found: dict[str, Any] = {}
    for word in named:
        name, _, value = word.partition("=")
        if name in found:
            raise GridError(f"{option} is given twice for {name!r}.")
        found[name] = read(value)
    return found


def boundary(text: str) -> Any:
    """A boundary, or two with a colon between.

    >>> boundary("periodic"), boundary("reflect:0")
    ('periodic', ('reflect', 0.0))
    """
    sides = [_number(part) for part in text.split(":")]
    if len(sides) > 2:
        raise GridError(
            f"--boundary must have one side or two, as in reflect:0, but one is {text!r}."
        )
    return sides[0] if len(sides) == 1 else tuple(sides)


def number(option: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        found = _number(text)
        if isinstance(found, str):
            raise GridError(f"{option} must be a number, but one is {text!r}.")
        return float(found)

    return read


def size(option: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not int(text):
            raise GridError(f"{option} must be a positive number of samples, but one is {text!r}.")
        return int(text)

    return read


def spacing(text: str, dataset: "xr.Dataset", inputs: list[Path], origin: str) -> Any:
    """A step, the positions in a .npy or .csv file, or a 1-D variable of the input.

    Files that are read are added to `inputs`. `origin` is the input, of which `dataset` may be a part.
    """
    from gridgrad.app.files import open_source

    found = _number(text)
    if not isinstance(found, str):
        return found
    if text in dataset.variables:
        return _positions(text, dataset)
    path = Path(text)
    if path.suffix.lower() not in (".npy", ".csv"):
        # --var leaves only the variables that are differentiated.
        with suppress(FileProblem), closing(open_source(origin, var=[text])) as whole:
            return _positions(text, whole.dataset)
        raise FileProblem(
            f"--spacing must be a number, a .npy or .csv file with positions, or the name of a variable of "
            f"the input, but is {text!r}."
        )
    inputs.append(path)
    values = next(iter(open_source(text).dataset.data_vars.values())).values
    if values.ndim != 1:
        raise FileProblem(f"--spacing {shown(path)} must be 1-D, but is {values.ndim}-D.")
    return values


def _positions(name: str, dataset: "xr.Dataset") -> Any:
    if dataset[name].ndim != 1:
        raise GridError(f"--spacing {name!r} must be 1-D, but has the dims {dataset[name].dims}.")
    return dataset[name].values


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
