"""Arrays without coordinates: .npy, .npz, .pt and .safetensors."""

import io
import re
import zipfile
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import load_file, save_file

from gridgrad.app.files import open_source, write_dataset

from .filing import got, hill, notes, problem, put, unwritable


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


GRID = np.arange(12.0).reshape(3, 4)


class TestNpy:
    @pytest.mark.parametrize("dtype", ["i1", "u8", "f2", "f4", ">f8", "c8", "c16"])
    def test_every_number(self, dtype: str) -> None:
        np.save("f.npy", GRID.astype(dtype))
        source = open_source("f.npy")
        found = source.dataset["values"]
        assert (found.dims, found.dtype) == (("dim0", "dim1"), np.dtype(dtype))
        assert source.counts_samples
        np.testing.assert_array_equal(found, GRID.astype(dtype))

    def test_in_fortran_order(self) -> None:
        np.save("f.npy", np.asfortranarray(GRID))
        np.testing.assert_array_equal(got("f.npy")["values"][1:], GRID[1:])

    def test_holds_one_array(self) -> None:
        message = unwritable(hill(), "g.npy")
        assert "there are 2: u, v" in message
        put(hill()[["u"]], "g.npy")
        np.testing.assert_array_equal(np.load("g.npy"), hill().u)

    @pytest.mark.parametrize(("shape", "words"), [((0, 3), "no numbers"), ((), "single number")])
    def test_nothing_to_differentiate(self, shape: tuple[int, ...], words: str) -> None:
        np.save("f.npy", np.zeros(shape))
        assert words in problem("f.npy")

    @pytest.mark.parametrize("values", [np.array(["a"]), np.array([True]), np.zeros(2, "f4,i4")])
    def test_what_are_no_numbers(self, values: np.ndarray) -> None:
        np.save("f.npy", values)
        assert "no array of numbers" in problem("f.npy")


class TestNpz:
    def test_every_array_of_numbers(self) -> None:
        np.savez("f.npz", height=np.eye(3), step=2.0, who=np.array(["ann"]), x=np.arange(5))
        found = got("f.npz")
        assert {name: found[name].dims for name in found} == {
            "height": ("dim0", "dim1"), "x": ("x_dim0",), "step": (),
        }  # fmt: skip
        assert set(got("f.npz", var=["x"]).data_vars) == {"x"}
        assert got("f.npz", var=["x"]).x.dims == ("dim0",)

    def test_arrays_of_different_shapes(self) -> None:
        np.savez("f.npz", u=np.eye(3), v=np.ones((2, 2), "i4"))
        assert got("f.npz")["v"].dims == ("v_dim0", "v_dim1")
        assert got("f.npz", var=["v"])["v"].dims == ("dim0", "dim1")
        message = problem("f.npz", var=["w"])
        assert "u (3 x 3 float64), v (2 x 2 int32)" in message

    def test_without_numbers(self) -> None:
        np.savez("f.npz", who=np.array(["ann"]), n=3)
        assert "no array of numbers" in problem("f.npz")
        with zipfile.ZipFile("g.npz", "w"):
            pass
        assert "nothing" in problem("g.npz")

    def test_compression_follows(self) -> None:
        for save, kind in [(np.savez, "stored"), (np.savez_compressed, "deflated")]:
            save(f"{kind}.npz", u=np.zeros((40, 40)))
            found = got(f"{kind}.npz")
            for field in (found, found.chunk(dim0=7)):
                put(field, "g.npz")
                with zipfile.ZipFile("g.npz") as archive:
                    assert (archive.getinfo("u.npy").compress_type == 8) == (kind == "deflated")
                    assert archive.testzip() is None

    def test_positions_come_along(self) -> None:
        put(hill().chunk(lat=2), "g.npz")
        with np.load("g.npz") as found:
            assert set(found) == {"u", "v", "lat", "lon"}
            np.testing.assert_array_equal(found["lat"], hill().lat)


class TestTensors:
    @pytest.mark.parametrize("name", ["f.pt", "f.safetensors"])
    def test_tensors_by_name(self, name: str) -> None:
        tensors = {
            "u": torch.arange(12.0).reshape(3, 4),
            "n": torch.arange(5),
            "b": torch.tensor([1.5, -2.25], dtype=torch.bfloat16),
        }
        torch.save(tensors, name) if name == "f.pt" else save_file(tensors, name)
        source = open_source(name)
        found = source.dataset
        assert (found.u.dims, found.n.dims) == (("dim0", "dim1"), ("n_dim0",))
        assert found.b.dtype == np.float32
        np.testing.assert_array_equal(found.b, [1.5, -2.25])
        np.testing.assert_array_equal(found.u[::-1, 1:], tensors["u"].flip(0)[:, 1:])
        assert "bfloat16" in notes(source)
        assert set(got(name, var=["n"]).data_vars) == {"n"}
        assert "there are" in problem(name, var=["w"])

    def test_one_tensor(self) -> None:
        leaf = torch.arange(12.0).reshape(3, 4).requires_grad_()
        torch.save(leaf, "f.pt")
        np.testing.assert_array_equal(got("f.pt")["values"], leaf.detach())
        torch.save(leaf.detach().T, "f.pt")
        np.testing.assert_array_equal(got("f.pt")["values"], leaf.detach().T)
        torch.save(leaf.detach(), "f.pt", _use_new_zipfile_serialization=False)
        np.testing.assert_array_equal(got("f.pt")["values"], leaf.detach())
        torch.save(torch.complex(leaf.detach(), leaf.detach()).conj(), "f.pt")
        np.testing.assert_array_equal(got("f.pt")["values"], leaf.detach() * (1 - 1j))

    @pytest.mark.parametrize("lazy", [False, True])
    def test_pytorch_reads_what_is_written(self, lazy: bool) -> None:
        field = hill(np.float32)
        field = field.chunk(lat=2, lon=3) if lazy else field
        put(field, "g.pt")
        put(field, "g.safetensors")
        for found in (
            torch.load("g.pt"),
            torch.load("g.pt", mmap=True),
            load_file("g.safetensors"),
        ):
            assert set(found) == {"u", "v", "lat", "lon"}
            np.testing.assert_array_equal(found["v"], field.v)
        put(field[["u"]].drop_vars(["lat", "lon"]), "g.pt")
        np.testing.assert_array_equal(torch.load("g.pt"), field.u)

    def test_what_is_no_tensor(self) -> None:
        torch.save({"lr": 0.1, "sparse": torch.eye(3).to_sparse(), "steps": [1, 2]}, "f.pt")
        assert "no arrays of numbers" in problem("f.pt")
        torch.save([torch.ones(3)], "f.pt")
        assert "no arrays of numbers" in problem("f.pt")

    def test_what_tensors_cannot_hold(self) -> None:
        wide = xr.Dataset({"u": ("x", np.ones(3, "c16"))})
        assert "complex128" in unwritable(wide, "g.safetensors")
        longest = xr.Dataset({"u": ("x", np.ones(3, "m8[s]"))})
        assert "PyTorch" in unwritable(longest, "g.pt")


class TestObjects:
    """Files that could run code are not read."""

    @pytest.mark.parametrize("name", ["f.npy", "f.npz"])
    def test_pickles(self, name: str) -> None:
        values = np.array([{}, 1], dtype=object)
        np.save(name, values, allow_pickle=True) if name == "f.npy" else np.savez(name, f=values)
        assert "Python objects" in problem(name)
        if name == "f.npz":
            assert "Python objects" in problem(name, var=["f"])

    def test_pickles_of_pytorch(self) -> None:
        torch.save({"u": torch.ones(3), "path": Path("x")}, "f.pt")
        assert "Python objects" in problem("f.pt")


def test_broken_files() -> None:
    whole, zipped, saved, safe = io.BytesIO(), io.BytesIO(), io.BytesIO(), Path("whole.safetensors")
    np.save(whole, np.arange(100.0))
    np.savez(zipped, f=np.arange(100.0))
    torch.save(torch.ones(100), saved)
    save_file({"u": torch.ones(100)}, safe)
    for name, content in [
        ("a.npy", whole.getvalue()[:-9]),
        ("b.npy", whole.getvalue()[:20]),
        ("c.npy", b"no such thing"),
        ("d.npz", zipped.getvalue()[:-9]),
        ("e.npz", zipped.getvalue()[:150] + b"!!" + zipped.getvalue()[152:]),
        ("g.npz", whole.getvalue()),
        ("h.npy", zipped.getvalue()),
        ("i.pt", saved.getvalue()[:-9]),
        ("j.pt", b"no such thing"),
        ("k.safetensors", safe.read_bytes()[:-9]),
        ("l.safetensors", b"\xff" * 40),
    ]:
        Path(name).write_bytes(content)
        assert repr(name) in problem(name)


def resident(kind: str) -> int:
    """The memory of this process in MiB: now (VmRSS), or at most since it was last forgotten (VmHWM)."""
    return int(re.search(rf"{kind}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024


def large(rows: int, suffix: str) -> xr.Dataset:
    if suffix == ".parquet":
        return xr.Dataset({"u": ("x", da.full(rows * 1024, 0.25, chunks=2**19) * 2)})
    values = da.full((rows, 1024), 0.25, chunks=(512, 1024)) * 2
    coords = {"y": np.arange(float(rows)), "x": np.arange(1024.0)}
    return xr.Dataset({"u": (("y", "x"), values)}, coords)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells its peaks")
@pytest.mark.parametrize(
    "suffix",
    [".npy", ".nc", ".cdf", ".zarr", ".h5", ".tif", ".pt", ".safetensors", ".npz", ".parquet"],
)
def test_no_more_than_some_chunks_are_held_at_a_time(
    suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 MiB in chunks of 4 MiB, written and read again."""
    monkeypatch.setenv("GDAL_CACHEMAX", "16")
    risen(64, suffix)  # brings the library into memory
    assert risen(8192, suffix) <= 40


def risen(rows: int, suffix: str) -> int:
    """By how many MiB memory rises at most."""
    start = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    path = Path(f"f{rows}{suffix}")
    write_dataset(large(rows, suffix), path, suffix)
    if suffix not in (".parquet", ".npz"):
        source = open_source(str(path), var=None if suffix == ".npy" else ["u"])
        (found,) = source.dataset.data_vars.values()
        for at in range(0, rows, 256):
            np.testing.assert_array_equal(found[at : at + 256], 0.5)
        source.close()
    return resident("VmHWM") - start
