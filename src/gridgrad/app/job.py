"""A job: results that are made together, cut into regions, and what a region gives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from gridgrad.app.budget import told_bytes
from gridgrad.app.files.layout import layout_of
from gridgrad.app.regions import Field, boxes, default_chunks, region_lengths
from gridgrad.app.summary import Summary, summarise
from gridgrad.arrays.stored import Box, Derived, Run, Stored
from gridgrad.errors import GridError
from gridgrad.windows import Span


@dataclass(frozen=True)
class Region:
    """A region of some results: which, and where."""

    part: int
    box: Box

    @property
    def key(self) -> str:
        """How a journal calls it."""
        return f"{self.part}:" + ",".join(f"{each.first}-{each.last}" for each in self.box)

    @property
    def slices(self) -> tuple[slice, ...]:
        return tuple(slice(each.first, each.last) for each in self.box)


@dataclass(frozen=True)
class Part:
    """Results of one shape that come from one read of their inputs."""

    names: tuple[Any, ...]
    arrays: tuple[Stored, ...]
    dtypes: tuple[np.dtype[Any], ...]
    chunks: tuple[int, ...]
    """Of the output; shards, where chunks lie in such."""

    @property
    def run(self) -> Run | None:
        first = self.arrays[0]
        return first.run if isinstance(first, Derived) else None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.arrays[0].shape

    @property
    def sample_bytes(self) -> int:
        return sum(each.itemsize for each in self.dtypes)

    def compute(self, box: Box) -> list[Any]:
        run = self.run
        if run is None:
            found = [each.read(box) for each in self.arrays]
        else:
            found = run.on(box, [each.number for each in self.arrays if isinstance(each, Derived)])
        return [
            each.astype(dtype, copy=False) for each, dtype in zip(found, self.dtypes, strict=True)
        ]

    def field(self, read_chunks: tuple[int, ...]) -> Field:
        run, halo, inputs = self.run, [0] * len(self.shape), self.sample_bytes
        if run is not None:
            inputs = sum(x.dtype.itemsize for x in run.inputs)
            # That of a region in the middle.
            middle = tuple(Span(n // 2, n // 2 + 1) if n > 1 else Span(0, n) for n in self.shape)
            held = run.held(middle)
            halo = [len(outer) - len(inner) for outer, inner in zip(held, middle, strict=True)]
        wide = sum(max(x.dtype.itemsize, dtype.itemsize) for x, dtype in zip(
            self.arrays, self.dtypes, strict=True))  # fmt: skip
        return Field(self.shape, self.chunks, read_chunks, tuple(halo), inputs, wide)


class Job:
    """All results of a command, as parts, each cut into regions."""

    def __init__(
        self, dataset: xr.Dataset, *, dtype: str | None, chunks: Any, reads: dict[Any, Any]
    ) -> None:
        """`chunks` are the output's, as a number or by dim, where the user gives them; `reads` are the
        chunks of the input of each result."""
        self.parts: list[Part] = []
        self.fields: list[Field] = []
        groups: dict[Any, list[Any]] = {}
        for name, each in dataset.data_vars.items():
            data = each.variable.data
            key = id(data.run) if isinstance(data, Derived) else (id(data),)
            groups.setdefault(key, []).append(name)
        for names in groups.values():
            variables = [dataset[name].variable for name in names]
            arrays = tuple(_as_stored(each.data) for each in variables)
            dtypes = tuple(_rounded(each.dtype, dtype) for each in arrays)
            own = _output_chunks(variables[0], dtypes[0].itemsize, chunks)
            part = Part(tuple(names), arrays, dtypes, own)
            found = reads.get(names[0]) or own
            self.parts.append(part)
            self.fields.append(
                part.field(tuple(min(n, k) for n, k in zip(part.shape, found, strict=True)))
            )
        self.lengths: list[tuple[int, ...]] = []

    def cut(self, limit: int, threads: int = 1) -> int:
        """Cut every part into regions; how many of them may be made at once in at most so many bytes.

        That is one for each thread, unless larger regions, one at a time, have less to read twice: the chunks
        of one region are read and written by several threads anyway.
        """
        alone = self._lengths(limit)
        if alone is None:
            raise TooLittleMemory(max(each.held(each.least) for each in self.fields))
        shared = self._lengths(limit // threads)
        if shared is not None and self._cost(shared) <= 1.05 * self._cost(alone):
            self.lengths = shared
            return threads
        self.lengths = alone
        return 1

    def _lengths(self, limit: int) -> list[tuple[int, ...]] | None:
        found = [region_lengths(each, limit) for each in self.fields]
        return found if all(found) else None

    def _cost(self, lengths: list[tuple[int, ...]]) -> float:
        """How many samples are read for all results."""
        return sum(
            each.read(own) * math.prod(each.shape)
            for each, own in zip(self.fields, lengths, strict=True)
        )

    def regions(self) -> list[Region]:
        return [
            Region(k, box)
            for k, (part, lengths) in enumerate(zip(self.parts, self.lengths, strict=True))
            for box in boxes(part.shape, lengths)
        ]

    def compute(self, region: Region) -> tuple[list[Any], list[Summary]]:
        part = self.parts[region.part]
        values = part.compute(region.box)
        return values, [summarise(each) for each in values]

    @property
    def output_bytes(self) -> int:
        return sum(math.prod(part.shape) * part.sample_bytes for part in self.parts)

    def region_bytes(self, region: Region) -> int:
        return math.prod(map(len, region.box)) * self.parts[region.part].sample_bytes


class TooLittleMemory(GridError):
    """A region of the least possible size does not fit."""

    def __init__(self, need: int) -> None:
        super().__init__(
            f"a region of one chunk takes {told_bytes(need)} while it is made, which is more than --memory "
            "leaves; give more memory, fewer --threads, or smaller --chunks."
        )
        self.need = need


def input_chunks(variable: xr.Variable) -> tuple[int, ...] | None:
    """How a variable lies in its file, if in chunks: what is read at a time."""
    return layout_of(variable.encoding, variable.ndim).chunks


def _as_stored(data: Any) -> Stored:
    if isinstance(data, Stored):
        return data
    values = np.asarray(data)
    return Stored(values.shape, values.dtype, values.__getitem__)


def _rounded(dtype: np.dtype[Any], wanted: str | None) -> np.dtype[Any]:
    if wanted is None:
        return dtype
    if dtype.kind == "c" and np.dtype(wanted).kind != "c":
        raise GridError(f"--dtype cannot be {wanted}, because the samples are complex numbers.")
    return np.dtype(wanted)


def _output_chunks(variable: xr.Variable, itemsize: int, given: Any) -> tuple[int, ...]:
    """The chunks of a result: as the user says, or as the input lies, or of some megabytes."""
    layout = layout_of(variable.encoding, variable.ndim)
    own = layout.shards or layout.chunks or default_chunks(variable.shape, itemsize)
    if given is not None:
        sizes: Sequence[int]
        if isinstance(given, dict):
            unknown = [name for name in given if name not in variable.dims]
            if unknown:
                raise GridError(
                    f"--chunks must name dims of the results, but has {', '.join(unknown)}; the dims are "
                    f"{', '.join(map(str, variable.dims))}."
                )
            sizes = [given.get(dim, size) for dim, size in zip(variable.dims, own, strict=True)]
        else:
            sizes = [given] * variable.ndim
        own = tuple(sizes)
    return tuple(max(1, min(n, size)) for n, size in zip(variable.shape, own, strict=True))
