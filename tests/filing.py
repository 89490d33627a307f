"""What the tests of files share: datasets to write, and what is read back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gridgrad.app.files import check_writable, open_source, write_dataset
from gridgrad.app.source import FileProblem, Source

# Formats that keep names, coordinates and attributes; those that keep names; those that keep one array.
LABELLED = (".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".zarr")
NAMED = (".npz", ".pt", ".safetensors")
ALL = (*LABELLED, *NAMED, ".npy", ".csv", ".parquet", ".tif")


def put(dataset: xr.Dataset, name: str) -> Path:
    """Write a dataset under a draft's name, as the commands do, and give it its own."""
    path = Path(name)
    check_writable(dataset, path)
    draft = Path(f".draft-{path.stem}.tmp")
    write_dataset(dataset, draft, path.suffix)
    draft.rename(path)
    return path


def got(name: str | Path, **options: Any) -> xr.Dataset:
    """What is in a file, read whole."""
    source = open_source(str(name), **options)
    try:
        return source.dataset.load()
    finally:
        source.close()


def problem(source: str, *, var: Sequence[str] | None = None, coordinate: str | None = None) -> str:
    """The sentence with which a file is refused, on opening or on reading."""
    with pytest.raises(FileProblem) as caught:
        got(source, var=var, coordinate=coordinate)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def unwritable(dataset: xr.Dataset, name: str) -> str:
    """The sentence with which a dataset is refused."""
    with pytest.raises(FileProblem) as caught:
        check_writable(dataset, Path(name))
    message = str(caught.value)
    assert name in message
    assert message.endswith(".")
    return message


def text(content: str, name: str = "f.csv", encoding: str = "utf-8") -> str:
    Path(name).write_text(content, encoding=encoding, newline="")
    return name


def hill(dtype: Any = np.float64, rows: int = 6, columns: int = 8) -> xr.Dataset:
    """A field of two variables on a map."""
    y = np.linspace(50.0, 45.0, rows)
    x = np.arange(columns) * 0.25
    values = (np.sin(y)[:, None] * np.cos(x) * 100).astype(dtype)
    return xr.Dataset(
        {
            "u": (("lat", "lon"), values, {"units": "m s-1", "long_name": "eastward wind"}),
            "v": (("lat", "lon"), values[::-1].copy(), {"units": "m s-1"}),
        },
        coords={
            "lat": ("lat", y, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": ("lon", x, {"units": "degrees_east", "standard_name": "longitude"}),
        },
        attrs={"title": "a hill", "history": "made by hand"},
    )


def notes(source: Source) -> str:
    return " ".join(source.notes)
