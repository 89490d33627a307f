"""Tables of numbers as text, taken apart into fields.

Values may be separated by commas, semicolons, tabs or spaces; a line that starts with `#` is a
comment; the first line may name the columns; an empty field is a missing value and becomes NaN.
Where semicolons or tabs separate the values, a comma is a decimal comma, as spreadsheets write it
in much of the world.
"""

import codecs
import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from gridgrad.app.source import FileProblem, shown

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

MISSING = frozenset({"", "-", "na", "n/a", "null", "none"})

ISO = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?")


@dataclass(frozen=True)
class Table:
    """The fields of a text file, not yet read as numbers."""

    path: Path
    names: tuple[str, ...]
    """The names of the columns; empty where the file has none."""
    rows: list[list[str]]
    lines: list[int]
    """For every row, its line in the file."""
    decimal_comma: bool

    @property
    def width(self) -> int:
        return len(self.rows[0])

    @property
    def listing(self) -> str:
        """The columns in words, for messages."""
        if self.names:
            return ", ".join(repr(name) for name in self.names)
        return ", ".join(str(number) for number in range(self.width))

    def find(self, wanted: str, option: str) -> int:
        """The column with this name, or else with this number, counted from 0."""
        if wanted in self.names:
            return self.names.index(wanted)
        if wanted.isdecimal() and int(wanted) < self.width:
            return int(wanted)
        raise FileProblem(
            f"{option} must name a column of {shown(self.path)}, which has {self.listing}, but it "
            f"is {wanted!r}."
        )

    def numbers(self, columns: list[int]) -> Array:
        """These columns as a float64 array of (rows, columns)."""
        result = np.empty((len(self.rows), len(columns)))
        for at, (line, row) in enumerate(zip(self.lines, self.rows, strict=True)):
            for to, column in enumerate(columns):
                value = _number(row[column], decimal_comma=self.decimal_comma)
                if value is None:
                    raise FileProblem(
                        f"{shown(self.path)} has no number in line {line}, column {column + 1}, "
                        f"but {row[column]!r}."
                    )
                result[at, to] = value
        return result

    def numeric(self, column: int) -> bool:
        """Whether a column holds nothing but numbers and missing values."""
        return all(
            _number(row[column], decimal_comma=self.decimal_comma) is not None for row in self.rows
        )

    def dated(self, column: int) -> bool:
        """Whether a column holds dates, or dates and times, in the ISO format."""
        return all(ISO.fullmatch(row[column]) for row in self.rows)

    def name(self, column: int) -> str:
        """What to call a column."""
        return self.names[column] if self.names else f"column {column}"

    def positions(self, column: int) -> Array:
        """A column of numbers, or of dates and times in the ISO format."""
        if not self.dated(column):
            return self.numbers([column])[:, 0]
        fields = [row[column] for row in self.rows]
        try:
            return np.array(fields, dtype="datetime64")
        except ValueError as fault:
            raise FileProblem(f"{shown(self.path)} has a wrong date: {fault}.") from fault


def read_table(path: Path) -> Table:
    """Split a text file into fields."""
    lines = [
        (number, line)
        for number, line in enumerate(_text(path).splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise FileProblem(f"{shown(path)} has no numbers in it.")
    separator = next((mark for mark in ";\t," if mark in lines[0][1]), None)
    numbers = [number for number, _ in lines]
    if separator is None:
        rows = [line.split() for _, line in lines]
    else:
        # A quoted field does not span lines here: every line is a row.
        try:
            reader = csv.reader(
                [line for _, line in lines], delimiter=separator, skipinitialspace=True
            )
            rows = [[field.strip() for field in row] for row in reader]
        except csv.Error as fault:
            raise FileProblem(f"{shown(path)} is not a table of numbers: {fault}.") from fault
        if len(rows) != len(lines):
            raise FileProblem(f"{shown(path)} has a quotation mark that is not closed on its line.")
        # Some programs end every line with a separator, which is no column.
        if len(rows[0]) > 1 and all(row[-1] == "" for row in rows):
            rows = [row[:-1] for row in rows]

    comma = separator in (";", "\t") and any(
        "," in field for row in rows[1:] or rows for field in row
    )
    named = any(_number(field, decimal_comma=comma) is None for field in rows[0])
    names = tuple(rows.pop(0)) if named else ()
    if named:
        numbers.pop(0)
    numeric = (
        field.lower() not in MISSING and _number(field, decimal_comma=comma) is not None
        for row in rows
        for field in row
    )
    if not any(numeric):
        raise FileProblem(f"{shown(path)} has no numbers in it.")
    width = len(names) or len(rows[0])
    for number, row in zip(numbers, rows, strict=True):
        if len(row) != width:
            raise FileProblem(
                f"{shown(path)} must have the same number of values in every line, but line "
                f"{number} has {len(row)} "
                f"and the first has {width}."
            )
    return Table(path, names, rows, numbers, comma)


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data:
        raise FileProblem(f"{shown(path)} is not a text file.")
    return data.decode("utf-8-sig", errors="replace")


def _number(field: str, *, decimal_comma: bool) -> float | None:
    """The value of a field, NaN where it is missing, None where it is something else."""
    if field.lower() in MISSING:
        return math.nan
    try:
        # float() takes 1_000 for a thousand, which no table means.
        return None if "_" in field else float(field.replace(",", ".") if decimal_comma else field)
    except ValueError:
        return None
