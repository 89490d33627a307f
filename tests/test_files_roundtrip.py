"""What is written reads back equal, in every format, whole or in pieces."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gridgrad.app.files import INPUTS, OUTPUTS, open_source

from .filing import ALL, LABELLED, NAMED, got, hill, put


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


DTYPES = {
    "any": ["f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"],
    ".cdf": ["f4", "f8", "i2", "i4"],
    ".csv": ["f8"],
    "half": ["f2"],
    "complex": ["c8", "c16"],
}
COMPLEX = (".h5", ".hdf5", ".zarr", ".npz", ".pt", ".npy", ".tif")
HALF = (".h5", ".hdf5", ".zarr", ".npz", ".pt", ".safetensors", ".npy", ".parquet")


def dtypes(suffix: str) -> st.SearchStrategy[str]:
    found = DTYPES.get(suffix, DTYPES["any"])
    found = found + (DTYPES["complex"] if suffix in COMPLEX else [])
    return st.sampled_from(found + (DTYPES["half"] if suffix in HALF else []))


def shapes(suffix: str) -> st.SearchStrategy[tuple[int, ...]]:
    if suffix == ".tif":
        return hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9)
    most = {".csv": 2, ".parquet": 1}.get(suffix, 4)
    return hnp.array_shapes(max_dims=most, min_side=2, max_side=9)


# Letters of several alphabets, since files are written everywhere; no blanks or marks, since every format
# has its own that it keeps for itself.
NAMES = st.builds(str.__add__, st.sampled_from("abzÄéλЖ温"), st.text("abcÄλЖ温_012", max_size=6))
ATTRIBUTES = st.dictionaries(
    NAMES.map(lambda name: f"note_{name}"),
    st.one_of(st.text("abcäß温-.", min_size=1), st.integers(-9, 9), st.floats(-1e9, 1e9)),
    max_size=3,
)


@st.composite
def datasets(draw: st.DrawFn, suffix: str) -> xr.Dataset:
    """One to three variables of one shape, over coordinates, with attributes."""
    several = suffix not in (".npy",)
    shape = draw(shapes(suffix))
    if suffix == ".csv" and len(shape) == 2:
        several = False
    names = draw(st.lists(NAMES, min_size=1, max_size=3 if several else 1, unique_by=str.casefold))
    dims = tuple(f"d{number}" for number in range(len(shape)))
    kind = draw(dtypes(suffix))
    data = {}
    for name in names:
        values = draw(
            hnp.arrays(kind, shape, elements=hnp.from_dtype(np.dtype(kind), allow_nan=None))
        )
        data[name] = (dims, values, draw(ATTRIBUTES))
    coords = {}
    if draw(st.booleans()):
        coords = {
            dim: (dim, np.arange(size) * 0.5 - 3, {"units": "m"})
            for dim, size in zip(dims, shape, strict=True)
        }
    result = xr.Dataset(data, coords, draw(ATTRIBUTES))
    if draw(st.booleans()):
        result = result.chunk({dim: draw(st.integers(1, 9)) for dim in dims})
    return result


def compared(back: xr.Dataset, written: xr.Dataset, suffix: str) -> None:
    """Values and dtypes are the same, and names, coordinates and attributes where the format has them."""
    for name, variable in written.data_vars.items():
        found = back[name] if suffix in (*LABELLED, *NAMED, ".parquet", ".tif") else None
        if found is None and len(written.data_vars) == 1:
            found = next(iter(back.data_vars.values()))
        elif found is None:
            found = back[name]
        kind = np.dtype("f8") if suffix == ".csv" else variable.dtype
        assert found.dtype == kind
        np.testing.assert_array_equal(found.values, variable.values)
        if suffix in (*LABELLED, ".parquet", ".tif"):
            told = {key: found.attrs[key] for key in variable.attrs}
            expected = variable.attrs
            if suffix == ".tif":
                told, expected = ({k: str(v) for k, v in each.items()} for each in (told, expected))
            assert told == expected
    if suffix in LABELLED:
        assert set(back.coords) == set(written.coords)
        assert {key: back.attrs[key] for key in written.attrs} == written.attrs
        for dim in written.coords:
            xr.testing.assert_identical(back[dim].drop_encoding(), written[dim])


@pytest.mark.parametrize("suffix", ALL)
@given(st.data())
@settings(max_examples=12)
def test_round_trip(suffix: str, data: st.DataObject) -> None:
    written = data.draw(datasets(suffix))
    name = f"g{suffix}"
    if Path(name).is_dir():
        shutil.rmtree(name)
    put(written, name)
    options: dict[str, Any] = {}
    if suffix in (".csv", ".parquet"):
        dim = next(iter(written.dims))
        if dim in written.coords and len(written.dims) == 1:
            options["coordinate"] = dim
        if len(written.dims) == 1:
            options["var"] = list(written.data_vars)
    if suffix == ".pt" and len(written.variables) == 1:
        written = written.rename({next(iter(written.data_vars)): "values"})
    compared(got(name, **options), written, suffix)


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("lazy", [False, True])
def test_any_part_of_a_file_can_be_read(suffix: str, lazy: bool) -> None:
    field = hill(np.float32, 7, 9)
    if suffix in (".npy", ".csv"):
        field = field[["u"]].astype(np.float64)
    if suffix == ".parquet":
        field = field.isel(lat=2, drop=True)
    if lazy:
        field = field.chunk(lat=3, lon=4) if "lat" in field.dims else field.chunk(lon=4)
    put(field, f"f{suffix}")
    source = open_source(f"f{suffix}", **({"var": ["u"]} if suffix == ".parquet" else {}))
    found = next(iter(source.dataset.data_vars.values())).variable
    whole = np.asarray(field["u"].values)
    assert found.shape == whole.shape
    for key in [
        (slice(1, 5), slice(None)),
        (slice(None, None, -2), slice(2, 3)),
        (3, slice(-4, None)),
        (slice(None), np.array([5, 0, 5])),
        (slice(0, 0), slice(None)),
    ]:
        key = key[-whole.ndim :]
        np.testing.assert_array_equal(found[key].values, whole[key])
    source.close()


def test_every_format_is_tried_here() -> None:
    assert set(ALL) == set(OUTPUTS) - {".tiff"}
    assert set(INPUTS) - set(OUTPUTS) == {
        ".zip", ".grib", ".grb", ".grib2", ".grb2", ".png", ".jpg", ".jpeg",
    }  # fmt: skip
