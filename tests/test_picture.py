"""What the pictures show, asked of the figures before they are pixels."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from PIL import Image

import gridgrad
from gridgrad.app import picture
from gridgrad.app.pictures.arrows import cell, cell_centres, cell_means, fitted
from gridgrad.app.pictures.colours import GREY, choose, limits
from gridgrad.app.field import Array, Dimension, Field, FileProblem, Step, numbered
from gridgrad.app.samples import terrain

Y, X = np.mgrid[-2:2:60j, -3:3:90j]
HILL = np.exp(-(X**2) - Y**2)


def field_of(values: Array, **known: Any) -> Field:
    known = {"title": "f", "dims": numbered(values.ndim), **known}
    return Field(values=values, **known)


def drawn(
    field: Field | Array, dims: Sequence[int] | None = None, steps: Sequence[Step] | None = None
) -> Figure:
    if isinstance(field, np.ndarray):
        field = field_of(field)
    dims = tuple(range(field.values.ndim)) if dims is None else dims
    if steps is None and field.spacing is not None:
        steps = [field.spacing[dim] for dim in dims]
    parts = gridgrad.gradient(field.values, spacing=1 if steps is None else list(steps), dim=dims)
    return picture.draw(field, dims, parts, steps)


def saved(figure: Figure, suffix: str = ".png") -> bytes:
    file = io.BytesIO()
    picture.save(figure, file, suffix)
    return file.getvalue()


def panels(figure: Figure) -> list[Any]:
    """The axes that show data; a colour bar's are not among them."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def images(figure: Figure) -> list[Any]:
    return [axes.images[0] for axes in panels(figure) if axes.images]


def arrows(figure: Figure) -> list[Quiver]:
    return [item for axes in figure.axes for item in axes.collections if isinstance(item, Quiver)]


def words(figure: Figure) -> str:
    every = [each for axes in figure.axes for each in (axes, *axes.child_axes)]
    texts = [axes.get_title(loc="left") + axes.get_title() for axes in every]
    texts += [axes.get_xlabel() + " " + axes.get_ylabel() for axes in every]
    return " | ".join([figure.get_suptitle(), *texts])


class TestCurves:
    def test_the_curve_stands_above_its_derivative(self) -> None:
        x = np.array([0.0, 1, 3, 6])
        field = field_of(
            x**2, dims=(Dimension("dx", "x"),), label="y", step="unit of x", spacing=(x,)
        )
        figure = drawn(field)
        above, below = panels(figure)
        np.testing.assert_array_equal(above.lines[0].get_xydata(), np.c_[x, x**2])
        expected = np.c_[x, gridgrad.gradient(x**2, spacing=x)[0]]
        np.testing.assert_array_equal(below.lines[1].get_xydata(), expected)
        assert "d y / d x\n(per unit of x)" in words(figure)
        assert len(saved(figure)) > 10_000

    def test_a_sample_between_gaps_is_a_dot(self) -> None:
        values = np.arange(100.0)
        values[[10, 12]] = np.nan
        above, _ = panels(drawn(values))
        np.testing.assert_array_equal(above.lines[1].get_xydata(), [[11, 11]])

    def test_dates(self) -> None:
        days = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")
        field = field_of(np.sin(np.arange(60.0)), spacing=(days,))
        assert len(saved(drawn(field))) > 10_000

    def test_positions_that_turn_back(self) -> None:
        field = field_of(np.arange(4.0), spacing=(np.array([0.0, 2, 1, 3]),))
        with pytest.warns(gridgrad.NonMonotonicWarning):
            saved(drawn(field))


class TestMaps:
    def test_field_slope_and_arrows(self) -> None:
        figure = drawn(HILL, steps=[0.1, 0.2])
        assert len(panels(figure)) == 2
        assert len(figure.axes[0].child_axes) == 1  # a colour bar beside each
        left, right = images(figure)
        np.testing.assert_array_equal(left.get_array(), HILL)
        down, across = np.gradient(HILL, 0.1, 0.2)
        np.testing.assert_allclose(right.get_array(), np.hypot(down, across), rtol=1e-12)
        assert "slope magnitude (per sample)" in words(figure)
        assert left.cmap.name == "viridis"
        assert right.cmap.name == "magma"
        assert right.get_clim()[0] == 0
        # The first row is at the top, and samples are centred on their positions.
        np.testing.assert_allclose(left.get_extent(), [-0.1, 17.9, 5.95, -0.05])

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
        figure = drawn(HILL, dims=(1,))
        _, right = images(figure)
        np.testing.assert_array_equal(right.get_array(), np.gradient(HILL, axis=1))
        assert right.cmap.name == "RdBu_r"
        assert right.get_clim()[0] == -right.get_clim()[1]
        assert arrows(figure) == []
        assert "slope along dim 1" in words(figure)

    def test_uneven_positions(self) -> None:
        x = np.linspace(1, 2, 90) ** 3
        figure = drawn(HILL, steps=[1.0, x])
        assert images(figure) == []
        mesh = panels(figure)[0].collections[0]
        edges = mesh.get_coordinates()[0, :, 0]
        np.testing.assert_allclose(edges[1:-1], (x[1:] + x[:-1]) / 2)
        assert len(saved(figure)) > 20_000

    @pytest.mark.parametrize("shape", [(2, 2), (2, 300), (300, 2), (3, 20), (20, 3)])
    def test_all_shapes(self, shape: tuple[int, int]) -> None:
        assert len(saved(drawn(np.random.default_rng(1).normal(size=shape)))) > 10_000

    def test_a_row_of_a_dim_that_is_not_differentiated(self) -> None:
        saved(drawn(np.arange(5.0)[None], dims=(1,)))

    def test_large_fields_are_thinned(self) -> None:
        y, x = np.ogrid[0:1:4001j, 0:1:3j]
        left, _ = images(drawn(y + x, steps=[1 / 4000, 0.5]))
        assert left.get_array().shape == (1334, 3)

    def test_complex_fields_by_magnitude(self) -> None:
        figure = drawn(HILL * np.exp(1j * X))
        left, right = images(figure)
        np.testing.assert_allclose(left.get_array(), HILL)
        assert right.get_array().dtype == np.float64
        assert "|value|" in words(figure)

    def test_the_terrain(self) -> None:
        figure = drawn(terrain())
        text = words(figure)
        for part in (
            "Jacksboro",
            "elevation (m)",
            "slope magnitude (m/m)",
            "east (km)",
            "north (km)",
        ):
            assert part in text
        left, _ = panels(figure)
        assert left.get_xlim() == pytest.approx((-0.037, 30.015), abs=2e-3)
        assert left.get_ylim() == pytest.approx((-0.046, 31.765), abs=2e-3)
        image = Image.open(io.BytesIO(saved(figure)))
        assert image.format == "PNG"
        assert image.width > 1500


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
        assert len(saved(figure)) > 20_000

    def test_one_component(self) -> None:
        values = np.arange(5 * 6 * 7.0).reshape(5, 6, 7)
        np.testing.assert_array_equal(images(drawn(values, dims=(0,)))[3].get_array(), 42)


class TestEveryPicture:
    @pytest.mark.parametrize("shape", [(50,), (40, 50), (10, 11, 12)])
    @pytest.mark.parametrize("fill", [0.0, np.nan])
    def test_fields_without_contrast_draw_without_warnings(
        self, shape: tuple[int, ...], fill: float
    ) -> None:
        saved(drawn(np.full(shape, fill)))

    @pytest.mark.parametrize("shape", [(50,), (40, 50), (10, 11, 12)])
    def test_missing_values_are_grey(self, shape: tuple[int, ...]) -> None:
        values = np.random.default_rng(2).normal(size=shape)
        values[: shape[0] // 3] = np.nan
        values[-1, ...] = np.inf
        figure = drawn(values)
        saved(figure)
        for image in images(figure):
            assert image.cmap.get_bad() == pytest.approx([float(GREY)] * 3 + [1])

    @pytest.mark.parametrize("dtype", ["i1", "u8", "f2", "f4", ">f8", "g"])
    def test_dtypes(self, dtype: str) -> None:
        saved(drawn(np.arange(30).reshape(5, 6).astype(dtype)))

    @pytest.mark.parametrize("scale", [1e-300, 1e300])
    def test_scales(self, scale: float) -> None:
        saved(drawn(HILL * scale))

    @pytest.mark.parametrize(
        ("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
    )
    def test_formats_and_the_same_bytes_twice(self, suffix: str, start: bytes) -> None:
        first, second = (saved(drawn(HILL), suffix) for _ in range(2))
        assert first.startswith(start)
        assert first == second

    def test_names_are_no_formulas(self) -> None:
        name = "$\\frac{ \u6f22 [bold]\n.npy"
        field = field_of(
            HILL, title=name, label="$x", dims=(Dimension("a", "$a"), Dimension("b", "b$"))
        )
        saved(drawn(field))
        saved(drawn(field_of(HILL[0], title=name * 30, label="$x_", dims=(Dimension("a", "$^"),))))

    @pytest.mark.parametrize("ndim", [0, 4])
    def test_what_cannot_be_drawn(self, ndim: int) -> None:
        with pytest.raises(FileProblem, match=f"{ndim}-D"):
            picture.check(field_of(np.ones((2,) * ndim)))


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
