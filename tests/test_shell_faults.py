"""The command when something is wrong: one line, a status, and nothing half done."""

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image

import gridgrad
from gridgrad.app import produce, store
from gridgrad.app.pictures import results

from .commanding import HILL, call, command, contents, refused, save, script


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def files():
    """Good files and bad ones."""
    save(HILL)
    for name in ("empty.npy", "empty.nc"):
        Path(name).touch()
    Path("folder.npy").mkdir()
    Path("notes.txt").write_text("1 2 3")
    Path("old.npy").write_bytes(b"old")
    Path("old.png").write_bytes(b"old")
    Path("thesis.zarr").mkdir()
    Path("thesis.zarr/thesis.txt").write_text("mine")
    save(np.array(["a", "b"]), "words.npy")
    save(np.array([1.0]), "single.npy")
    x = np.arange(4.0)
    grid = xr.Dataset(
        {"t": (("y", "x"), np.ones((3, 4))), "words": ("x", list("abcd")), "s": ("z", x)},
        {"x": x, "height": (("y", "x"), np.ones((3, 4)))},
    )
    grid.to_netcdf("w.nc")
    for name, bad in (("nan", [0, 1, np.nan, 3]), ("twice", [0, 1, 1, 3])):
        grid.assign_coords(x=np.array(bad, float)).drop_indexes("x").to_netcdf(f"{name}.nc")
    Path("torn.nc").write_bytes(Path("w.nc").read_bytes()[:3000])
    grid[["t"]].to_zarr("w.zarr", consolidated=False, encoding={"t": {"chunks": (1, 2)}})
    shutil.copytree("w.zarr", "rotten.zarr")
    Path("rotten.zarr/t/c/1/1").write_bytes(b"rotten")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("no.npy", "no file 'no.npy'"),
        ("no.npy g.npy", "no file 'no.npy'"),
        ("folder.npy", "folder"),
        ("empty.npy", "'empty.npy' is empty"),
        ("empty.nc", "'empty.nc' is empty"),
        ("notes.txt", "unknown format"),
        ("words.npy", "words.npy"),
        ("single.npy", "2"),
        ("torn.nc g.nc", "torn.nc"),
        ("rotten.zarr g.nc --dim x", "'rotten.zarr'"),
        ("rotten.zarr g.zarr --dim x", "'rotten.zarr'"),
        ("sample:moon", "sample:terrain"),
        ("f.npy --dim 2", "--dim"),
        ("f.npy --dim x", "'dim0', 'dim1'"),
        ("f.npy --dim 1,-1", "distinct"),
        ("w.nc --dim lat", "t (3 x 4 float64)"),
        ("w.nc --var q", "t (3 x 4 float64)"),
        ("w.nc --var words", "no numbers"),
        ("w.nc --var t", "--spacing"),
        ("w.nc --var t --dim height", "y, x"),
        ("w.nc --var t --dim x --spacing 2", "twice"),
        ("nan.nc --var t --dim x", "finite"),
        ("twice.nc --var t --dim x", "distinct"),
        ("f.npy --spacing 0", "spacing"),
        ("f.npy --spacing nan", "spacing"),
        ("f.npy --spacing 1,2,3", "--spacing"),
        ("f.npy --spacing one", "--spacing"),
        ("f.npy --spacing x.npy", "x.npy"),
        ("f.npy --edge-order 0", "edge_order"),
        ("f.npy --accuracy 3", "accuracy"),
        ("f.npy --boundary wrap", "boundary"),
        ("f.npy --boundary a:b:c", "--boundary"),
        ("f.npy --period x", "--period"),
        ("f.npy --chunks 0", "--chunks"),
        ("f.npy g.zarr --chunks lat=5", "--chunks"),
        ("f.npy --memory lots", "--memory"),
        ("f.npy --memory 1MB", "--memory must be at least"),
        ("f.npy --threads 0", "--threads"),
        ("f.npy --dtype int32", "--dtype"),
        ("f.npy --var values,values", "--var is given twice for 'values'"),
        ("f.npy --dim 0,0", "--dim is given twice for '0'"),
        ("f.npy --scheduler here", "--scheduler must be an address such as tcp://host:8786"),
        ("f.npy --resume", "--resume"),
        ("f.npy --coordinate x", "--coordinate"),
        ("f.npy --time-unit fortnight", "time_unit"),
        ("f.npy g.txt", "must end in one of"),
        ("f.npy g.png", "must end in one of"),
        ("f.npy nowhere/g.npy", "'nowhere'"),
        ("f.npy old.npy --dim 0", "--force"),
        ("f.npy f.npy --force --dim 0", "input"),
        ("f.npy folder.npy --force --dim 0", "not a file"),
        ("f.npy thesis.zarr --force", "no Zarr store"),
        ("f.npy g.npy", ".npz"),
        ("w.zarr w.zarr/t/g.zarr --dim x", "inside the input"),
        ("f.npy --plot g.npy", "--plot"),
        ("f.npy --plot nowhere/g.png", "'nowhere'"),
        ("f.npy --plot old.png", "--force"),
        ("f.npy g.npz --plot old.png", "--force"),
    ],
)
def test_one_line_and_nothing_written(words, part):
    before = contents()
    assert part in refused(call("gradient", *words.split()))
    assert contents() == before
    assert not [name for name in os.listdir() if "incomplete" in name]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("derivative f.npy", "--dim"),
        ("derivative f.npy --dim 0,1", "--dim"),
        ("derivative f.npy --dim 0 --order 9", "order"),
        ("divergence w.nc", "--var"),
        ("divergence w.nc --var t --dim x", "two or more"),
        ("curl w.nc --var t,s --dim x,y", "same dims"),
    ],
)
def test_operators(words, part):
    before = contents()
    assert part in refused(call(*words.split()))
    assert contents() == before


@pytest.mark.parametrize(
    "words", [["gradient"], ["gradient", "f.npy", "--nope"], ["nope"], ["gradient", "a", "b", "c"]]
)
def test_usage(words):
    result = command(*words)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Usage:" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_input_inside_the_output():
    xr.Dataset({"t": ("x", np.ones(5))}).to_zarr("w.zarr", consolidated=False)
    Path("w.zarr/f.csv").write_text("1\n2\n4\n")
    assert "lies inside" in refused(call("gradient", "w.zarr/f.csv", "w.zarr", "--force"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_that_is_read_only():
    save(HILL)
    Path("closed").mkdir(mode=0o500)
    assert "allows no new files" in refused(call("gradient", "f.npy", "closed/g.npz"))


def test_a_scheduler_that_does_not_answer():
    # A port that is open, and where nobody speaks.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        began = time.monotonic()
        words = ["--scheduler", f"tcp://127.0.0.1:{deaf.getsockname()[1]}"]
        result = script("", "gradient", save(HILL), "g.npz", *words)
        assert "did not answer within 4 s" in refused(result)
        # Its imports, on a busy machine, and the time that it was given.
        assert time.monotonic() - began < 60
    assert sorted(os.listdir()) == ["f.npy"]


def raiser(fault):
    def raises(*_, **__):
        raise fault

    return raises


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("fault", "status", "part"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2, "No space left"),
        (MemoryError(), 2, "not enough memory"),
        (KeyboardInterrupt(), 130, "Interrupted"),
        (TypeError("odd"), 2, "fault in gridgrad"),
    ],
)
def test_faults_at_work(fault, status, part, old, monkeypatch):
    save(HILL)
    if old:
        Path("g.npz").write_bytes(b"old")
        Path("g.png").write_bytes(b"old")
    before = contents()
    for module, name, output in [
        (produce, "write_dataset", "g.npz"),
        (store.StoreWriter, "__call__", "g.zarr"),
        (store.Store, "create", "g.zarr"),
        (results, "draw_results", None),
        (gridgrad.arrays.stored.Run, "on", "g.npz"),
    ]:
        words = ["f.npy", *([output] if output else []), "--plot", "g.png", "--force"]
        with monkeypatch.context() as patch:
            patch.setattr(module, name, raiser(fault))
            result = call("gradient", *words)
        assert result.exit_code == status
        assert result.stderr.count("\n") == 1
        assert part in result.stderr
        assert contents() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
@pytest.mark.parametrize("words", [["gradient", "f.npy"], ["--help"], ["--version"]])
def test_a_full_disk_behind_stdout(words):
    save(HILL)
    with open("/dev/full", "w") as full:
        result = command(*words, stdout=full)
    assert result.returncode == 2
    assert result.stderr == "gridgrad: No space left on device.\n"


def test_a_disk_that_is_full_in_the_middle():
    limit = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)); "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    )
    save(np.random.default_rng(0).normal(size=(600, 600)))
    for output in ("g.zarr", "g.nc", "g.npz"):
        line = refused(script(limit, "gradient", "f.npy", output))
        assert output in line
        assert "large" in line or "HDF" in line
    assert sorted(os.listdir()) == ["f.npy"]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    "words", ["info {} --values", "laplacian {} o.nc --spacing 1", "gradient {} o.zarr --spacing 1"]
)
def test_only_one_of_many_broken_chunks_is_told_of(words, version):
    """Zarr's event loop told of each that it still had at hand when the interpreter ended."""
    samples = xr.Dataset({"t": (("y", "x"), np.random.default_rng(0).random((64, 64)))})
    samples.to_zarr(
        "many.zarr", zarr_format=version, consolidated=False, encoding={"t": {"chunks": (4, 4)}}
    )
    for path in Path("many.zarr/t").rglob("*"):
        if path.is_file() and path.name not in (".zarray", ".zattrs", "zarr.json"):
            path.write_bytes(path.read_bytes()[:20])
    assert "many.zarr" in refused(command(*words.format("many.zarr").split()))
    assert not any(name.startswith("o.") for name in os.listdir())


def test_a_missing_extra_is_named():
    save(HILL)
    for module, words, extra in (
        ("matplotlib", ["--plot", "g.png"], "cli"),
        ("zarr", ["g.zarr"], "files"),
    ):
        result = script(f"sys.modules[{module!r}] = None", "gradient", "f.npy", *words)
        assert f"gridgrad[{extra}]" in result.stderr
        assert result.returncode == 2
        assert "Traceback" not in result.stderr


def test_a_reader_that_leaves_early_is_no_error():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        words = [save(HILL), "g.npz", "--quiet", "--json"]
        result = command("gradient", *words, stdout=closed)
    assert (result.returncode, result.stderr) == (0, "")
    assert Path("g.npz").exists()


def test_an_interrupt_before_anything_is_done():
    save(HILL)
    process = subprocess.run(
        [sys.executable, "-c", "from gridgrad import app\nimport gridgrad.app.cli as cli\n"
         "def stop(*_): raise KeyboardInterrupt\ncli.app = stop\napp.main()"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (-signal.SIGINT, "gridgrad: Interrupted.\n")


def test_help_imports_nothing_heavy():
    code = "import sys, gridgrad.app.cli; print([m for m in sys.modules if m in %r])"
    heavy = ["matplotlib", "PIL", "rich", "torch", "jax", "xarray", "numba", "dask"]
    found = subprocess.run(
        [sys.executable, "-c", code % heavy], capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n"


def test_version_and_help():
    result = command("--version")
    assert (result.returncode, result.stdout) == (0, f"gridgrad {gridgrad.__version__}\n")
    text = command("--help").stdout
    for name in ("gradient", "derivative", "laplacian", "divergence", "curl", "info", "plot"):
        assert f"  {name} " in text


def test_pictures_are_drawn_with_results():
    save(HILL)
    for words in (["g.npz"], []):
        assert call("gradient", "f.npy", *words, "--plot", "g.png", "--force").exit_code == 0
        with Image.open("g.png") as image:
            assert image.width > 1000
