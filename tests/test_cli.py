"""The command, as a user meets it: what it computes, prints and writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import gridgrad
from gridgrad.app.cli import app

from .commanding import HILL, call, command, done, refused, save


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class TestTheMainJob:
    def test_the_terrain(self) -> None:
        result = command(
            "gradient", "sample:terrain", "--out", "g.npz", "--plot", "g.png", "--force"
        )
        assert result.returncode == 0, result.stderr
        assert "WGS84 at 36.59 degrees north" in result.stderr
        assert "slope towards the north" in result.stderr
        for word in (
            "component",
            "d_dy",
            "d_dx",
            "344 x 403",
            "float64",
            "RMS",
            "non-finite",
            "m/m",
        ):
            assert word in result.stdout

        import matplotlib

        with np.load(
            Path(matplotlib.get_data_path(), "sample_data", "jacksboro_fault_dem.npz")
        ) as dem:
            height = dem["elevation"].astype(np.float64)
            latitude = np.radians((dem["ymin"] + dem["ymax"]) / 2)
        # A sphere of the mean radius agrees with the ellipsoid to a third of a percent.
        step = 6371008.8 * np.radians(1 / 1200)
        with np.load("g.npz") as found:
            assert sorted(found.files) == ["d_dx", "d_dy"]
            north, east = found["d_dy"], found["d_dx"]
        np.testing.assert_allclose(north, -np.gradient(height, axis=0) / step, rtol=4e-3)
        expected = np.gradient(height, axis=1) / (step * np.cos(latitude))
        np.testing.assert_allclose(east, expected, rtol=4e-3)
        # Row 0 is the northern edge: where the land falls towards later rows, it rises to the
        # north.
        row, column = np.unravel_index(north[1:-1].argmax(), north[1:-1].shape)
        assert height[row, column] > height[row + 2, column]
        with Image.open("g.png") as image:
            assert image.width > 1500
        assert sorted(os.listdir()) == ["g.npz", "g.png"]

    def test_the_examples_of_the_help_work_as_printed(self) -> None:
        text = CliRunner().invoke(app, ["gradient", "--help"]).stdout
        examples = [
            line.split()[1:] for line in text.splitlines() if line.startswith("    gridgrad ")
        ]
        assert len(examples) == 3
        for words in examples:
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, (words, result.stderr)
        assert sorted(os.listdir()) == ["curvature.npz", "slope.csv", "terrain.png"]

    def test_version_and_help(self) -> None:
        result = command("--version")
        assert (result.returncode, result.stdout) == (0, f"gridgrad {gridgrad.__version__}\n")
        assert "gradient" in command("--help").stdout

    def test_help_imports_nothing_heavy(self) -> None:
        code = "import sys, gridgrad.app.cli; print([m for m in sys.modules if m in %r])"
        heavy = ["matplotlib", "PIL", "rich", "torch", "jax"]
        found = subprocess.run(
            [sys.executable, "-c", code % heavy], capture_output=True, text=True, check=True
        )
        assert found.stdout == "[]\n"


class TestNumbers:
    @pytest.mark.parametrize("dtype", ["u1", "i8", "f4", "f8", "c16"])
    @pytest.mark.parametrize("shape", [(9,), (4, 5), (3, 4, 5), (2, 3, 2, 3)])
    def test_results_are_those_of_the_library(self, dtype: str, shape: tuple[int, ...]) -> None:
        values = np.random.default_rng(3).integers(0, 99, shape).astype(dtype)
        done(save(values), "--out", "g.npz", "--spacing", 0.5)
        with np.load("g.npz") as found:
            for dim, expected in enumerate(gridgrad.gradient(values, spacing=0.5)):
                np.testing.assert_array_equal(found[f"d_dim{dim}"], expected)
                assert found[f"d_dim{dim}"].dtype == expected.dtype

    def test_dims_in_their_order(self) -> None:
        values = np.random.default_rng(4).normal(size=(4, 5, 6))
        done(save(values), "--dim", "-1,0", "--spacing", "2,3", "--out", "g.npy")
        expected = gridgrad.gradient(values, dim=(2, 0), spacing=(2, 3))
        np.testing.assert_array_equal(np.load("g.npy"), np.stack(expected))
        done("f.npy", "--dim", "-1", "--dim", "0", "--spacing", 2, "--spacing", 3, "--out", "h.npz")
        with np.load("h.npz") as found:
            assert found.files == ["d_dim2", "d_dim0"]
            np.testing.assert_array_equal(found["d_dim2"], expected[0])

    def test_edge_order(self) -> None:
        done(save(np.arange(6.0) ** 2), "--edge-order", 2, "--out", "g.npy")
        np.testing.assert_allclose(np.load("g.npy"), 2 * np.arange(6.0))

    def test_positions_from_files(self) -> None:
        x, y = np.array([0.0, 1, 4, 9]), np.array([2, 3, 5])
        np.save("x, of all.npy", x)
        Path("y.csv").write_text("2\n3\n5\n")
        values = np.random.default_rng(5).normal(size=(3, 4))
        done(save(values), "--spacing", "y.csv", "--spacing", "x, of all.npy", "--out", "g.npy")
        expected = gridgrad.gradient(values, spacing=(y, x))
        np.testing.assert_array_equal(np.load("g.npy"), np.stack(expected))

    def test_positions_from_the_input(self) -> None:
        x = np.array([0.0, 1, 4, 9])
        np.savez("f.npz", f=np.eye(4), x=x, dy=0.5)
        done("f.npz", "--var", "f", "--spacing", "dy,x", "--out", "g.npy", "--plot", "g.png")
        expected = gridgrad.gradient(np.eye(4), spacing=(0.5, x))
        np.testing.assert_array_equal(np.load("g.npy"), np.stack(expected))

    def test_a_curve_with_its_coordinate(self) -> None:
        x = np.linspace(0, 2, 20) ** 2
        rows = (f"{a!r},{b!r}\n" for a, b in zip(x.tolist(), np.sin(x).tolist(), strict=True))
        Path("f.csv").write_text("t,v\n" + "".join(rows))
        result = done("f.csv", "--coordinate", "t", "--out", "g.csv", "--plot", "g.svg")
        (expected,) = gridgrad.gradient(np.sin(x), spacing=x)
        found = np.loadtxt("g.csv", delimiter=",", skiprows=1)
        np.testing.assert_array_equal(found, np.c_[x, expected])
        assert "per unit of t" in result.stdout
        refusal = refused(call("f.csv", "--coordinate", "t", "--spacing", 1))
        assert "--spacing" in refusal

    def test_images(self) -> None:
        values = np.arange(20, dtype=np.uint16).reshape(4, 5) ** 3
        Image.fromarray(values).save("f.png")
        done("f.png", "--out", "g.npy")
        expected = np.stack(np.gradient(values.astype(np.float64)))
        np.testing.assert_array_equal(np.load("g.npy"), expected)


class TestWhatIsPrinted:
    def test_the_numbers(self) -> None:
        values = np.array([[1.0, 2, 4, 8], [1, 3, np.nan, 7]])
        table = json.loads(done(save(values), "--json").stdout)
        expected = gridgrad.gradient(values)
        assert table["input"] == "f.npy"
        for row, part in zip(table["components"], expected, strict=True):
            assert row["shape"] == [2, 4]
            assert row["dtype"] == "float64"
            assert row["nonfinite"] == np.isnan(part).sum()
            assert (row["min"], row["max"]) == (np.nanmin(part), np.nanmax(part))
            assert row["mean"] == pytest.approx(np.nanmean(part))
            assert row["rms"] == pytest.approx(np.sqrt(np.nanmean(part**2)))

    def test_numbers_at_the_ends_of_the_scale(self) -> None:
        save(np.array([1e308, 1e308, -1e307]))
        (row,) = json.loads(done("f.npy", "--json").stdout)["components"]
        assert np.isfinite([row["rms"], row["mean"]]).all()
        save(np.full(3, np.nan))
        (row,) = json.loads(done("f.npy", "--json").stdout)["components"]
        assert (row["min"], row["max"], row["mean"], row["rms"], row["nonfinite"]) == (
            *[None] * 4,
            3,
        )
        assert "-" in done("f.npy").stdout

    def test_complex_numbers(self) -> None:
        result = done(save(np.array([0, 3j, 0, 4])), "--json")
        (row,) = json.loads(result.stdout)["components"]
        assert (row["min"], row["max"]) == (0, 4)
        assert row["mean"] == pytest.approx([1.5, 0.375])
        assert "magnitude" in result.stderr
        assert "j" in done("f.npy", "--plot", "g.png").stdout

    def test_quiet(self) -> None:
        Path("f.csv").write_text("1,\n2,3\n")
        result = done("f.csv", "--out", "g.npz", "--quiet")
        assert (result.stdout, result.stderr) == ("", "")
        assert json.loads(done("f.csv", "--quiet", "--json").stdout)
        assert "1 of 4 values in 'f.csv' is missing" in done("f.csv").stderr

    def test_positions_that_turn_back_are_told(self) -> None:
        np.save("x.npy", np.array([0.0, 2, 1, 3]))
        result = done(save(np.arange(4.0)), "--spacing", "x.npy", "--plot", "g.png")
        assert result.stderr.count("\n") == 2

    @pytest.mark.parametrize(
        "name", ["a[red]b[bold] $x$.npy", "\x1b[31m\n\u6f22.npy", "[bold].npy"]
    )
    def test_names_are_plain_text(self, name: str) -> None:
        result = done(save(HILL, name), "--out", "[b].npz", "--plot", "$.png")
        assert name.replace("\x1b", " ").replace("\n", " ") in result.stdout
        assert "Wrote '[b].npz'." in result.stderr
        assert "\x1b" not in result.stdout + result.stderr

    def test_a_terminal_without_unicode(self) -> None:
        save(HILL, "\u6f22.npy")
        result = command("gradient", "\u6f22.npy", env={**os.environ, "PYTHONIOENCODING": "ascii"})
        assert result.returncode == 0, result.stderr
        assert "\\u6f22.npy" in result.stdout
