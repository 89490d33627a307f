"""Which variables of a file are meant, and whether there is anything in them to differentiate."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridgrad.app.source import FileProblem, shown

if TYPE_CHECKING:
    import xarray as xr


def chosen(dataset: "xr.Dataset", path: str | Path, var: Sequence[str] | None) -> "xr.Dataset":
    """The dataset with the variables that `var` names, in its order; all that there are if it is None.

    A coordinate that is not of a dim, as a map's 2-D latitudes are, may be named as well.
    """
    if var is None:
        if not any(
            numeric(each) and each.size and each.ndim for each in dataset.data_vars.values()
        ):
            raise FileProblem(_nothing(dataset, path))
        return dataset
    for name in var:
        if name not in dataset.variables:
            raise unknown(name, path, dataset.data_vars, dataset)
        if name in dataset.indexes:
            raise FileProblem(
                f"--var cannot be {name!r}, because that is the coordinate of a dim of {shown(path)}; there "
                f"are: {listing(dataset.data_vars, dataset)}."
            )
        if not numeric(dataset.variables[name]):
            raise FileProblem(
                f"--var cannot be {name!r}, because what it holds in {shown(path)} are no numbers, but "
                f"{dataset.variables[name].dtype}."
            )
        if not dataset.variables[name].size:
            raise FileProblem(
                f"--var cannot be {name!r}, because there are no numbers in it: its shape in "
                f"{shown(path)} is {dataset.variables[name].shape}."
            )
    aside = [name for name in var if name in dataset.coords]
    result = dataset.reset_coords(aside)[list(var)]
    result.set_close(dataset.close)
    return result


def unknown(
    name: str,
    path: str | Path,
    there: Iterable[Any],
    dataset: "xr.Dataset | None" = None,
    option: str = "--var",
) -> FileProblem:
    """The answer to a variable that is not there."""
    return FileProblem(
        f"{option} must name what is in {shown(path)}, but it has no {name!r}; there are: "
        f"{listing(there, dataset)}."
    )


def listing(names: Iterable[Any], dataset: "xr.Dataset | None" = None) -> str:
    """Variables in words: their names, and shapes and dtypes where these are known."""
    if dataset is None:
        return ", ".join(map(str, names)) or "none"
    words = []
    for name in names:
        each = dataset.variables[name]
        shape = " x ".join(map(str, each.shape)) or "scalar"
        words.append(f"{name} ({shape} {each.dtype})")
    return ", ".join(words) or "none"


def numeric(variable: Any) -> bool:
    """Whether there are numbers or times in it; cftime's are Python objects with a calendar."""
    return variable.dtype.kind in "iufcmM" or (
        variable.dtype.kind == "O" and "calendar" in variable.encoding
    )


def _nothing(dataset: "xr.Dataset", path: str | Path) -> str:
    numbers = [each for each in dataset.data_vars.values() if numeric(each)]
    if len(numbers) == 1 and len(dataset.data_vars) == 1:
        (only,) = numbers
        if only.ndim:
            return f"{shown(path)} has no numbers in it: its shape is {only.shape}."
        return f"{shown(path)} is a single number, without a dim."
    if not dataset.data_vars:
        return f"{shown(path)} has no arrays of numbers in it."
    return f"{shown(path)} has no array of numbers in it, but only: {listing(dataset.data_vars, dataset)}."
