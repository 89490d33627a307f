"""Tables of numbers as text."""

from pathlib import Path

import numpy as np
import pytest

from gridgrad.app import formats
from gridgrad.app.atomic import published
from gridgrad.app.field import Field, FileProblem, numbered


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def text(content: str, encoding: str = "utf-8") -> str:
    Path("f.csv").write_text(content, encoding=encoding, newline="")
    return "f.csv"


def problem(source: str, **options: str) -> str:
    with pytest.raises(FileProblem) as caught:
        formats.read(source, **options)  # type: ignore[arg-type]
    return str(caught.value)


def written(field: Field, part: np.ndarray) -> None:
    with published(Path("g.csv"), force=False) as file:
        formats.write(file, ".csv", field, (0,), [part])


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
    values = formats.read(text(content)).values
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, [[1, 2, 3], [4, 5, 6]])


def test_utf_16_of_spreadsheets() -> None:
    name = text("1\t2,5\n3\t4,5\n", encoding="utf-16")
    np.testing.assert_array_equal(formats.read(name).values, [[1, 2.5], [3, 4.5]])


def test_decimal_commas_where_semicolons_separate() -> None:
    field = formats.read(text("x;y\n0,5;1,25\n1;2\n"))
    np.testing.assert_array_equal(field.values, [[0.5, 1.25], [1, 2]])
    assert any("decimal commas" in note for note in field.notes)


@pytest.mark.parametrize("content", ["1\n2\n3\n", "1,2,3\n", "speed\n1\n2\n3\n", "1 2 3"])
def test_one_column_or_one_row_is_a_curve(content: str) -> None:
    field = formats.read(text(content))
    np.testing.assert_array_equal(field.values, [1, 2, 3])
    assert field.notes == ()


def test_missing_values_become_nan_and_are_counted() -> None:
    field = formats.read(text("1,,3\nNA,5,null\n7,8,9\n"))
    np.testing.assert_array_equal(field.values, [[1, np.nan, 3], [np.nan, 5, np.nan], [7, 8, 9]])
    assert field.notes == ("3 of 9 values in 'f.csv' are missing and became NaN.",)


def test_infinities_stay() -> None:
    np.testing.assert_array_equal(formats.read(text("1\ninf\n-inf")).values, [1, np.inf, -np.inf])


def test_columns_with_names_are_a_grid_and_that_is_said() -> None:
    field = formats.read(text("x,y\n0,1\n1,2\n4,5\n"))
    assert field.values.shape == (3, 2)
    (note,) = field.notes
    assert "grid of 3 x 2" in note
    assert "--coordinate" in note


@pytest.mark.parametrize("column", ["x", "0"])
def test_a_coordinate_makes_a_curve(column: str) -> None:
    field = formats.read(text("x,y\n0,1\n1,2\n4,5\n"), coordinate=column)
    np.testing.assert_array_equal(field.values, [1, 2, 5])
    assert field.spacing is not None
    np.testing.assert_array_equal(field.spacing[0], [0, 1, 4])
    assert (field.label, field.component(0), field.slope_unit) == ("y", "d_dx", "per unit of x")
    assert field.notes == ()


def test_var_chooses_a_column_and_the_others_need_not_be_numbers() -> None:
    name = text("when,who,t,v\n1,ann,0,5\n2,bob,2,9\n")
    field = formats.read(name, coordinate="t", var="v")
    np.testing.assert_array_equal(field.values, [5, 9])
    assert formats.read(name, var="v").spacing is None
    assert "choose the one" in problem(name, coordinate="t")
    assert "'when', 'who', 't', 'v'" in problem(name, coordinate="z")
    assert "two columns" in problem(name, coordinate="t", var="t")


def test_dates_as_positions() -> None:
    field = formats.read(text("day,v\n2024-02-28,1\n2024-03-01,2\n"), coordinate="day")
    assert field.spacing is not None
    expected = np.array(["2024-02-28", "2024-03-01"], "datetime64[D]")
    np.testing.assert_array_equal(field.spacing[0], expected)
    assert field.slope_unit == "per s"
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
    message = problem(text(content))
    assert words in message
    assert message.endswith(".")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(7,), (4, 3)])
def test_round_trip(dtype: type, shape: tuple[int, ...]) -> None:
    part = np.random.default_rng(5).normal(size=shape).astype(dtype)
    part.flat[0], part.flat[1], part.flat[2] = np.nan, np.inf, np.finfo(dtype).tiny
    field = Field(values=part, title="f", dims=numbered(part.ndim))
    written(field, part)
    back = formats.read("g.csv").values
    np.testing.assert_array_equal(back.astype(dtype), part)


def test_a_curve_keeps_its_positions() -> None:
    field = formats.read(text("x,y\n0,1\n0.1,2\n4,5\n"), coordinate="x")
    written(field, np.array([1 / 3, 2, 3]))
    assert Path("g.csv").read_text().splitlines()[:2] == ["x,d_dx", "0.0,0.3333333333333333"]
    again = formats.read("g.csv", coordinate="x")
    np.testing.assert_array_equal(again.values, [1 / 3, 2, 3])
