"""PyTorch's tensors (.pt): one, or several by name."""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from gridgrad.app.files.blocks import fill, is_lazy
from gridgrad.app.files.faults import objects
from gridgrad.app.files.lazy import Mapped, guarded, variable
from gridgrad.app.files.npy import NAME
from gridgrad.app.files.npz import named_dims
from gridgrad.app.source import FileProblem, Source, shown


class Tensor(BackendArray):
    """A tensor in a file. Each reading maps the file anew: a map that stayed would count as the program's
    memory, all that was ever read from it."""

    def __init__(self, path: Path, name: str | None, tensor: torch.Tensor) -> None:
        self.path = str(path)
        self.name = name
        self.shape = tuple(tensor.shape)
        self.dtype = _numpy(tensor.new_empty(0)).dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> Any:
        found = _load(self.path)
        return np.array(_numpy((found if self.name is None else found[self.name])[key]))


def _load(path: str) -> Any:
    """What is in the file, and no code of it."""
    # Files from before PyTorch 1.6 are no zip files, and cannot be mapped.
    mapped = zipfile.is_zipfile(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as fault:
        # PyTorch's own text is about how to run the code all the same.
        if "GLOBAL" in str(fault):
            raise objects(Path(path)) from fault
        raise FileProblem(f"{shown(path)} is not a whole .pt file.") from fault


def _numpy(tensor: torch.Tensor) -> Any:
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.to(torch.float32)
    return tensor.resolve_conj().resolve_neg().numpy()


def read(path: Path, var: Sequence[str] | None, coordinate: str | None) -> Source:
    """The tensor as the variable `values`, or all tensors of a dict under their names."""
    del coordinate
    found = _load(str(path))
    tensors = {NAME: found} if isinstance(found, torch.Tensor) else _tensors(found)
    alone = isinstance(found, torch.Tensor)
    dims = named_dims(
        {name: tuple(tensors[name].shape) for name in (var or tensors) if name in tensors}
    )
    variables = {
        name: variable(dims[name], Tensor(path, None if alone else name, tensors[name]))
        for name in dims
    }
    notes = tuple(
        f"{name!r} in {shown(path)} is of bfloat16 and was read as float32."
        for name in dims
        if tensors[name].dtype == torch.bfloat16
    )
    return Source(
        guarded(xr.Dataset(variables), path),
        title=path.name,
        path=path,
        counts_samples=True,
        notes=notes,
    )


def _tensors(found: Any) -> dict[str, torch.Tensor]:
    """The plain tensors in a dict."""
    if not isinstance(found, Mapping):
        return {}
    return {
        name: each
        for name, each in found.items()
        if isinstance(name, str)
        and isinstance(each, torch.Tensor)
        and each.layout == torch.strided
        and not each.is_quantized
    }


def check(template: xr.Dataset, path: Path) -> None:
    """Refuse dtypes that PyTorch lacks."""
    for name, each in template.data_vars.items():
        if not _known(each.dtype):
            raise FileProblem(
                f"{shown(path)} cannot hold {each.dtype}, such as {name}, because PyTorch has no such dtype; "
                "write .npz or .zarr."
            )


def _known(dtype: Any) -> bool:
    return dtype.kind in "iufcb" and hasattr(torch, dtype.name)


def write(dataset: xr.Dataset, path: Path, suffix: str) -> None:
    """One tensor if there is one array, or a dict with all variables and coordinates that PyTorch has dtypes
    for."""
    del suffix
    arrays = {str(name): each for name, each in dataset.variables.items() if _known(each.dtype)}
    if any(map(is_lazy, arrays.values())):
        _write_in_pieces(arrays, path)
    else:
        tensors = {
            name: torch.from_numpy(np.array(each.values, each.dtype.newbyteorder("=")))
            for name, each in arrays.items()
        }
        torch.save(_alone(tensors), path)


def _alone(tensors: dict[str, Any]) -> Any:
    return next(iter(tensors.values())) if len(tensors) == 1 else tensors


def _write_in_pieces(arrays: dict[str, xr.Variable], path: Path) -> None:
    """A file with holes for the samples, by PyTorch's own means for that, which are then filled.

    (Its checksums are not those of the samples. PyTorch does not look at them.)
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        shapes = {
            name: torch.empty(each.shape, dtype=getattr(torch, each.dtype.name))
            for name, each in arrays.items()
        }
    with torch.serialization.skip_data(materialize_fake_tensors=True):
        torch.save(_alone(shapes), path)
    found = torch.load(path, map_location="meta", weights_only=True)
    holes = found if isinstance(found, dict) else dict.fromkeys(arrays, found)
    places = [
        Mapped(
            path,
            holes[name].untyped_storage()._checkpoint_offset,
            each.shape,
            each.dtype.newbyteorder("="),
        ).reserved()
        for name, each in arrays.items()
    ]
    fill(list(arrays.values()), places)
