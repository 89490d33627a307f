"""Arrays written piece by piece: those of Dask are computed a chunk at a time, and no more is held."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import xarray as xr


def is_lazy(variable: xr.Variable) -> bool:
    """Whether the samples are still to be computed, by Dask."""
    return variable.chunks is not None


def fill(variables: Sequence[xr.Variable], targets: Sequence[Any]) -> None:
    """Store every variable in a target, which takes `target[slices] = block`.

    Chunks of all variables at one place are computed together, so that what they share is computed once.
    """
    lazy: list[tuple[Any, Any]] = []
    for variable, target in zip(variables, targets, strict=True):
        if is_lazy(variable):
            lazy.append((variable.data, target))
        elif variable.size:
            target[(slice(None),) * variable.ndim] = variable.values
    if lazy:
        import dask.array

        with one_by_one():
            arrays, places = map(list, zip(*lazy, strict=True))
            dask.array.store(arrays, places, lock=False)


@contextmanager
def one_by_one() -> Iterator[None]:
    """Dask computes one chunk after another in this thread, whatever was set: an engine may still use several
    threads within a chunk."""
    import dask

    with dask.config.set(scheduler="synchronous"):
        yield


@contextmanager
def writing(dataset: xr.Dataset) -> Iterator[None]:
    """`one_by_one` for a dataset that xarray writes, if there is anything lazy in it."""
    if any(is_lazy(variable) for variable in dataset.variables.values()):
        with one_by_one():
            yield
    else:
        yield
