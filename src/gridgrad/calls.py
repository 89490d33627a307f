"""What every operator's call has in common: its arguments in, a plan run, its results out."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

from gridgrad.arrays.dispatch import library_of
from gridgrad.axis import (
    Axis,
    resolve,
    resolve_accuracy,
    resolve_dims,
    resolve_edge_order,
    resolve_side,
)
from gridgrad.errors import GridError, GridTypeError
from gridgrad.plan import Plan
from gridgrad.stencil import Stencil, build, scaled


class Call:
    """The inputs of one call, and the axes along which they are differentiated."""

    def __init__(
        self,
        inputs: Sequence[Any],
        names: Sequence[str],
        *,
        dim: Any,
        axis: Any = None,
        spacing: Any = 1,
        accuracy: Any = 2,
        edge_order: Any = None,
        boundary: Any = "one-sided",
        period: Any = None,
        side: Any = "center",
        edges: int | None = None,
    ) -> None:
        """`edges` is the order at the edges where none is given; the accuracy, if that is None."""
        x = inputs[0]
        self.inputs, self.spacing = tuple(inputs), spacing
        self.library = library_of(x, names[0])
        for other, name in zip(inputs[1:], names[1:], strict=True):
            if library_of(other, name) is not self.library and not self.library.owns(other):
                raise GridTypeError(
                    f"{name} must be an array of the same library as {names[0]}, {self.library.name}, "
                    f"but is {type(other).__module__}.{type(other).__name__}."
                )
            if tuple(other.shape) != tuple(x.shape):
                raise GridError(
                    f"{name} must have the shape of {names[0]}, {tuple(x.shape)}, "
                    f"but has {tuple(other.shape)}."
                )
            self.library.check_alike(other, x, name)
        self.kinds = [
            self.library.kind(each, name) for each, name in zip(inputs, names, strict=True)
        ]
        self.dims = resolve_dims(dim, axis, x.ndim)
        self.accuracy, self.side = resolve_accuracy(accuracy), resolve_side(side)
        self.edge_order = resolve_edge_order(edge_order, self.accuracy if edges is None else edges)
        self.axes: list[Axis] = resolve(x, self.library, self.dims, spacing, boundary, period)

    def stencil(self, k: int, order: int = 1, factor: float = 1.0) -> Stencil:
        """The stencil of so many times the derivative of that order along the k-th axis."""
        found = build(self.axes[k], order, self.accuracy, self.edge_order, self.side)
        return scaled(found, factor) if factor != 1 else found

    def types(self, plan: Plan) -> tuple[list[Any], list[Any]]:
        """The dtypes of a plan's results, and those in which they are computed."""
        library, axis_of = self.library, {each.dim: each.spacing for each in self.axes}
        results, computes = [], []
        for output in range(plan.outputs):
            paths = plan.paths(output)
            dtypes = [
                library.result_dtype(
                    self.inputs[path[0].input],
                    axis_of[term.dim].dtype,
                    axis_of[term.dim].is_complex,
                )
                for path in paths
                for term in path
            ]
            result = reduce(library.promote, dtypes) if len(dtypes) > 1 else dtypes[0]
            wide = any(
                self.kinds[path[0].input] == "integer"
                or not all(term.stencil.fits_single for term in path)
                for path in paths
            )
            results.append(result)
            computes.append(library.compute_dtype(result, self.inputs[0], wide))
        return results, computes

    def check_out(self, out: Any, results: Sequence[Any]) -> tuple[Any, ...]:
        """`out` as an array for each result."""
        given = self.spacing if isinstance(self.spacing, (list, tuple)) else [self.spacing]
        read = [*self.inputs, *(entry for entry in given if self.library.owns(entry))]
        return self.library.check_out(out, self.inputs[0].shape, results, read)

    def run(self, plan: Plan, out: Any = None) -> tuple[Any, ...]:
        """The results of a plan, in `out` if that is given."""
        results, computes = self.types(plan)
        if out is not None:
            out = self.check_out(out, results)
        return self.library.run(plan, self.inputs, results, computes, out)
