"""Samples in and results out: what the operators on labelled arrays have in common."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from gridgrad.errors import GridError, GridTypeError
from gridgrad.labelled import quantities, units
from gridgrad.labelled.attributes import common, inherited, kept_encoding, title
from gridgrad.labelled.coordinates import Along, Grid
from gridgrad.labelled.names import listed
from gridgrad.labelled.times import as_numpy_times, counts, is_time

# For each term of a result: the index of the field that is differentiated, and by what.
Terms = Sequence[tuple[int, list[Along]]]


class Described(NamedTuple):
    """What a result carries besides its values."""

    attrs: dict[Any, Any]
    encoding: dict[Any, Any]
    unit: Any


class Fields:
    """The arrays of one call with their units, and the call's dims by number.

    Several arrays have one order of dims, and the same labels.
    """

    def __init__(self, arrays: Sequence[xr.DataArray], grid: Grid) -> None:
        self.arrays, self.grid = list(arrays), grid
        first = arrays[0]
        for array in arrays:
            missing = [dim for dim in grid.dims if dim not in array.dims]
            if missing:
                raise GridError(
                    f"{_called(array)} has no dim {listed(missing)}; its dims are {listed(array.dims)}."
                )
        if any(array.dims != first.dims for array in arrays):
            first, *others = _alike(arrays)
            self.arrays = [first, *(each.transpose(*first.dims) for each in others)]
        self.dim = tuple(first.dims.index(dim) for dim in grid.dims)
        samples = [self._samples(array) for array in self.arrays]
        self.values = [values for values, _, _ in samples]
        self.units = [unit for _, unit, _ in samples]
        factors = {factor for _, _, factor in samples}
        if len(factors) > 1:
            raise GridError(
                "several fields of times must be in one unit of time; convert them first."
            )
        (self._factor,) = factors
        # That of pint's units, if there are any.
        self._registry = quantities.registry_of([*self.units, *(each.unit for each in grid.along)])

    def _samples(self, array: xr.DataArray) -> tuple[Any, Any, float]:
        """The samples as numbers, their unit, and what derivatives of them are to be multiplied by."""
        values, unit = quantities.split(array.data)
        if unit is None and (text := array.attrs.get("units")) is not None:
            unit = str(text)
        kind = getattr(values.dtype, "kind", "f")
        if kind not in "mMO":
            return values, unit, 1.0
        if not isinstance(values, np.ndarray) or not is_time(values):
            raise GridTypeError(
                f"{_called(array)} must hold numbers, or times in an array of NumPy, but holds "
                f"{values.dtype} in {type(values).__module__}.{type(values).__name__}."
            )
        time_unit = self.grid.time_unit
        numbers, factor = counts(as_numpy_times(values, _called(array)), time_unit, _called(array))
        return numbers, time_unit.text, factor

    def run(self, function: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        """A function of gridgrad on these dims."""
        grid = self.grid
        try:
            return function(
                *inputs, dim=self.dim, spacing=grid.spacing, boundary=grid.boundary,
                period=grid.period, **options,
            )  # fmt: skip
        except GridError as error:
            numbers = ", ".join(
                f"dim {number} is {dim!r}" for number, dim in zip(self.dim, grid.dims, strict=True)
            )
            error.add_note(
                f"Here {listed(each.name for each in self.arrays)} is given, and {numbers}."
            )
            raise

    def unit(self, terms: Terms, what: str) -> Any:
        """The unit that every term of a result has; None if one is not known."""
        found: list[Any] = []
        for k, by in terms:
            per = tuple((each.unit, by.count(each)) for each in dict.fromkeys(by))
            found.append(self._quotient(self.units[k], per))
        if self._registry is None:
            try:
                return units.same_unit(found)
            except ValueError as error:
                raise self._of_different_units(what, str(error)) from None
        for each in found:
            if each != found[0]:
                raise self._of_different_units(what, f"{str(found[0])!r} and {str(each)!r}")
        return found[0]

    def _quotient(self, unit: Any, per: tuple[tuple[Any, int], ...]) -> Any:
        if self._registry is not None:
            return quantities.quotient(self._registry, unit, per)
        if unit is None or any(each is None for each, _ in per):
            return None
        return units.quotient(unit, per)

    def _of_different_units(self, what: str, which: str) -> GridError:
        return GridError(
            f"the terms of {what} must have one unit, but are in {which}; convert the coordinates or the "
            "samples first, or drop their units."
        )

    def describe(self, long_name: str, terms: Terms, what: str) -> Described:
        """What a result of these terms is to carry; an error, before anything is computed, for a sum of
        terms in different units."""
        arrays = [self.arrays[k] for k in dict.fromkeys(k for k, _ in terms)]
        dims = [each.dim for _, by in terms for each in by]
        if len(arrays) == 1:
            attrs = inherited(arrays[0].attrs, dims)
        else:
            attrs = common([each.attrs for each in arrays], dims)
        unit = self.unit(terms, what)
        if unit is not None and self._registry is None:
            attrs["units"] = unit
        attrs["long_name"] = long_name
        return Described(attrs, kept_encoding(arrays[0].encoding), unit)

    def variable(self, values: Any, described: Described) -> xr.Variable:
        """A result, alone."""
        if self._factor != 1.0:
            values = values * self._factor
        if isinstance(values, np.ma.MaskedArray):
            values = values.filled(np.nan)
        if self._registry is not None:
            values = quantities.attach(values, described.unit)
        attrs, encoding, _ = described
        return xr.Variable(self.arrays[0].dims, values, attrs, encoding, fastpath=True)

    def result(self, values: Any, name: Hashable, described: Described) -> xr.DataArray:
        """A result with the coordinates of the first field."""
        first, variable = self.arrays[0], self.variable(values, described)
        if isinstance(first.variable, xr.IndexVariable):
            found = xr.DataArray(variable.data, coords=first.coords, dims=first.dims)
        else:
            found = first.copy(deep=False, data=variable.data)
        found.name, found.attrs, found.encoding = name, variable.attrs, variable.encoding
        return found

    def results(
        self, values: Iterable[Any], described: Mapping[str, Described], attrs: Any = None
    ) -> xr.Dataset:
        """Several results as a Dataset with the coordinates of the first field."""
        variables = {
            name: self.variable(each, how)
            for each, (name, how) in zip(values, described.items(), strict=True)
        }
        return xr.Dataset(variables, coords=self.arrays[0].coords, attrs=attrs)

    def title(self, k: int) -> str:
        return title(self.arrays[k].name, self.arrays[k].attrs)


def _alike(arrays: Sequence[xr.DataArray]) -> Sequence[xr.DataArray]:
    """Arrays with the same dims."""
    if len({frozenset(array.dims) for array in arrays}) == 1:
        return arrays
    return xr.broadcast(*arrays)


def _called(array: xr.DataArray) -> str:
    return "the DataArray" if array.name is None else f"variable {array.name!r}"
