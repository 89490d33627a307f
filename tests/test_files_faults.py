"""Files that are not there, not whole, or not known; libraries that are not there."""

import errno
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from gridgrad.app.files import FORMATS, INPUTS, check_writable, open_source, write_dataset
from gridgrad.app.files.classic import missing_bytes
from gridgrad.app.source import FileProblem

from .filing import hill, problem, put


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("suffix", INPUTS)
def test_missing_empty_and_folders(suffix: str) -> None:
    assert f"There is no file 'no{suffix}'." == problem(f"no{suffix}")
    Path(f"empty{suffix}").touch()
    assert f"'empty{suffix}' is empty." == problem(f"empty{suffix}")
    Path(f"folder{suffix}").mkdir()
    assert f"'folder{suffix}'" in problem(f"folder{suffix}")
    Path(f"text{suffix}").write_text("no, such\nthing\n")
    assert f"'text{suffix}'" in problem(f"text{suffix}")


def test_unknown_formats() -> None:
    Path("notes.txt").write_text("1 2 3")
    message = problem("notes.txt")
    assert "unknown format" in message
    assert ", ".join(INPUTS) in message
    with pytest.raises(FileProblem, match=r"must end in one of \.nc"):
        check_writable(hill(), Path("g.grib"))


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def blot(path: Path) -> None:
    """Overwrite some of the samples, which are compressed."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle - 300 : middle + 300] = b"\xff" * 600
    path.write_bytes(content)


# (NetCDF 3 has no checksums: other samples are samples.)
@pytest.mark.parametrize(
    ("name", "damage"),
    [("f.cdf", cut)] + [(f, d) for f in ("f.nc", "f.h5", "f.zarr") for d in (cut, blot)],
)
def test_damage_is_told_when_it_is_found(name: str, damage: Callable[[Path], None]) -> None:
    field = hill(np.float32, 100, 100)[["u"]]
    field.u.values[:] = np.random.default_rng(1).random((100, 100))
    field.u.encoding = {"zlib": True, "complevel": 1, "fletcher32": True, "chunksizes": (100, 100)}
    put(field, name)
    damage(Path("f.zarr/u/c/0/0") if name == "f.zarr" else Path(name))
    message = problem(name)
    assert repr(name) in message


@pytest.mark.parametrize("form", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
@pytest.mark.parametrize("growing", [0, 1, 3])
@given(st.data())
@settings(max_examples=8)
def test_what_is_missing_of_netcdf_3_is_counted(
    form: Any, growing: int, data: st.DataObject
) -> None:
    """Its library reads zeros there. Variables that grow are stored in turns, the others first."""
    with netCDF4.Dataset("f.nc", "w", format=form) as file:
        file.title = data.draw(st.text("abc", max_size=9)) or "x"
        file.createDimension("t", None)
        file.createDimension("x", data.draw(st.integers(3, 5)))
        records = data.draw(st.integers(1, 4))
        for number in range(growing):
            kind = data.draw(st.sampled_from(["i1", "i2", "f4", "f8"]))
            grown = file.createVariable(f"g{number}", kind, ("t", "x"))
            grown.units = "m" * number
            grown[:] = np.ones((records, len(file.dimensions["x"])))
        file.createVariable("fixed", "f8", ("x",))[:] = 1
    assert missing_bytes(Path("f.nc")) == 0
    size = Path("f.nc").stat().st_size
    lost = data.draw(st.integers(4, 16))  # up to 3 bytes of padding are no loss
    os.truncate("f.nc", size - lost)
    assert lost - 3 <= missing_bytes(Path("f.nc")) <= lost
    assert "bytes are missing at its end" in problem("f.nc")


def test_damage_is_told_through_dask() -> None:
    field = hill(np.float32, 100, 100)[["u"]]
    put(field, "f.zarr")
    cut(Path("f.zarr/u/c/0/0"))
    found = open_source("f.zarr").dataset
    assert set(found.data_vars) == {"u"}
    with pytest.raises(FileProblem, match=r"^The samples of 'u' in 'f.zarr' cannot be read: .*\.$"):
        found.chunk(lat=10).u.sum().compute()


@pytest.mark.parametrize("suffix", [".nc", ".h5", ".zarr", ".npy", ".safetensors", ".pt", ".tif"])
def test_what_is_lazy_can_go_to_another_process(suffix: str) -> None:
    put(hill()[["u"]], f"f{suffix}")
    dataset = open_source(f"f{suffix}").dataset
    name = next(iter(dataset.data_vars))
    variable = pickle.loads(pickle.dumps(dataset.variables[name]))
    np.testing.assert_array_equal(variable[2:4].values, hill().u[2:4])


def test_opening_reads_no_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    from gridgrad.app.files import lazy

    for suffix in (".nc", ".h5", ".zarr", ".npy", ".safetensors", ".pt", ".tif"):
        put(hill()[["u"]], f"f{suffix}")

    def never(*_: object) -> None:
        raise AssertionError("samples are read")

    monkeypatch.setattr(lazy.Guarded, "_read", never)
    for suffix in (".nc", ".h5", ".zarr", ".npy", ".safetensors", ".pt", ".tif"):
        open_source(f"f{suffix}").close()


@pytest.mark.parametrize(
    "kind", [kind for kind in FORMATS if kind.libraries], ids=lambda kind: kind.module
)
def test_a_missing_library_is_named_with_its_extra(
    kind: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"f{kind.suffixes[0]}"
    Path(name).mkdir() if kind.folder else Path(name).write_bytes(b"content")
    monkeypatch.setitem(sys.modules, kind.libraries[0], None)
    message = problem(name)
    assert f"needs {kind.libraries[0]}" in message
    assert f"pip install 'gridgrad[{kind.extra}]'" in message
    if kind.writes:
        with pytest.raises(FileProblem, match=r"pip install"):
            check_writable(hill(), Path(name))


def loaded_after(program: str) -> set[str]:
    program += "; import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


HEAVY = {
    "xarray", "pandas", "netCDF4", "zarr", "h5netcdf", "h5py", "dask", "rasterio", "rioxarray", "cfgrib",
    "eccodes", "pyarrow", "torch", "safetensors", "PIL", "matplotlib",
}  # fmt: skip


def test_only_what_a_file_needs_is_imported() -> None:
    assert not loaded_after("import gridgrad.app.files") & HEAVY
    put(hill(), "f.nc")
    program = "from gridgrad.app.files import open_source; open_source('f.nc').dataset.load()"
    # pandas imports pyarrow where that is installed.
    assert loaded_after(program) & HEAVY <= {"xarray", "pandas", "netCDF4", "pyarrow", "dask"}


def test_a_template_need_not_be_in_memory() -> None:
    large = xr.Dataset({"u": (("y", "x"), da.zeros((10**7, 10**7)))})
    for name in ("g.nc", "g.zarr", "g.npy", "g.npz", "g.pt", "g.safetensors", "g.csv", "g.tif"):
        check_writable(large, Path(name))


def limited(suffix: str, *, lazy: bool) -> None:
    """Write more to a file than this process may."""
    values = np.random.default_rng(0).random(90_000)
    field = xr.Dataset(
        {"u": ("x", values) if suffix == ".parquet" else (("y", "x"), values.reshape(300, 300))}
    )
    check_writable(field, Path(f"f{suffix}"))  # brings the libraries, while there is no limit
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        write_dataset(field.chunk() if lazy else field, Path(f"f{lazy}{suffix}"), suffix)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    "suffix", [".npy", ".nc", ".zarr", ".tif", ".pt", ".safetensors", ".npz", ".csv", ".parquet"]
)
def test_a_file_that_cannot_grow_is_an_error_of_the_system(suffix: str, lazy: bool) -> None:
    """As a full disk is. (GDAL is silent where it cannot write what it kept to the end.)"""
    with pytest.raises(OSError) as caught:
        limited(suffix, lazy=lazy)
    assert caught.value.errno in (errno.EFBIG, errno.EIO)


@pytest.mark.parametrize("suffix", [".nc", ".cdf", ".h5"])
def test_no_crash_at_the_end_after_a_file_could_not_grow(suffix: str) -> None:
    """What netCDF4 and h5netcdf could not close they tried to close again when it was freed."""
    program = f"import tests.test_files_faults as t; t.limited({suffix!r}, lazy=True)"
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert "OSError" in done.stderr.splitlines()[-1]
    assert done.returncode == 1
