"""NumPy's arrays in files of their own (.npy), read and written piece by piece."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gridgrad.app.files.blocks import fill
from gridgrad.app.files.faults import objects
from gridgrad.app.files.lazy import Mapped, guarded, numbered, variable
from gridgrad.app.source import FileProblem, Source, shown

NAME = "values"
"""What an array is called that has no name."""


def read(path: Path, var: Sequence[str] | None, coordinate: str | None) -> Source:
    """The array as the variable `values`, with the dims dim0, dim1, ..."""
    del var, coordinate
    array = _layout(path)
    dataset = xr.Dataset({NAME: variable(numbered(len(array.shape)), array)})
    return Source(guarded(dataset, path), title=path.name, path=path, counts_samples=True)


def _layout(path: Path) -> Any:
    """Where the samples are, from the header of the file."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = header(file)
        offset = file.tell()
    if dtype.hasobject:
        raise objects(path)
    if path.stat().st_size < offset + dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise FileProblem(f"{shown(path)} is not a whole .npy file.")
    return Mapped(path, offset, shape, dtype, "F" if fortran else "C")


def check(template: xr.Dataset, path: Path) -> None:
    """Refuse more than one array."""
    if len(template.data_vars) != 1:
        raise FileProblem(
            f"{shown(path)} can hold one array, but there are {len(template.data_vars)}: "
            f"{', '.join(map(str, template.data_vars))}; write .npz, .nc or .zarr, or choose a dim "
            "with --dim."
        )


def write(dataset: xr.Dataset, path: Path, suffix: str) -> None:
    """The only array, without its coordinates."""
    del suffix
    (only,) = dataset.data_vars.values()
    save(only.variable, path)


def save(only: xr.Variable, path: Path) -> None:
    """One array as a .npy file."""
    # Its header first; the samples then go where it says.
    np.lib.format.open_memmap(path, mode="w+", dtype=only.dtype, shape=only.shape)
    fill([only], [_layout(path).reserved()])
