"""Tensors by name in a .safetensors file.

The library checks a file's header; the samples are then read where it says that they are, piece by piece.
The format is simple and does not change: the length of the header in 8 bytes, the header in JSON, samples.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from safetensors import safe_open

from gridgrad.app.files.blocks import fill
from gridgrad.app.files.lazy import Brain, Mapped, guarded, variable
from gridgrad.app.files.npz import named_dims
from gridgrad.app.source import FileProblem, Source, shown

NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "complex64": "C64",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
_DTYPES = {name: dtype for dtype, name in NAMES.items()}


def read(path: Path, var: Sequence[str] | None, coordinate: str | None) -> Source:
    """All tensors as variables."""
    del coordinate
    with safe_open(path, framework="numpy"):
        pass  # which raises what is wrong with it
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    known = {name: each for name, each in header.items() if each["dtype"] in _DTYPES}
    shapes = {name: tuple(each["shape"]) for name, each in known.items()}
    dims = named_dims({name: shapes[name] for name in (var or shapes) if name in shapes})
    notes, variables = [], {}
    for name in dims:
        start = 8 + length + known[name]["data_offsets"][0]
        dtype = _DTYPES[known[name]["dtype"]]
        kind = Brain if dtype == "bfloat16" else Mapped
        array = kind(path, start, shapes[name], "uint16" if kind is Brain else dtype)
        variables[name] = variable(dims[name], array)
        if kind is Brain:
            notes.append(f"{name!r} in {shown(path)} is of bfloat16 and was read as float32.")
    return Source(
        guarded(xr.Dataset(variables), path),
        title=path.name,
        path=path,
        counts_samples=True,
        notes=tuple(notes),
    )


def check(template: xr.Dataset, path: Path) -> None:
    """Refuse dtypes that the format has no name for."""
    for name, each in template.data_vars.items():
        if each.dtype.name not in NAMES:
            raise FileProblem(
                f"{shown(path)} cannot hold {each.dtype}, such as {name}; write .npz, .zarr or .pt."
            )


def write(dataset: xr.Dataset, path: Path, suffix: str) -> None:
    """All variables and coordinates by name, but for coordinates that the format has no dtype for."""
    del suffix
    arrays = {
        str(name): each for name, each in dataset.variables.items() if each.dtype.name in NAMES
    }
    # The widest first, so that all are aligned.
    arrays = dict(sorted(arrays.items(), key=lambda each: -each[1].dtype.itemsize))
    header, end = _header(arrays)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + end)
    told = json.loads(header[8:])
    places = [
        Mapped(
            path, len(header) + told[name]["data_offsets"][0], each.shape, _little(each.dtype)
        ).reserved()
        for name, each in arrays.items()
    ]
    fill(list(arrays.values()), places)


def _header(arrays: Mapping[str, xr.Variable]) -> tuple[bytes, int]:
    """The beginning of a file, and the number of bytes that follow it."""
    told, end = {}, 0
    for name, each in arrays.items():
        told[name] = {
            "dtype": NAMES[each.dtype.name],
            "shape": each.shape,
            "data_offsets": (end, end + each.nbytes),
        }
        end += each.nbytes
    text = json.dumps(told).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, end


def _little(dtype: Any) -> Any:
    return np.dtype(dtype).newbyteorder("<")
