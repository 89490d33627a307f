"""Tables of numbers: text and Parquet."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

from gridgrad.app.files import open_source

from .filing import got, hill, notes, problem, put, text, unwritable


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "1,2,3\n4,5,6\n",
        "1;2;3\n4;5;6\n",
        "1\t2\t3\n4\t5\t6\n",
        "1 2  3\n  4 5 6",
        "1, 2, 3\r\n4, 5, 6\r\n",
        "1,2,3,\n4,5,6,\n",
        "# a comment, with a comma\n\n1,2,3\n  # another\n4,5,6\n",
        "a,b,c\n1,2,3\n4,5,6\n",
        'a;"b; or c";d\n1;2;3\n4;5;6\n',
        "\ufeff1,2,3\n4,5,6\n",
        "1e0,+2.0,3.\n4,5,0.6e1\n",
    ],
)
def test_grids(content: str) -> None:
    values = got(text(content))["values"]
    assert (values.dtype, values.dims) == (np.float64, ("dim0", "dim1"))
    np.testing.assert_array_equal(values, [[1, 2, 3], [4, 5, 6]])


def test_utf_16_of_spreadsheets() -> None:
    name = text("1\t2,5\n3\t4,5\n", encoding="utf-16")
    np.testing.assert_array_equal(got(name)["values"], [[1, 2.5], [3, 4.5]])


def test_decimal_commas_where_semicolons_separate() -> None:
    source = open_source(text("x;y\n0,5;1,25\n1;2\n"))
    np.testing.assert_array_equal(source.dataset["values"], [[0.5, 1.25], [1, 2]])
    assert "decimal commas" in notes(source)


@pytest.mark.parametrize("content", ["1\n2\n3\n", "1,2,3\n", "speed\n1\n2\n3\n", "1 2 3"])
def test_one_column_or_one_row_is_a_curve(content: str) -> None:
    source = open_source(text(content))
    np.testing.assert_array_equal(source.dataset["values"], [1, 2, 3])
    assert source.notes == ()


def test_missing_values_become_nan_and_are_counted() -> None:
    source = open_source(text("1,,3\nNA,5,null\n7,8,9\n"))
    expected = [[1, np.nan, 3], [np.nan, 5, np.nan], [7, 8, 9]]
    np.testing.assert_array_equal(source.dataset["values"], expected)
    assert source.notes == ("3 of 9 values in 'f.csv' are missing and became NaN.",)


def test_infinities_stay() -> None:
    np.testing.assert_array_equal(got(text("1\ninf\n-inf"))["values"], [1, np.inf, -np.inf])


def test_columns_with_names_are_a_grid_and_that_is_said() -> None:
    source = open_source(text("x,y\n0,1\n1,2\n4,5\n"))
    assert source.dataset["values"].shape == (3, 2)
    assert "grid of 3 x 2" in notes(source)
    assert "--coordinate" in notes(source)


@pytest.mark.parametrize("column", ["x", "0"])
def test_a_coordinate_makes_a_curve(column: str) -> None:
    source = open_source(text("x,y\n0,1\n1,2\n4,5\n"), coordinate=column)
    np.testing.assert_array_equal(source.dataset.y, [1, 2, 5])
    np.testing.assert_array_equal(source.dataset.y.x, [0, 1, 4])
    assert source.notes == ()


def test_var_chooses_columns_and_the_others_need_not_be_numbers() -> None:
    name = text("when,who,t,v,w\n1,ann,0,5,1\n2,bob,2,9,2\n")
    np.testing.assert_array_equal(got(name, coordinate="t", var=["v"]).v, [5, 9])
    assert list(got(name, coordinate="t", var=["w", "v"])) == ["w", "v"]
    assert got(name, var=["v"]).v.dims == ("dim0",)
    assert list(got(name, coordinate="t")) == ["when", "v", "w"]
    assert "'when', 'who', 't', 'v', 'w'" in problem(name, coordinate="z")
    assert "two columns" in problem(name, coordinate="t", var=["t"])
    np.testing.assert_array_equal(got(text("0 5\n1 7\n"), coordinate="0", var=["1"])["1"], [5, 7])


def test_all_columns_of_numbers_lie_over_dates() -> None:
    source = open_source(text("day,v,who,w\n2024-02-28,1,ann,3\n2024-03-01,2,bob,5\n"))
    assert list(source.dataset) == ["v", "w"]
    np.testing.assert_array_equal(source.dataset.w, [3, 5])
    assert "no column to differentiate" in problem(text("1\n2\n"), coordinate="0")


def test_dates_as_positions() -> None:
    source = open_source(text("day,v\n2024-02-28,1\n2024-03-01,2\n"))
    expected = np.array(["2024-02-28", "2024-03-01"], "datetime64[s]")
    np.testing.assert_array_equal(source.dataset.v.day, expected)
    assert "dates in 'day'" in notes(source)
    named = open_source(text("v,day\n1,2024-02-28T12:00\n2,2024-03-01T00:00\n"), coordinate="day")
    assert named.dataset.day.dtype.kind == "M"
    assert "date" in problem(text("day,v\n2024-02-31,1\n2024-03-01,2\n"), coordinate="day")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("# nothing\n\n", "no numbers"),
        ("a,b\n", "no numbers"),
        ("a\nb\nc\n", "no numbers"),
        (",,\n,,\n", "no numbers"),
        ("1,2\n3\n", "line 2 has 1 and the first has 2"),
        ("1,2\n3,x\n", "line 2, column 2, but 'x'"),
        ("a,b\n\n# c\n1,2\n1_000,2\n", "line 5, column 1"),
        ('1,2\n"3,4\n5,6\n', "quotation mark"),
        ("1,2\0\n", "not a text file"),
    ],
)
def test_what_is_no_table(content: str, words: str) -> None:
    assert words in problem(text(content))


def test_a_curve_keeps_its_positions() -> None:
    field = got(text("x,y\n0,1\n0.1,2\n4,5\n"), coordinate="x")
    put(field / 3, "g.csv")
    assert Path("g.csv").read_text().splitlines()[:2] == ["x,y", "0.0,0.3333333333333333"]
    xr.testing.assert_equal(got("g.csv", coordinate="x"), field / 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_fewest_digits_that_read_back(dtype: type) -> None:
    part = np.random.default_rng(5).normal(size=(4, 3)).astype(dtype)
    part.flat[0], part.flat[1], part.flat[2] = np.nan, np.inf, np.finfo(dtype).tiny
    put(xr.Dataset({"u": (("a", "b"), part)}).chunk(a=3, b=2), "g.csv")
    np.testing.assert_array_equal(got("g.csv")["values"].astype(dtype), part)


@pytest.mark.parametrize("name", ["g.csv", "g.parquet"])
@pytest.mark.parametrize("unit", ["D", "h", "ns"])
def test_times_read_back(name: str, unit: str) -> None:
    days = np.array(["2024-02-28", "2024-02-29", "2024-03-02"], f"M8[{unit}]")
    field = xr.Dataset({"u": ("day", [1.0, 2.0, 4.0])}, {"day": days})
    put(field.chunk(day=2), name)
    xr.testing.assert_equal(got(name), field)


def test_what_tables_cannot_hold() -> None:
    cube = xr.Dataset({"u": (("x", "y", "z"), np.ones((2, 2, 2)))})
    for name in ("g.csv", "g.parquet"):
        assert "u (3-D)" in unwritable(cube, name)
        assert "u (2-D), v (2-D)" in unwritable(hill(), name)
        assert "complex" in unwritable(xr.Dataset({"u": ("x", np.ones(2) * 1j)}), name)
    assert "u (2-D)" in unwritable(hill()[["u"]], "g.parquet")


class TestParquet:
    def test_positions_that_are_no_numbers(self) -> None:
        field = xr.Dataset({"u": ("who", [1.0, 2.0])}, {"who": ["ann", "bob"]})
        assert "coordinate who" in unwritable(field, "g.parquet")

    def test_the_first_column_holds_the_positions(self) -> None:
        pq.write_table(
            pa.table({"x": [0.0, 1.0, 4.0], "u": [1, 2, 3], "who": ["a", "b", "c"]}), "f.parquet"
        )
        source = open_source("f.parquet")
        np.testing.assert_array_equal(source.dataset.u.x, [0, 1, 4])
        assert source.dataset.u.dtype == np.int64
        assert "first column 'x'" in notes(source)
        assert got("f.parquet", coordinate="u", var=["x"]).x.dims == ("u",)
        assert got("f.parquet", var=["x"]).x.dims == ("dim0",)
        assert "there are: x, u, who" in problem("f.parquet", var=["w"])
        assert "--coordinate" in problem("f.parquet", coordinate="w")
        assert "no numbers" in problem("f.parquet", var=["who"])
        assert "two columns" in problem("f.parquet", var=["u"], coordinate="u")

    def test_the_index_of_pandas(self) -> None:
        days = pd.date_range("2024-02-28", periods=3, name="day")
        pd.DataFrame({"u": [1.0, 2.0, 4.0]}, index=days).to_parquet("f.parquet", engine="pyarrow")
        source = open_source("f.parquet")
        np.testing.assert_array_equal(source.dataset.u.day, days.values)
        assert "index 'day'" in notes(source)

    def test_one_column_counts_samples(self) -> None:
        pq.write_table(pa.table({"u": [1.0, 2.0]}), "f.parquet")
        assert got("f.parquet").u.dims == ("dim0",)

    def test_missing_values_and_dates(self) -> None:
        days = pa.array([0, 366], pa.date32())
        table = pa.table({"day": days, "n": [1, None], "d": pa.array([None, 2.5], pa.float32())})
        pq.write_table(table, "f.parquet")
        source = open_source("f.parquet")
        assert source.dataset.day.dtype == np.dtype("M8[s]")
        np.testing.assert_array_equal(source.dataset.n, [1, np.nan])
        np.testing.assert_array_equal(source.dataset.d, [np.nan, 2.5])
        assert "2 of 4 values" in notes(source)

    @pytest.mark.parametrize("codec", ["snappy", "zstd", "gzip", "none"])
    def test_compression_follows(self, codec: str) -> None:
        pq.write_table(pa.table({"x": [0.0, 1.0], "u": [1.0, 2.0]}), "f.parquet", compression=codec)
        put(got("f.parquet"), "g.parquet")
        found = pq.read_metadata("g.parquet").row_group(0).column(0).compression
        assert found == {"none": "UNCOMPRESSED"}.get(codec, codec.upper())

    def test_a_row_group_a_chunk(self) -> None:
        field = xr.Dataset({"u": ("x", np.arange(10.0))}, {"x": np.arange(10)}).chunk(x=4)
        put(field, "f.parquet")
        assert pq.read_metadata("f.parquet").num_row_groups == 3
        xr.testing.assert_equal(got("f.parquet"), field.compute())

    def test_a_broken_file(self) -> None:
        pq.write_table(pa.table({"u": [1.0, 2.0]}), "f.parquet")
        Path("g.parquet").write_bytes(Path("f.parquet").read_bytes()[:-9])
        assert "'g.parquet'" in problem("g.parquet")
