"""What is read from files, and what is written to them."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gridgrad.app import formats
from gridgrad.app.atomic import published
from gridgrad.app.field import Array, Field, FileProblem, numbered
from gridgrad.app.samples import metres_per_degree, terrain
from gridgrad.errors import GridError


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def text(content: str, name: str = "f.csv", encoding: str = "utf-8") -> str:
    Path(name).write_text(content, encoding=encoding, newline="")
    return name


def problem(source: str, **options: str) -> str:
    with pytest.raises(FileProblem) as caught:
        formats.read(source, **options)  # type: ignore[arg-type]
    return str(caught.value)


def field_of(values: Array, **known: object) -> Field:
    return Field(values=values, title="f", dims=numbered(values.ndim), **known)  # type: ignore[arg-type]


def written(
    name: str, field: Field, dims: Sequence[int], parts: Sequence[Array], *, force: bool = False
) -> None:
    with published(Path(name), force=force) as file:
        formats.write(file, Path(name).suffix, field, dims, parts)


class TestNumPyFiles:
    @pytest.mark.parametrize("dtype", ["i1", "u8", "f2", "f4", ">f8", "c8", "c16"])
    def test_npy_round_trip(self, dtype: str) -> None:
        part = np.arange(12).reshape(3, 4).astype(dtype)
        written("g.npy", field_of(part), (0,), [part])
        values = formats.read("g.npy").values
        assert values.dtype == part.dtype
        np.testing.assert_array_equal(values, part)

    def test_npy_stacks_several_components(self) -> None:
        parts = [np.ones((3, 4), "f4"), np.zeros((3, 4), "f4")]
        written("g.npy", field_of(parts[0]), (0, 1), parts)
        assert np.load("g.npy").shape == (2, 3, 4)
        assert np.load("g.npy").dtype == np.float32

    def test_npz_names_the_components(self) -> None:
        parts = [np.full((3, 4, 5), k, "f4") for k in (2.0, 0.0)]
        written("g.npz", field_of(parts[0]), (2, 0), parts)
        with np.load("g.npz") as found:
            assert found.files == ["d_dim2", "d_dim0"]
            np.testing.assert_array_equal(found["d_dim2"], parts[0])
            assert found["d_dim0"].dtype == np.float32

    def test_npz_takes_its_only_array(self) -> None:
        np.savez("f.npz", height=np.eye(3), step=2.0, who=np.array(["ann"]))
        field = formats.read("f.npz")
        np.testing.assert_array_equal(field.values, np.eye(3))
        assert (field.label, field.title) == ("height", "f.npz: height")

    def test_npz_with_several_arrays_needs_var(self) -> None:
        np.savez("f.npz", u=np.eye(3), v=np.ones((2, 2), "i4"))
        assert problem("f.npz").endswith("--var: u (3 x 3 float64), v (2 x 2 int32).")
        assert "'w'" in problem("f.npz", var="w")
        assert formats.read("f.npz", var="v").values.dtype == np.int32

    def test_npz_coordinates_are_not_guessed(self) -> None:
        np.savez("f.npz", u=np.eye(3), lon=np.arange(3.0))
        assert "lon" in problem("f.npz", var="u")
        assert formats.read("f.npz", var="u", spaced=True).values.shape == (3, 3)
        step, file = formats.read_spacing("lon", "f.npz")
        np.testing.assert_array_equal(step, np.arange(3.0))
        assert file is None

    def test_npz_without_numbers(self) -> None:
        np.savez("f.npz", who=np.array(["ann"]), n=3)
        assert "no array of numbers" in problem("f.npz")

    @pytest.mark.parametrize("name", ["f.npy", "f.npz"])
    def test_objects_are_refused(self, name: str) -> None:
        values = np.array([{}, 1], dtype=object)
        if name == "f.npy":
            np.save(name, values, allow_pickle=True)
            message = problem(name)
        else:
            np.savez(name, f=values)
            message = problem(name, var="f")
        assert "Python objects" in message

    def test_broken_files(self) -> None:
        whole = io.BytesIO()
        np.save(whole, np.arange(100.0))
        zipped = io.BytesIO()
        np.savez(zipped, f=np.arange(100.0))
        for name, content in [
            ("a.npy", whole.getvalue()[:-9]),
            ("b.npy", whole.getvalue()[:20]),
            ("c.npy", b"no such thing"),
            ("d.npz", zipped.getvalue()[:-9]),
            ("e.npz", zipped.getvalue()[:150] + b"!!" + zipped.getvalue()[152:]),
            ("g.npz", whole.getvalue()),
            ("h.npy", zipped.getvalue()),
            ("i.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 40),
        ]:
            Path(name).write_bytes(content)
            message = problem(name)
            assert repr(name) in message
            assert "\n" not in message

    def test_an_empty_archive(self) -> None:
        with zipfile.ZipFile("f.npz", "w"):
            pass
        assert "nothing" in problem("f.npz")

    @pytest.mark.parametrize(("shape", "words"), [((0,), "no numbers"), ((), "single number")])
    def test_nothing_to_differentiate(self, shape: tuple[int, ...], words: str) -> None:
        np.save("f.npy", np.zeros(shape))
        assert words in problem("f.npy")


class TestSpacing:
    def test_numbers_and_files(self) -> None:
        np.save("x.npy", np.array([1, 2, 4]))
        text("1\n2\n5\n", "x.csv")
        np.save("xy.npy", np.eye(2))
        assert formats.read_spacing("-2.5e1", "f.npy") == (-25.0, None)
        step, file = formats.read_spacing("x.npy", "f.npy")
        assert isinstance(step, np.ndarray)
        assert step.dtype == np.int64
        assert file == Path("x.npy")
        np.testing.assert_array_equal(formats.read_spacing("x.csv", "f.npy")[0], [1, 2, 5])
        for wrong, words in [("xy.npy", "1-D"), ("z.npy", "no file"), ("z", "'z'"), ("", "''")]:
            with pytest.raises(GridError, match=words):
                formats.read_spacing(wrong, "f.npy")

    def test_scalars_of_the_input(self) -> None:
        np.savez("f.npz", f=np.eye(3), dx=np.float64(0.5))
        assert formats.read_spacing("dx", "f.npz") == (0.5, None)


class TestImages:
    def save(self, values: Array, name: str, mode: str | None = None) -> str:
        image = Image.fromarray(values)
        (image if mode is None else image.convert(mode)).save(name)
        return name

    @pytest.mark.parametrize("name", ["f.png", "f.tif"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_grey_is_kept(self, name: str, dtype: type) -> None:
        values = np.array([[0, 1, 2], [3, 200, np.iinfo(dtype).max]], dtype)
        field = formats.read(self.save(values, name))
        np.testing.assert_array_equal(field.values, values)
        assert field.values.dtype.itemsize >= values.dtype.itemsize
        assert field.notes == ()
        assert field.slope_unit == "grey levels/pixel"

    def test_float_tif(self) -> None:
        values = np.array([[0.25, -1], [3, 1e9]], np.float32)
        found = formats.read(self.save(values, "f.tif")).values
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, values)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
    def test_colours_become_luminance(self, mode: str) -> None:
        colours = np.zeros((2, 2, 3), np.uint8)
        colours[0, 0], colours[0, 1], colours[1, 0] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
        field = formats.read(self.save(colours, "f.png", mode))
        np.testing.assert_allclose(field.values, [[54.213, 182.376], [18.411, 0]], rtol=1e-12)
        assert "Rec. 709" in field.notes[-1]
        assert (len(field.notes) == 2) == (mode == "RGBA")

    def test_alpha_is_dropped_from_grey(self) -> None:
        both = np.dstack([np.array([[10, 20]], np.uint8), np.array([[0, 255]], np.uint8)])
        Image.fromarray(both).save("f.png")
        field = formats.read("f.png")
        np.testing.assert_array_equal(field.values, [[10, 20]])
        assert "alpha" in field.notes[0]

    def test_jpeg_is_turned_upright(self) -> None:
        image = Image.fromarray(np.full((8, 16), 100, np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save("f.jpg", exif=exif)
        field = formats.read("f.jpg")
        assert field.values.shape == (16, 8)
        assert "upright" in field.notes[0]

    def test_the_first_of_several(self) -> None:
        frames = [Image.fromarray(np.full((2, 2), k, np.uint8)) for k in (7, 8)]
        frames[0].save("f.tif", save_all=True, append_images=frames[1:])
        field = formats.read("f.tif")
        np.testing.assert_array_equal(field.values, 7)
        assert "2 images" in field.notes[0]


class TestTerrain:
    def test_metres_agree_with_distances_between_points_on_the_ellipsoid(self) -> None:
        def point(latitude: float, longitude: float) -> Array:
            a, f = 6378137.0, 1 / 298.257223563
            phi, lam = np.radians(latitude), np.radians(longitude)
            n = a**2 / np.hypot(a * np.cos(phi), a * (1 - f) * np.sin(phi))
            below = n * (1 - f) ** 2
            return np.array(
                [n * np.cos(phi) * np.cos(lam), n * np.cos(phi) * np.sin(lam), below * np.sin(phi)]
            )

        d = 1e-3
        for latitude in (0.0, 36.59, -71.0):
            north, east = metres_per_degree(latitude)
            up, down = point(latitude + d, 20), point(latitude - d, 20)
            right, left = point(latitude, 20 + d), point(latitude, 20 - d)
            assert north == pytest.approx(np.linalg.norm(up - down) / (2 * d), rel=1e-7)
            assert east == pytest.approx(np.linalg.norm(right - left) / (2 * d), rel=1e-7)

    def test_what_it_is(self) -> None:
        field = terrain()
        assert field.values.shape == (344, 403)
        assert field.values.dtype == np.int16
        assert field.spacing == (
            pytest.approx(-92.4750, abs=1e-3),
            pytest.approx(74.5732, abs=1e-3),
        )
        assert [field.component(dim) for dim in (0, 1)] == ["d_dy", "d_dx"]
        assert field.slope_unit == "m/m"


def test_what_text_cannot_hold() -> None:
    for values, dims in [
        (np.eye(3), (0, 1)),
        (np.ones((2, 2, 2)), (0,)),
        (np.eye(2) * 1j, (0,)),
    ]:
        with pytest.raises(FileProblem, match="npz"):
            formats.check_text(Path("g.csv"), field_of(values), dims)
        formats.check_text(Path("g.npz"), field_of(values), dims)


def test_unknown_samples_and_misplaced_options() -> None:
    assert "sample:terrain" in problem("sample:moon")
    assert "--coordinate" in problem("sample:terrain", coordinate="x")
    assert "--var" in problem("sample:terrain", var="x")
    np.save("f.npy", np.eye(3))
    assert "--var" in problem("f.npy", var="x")
    assert "--spacing" in problem("f.npy", coordinate="x")
