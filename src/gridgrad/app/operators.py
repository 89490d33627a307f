"""What the commands compute: the variables of a file, lazily, through the accessors of xarray."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import gridgrad.xarray  # noqa: F401  # importing it gives arrays and datasets the .gridgrad called below
from gridgrad.app import words
from gridgrad.app.files import open_source
from gridgrad.app.files.choice import listing, numeric
from gridgrad.app.options import FLOATS
from gridgrad.app.source import FileProblem, Source, shown
from gridgrad.arrays.stored import Stored
from gridgrad.errors import GridError
from gridgrad.labelled.names import find


@dataclass(frozen=True)
class Request:
    """What the user asked for: a command, and those of its options that tell what the results are."""

    command: str
    source: str
    var: tuple[str, ...] = ()
    dim: tuple[str, ...] = ()
    order: int = 1
    accuracy: int = 2
    edge_order: int | None = None
    side: str = "center"
    boundary: tuple[str, ...] = ()
    period: tuple[str, ...] = ()
    spacing: tuple[str, ...] = ()
    time_unit: str | None = None
    coordinate: str | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype not in FLOATS:
            raise GridError(f"--dtype must be one of {', '.join(FLOATS)}, but is {self.dtype!r}.")


@dataclass
class Results:
    """The results as a Dataset of stored arrays, and what they came from."""

    dataset: xr.Dataset
    source: Source
    fields: dict[Any, xr.DataArray]
    """For each variable that was differentiated, its samples."""
    inputs: list[Path] = field(default_factory=list)
    """The files that were read."""

    def placed(self, array: xr.DataArray, request: Request) -> xr.DataArray:
        """With the positions that --spacing gave, as coordinates of dims that have none."""
        dims = words.dims_of(request.dim, array) or list(array.dims)
        given = words.by_dim(
            request.spacing,
            "--spacing",
            lambda text: words.spacing(text, self.source.dataset, [], request.source),
            dims,
        )
        if given is None:
            return array
        steps = given if isinstance(given, dict) else dict.fromkeys(dims, given)
        coords = {}
        for dim, step in steps.items():
            if dim in array.dims and dim not in array.coords:
                n = array.sizes[dim]
                coords[dim] = step if np.ndim(step) else step * np.arange(n)
        return array.assign_coords(coords)


class Samples:
    """Reads a variable of a file, in this process or in another one that the same path leads to."""

    def __init__(self, request: Request, name: Any, variable: xr.Variable) -> None:
        self.request, self.name, self.dims = request, name, variable.dims
        self.dtype = _widened(variable.dtype, request.dtype)
        self._variable: xr.Variable | None = variable

    def __call__(self, key: tuple[slice, ...]) -> Any:
        if self._variable is None:
            self._variable = _opened(self.request).dataset.variables[self.name]
        found = self._variable.transpose(*self.dims)[key].values
        return found.astype(self.dtype, copy=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_variable": None}


def _opened(request: Request) -> Source:
    return open_source(request.source, coordinate=request.coordinate, var=request.var or None)


def compute(request: Request) -> Results:
    """The results of a request; nothing but coordinates is read yet."""
    source = _opened(request)
    dataset, inputs = source.dataset, [] if source.path is None else [source.path]
    chosen = [name for name, each in dataset.data_vars.items() if numeric(each) and each.ndim]
    fields = {name: _stored(request, dataset[name]) for name in chosen}
    if request.command in ("divergence", "curl"):
        result = _vector(request, source, fields, inputs)
        return Results(_mapped(result, dataset), source, fields, inputs)
    found: dict[Any, xr.DataArray] = {}
    used: dict[Any, xr.DataArray] = {}
    for name, array in fields.items():
        if len(fields) > 1 and not request.var and not _has(array, request.dim):
            continue  # a variable of other dims
        dims = words.dims_of(request.dim, array) or list(array.dims)
        _no_2d(array, request)
        found |= _of_one(request, source, array, dims, inputs)
        used[name] = array
    if not found:
        raise FileProblem(
            f"--dim must name dims of a variable in {shown(request.source)}, but no variable has "
            f"{', '.join(map(repr, request.dim))}; there are: {listing(chosen, dataset)}, with the dims "
            f"{', '.join(map(str, dataset.sizes))}."
        )
    result = _mapped(xr.Dataset(found, attrs=dataset.attrs), dataset)
    return Results(result, source, used, inputs)


def _mapped(result: xr.Dataset, dataset: xr.Dataset) -> xr.Dataset:
    """With the variables that describe the map projections which results name, as CF has it."""
    names = {
        where.get("grid_mapping")
        for each in result.data_vars.values()
        for where in (each.encoding, each.attrs)
    }
    return result.assign_coords(
        {name: dataset[name].variable for name in names if name in dataset.data_vars}
    )


def _of_one(
    request: Request, source: Source, array: xr.DataArray, dims: list[Any], inputs: list[Path]
) -> dict[Any, xr.DataArray]:
    options = _options(request, source, array, dims, inputs)
    tools: Any = array.gridgrad
    if request.command == "laplacian":
        result = tools.laplacian(dims, **options)
        return {result.name: result}
    options["side"] = request.side
    if request.command == "gradient":
        return dict(tools.gradient(dims, **options).data_vars)
    if len(dims) != 1:
        raise GridError(
            f"derivative is along one dim; name it with --dim, one of {', '.join(map(str, array.dims))}."
        )
    result = tools.derivative(dims[0], order=request.order, **options)
    return {result.name: result}


def _vector(
    request: Request, source: Source, fields: dict[Any, xr.DataArray], inputs: list[Path]
) -> xr.Dataset:
    """The divergence or the curl of the variables, each along its dim."""
    dataset = source.dataset
    if len(request.var) < 2 or len(request.var) != len(request.dim):
        raise GridError(
            f"{request.command} needs --var with two or more components, and --dim with the dim that each "
            f"points along, as in --var u,v --dim x,y; there are: {listing(dataset.data_vars, dataset)}."
        )
    names = list(fields)
    first = fields[names[0]]
    for name in names[1:]:
        if set(fields[name].dims) != set(first.dims):
            raise GridError(
                f"all components must have the same dims, but {names[0]!r} has {first.dims} and {name!r} has "
                f"{fields[name].dims}."
            )
        if fields[name].dims != first.dims:
            fields[name] = _stored(request, dataset[name].transpose(*first.dims))
    dims = words.dims_of(request.dim, first)
    options = _options(request, source, first, dims, inputs)
    tools: Any = xr.Dataset(fields, attrs=dataset.attrs).gridgrad
    result = getattr(tools, request.command)(dict(zip(names, dims, strict=True)), **options)
    if isinstance(result, xr.DataArray):
        result = result.to_dataset()
    return xr.Dataset(result.data_vars, result.coords, dataset.attrs)


def _options(
    request: Request, source: Source, array: xr.DataArray, dims: Sequence[Any], inputs: list[Path]
) -> dict[str, Any]:
    dataset = source.dataset
    given = words.by_dim(
        request.spacing,
        "--spacing",
        lambda text: words.spacing(text, dataset, inputs, request.source),
        dims,
    )
    if source.counts_samples:
        steps = given if isinstance(given, dict) else {}
        for dim in dims:
            if dim in array.dims and dim not in array.coords:
                steps.setdefault(dim, 1 if given is None or isinstance(given, dict) else given)
        given = steps or given
    given_for = given if isinstance(given, dict) else {}
    for dim in dims:
        is_given = given is not None and (dim in given_for or not given_for)
        if dim in array.dims and dim not in array.coords and not is_given:
            raise GridError(
                f"dim {dim!r} of {array.name!r} has no coordinate to take positions from; give its step "
                f"with --spacing {dim}=STEP (1 counts samples), or choose others with --dim."
            )
    boundary = words.by_dim(request.boundary, "--boundary", words.boundary, dims)
    return {
        "accuracy": request.accuracy,
        "edge_order": request.edge_order,
        "boundary": "one-sided" if boundary is None else boundary,
        "period": words.by_dim(request.period, "--period", words.number("--period"), dims),
        "spacing": given,
        "time_unit": request.time_unit,
    }


def _stored(request: Request, array: xr.DataArray) -> xr.DataArray:
    """The same array, whose samples are read when a result is."""
    variable = array.variable
    if variable.dtype.kind not in "iufc":
        return array.copy(deep=False, data=variable.values)  # times, which the accessor reads
    samples = Samples(request, array.name, variable)
    return array.copy(deep=False, data=Stored(variable.shape, samples.dtype, samples))


def _widened(dtype: np.dtype[Any], wanted: str | None) -> np.dtype[Any]:
    """The dtype to compute in: the wanted one, if it is wider than that of the samples."""
    if wanted is not None and dtype.kind in "fc" and np.promote_types(dtype, wanted) == wanted:
        return np.dtype(wanted)
    return dtype


def _has(array: xr.DataArray, dims: Sequence[str]) -> bool:
    """Whether an array lies along all of these dims."""
    try:
        for dim in words.dims_of(dims, array):
            find(array, dim)
    except GridError:
        return False
    return True


def _no_2d(array: xr.DataArray, request: Request) -> None:
    for word in request.dim:
        if word in array.coords and array.coords[word].ndim > 1:
            raise GridError(
                f"--dim must name a dim or a 1-D coordinate, but {word!r} has the dims "
                f"{', '.join(map(str, array.coords[word].dims))}."
            )
