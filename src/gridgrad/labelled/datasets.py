"""The accessor `.gridgrad` of a Dataset."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import xarray as xr

from gridgrad import vectors
from gridgrad.errors import GridError, GridTypeError
from gridgrad.labelled.arrays import ArrayAccessor
from gridgrad.labelled.attributes import derivative_name, derivative_title
from gridgrad.labelled.coordinates import resolve
from gridgrad.labelled.fields import Fields
from gridgrad.labelled.names import by_dim, find, find_all, listed


class DatasetAccessor:
    """Derivatives of the variables of a Dataset along its coordinates.

    Dims, options, results and errors are those of a DataArray's `.gridgrad`. A vector field is named by its
    components, each with the dim that it points along: `divergence(u="x", v="y")`, or
    `divergence({"u": "x", "v": "y"})`, which takes any names. Every component has all of these dims;
    along others they are broadcast.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def derivative(
        self,
        dim: Hashable,
        *,
        order: int = 1,
        accuracy: int = 2,
        edge_order: int | None = None,
        boundary: Any = "one-sided",
        period: Any = None,
        side: str = "center",
        spacing: Any = None,
        time_unit: str | None = None,
    ) -> xr.Dataset:
        """The derivative of every variable that has the dim; the others stay.

        Variables keep their names, as in xarray's `Dataset.differentiate`.

        >>> import xarray as xr, gridgrad.xarray
        >>> ds = xr.Dataset({"T": ("x", [0.0, 1.0, 4.0]), "mask": 7}, coords={"x": [0, 1, 2]})
        >>> found = ds.gridgrad.derivative("x")
        >>> found["T"].values, int(found.mask)
        (array([0., 2., 4.]), 7)
        """
        dataset, along = self._dataset, find(self._dataset, dim)
        found = {}
        for name, array in dataset.data_vars.items():
            if along.dim in array.dims:
                # By its full name: a variable does not carry every coordinate's CF role.
                slope = ArrayAccessor(array).derivative(
                    along.name, order=order, accuracy=accuracy, edge_order=edge_order,
                    boundary=boundary, period=period, side=side, spacing=spacing, time_unit=time_unit,
                )  # fmt: skip
                found[name] = slope.variable
        return dataset.assign(found)

    def gradient(
        self,
        dims: Hashable | Iterable[Hashable] = None,
        *,
        accuracy: int = 2,
        edge_order: int | None = None,
        boundary: Any = "one-sided",
        period: Any = None,
        side: str = "center",
        spacing: Any = None,
        time_unit: str | None = None,
    ) -> xr.Dataset:
        """The derivatives of every variable along those of the dims that it has; the others stay.

        Variables without any of the dims stay; each of the others gives way to its derivatives.

        >>> import numpy as np, xarray as xr, gridgrad.xarray
        >>> ds = xr.Dataset({"T": (("y", "x"), np.ones((2, 3))), "p": ("x", [1, 2, 4])})
        >>> list(ds.gridgrad.gradient(["x", "y"], spacing=1))
        ['dT_dx', 'dT_dy', 'dp_dx']
        """
        options = {"boundary": boundary, "period": period, "spacing": spacing}
        return self._replaced(
            dims, options,
            lambda array, names, mine: array.gradient(
                names, accuracy=accuracy, edge_order=edge_order, side=side, time_unit=time_unit, **mine
            ),
        )  # fmt: skip

    def laplacian(
        self,
        dims: Hashable | Iterable[Hashable] = None,
        *,
        accuracy: int = 2,
        edge_order: int | None = None,
        boundary: Any = "one-sided",
        period: Any = None,
        spacing: Any = None,
        time_unit: str | None = None,
    ) -> xr.Dataset:
        """The laplacian of every variable, along those of the dims that it has (all, if left out).

        Variables without any of the dims stay; each of the others gives way to its laplacian.

        >>> import numpy as np, xarray as xr, gridgrad.xarray
        >>> ds = xr.Dataset({"T": (("y", "x"), np.ones((4, 4))), "p": ("x", [0, 1, 4, 9])})
        >>> found = ds.gridgrad.laplacian(["x", "y"], spacing=1)
        >>> list(found), found.laplacian_of_p.values
        (['laplacian_of_T', 'laplacian_of_p'], array([2., 2., 2., 2.]))
        """
        options = {"boundary": boundary, "period": period, "spacing": spacing}
        return self._replaced(
            dims, options,
            lambda array, names, mine: array.laplacian(
                names, accuracy=accuracy, edge_order=edge_order, time_unit=time_unit, **mine
            ).to_dataset(),
        )  # fmt: skip

    def hessian(
        self,
        dims: Hashable | Iterable[Hashable] = None,
        *,
        accuracy: int = 2,
        edge_order: int | None = None,
        boundary: Any = "one-sided",
        period: Any = None,
        spacing: Any = None,
        time_unit: str | None = None,
    ) -> xr.Dataset:
        """All second derivatives of every variable along those of the dims that it has, each once.

        Variables without any of the dims stay; each of the others gives way to its derivatives.

        >>> import numpy as np, xarray as xr, gridgrad.xarray
        >>> ds = xr.Dataset({"T": (("y", "x"), np.ones((4, 4)))})
        >>> list(ds.gridgrad.hessian(["x", "y"], spacing=1))
        ['d2T_dx2', 'd2T_dxdy', 'd2T_dy2']
        """
        options = {"boundary": boundary, "period": period, "spacing": spacing}
        return self._replaced(
            dims, options,
            lambda array, names, mine: array.hessian(
                names, accuracy=accuracy, edge_order=edge_order, time_unit=time_unit, **mine
            ),
        )  # fmt: skip

    def _replaced(
        self,
        dims: Any,
        options: Mapping[str, Any],
        operator: Callable[[ArrayAccessor, list[Hashable], dict[str, Any]], xr.Dataset],
    ) -> xr.Dataset:
        """The Dataset with each variable in the place of which an operator's results come.

        The operator takes a variable, those of the dims that it has, and what of the options concerns these.
        """
        dataset = self._dataset
        wanted = find_all(dataset, list(dataset.sizes) if dims is None else dims)
        options = {
            argument: by_dim(dataset, given, argument) if isinstance(given, Mapping) else given
            for argument, given in options.items()
        }
        found: dict[Hashable, xr.Variable] = {}
        replaced = []
        for name, array in dataset.data_vars.items():
            mine = [each.name for each in wanted if each.dim in array.dims]
            if mine:
                replaced.append(name)
                of_array = {key: _of_dims(given, array) for key, given in options.items()}
                made = operator(ArrayAccessor(array), mine, of_array)
                found.update({key: each.variable for key, each in made.data_vars.items()})
        return dataset.drop_vars(replaced).assign(found)

    def divergence(
        self,
        components: Mapping[Hashable, Hashable] | None = None,
        *,
        accuracy: int = 2,
        edge_order: int | None = None,
        boundary: Any = "one-sided",
        period: Any = None,
        spacing: Any = None,
        time_unit: str | None = None,
        **named: Hashable,
    ) -> xr.DataArray:
        """The divergence of a vector field, du/dx + dv/dy + ..., each term in one unit.

        On coordinates in degrees it is that of a plane: no metric of a sphere is applied.

        >>> import xarray as xr, gridgrad.xarray
        >>> ds = xr.Dataset(coords={"x": [0.0, 1.0, 2.0], "y": [0.0, 1.0, 2.0]})
        >>> ds["u"], ds["v"] = ds.x + 0 * ds.y, 0 * ds.x + ds.y  # everything moves away
        >>> float(ds.gridgrad.divergence(u="x", v="y").mean())
        2.0
        """
        fields = self._fields(
            components,
            named,
            spacing=spacing,
            boundary=boundary,
            period=period,
            time_unit=time_unit,
        )
        described = fields.describe(
            f"divergence of {_titles(fields)}",
            [(k, [each]) for k, each in enumerate(fields.grid.along)],
            "a divergence",
        )
        found = fields.run(
            vectors.divergence, fields.values, accuracy=accuracy, edge_order=edge_order
        )
        return fields.result(found, "divergence", described)

    def curl(
        self,
        components: Mapping[Hashable, Hashable] | None = None,
        *,
        accuracy: int = 2,
        edge_order: int | None = None,
        boundary: Any = "one-sided",
        period: Any = None,
        spacing: Any = None,
        time_unit: str | None = None,
        **named: Hashable,
    ) -> Any:
        """The curl of a vector field: dv/dx - du/dy as a DataArray, or three components as a Dataset.

        On coordinates in degrees it is that of a plane: no metric of a sphere is applied.

        >>> import xarray as xr, gridgrad.xarray
        >>> ds = xr.Dataset(coords={"x": [0.0, 1.0, 2.0], "y": [0.0, 1.0, 2.0]})
        >>> ds["u"], ds["v"] = 0 * ds.x - ds.y, ds.x + 0 * ds.y  # a solid body turns
        >>> float(ds.gridgrad.curl(u="x", v="y").mean())
        2.0
        """
        fields = self._fields(
            components,
            named,
            spacing=spacing,
            boundary=boundary,
            period=period,
            time_unit=time_unit,
        )
        along, titles = fields.grid.along, _titles(fields)
        if len(along) == 2:
            both = fields.describe(
                f"curl of {titles}", [(1, [along[0]]), (0, [along[1]])], "a curl"
            )
            described = {"curl": both}
        else:
            described = {}
            for k, each in enumerate(along):
                i, j = (k + 1) % len(along), (k + 2) % len(along)
                described[f"curl_{each.name}"] = fields.describe(
                    f"component along {each.title} of the curl of {titles}",
                    [(j, [along[i]]), (i, [along[j]])],
                    "a curl",
                )
        found = fields.run(vectors.curl, fields.values, accuracy=accuracy, edge_order=edge_order)
        if len(along) == 2:
            return fields.result(found, "curl", described["curl"])
        return fields.results(found, described, self._dataset.attrs)

    def jacobian(
        self,
        components: Iterable[Hashable],
        dims: Hashable | Iterable[Hashable],
        *,
        accuracy: int = 2,
        edge_order: int | None = None,
        boundary: Any = "one-sided",
        period: Any = None,
        spacing: Any = None,
        time_unit: str | None = None,
    ) -> xr.Dataset:
        """The derivatives of every one of the variables along every one of the dims, in one sweep.

        >>> import numpy as np, xarray as xr, gridgrad.xarray
        >>> ds = xr.Dataset({"u": (("x", "y"), np.ones((3, 3))), "v": (("x", "y"), np.ones((3, 3)))})
        >>> list(ds.gridgrad.jacobian(["u", "v"], ["x", "y"], spacing=1))
        ['du_dx', 'du_dy', 'dv_dx', 'dv_dy']
        """
        arrays = self._variables([components] if isinstance(components, str) else list(components))
        grid = resolve(
            self._dataset, dims, spacing=spacing, boundary=boundary, period=period,
            time_unit=time_unit,
        )  # fmt: skip
        fields = Fields(arrays, grid)
        described = {
            derivative_name(array.name, [each.name]): fields.describe(
                derivative_title(fields.title(k), [each.title], 1), [(k, [each])], "a jacobian"
            )
            for k, array in enumerate(fields.arrays)
            for each in grid.along
        }
        found = fields.run(
            vectors.jacobian, fields.values, accuracy=accuracy, edge_order=edge_order
        )
        return fields.results(
            [each for row in found for each in row], described, self._dataset.attrs
        )

    def _fields(self, components: Any, named: Mapping[str, Hashable], **options: Any) -> Fields:
        """The components of a vector field, with the dims that they point along."""
        if components is not None and not isinstance(components, Mapping):
            raise GridTypeError(
                "components must be a mapping from variables to dims, such as {'u': 'x', 'v': 'y'}, "
                f"but is {type(components).__name__}."
            )
        given = {**(components or {}), **named}
        if len(given) < 2:
            raise GridError(
                "a vector field needs two or more components, each with the dim that it points along, "
                f"such as u='x', v='y', but has {listed(given)}; {self._there_are()}."
            )
        arrays = self._variables(list(given))
        return Fields(arrays, resolve(self._dataset, list(given.values()), **options))

    def _variables(self, names: list[Hashable]) -> list[xr.DataArray]:
        for name in names:
            if name not in self._dataset.variables:
                raise GridError(f"there is no variable {name!r}: {self._there_are()}.")
        return [self._dataset[name] for name in names]

    def _there_are(self) -> str:
        dataset = self._dataset
        return (
            f"the Dataset has the variables {listed(dataset.data_vars)} and the dims "
            f"{listed(dataset.sizes)}"
        )


def _of_dims(given: Any, array: xr.DataArray) -> Any:
    """Of a mapping from dims, what concerns the dims that an array has."""
    if not isinstance(given, dict):
        return given
    return {dim: value for dim, value in given.items() if dim in array.dims}


def _titles(fields: Fields) -> str:
    titles = [fields.title(k) for k in range(len(fields.arrays))]
    return f"{', '.join(titles[:-1])} and {titles[-1]}"
