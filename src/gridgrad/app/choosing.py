"""Which part of a file is meant: its variables, and one place along the dims that are not shown."""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from gridgrad.app.roles import horizontal, role_of, roles
from gridgrad.app.source import FileProblem, Source
from gridgrad.errors import GridError
from gridgrad.labelled.names import find, listed
from gridgrad.labelled.times import is_time


def numeric(dataset: xr.Dataset) -> list[str]:
    """The variables whose samples are numbers on one dim or more, without the bounds of cells."""
    bounds = {
        str(each.attrs.get(key))
        for each in dataset.variables.values()
        for key in ("bounds", "climatology")
    }
    return [
        str(name)
        for name, each in dataset.data_vars.items()
        if each.ndim and each.dtype.kind in "iufcbm" and str(name) not in bounds
    ]


def variable(source: Source, name: str, option: str = "--var") -> xr.DataArray:
    """The variable of that name, whose samples can be drawn."""
    dataset = source.dataset
    if name not in dataset.variables:
        raise FileProblem(
            f"{option} must name a variable of {source.title}, which has "
            f"{listed(dataset.data_vars)}, but it is {name!r}."
        )
    found = dataset[name]
    if found.dtype.kind not in "iufcbm":
        raise FileProblem(
            f"{option} must name a variable that holds numbers, but {name!r} holds {found.dtype}; "
            f"there are: {listed(numeric(dataset))}."
        )
    return found


def usual(source: Source, most: int) -> tuple[list[str], list[str]]:
    """The variables that are meant where none is named, and the others.

    They are those on the same dims as the first of the most dims.
    """
    dataset = source.dataset
    names = numeric(dataset)
    if not names:
        raise FileProblem(
            f"{source.title} has no variable of numbers on a dim; there are: "
            f"{listed(dataset.data_vars)}."
        )
    dims = {name: tuple(d for d in dataset[name].dims if dataset.sizes[d] > 1) for name in names}
    first = max(names, key=lambda name: len(dims[name]))
    chosen = [name for name in names if dims[name] == dims[first]][:most]
    return chosen, [name for name in names if name not in chosen]


def pairs(entries: Iterable[str] | None, option: str) -> dict[str, str]:
    """`DIM=VALUE` entries, one or several with commas between them.

    >>> pairs(["time=2000-01-01,level=500"], "--at")
    {'time': '2000-01-01', 'level': '500'}
    """
    found: dict[str, str] = {}
    for entry in (each for text in entries or () for each in text.split(",")):
        name, equals, value = (part.strip() for part in entry.partition("="))
        if not (name and equals and value):
            raise GridError(f"{option} must be DIM=VALUE, such as level=500, but it is {entry!r}.")
        if name in found:
            raise GridError(f"{option} is given twice for {name!r}.")
        found[name] = value
    return found


def places(
    dataset: xr.Dataset, at: Mapping[str, str], index: Mapping[str, str]
) -> dict[Hashable, int]:
    """The samples that --at and --index choose, by dim."""
    found: dict[Hashable, int] = {}
    for option, given in (("--at", at), ("--index", index)):
        for name, text in given.items():
            along = find(dataset, name)
            if along.dim in found:
                raise GridError(f"a place along {along.dim!r} is given twice.")
            n = dataset.sizes[along.dim]
            if option == "--index":
                found[along.dim] = _index(name, text, n)
                continue
            coordinate = along.variable
            if coordinate is None:
                raise GridError(
                    f"--at {name}={text} needs a coordinate along {name!r}, which has none; count its "
                    f"samples with --index {name}=N, from 0 to {n - 1}."
                )
            found[along.dim] = nearest(xr.DataArray(coordinate, name=along.name), text)
    return found


def _index(name: str, text: str, n: int) -> int:
    try:
        number = int(text)
    except ValueError:
        raise GridError(f"--index must be DIM=N, but it has {name}={text}.") from None
    if not -n <= number < n:
        raise GridError(
            f"--index {name}={text} is beyond the {n} samples of {name!r}, which are counted from 0."
        )
    return number % n


def nearest(coordinate: xr.DataArray, text: str) -> int:
    """The sample nearest to a position, which is a number or a date; or the one that has a name."""
    name, values = str(coordinate.name), coordinate.variable.values
    if values.dtype.kind not in "iuf" and not is_time(values):
        names = [str(each) for each in values]
        if text not in names:
            few = listed(names[:8]) + (", ..." if len(names) > 8 else "")
            raise GridError(f"--at {name}={text} is none of {few}.")
        return names.index(text)
    if values.dtype.kind in "iuf":
        from_there = values.astype(np.float64) - _number(name, text)
    else:
        spans = np.array(values - _moment(name, text, values), "timedelta64[us]")
        from_there = spans / np.timedelta64(1, "s")
    away = np.abs(from_there)
    if role_of(name, coordinate) == "longitude":
        away = np.minimum(away % 360, -away % 360)
    if np.isnan(away).all():
        raise GridError(f"--at {name}={text} finds no place, because {name!r} has no positions.")
    number = int(np.nanargmin(away))
    # The nearest of what lies far off is seldom meant.
    if len(away) > 1 and away[number] > np.nanmax(np.abs(np.diff(from_there))):
        raise GridError(
            f"--at {name}={text} lies beyond {name!r}, which goes from {_shown(values[0])} to "
            f"{_shown(values[-1])}."
        )
    return number


def _shown(value: Any) -> str:
    if isinstance(value, np.datetime64):
        return re.sub(r"(T00:00)?:00(\.0+)?$", "", str(value))
    return f"{value:.6g}" if isinstance(value, np.number) else str(value)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise GridError(f"--at {name}= must be a number, but it is {text!r}.") from None


def _moment(name: str, text: str, values: Any) -> Any:
    """A date as the coordinate holds dates."""
    try:
        if values.dtype.kind == "m":
            return np.timedelta64(round(float(text) * 3.6e9), "us")
        date = np.datetime64(text)
        if values.dtype.kind == "M":
            return date
        part = [int(each) for each in re.split(r"[-T:]", str(date.astype("datetime64[s]")))]
        return type(values.flat[0])(*part, calendar=values.flat[0].calendar)
    except (ValueError, TypeError):
        raise GridError(
            f"--at {name}= must be a date such as 2024-02-29 or 2024-02-29T12:00, but it is {text!r}."
        ) from None


def shown_dims(array: xr.DataArray, n: int, apart: Sequence[Hashable] = ()) -> list[Hashable]:
    """The `n` dims of an array that a picture of so many dims shows, in the array's order: those of a
    map, the vertical one, time along a curve; or else the last ones."""
    known = {dim: role for dim, role in roles(array).items() if dim not in apart}
    long = {dim: role for dim, role in known.items() if array.sizes[dim] > 1}
    candidates = list(long) + [dim for dim in known if dim not in long]
    if len(candidates) <= n:
        kept = candidates
    elif n == 1:
        times = [dim for dim in long if long[dim] == "time"]
        kept = times[:1] or list(long)[-1:]
    else:
        kept = list(horizontal(long) or ())
        rest = [dim for dim in reversed(list(long)) if dim not in kept]
        # A slice across time is less of a picture than one across space.
        rest.sort(key=lambda dim: long[dim] == "time")
        kept += rest[: n - len(kept)]
    return [dim for dim in array.dims if dim in kept]
