"""Files in and out: which format is which, and what is in a .npy or .npz file."""

import io
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gridgrad.app.field import Array, Field, FileProblem, Step, numbered, shown
from gridgrad.app.images import SUFFIXES as IMAGES
from gridgrad.app.images import read_image
from gridgrad.app.samples import PREFIX, read_sample
from gridgrad.app.text import read_csv, write_csv

TEXT = (".csv",)
INPUTS = (".npy", ".npz", *TEXT, *IMAGES)
OUTPUTS = (".npy", ".npz", *TEXT)
PLOTS = (".png", ".pdf", ".svg")

# Names under which files keep the positions of samples.
COORDINATES = frozenset(
    (
        "x",
        "y",
        "z",
        "t",
        "r",
        "lat",
        "lon",
        "latitude",
        "longitude",
        "time",
        "height",
        "depth",
        "level",
    )
)


def read(
    source: str, *, coordinate: str | None = None, var: str | None = None, spaced: bool = False
) -> Field:
    """The field in a file, or a sample by name.

    `var` is the array of an .npz file, or the column of a .csv file, and `coordinate` is the column
    of a .csv file with the positions. `spaced` tells that the user gives a spacing: without one, an
    .npz file that holds coordinates of its own is not guessed about.
    """
    suffix = Path(source).suffix.lower()
    if coordinate is not None and (suffix not in TEXT or source.startswith(PREFIX)):
        raise FileProblem(
            f"--coordinate names a column of a .csv file, and {shown(source)} is none; give the "
            "positions with --spacing."
        )
    if var is not None and (suffix not in (".npz", *TEXT) or source.startswith(PREFIX)):
        raise FileProblem(
            "--var chooses among the arrays of an .npz file or the columns of a .csv file, and "
            f"{shown(source)} "
            "holds one array only."
        )
    if source.startswith(PREFIX):
        return read_sample(source)
    path = Path(source)
    _check_input(path)
    with _named(path):
        if suffix in TEXT:
            field = read_csv(path, coordinate=coordinate, var=var)
        elif suffix in IMAGES:
            field = read_image(path)
        elif suffix == ".npz":
            field = _read_npz(path, var, spaced=spaced)
        else:
            values = _read_npy(path)
            field = Field(values=values, title=path.name, dims=numbered(values.ndim))
    if not field.values.size:
        raise FileProblem(f"{shown(path)} has no numbers in it: its shape is {field.values.shape}.")
    if not field.values.ndim:
        raise FileProblem(f"{shown(path)} is a single number, which has no dim to differentiate.")
    return field


def read_spacing(text: str, source: str) -> tuple[Step, Path | None]:
    """One entry of --spacing, and the file that it came from.

    It is a number, or an array of the .npz input, or a .npy or .csv file with positions.
    """
    try:
        return float(text), None
    except ValueError:
        pass
    if Path(source).suffix.lower() == ".npz" and text in arrays_of(Path(source)):
        values = _read_member(Path(source), text)
        return (float(values) if values.ndim == 0 and values.dtype.kind in "iuf" else values), None
    path = Path(text)
    if path.suffix.lower() not in (".npy", *TEXT):
        raise FileProblem(
            "--spacing takes numbers, and .npy or .csv files with the positions along a dim, but "
            f"it is {text!r}."
        )
    _check_input(path)
    with _named(path):
        values = _read_npy(path) if path.suffix.lower() == ".npy" else read_csv(path).values
    if values.ndim != 1:
        raise FileProblem(
            f"--spacing must be 1-D positions along a dim, but {shown(path)} has the shape "
            f"{values.shape}."
        )
    return values, path


def arrays_of(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """The names, shapes and dtypes in an .npz file, without reading the data."""
    found = {}
    _check_input(path)
    with _named(path), zipfile.ZipFile(path) as archive:
        for entry in archive.namelist():
            if entry.endswith(".npy"):
                with archive.open(entry) as file:
                    found[entry.removesuffix(".npy")] = _header(file)
    return found


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        # Version 3 exists for records whose fields have names beyond Latin-1, which are no numbers.
        shape, dtype = (), np.dtype("V")
    return shape, dtype


def _read_npz(path: Path, var: str | None, *, spaced: bool) -> Field:
    found = arrays_of(path)
    listing = ", ".join(
        f"{name} ({' x '.join(map(str, shape)) or 'scalar'} {dtype})"
        for name, (shape, dtype) in found.items()
    )
    if var is None:
        grids = [name for name, (shape, dtype) in found.items() if shape and dtype.kind in "iufc"]
        if not grids:
            raise FileProblem(
                f"{shown(path)} has no array of numbers in it, but only: {listing or 'nothing'}."
            )
        if len(grids) > 1:
            raise FileProblem(
                f"{shown(path)} holds several arrays; choose one with --var: {listing}."
            )
        var = grids[0]
    elif var not in found:
        raise FileProblem(
            f"--var must be an array of {shown(path)}, but it is {var!r}; there are: {listing}."
        )
    beside = [
        name
        for name, (shape, dtype) in found.items()
        if name != var and len(shape) == 1 and name.lower() in COORDINATES
    ]
    if beside and not spaced:
        raise FileProblem(
            f"{shown(path)} also holds {', '.join(beside)}, which may be the positions of the "
            f"samples of {var}; say with "
            f"--spacing what holds for each dim: the name of such an array, or a number."
        )
    values = _read_member(path, var)
    return Field(values=values, title=f"{path.name}: {var}", dims=numbered(values.ndim), label=var)


def _read_member(path: Path, name: str) -> Array:
    with _named(path), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        values: Array = np.lib.format.read_array(file, allow_pickle=False)
    return values


def _read_npy(path: Path) -> Array:
    with path.open("rb") as file:
        values: Array = np.lib.format.read_array(file, allow_pickle=False)
    return values


def _check_input(path: Path) -> None:
    if not path.exists():
        raise FileProblem(f"There is no file {shown(path)}.")
    if path.is_dir():
        raise FileProblem(f"{shown(path)} is a folder; give a file in it.")
    if path.suffix.lower() not in INPUTS:
        raise FileProblem(
            f"{shown(path)} is of an unknown format; the name of an input must end in one of "
            f"{', '.join(INPUTS)}."
        )
    if path.is_file() and path.stat().st_size == 0:
        raise FileProblem(f"{shown(path)} is empty.")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn whatever a parser raises at a broken file into one sentence that names the file."""
    try:
        with warnings.catch_warnings():
            # NumPy warns of headers that Python 2 wrote, and Python of broken ones.
            warnings.simplefilter("ignore")
            yield
    except (FileProblem, MemoryError):
        raise
    except OSError as fault:
        raise FileProblem(f"{shown(path)} cannot be read: {fault.strerror or fault}.") from fault
    except Exception as fault:
        # NumPy, zipfile and zlib raise a dozen types between them, and their texts run over several
        # lines.
        kind = path.suffix.lower()
        if "allow_pickle" in str(fault) or "Object arrays" in str(fault):
            raise FileProblem(
                f"{shown(path)} holds Python objects, which are not read because they could run "
                "code; "
                "save an array of numbers."
            ) from fault
        raise FileProblem(f"{shown(path)} is not a whole {kind} file.") from fault


def check_text(path: Path, field: Field, dims: Sequence[int]) -> None:
    """Refuse a .csv output for what is no table, before the work is done."""
    if path.suffix.lower() not in TEXT:
        return
    ndim = field.values.ndim
    if ndim > 2 or len(dims) != 1:
        raise FileProblem(
            f"--out {shown(path)} can hold one component of a 1-D or 2-D field as text, but this "
            "is "
            f"{len(dims)} of a {ndim}-D field; use a name in .npz, or choose a dim with --dim."
        )
    if field.values.dtype.kind == "c":
        raise FileProblem(
            f"--out {shown(path)} cannot hold complex numbers as text; use a name in .npy or .npz."
        )


def write(
    file: BinaryIO, suffix: str, field: Field, dims: Sequence[int], components: Sequence[Array]
) -> None:
    """Write the components: by name (.npz), stacked (.npy), or as text (.csv)."""
    if suffix == ".npz":
        named = {field.component(dim): part for dim, part in zip(dims, components, strict=True)}
        np.savez(file, **named)  # type: ignore[arg-type]  # a name might be `allow_pickle`
    elif suffix == ".npy":
        stacked = components[0] if len(components) == 1 else np.stack(components)
        np.save(file, stacked, allow_pickle=False)
    else:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        write_csv(text, field, dims[0], components[0])
        text.detach()
