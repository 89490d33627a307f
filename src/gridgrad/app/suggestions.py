"""Which derivatives make sense of what is in a file, and what to type for them."""

import re
import shlex
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from gridgrad.app.choosing import numeric
from gridgrad.app.roles import Role, coordinate_of, horizontal, roles
from gridgrad.labelled.attributes import title

# How the name of a first component becomes that of the second.
_PAIRS = (
    (r"^u(?=$|[\d_]|[a-z]{1,2}$|wind|vel|comp)", "v"),
    (r"^U(?=$|[\d_]|[A-Z]{1,2}$|WIND|VEL)", "V"),
    (r"(?<=[a-zA-Z_])u$", "v"),
    (r"(?<=[a-zA-Z_])x$", "y"),
    (r"^x(?=_)", "y"),
    (r"eastward", "northward"),
    (r"zonal", "meridional"),
)
_OUTPUTS = {".zarr": ".zarr", ".npy": ".npz", ".npz": ".npz", ".csv": ".csv"}
_STANDARD = (("eastward", "northward"), ("_x_", "_y_"), ("x_", "y_"))


@dataclass(frozen=True)
class Suggestion:
    """A derivative that makes sense, and the command for it."""

    what: str
    command: str
    also: tuple[str, ...] = ()
    """Other variables of which the same can be asked."""


def suggest(
    dataset: xr.Dataset,
    file: str,
    unfit: Sequence[Hashable] = (),
    *,
    counted: bool = False,
    around: Sequence[Hashable] = (),
    options: Sequence[str] = (),
) -> list[Suggestion]:
    """Commands for the gradients, rates and vector derivatives that a dataset has.

    Dims that are `unfit` are left out, and so are those without coordinates, unless samples are `counted`;
    `around` are longitudes that go around the globe, and `options` those that the file was opened with.
    """
    found: list[Suggestion] = []
    names = numeric(dataset)
    fit = {
        name: {
            dim: role
            for dim, role in roles(dataset[name]).items()
            if dim not in unfit
            and dataset.sizes[dim] > 1
            and (counted or coordinate_of(dataset, dim) is not None)
        }
        for name in names
    }
    groups: dict[tuple[Hashable, ...], list[str]] = {}
    for name in names:
        if fit[name]:
            groups.setdefault(tuple(fit[name]), []).append(name)
    for members in groups.values():
        first, also = members[0], tuple(members[1:])
        for operator, what, dims in _of_one(dataset, first, fit[first]):
            command = _command(dataset, operator, [file, *options], [first], dims, around)
            found.append(Suggestion(what, command, also))
    for u, v in component_pairs(dataset):
        pair = horizontal(
            {dim: role for dim, role in fit.get(u, {}).items() if dim in fit.get(v, {})}
        )
        if pair is None:
            continue
        dims = [pair[1], pair[0]]  # the first component points along x
        for operator, what in (("curl", "the vorticity"), ("divergence", "the divergence")):
            found.append(
                Suggestion(
                    f"{what} of ({u}, {v})",
                    _command(dataset, operator, [file, *options], [u, v], dims, around),
                )
            )
    return found


def _of_one(
    dataset: xr.Dataset, name: str, fit: Mapping[Hashable, Role]
) -> list[tuple[str, str, list[Hashable]]]:
    """Operators on one variable, each with what it gives and its dims."""
    called = title(name, dataset[name].attrs)
    flat = horizontal(fit)
    found: list[tuple[str, str, list[Hashable]]] = []
    rest = list(fit)
    if flat is not None:
        found.append(("gradient", f"the horizontal gradient of {called}", list(flat)))
        rest = [dim for dim in rest if dim not in flat]
        if fit[flat[0]] == "y" and _one_unit(dataset, flat):
            found.append(("laplacian", f"the laplacian of {called}", list(flat)))
    for dim in list(rest):
        if fit[dim] in ("time", "vertical"):
            word = "the rate of change" if fit[dim] == "time" else "the vertical derivative"
            found.append(("derivative", f"{word} of {called}", [dim]))
            rest.remove(dim)
    if len(rest) > 1:
        found.append(("gradient", f"the gradient of {called}", rest))
    elif rest:
        found.append(("derivative", f"the derivative of {called} along {rest[0]}", rest))
    return found


def _one_unit(dataset: xr.Dataset, dims: Sequence[Hashable]) -> bool:
    units = {
        None if (each := coordinate_of(dataset, dim)) is None else each.attrs.get("units")
        for dim in dims
    }
    return len(units) == 1


def component_pairs(dataset: xr.Dataset) -> list[tuple[str, str]]:
    """Variables that are the two horizontal components of one vector, by CF's standard names or else by
    their own.

    >>> wind = xr.Dataset({name: (("y", "x"), [[1.0]]) for name in ("u10", "v10", "t", "taux", "tauy")})
    >>> component_pairs(wind)
    [('u10', 'v10'), ('taux', 'tauy')]
    """
    names = numeric(dataset)
    by_standard = {
        str(dataset[name].attrs["standard_name"]): name
        for name in names
        if "standard_name" in dataset[name].attrs
    }
    found: list[tuple[str, str]] = []
    for name in names:
        if any(name in pair for pair in found):
            continue
        partner = None
        standard = str(dataset[name].attrs.get("standard_name", ""))
        for one, other in _STANDARD:
            if one in standard:
                partner = by_standard.get(standard.replace(one, other, 1))
                break
        for pattern, second in _PAIRS if partner is None else ():
            if re.search(pattern, name):
                guess = re.sub(pattern, second, name, count=1)
                partner = guess if guess in names else None
                if partner:
                    break
        if partner is None or partner == name:
            continue
        one_, other_ = dataset[name], dataset[partner]
        if one_.dims == other_.dims and one_.attrs.get("units") == other_.attrs.get("units"):
            found.append((name, partner))
    return found


def _command(
    dataset: xr.Dataset,
    operator: str,
    opened: Sequence[str],
    variables: Sequence[str],
    dims: Sequence[Hashable],
    around: Sequence[Hashable],
) -> str:
    suffix = _OUTPUTS.get(Path(opened[0]).suffix.lower(), ".nc")
    words = ["gridgrad", operator, opened[0], f"OUT{suffix}", *opened[1:]]
    words += ["--var", ",".join(variables)]
    if set(dims) != set(dataset[variables[0]].dims) or len(variables) > 1:
        words += ["--dim", ",".join(map(str, dims))]
    wrapped = [dim for dim in dims if dim in around]
    for dim in wrapped:
        words += ["--boundary", f"{dim}=periodic"]
    return shlex.join(words)
