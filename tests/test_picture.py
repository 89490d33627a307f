"""The pictures of what operators made: asked of the figures before they are pixels."""

import io
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image

import gridgrad.xarray
from gridgrad.app.files import open_source
from gridgrad.app.pictures.results import draw_results
from gridgrad.app.source import Source

from .pictures import HILL, X, along, arrows, images, labelled, laid_out, panels, saved, words


def source_of(field: xr.DataArray, **known: Any) -> Source:
    return Source(field.to_dataset(name=field.name or "values"), **{"title": "f", **known})


def drawn(
    field: Any, dims: Sequence[Hashable] | None = None, *, source: Source | None = None
) -> Figure:
    field = field if isinstance(field, xr.DataArray) else labelled(field)
    bare = {dim: 1 for dim in dims or field.dims if dim not in field.coords}
    results = field.gridgrad.gradient(dims, spacing=bare or None)
    return draw_results(source or source_of(field), field, results)


class TestCurves:
    def test_the_curve_stands_above_its_derivative(self) -> None:
        x = np.array([0.0, 1, 3, 6])
        figure = drawn(labelled(x**2, "y", x=x))
        above, below = panels(figure)
        np.testing.assert_array_equal(above.lines[0].get_xydata(), np.c_[x, x**2])
        expected = np.c_[x, gridgrad.gradient(x**2, spacing=x)[0]]
        np.testing.assert_array_equal(below.lines[1].get_xydata(), expected)
        assert "d y / d x (per unit of x)" in words(figure).replace("\n", " ")
        laid_out(figure)

    def test_units(self) -> None:
        x = along("x", [0.0, 1, 3], units="s", long_name="duration")
        field = labelled([0.0, 2, 5], "y", x=x).assign_attrs(units="m", long_name="way")
        text = words(drawn(field)).replace("\n", " ")
        for part in ("way (m)", "d way / d duration (m s⁻¹)", "duration (s)"):
            assert part in text

    def test_a_sample_between_gaps_is_a_dot(self) -> None:
        values = np.arange(100.0)
        values[[10, 12]] = np.nan
        above, _ = panels(drawn(values))
        np.testing.assert_array_equal(above.lines[1].get_xydata(), [[11, 11]])

    def test_dates(self) -> None:
        days = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]").astype("M8[ns]")
        laid_out(drawn(labelled(np.sin(np.arange(60.0)), time=days)))

    def test_positions_that_turn_back(self) -> None:
        field = labelled(np.arange(4.0), x=[0.0, 2, 1, 3])
        with pytest.warns(gridgrad.NonMonotonicWarning):
            laid_out(drawn(field))


class TestMaps:
    def test_field_slope_and_arrows(self) -> None:
        figure = drawn(labelled(HILL, dim0=0.1 * np.arange(60), dim1=0.2 * np.arange(90)))
        assert len(panels(figure)) == 2
        assert len(figure.axes[0].child_axes) == 1  # a colour bar beside each
        left, right = images(figure)
        np.testing.assert_array_equal(left.get_array(), HILL)
        down, across = np.gradient(HILL, 0.1, 0.2)
        np.testing.assert_allclose(right.get_array(), np.hypot(down, across), rtol=1e-12)
        assert left.cmap.name == "viridis"
        assert right.cmap.name == "magma"
        assert right.get_clim()[0] == 0
        # The first row is at the top, and samples are centred on their positions.
        np.testing.assert_allclose(left.get_extent(), [-0.1, 17.9, 5.95, -0.05])
        assert panels(figure)[0].get_ylim() == pytest.approx((5.95, -0.05))

    def test_samples_are_counted(self) -> None:
        text = words(drawn(HILL))
        assert "slope magnitude (per sample)" in text
        assert "dim 1 (sample)" in text

    def test_what_a_slope_is_per(self) -> None:
        spaced = labelled(HILL, dim0=0.1 * np.arange(60), dim1=0.2 * np.arange(90))
        assert "slope magnitude (per unit of spacing)" in words(drawn(spaced)).replace("\n", " ")
        grey = labelled(HILL, row=None, column=None).assign_attrs(units="grey levels")
        assert "slope magnitude (grey levels per pixel)" in words(drawn(grey)).replace("\n", " ")

    def test_arrows_point_uphill(self) -> None:
        (quiver,) = arrows(drawn(HILL))
        assert 100 < quiver.N < 700
        points = quiver.get_offsets()
        towards = np.array([(90 - 1) / 2, (60 - 1) / 2]) - points
        inner = (np.abs(towards) > 4).all(axis=1) & ~quiver.Umask
        assert inner.sum() > 50
        assert (np.sign(quiver.U)[inner] == np.sign(towards[inner, 0])).all()
        assert (np.sign(quiver.V)[inner] == np.sign(towards[inner, 1])).all()

    def test_one_dim_shows_its_sign_and_no_arrows(self) -> None:
        figure = drawn(HILL, dims=["dim1"])
        _, right = images(figure)
        np.testing.assert_array_equal(right.get_array(), np.gradient(HILL, axis=1))
        assert right.cmap.name == "RdBu_r"
        assert right.get_clim()[0] == -right.get_clim()[1]
        assert arrows(figure) == []
        assert "slope along dim 1" in words(figure)

    def test_uneven_positions(self) -> None:
        x = np.linspace(1, 2, 90) ** 3
        figure = drawn(labelled(HILL, y=np.arange(60.0), x=x))
        assert images(figure) == []
        mesh = panels(figure)[0].collections[0]
        edges = mesh.get_coordinates()[0, :, 0]
        np.testing.assert_allclose(edges[1:-1], (x[1:] + x[:-1]) / 2)
        laid_out(figure)

    @pytest.mark.parametrize("shape", [(2, 2), (2, 300), (300, 2), (3, 20), (20, 3)])
    def test_all_shapes(self, shape: tuple[int, int]) -> None:
        laid_out(drawn(np.random.default_rng(1).normal(size=shape)))

    def test_a_row_of_a_dim_that_is_not_differentiated(self) -> None:
        laid_out(drawn(np.arange(5.0)[None], dims=["dim1"]))

    def test_large_fields_are_thinned(self) -> None:
        y, x = np.ogrid[0:1:4001j, 0:1:3j]
        left, _ = images(drawn(y + x))
        assert left.get_array().shape == (1334, 3)

    def test_complex_fields_by_magnitude(self) -> None:
        figure = drawn(HILL * np.exp(1j * X))
        left, right = images(figure)
        np.testing.assert_allclose(left.get_array(), HILL)
        assert right.get_array().dtype == np.float64
        assert "|value|" in words(figure)
        assert arrows(figure) == []

    def test_the_terrain(self) -> None:
        source = open_source("sample:terrain")
        figure = drawn(source.dataset["elevation"], source=source)
        text = words(figure)
        for part in (
            "Jacksboro", "elevation (m)", "slope magnitude (m/m)", "east (km)", "north (km)",
        ):  # fmt: skip
            assert part in text
        left, _ = panels(figure)
        assert left.get_xlim() == pytest.approx((-0.037, 30.015), abs=2e-3)
        assert left.get_ylim() == pytest.approx((-0.046, 31.765), abs=2e-3)
        image = Image.open(io.BytesIO(saved(figure)))
        assert image.format == "PNG"
        assert image.width > 1500

    def test_slopes_in_different_units_have_a_panel_each(self) -> None:
        field = labelled(
            HILL,
            "t",
            z=along("z", np.arange(60.0), units="m"),
            lat=along("lat", np.linspace(-40, 40, 90), units="degrees_north"),
        ).assign_attrs(units="K")
        figure = drawn(field)
        assert len(panels(figure)) == 3
        assert arrows(figure) == []
        assert "K m⁻¹" in words(figure)
        assert "K degree⁻¹" in words(figure)

    def test_on_a_sphere_arrows_point_across_the_contours(self) -> None:
        """A degree of longitude is shorter than one of latitude: of two equal slopes per degree that by
        longitude is the steeper."""
        lat, lon = np.linspace(59, 61, 40), np.linspace(0, 4, 80)
        field = labelled(
            lat[:, None] + lon,
            "t",
            lat=along("lat", lat, units="degrees_north"),
            lon=along("lon", lon, units="degrees_east"),
        )
        (quiver,) = arrows(drawn(field))
        # On paper a degree of latitude is drawn 1 / cos(60) times as long: the angle is made of both.
        np.testing.assert_allclose(quiver.U / quiver.V, 4, rtol=0.1)
        np.testing.assert_allclose(np.hypot(quiver.U, quiver.V), np.sqrt(2), rtol=1e-6)


class TestVolumes:
    def test_middle_slices(self) -> None:
        values = np.arange(5 * 6 * 7.0).reshape(5, 6, 7) ** 2
        figure = drawn(values)
        shown = images(figure)
        assert len(panels(figure)) == len(shown) == 6
        for dim, middle in enumerate((2, 3, 3)):
            np.testing.assert_array_equal(shown[dim].get_array(), values.take(middle, axis=dim))
        length = np.sqrt(sum(part**2 for part in np.gradient(values)))
        np.testing.assert_allclose(shown[5].get_array(), length[:, :, 3])
        assert "dim 1 = 3" in words(figure)
        laid_out(figure)

    def test_one_component(self) -> None:
        values = np.arange(5 * 6 * 7.0).reshape(5, 6, 7)
        np.testing.assert_array_equal(images(drawn(values, dims=["dim0"]))[3].get_array(), 42)


class TestEverythingElse:
    def test_four_dims_are_drawn_in_their_middle(self) -> None:
        values = np.random.default_rng(1).normal(size=(3, 4, 20, 30))
        figure = drawn(values)
        np.testing.assert_array_equal(images(figure)[0].get_array(), values[1, 2])
        assert "dim 0 = 1, dim 1 = 2" in words(figure)

    def test_times_are_no_slices(self) -> None:
        days = np.arange("2024-01-01", "2024-01-06", dtype="datetime64[D]").astype("M8[ns]")
        values = np.random.default_rng(1).normal(size=(5, 20, 30))
        figure = drawn(labelled(values, "t", time=days, lat=None, lon=None), dims=["time"])
        left, right = images(figure)
        np.testing.assert_array_equal(left.get_array(), values[2])
        np.testing.assert_allclose(right.get_array(), (values[3] - values[1]) / 2 / 86400)
        assert "time = 2024-01-03" in words(figure)

    def test_a_laplacian_stands_beside_its_field(self) -> None:
        field = labelled(HILL, "h", y=np.arange(60.0), x=np.arange(90.0))
        found = field.gridgrad.laplacian()
        figure = draw_results(source_of(field), field, found.to_dataset())
        left, right = images(figure)
        np.testing.assert_array_equal(left.get_array(), HILL)
        np.testing.assert_array_equal(right.get_array(), found.values)
        assert right.cmap.name == "RdBu_r"

    def test_a_curl_stands_beside_its_components(self) -> None:
        wind = xr.Dataset(
            {"u": (("y", "x"), HILL), "v": (("y", "x"), HILL * X)},
            coords={"y": np.arange(60.0), "x": np.arange(90.0)},
        )
        found = wind.gridgrad.curl(u="x", v="y").to_dataset(name="curl")
        figure = draw_results(Source(wind, "f"), [wind.u, wind.v], found)
        assert [image.get_array().shape for image in images(figure)] == [(60, 90)] * 2
        assert len(arrows(figure)) == 1
        assert "magnitude of (u, v)" in words(figure)

    def test_a_second_derivative_of_a_curve(self) -> None:
        field = labelled(np.arange(20.0) ** 3, "f", x=np.arange(20.0))
        found = field.gridgrad.derivative("x", order=2).to_dataset()
        _, below = panels(draw_results(source_of(field), field, found))
        np.testing.assert_array_equal(below.lines[1].get_ydata(), found.d2f_dx2)


class TestEveryPicture:
    @pytest.mark.parametrize("shape", [(50,), (40, 50), (10, 11, 12)])
    @pytest.mark.parametrize("fill", [0.0, np.nan])
    def test_fields_without_contrast_draw_without_warnings(
        self, shape: tuple[int, ...], fill: float
    ) -> None:
        laid_out(drawn(np.full(shape, fill)))

    @pytest.mark.parametrize("shape", [(50,), (40, 50), (10, 11, 12)])
    def test_missing_values_are_grey(self, shape: tuple[int, ...]) -> None:
        from gridgrad.app.pictures.colours import GREY

        values = np.random.default_rng(2).normal(size=shape)
        values[: shape[0] // 3] = np.nan
        values[-1, ...] = np.inf
        figure = drawn(values)
        laid_out(figure)
        for image in images(figure):
            assert image.cmap.get_bad() == pytest.approx([float(GREY)] * 3 + [1])

    @pytest.mark.parametrize("dtype", ["i1", "u8", "f2", ">f8", "g"])
    def test_dtypes(self, dtype: str) -> None:
        laid_out(drawn(np.arange(30).reshape(5, 6).astype(dtype)))

    @pytest.mark.parametrize("scale", [1e-300, 1e300])
    def test_scales(self, scale: float) -> None:
        laid_out(drawn(HILL * scale))

    @pytest.mark.parametrize(
        ("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
    )
    def test_formats_and_the_same_bytes_twice(self, suffix: str, start: bytes) -> None:
        first, second = (saved(drawn(HILL), suffix) for _ in range(2))
        assert first.startswith(start)
        assert first == second

    def test_names_are_no_formulas(self) -> None:
        name = "$\\frac{ \u6f22 [bold]\n.npy"
        field = labelled(HILL, "$x", **{"$a": np.arange(60.0), "b$": np.arange(90.0)})
        laid_out(drawn(field, source=source_of(field, title=name)))
        curve = labelled(HILL[0], "$x_", **{"$^": np.arange(90.0)})
        laid_out(drawn(curve, source=source_of(curve, title=name * 30)))
