"""Where results go while they are made: a Zarr store on disk, or memory, if they are few."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gridgrad.app.files import encoding_for
from gridgrad.app.files.layout import CF_NAMES, zarr_format
from gridgrad.app.job import Job, Part, Region

# The attribute of a store that is not yet whole, for whoever opens it meanwhile.
_MARK = "incomplete"


class Store:
    """A Zarr store with all names, coordinates and attributes, whose regions are written in any order."""

    def __init__(self, path: Path, job: Job, template: xr.Dataset) -> None:
        self.path, self.job, self.template = path, job, template

    def create(self) -> None:
        """All but the samples of results."""
        import dask.array

        dataset, encoding = self.template.assign_attrs({_MARK: "samples are still to come"}), {}
        version: Any = zarr_format([each.variable for each in dataset.data_vars.values()])
        for part in self.job.parts:
            for name, dtype in zip(part.names, part.dtypes, strict=True):
                variable = dataset.variables[name]
                words = encoding_for(variable, ".zarr")
                if words.get("shards", words.get("chunks")) != part.chunks:
                    words = {key: value for key, value in words.items() if key != "shards"}
                    words["chunks"] = part.chunks
                encoding[name] = words
                zeros = dask.array.zeros(part.shape, dtype=dtype, chunks=part.shape)
                # Names of coordinates are no way of writing: xarray looks for them with the variable.
                named = {key: words.pop(key) for key in CF_NAMES if key in words}
                dataset[name] = (variable.dims, zeros, variable.attrs, named)
        for name, each in dataset.coords.items():
            words = encoding_for(each.variable, ".zarr")
            each.encoding = {key: words.pop(key) for key in CF_NAMES if key in words}
            encoding[name] = words
        with warnings.catch_warnings():
            # Of consolidated metadata, which the format's version 3 only tolerates; xarray looks for them.
            warnings.simplefilter("ignore")
            dataset.to_zarr(
                self.path, mode="w-", compute=False, encoding=encoding, zarr_format=version,
                safe_chunks=False, consolidated=True,
            )  # fmt: skip

    def complete(self) -> None:
        """All samples are there: take the mark away."""
        import zarr

        group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
        group.attrs.pop(_MARK, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as above
            zarr.consolidate_metadata(self.path)

    def writer(self) -> "StoreWriter":
        return StoreWriter(self.path)

    def opened(self) -> xr.Dataset:
        """The results, to be read lazily."""
        found: xr.Dataset = xr.open_zarr(self.path, chunks={})
        found = found[list(self.template.data_vars)]
        found.encoding = dict(self.template.encoding)
        return found


class StoreWriter:
    """Writes regions into a store, in this process or in another that the same path leads to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._group: Any = None

    def __call__(self, part: Part, region: Region, values: list[Any]) -> None:
        if self._group is None:
            import zarr

            self._group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
        for name, each in zip(part.names, values, strict=True):
            self._group[name][region.slices] = each

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_group": None}


class Held:
    """Results in memory."""

    def __init__(self, job: Job, template: xr.Dataset) -> None:
        self.template = template
        self.arrays = {
            name: np.empty(part.shape, dtype)
            for part in job.parts
            for name, dtype in zip(part.names, part.dtypes, strict=True)
        }

    def __call__(self, part: Part, region: Region, values: list[Any]) -> None:
        for name, each in zip(part.names, values, strict=True):
            self.arrays[name][region.slices] = each

    def opened(self) -> xr.Dataset:
        dataset = self.template.copy()
        for name, values in self.arrays.items():
            before = dataset.variables[name]
            dataset[name] = (before.dims, values, before.attrs, before.encoding)
        return dataset


def fits_in_memory(job: Job, limit: int) -> bool:
    """Whether results and the file that is made of them are few enough to be held at once."""
    return 2 * job.output_bytes <= limit
