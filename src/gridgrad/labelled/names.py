"""Which dim and coordinate a name means: the object's own names first, then its CF roles."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import xarray as xr

from gridgrad.errors import GridError, GridTypeError

Labelled = xr.DataArray | xr.Dataset


class Found(NamedTuple):
    """A dim, and the coordinate along it that was asked for, if there is one."""

    dim: Hashable
    name: Hashable
    variable: Any = None


def find(obj: Labelled, name: Any) -> Found:
    """The dim of that name, of the coordinate of that name, or of the one with that CF role."""
    if not isinstance(name, Hashable) or name is None:
        raise GridTypeError(
            f"a dim must be given by its name, but is {type(name).__name__}; {_there_are(obj)}."
        )
    variables = obj.coords.variables
    if name not in variables and name not in obj.sizes:
        name = _of_role(obj, name)
    variable = variables.get(name)
    if variable is None:
        return Found(name, name)
    if variable.ndim != 1:
        raise GridError(
            f"coordinate {name!r} must be 1-D, but has the dims {listed(variable.dims)}; "
            "differentiate along one of its dims, with a 1-D coordinate there."
        )
    return Found(variable.dims[0], name, variable)


def find_all(obj: Labelled, names: Any) -> list[Found]:
    """Several dims, each once; all of a DataArray's, if none are named."""
    if names is None:
        names = obj.dims
    elif isinstance(names, str) or not isinstance(names, Iterable):
        names = [names]
    found = [find(obj, name) for name in names]
    seen: dict[Hashable, Hashable] = {}
    for each in found:
        if each.dim in seen:
            raise GridError(
                f"dims must be distinct, but {each.name!r} and {seen[each.dim]!r} both lie along the "
                f"dim {each.dim!r}."
            )
        seen[each.dim] = each.name
    return found


def by_dim(obj: Labelled, given: Mapping[Any, Any], argument: str) -> dict[Hashable, Any]:
    """A mapping from names as one from dims."""
    found: dict[Hashable, Any] = {}
    for name, value in given.items():
        dim = find(obj, name).dim
        if dim in found:
            raise GridError(f"{argument} is given twice for the dim {dim!r}.")
        found[dim] = value
    return found


def listed(names: Iterable[Any]) -> str:
    return ", ".join(repr(name) for name in names) or "none"


def _there_are(obj: Labelled) -> str:
    kind = type(obj).__name__
    return (
        f"the {kind} has the dims {listed(obj.sizes)} and the coordinates "
        f"{listed(obj.coords.variables)}"
    )


def _of_role(obj: Labelled, name: Hashable) -> Hashable:
    """The name of the one coordinate that has this role by CF: an axis, a coordinate, a standard name."""
    found: list[Hashable] = []
    note = "; CF roles such as 'X' or 'latitude' need the package cf-xarray"
    try:
        import cf_xarray  # noqa: F401  # it registers .cf
    except ImportError:
        pass
    else:
        roles = obj.cf
        tables = (roles.axes, roles.coordinates, roles.standard_names)
        variables = obj.coords.variables
        found = sorted(
            {each for table in tables for each in table.get(name, ()) if each in variables}, key=str
        )
        known = {role for table in tables[:2] for role in table}
        note = f", and the CF roles {listed(sorted(known))}" if known else ""
    if len(found) == 1:
        return found[0]
    if found:
        raise GridError(
            f"{name!r} could be any of the coordinates {listed(found)}, which share that CF role; "
            "name one of them."
        )
    if isinstance(obj, xr.Dataset) and name in obj.data_vars:
        note += f"; the variable {name!r} becomes a coordinate by set_coords"
    raise GridError(f"there is no dim or coordinate {name!r}: {_there_are(obj)}{note}.")
