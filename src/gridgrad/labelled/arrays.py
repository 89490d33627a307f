"""The accessor `.gridgrad` of a DataArray."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import xarray as xr

from gridgrad import operators, vectors
from gridgrad.axis import resolve_order
from gridgrad.errors import GridError, GridTypeError
from gridgrad.labelled.attributes import derivative_name, derivative_title
from gridgrad.labelled.coordinates import resolve
from gridgrad.labelled.fields import Fields
from gridgrad.labelled.names import by_dim, listed


class ArrayAccessor:
    """Derivatives of a DataArray along its coordinates.

    Dims are named by a dim, by a 1-D coordinate along it, or, with the package cf-xarray, by a CF role
    ("X", "latitude"). Positions come from the coordinates: numbers, or times (datetime64, timedelta64,
    cftime), whose differences are exact. What all methods take:

    accuracy, edge_order, boundary, period
        As in `gridgrad.derivative`. `boundary` and `period` are one value, a sequence with an entry for
        each dim, or a mapping from dims. The period of a periodic longitude in degrees is 360.
    spacing : optional
        Steps, or positions, for dims that have no coordinate: a value, a sequence, or a mapping from dims.
    time_unit : optional
        What derivatives by a time are per: "s" (if left out), "min", "h", "D", or another unit of NumPy's.

    Results keep coordinates, library and laziness of the input, its floating dtype (coordinates do not widen
    it), and those of its attributes and encodings that are true of a derivative. `units` are worked out
    where both units are known: K and m give "K m-1". With quantities of pint, units are pint's.
    Raises `GridError` for names that do not exist, coordinates that are missing, not 1-D, not finite or not
    distinct, spacing given twice, and as gridgrad's functions do.
    """

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

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
    ) -> xr.DataArray:
        """The derivative of an order along one dim: `gridgrad.derivative` by the dim's coordinate.

        >>> import xarray as xr, gridgrad.xarray
        >>> x = xr.DataArray([0.0, 1.0, 2.0, 3.0], dims="x", attrs={"units": "m"})
        >>> t = xr.DataArray([0.0, 1, 4, 9], coords={"x": x}, name="T", attrs={"units": "degC"})
        >>> slope = t.gridgrad.derivative("x")
        >>> slope.values, slope.name, slope.units, slope.long_name
        (array([0., 2., 4., 6.]), 'dT_dx', 'K m-1', 'derivative of T with respect to x')
        """
        array = self._array
        grid = resolve(
            array, [dim], spacing=spacing, boundary=boundary, period=period, time_unit=time_unit
        )
        fields, along = Fields([array], grid), grid.along * resolve_order(order)
        described = fields.describe(
            derivative_title(fields.title(0), [along[0].title], len(along)),
            [(0, along)],
            "a derivative",
        )
        options: dict[str, Any] = {"accuracy": accuracy, "edge_order": edge_order, "side": side}
        if len(along) == 1:
            # The same stencils, where small arrays take a shorter way.
            options["edge_order"] = accuracy if edge_order is None else edge_order
            (found,) = fields.run(operators.gradient, fields.values[0], **options)
        else:
            found = fields.run(_along_one, fields.values[0], order=order, **options)
        name = derivative_name(array.name, [each.name for each in along])
        return fields.result(found, name, described)

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
        """The derivatives along several dims (all, if left out): `gridgrad.gradient`, as a Dataset.

        `edge_order` is 1 if left out, as in `gridgrad.gradient` and in xarray's `differentiate`.

        >>> import numpy as np, xarray as xr, gridgrad.xarray
        >>> t = xr.DataArray(np.ones((2, 3)), coords=[("y", [0, 1]), ("x", [0, 1, 3])], name="T")
        >>> list(t.gridgrad.gradient(["x", "y"]))
        ['dT_dx', 'dT_dy']
        """
        array = self._array
        grid = resolve(
            array, dims, spacing=spacing, boundary=boundary, period=period, time_unit=time_unit
        )
        fields = Fields([array], grid)
        described = {
            derivative_name(array.name, [each.name]): fields.describe(
                derivative_title(fields.title(0), [each.title], 1), [(0, [each])], "a gradient"
            )
            for each in grid.along
        }
        found = fields.run(
            operators.gradient,
            fields.values[0],
            accuracy=accuracy,
            edge_order=edge_order,
            side=side,
        )
        return fields.results(found, described)

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
    ) -> xr.DataArray:
        """The sum of the second derivatives along the dims (all, if left out), whose units must be one.

        >>> import xarray as xr, gridgrad.xarray
        >>> x = xr.DataArray([0.0, 1.0, 2.0, 3.0], dims="x")
        >>> (x**2).gridgrad.laplacian(spacing=1).values
        array([2., 2., 2., 2.])
        """
        array = self._array
        grid = resolve(
            array, dims, spacing=spacing, boundary=boundary, period=period, time_unit=time_unit
        )
        fields = Fields([array], grid)
        described = fields.describe(
            _of("laplacian", fields.title(0), " of "),
            [(0, [each, each]) for each in grid.along],
            "a laplacian",
        )
        found = fields.run(
            vectors.laplacian, fields.values[0], accuracy=accuracy, edge_order=edge_order
        )
        return fields.result(found, _of("laplacian", array.name), described)

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
        """All second derivatives along the dims (all, if left out), each once, as a Dataset.

        >>> import numpy as np, xarray as xr, gridgrad.xarray
        >>> xy = [("x", [0, 1, 2, 3]), ("y", [0, 1, 3, 4])]
        >>> t = xr.DataArray(np.ones((4, 4)), coords=xy, name="T")
        >>> list(t.gridgrad.hessian())
        ['d2T_dx2', 'd2T_dxdy', 'd2T_dy2']
        """
        array = self._array
        grid = resolve(
            array, dims, spacing=spacing, boundary=boundary, period=period, time_unit=time_unit
        )
        fields, along = Fields([array], grid), grid.along
        pairs = [(i, j) for i in range(len(along)) for j in range(i, len(along))]
        described = {}
        for i, j in pairs:
            by = [along[i], along[j]]
            titles = list(dict.fromkeys(each.title for each in by))
            described[derivative_name(array.name, [each.name for each in by])] = fields.describe(
                derivative_title(fields.title(0), titles, 2), [(0, by)], "a second derivative"
            )
        found = fields.run(
            vectors.hessian, fields.values[0], accuracy=accuracy, edge_order=edge_order
        )
        return fields.results([found[i][j] for i, j in pairs], described)

    def directional_derivative(
        self,
        direction: Mapping[Hashable, float],
        *,
        accuracy: int = 2,
        edge_order: int | None = None,
        boundary: Any = "one-sided",
        period: Any = None,
        spacing: Any = None,
        time_unit: str | None = None,
    ) -> xr.DataArray:
        """The derivative along a constant vector, given as a mapping from dims to its components.

        The direction is not normalised and has no unit; the coordinates must have one unit.

        >>> import xarray as xr, gridgrad.xarray
        >>> grid = xr.Dataset(coords={"x": [0.0, 1.0, 2.0], "y": [0.0, 1.0, 2.0]})
        >>> t = grid.x + 2 * grid.y
        >>> float(t.gridgrad.directional_derivative({"x": 3, "y": -1}).mean())
        1.0
        """
        array = self._array
        if not isinstance(direction, Mapping):
            raise GridTypeError(
                "direction must be a mapping from dims to numbers, such as {'x': 1, 'y': 2}, "
                f"but is {type(direction).__name__}."
            )
        by_dim(array, direction, "direction")  # each dim once
        grid = resolve(
            array, list(direction), spacing=spacing, boundary=boundary, period=period,
            time_unit=time_unit,
        )  # fmt: skip
        fields = Fields([array], grid)
        described = fields.describe(
            _of("directional derivative", fields.title(0), " of "),
            [(0, [each]) for each in grid.along],
            "a directional derivative",
        )
        found = fields.run(
            vectors.directional_derivative, fields.values[0], tuple(direction.values()),
            accuracy=accuracy, edge_order=edge_order,
        )  # fmt: skip
        return fields.result(found, _of("directional_derivative", array.name), described)

    # Of several fields: a Dataset has them.

    def _needs_a_dataset(self, *_: Any, **__: Any) -> Any:
        raise GridError(
            "divergence, curl and jacobian are of several fields; put them into a Dataset, and call its "
            f".gridgrad. This is one DataArray, with the dims {listed(self._array.dims)}."
        )

    divergence = curl = jacobian = _needs_a_dataset


def _along_one(values: Any, *, dim: tuple[int, ...], spacing: Any, **options: Any) -> Any:
    return operators.derivative(values, dim=dim[0], spacing=spacing, **options)


def _of(what: str, name: Any, between: str = "_of_") -> str:
    return what if name in (None, "") else f"{what}{between}{name}"
