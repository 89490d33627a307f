"""Variables whose samples are read when they are indexed, by xarray's own means for that."""

import math
import os
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from gridgrad.app.files.faults import reading


class Guarded(BackendArray):
    """The samples of a variable, where a fault in the file is told in a sentence that names it."""

    def __init__(self, variable: xr.Variable, path: Path, name: str) -> None:
        self.variable = variable
        self.path = str(path)
        self.name = name
        self.shape = variable.shape
        self.dtype = variable.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> Any:
        with reading(self.path, self.name):
            return self.variable[key].values


class Mapped(BackendArray):
    """Samples that lie in a file as in memory, from `offset` on.

    Each reading maps the file and copies what it wants. A map that stayed would count as the program's
    memory, all that was ever read from it.
    """

    def __init__(
        self,
        file: Path | IO[bytes],
        offset: int,
        shape: tuple[int, ...],
        dtype: Any,
        order: str = "C",
    ) -> None:
        self.file = str(file) if isinstance(file, Path) else file
        self.offset = offset
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.order = order

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> Any:
        return np.array(self.map("r")[key])

    def __setitem__(self, key: Any, samples: Any) -> None:
        self.map("r+")[key] = samples

    def reserved(self) -> Self:
        """The same, once the disk has room for all of it: a map that the disk cannot hold is no OSError, but
        the end of the process."""
        if hasattr(os, "posix_fallocate") and (length := math.prod(self.shape)):
            with ExitStack() as opened:
                file = self.file
                if isinstance(file, str):
                    file = opened.enter_context(open(file, "r+b"))
                os.posix_fallocate(file.fileno(), self.offset, length * self.dtype.itemsize)
        return self

    def map(self, mode: str) -> Any:
        """All of the samples, mapped into memory for as long as the result lives."""
        return np.memmap(
            self.file,
            self.dtype,
            mode,
            self.offset,
            self.shape,
            self.order,  # type: ignore[call-overload]  # NumPy types mode and order as literals
        )


class Brain(Mapped):
    """Samples of bfloat16, which NumPy lacks: they are the upper halves of float32."""

    def __init__(self, file: Path, offset: int, shape: tuple[int, ...], dtype: Any) -> None:
        super().__init__(file, offset, shape, "float32")
        self.halves = Mapped(file, offset, shape, dtype)

    def _read(self, key: tuple[Any, ...]) -> Any:
        return (np.asarray(self.halves.map("r")[key]).astype(np.uint32) << 16).view(np.float32)


def variable(
    dims: tuple[str, ...],
    array: BackendArray,
    encoding: dict[str, Any] | None = None,
    attrs: dict[str, Any] | None = None,
) -> xr.Variable:
    """A variable that reads from `array`."""
    return xr.Variable(dims, indexing.LazilyIndexedArray(array), attrs, encoding)


def guarded(dataset: xr.Dataset, path: Path) -> xr.Dataset:
    """The same dataset, with faults of the file told; closing it closes the file."""

    def guard(name: Any) -> xr.Variable:
        plain = dataset.variables[name]
        array = indexing.LazilyIndexedArray(Guarded(plain, path, str(name)))
        return xr.Variable(plain.dims, array, plain.attrs, plain.encoding)

    result = dataset.assign({name: guard(name) for name in dataset.data_vars})
    result = result.assign_coords(
        {name: guard(name) for name in dataset.coords if name not in dataset.indexes}
    )
    result.encoding = dataset.encoding
    result.set_close(dataset.close)
    return result


def numbered(ndim: int, name: str = "") -> tuple[str, ...]:
    """The names of dims of which nothing is known."""
    return tuple(f"{name}_dim{number}" if name else f"dim{number}" for number in range(ndim))
