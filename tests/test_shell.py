"""The operators of the shell, from file to file: the library's results in every format and any regions."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import netCDF4
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import gridgrad
import gridgrad.xarray
from gridgrad.app import job, tables
from gridgrad.app.cli import app
from gridgrad.app.files import open_source, write_dataset

from .commanding import command, done, save

# The line at the end; a rate stands in it where it took more than a second.
WROTE = r"gridgrad: Wrote 'g\.zarr'(: [\d.]+ [kM]B in [\d.]+ s \([\d.]+ [kM]B/s\))?\."


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def small_regions(monkeypatch):
    """Many regions even of little data."""
    cut = job.Job.cut
    monkeypatch.setattr(job.Job, "cut", lambda self, limit, threads=1: cut(self, 3 << 14, threads))


def winds(dtype="f4"):
    """A small field of winds, from north to south, around the globe."""
    rng = np.random.default_rng(0)
    coords = {
        "time": ("time", np.array(["2024-01-01T00", "2024-01-01T06"], "M8[ns]"), {"axis": "T"}),
        "lat": ("lat", np.linspace(80, -80, 33), {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": ("lon", np.arange(0, 360, 7.5), {"units": "degrees_east", "standard_name": "longitude"}),
    }  # fmt: skip
    found = {
        name: (
            ("time", "lat", "lon"),
            rng.normal(size=(2, 33, 48)).astype(dtype),
            {"units": "m s-1"},
        )
        for name in ("u", "v")
    }
    attrs = {"title": "winds", "history": "made by a test"}
    return xr.Dataset({**found, "flag": ("lat", np.arange(33))}, coords, attrs)


def written(name, dataset=None):
    """The winds in a file."""
    dataset = winds() if dataset is None else dataset
    chunks = {"chunksizes": (1, 8, 16), "zlib": True} if name.endswith(".nc") else {}
    if name.endswith(".zarr"):
        chunks = {"chunks": (1, 8, 16)}
        dataset.to_zarr(name, encoding={"u": chunks, "v": chunks}, consolidated=False)
    else:
        dataset.to_netcdf(name, encoding={"u": chunks, "v": chunks}, engine="netcdf4")
    return name


CALLS = {
    "gradient": (["--dim", "lat,lon"], lambda ds, **o: ds.u.gridgrad.gradient(["lat", "lon"], **o)),
    "derivative": (
        ["--dim", "lon", "--order", "2"],
        lambda ds, **o: ds.u.gridgrad.derivative("lon", order=2, **o).to_dataset(),
    ),
    "laplacian": (
        ["--dim", "lon", "--accuracy", "4"],
        lambda ds, **o: ds.u.gridgrad.laplacian("lon", accuracy=4, **o).to_dataset(),
    ),
    "divergence": (
        ["--dim", "lon,lat"],
        lambda ds, **o: ds.gridgrad.divergence(u="lon", v="lat", **o).to_dataset(),
    ),
    "curl": (
        ["--dim", "lon,lat"],
        lambda ds, **o: ds.gridgrad.curl(u="lon", v="lat", **o).to_dataset(),
    ),
}


@pytest.mark.usefixtures("small_regions")
@pytest.mark.parametrize("operator", CALLS)
@pytest.mark.parametrize(
    ("source", "output"), [("w.nc", "g.zarr"), ("w.zarr", "g.nc"), ("w.zarr", "g.zarr")]
)
def test_results_are_those_of_the_library_bit_for_bit(operator, source, output):
    words, library = CALLS[operator]
    variables = "u" if operator in ("gradient", "derivative", "laplacian") else "u,v"
    if "gradient" in words or operator != "laplacian":
        words = [*words, "--boundary", "lon=periodic"]
    done(operator, written(source), output, "--var", variables, *words)
    boundary = {} if operator == "laplacian" else {"boundary": {"lon": "periodic"}}
    expected = library(winds(), **boundary)
    found = open_source(output).dataset.load()
    assert list(found.data_vars) == list(expected.data_vars)
    for name, each in expected.data_vars.items():
        assert found[name].dtype == each.dtype
        np.testing.assert_array_equal(found[name].values, each.values)
        assert {key: found[name].attrs[key] for key in each.attrs} == each.attrs
        for coordinate in expected.coords:
            np.testing.assert_array_equal(found[coordinate].values, expected[coordinate].values)
    assert found.attrs["title"] == "winds"
    first, last = found.attrs["history"].splitlines()
    assert first == "made by a test"
    assert "gridgrad" in last
    assert sorted(os.listdir()) == sorted([source, output])


@pytest.mark.usefixtures("small_regions")
@pytest.mark.parametrize("threads", [1, 3])
def test_chunks_follow_the_input_or_the_user(threads):
    import zarr

    written("w.zarr")
    words = ["gradient", "w.zarr", "--var", "u", "--dim", "lat,lon", "--threads", threads]
    done(*words, "g.zarr")
    assert zarr.open_group("g.zarr")["du_dlat"].chunks == (1, 8, 16)
    done(*words, "h.zarr", "--chunks", "lat=5,time=2")
    assert zarr.open_group("h.zarr")["du_dlat"].chunks == (2, 5, 16)
    xr.testing.assert_identical(
        xr.open_zarr("g.zarr").drop_attrs(), xr.open_zarr("h.zarr").drop_attrs()
    )


@pytest.mark.usefixtures("small_regions")
def test_shards_are_written_whole():
    import zarr

    ds = winds()
    words = {"chunks": (1, 4, 8), "shards": (1, 16, 16)}
    ds.to_zarr("w.zarr", encoding={"u": words, "v": words}, consolidated=False)
    done("gradient", "w.zarr", "g.zarr", "--var", "u", "--dim", "lat")
    array = zarr.open_group("g.zarr")["du_dlat"]
    assert (array.chunks, array.shards) == ((1, 4, 8), (1, 16, 16))
    np.testing.assert_array_equal(array[:], ds.u.gridgrad.derivative("lat", edge_order=1).values)


def test_a_version_2_store_stays_one():
    winds().to_zarr("w.zarr", zarr_format=2)
    done("gradient", "w.zarr", "g.zarr", "--var", "u", "--dim", "lat")
    assert Path("g.zarr", ".zgroup").exists()


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".nc", ".h5", ".zarr", ".pt", ".safetensors"])
def test_arrays_in_every_format(suffix):
    values = np.random.default_rng(0).normal(size=(5, 6)).astype("f4")
    words = ["--dim", 1, "--spacing", 0.5, "--order", 2, "--quiet"]
    result = command("derivative", save(values), f"g{suffix}", *words)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    dataset = open_source(f"g{suffix}").dataset
    (found,) = dataset.data_vars.values()
    np.testing.assert_array_equal(found.values, gridgrad.derivative(values, order=2, spacing=0.5))
    assert found.dtype == "f4"


@pytest.mark.parametrize(
    "suffix", [".csv", ".parquet", ".npz", ".pt", ".nc", ".h5", ".zarr", ".tif"]
)
def test_every_format_is_read_by_the_command(suffix):
    """GRIB, images and zipped stores, which are not written, are made by hand in other tests."""
    values = np.random.default_rng(0).normal(size=(5, 6)).astype("f4")
    words = ["--dim", 0, "--spacing", 0.5, "--accuracy", 4, "--edge-order", 1]
    if suffix in (".csv", ".parquet"):
        Path("g.csv").write_text(
            "x,f\n" + "".join(f"{x},{f}\n" for x, f in enumerate(values.ravel()))
        )
        if suffix == ".parquet":
            open_source("g.csv", coordinate="x").dataset.to_dataframe().to_parquet("g.parquet")
        words, values = ["--coordinate", "x", "--accuracy", 4, "--edge-order", 1], values.ravel()
        spacing = 1
    else:
        write_dataset(xr.Dataset({"f": (("y", "x"), values)}), Path(f"g{suffix}"), suffix)
        spacing = 0.5
    result = command("gradient", f"g{suffix}", "out.npz", *words, "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    with np.load("out.npz") as found:
        slope = found[next(name for name in found.files if name.startswith("d"))]
    expected = gridgrad.gradient(
        values.astype(slope.dtype), dim=0, spacing=spacing, accuracy=4, edge_order=1
    )
    np.testing.assert_allclose(slope, expected[0], rtol=1e-5, atol=1e-5)


def test_a_table_with_dates():
    Path("fall.csv").write_text("time,height\n2024-01-01,0\n2024-01-02,3\n2024-01-04,12\n")
    for suffix in (".csv", ".parquet"):
        done("derivative", "fall.csv", f"speed{suffix}", "--coordinate", "time", "--dim", "time",
             "--time-unit", "D", "--edge-order", 1)  # fmt: skip
        found = open_source(f"speed{suffix}", coordinate="time").dataset
        (speed,) = found.data_vars.values()
        np.testing.assert_allclose(speed.values, [3, 3.5, 4.5])


def test_positions_from_files_and_variables():
    x = np.array([0.0, 1, 4, 9])
    values = np.random.default_rng(0).normal(size=(3, 4))
    np.save("x, of all.npy", x)
    np.savez("f.npz", f=values, lon=x)
    expected = gridgrad.gradient(values, spacing=(2.0, x))
    done("gradient", "f.npz", "g.npz", "--var", "f", "--spacing", 2, "--spacing", "x, of all.npy")
    for part, whole in zip(np.load("g.npz").values(), expected, strict=True):
        np.testing.assert_array_equal(part, whole)
    done("gradient", save(values), "h.npz", "--dim", "1", "--spacing", "dim1=x, of all.npy")
    np.testing.assert_array_equal(next(iter(np.load("h.npz").values())), expected[1])


def test_every_variable_that_has_the_dims_is_taken():
    written("w.nc")
    done("gradient", "w.nc", "g.nc", "--dim", "lat")
    assert list(xr.open_dataset("g.nc").data_vars) == ["du_dlat", "dv_dlat", "dflag_dlat"]
    done("gradient", "w.nc", "h.nc", "--dim", "lon")
    assert list(xr.open_dataset("h.nc").data_vars) == ["du_dlon", "dv_dlon"]


def test_dtypes():
    written("w.nc")
    done("gradient", "w.nc", "g.nc", "--var", "u", "--dim", "lat", "--dtype", "float64")
    found, ds = xr.open_dataset("g.nc"), winds()
    expected = ds.u.astype("f8").gridgrad.gradient("lat").du_dlat
    np.testing.assert_array_equal(found.du_dlat.values, expected.values)
    written("x.nc", winds("f8"))
    done("gradient", "x.nc", "h.nc", "--var", "u", "--dim", "lat", "--dtype", "float32")
    expected = winds("f8").u.gridgrad.gradient("lat").du_dlat.astype("f4")
    np.testing.assert_array_equal(xr.open_dataset("h.nc").du_dlat.values, expected.values)


def test_the_table_and_json():
    written("w.nc")
    result = done("gradient", "w.nc", "--var", "u", "--dim", "lat,lon")
    for word in ("du_dlat", "2 x 33 x 48", "float32", "m s-1 degree-1", "RMS", "non-finite"):
        assert word in result.stdout
    assert result.stderr == ""
    found = json.loads(
        done("gradient", "w.nc", "g.nc", "--var", "u", "--dim", "lat", "--json").stdout
    )
    expected = winds().u.gridgrad.gradient("lat").du_dlat.values
    (row,) = found["results"]
    assert (found["output"], row["name"], row["shape"]) == ("g.nc", "du_dlat", [2, 33, 48])
    np.testing.assert_allclose(row["rms"], np.sqrt((expected.astype("f8") ** 2).mean()), rtol=1e-6)
    assert (row["min"], row["max"]) == (expected.min(), expected.max())
    result = done("gradient", "w.nc", "h.nc", "--var", "u", "--dim", "lat", "--quiet")
    assert (result.stdout, result.stderr) == ("", "")


def test_the_installed_command_and_its_lines():
    written("w.zarr")
    result = command("gradient", "w.zarr", "g.zarr", "--var", "u", "--dim", "latitude,longitude")
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(WROTE + "\n", result.stderr)
    assert "du_dlat" in result.stdout
    assert "du_dlon" in result.stdout


@pytest.mark.parametrize("operator", ["gradient", "derivative", "laplacian", "divergence", "curl"])
def test_the_examples_of_the_help_work_as_printed(operator):
    text = CliRunner().invoke(app, [operator, "--help"]).stdout
    lines = [line.split()[1:] for line in text.splitlines() if line.startswith("    gridgrad ")]
    assert lines
    for words in lines:
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (words, result.stderr)


def test_words_of_options_are_completed():
    for words, offered in (
        ("gradient f.nc --side b", ["backward"]),
        ("plot f.nc --kind s", ["slices", "streamlines"]),
        ("derivative f.nc --boundary re", ["reflect", "replicate"]),
        ("derivative f.nc --dtype complex", ["complex64", "complex128"]),
    ):
        asked = {"_GRIDGRAD_COMPLETE": "complete_bash", "COMP_WORDS": f"gridgrad {words}"}
        env = {**os.environ, **asked, "COMP_CWORD": str(len(words.split()))}
        program = [
            sys.executable,
            "-c",
            "import sys; sys.argv = ['gridgrad']; from gridgrad.app import main; main()",
        ]
        result = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
        assert result.stdout.split() == offered


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_narrow_terminal_cuts_nothing_off(width):
    columns = ("dim", ">n", "coordinate", "first", "last", "unit", "what")
    row = (
        "longitude",
        "480",
        "yes",
        "2020-01-01T00",
        "2020-12-31T18",
        "degrees_east",
        "goes around the globe",
    )
    with mock.patch.dict(os.environ, {"COLUMNS": str(width)}):
        terminal = io.StringIO()
        terminal.isatty = lambda: True
        tables.show([tables.table("grid", columns, [row])], terminal)
    text = re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue())
    assert set(row[:-1]) <= set(text.split())
    assert set(row[-1].split()) <= set(text.split())
    assert max(map(len, text.splitlines())) <= width


def test_completion_is_offered():
    # Without this the shell is the one that runs the tests, which may be one that has no completion.
    told = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    result = command("--show-completion", "bash", env=told)
    assert "--install-completion" in command("--help").stdout
    assert "COMPLETE=complete_bash" in result.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_a_bar_on_a_terminal():
    import pty

    parent, child = pty.openpty()
    words = ["gradient", save(np.zeros((300, 400))), "g.zarr", "--dim", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "gridgrad", *words],
        stdout=subprocess.PIPE, stderr=child, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:  # fmt: skip
        os.close(child)
        said = b""
        while True:
            try:
                part = os.read(parent, 1 << 16)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            said += part
        table = process.stdout.read()
    os.close(parent)
    assert process.returncode == 0
    text = said.decode()
    assert "gradient of f.npy" in text  # the bar, which goes when it is done
    assert "kB" in text
    assert re.search(WROTE + "$", text.rstrip())
    assert b"df" not in said
    assert b"dvalues_ddim0" in table


@pytest.mark.parametrize("suffix", ["npz", "nc"])
def test_spacing_is_found_in_the_input_though_var_names_another(suffix):
    values, x = np.arange(30.0).reshape(5, 6) ** 2, np.arange(6.0) ** 1.5
    if suffix == "npz":
        np.savez("in.npz", z=values, x=x)
    else:
        xr.Dataset({"z": (("dim0", "dim1"), values), "x": ("dim1", x)}).to_netcdf("in.nc")
    done("gradient", f"in.{suffix}", "out.npz", "--var", "z", "--dim", "dim1", "--spacing", "x")
    with np.load("out.npz") as found:
        np.testing.assert_allclose(found["dz_ddim1"], np.gradient(values, x, axis=1), rtol=1e-12)


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("output", ["g.nc", "g.cdf", "g.h5", "g.zarr"])
def test_a_dim_that_may_grow_stays_one(output, in_memory, monkeypatch):
    """As a record dim of NetCDF may, to which other tools append; Zarr's all may."""
    monkeypatch.setattr("gridgrad.app.produce.fits_in_memory", lambda *_: in_memory)
    winds().to_netcdf("f.nc", unlimited_dims=["time"], engine="netcdf4")
    done("gradient", "f.nc", output, "--var", "u", "--dim", "lat,lon")
    if output != "g.zarr":
        with netCDF4.Dataset(output) as found:
            assert [name for name, dim in found.dimensions.items() if dim.isunlimited()] == ["time"]
    expected = winds().u.gridgrad.gradient(["lat", "lon"]).du_dlat
    np.testing.assert_array_equal(open_source(output).dataset.du_dlat, expected)
