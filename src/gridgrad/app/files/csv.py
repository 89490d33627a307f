"""Text (.csv) in and out: a grid of numbers, or curves in columns over a column of positions."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gridgrad.app.files.columns import bands, check_columns, common_dim, missing
from gridgrad.app.files.lazy import numbered
from gridgrad.app.files.npy import NAME
from gridgrad.app.files.text import Table, read_table
from gridgrad.app.source import FileProblem, Source, shown


def read(path: Path, var: Sequence[str] | None, coordinate: str | None) -> Source:
    """A grid or a curve without names, or the columns that are asked for.

    One column, or one row, is a curve, and more of both are a grid. Columns mean more than that only where
    the user says so: `coordinate` is the column with the positions, `var` are columns with samples. A first
    column of dates can be nothing but positions.
    """
    table = read_table(path)
    notes = []
    if coordinate is None and table.width > 1 and table.dated(0):
        coordinate = table.name(0) if table.names else "0"
        notes.append(
            f"The dates in {table.name(0)!r} of {shown(path)} were taken for the positions."
        )
    if coordinate is None and var is None:
        dataset = _grid(table)
        rows, columns = len(table.rows), table.width
        if dataset[NAME].ndim == 2 and (table.names or columns == 2):
            notes.append(
                f"{shown(path)} was read as a grid of {rows} x {columns}; for the curve in one of its "
                f"columns ({table.listing}) give --coordinate COLUMN or --var COLUMN, or both."
            )
    else:
        dataset = _curves(table, coordinate, var)
    notes += missing(dataset, path)
    if table.decimal_comma:
        notes.append(f"{shown(path)} was read with decimal commas.")
    return Source(dataset, title=path.name, path=path, counts_samples=True, notes=tuple(notes))


def _grid(table: Table) -> xr.Dataset:
    values = table.numbers(list(range(table.width)))
    if 1 in values.shape:
        values = values.ravel()
    return xr.Dataset({NAME: (numbered(values.ndim), values)})


def _curves(table: Table, coordinate: str | None, var: Sequence[str] | None) -> xr.Dataset:
    """The samples of some columns, at the positions in another or one step apart."""
    positions = None if coordinate is None else table.find(coordinate, "--coordinate")
    if var is not None:
        samples = [table.find(each, "--var") for each in var]
    else:
        others = [column for column in range(table.width) if column != positions]
        # Columns of words, as the name of a station, are left out where others hold numbers.
        samples = [column for column in others if table.numeric(column)] or others
        if not others:
            raise FileProblem(
                f"{shown(table.path)} has no column to differentiate beside {coordinate!r}."
            )
    if positions in samples:
        raise FileProblem(
            f"--coordinate and --var must be two columns, but both are {coordinate!r}."
        )
    dim = "dim0" if positions is None else table.name(positions)
    coords = {} if positions is None else {dim: (dim, table.positions(positions))}
    # A column may be asked for by its number, and is then called so.
    names = [table.name(column) for column in samples] if var is None else list(var)
    found = {
        name: (dim, table.numbers([column])[:, 0], {"long_name": table.name(column)})
        for name, column in zip(names, samples, strict=True)
    }
    return xr.Dataset(found, coords=coords)


def check(template: xr.Dataset, path: Path) -> None:
    """Refuse what is no table."""
    for name, variable in template.data_vars.items():
        if variable.dtype.kind == "c":
            raise FileProblem(
                f"{shown(path)} cannot hold complex numbers, such as {name}, as text; write "
                ".npy, .npz or .zarr."
            )
    if len(template.data_vars) == 1:
        (ndim,) = (each.ndim for each in template.data_vars.values())
        if ndim in (1, 2):
            return
    check_columns(template, path, "one variable of 1 or 2 dims, or several of 1 dim")


def write(dataset: xr.Dataset, path: Path, suffix: str) -> None:
    """Text that reads back to the same values: named columns, or a grid."""
    del suffix
    with path.open("w", encoding="utf-8", newline="") as file:
        variables = [each.variable for each in dataset.data_vars.values()]
        if variables[0].ndim == 2:
            for (rows,) in bands(variables):
                file.writelines(f"{','.join(_digits(row))}\n" for row in rows)
            return
        names = list(map(str, dataset.data_vars))
        dim = common_dim(dataset)
        if dim in dataset.indexes:
            names.insert(0, str(dim))
            variables.insert(0, dataset.variables[dim])
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for columns in bands(variables):
            writer.writerows(zip(*map(_digits, columns), strict=True))


def _digits(values: Any) -> Iterator[str]:
    # NumPy's scalars print the fewest digits that identify the value in their own type.
    return (str(value) for value in np.asarray(values))
