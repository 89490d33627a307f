"""Files in and out: which format is which, and what it needs.

Every format has a module with `read(path, var, coordinate)`, which returns a Source, and, where it is
written too, `check(template, path)` and `write(dataset, path, suffix)`. Those modules import the libraries;
this one imports them only when a file is opened.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridgrad.app.files.choice import chosen
from gridgrad.app.files.faults import opening, writing
from gridgrad.app.source import FileProblem, Source, shown

if TYPE_CHECKING:
    import xarray as xr

SAMPLE = "sample:"


@dataclass(frozen=True)
class Format:
    """A format of files, told by the end of their names."""

    called: str
    suffixes: tuple[str, ...]
    module: str
    """Of this package."""
    libraries: tuple[str, ...] = ()
    """What `extra` brings for it."""
    extra: str = ""
    writes: bool = True
    groups: bool = False
    """A variable may be named as `group/name`."""
    tabular: bool = False
    """It has columns, of which one may hold the positions."""
    folder: bool = False


FORMATS = (
    Format("NetCDF", (".nc", ".nc4", ".cdf"), "netcdf", ("netCDF4",), "files", groups=True),
    Format("Zarr", (".zarr",), "zarr", ("zarr",), "files", groups=True, folder=True),
    Format("a zipped Zarr store", (".zip",), "zarr", ("zarr",), "files", writes=False, groups=True),
    Format("HDF5", (".h5", ".hdf5"), "hdf5", ("h5netcdf",), "files", groups=True),
    Format("GeoTIFF", (".tif", ".tiff"), "geotiff", ("PIL",), "cli"),
    Format(
        "GRIB",
        (".grib", ".grb", ".grib2", ".grb2"),
        "grib",
        ("cfgrib", "eccodes"),
        "geo",
        writes=False,
    ),
    Format("a NumPy array", (".npy",), "npy"),
    Format("a NumPy archive", (".npz",), "npz"),
    Format("a table", (".csv",), "csv", tabular=True),
    Format("Parquet", (".parquet",), "parquet", ("pyarrow",), "tables", tabular=True),
    Format("PyTorch tensors", (".pt",), "torch", ("torch",), "torch"),
    Format("safetensors", (".safetensors",), "safetensors", ("safetensors",), "safetensors"),
    Format("an image", (".png", ".jpg", ".jpeg"), "images", ("PIL",), "cli", writes=False),
)
INPUTS = tuple(suffix for each in FORMATS for suffix in each.suffixes)
OUTPUTS = tuple(suffix for each in FORMATS if each.writes for suffix in each.suffixes)


def open_source(
    source: str, *, coordinate: str | None = None, var: Sequence[str] | None = None
) -> Source:
    """What is in a file, or a sample by name.

    With `var`, the dataset has exactly these data variables, in this order, and the coordinates that belong
    to them. `coordinate` is the column of a table with the positions.

    Raises
    ------
    FileProblem
        In one sentence, where there is no such file or variable, the format is unknown or lacks its library,
        the file is broken, or has no numbers in it.
    """
    if source.startswith(SAMPLE):
        kind = Format("a sample", (), "samples")
    else:
        kind = _format(Path(source))
        _check_input(Path(source), kind)
    if coordinate is not None and not kind.tabular:
        raise FileProblem(
            f"--coordinate names a column of a table, and {shown(source)} is none; give the positions with "
            "--spacing."
        )
    path = Path(source)
    with opening(path, kind.called):
        module = _module(kind, path)
        if kind.module == "samples":
            opened: Source = module.read(source)
        else:
            opened = module.read(path, var=var, coordinate=coordinate)
        if var is not None and kind.groups:
            var = [name.rpartition("/")[2] for name in var]
        return replace(opened, dataset=chosen(opened.dataset, source, var))


def check_writable(template: "xr.Dataset", path: Path) -> None:
    """Refuse what a format cannot hold, before it is computed.

    Only names, dims, shapes and dtypes of the data variables of `template` count, not their values.

    Raises
    ------
    FileProblem
        In one sentence, that says what can be done.
    """
    kind = _format(path, writing=True)
    _module(kind, path).check(template, path)


def write_dataset(dataset: "xr.Dataset", path: Path, suffix: str) -> None:
    """Write to exactly `path`, in the format of `suffix`.

    Dask arrays are computed chunk by chunk, and no more than one is held.

    Raises
    ------
    FileProblem
        Where the format cannot hold the dataset.
    OSError
        Where the disk is full, or fails.
    """
    kind = _format(Path(f"output{suffix}"), writing=True)
    module = _module(kind, path)
    module.check(dataset, path.with_suffix(suffix))
    with writing(path), warnings.catch_warnings():
        # As on opening; Zarr, say, warns of strings, which its specification has not settled.
        warnings.simplefilter("ignore")
        module.write(dataset, path, suffix)


def encoding_for(variable: "xr.Variable", suffix: str) -> dict[str, Any]:
    """How to write a variable in the format of `suffix`: in chunks, and compressed, as in its own format."""
    from gridgrad.app.files import layout

    return layout.encoding_for(variable, suffix)


def zarr_format(dataset: "xr.Dataset") -> int:
    """The version of Zarr to write: 2 where the samples came from compressed Zarr 2, or else 3."""
    from gridgrad.app.files import layout

    return layout.zarr_format(dataset.variables.values())


def _format(path: Path, *, writing: bool = False) -> Format:
    for kind in FORMATS:
        if path.suffix.lower() in kind.suffixes and (kind.writes or not writing):
            return kind
    if writing:
        raise FileProblem(
            f"{shown(path)} cannot be written, because the name of an output must end in one of "
            f"{', '.join(OUTPUTS)}."
        )
    if not path.exists():
        raise FileProblem(f"There is no file {shown(path)}.")
    raise FileProblem(
        f"{shown(path)} is of an unknown format; the name of an input must end in one of "
        f"{', '.join(INPUTS)}."
    )


def _check_input(path: Path, kind: Format) -> None:
    if not path.exists():
        raise FileProblem(f"There is no file {shown(path)}.")
    if path.is_dir() and not kind.folder:
        raise FileProblem(f"{shown(path)} is a folder; give a file in it.")
    if path.is_file() and path.stat().st_size == 0:
        raise FileProblem(f"{shown(path)} is empty.")
    if kind.folder and not path.is_dir():
        raise FileProblem(f"{shown(path)} is not a folder, as {kind.called} is.")


def _module(kind: Format, path: Path) -> Any:
    """The module of a format, once its libraries are there."""
    for library in kind.libraries:
        try:
            import_module(library)
        except (ImportError, RuntimeError) as missing:
            # cfgrib raises a RuntimeError where ecCodes is missing.
            raise FileProblem(
                f"{shown(path)} needs {getattr(missing, 'name', None) or library}, which comes with: pip "
                f"install 'gridgrad[{kind.extra}]'."
            ) from missing
    return import_module(f"gridgrad.app.files.{kind.module}")
