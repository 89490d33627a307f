"""Images, maps, and the terrain that comes along."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from PIL import Image

from gridgrad.app.files import geotiff, open_source
from gridgrad.app.files.samples import metres_per_degree

from .filing import got, hill, notes, problem, put, unwritable


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class TestImages:
    def save(self, values: Any, name: str, mode: str | None = None) -> str:
        image = Image.fromarray(values)
        (image if mode is None else image.convert(mode)).save(name)
        return name

    @pytest.mark.parametrize("name", ["f.png", "f.tif"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_grey_is_kept(self, name: str, dtype: type) -> None:
        values = np.array([[0, 1, 2], [3, 200, np.iinfo(dtype).max]], dtype)
        source = open_source(self.save(values, name))
        found = source.dataset.grey
        assert found.dims == ("row", "column")
        np.testing.assert_array_equal(found, values)
        assert found.dtype.itemsize >= values.dtype.itemsize
        assert (source.notes, source.look, source.counts_samples) == ((), "image", True)

    def test_float_tif(self) -> None:
        values = np.array([[0.25, -1], [3, 1e9]], np.float32)
        found = got(self.save(values, "f.tif")).grey
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, values)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
    def test_colours_become_luminance(self, mode: str) -> None:
        colours = np.zeros((2, 2, 3), np.uint8)
        colours[0, 0], colours[0, 1], colours[1, 0] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
        source = open_source(self.save(colours, "f.png", mode))
        expected = [[54.213, 182.376], [18.411, 0]]
        np.testing.assert_allclose(source.dataset.grey, expected, rtol=1e-12)
        assert "Rec. 709" in source.notes[-1]
        assert (len(source.notes) == 2) == (mode == "RGBA")

    def test_alpha_is_dropped_from_grey(self) -> None:
        both = np.dstack([np.array([[10, 20]], np.uint8), np.array([[0, 255]], np.uint8)])
        Image.fromarray(both).save("f.png")
        source = open_source("f.png")
        np.testing.assert_array_equal(source.dataset.grey, [[10, 20]])
        assert "alpha" in source.notes[0]

    def test_jpeg_is_turned_upright(self) -> None:
        image = Image.fromarray(np.full((8, 16), 100, np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save("f.jpg", exif=exif)
        source = open_source("f.jpg")
        assert source.dataset.grey.shape == (16, 8)
        assert "upright" in source.notes[0]

    def test_the_first_of_several(self) -> None:
        frames = [Image.fromarray(np.full((2, 2), k, np.uint8)) for k in (7, 8)]
        frames[0].save("f.tif", save_all=True, append_images=frames[1:])
        source = open_source("f.tif")
        np.testing.assert_array_equal(source.dataset.grey, 7)
        assert "2 images" in source.notes[0]

    def test_what_is_no_image(self) -> None:
        Path("f.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
        assert "an image" in problem("f.png")
        Path("f.tif").write_bytes(b"no such thing")
        assert "'f.tif'" in problem("f.tif")
        assert "'g.png' cannot be written" in unwritable(hill(), "g.png")


class TestMaps:
    def test_a_map_keeps_its_place(self) -> None:
        put(hill(), "f.tif")
        with rasterio.open("f.tif") as file:
            assert file.crs.to_epsg() == 4326
            assert file.descriptions == ("u", "v")
            assert file.xy(0, 0) == pytest.approx((0.0, 50.0))
        found = got("f.tif")
        np.testing.assert_array_equal(found.u, hill().u)
        np.testing.assert_allclose(found.y, hill().lat)
        np.testing.assert_allclose(found.x, hill().lon)
        assert found.u.attrs["units"] == "m s-1"
        assert found.y.attrs["units"] == "degrees_north"
        put(found, "g.tif")
        with rasterio.open("g.tif") as file:
            assert file.crs.to_epsg() == 4326

    def test_gaps_and_packed_values(self) -> None:
        with rasterio.open(
            "f.tif", "w", driver="GTiff", height=2, width=3, count=1, dtype="int16", nodata=-99,
            transform=rasterio.Affine(30, 0, 1000, 0, -30, 2000), crs="EPSG:32616",
        ) as file:  # fmt: skip
            file.write(np.array([[1, -99, 3], [4, 5, 6]], "i2"), 1)
            file.scales, file.offsets = (0.5,), (10.0,)
        found = got("f.tif")
        np.testing.assert_array_equal(found.band_1, [[10.5, np.nan, 11.5], [12, 12.5, 13]])
        np.testing.assert_array_equal(found.x, [1015, 1045, 1075])
        np.testing.assert_array_equal(found.y, [1985, 1955])
        assert found.x.attrs["units"] == "metre"

    def test_compression_and_tiles_follow(self) -> None:
        field = hill(np.float32, 64, 96)
        field.u.encoding = {"zlib": True, "chunksizes": (32, 48)}
        put(field.chunk(lat=32), "f.tif")
        with rasterio.open("f.tif") as file:
            assert file.profile["compress"] == "deflate"
            assert file.block_shapes == [(32, 48)] * 2
        put(got("f.tif"), "g.tif")
        with rasterio.open("g.tif") as file:
            assert file.profile["compress"] == "deflate"
            assert file.block_shapes == [(32, 48)] * 2

    def test_what_is_no_map(self) -> None:
        assert "evenly spaced" in unwritable(hill().assign_coords(lat=[0, 1, 2, 3, 4, 9]), "g.tif")
        assert "2 dims" in unwritable(hill().isel(lat=0), "g.tif")
        assert "float16" in unwritable(hill(np.float16), "g.tif")

    def test_without_rioxarray_it_is_an_image(self, monkeypatch: pytest.MonkeyPatch) -> None:
        put(hill(np.float32)[["u"]], "f.tif")
        monkeypatch.setattr(geotiff, "find_spec", lambda _: None)
        source = open_source("f.tif")
        np.testing.assert_array_equal(source.dataset.grey, hill(np.float32).u)
        assert "gridgrad[geo]" in notes(source)

    def test_a_corrupt_tile(self) -> None:
        field = hill(np.float32, 64, 64)[["u"]]
        field.u.encoding = {"zlib": True, "chunksizes": (16, 16)}
        put(field, "f.tif")
        content = bytearray(Path("f.tif").read_bytes())
        content[-200:-50] = b"\xff" * 150
        Path("f.tif").write_bytes(content)
        assert "'f.tif'" in problem("f.tif")


class TestTerrain:
    def test_metres_agree_with_distances_between_points_on_the_ellipsoid(self) -> None:
        def point(latitude: float, longitude: float) -> Any:
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
        source = open_source("sample:terrain")
        height = source.dataset.elevation
        assert (height.dims, height.shape, height.dtype) == (("y", "x"), (344, 403), np.int16)
        assert (source.look, source.path) == ("terrain", None)
        north, east = np.diff(height.y), np.diff(height.x)
        assert north[0] == pytest.approx(-92.4750, abs=1e-3)
        assert east[0] == pytest.approx(74.5732, abs=1e-3)
        assert (north == north[0]).all()
        assert (east == east[0]).all()
        assert "36.59 degrees north" in notes(source)

    def test_unknown_samples_and_misplaced_options(self) -> None:
        assert "sample:terrain" in problem("sample:moon")
        assert "--coordinate" in problem("sample:terrain", coordinate="x")
        assert "there are: elevation" in problem("sample:terrain", var=["x1"])


def test_a_dataset_of_a_map_is_labelled() -> None:
    put(hill(), "f.tif")
    assert isinstance(got("f.tif").u, xr.DataArray)
