"""The array library of a value, found by its type; never imports one that the caller has not imported."""

from collections.abc import Sequence
from typing import Any

import array_api_compat
import numpy as np

from gridgrad.arrays.numpy import NumPy
from gridgrad.arrays.standard import Standard
from gridgrad.caching import is_compiling
from gridgrad.errors import GridTypeError

_libraries: dict[type, Standard] = {}
_numpy = NumPy()


def library_of(x: Any, name: str = "input") -> Standard:
    """The library of the argument `name`."""
    if is_compiling():
        return _find(x, name)
    library = _libraries.get(type(x))
    if library is None:
        library = _find(x, name)
        if library.is_told_by_type:
            _libraries[type(x)] = library
    return library


def _of_ranks() -> Standard:
    from gridgrad.arrays.dtensor import Distributed

    return Distributed()


def library_of_all(arrays: Sequence[Any], names: Sequence[str]) -> Standard:
    """The library of several arguments: the first one's, or another's that takes the first one too.

    Dask arrays take arrays of the library that their blocks are made of.
    """
    found = library_of(arrays[0], names[0])
    for x, name in zip(arrays[1:], names[1:], strict=True):
        other = library_of(x, name)
        if other.takes_blocks_alone and not found.owns(x) and other.owns(arrays[0]):
            found = other
    return found


def _find(x: Any, name: str) -> Standard:
    if isinstance(x, (np.ndarray, np.generic)):
        return _numpy
    # The compiler, which is PyTorch's, cannot read the bases of a Parameter.
    if is_compiling() or any(b.__module__.partition(".")[0] == "torch" for b in type(x).__mro__):
        import torch  # it is loaded: its class is in hand

        if isinstance(x, torch.Tensor):
            if is_compiling():
                from gridgrad.arrays.traced import Traced  # with which comes all of the compiler

                return Traced()
            from gridgrad.arrays.tensors import is_distributed, is_transforming
            from gridgrad.arrays.torch import Torch

            is_of_ranks = is_distributed(x)
            if is_of_ranks and not is_transforming():
                return _of_ranks()
            torch_library = Torch(_of_ranks)
            torch_library.is_told_by_type = not is_of_ranks
            return torch_library
    if hasattr(x, "gridgrad_library"):
        library: Standard = x.gridgrad_library()  # ours: it is no array of a library
        return library
    if array_api_compat.is_dask_array(x):
        from gridgrad.arrays import dask  # it is loaded: its class is in hand

        return dask.of(x, name, library_of(x._meta, name))
    if array_api_compat.is_cupy_array(x):
        from gridgrad.arrays.cupy import CuPy

        return CuPy(array_api_compat.array_namespace(x))
    if array_api_compat.is_array_api_obj(x):
        return Standard(array_api_compat.array_namespace(x))
    hint = "; numpy.asarray makes one of it" if isinstance(x, (list, tuple, int, float)) else ""
    raise GridTypeError(
        f"{name} must be an array (NumPy, PyTorch, JAX, or any that speaks the Python Array API), "
        f"but is {type(x).__name__}{hint}."
    )
