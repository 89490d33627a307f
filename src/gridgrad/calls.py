"""What every operator's call has in common: its arguments in, a plan run, its results out."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from gridgrad.arrays.dispatch import library_of, library_of_all
from gridgrad.arrays.standard import Quick, Small, Standard
from gridgrad.axis import (
    Axis,
    resolve,
    resolve_accuracy,
    resolve_dims,
    resolve_edge_order,
    resolve_side,
)
from gridgrad.caching import constant, is_compiling
from gridgrad.discretization import build
from gridgrad.errors import GridError, GridTypeError
from gridgrad.plan import Plan
from gridgrad.positions import Positions
from gridgrad.stencil import Stencil, scaled


class Call:
    """The inputs of one call, and the axes along which they are differentiated."""

    def __init__(
        self,
        inputs: Sequence[Any],
        names: Sequence[str],
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
        self.library = library_of_all(inputs, names)
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

    def stencil(self, k: int, order: int = 1, factor: Any = 1.0) -> Stencil:
        """The stencil of so many times the derivative of that order along the k-th axis."""
        return scaled(build(self.axes[k], order, self.accuracy, self.edge_order, self.side), factor)

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

    @property
    def lasts(self) -> bool:
        """Whether all that was read off the spacing holds for later calls, and nothing is to be warned of."""
        spacings = [each.spacing for each in self.axes]
        return all(
            each.lasting for s in spacings for each in (s.positions, s.even) if each is not None
        )


class _Known(NamedTuple):
    """What a call's arguments mean, but for the values of its inputs."""

    plan: Plan
    results: list[Any]  # dtypes
    computes: list[Any]
    quick: Quick | None = None


class _Small(NamedTuple):
    """The shortest way to the results of one small array."""

    told: tuple[tuple[int, Any, Any], ...]
    """Numbers and sequences among the options: their places, themselves, and their types or those in them."""
    take: Small
    quick: Quick
    """Whose tables `take` reads by address: kept alive, as another thread's may replace it elsewhere."""


# What earlier calls worked out, by all that they were given but values; dropped when there are too many.
# A `_Known` has a key of `_key`; a `_Small` has one that costs less, and is asked the rest when it is found.
_known: dict[Any, Any] = {}
_MOST = 1024
# Arguments of these types are told apart by their values; with floats by type too, since 1 == 1.0.
_PLAIN: frozenset[type] = frozenset((int, str, type(None)))
_FLAT = _PLAIN | {float}
_SCALARS = tuple({np.dtype(code).type for code in "efdgbhilqBHILQ"})  # of NumPy, but no times


def answer(
    make: Callable[..., Plan], inputs: Sequence[Any], names: Sequence[str], options: tuple[Any, ...],
    out: Any, more: tuple[Any, ...],
) -> tuple[Any, ...]:  # fmt: skip
    """The results of the plan that `make(call, *more)` makes of a call, in `out` if that is given.

    `options` are what `Call` takes besides, in its order.
    """
    if out is None:
        if is_compiling():
            from gridgrad.arrays.traced import ahead, is_of_ranks, outside

            found = ahead(_order_of, make, inputs, names, options, more)
            if found is None and is_of_ranks(inputs):
                found = outside(answer, make, inputs, names, options, out, more)
        elif len(inputs) == 1:
            if type(options[2]) is list:  # by a tuple the next call can be told from others
                options = (*options[:2], tuple(options[2]), *options[3:])
            found = _small(make, inputs[0], (*options, *more) if more else options)
        else:
            found = None
        if found is not None:
            return found
    library = library_of_all(inputs, names)
    key = _key(make, library, inputs, options, out, more)
    known: _Known | None = None if key is None else _known.get(key)
    if known is not None and known.quick is not None:
        found = known.quick(inputs, out, () if out is None else _arrays(library, options))
        if found is not None:
            return found
    call = None
    if known is None:
        call, known = work_out(make, inputs, names, options, more)
    plan, results, computes, _ = known
    if out is not None:
        read = [*inputs, *_arrays(library, options)]
        out = library.check_out(out, tuple(inputs[0].shape), results, read)
    if not results:
        return ()
    if key is not None and call is not None and call.lasts:
        if len(_known) >= _MOST:
            _known.clear()
        quick = library.quick(plan, inputs, results, computes, out)
        _known[key] = known._replace(quick=quick)
        if out is None and quick is not None and quick.small is not None:
            _keep_small(make, inputs[0], (*options, *more), quick.small, quick)
    return library.run(plan, inputs, results, computes, out)


def work_out(
    make: Callable[..., Plan], inputs: Sequence[Any], names: Sequence[str], options: tuple[Any, ...],
    more: tuple[Any, ...],
) -> tuple[Call, _Known]:  # fmt: skip
    """A call, and what its arguments mean."""
    call = Call(inputs, names, *options)
    plan = make(call, *more)
    return call, _Known(plan, *call.types(plan))


@constant
def _order_of(*call: Any) -> str | None:
    """What PyTorch's operator is to be told of a call, which its compiler evaluates."""
    from gridgrad.arrays.traced import order_of

    return order_of(work_out, *call)


def _small(make: Any, x: Any, options: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The results of one small array by the shortest way, if an earlier call has found it."""
    try:
        found = _known.get((make, options, x.dtype, x.shape))
    except Exception:  # no array, or options that are no plain values: others say so
        return None
    if found is None:
        return None
    for place, value, kind in found.told:
        given = options[place]
        # 1 == 1.0 == True
        if given is not value and (
            type(given) is not kind if type(given) is not tuple else (*map(type, given),) != kind
        ):
            return None
    result: tuple[Any, ...] | None = found.take(x)
    return result


def _keep_small(make: Any, x: Any, options: tuple[Any, ...], take: Small, quick: Quick) -> None:
    told = []
    for k, each in enumerate(options):
        kinds = tuple(map(type, each)) if type(each) is tuple else (type(each),)
        if not _FLAT.issuperset(kinds):
            return
        if type(each) in (int, float, tuple):
            told.append((k, each, kinds if type(each) is tuple else type(each)))
    _known[make, options, x.dtype, x.shape] = _Small(tuple(told), take, quick)


def _key(
    make: Any, library: Standard, inputs: Any, options: tuple[Any, ...], out: Any, more: tuple[Any, ...]
) -> Any:  # fmt: skip
    """What tells a call from those that mean something else; None if that can't be told."""
    layouts = []
    for x in inputs:
        found = library.layout(x)
        if found is None:
            return None
        layouts.append(found)
    if out is not None:
        if type(out) not in (tuple, list):
            return None
        for x in out:
            found = library.layout(x)
            if found is None:
                return None
            layouts.append(found)
    if more:
        options = (*options, *more)
    if _PLAIN.issuperset(map(type, options)):
        return make, len(inputs), *layouts, options
    kinds, values = _told(options, library)
    return None if kinds is None else (make, len(inputs), *layouts, values, kinds)


def _told(arguments: tuple[Any, ...], library: Standard) -> tuple[Any, Any]:
    """Arguments as types and hashable values, which are equal only where they mean the same; or None."""
    kinds = tuple(map(type, arguments))
    if _FLAT.issuperset(kinds):
        return kinds, arguments
    values: list[Any] = []
    for kind, argument in zip(kinds, arguments, strict=True):
        if kind in _FLAT or (kind is Positions and argument.lasting):
            values.append(argument)
            continue
        value = None
        if kind in (tuple, list, range):
            value = _told(tuple(argument), library)
        elif issubclass(kind, _SCALARS):
            value = kind, argument
        else:
            value = library.content(argument), None
        if value[0] is None:
            return None, None
        values.append(value)
    return kinds, tuple(values)


def _arrays(library: Standard, options: tuple[Any, ...]) -> list[Any]:
    """The coordinates that are arrays, of the library or, else, as NumPy's."""
    spacing = options[2]
    given = spacing if isinstance(spacing, (list, tuple)) else [spacing]
    return [
        entry if library.owns(entry) else np.asarray(entry)
        for entry in given
        if library.owns(entry) or hasattr(entry, "__array__")
    ]
