"""`gridgrad info`: what is told of a file, and that the commands it suggests can be meant."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gridgrad.app.cli import app
from gridgrad.app.positions import Positions, describe
from gridgrad.app.source import Source
from gridgrad.app.suggestions import component_pairs
from gridgrad.app.survey import count, survey

from .commanding import refused, save
from .labelled import winds


def loaded_after(*words: str) -> set[str]:
    """The packages that the command has loaded when it ends."""
    program = (
        "import atexit, sys; from gridgrad.app import main; sys.argv = ['gridgrad', *sys.argv[1:]]; "
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def info(*words: object) -> Any:
    result = CliRunner().invoke(app, ["info", *map(str, words)])
    assert (result.exit_code, result.exception) == (0, None), result.stderr
    return result


def surveyed(dataset: xr.Dataset, **known: Any) -> Any:
    return survey(Source(dataset, "f.nc", **known), "f.nc")


def dates(*texts: str) -> np.ndarray:
    return np.array(texts, "M8[ns]")


class TestPositions:
    @given(
        n=st.integers(2, 400),
        step=st.sampled_from([1, 0.1, 0.25, 1 / 3, -0.75, 2.5, 1e-9, 123.456]),
        origin=st.sampled_from([0.0, -180.0, 90.0, 1e6]),
        dtype=st.sampled_from([np.float32, np.float64]),
    )
    def test_even_steps_are_uniform_in_every_dtype(
        self, n: int, step: float, origin: float, dtype: type
    ) -> None:
        values = (origin + step * np.arange(n)).astype(dtype)
        if len(set(values.tolist())) < n:
            return  # the dtype cannot tell them apart
        slack = float(np.finfo(dtype).eps) * max(abs(origin), abs(step) * n)
        if slack * 20 > abs(step):
            return  # nor their steps
        found = describe(values)
        assert found.kind == "uniform"
        assert found.step == pytest.approx(step, abs=4 * slack, rel=1e-6)

    @given(
        n=st.integers(8, 200),
        drop=st.sets(st.integers(1, 6), min_size=1, max_size=2),
        sign=st.sampled_from([1, -1]),
    )
    def test_gaps_are_counted(self, n: int, drop: set[int], sign: int) -> None:
        values = np.delete(sign * 0.1 * np.arange(n + 4), list(drop))
        found = describe(values)
        assert found.kind == "regular with gaps"
        assert found.missing == len(drop)
        assert found.step == pytest.approx(sign * 0.1)

    def test_days_and_hours_and_months(self) -> None:
        for values, spacing in [
            (np.arange("2024-01-01", "2024-01-09", dtype="M8[D]").astype("M8[ns]"), "1 day"),
            (np.arange("2024-01", "2025-06", dtype="M8[M]").astype("M8[ns]"), "1 month"),
            (np.arange("2000", "2009", dtype="M8[Y]").astype("M8[ns]"), "12 months"),
            (np.array([0, 6, 12, 18], "m8[h]").astype("m8[ns]"), "6 h"),
            (dates("2024-01-01", "2024-01-02", "2024-01-08", "2024-03-01"), "1 day to 53 days"),
            (np.array([200, 500, 850]), "300 to 350"),
            (np.array([7.0]), "-"),
        ]:
            assert describe(values).spacing == spacing

    def test_a_month_that_is_missing(self) -> None:
        months = np.delete(np.arange("2024-01", "2025-06", dtype="M8[M]").astype("M8[ns]"), 4)
        found = describe(months)
        assert (found.kind, found.missing, found.spacing) == ("regular with gaps", 1, "1 month")
        assert (found.gaps[0].after, found.gaps[0].before) == ("2024-04-01", "2024-06-01")

    def test_calendars_of_models(self) -> None:
        times = xr.date_range(
            "2001-01-30", periods=24, freq="MS", calendar="noleap", use_cftime=True
        )
        assert describe(times.values).spacing == "1 month"
        daily = xr.date_range("2001-01-30", periods=60, calendar="360_day", use_cftime=True)
        assert describe(np.delete(daily.values, 5)).missing == 1

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            (np.array([0.0, np.nan, 2, np.inf]), "2 of 4 positions that are not finite (at 1, 3)"),
            (np.array([0.0, 1, 1, 2]), "stands twice at 1 (samples 1 and 2)"),
            (np.array([0.0, 1, 2, 1.5]), "turns back at sample 3 (from 2 to 1.5)"),
            (np.array(["2024-01-01", "NaT"], "M8[ns]"), "1 of 2 positions that is no times (at 1)"),
            (np.array(["a", "b"]), "holds text, no positions"),
            (np.array([]), "has no positions"),
        ],
    )
    def test_what_makes_them_unfit(self, values: np.ndarray, words: str) -> None:
        found = describe(values)
        assert found.kind == "unfit"
        assert any(words in fault for fault in found.faults)

    @given(st.lists(st.floats(width=32), min_size=1, max_size=12))
    def test_all_positions_have_a_description(self, values: list[float]) -> None:
        found = describe(np.array(values))
        assert isinstance(found, Positions)
        assert found.spacing


class TestSurvey:
    def test_winds(self) -> None:
        found = surveyed(winds())
        time_, lat, lon = found.dims
        assert (time_.role, lat.role, lon.role) == ("time", "latitude", "longitude")
        assert time_.positions.kind == "regular with gaps"
        assert (lat.positions.spacing, lon.positions.spacing) == ("-15", "30")
        assert lon.around
        assert not lon.closed
        u = next(each for each in found.variables if each.name == "u")
        assert (u.dtype, u.stored, u.unit) == ("float32", "int16", "m s-1")
        assert (u.chunks, u.compression) == ((1, 9, 12), "deflate 4")
        commands = [each.command for each in found.suggestions]
        assert (
            "gridgrad gradient f.nc OUT.nc --var u --dim latitude,longitude "
            "--boundary longitude=periodic"
        ) in commands
        assert "gridgrad derivative f.nc OUT.nc --var u --dim time" in commands
        assert any(
            each.startswith("gridgrad curl f.nc OUT.nc --var u,v --dim longitude,latitude")
            for each in commands
        )
        assert found.suggestions[0].also == ("v",)

    def test_no_samples_are_read(self) -> None:
        dask = pytest.importorskip("dask.array")

        def fail(block: Any) -> Any:
            raise AssertionError("a sample was read")

        lazy = dask.ones((10, 10)).map_blocks(fail, dtype=float, meta=np.empty((0, 0)))
        found = surveyed(xr.Dataset({"f": (("y", "x"), lazy)}))
        assert found.variables[0].shape == (10, 10)

    def test_a_longitude_that_repeats_its_first_meridian(self) -> None:
        lon = ("lon", np.linspace(0, 360, 13), {"units": "degrees_east"})
        found = surveyed(xr.Dataset({"t": ("lon", np.ones(13))}, {"lon": lon}))
        assert found.dims[0].closed
        assert any("repeats its first meridian" in each for each in found.sentences)

    def test_a_longitude_that_jumps_by_a_turn(self) -> None:
        lon = ("lon", [350.0, 355, 0, 5], {"units": "degrees_east"})
        found = surveyed(xr.Dataset({"t": ("lon", np.ones(4))}, {"lon": lon}))
        assert found.sentences[0] == (
            "lon turns back at sample 2 (from 355 to 0): add or subtract 360 from there on, so that it "
            "rises or falls all the way."
        )

    def test_unfit_coordinates_are_said_and_not_suggested(self) -> None:
        values = np.ones((3, 4))
        dataset = xr.Dataset(
            {"t": (("y", "x"), values)},
            {
                "y": [0.0, 1, 1],
                "x": [0.0, 1, 2, 3],
                "lat": (("y", "x"), values),
                "lon": (("y", "x"), values),
            },
        )
        found = surveyed(dataset)
        assert (
            "y stands twice at 1 (samples 1 and 2): no derivative is taken along y."
            in found.sentences
        )
        assert any(
            each.startswith("lat and lon are two-dimensional (y, x)") for each in found.sentences
        )
        assert [each.command.split(" --dim ")[-1] for each in found.suggestions] == ["x"]

    def test_dims_without_coordinates(self) -> None:
        dataset = xr.Dataset({"t": (("y", "x"), np.ones((3, 4)))})
        assert surveyed(dataset).suggestions == []
        assert "give its step" in surveyed(dataset).sentences[0]
        counted = surveyed(dataset, counts_samples=True)
        assert counted.sentences == []
        assert "gridgrad gradient f.nc OUT.nc --var t" in [
            each.command for each in counted.suggestions
        ]

    def test_names_with_spaces_are_quoted(self) -> None:
        dataset = xr.Dataset({"a b": ("x", np.ones(3))}, {"x": [0.0, 1, 3]})
        found = survey(Source(dataset, "my file.nc"), "my file.nc")
        assert "'my file.nc' OUT.nc --var 'a b'" in found.suggestions[0].command

    def test_components(self) -> None:
        def of(**names: str) -> list[tuple[str, str]]:
            return component_pairs(
                xr.Dataset(
                    {
                        name: (
                            ("y", "x"),
                            np.ones((2, 2)),
                            {"standard_name": standard} if standard else {},
                        )
                        for name, standard in names.items()
                    }
                )
            )

        assert of(a="eastward_wind", b="northward_wind") == [("a", "b")]
        assert of(q="sea_water_x_velocity", p="sea_water_y_velocity") == [("q", "p")]
        assert of(u10="", v10="", t="") == [("u10", "v10")]
        assert of(tauy="", taux="") == [("taux", "tauy")]
        assert of(u="", w="", unit="", vnit="") == []
        assert of(flux="", sst="") == []

    @pytest.mark.parametrize("most", [8, 100, 10**6])
    def test_counts_do_not_depend_on_the_pieces(self, most: int) -> None:
        values = np.random.default_rng(1).normal(size=(3, 4, 5))
        values[0, 1] = np.nan
        values[2, 0, 0] = -np.inf
        found = count(xr.Variable(list("abc"), values), most)
        assert (found.missing, found.infinite) == (5, 1)
        finite = values[np.isfinite(values)]
        assert (found.min, found.max) == (finite.min(), finite.max())

    def test_counts_of_other_kinds(self) -> None:
        assert count(xr.Variable("a", np.array([3, 1]))).max == 3
        assert count(xr.Variable("a", np.array([3 + 4j, np.nan]))).max == 5
        assert count(xr.Variable("a", dates("2024-01-01", "NaT"))).missing == 1
        assert count(xr.Variable("a", np.array([np.nan]))).min is None


class TestTheCommand:
    def test_a_table(self) -> None:
        winds().to_netcdf("w.nc")
        result = info("w.nc")
        for part in (
            "w.nc", "latitude", "degrees_north", "-15", "periodic", "1 missing", "deflate 4",
            "(from int16)", "1 x 9 x 12",
            "time would be regular (1 day), but 1 of 4 positions is missing: 1 between 2001-01-02 and "
            "2001-01-04.",
            "\n  gridgrad curl w.nc OUT.nc --var u,v",
        ):  # fmt: skip
            assert part in result.stdout
        assert result.stderr == ""

    def test_json(self) -> None:
        winds().to_netcdf("w.nc")
        found = json.loads(info("w.nc", "--json", "--var", "u", "--values").stdout)
        (u,) = found["variables"]
        assert (u["name"], u["shape"]) == ("u", [3, 9, 12])
        assert u["values"]["missing"] == 0
        assert found["dims"][0]["positions"]["gaps"] == [
            {"after": "2001-01-02", "before": "2001-01-04", "missing": 1}
        ]
        assert found["input"] == "w.nc"

    def test_values_are_counted(self) -> None:
        result = info(save(np.array([[1.0, np.nan], [3, 4]])), "--values")
        assert "missing" in result.stdout
        assert "missing" not in info("f.npy").stdout

    def test_the_terrain(self) -> None:
        result = info("sample:terrain")
        assert "gridgrad gradient sample:terrain OUT.nc --var elevation" in result.stdout
        assert "WGS84" in result.stderr
        assert info("sample:terrain", "--quiet").stderr == ""

    def test_a_table_of_columns(self) -> None:
        Path("fall.csv").write_text("time,height\n0,0\n1,4.9\n3,44.1\n")
        found = info("fall.csv", "--coordinate", "time").stdout
        assert "gridgrad derivative fall.csv OUT.csv --coordinate time --var height\n" in found

    def test_what_is_not_there(self) -> None:
        call = CliRunner().invoke(app, ["info", "none.nc"])
        assert "There is no file 'none.nc'" in refused(call)
        winds().to_netcdf("w.nc")
        call = CliRunner().invoke(app, ["info", "w.nc", "--var", "x"])
        assert "'x'" in refused(call)

    def test_the_examples_of_the_help_work_as_printed(self) -> None:
        text = CliRunner().invoke(app, ["info", "--help"]).stdout
        examples = [
            line.split()[1:] for line in text.splitlines() if line.startswith("    gridgrad ")
        ]
        assert len(examples) == 2
        for words in examples:
            assert CliRunner().invoke(app, words).exit_code == 0

    def test_a_small_file_is_described_without_engines(self) -> None:
        """Why it answers at once; docs/streaming.md has the seconds."""
        winds().to_netcdf("w.nc")
        loaded = loaded_after("info", "w.nc")
        assert "xarray" in loaded
        assert not loaded & {"numba", "torch", "jax", "matplotlib", "distributed"}

    def test_the_help_is_shown_without_xarray(self) -> None:
        loaded = loaded_after("--help")
        assert "typer" in loaded
        assert not loaded & {"numba", "pandas", "torch", "jax", "matplotlib", "xarray"}
