"""`gridgrad plot`: which part of a file is drawn, and how; asked of the figures, and of the command."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner

from gridgrad.app import choosing
from gridgrad.app.cli import app
from gridgrad.app.pictures import reading
from gridgrad.app.pictures.fields import Wish, draw_fields
from gridgrad.app.source import Source
from gridgrad.errors import GridError

from .commanding import HILL, refused, save
from .labelled import winds
from .pictures import along, arrows, images, labelled, laid_out, panels, ticks, words


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*words: object) -> Any:
    return CliRunner().invoke(app, ["plot", *map(str, words)])


def plot(*words: object) -> Any:
    result = call(*words)
    assert (result.exit_code, result.exception) == (0, None), result.stderr
    assert result.stdout == ""
    return result


def drawn(
    *arrays: xr.DataArray, places: Any = None, vector: Any = None, look: Any = "plain", **wish: Any
) -> tuple[Figure, list[str]]:
    every = [*arrays, *(vector or ())]
    source = Source(xr.Dataset({each.name: each for each in every}), "file.nc", look=look)
    return draw_fields(source, arrays, places or {}, Wish(**wish), vector)


def globe(n: int = 24, *, lat_down: bool = True, west: float = 0.0) -> xr.DataArray:
    """Latitudes plus a little of the longitude, so that a sample tells where it is."""
    lat = np.linspace(-80, 80, n - 1)[:: -1 if lat_down else 1]
    lon = west + 360 / n * np.arange(n)
    return xr.DataArray(
        lat[:, None] + lon / 1000,
        dims=("lat", "lon"),
        coords={
            "lat": along("lat", lat, units="degrees_north", long_name="latitude"),
            "lon": along("lon", lon, units="degrees_east", long_name="longitude"),
        },
        name="t",
        attrs={"units": "K", "long_name": "temperature"},
    )


class TestMaps:
    @pytest.mark.parametrize("lat_down", [True, False])
    @pytest.mark.parametrize("dims", [("lat", "lon"), ("lon", "lat")])
    @pytest.mark.parametrize("east_first", [True, False])
    def test_north_is_above_and_east_on_the_right(
        self, lat_down: bool, dims: tuple[str, str], east_first: bool
    ) -> None:
        field = globe(lat_down=lat_down).transpose(*dims)
        field = field.isel(lon=slice(None, None, -1)) if east_first else field
        (axes,) = panels(drawn(field)[0])
        assert axes.get_ylim()[0] < axes.get_ylim()[1]
        assert axes.get_xlim()[0] < axes.get_xlim()[1]
        image = axes.images[0]
        left, right, bottom, top = image.get_extent()
        values = image.get_array()
        # The first row is drawn at the extent's top, the first column at its left.
        assert (values[0, 0] > values[-1, 0]) == (top > bottom)
        assert (values[0, 0] < values[0, -1]) == (left < right)

    def test_labels_and_units(self) -> None:
        figure, notes = drawn(globe())
        for part in ("file.nc", "temperature (K)", "latitude", "longitude"):
            assert part in words(figure)
        figure.canvas.draw()
        assert "60°N" in ticks(panels(figure)[0].yaxis)
        assert {"120°W", "0°", "60°E", "180°"} <= set(ticks(panels(figure)[0].xaxis))
        assert notes == []

    def test_longitudes_across_the_date_line(self) -> None:
        field = globe()
        wrapped = field.assign_coords(
            lon=along("lon", (field.lon.values + 180) % 360 - 180, units="degrees_east")
        )
        (axes,) = panels(drawn(wrapped)[0])
        assert axes.get_xlim() == pytest.approx((-7.5, 352.5))

    def test_several_variables_have_a_panel_each(self) -> None:
        field = globe()
        figure, _ = drawn(field, (field * 2).rename("s").assign_attrs(long_name="salt"))
        assert len(panels(figure)) == 2
        assert "temperature" in words(figure)
        assert "salt" in words(figure)

    def test_a_time_by_latitude_section_has_time_to_the_right(self) -> None:
        days = np.arange("2024-01-01", "2024-03-01", dtype="M8[D]").astype("M8[ns]")
        field = labelled(
            np.random.default_rng(1).normal(size=(60, 9)),
            "t",
            time=days,
            lat=np.linspace(80, -80, 9),
        )
        figure, _ = drawn(field)
        (axes,) = panels(figure)
        figure.canvas.draw()
        assert "Feb" in " ".join(ticks(axes.xaxis))
        assert axes.get_ylabel() == "lat"

    def test_pressure_increases_downward(self) -> None:
        field = labelled(
            np.ones((3, 9)), "t",
            level=along("level", [200.0, 500, 850], units="hPa"), lat=np.linspace(80, -80, 9),
        )  # fmt: skip
        (axes,) = panels(drawn(field)[0])
        low, high = axes.get_ylim()
        assert low > high
        assert axes.get_ylabel() == "level (hPa)"

    def test_signed_fields_diverge_about_zero_and_tails_are_left_out(self) -> None:
        values = np.random.default_rng(1).normal(size=(60, 70))
        (image,) = images(drawn(labelled(values, "v", y=None, x=None))[0])
        low, high = image.get_clim()
        assert low == -high
        assert high < 2.5
        assert image.cmap.name == "RdBu_r"

    @pytest.mark.parametrize("shape", [(1, 50), (50, 1), (1, 1), (2, 1)])
    def test_one_row(self, shape: tuple[int, int]) -> None:
        field = labelled(np.random.default_rng(1).normal(size=shape), "v")
        laid_out(drawn(field, kind="map")[0])
        if max(shape) > 1:
            (axes,) = panels(drawn(field)[0])
            assert len(axes.lines) > 0

    def test_truth_values_spans_of_time_and_complex_numbers(self) -> None:
        laid_out(drawn(labelled(HILL > 0.5, "mask"))[0])
        spans = (HILL * 86400).astype("m8[s]").astype("m8[ns]")
        figure, _ = drawn(labelled(spans, "lag"))
        assert "lag (days)" in words(figure)
        figure, notes = drawn(labelled(HILL * 1j, "z"))
        assert "|z|" in words(figure)
        assert notes == ["Complex numbers are drawn by their magnitude."]


class TestPlaces:
    def test_small_multiples_share_their_colours(self) -> None:
        days = np.arange("2024-01-01", "2024-01-05", dtype="M8[D]").astype("M8[ns]")
        field = (
            globe() * xr.DataArray(np.arange(1.0, 5), dims="time", coords={"time": days})
        ).rename("t")
        figure, notes = drawn(field.transpose("time", ...), panels="time")
        shown = images(figure)
        assert len(shown) == 4
        assert len({image.get_clim() for image in shown}) == 1
        assert "time = 2024-01-03" in words(figure)
        assert notes == []

    def test_many_places_are_chosen_from(self) -> None:
        field = labelled(
            np.arange(50.0 * 12).reshape(50, 3, 4), "v", level=np.arange(50.0), y=None, x=None
        )
        figure, notes = drawn(field, panels="level")
        assert len(images(figure)) == 12
        assert "level = 49" in words(figure)
        assert any("12 of 50" in note for note in notes)

    def test_the_first_place_is_taken_and_told(self) -> None:
        figure, notes = drawn(winds()["u"])
        np.testing.assert_array_equal(images(figure)[0].get_array(), winds()["u"].values[0])
        assert "time = 2001-01-01" in words(figure)
        assert notes == [
            "Shown is the first of 3 along 'time'; --at time=VALUE chooses another, --panels time shows "
            "several."
        ]

    @pytest.mark.parametrize(
        ("dim", "text", "number"),
        [
            ("time", "2001-01-02", 1),
            ("time", "2001-01-03T18:00", 2),
            ("latitude", "31", 2),
            ("latitude", "-60", 8),
            ("longitude", "-170", 0),
            ("longitude", "200", 1),
            ("longitude", "179", 0),
        ],
    )  # fmt: skip
    def test_the_nearest_place(self, dim: str, text: str, number: int) -> None:
        assert choosing.places(winds(), {dim: text}, {}) == {dim: number}

    def test_places_in_calendars_of_models(self) -> None:
        times = xr.date_range("2001-02-28", periods=9, calendar="noleap", use_cftime=True)
        dataset = xr.Dataset({"f": ("time", np.ones(9))}, {"time": times})
        assert choosing.places(dataset, {"time": "2001-03-02"}, {}) == {"time": 2}

    @pytest.mark.parametrize(
        ("at", "index", "words"),
        [
            ({"time": "1999-01-01"}, {}, "lies beyond 'time', which goes from 2001-01-01 to 2001-01-04"),
            ({"latitude": "89"}, {}, "lies beyond 'latitude'"),
            ({"time": "noon"}, {}, "must be a date such as"),
            ({"latitude": "noon"}, {}, "must be a number"),
            ({"level": "1"}, {}, "no dim or coordinate 'level'"),
            ({"time": "2001-01-01"}, {"time": "1"}, "given twice"),
            ({}, {"time": "3"}, "beyond the 3 samples"),
            ({}, {"time": "x"}, "must be DIM=N"),
        ],
    )  # fmt: skip
    def test_places_that_are_not_there(self, at: Any, index: Any, words: str) -> None:
        with pytest.raises(GridError, match=words):
            choosing.places(winds(), at, index)

    def test_places_by_name(self) -> None:
        stations = np.array(["Bonn", "Rome"])
        dataset = xr.Dataset({"t": ("station", [1.0, 2])}, {"station": stations})
        assert choosing.places(dataset, {"station": "Rome"}, {}) == {"station": 1}
        with pytest.raises(GridError, match="is none of 'Bonn', 'Rome'"):
            choosing.places(dataset, {"station": "Oslo"}, {})
        field = labelled(np.ones((3, 2)), "t", x=None, station=stations)
        figure, _ = drawn(field, kind="line", panels="station")
        legend = panels(figure)[0].get_legend()
        assert [text.get_text() for text in legend.get_texts()][1] == "station = Rome"

    def test_places_by_number(self) -> None:
        assert choosing.places(winds(), {}, {"time": "-1"}) == {"time": 2}
        with pytest.raises(GridError, match="--index y=N"):
            choosing.places(xr.Dataset({"f": ("y", [1.0])}), {"y": "1"}, {})


class TestVolumesAndCurves:
    def test_slices(self) -> None:
        values = np.arange(5 * 6 * 7.0).reshape(5, 6, 7)
        figure, _ = drawn(labelled(values, "v", z=[0.0, 1, 2, 3, 4], y=None, x=None))
        assert len(images(figure)) == 3
        assert "middle slices" in words(figure)
        assert "z = 2" in words(figure)

    def test_curves(self) -> None:
        days = np.arange("2024-01-01", "2024-03-01", dtype="M8[D]").astype("M8[ns]")
        field = labelled(np.sin(np.arange(60.0)), "h", time=days).assign_attrs(units="cm")
        figure, _ = drawn(field, (field * 2).rename("k"), within=(-1, 1))
        above, below = panels(figure)
        np.testing.assert_array_equal(below.lines[0].get_ydata(), 2 * field)
        assert above.get_ylim() == (-1, 1)
        assert "h (cm)" in words(figure)

    def test_a_curve_of_a_larger_field(self) -> None:
        figure, _ = drawn(winds()["u"], kind="line", places={"latitude": 3, "longitude": 5})
        np.testing.assert_array_equal(panels(figure)[0].lines[0].get_ydata(), winds()["u"][:, 3, 5])
        assert "latitude = 15°N, longitude = 30°W" in words(figure)

    def test_profiles_stand_upright(self) -> None:
        """Along heights and depths positions are on the left, pressure and depth increasing downward."""
        level = along("level", [200.0, 500, 850], units="hPa")
        figure, _ = drawn(labelled([1.0, 3, 2], "u", level=level), kind="line")
        (axes,) = panels(figure)
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[1, 200], [3, 500], [2, 850]])
        assert axes.get_ylabel() == "level (hPa)"
        assert axes.yaxis_inverted()
        laid_out(figure)

    def test_curves_of_several_places_share_a_frame(self) -> None:
        figure, _ = drawn(winds()["u"], kind="line", panels="latitude", places={"longitude": 0})
        (axes,) = panels(figure)
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels[:2] == ["latitude = 60°N", "latitude = 45°N"]
        assert len(labels) == 9

    @pytest.mark.parametrize(("kind", "dims"), [("map", 1), ("slices", 2), ("quiver", 1)])
    def test_kinds_that_do_not_fit(self, kind: str, dims: int) -> None:
        field = labelled(np.ones((4,) * dims), "v")
        vector = (field, field.rename("w")) if kind == "quiver" else None
        with pytest.raises(GridError, match=f"--kind {kind} shows"):
            drawn(field, kind=kind, vector=vector)

    def test_what_has_no_picture(self) -> None:
        with pytest.raises(GridError, match="single number"):
            drawn(labelled(np.ones(4), "v"), places={"dim0": 2})
        with pytest.raises(GridError, match="no samples"):
            drawn(labelled(np.ones((0, 4)), "v"))
        with pytest.raises(GridError, match="does not go with"):
            drawn(labelled(np.ones((2, 4)), "v"), labelled(np.ones(4), "w", x=None))


class TestVectors:
    def wind(self) -> tuple[xr.DataArray, xr.DataArray]:
        """A wind to the north-east everywhere."""
        field = globe(48)
        return (field * 0 + 3).rename("u"), (field * 0 + 4).rename("v")

    def test_arrows_over_their_magnitude(self) -> None:
        figure, _ = drawn(vector=self.wind())
        (quiver,) = arrows(figure)
        (image,) = images(figure)
        assert (image.get_array() == 5).all()
        np.testing.assert_allclose([quiver.U, quiver.V], [[3] * quiver.N, [4] * quiver.N])
        assert "magnitude of (u, v)" in words(figure)

    def test_arrows_on_an_axis_that_points_down(self) -> None:
        """Positive along increasing rows is down on paper."""
        ones = labelled(np.ones((30, 40)), "u")
        (quiver,) = arrows(drawn(vector=(ones * 0, (ones).rename("v")))[0])
        assert (quiver.V < 0).all()

    def test_arrows_over_another_field(self) -> None:
        figure, _ = drawn(globe(48), vector=self.wind())
        assert len(arrows(figure)) == 1
        assert images(figure)[0].get_array().max() > 70

    def test_arrows_mean_the_same_on_all_panels(self) -> None:
        times = xr.DataArray([1.0, 5.0], dims="level", coords={"level": [1, 2]})
        u, v = ((part * times).rename(part.name) for part in self.wind())
        figure, _ = drawn(vector=(u, v), panels="level")
        first, second = arrows(figure)
        assert first.scale == second.scale
        laid_out(figure)

    @pytest.mark.parametrize("lat_down", [True, False])
    def test_streamlines_run_with_the_wind(self, lat_down: bool) -> None:
        field = globe(48, lat_down=lat_down)
        v = (field * 0 + 4).rename("v")
        v[:3, :5] = np.nan
        figure, _ = drawn(vector=((field * 0).rename("u"), v), kind="streamlines")
        (axes,) = panels(figure)
        segments = axes.collections[0].get_segments()
        assert len(segments) > 40
        # Along the wind, longitude stays as it is.
        assert max(abs(segment[0, 0] - segment[-1, 0]) for segment in segments) < 1e-6
        laid_out(figure)

    def test_streamlines_on_uneven_steps(self) -> None:
        y = np.linspace(1, 3, 30) ** 2
        ones = labelled(np.ones((30, 40)), "u", y=y, x=np.linspace(0, 9, 40))
        laid_out(drawn(vector=(ones, (ones * 0.5).rename("v")), kind="streamlines")[0])


class TestLargeFiles:
    def test_files_are_read_by_strides(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No more samples are read than are drawn."""
        save(np.zeros((2, 4001, 2001), np.uint8))
        read: list[int] = []
        real = reading.real

        def watched(values: Any) -> Any:
            read.append(values.size)
            return real(values)

        monkeypatch.setattr(reading, "real", watched)
        monkeypatch.setattr(reading, "PIECE", 2**20)
        result = plot("f.npy", "--index", "dim0=1")
        assert len(read) == 8
        assert sum(read) == 1334 * 1001
        assert "every 3rd along 'dim1' and every 2nd along 'dim2'" in result.stderr

    @pytest.mark.parametrize("piece", [1, 1000, 2**20])
    def test_pieces_make_the_whole(self, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "PIECE", piece)
        field = labelled(np.random.default_rng(1).normal(size=(37, 41)), "v")
        found = reading.read(field, {"dim1": 2, "dim0": 3})
        np.testing.assert_array_equal(found, field.values[::3, ::2].T)

    def test_slices_read_no_more_than_the_slices(self, monkeypatch: pytest.MonkeyPatch) -> None:
        save(np.arange(40.0 * 30 * 20).reshape(40, 30, 20))
        read: list[int] = []
        real = reading.real
        monkeypatch.setattr(
            reading, "real", lambda values: read.append(values.size) or real(values)
        )
        plot("f.npy")
        assert sorted(read) == [600, 800, 1200]


class TestTheCommand:
    def test_the_name_of_the_picture(self) -> None:
        winds().to_netcdf("w.nc")
        result = plot("w.nc")
        assert "Wrote 'w.png'." in result.stderr
        assert "Shown is the first of 3 along 'time'" in result.stderr
        with Image.open("w.png") as image:
            assert image.width > 1000
        assert "exists already; add --force" in refused(call("w.nc"))
        plot("w.nc", "--force", "--quiet", "--size", "4,3")
        assert sorted(os.listdir()) == ["w.nc", "w.png"]

    def test_a_picture_of_a_picture_has_another_name(self) -> None:
        pytest.importorskip("PIL")
        from gridgrad.app.files import INPUTS

        if ".png" not in INPUTS:
            pytest.skip("images are not among the formats yet")
        Image.fromarray((HILL * 255).astype(np.uint8)).save("hill.png")
        before = Path("hill.png").read_bytes()
        plot("hill.png")
        assert Path("hill.png").read_bytes() == before
        assert Path("hill-picture.png").exists()

    @pytest.mark.parametrize(("suffix", "start"), [(".pdf", b"%PDF"), (".svg", b"<?xml")])
    def test_formats(self, suffix: str, start: bytes) -> None:
        plot(save(HILL), f"a{suffix}", "--size", "4,3")
        assert Path(f"a{suffix}").read_bytes().startswith(start)

    def test_the_same_numbers_give_the_same_bytes(self) -> None:
        """Whatever else a process did before: names, hashes and dates stay out of it."""
        for name in ("a.svg", "b.svg"):
            plot(save(HILL), name, "--size", "4,3")
        assert Path("a.svg").read_bytes() == Path("b.svg").read_bytes()

    def test_options(self) -> None:
        winds().to_netcdf("w.nc")
        plot(
            "w.nc", "a.png", "--vector", "u,v", "--var", "u", "--at", "time=2001-01-02", "--limits", "-1,1",
            "--cmap", "PuOr", "--title", "Winds", "--size", "5,4", "--kind", "streamlines",
        )  # fmt: skip
        with Image.open("a.png") as image:
            assert image.size == (750, 600)
        plot("w.nc", "b.png", "--var", "u,v", "--index", "time=1", "--size", "4,3")
        plot("w.nc", "c.png", "--var", "u", "--panels", "time", "--size", "4,3")
        plot("w.nc", "d.png", "--kind", "quiver", "--size", "4,3")

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--kind", "pie"], "--kind must be one of"),
            (["--limits", "2,1"], "--limits must be two numbers"),
            (["--limits", "a"], "--limits must be"),
            (["--size", "0,4"], "--size must be"),
            (["--cmap", "viridiss"], "such as viridis"),
            (["--var", "nope"], "'nope'"),
            (["--vector", "u"], "--vector must name two"),
            (["--at", "time"], "--at must be DIM=VALUE"),
            (["--panels", "depth"], "'depth'"),
            (["--var", "u,v", "--panels", "time"], "one variable"),
            (["--at", "time=2001-01-01", "--panels", "time"], "cannot be given both"),
        ],
    )
    def test_faults(self, options: list[str], words: str) -> None:
        winds().to_netcdf("w.nc")
        before = sorted(os.listdir())
        assert words in refused(call("w.nc", "a.png", *options))
        assert sorted(os.listdir()) == before

    def test_an_unknown_kind_of_picture(self) -> None:
        assert "must end in one of .png, .pdf, .svg" in refused(call(save(HILL), "a.gif"))

    def test_the_examples_of_the_help_work_as_printed(self) -> None:
        text = CliRunner().invoke(app, ["plot", "--help"]).stdout
        examples = [
            line.split()[2:] for line in text.splitlines() if line.startswith("    gridgrad ")
        ]
        assert len(examples) == 3
        for example in examples:
            plot(*example)
        assert sorted(os.listdir()) == ["heights.pdf", "profile.svg", "terrain.png"]


class TestThePage:
    def test_its_commands_work_as_printed(self) -> None:
        page = (Path(__file__).parents[1] / "docs" / "looking.md").read_text()
        program = page.split("```python\n")[1].split("```")[0]
        exec(program, {})
        blocks = [block.split("```")[0] for block in page.split("```console\n$ gridgrad ")[1:]]
        info, *plots = [line for block in blocks for line in block.split("\n$ gridgrad ")]
        command, _, output = info.partition("\n")
        result = CliRunner().invoke(app, command.split())
        assert result.stdout == output
        assert len(plots) == 5
        for line in plots:
            result = CliRunner().invoke(app, line.split())
            assert (result.exit_code, result.exception) == (0, None), result.stderr
        assert {"wind.png", "arrows.png", "lines.pdf", "days.png", "curve.svg"} <= set(os.listdir())
