"""NetCDF 3 and 4, by netCDF4 through xarray."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gridgrad.app.files.blocks import writing
from gridgrad.app.files.classic import missing_bytes
from gridgrad.app.files.groups import labelled
from gridgrad.app.files.layout import encoding_for
from gridgrad.app.source import FileProblem, Source, shown

CLASSIC = ".cdf"
"""The suffix under which NetCDF 3 is written."""
_CLASSIC_DTYPES = ("int8", "int16", "int32", "float32", "float64")
# With 64-bit offsets a variable may be this large, short of padding.
_CLASSIC_BYTES = 2**32 - 4


def read(path: Path, var: Sequence[str] | None, coordinate: str | None) -> Source:
    """A NetCDF file, decoded by CF; `var` may lead into a group: `group/name`."""
    del coordinate
    if missing := missing_bytes(path):
        raise FileProblem(f"{shown(path)} is not whole: {missing} bytes are missing at its end.")
    return labelled(path, var, engine="netcdf4")


def check(template: xr.Dataset, path: Path) -> None:
    """Refuse what NetCDF has no type or no name for."""
    classic = path.suffix.lower() == CLASSIC
    for name, variable in template.data_vars.items():
        check_name(name, path)
        dtype = variable.dtype
        if dtype.kind == "c":
            raise FileProblem(
                f"{shown(path)} cannot hold complex numbers, such as {name}; write .zarr, .h5, .npy or .npz."
            )
        if dtype == np.float16:
            raise FileProblem(
                f"{shown(path)} cannot hold float16, such as {name}; choose float32, or write .zarr or .npy."
            )
        if classic and dtype.kind in "iuf" and dtype.name not in _CLASSIC_DTYPES:
            raise FileProblem(
                f"{shown(path)} cannot hold {dtype}, such as {name}, because that is NetCDF 3; write .nc."
            )
        if classic and variable.nbytes > _CLASSIC_BYTES:
            raise FileProblem(
                f"{shown(path)} cannot hold {name}, which has {variable.nbytes} bytes, because variables of "
                "NetCDF 3 end at 4 GiB; write .nc."
            )


def check_name(name: Any, path: Path) -> None:
    """Refuse a name that would be a path in the file."""
    if "/" in str(name):
        raise FileProblem(
            f"{shown(path)} cannot hold a variable called {name!r}, because of its slash."
        )


def write(dataset: xr.Dataset, path: Path, suffix: str) -> None:
    """A NetCDF 4 file, or NetCDF 3 with 64-bit offsets where the suffix says so."""
    form: Any = "NETCDF3_64BIT" if suffix == CLASSIC else "NETCDF4"
    dataset = encoded(dataset, suffix)
    with writing(dataset):
        dataset.to_netcdf(path, format=form, engine="netcdf4")


def _unlimited(dataset: xr.Dataset, suffix: str) -> list[Any]:
    """The dims that may grow, as in the input; in NetCDF 3 one at most, the first of its variables."""
    grows = [dim for dim in dataset.encoding.get("unlimited_dims", ()) if dim in dataset.dims]
    if suffix == CLASSIC:
        grows = [
            dim for dim in grows if all(dim not in each.dims[1:] for each in dataset.variables.values())
        ][:1]  # fmt: skip
    return grows


def encoded(dataset: xr.Dataset, suffix: str) -> xr.Dataset:
    """The dataset with the encoding that it is to be written with."""
    result = dataset.copy()
    result.encoding = {"unlimited_dims": _unlimited(dataset, suffix)}
    result.attrs = _plain(result.attrs)
    for name, variable in result.variables.items():
        encoding = encoding_for(variable, suffix)
        if suffix == CLASSIC and encoding.get("dtype") in ("int64", "uint64", "uint32"):
            encoding["dtype"] = np.dtype("float64")
        if name in result.coords and "_FillValue" not in encoding:
            # Coordinates have no gaps, and by CF no mark for them.
            encoding["_FillValue"] = None
        variable.encoding = encoding
        variable.attrs = _plain(variable.attrs)
    return result


def _plain(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes as every NetCDF has them: text, numbers, and lists of numbers. Others become JSON, whose
    they are where the samples came from Zarr."""
    return {
        str(key): value if _is_plain(value) else json.dumps(value, default=_in_json)
        for key, value in attrs.items()
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return True
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "iuf" and value.ndim < 2 and value.size > 0
    several = value if isinstance(value, list | tuple) else [value]
    numbers = (isinstance(each, int | float | np.number) for each in several)
    return bool(several) and all(numbers) and not any(isinstance(each, bool) for each in several)


def _in_json(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
