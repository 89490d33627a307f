"""Parquet tables: curves in columns over a column of positions, by pyarrow."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr

from gridgrad.app.files.choice import unknown
from gridgrad.app.files.columns import bands, check_columns, common_dim, missing
from gridgrad.app.files.layout import encoding_for
from gridgrad.app.files.lazy import numbered
from gridgrad.app.source import FileProblem, Source, shown

ATTRIBUTES = b"attributes"
"""Where the attributes of a variable stand, in JSON, among the metadata of its column."""
_NAMES = {"deflate": "gzip", "zstd": "zstd", "lz4": "lz4", "snappy": "snappy", None: "none"}


def read(path: Path, var: Sequence[str] | None, coordinate: str | None) -> Source:
    """The columns over the positions: the column that is named, or that pandas calls the index, or the
    first."""
    schema = pq.read_schema(path)
    for name, option in [(coordinate, "--coordinate"), *((name, "--var") for name in var or ())]:
        if name is not None and name not in schema.names:
            raise unknown(name, path, schema.names, option=option)
    notes = []
    if coordinate is None:
        coordinate, why = _positions(schema, var)
        if coordinate:
            notes.append(
                f"The {why} {coordinate!r} of {shown(path)} was taken for the positions; --coordinate COLUMN "
                "names another."
            )
    elif coordinate in (var or ()):
        raise FileProblem(
            f"--coordinate and --var must be two columns, but both are {coordinate!r}."
        )
    columns = [name for name in schema.names if var is None or name in var or name == coordinate]
    table = pq.read_table(path, columns=columns)
    # pandas calls an index without a name so.
    dim = re.sub(r"^__index_level_\d+__$", "index", coordinate or numbered(1)[0])
    packed = _compression(path)
    variables = {
        name: xr.Variable(
            dim,
            _array(table.column(name)),
            _attributes(schema.field(name)),
            {"compression": packed},
        )
        for name in columns
    }
    coords = {dim: variables.pop(coordinate)} if coordinate else {}
    dataset = xr.Dataset(variables, coords, _attributes(schema))
    notes += missing(dataset, path)
    return Source(dataset, title=path.name, path=path, counts_samples=True, notes=tuple(notes))


def _positions(schema: Any, var: Sequence[str] | None) -> tuple[str | None, str]:
    """The column that holds the positions if nothing is said, and what it is."""
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    named = [each for each in index if isinstance(each, str) and each in schema.names]
    if len(named) == 1:
        return named[0], "index"
    first = schema.names[0] if schema.names else None
    if len(schema.names) < 2 or first in (var or ()):
        return None, ""
    return first, "first column"


def _array(column: Any) -> Any:
    """A column as NumPy's array; what is missing among whole numbers makes them float64, with NaN."""
    kind = column.type
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("s"))
    elif pa.types.is_decimal(kind) or (pa.types.is_integer(kind) and column.null_count):
        column = column.cast(pa.float64(), safe=False)
    return np.ascontiguousarray(column.to_numpy(zero_copy_only=False))


def _attributes(part: Any) -> dict[str, Any]:
    found = (part.metadata or {}).get(ATTRIBUTES)
    return {} if found is None else dict(json.loads(found))


def _compression(path: Path) -> str | None:
    about = pq.read_metadata(path)
    if not about.num_row_groups or not about.num_columns:
        return None
    name = about.row_group(0).column(0).compression.lower()
    return None if name == "uncompressed" else str(name)


def check(template: xr.Dataset, path: Path) -> None:
    """Refuse what is no columns of real numbers along one dim."""
    for name, variable in template.data_vars.items():
        if variable.dtype.kind == "c":
            raise FileProblem(
                f"{shown(path)} cannot hold complex numbers, such as {name}; write .npy, .npz or .zarr."
            )
    check_columns(template, path, "variables of 1 dim")
    dim = common_dim(template)
    if dim in template.indexes and template.indexes[dim].dtype.kind not in "iufmM":
        raise FileProblem(
            f"{shown(path)} cannot hold the coordinate {dim}, which is of {template.indexes[dim].dtype}; "
            "write .nc or .zarr."
        )


def write(dataset: xr.Dataset, path: Path, suffix: str) -> None:
    """A table with the positions in its first column, in one row group for each chunk."""
    dim = common_dim(dataset)
    names = [*([dim] if dim in dataset.indexes else []), *dataset.data_vars]
    variables = [dataset.variables[name] for name in names]
    schema = pa.schema(
        [
            pa.field(str(name), pa.from_numpy_dtype(each.dtype), metadata=_metadata(each.attrs))
            for name, each in zip(names, variables, strict=True)
        ],
        metadata=_metadata(dataset.attrs),
    )
    wanted = encoding_for(variables[-1], suffix)
    codec = _NAMES.get(wanted["compression"], "zstd") if "compression" in wanted else "snappy"
    # Samples hardly repeat, and dictionaries of them took four times the memory of a chunk.
    with pq.ParquetWriter(path, schema, compression=codec, use_dictionary=False) as writer:
        for arrays in bands(variables):
            columns = [pa.array(np.asarray(each)) for each in arrays]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _metadata(attrs: Any) -> dict[bytes, bytes] | None:
    """Attributes as JSON; those that JSON has no word for are left out."""
    kept = {}
    for key, value in attrs.items():
        plain = value.tolist() if isinstance(value, np.generic | np.ndarray) else value
        try:
            kept[str(key)] = json.loads(json.dumps(plain))
        except TypeError:
            continue
    return {ATTRIBUTES: json.dumps(kept).encode()} if kept else None
