"""NumPy's arrays by name, in a zip file (.npz)."""

import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import xarray as xr

from gridgrad.app.files.blocks import fill, is_lazy
from gridgrad.app.files.choice import unknown
from gridgrad.app.files.faults import objects
from gridgrad.app.files.layout import encoding_for
from gridgrad.app.files.lazy import Mapped, numbered
from gridgrad.app.source import FileProblem, Source, shown

MEMBER = ".npy"


def read(path: Path, var: Sequence[str] | None, coordinate: str | None) -> Source:
    """Every array of numbers as a variable, in memory.

    Nothing in the file says which arrays share a grid, or which hold positions: see `named_dims`.
    """
    del coordinate
    with zipfile.ZipFile(path) as archive:
        found = _headers(archive)
        listing = ", ".join(
            f"{name} ({' x '.join(map(str, shape)) or 'scalar'} {dtype})"
            for name, (shape, dtype) in found.items()
        )
        for name in var or ():
            if name not in found:
                raise unknown(name, path, [listing] if listing else [])
            if found[name][1].hasobject:
                raise objects(path)
        wanted = list(var or (name for name, (_, dtype) in found.items() if dtype.kind in "iufcmM"))
        if not any(found[name][0] for name in wanted):
            if any(dtype.hasobject for _, dtype in found.values()):
                raise objects(path)
            raise FileProblem(
                f"{shown(path)} has no array of numbers in it, but only: {listing or 'nothing'}."
            )
        arrays = {}
        for name in wanted:
            with archive.open(name + MEMBER) as member:
                arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
        packed = {
            name: archive.getinfo(name + MEMBER).compress_type != zipfile.ZIP_STORED
            for name in wanted
        }
    dims = named_dims({name: array.shape for name, array in arrays.items()})
    dataset = xr.Dataset(
        {
            name: (dims[name], array, {}, {"compression": "zlib" if packed[name] else None})
            for name, array in arrays.items()
        }
    )
    return Source(dataset, title=path.name, path=path, counts_samples=True)


def named_dims(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[str, ...]]:
    """Names for the dims of arrays that have none: dim0, dim1, ... for those with the most dims and all
    others of these lengths, and NAME_dim0, ... for the rest."""
    lengths: dict[str, int] = {}
    result = {}
    for name, shape in sorted(shapes.items(), key=lambda each: -len(each[1])):
        dims = numbered(len(shape))
        if any(lengths.get(dim, size) != size for dim, size in zip(dims, shape, strict=True)):
            dims = numbered(len(shape), name)
        lengths |= zip(dims, shape, strict=True)
        result[name] = dims
    return result


def _headers(archive: zipfile.ZipFile) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """The shapes and dtypes in an archive, without reading the samples."""
    found = {}
    for entry in archive.namelist():
        if entry.endswith(MEMBER):
            with archive.open(entry) as file:
                found[entry.removesuffix(MEMBER)] = header(file)
    return found


def header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and the dtype that a .npy file begins with."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        # Version 3 exists for records whose fields have names beyond Latin-1, which are no numbers.
        shape, dtype = (), np.dtype("V")
    return shape, dtype


def check(template: xr.Dataset, path: Path) -> None:
    """A .npz file holds whatever there is."""
    del template, path


def write(dataset: xr.Dataset, path: Path, suffix: str) -> None:
    """All variables and coordinates by name, but for those that are Python objects."""
    arrays = {
        str(name): variable
        for name, variable in dataset.variables.items()
        if variable.dtype.kind != "O"
    }
    with ExitStack() as scratch, zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        # A member of an archive is written from its start to its end, but chunks come in any order: they
        # are put in place in a file without a name first, beside the archive, where there should be room.
        lazy = {name: each for name, each in arrays.items() if is_lazy(each)}
        places = {
            name: Mapped(
                scratch.enter_context(tempfile.TemporaryFile(dir=path.parent)),
                0,
                each.shape,
                each.dtype,
            ).reserved()
            for name, each in lazy.items()
        }
        fill(list(lazy.values()), list(places.values()))
        for name, variable in arrays.items():
            packed = encoding_for(variable, suffix).get("compression")
            entry = zipfile.ZipInfo(name + MEMBER)
            entry.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            with archive.open(entry, "w", force_zip64=True) as member:
                if name in lazy:
                    _copy(places[name], member)
                else:
                    np.lib.format.write_array(member, variable.values, allow_pickle=False)


def _copy(place: Mapped, member: IO[bytes]) -> None:
    known = {
        "descr": np.lib.format.dtype_to_descr(place.dtype),
        "fortran_order": False,
        "shape": place.shape,
    }
    np.lib.format.write_array_header_1_0(member, known)
    assert not isinstance(place.file, str)
    place.file.seek(0)
    shutil.copyfileobj(place.file, member, 2**20)
