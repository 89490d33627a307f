"""What a file holds, found out without reading samples: dims, coordinates, variables, and what they are
fit for."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr

from gridgrad.app.files.layout import layout_of
from gridgrad.app.positions import Positions, describe
from gridgrad.app.roles import Role, coordinate_of, role_of
from gridgrad.app.source import Source
from gridgrad.app.suggestions import Suggestion, suggest
from gridgrad.labelled.attributes import title


@dataclass(frozen=True)
class Dim:
    """A dim, and the coordinate along it, if it has one."""

    name: str
    n: int
    role: Role
    coordinate: str | None
    dtype: str | None
    unit: str | None
    positions: Positions | None
    around: bool = False
    """Whether it is a longitude that goes around the globe."""
    closed: bool = False
    """Whether its last position is its first, once around."""


@dataclass(frozen=True)
class Held:
    """A variable as it lies in the file."""

    name: str
    title: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    stored: str
    """The dtype in the file, where that differs."""
    unit: str | None
    nbytes: int
    """Once read."""
    chunks: tuple[int, ...] | None
    shards: tuple[int, ...] | None
    compression: str | None


@dataclass(frozen=True)
class Counts:
    """What reading a variable shows."""

    missing: int
    infinite: int
    min: float | None
    max: float | None


@dataclass(frozen=True)
class Survey:
    """What is in a file."""

    title: str
    dims: list[Dim]
    variables: list[Held]
    sentences: list[str]
    suggestions: list[Suggestion]

    def as_json(self, values: dict[str, Counts] | None = None) -> dict[str, Any]:
        """The same for programs."""
        found = asdict(self)
        for each, dim in zip(found["dims"], self.dims, strict=True):
            positions = each["positions"]
            if positions is not None and dim.positions is not None:
                del positions["values"]
                positions["missing"] = dim.positions.missing
        for name, counts in (values or {}).items():
            for each in found["variables"]:
                if each["name"] == name:
                    each["values"] = asdict(counts)
        return found


def survey(source: Source, file: str, options: Sequence[str] = ()) -> Survey:
    """What is to be said of a file; `file` and `options` are how commands open it."""
    dataset = source.dataset
    variables = [_held(dataset, name) for name in dataset.data_vars]
    dims = [_dim(dataset, dim) for dim in dataset.sizes]
    unfit = [
        each.name for each in dims if each.positions is not None and each.positions.kind == "unfit"
    ]
    return Survey(
        source.title,
        dims,
        variables,
        [*_of_dims(dims, source), *_of_two_dims(dataset)],
        suggest(
            dataset,
            file,
            # Positions that turn back are allowed, but hardly meant.
            unfit,
            counted=source.counts_samples,
            around=[each.name for each in dims if each.around],
            options=options,
        ),
    )


def _dim(dataset: xr.Dataset, dim: Hashable) -> Dim:
    coordinate = coordinate_of(dataset, dim)
    role = role_of(dim, coordinate)
    if coordinate is None:
        return Dim(str(dim), dataset.sizes[dim], role, None, None, None, None)
    values = coordinate.variable.values
    found = describe(values)
    # Those of dates are about how the file holds them, and are in their encoding.
    unit = coordinate.attrs.get("units")
    around = closed = False
    if role == "longitude" and found.kind == "uniform" and found.step:
        turn = abs(found.step) * found.n
        around = abs(turn - 360) < 0.01 * abs(found.step)
        closed = abs(turn - 360 - abs(found.step)) < 0.01 * abs(found.step)
    calendar = (
        values.flat[0].calendar
        if values.dtype.kind == "O" and values.size and role == "time"
        else None
    )
    return Dim(
        str(dim), dataset.sizes[dim], role, str(coordinate.name),
        f"dates ({calendar})" if calendar else str(coordinate.dtype),
        None if unit is None else str(unit), found, around, closed,
    )  # fmt: skip


def _held(dataset: xr.Dataset, name: Hashable) -> Held:
    variable = dataset.variables[name]
    layout = layout_of(variable.encoding, variable.ndim)
    stored = variable.encoding.get("dtype")
    stored = "" if stored is None or stored is str else str(np.dtype(stored))
    compression = layout.compression
    if compression and layout.level is not None:
        compression = f"{compression} {layout.level}"
    if compression and layout.shuffle:
        compression += ", shuffled"
    return Held(
        str(name),
        title(None, variable.attrs),
        tuple(map(str, variable.dims)),
        variable.shape,
        str(variable.dtype),
        "" if stored == str(variable.dtype) else stored,
        None if "units" not in variable.attrs else str(variable.attrs["units"]),
        variable.nbytes,
        layout.chunks,
        layout.shards,
        compression if layout.told or compression is None else None,
    )


def _of_dims(dims: Iterable[Dim], source: Source) -> list[str]:
    """What is to be known of the coordinates before they are differentiated by, a sentence each."""
    found = []
    for dim in dims:
        known = dim.positions
        if known is None:
            if not source.counts_samples:
                found.append(
                    f"{dim.name} has no coordinate: give its step with --spacing {dim.name}=STEP "
                    "(1 counts samples)."
                )
            continue
        name = dim.coordinate or dim.name
        for fault in known.faults:
            # Repeated, unknown and 2-D positions are refused; those that turn back are taken as they are.
            ends = f"no derivative is taken along {dim.name}"
            if fault.startswith("turns"):
                ends = "neighbours in the file are not neighbours in place; sort it first"
                if dim.role == "longitude" and known.wraps:
                    ends = (
                        "add or subtract 360 from there on, so that it rises or falls all the way"
                    )
            found.append(f"{name} {fault}: {ends}.")
        if known.gaps:
            shown = "; ".join(
                f"{gap.missing} between {gap.after} and {gap.before}" for gap in known.gaps[:3]
            )
            more = "; ..." if len(known.gaps) > 3 else ""
            verb = "is" if known.missing == 1 else "are"
            found.append(
                f"{name} would be regular ({known.spacing}), but {known.missing} of "
                f"{known.n + known.missing} positions {verb} missing: {shown}{more}. Derivatives across "
                "them use the steps as they are."
            )
        if dim.around:
            found.append(
                f"{name} goes around the globe: --boundary {dim.name}=periodic closes it, with the period "
                "360."
            )
        if dim.closed:
            found.append(
                f"{name} goes around the globe and repeats its first meridian at the end, which a periodic "
                "boundary does not want."
            )
    roles = {dim.role for dim in dims if dim.positions is not None}
    if {"longitude", "latitude"} <= roles:
        found.append(
            "Derivatives by longitude and latitude are per degree; the metric of the sphere is not applied."
        )
    return found


def _of_two_dims(dataset: xr.Dataset) -> list[str]:
    """Coordinates that depend on two dims or more, from which no positions are taken."""
    wide = [
        (name, each)
        for name, each in dataset.coords.items()
        if each.ndim > 1 and role_of(name, each) != "other"
    ]
    groups: dict[tuple[Hashable, ...], list[str]] = {}
    for name, each in wide:
        groups.setdefault(each.dims, []).append(str(name))
    found = []
    for dims, names in groups.items():
        along = " and ".join(map(str, dims))
        verb = "is" if len(names) == 1 else "are"
        found.append(
            f"{' and '.join(names)} {verb} {'two' if len(dims) == 2 else len(dims)}-dimensional "
            f"({', '.join(map(str, dims))}), and positions must be 1-D: derivatives are along {along}, "
            "with 1-D coordinates or --spacing."
        )
    return found


def count(variable: xr.Variable, most: int = 32_000_000) -> Counts:
    """The missing values of a variable, and its range, read in pieces of no more than so many bytes."""
    missing = infinite = 0
    low, high = np.inf, -np.inf
    for part in _pieces(variable, most):
        values = np.asarray(part.values)
        if values.dtype.kind in "mM":
            missing += int(np.isnat(values).sum())
            continue
        values = np.abs(values) if values.dtype.kind == "c" else values
        finite = values if values.dtype.kind in "iub" else values[np.isfinite(values)]
        nans = 0 if values.dtype.kind in "iub" else int(np.isnan(values).sum())
        missing += nans
        infinite += values.size - finite.size - nans
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    some = low <= high
    return Counts(missing, infinite, low if some else None, high if some else None)


def _pieces(variable: xr.Variable, most: int) -> Iterable[xr.Variable]:
    """A variable in parts, cut along its first dims."""
    if variable.nbytes <= most or not variable.ndim:
        yield variable
        return
    k = next(k for k, n in enumerate(variable.shape) if n > 1)
    n, dim = variable.shape[k], variable.dims[k]
    rows = max(1, most * n // variable.nbytes)
    for start in range(0, n, rows):
        yield from _pieces(variable.isel({dim: slice(start, start + rows)}), most)
