"""The parts of pictures: colours, arrows, scales, sheets."""

import itertools

import numpy as np
import pytest
import xarray as xr

from gridgrad.app.pictures.arrows import cell, cell_centres, cell_means, fitted
from gridgrad.app.pictures.colours import choose, limits
from gridgrad.app.pictures.scales import down_and_right, pair, scale_of, stretch
from gridgrad.app.pictures.sheet import PAGE, Room, grid

from .pictures import along, labelled


class TestColours:
    @pytest.mark.parametrize("outlier", [1e9, -1e9])
    @pytest.mark.parametrize("n", [5, 25, 10_000])
    def test_one_outlier_does_not_move_the_limits(self, n: int, outlier: float) -> None:
        values = np.linspace(2, 3, n)
        values[n // 2] = outlier
        low, high = limits(values)
        assert 2 <= low < high <= 3
        colours = choose(values)
        assert colours.extend in (("max", "both") if outlier > 0 else ("min", "both"))

    def test_long_tails_are_left_out(self) -> None:
        values = np.random.default_rng(1).normal(size=100_000) + 9
        assert limits(values) == pytest.approx(np.quantile(values, [0.02, 0.98]), abs=1e-3)

    def test_smooth_fields_keep_their_range(self) -> None:
        assert limits(np.linspace(2, 3, 1000)) == (2, 3)
        assert choose(np.linspace(2, 3, 1000)).extend == "neither"

    def test_signs_choose_the_map(self) -> None:
        for low, high, name in [
            (-1, 2, "RdBu_r"),
            (0, 2, "viridis"),
            (5, 9, "viridis"),
            (-3, -1, "viridis"),
            (-0.01, 9, "viridis"),
        ]:
            assert choose(np.linspace(low, high, 99)).map.name == name
        colours = choose(np.linspace(-1, 2, 99))
        assert (colours.low, colours.high) == (-2, 2)

    def test_what_was_asked_for(self) -> None:
        colours = choose(np.linspace(-1, 2, 99), within=(-0.5, 9), name="cividis")
        assert (colours.low, colours.high, colours.map.name) == (-0.5, 9, "cividis")
        assert colours.extend == "min"

    @pytest.mark.parametrize("values", [[], [np.nan], [0.0], [7.0, 7.0], [-np.inf, 1.0]])
    @pytest.mark.parametrize("look", ["plain", "slope", "image", "terrain"])
    def test_limits_are_always_a_range(self, values: list[float], look: str) -> None:
        colours = choose(np.array(values), look)
        assert colours.low < colours.high


class TestArrowCells:
    def test_about_22_along_the_longer_side(self) -> None:
        assert cell((440, 220), 2.0) == (20, 20)
        assert cell((220, 440), 0.5) == (20, 20)
        assert cell((4, 4), 1.0) == (1, 1)
        assert cell((4400, 10), 0.75) == (267, 1)

    def test_means_leave_out_what_is_missing(self) -> None:
        values = np.array([[1.0, 3, 5, 9], [np.nan, np.inf, 7, 9], [0, 0, 0, 0]])
        np.testing.assert_array_equal(cell_means(values, (2, 2)), [[2, 7.5]])
        assert np.isnan(cell_means(np.full((2, 2), np.nan), (2, 2))).all()
        np.testing.assert_array_equal(cell_centres(np.array([0.0, 1, 5, 7, 9]), 2), [0.5, 6])

    def test_lengths(self) -> None:
        down = np.array([1.0] * 40 + [100.0, 1e-3, 0.0, np.nan])
        up, _, usual = fitted(down, np.zeros_like(down))
        assert usual == 1
        np.testing.assert_array_equal(up[39:], [1, 1.25, np.nan, np.nan, np.nan])


class TestScales:
    def test_longitude_is_drawn_to_the_right_and_time_otherwise(self) -> None:
        days = np.array(["2024-01-01", "2024-01-02"], "M8[ns]")
        for dims, expected in [
            (("lat", "lon"), ("lat", "lon")),
            (("lon", "lat"), ("lat", "lon")),
            (("time", "lat"), ("lat", "time")),
            (("time", "lon"), ("time", "lon")),
            (("lev", "lat"), ("lev", "lat")),
            (("dim0", "dim1"), ("dim0", "dim1")),
        ]:
            field = xr.DataArray(np.ones((2, 2)), dims=dims)
            field = field.assign_coords(time=days) if "time" in dims else field
            assert down_and_right(field, dims) == expected

    @pytest.mark.parametrize(
        ("attrs", "downward"),
        [
            ({"units": "hPa"}, True),
            ({"units": "millibars"}, True),
            ({"units": "m", "positive": "down"}, True),
            ({"units": "m", "positive": "up"}, False),
            ({"units": "km"}, False),
        ],
    )
    def test_which_way_is_up(self, attrs: dict[str, str], downward: bool) -> None:
        field = labelled(np.ones(3), level=along("level", [1.0, 2, 3], **attrs))
        assert scale_of(field, "level").downward == downward

    def test_arrays_have_their_first_row_at_the_top(self) -> None:
        assert scale_of(labelled(np.ones(3)), "dim0").downward
        assert not scale_of(labelled(np.ones(3), y=[1.0, 2, 3]), "y").downward

    def test_longitudes_across_the_date_line(self) -> None:
        field = labelled(np.ones(4), lon=[178.0, 179, -180, -179])
        np.testing.assert_array_equal(scale_of(field, "lon").where, [178, 179, 180, 181])

    def test_positions_that_cannot_be_drawn_are_counted(self) -> None:
        for where in ([0.0, 2, 1], [0.0, np.nan, 2], [0.0, 1, 1], np.array(["a", "b", "c"])):
            scale = scale_of(labelled(np.ones(3), x=where), "x")
            np.testing.assert_array_equal(scale.where, [0, 1, 2])
            assert scale.label == "x (sample)"

    def test_places(self) -> None:
        for where, attrs, text in [
            ([500.0], {"units": "hPa"}, "level = 500 hPa"),
            ([0.25], {}, "level = 0.25"),
            (np.array(["2024-02-29T06"], "M8[ns]"), {}, "level = 2024-02-29 06:00"),
            (np.array([36], "m8[h]").astype("m8[ns]"), {}, "level = 36 h"),
            ([-60.0], {"units": "degrees_north"}, "level = 60°S"),
        ]:
            field = labelled(np.ones(1), level=along("level", where, **attrs))
            assert scale_of(field, "level").place(0) == text

    def test_a_calendar_of_models(self) -> None:
        times = xr.date_range("2001-02-28", periods=4, calendar="360_day", use_cftime=True)
        scale = scale_of(labelled(np.ones(4), time=times), "time")
        assert scale.place(2) == "time (360_day calendar) = 2001-02-30"

    def test_a_region_is_as_wide_as_on_the_globe(self) -> None:
        field = labelled(
            np.ones((3, 3)),
            lat=along("lat", [59.0, 60, 61], units="degrees_north"),
            lon=along("lon", [0.0, 2, 4], units="degrees_east"),
        )
        lat, lon = scale_of(field, "lat"), scale_of(field, "lon")
        assert stretch(lat) == pytest.approx(2)
        equal, ratio = pair(lat, lon)
        assert equal
        assert ratio == pytest.approx(1)


class TestSheets:
    def test_they_fit_the_page(self) -> None:
        room = Room((1.3, 0.5), (0.8, 0.9))
        for n, ratio in itertools.product(range(1, 13), (0.1, 0.5, 0.75, 1.0, 2.0, 5.0)):
            rows, columns, (width, height) = grid(n, ratio, room)
            assert rows * columns >= n
            assert (rows - 1) * columns < n
            if min(width, height) > 1.2:
                assert columns * (width + 1.3) + 0.8 <= PAGE[0] + 1e-9
                assert rows * (height + 0.5) + 0.9 <= PAGE[1] + 1e-9
                assert height == pytest.approx(width * ratio)
