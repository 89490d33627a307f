"""From what was asked for to a whole output: checked first, made region by region, then given its name."""

import datetime
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import gridgrad
from gridgrad._version import __version__
from gridgrad.app import stream, words
from gridgrad.app.atomic import check_place
from gridgrad.app.budget import installed, resident, told_bytes
from gridgrad.app.draft import Draft, fingerprint
from gridgrad.app.files import OUTPUTS, check_writable, write_dataset
from gridgrad.app.files.faults import reason
from gridgrad.app.job import Job, Region, input_chunks
from gridgrad.app.operators import Request, Results, compute
from gridgrad.app.source import FileProblem, shown
from gridgrad.app.store import Held, Store, fits_in_memory
from gridgrad.app.summary import Summary, merge
from gridgrad.errors import GridError
from gridgrad.xarray import append_history

# What this process needs beside regions: libraries that are loaded later, tables, caches.
_MARGIN = 96 << 20
_LEAST = 16 << 20


@dataclass(frozen=True)
class How:
    """How the results are made, which makes no difference to what they are."""

    memory: int | None = None
    """Bytes that the process may hold; None for a quarter of those installed."""
    threads: int | None = None
    scheduler: str | None = None
    chunks: tuple[str, ...] = ()
    force: bool = False
    resume: bool = False
    holds: bool = False
    """Results are wanted in memory, if they go to no file."""
    command_line: str = ""


@dataclass
class Outcome:
    """What was made."""

    results: Results
    dataset: xr.Dataset
    """Names, dims, dtypes and attributes of the results."""
    dtypes: dict[Any, np.dtype[Any]]
    summaries: dict[Any, Summary]
    notes: list[str]
    written: int = 0
    """Bytes of the results, without those that were there before."""
    seconds: float = 0.0
    held: xr.Dataset | None = None
    """The results with their samples, where these are in memory."""


class Watched:
    """Told how far it is; does nothing by itself."""

    def begin(self, total: int, done: int) -> None:
        """So many bytes are to be written, of which so many are there."""

    def advance(self, size: int) -> None:
        """So many more are."""

    def say(self, what: str) -> None:
        """What is done now."""


def produce(request: Request, output: Path | None, how: How, watched: Watched) -> Outcome:
    """Make the results, and the file `output` of them if that is given.

    Raises
    ------
    GridError
        In one sentence. What stood at `output` before is untouched then, and what was finished can be
        resumed.
    """
    threads = how.threads or gridgrad.get_num_threads()
    limit = how.memory or installed() // 4
    stream.limit_zarr(threads)
    results = compute(request)
    notes = list(results.source.notes)
    if output is not None:
        _check_output(output, results, how)
    chunks = words.by_dim(how.chunks, "--chunks", words.size("--chunks"), list(_dims(results)))
    job = Job(results.dataset, dtype=request.dtype, chunks=chunks, reads=_reads(results))
    _warm(job)
    room = max(_LEAST, limit - resident() - _MARGIN)
    if how.memory is not None and limit - resident() - _MARGIN < _LEAST:
        raise TooLittle(resident() + _MARGIN + _LEAST)
    in_memory = output is not None and output.suffix.lower() != ".zarr" and (
        fits_in_memory(job, room // 4) and not how.resume
    )  # fmt: skip
    threads = job.cut(room // 2 if in_memory else room, threads)
    draft = None if output is None else Draft(output)
    if draft is not None and draft.exists() and not (how.resume or how.force):
        raise FileProblem(
            f"{shown(draft.folder)} is what is left of an earlier attempt; add --resume to finish it, or "
            "--force to begin anew."
        )
    template = _template(results, job)
    outcome = Outcome(results, template, {}, {}, notes)
    for part in job.parts:
        outcome.dtypes |= dict(zip(part.names, part.dtypes, strict=True))
    began = time.monotonic()
    maker = _Maker(request, how, job, threads, watched, outcome)
    if draft is None:
        maker.nowhere(template, room)
    else:
        assert output is not None
        maker.into(draft, output.suffix.lower(), template, in_memory)
    outcome.seconds = time.monotonic() - began
    return outcome


class _Maker:
    def __init__(
        self, request: Request, how: How, job: Job, threads: int, watched: Watched, outcome: Outcome
    ) -> None:
        self.request, self.how, self.job, self.threads = request, how, job, threads
        self.watched, self.outcome = watched, outcome

    def nowhere(self, template: xr.Dataset, room: int) -> None:
        """Describe the results, and hold them if they are wanted."""
        if not self.how.holds:
            self.run(_nowhere, {})
            return
        if not fits_in_memory(self.job, room):
            raise GridError(
                "the results are too large for a picture without an OUTPUT that they are read from; give one."
            )
        held = Held(self.job, template)
        self.run(held, {})
        self.outcome.held = held.opened()

    def into(self, draft: Draft, suffix: str, template: xr.Dataset, in_memory: bool) -> None:
        """Make the output that a draft is for."""
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        resumed = self.how.resume and draft.exists()
        when = str(draft.signature()["when"]) if resumed else now
        signature = {
            "gridgrad": __version__,
            "when": when,
            "inputs": fingerprint(self.outcome.results.inputs),
            "request": vars(self.request) | {"chunks": self.how.chunks, "suffix": suffix},
            "results": [[str(name), list(part.shape), list(part.chunks)]
                        for part in self.job.parts for name in part.names],
            "regions": self.job.lengths,
        }  # fmt: skip
        if resumed:
            self._as_before(draft)
            signature["regions"] = self.job.lengths
        template = append_history(
            template, self.how.command_line, datetime.datetime.fromisoformat(when)
        )
        store = Held(self.job, template) if in_memory else Store(draft.store, self.job, template)
        with draft.begun(
            signature,
            resume=self.how.resume,
            create=(lambda: None) if isinstance(store, Held) else store.create,
        ):
            keep = (lambda *_: None) if in_memory else draft.finish
            self.run(store if isinstance(store, Held) else store.writer(), draft.done, keep)
            made = draft.store
            if isinstance(store, Store):
                self.watched.say("closing the store")
                store.complete()
            if suffix != ".zarr":
                self.watched.say(f"writing {draft.output.name}")
                made = draft.folder / f"whole{suffix}"
                made.unlink(missing_ok=True)
                dataset = store.opened()
                try:
                    write_dataset(dataset, made, suffix)
                except (OSError, RuntimeError) as fault:  # HDF5 has errors of its own
                    raise FileProblem(
                        f"{shown(draft.output)} could not be written: {reason(fault)}."
                    ) from fault
                self.outcome.held = dataset if in_memory else None
            draft.publish(made, force=self.how.force)

    def _as_before(self, draft: Draft) -> None:
        """Regions as the draft has them, if they fit into the memory of this time."""
        lengths = [tuple(each) for each in draft.signature()["regions"]]
        if len(lengths) == len(self.job.lengths):
            self.job.lengths = lengths

    def run(
        self,
        write: Any,
        done: dict[str, list[Summary]],
        keep: Callable[[str, list[Summary]], None] = lambda *_: None,
    ) -> None:
        """Make the regions that are not done."""
        job, summaries = self.job, dict(done)
        regions = job.regions()
        todo = [region for region in regions if region.key not in summaries]
        total = sum(map(job.region_bytes, regions))
        left = sum(map(job.region_bytes, todo))
        self.watched.begin(total, total - left)

        def finished(region: Region, found: list[Summary], values: list[Any] | None) -> None:
            if values is not None:
                write(job.parts[region.part], region, values)
            summaries[region.key] = found
            keep(region.key, found)
            self.watched.advance(job.region_bytes(region))

        if self.how.scheduler is None:
            stream.by_threads(job, todo, write, self.threads, finished)
        else:
            with stream.cluster(self.how.scheduler) as client:
                away = None if isinstance(write, Held) else write
                stream.by_cluster(client, job, todo, away, finished)
        self.outcome.written = left
        for k, part in enumerate(job.parts):
            found = [summaries[region.key] for region in regions if region.part == k]
            for number, name in enumerate(part.names):
                self.outcome.summaries[name] = merge([each[number] for each in found])


class TooLittle(GridError):
    """Too little memory for the program itself."""

    def __init__(self, need: int) -> None:
        super().__init__(f"--memory must be at least {told_bytes(need)} here.")


def _nowhere(*_: Any) -> None:
    """Takes what is not to be kept."""


def _check_output(output: Path, results: Results, how: How) -> None:
    """Refuse an output that could not be written, or should not be, before any work is done for it."""
    suffix = output.suffix.lower()
    check_place(output, "the output", OUTPUTS)
    mine = Path(os.path.realpath(output))
    for source in results.inputs:
        other = Path(os.path.realpath(source))
        if mine == other or (output.exists() and source.exists() and output.samefile(source)):
            raise FileProblem(
                f"{shown(output)} is also an input; choose another name for the output."
            )
        if other in mine.parents:
            raise FileProblem(
                f"{shown(output)} lies inside the input {shown(source)}; choose another place for it."
            )
        if mine in other.parents:
            raise FileProblem(
                f"the input {shown(source)} lies inside {shown(output)}; choose another name for the output."
            )
    if os.path.lexists(output):
        if suffix == ".zarr" and output.is_dir():
            store = {".zgroup", ".zarray", "zarr.json", ".zmetadata"}
            if any(output.iterdir()) and not any((output / each).exists() for each in store):
                raise FileProblem(
                    f"{shown(output)} cannot be written, because it exists and is no Zarr store."
                )
        elif not output.is_file() and not output.is_symlink():
            raise FileProblem(
                f"{shown(output)} cannot be written, because it exists and is not a file."
            )
        if not how.force:
            attempt = "; with --resume, too, what an earlier attempt began is finished for that"
            raise FileProblem(
                f"{shown(output)} exists already; add --force to replace it"
                f"{attempt if Draft(output).exists() else ''}."
            )
    check_writable(results.dataset, output)


def _template(results: Results, job: Job) -> xr.Dataset:
    """The results' names, coordinates and attributes, with no samples."""
    dataset = results.dataset.copy()
    dataset.encoding = {"unlimited_dims": results.source.dataset.encoding.get("unlimited_dims", ())}
    for part in job.parts:
        for name, dtype in zip(part.names, part.dtypes, strict=True):
            before = dataset.variables[name]
            nothing = np.broadcast_to(np.zeros((), dtype), part.shape)
            dataset[name] = (before.dims, nothing, before.attrs, before.encoding)
    return dataset


def _reads(results: Results) -> dict[Any, Any]:
    """The chunks in which the input of each result lies in its file."""
    found = {}
    for name, each in results.dataset.data_vars.items():
        for array in results.fields.values():
            if array.dims == each.dims and input_chunks(array.variable):
                found[name] = input_chunks(array.variable)
    return found


def _dims(results: Results) -> Any:
    return next(iter(results.dataset.data_vars.values())).dims


def _warm(job: Job) -> None:
    """Have the kernel loaded, or compiled, before memory is counted."""
    for dtype in {x.dtype for part in job.parts for x in (part.run.inputs if part.run else ())}:
        if dtype.kind in "fciu":
            gridgrad.gradient(np.zeros(64, dtype))
