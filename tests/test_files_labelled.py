"""NetCDF, Zarr, HDF5 and GRIB: CF's decoding, groups, and compression that follows the input."""

import zipfile
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr

from gridgrad.app.files import encoding_for, open_source
from gridgrad.app.files.layout import layout_of, zarr_format

from .commanding import command
from .filing import got, hill, notes, problem, put, unwritable


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class TestDecoding:
    @pytest.mark.parametrize("form", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT_DATA"])
    def test_packed_whole_numbers(self, form: Any) -> None:
        with netCDF4.Dataset("f.nc", "w", format=form) as file:
            file.createDimension("x", 4)
            packed = file.createVariable("t", "i2", ("x",), fill_value=-99)
            packed.set_auto_maskandscale(False)
            packed.scale_factor, packed.add_offset, packed.units = 0.5, 10.0, "K"
            packed[:] = [1, -99, 3, 4]
            file.createVariable("x", "f8", ("x",))[:] = [0, 1, 3, 4]
        found = got("f.nc")["t"]
        np.testing.assert_array_equal(found, [10.5, np.nan, 11.5, 12])
        assert found.attrs == {"units": "K"}
        np.testing.assert_array_equal(found.x, [0, 1, 3, 4])

    def test_times_of_several_calendars(self) -> None:
        for calendar, dtype in [("standard", "M"), ("noleap", "O")]:
            with netCDF4.Dataset("f.nc", "w") as file:
                file.createDimension("time", 2)
                time = file.createVariable("time", "i4", ("time",))
                time.units, time.calendar = "days since 2000-02-28", calendar
                time[:] = [0, 1]
                file.createVariable("t", "f4", ("time",))[:] = [1, 2]
            found = got("f.nc")
            assert found.time.dtype.kind == dtype
            put(found, "g.nc")
            xr.testing.assert_identical(got("g.nc").time, found.time)
            Path("g.nc").unlink()

    def test_times_in_no_unit_of_time_are_numbers(self) -> None:
        with netCDF4.Dataset("f.nc", "w") as file:
            file.createDimension("time", 2)
            time = file.createVariable("time", "f8", ("time",))
            time.units = "fortnights since Easter"
            time[:] = [0, 1]
            file.createVariable("t", "f4", ("time",))[:] = [1, 2]
        source = open_source("f.nc")
        assert source.dataset.time.dtype == np.float64
        assert "no unit of time" in notes(source)

    def test_map_coordinates_of_two_dims(self) -> None:
        field = hill().assign_coords(height=(("lat", "lon"), np.ones((6, 8)), {"units": "m"}))
        put(field, "f.nc")
        assert "height" in got("f.nc").coords
        assert list(got("f.nc", var=["height"]).data_vars) == ["height"]
        assert "coordinate of a dim" in problem("f.nc", var=["lat"])


class TestChoice:
    @pytest.mark.parametrize("name", ["f.nc", "f.h5", "f.zarr"])
    def test_variables_in_their_order(self, name: str) -> None:
        put(hill().assign(who=("lat", list("abcdef"))), name)
        assert list(got(name, var=["v", "u"]).data_vars) == ["v", "u"]
        assert set(got(name).data_vars) == {"u", "v", "who"}
        assert "there are: u (6 x 8 float64), v (6 x 8 float64), who" in problem(name, var=["w"])
        assert "no numbers" in problem(name, var=["u", "who"])
        assert "--coordinate" in problem(name, coordinate="lat")

    @pytest.mark.parametrize("name", ["f.nc", "f.h5", "f.zarr"])
    def test_groups(self, name: str) -> None:
        engine: Any = {".nc": "netcdf4", ".h5": "h5netcdf", ".zarr": "zarr"}[Path(name).suffix]
        save: dict[str, Any] = {"consolidated": False} if engine == "zarr" else {"engine": engine}
        tree = xr.DataTree.from_dict({"/": xr.Dataset(), "/model": hill()})
        (tree.to_zarr if engine == "zarr" else tree.to_netcdf)(name, **save)
        assert set(got(name).data_vars) == {"u", "v"}
        tree = xr.DataTree.from_dict({"/": xr.Dataset(), "/a": hill(), "/b/c": hill()[["u"]] * 2})
        name = f"two_{name}"
        (tree.to_zarr if engine == "zarr" else tree.to_netcdf)(name, **save)
        message = problem(name)
        assert "groups" in message
        assert "a/u, a/v, b/c/u" in message
        np.testing.assert_array_equal(got(name, var=["/b/c/u"]).u, hill().u * 2)
        assert list(got(name, var=["a/v", "a/u"]).data_vars) == ["v", "u"]
        assert "one group" in problem(name, var=["a/u", "b/c/u"])
        assert "a/u, a/v, b/c/u" in problem(name, var=["b/u"])

    def test_nothing_to_differentiate(self) -> None:
        put(xr.Dataset({"who": ("x", ["a", "b"])}), "f.nc")
        assert "no array of numbers" in problem("f.nc")
        put(xr.Dataset({"n": 3.0}), "g.nc")
        assert "single number" in problem("g.nc")
        put(xr.Dataset({"n": ("x", np.zeros(0))}), "h.nc")
        assert "its shape is (0,)" in problem("h.nc")
        assert "(0,)" in problem("h.nc", var=["n"])
        put(xr.Dataset(), "i.nc")
        assert "no arrays of numbers" in problem("i.nc")


class TestPlainHDF5:
    def test_arrays_without_dims_of_their_own(self) -> None:
        with h5py.File("f.h5", "w") as file:
            file["u"] = np.arange(12.0).reshape(3, 4)
            file["note"] = "text"
        source = open_source("f.h5", var=["u"])
        assert source.counts_samples
        np.testing.assert_array_equal(source.dataset.u, np.arange(12.0).reshape(3, 4))
        source.close()
        put(hill(), "g.h5")
        assert not open_source("g.h5").counts_samples

    def test_in_groups(self) -> None:
        with h5py.File("f.hdf5", "w") as file:
            file["run/speed"] = np.ones((2, 3), ">f4")
        assert got("f.hdf5").speed.shape == (2, 3)


class TestZarr:
    @pytest.mark.parametrize("version", [2, 3])
    @pytest.mark.parametrize("consolidated", [False, True])
    @pytest.mark.filterwarnings("ignore:Consolidated metadata")
    def test_versions(self, version: Any, consolidated: bool) -> None:
        hill().to_zarr("f.zarr", zarr_format=version, consolidated=consolidated)
        found = got("f.zarr")
        xr.testing.assert_identical(found.drop_encoding(), hill())
        assert zarr_format(found.variables.values()) == version
        put(found, "g.zarr")
        assert zarr.open_group("g.zarr").metadata.zarr_format == version

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_in_a_zip_file(self) -> None:
        with zarr.storage.ZipStore("f.zarr.zip", mode="w") as store:
            hill().to_zarr(store, consolidated=False)
        xr.testing.assert_identical(got("f.zarr.zip").drop_encoding(), hill())
        with zipfile.ZipFile("g.zip", "w") as archive:
            archive.writestr("a.txt", "text")
        assert "'g.zip'" in problem("g.zip")

    @pytest.mark.parametrize("version", [2, 3])
    def test_arrays_that_do_not_name_their_dims(self, version: Any) -> None:
        values = np.arange(12.0).reshape(3, 4)
        zarr.save_array("f.zarr", values, zarr_format=version)
        source = open_source("f.zarr")
        assert source.counts_samples
        assert source.dataset["values"].dims == ("dim0", "dim1")
        np.testing.assert_array_equal(source.dataset["values"], values)
        zarr.save_group("g.zarr", u=values, w=values[:2], zarr_format=version)
        assert got("g.zarr", var=["w"])["w"].dims == ("dim0", "dim1")
        np.testing.assert_array_equal(got("g.zarr")["u"][::-1], values[::-1])

    def test_a_file_is_no_store(self) -> None:
        Path("f.zarr").write_bytes(b"PK")
        assert "not a folder" in problem("f.zarr")
        Path("g.zarr").mkdir()
        assert "'g.zarr'" in problem("g.zarr")


class TestGRIB:
    def test_a_field_on_latitudes(self) -> None:
        write_grib("f.grib", {"t": 850, "u": 850})
        before = sorted(Path().iterdir())
        found = got("f.grib", var=["t"])
        assert sorted(Path().iterdir()) == before
        assert found.t.dims == ("latitude", "longitude")
        np.testing.assert_allclose(found.t, GRID, atol=1e-3)
        assert found.t.attrs["units"] == "K"
        assert set(got("f.grib").data_vars) == {"t", "u"}
        assert ".grib" not in unwritable(hill(), "g.grib").replace("'g.grib'", "")

    def test_several_grids(self) -> None:
        write_grib("f.grb2", {"t": 850, "sp": 0})
        assert "several grids" in problem("f.grb2")
        assert got("f.grb2", var=["sp"]).sp.shape == GRID.shape
        assert "several grids" in problem("f.grb2", var=["t", "sp"])
        assert "there are: t, sp" in problem("f.grb2", var=["q"])

    def test_a_command_that_reads_grib_was_aborted_at_its_end(self) -> None:
        write_grib("f.grib", {"t": 850})
        for words in (
            ["info", "f.grib"],
            ["gradient", "f.grib", "g.nc"],
            ["gradient", "f.grib", "g.tif"],
        ):
            result = command(*words)
            assert result.returncode == 0, result.stderr


GRID = 280.0 + np.arange(12.0).reshape(3, 4)


def write_grib(name: str, levels: dict[str, int]) -> None:
    """Fields of 3 latitudes and 4 longitudes, each on its level; 0 is the ground."""
    import eccodes

    with open(name, "wb") as file:
        for short, level in levels.items():
            message = eccodes.codes_grib_new_from_samples("regular_ll_pl_grib2")
            keys = {
                "Ni": 4, "Nj": 3, "iDirectionIncrementInDegrees": 1, "jDirectionIncrementInDegrees": 1,
                "latitudeOfFirstGridPointInDegrees": 52, "latitudeOfLastGridPointInDegrees": 50,
                "longitudeOfFirstGridPointInDegrees": 0, "longitudeOfLastGridPointInDegrees": 3,
                "typeOfLevel": "isobaricInhPa" if level else "surface", "shortName": short,
                "bitsPerValue": 24,
            }  # fmt: skip
            for key, value in keys.items():
                eccodes.codes_set(message, key, value)
            if level:
                eccodes.codes_set(message, "level", level)
            eccodes.codes_set_values(message, GRID.ravel())
            eccodes.codes_write(message, file)
            eccodes.codes_release(message)


class TestLayout:
    """What is written is laid out and compressed as what was read."""

    def source(self, name: str, **encoding: Any) -> xr.Dataset:
        field = hill(np.float32, 64, 64)[["u"]]
        if name.endswith(".zarr"):
            field.to_zarr(name, encoding={"u": encoding}, consolidated=False)
        elif name.endswith(".h5"):
            field.to_netcdf(name, encoding={"u": encoding}, engine="h5netcdf")
        else:
            field.to_netcdf(name, encoding={"u": encoding}, engine="netcdf4")
        return got(name)

    @pytest.mark.parametrize("back", ["g.nc", "g.h5", "g.zarr"])
    @pytest.mark.parametrize("name", ["f.nc", "f.h5"])
    def test_deflate_keeps_its_level_and_its_chunks(self, name: str, back: str) -> None:
        put(self.source(name, zlib=True, complevel=7, shuffle=True, chunksizes=(16, 32)), back)
        found = layout_of(got(back).u.encoding, 2)
        assert (found.chunks, found.compression, found.level, found.shuffle) == (
            (16, 32), "deflate", 7, True,
        )  # fmt: skip

    @pytest.mark.parametrize("back", ["g.nc", "g.h5", "g.zarr"])
    @pytest.mark.parametrize("name", ["f.nc", "f.zarr"])
    def test_what_is_not_compressed_stays_so(self, name: str, back: str) -> None:
        encoding = {"compressors": None, "chunks": (16, 32)} if name == "f.zarr" else {}
        put(self.source(name, **encoding), back)
        found = layout_of(got(back).u.encoding, 2)
        assert found.compression is None
        if name == "f.zarr":
            assert found.chunks == (16, 32)

    def test_zarr_keeps_codecs_and_shards(self) -> None:
        codec = zarr.codecs.BloscCodec(cname="lz4", clevel=3, shuffle="bitshuffle")
        layout = {"chunks": (16, 16), "shards": (32, 64), "compressors": (codec,)}
        put(self.source("f.zarr", **layout), "g.zarr")
        found = got("g.zarr").u.encoding
        assert (found["chunks"], found["shards"]) == ((16, 16), (32, 64))
        (kept,) = found["compressors"]
        assert (kept.cname.value, kept.clevel, kept.shuffle.value) == ("lz4", 3, "bitshuffle")

    def test_zarr_2_keeps_its_codec(self) -> None:
        hill()[["u"]].to_zarr(
            "f.zarr", zarr_format=2, encoding={"u": {"compressors": numcodecs.LZMA(preset=1)}}
        )
        put(got("f.zarr"), "g.zarr")
        (kept,) = got("g.zarr").u.encoding["compressors"]
        assert kept.codec_id == "lzma"

    def test_what_netcdf_lacks_becomes_deflate(self) -> None:
        codec = zarr.codecs.ZstdCodec(level=3)
        put(self.source("f.zarr", chunks=(16, 16), compressors=(codec,)), "g.nc")
        found = layout_of(got("g.nc").u.encoding, 2)
        assert (found.compression, found.level, found.chunks) == ("deflate", 4, (16, 16))

    def test_netcdf_keeps_its_plugins(self) -> None:
        with netCDF4.Dataset("probe.nc", "w") as probe:
            if not probe.has_zstd_filter():
                pytest.skip("this NetCDF library was built without zstd")
        put(self.source("f.nc", compression="zstd", complevel=5, chunksizes=(16, 16)), "g.nc")
        found = layout_of(got("g.nc").u.encoding, 2)
        assert (found.compression, found.level) == ("zstd", 5)
        put(got("f.nc"), "g.zarr")
        assert layout_of(got("g.zarr").u.encoding, 2).compression == "zstd"

    def test_irregular_chunks_of_dask(self) -> None:
        put(hill().chunk(lat=(1, 3, 2), lon=(5, 1, 2)), "g.zarr")
        xr.testing.assert_identical(got("g.zarr").drop_encoding(), hill())
        assert got("g.zarr").u.encoding["chunks"] == (3, 5)

    def test_what_nothing_is_known_of_is_left_to_the_library(self) -> None:
        for suffix in (".nc", ".zarr", ".h5", ".npz", ".parquet", ".tif"):
            assert encoding_for(xr.Variable("x", [1.0]), suffix) == {}

    def test_an_encoding_of_other_dims_is_dropped(self) -> None:
        found = xr.Variable("x", np.ones(9), encoding={"chunksizes": (4, 4), "zlib": True})
        assert "chunksizes" not in encoding_for(found, ".nc")
        found = xr.Variable("x", np.ones(9), encoding={"chunks": (40,), "compressors": ()})
        assert encoding_for(found, ".nc")["chunksizes"] == (9,)


@pytest.mark.parametrize(
    ("name", "dtype", "words"),
    [
        ("g.nc", "c16", "complex"),
        ("g.nc", "f2", "float16"),
        ("g.cdf", "i8", "NetCDF 3"),
        ("g.cdf", "c8", "complex"),
    ],
)
def test_what_netcdf_cannot_hold(name: str, dtype: str, words: str) -> None:
    assert words in unwritable(xr.Dataset({"u": ("x", np.ones(3, dtype))}), name)


def test_names_that_would_be_paths() -> None:
    for name in ("g.nc", "g.h5", "g.zarr"):
        assert "slash" in unwritable(xr.Dataset({"a/b": ("x", np.ones(3))}), name)


@pytest.mark.parametrize("name", ["g.nc", "g.cdf", "g.h5"])
def test_attributes_that_netcdf_lacks_become_json(name: str) -> None:
    attrs = {
        "flag": True,
        "none": None,
        "nest": {"a": [1, "b"]},
        "mixed": [1, ["b"]],
        "few": [1, 2],
    }
    put(xr.Dataset({"u": ("x", np.ones(3), attrs)}, attrs={"empty": []}), name)
    found = got(name)
    assert found.u.attrs["flag"] == "true"
    assert found.u.attrs["nest"] == '{"a": [1, "b"]}'
    np.testing.assert_array_equal(found.u.attrs["few"], [1, 2])
    assert found.attrs["empty"] == "[]"


def test_netcdf_3_ends_at_4_gib() -> None:
    large = xr.Dataset({"u": (("x", "y"), np.broadcast_to(np.float64(0), (2**15, 2**15)))})
    assert "4 GiB" in unwritable(large, "g.cdf")
