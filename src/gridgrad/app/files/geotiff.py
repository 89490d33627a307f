"""GeoTIFF: maps with their coordinates, by rasterio and rioxarray; other TIFF images are grey levels."""

import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gridgrad.app.files import images
from gridgrad.app.files.blocks import fill
from gridgrad.app.files.layout import encoding_for
from gridgrad.app.files.lazy import guarded
from gridgrad.app.source import FileProblem, Source, shown

# The tags that place an image: a scale with tie points, a matrix, and GeoTIFF's directory of keys.
GEOREFERENCES = (33550, 33922, 34264, 34735)
# GDAL keeps blocks that it has read, up to this many megabytes. Its own default is 5 % of the machine's
# memory.
CACHE = "64"


def read(path: Path, var: Sequence[str] | None, coordinate: str | None) -> Source:
    """The bands of a map as variables, or an image in grey levels."""
    placed = _georeferenced(path)
    if placed is False or (placed and find_spec("rioxarray") is None):
        image = images.read(path, var, coordinate)
        note = (
            f"{shown(path)} is a map, but was read as an image, one pixel apart; for its coordinates: "
            "pip install 'gridgrad[geo]'."
        )
        return replace(image, notes=(*image.notes, note)) if placed else image
    dataset = _bands(path)
    counts = not {"x", "y"} <= set(dataset.indexes)
    return Source(guarded(dataset, path), title=path.name, path=path, counts_samples=counts)


def _georeferenced(path: Path) -> bool | None:
    """Whether a TIFF says where it lies; None if Pillow cannot read it."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return any(tag in getattr(image, "tag_v2", ()) for tag in GEOREFERENCES)
    except Image.UnidentifiedImageError:
        return None


def _rasterio() -> Any:
    os.environ.setdefault("GDAL_CACHEMAX", CACHE)
    import rasterio

    return rasterio


def _bands(path: Path) -> xr.Dataset:
    rasterio = _rasterio()
    import rioxarray

    dataset: Any = rioxarray.open_rasterio(
        path, band_as_variable=True, mask_and_scale=True, cache=False
    )
    with rasterio.open(path) as file:
        names = dict(zip(dataset.data_vars, _names(file), strict=True))
        packed = (file.profile.get("compress") or "").lower() or None
        chunks = file.block_shapes
    for (old, variable), block in zip(dataset.data_vars.items(), chunks, strict=True):
        if names[old] != old:
            variable.attrs.pop("long_name", None)
        variable.encoding |= {"compression": packed, "chunks": block}
    # Coordinates with their units and standard names, where the system is known.
    return dataset.rename_vars(names).rio.write_coordinate_system()


def _names(file: Any) -> list[str]:
    """What the bands are called: by their descriptions, where these are different."""
    told = [description or "" for description in file.descriptions]
    if all(told) and len(set(told)) == len(told) and not {"x", "y", "spatial_ref"} & set(told):
        return told
    return [f"band_{number}" for number in file.indexes]


def check(template: xr.Dataset, path: Path) -> None:
    """Refuse what is no map: variables of the same two dims, evenly spaced."""
    _rasterio()
    from rasterio.dtypes import check_dtype

    dims = {variable.dims for variable in template.data_vars.values()}
    if len(dims) != 1 or len(next(iter(dims))) != 2:
        listing = ", ".join(f"{name} ({each.ndim}-D)" for name, each in template.data_vars.items())
        raise FileProblem(
            f"{shown(path)} can hold variables of the same 2 dims, but there is: {listing or 'nothing'}; "
            "write .nc or .zarr."
        )
    for name, variable in template.data_vars.items():
        if not check_dtype(variable.dtype):
            raise FileProblem(
                f"{shown(path)} cannot hold {variable.dtype}, such as {name}; write .nc or .zarr."
            )
    for dim in next(iter(dims)):
        if dim in template.indexes and template.sizes[dim] > 1:
            _step(template[dim].values, str(dim), path)


def _step(where: Any, dim: str, path: Path) -> float:
    """The step between positions, which must all be equal."""
    steps = np.diff(where) if where.dtype.kind in "iuf" else np.array([0.0])
    step = float(steps.mean())
    if not step or np.abs(steps - step).max() > 1e-6 * abs(step):
        raise FileProblem(
            f"{shown(path)} can hold evenly spaced numbers as coordinates, but those of {dim} are not; write "
            ".nc or .zarr."
        )
    return step


def write(dataset: xr.Dataset, path: Path, suffix: str) -> None:
    """One band a variable, with its name as the description and its attributes as tags."""
    rasterio = _rasterio()
    variables = list(dataset.data_vars.values())
    first = variables[0].variable
    dtypes = {each.dtype for each in variables}
    dtype = np.result_type(*dtypes)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=first.shape[0],
        width=first.shape[1],
        count=len(variables),
        dtype=dtype,
        crs=_crs(dataset, first.dims),
        transform=_transform(dataset, first.dims, path),
        nodata=np.nan if dtype.kind == "f" else None,
        BIGTIFF="IF_SAFER",
        **_creation(first, suffix),
    ) as file:
        for number, (name, each) in enumerate(dataset.data_vars.items(), start=1):
            file.set_band_description(number, str(name))
            file.update_tags(number, **{str(key): str(value) for key, value in each.attrs.items()})
        file.update_tags(**{str(key): str(value) for key, value in dataset.attrs.items()})
        fill([each.variable for each in variables], [Band(file, number) for number in file.indexes])


class Band:
    """A band that takes blocks of samples."""

    def __init__(self, file: Any, number: int) -> None:
        self.file = file
        self.number = number

    def __setitem__(self, key: Any, samples: Any) -> None:
        window = _rasterio().windows.Window.from_slices(
            *key, height=self.file.height, width=self.file.width
        )
        self.file.write(np.asarray(samples, self.file.dtypes[0]), self.number, window=window)


def _creation(variable: xr.Variable, suffix: str) -> dict[str, Any]:
    """How the file is laid out: in tiles and compressed, as the samples were."""
    wanted = encoding_for(variable, suffix)
    result = {}
    rows, columns = wanted.get("chunks", (0, 0))
    if rows and columns and not rows % 16 and not columns % 16:
        result |= {"tiled": True, "blockysize": rows, "blockxsize": columns}
    if wanted.get("compression"):
        result["compress"] = {"zstd": "ZSTD", "lzw": "LZW"}.get(wanted["compression"], "DEFLATE")
    return result


def _transform(dataset: xr.Dataset, dims: tuple[Any, ...], path: Path) -> Any:
    """The corner of the first sample, and the steps from there; None where nothing is known."""
    rasterio = _rasterio()
    if not all(dim in dataset.indexes and dataset.sizes[dim] > 1 for dim in dims):
        return None
    rows, columns = (dataset[dim].values.astype(np.float64) for dim in dims)
    down, right = (
        _step(where, str(dim), path) for where, dim in zip((rows, columns), dims, strict=True)
    )
    return rasterio.Affine(right, 0, columns[0] - right / 2, 0, down, rows[0] - down / 2)


def _crs(dataset: xr.Dataset, dims: tuple[Any, ...]) -> Any:
    """The coordinate system that came with the samples, or that of degrees of latitude and longitude."""
    import rioxarray  # noqa: F401  # registers .rio

    if dataset.rio.crs is not None:
        return dataset.rio.crs
    units = [str(dataset[dim].attrs.get("units", "")) for dim in dims if dim in dataset.coords]
    if len(units) == 2 and units[0].startswith("degrees_n") and units[1].startswith("degrees_e"):
        return "EPSG:4326"
    return None
