"""An output that is being made: a folder beside it, which is what is left if the work is cut off.

    OUT.incomplete/job.json   what is made, from what, and in which regions
    OUT.incomplete/done       a line for every region that is finished
    OUT.incomplete/results    the results, as a Zarr store

Regions are written straight into the store, each in chunks of its own. The output gets its name when all of
it is on disk, in one step; until then nothing of that name exists, or what was there before. A line in `done`
is written after the region, but the system may write it to the disk before; so lines count after a crash of
the machine only if everything was flushed after them.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from gridgrad.app.source import FileProblem, shown
from gridgrad.app.summary import Summary

SUFFIX = ".incomplete"
# Seconds of work that may have to be done again after a crash of the machine.
_FLUSH_SECONDS = 30.0


class Draft:
    """The folder of an output, held by this process alone."""

    def __init__(self, output: Path) -> None:
        # Through symbolic links, so that a link stays a link and what it names is replaced.
        self.output = Path(os.path.realpath(output))
        self.folder = self.output.with_name(self.output.name + SUFFIX)
        self.store = self.folder / "results"
        self.done: dict[str, list[Summary]] = {}
        self._journal: IO[str] | None = None
        self._is_published = False
        self._flushed = time.monotonic()

    # Beginning

    def exists(self) -> bool:
        """Whether there is one with anything finished in it."""
        return (self.folder / "job.json").exists() and bool(self._finished(trusting=True))

    @contextlib.contextmanager
    def begun(
        self, signature: dict[str, Any], *, resume: bool, create: Callable[[], None]
    ) -> Iterator[None]:
        """A new draft, whose store `create` makes, or the old one if that is to be resumed.

        At the end nothing is left of one that was published, or in which nothing was finished.
        """
        self._refuse_strangers()
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as fault:
            raise _failed(self.output, fault) from fault
        is_old = True  # another process's, or to be resumed another time
        try:
            with self._held():
                if resume and self.exists():
                    self._check(signature)
                    self.done = self._finished(trusting=self._job()["boot"] == _boot())
                else:
                    is_old = False
                    self._clear()
                    create()
                    # Last, so that a draft with this file has a store.
                    self._write_job({**signature, "boot": _boot()})
                with self._journalled():
                    yield
        except OSError as fault:
            raise _failed(self.output, fault) from fault
        finally:
            if self._is_published or not (is_old or self.done):
                self._remove()

    @contextlib.contextmanager
    def _journalled(self) -> Iterator[None]:
        # What was not flushed is forgotten, and this machine's lines count from now on.
        lines = [_line(key, parts) for key, parts in self.done.items()]
        (self.folder / "done").write_text("".join(lines))
        self._write_job({**self._job(), "boot": _boot()})
        with open(self.folder / "done", "a") as self._journal:
            try:
                yield
            except BaseException as fault:
                if self.done:
                    fault.add_note("What was finished is kept; --resume goes on from there.")
                raise

    def signature(self) -> dict[str, Any]:
        """What the job was, when it began."""
        return self._job()

    def _job(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "job.json").read_text())
        return found

    def _check(self, signature: dict[str, Any]) -> None:
        before = self._job()
        for key, value in json.loads(json.dumps(signature)).items():
            if key != "when" and before.get(key) != value:
                what = _DIFFERENCES.get(key, key)
                if key == "request":
                    then = before.get(key, {})
                    changed = [each for each in value if value[each] != then.get(each)]
                    what = f"{what} ({', '.join(each.replace('_', '-') for each in changed)})"
                raise FileProblem(
                    f"{shown(self.folder)} cannot be resumed, because {what} changed "
                    "since it began; add --force instead of --resume to begin anew."
                )

    def _write_job(self, job: dict[str, Any]) -> None:
        draft = self.folder / "job.tmp"
        draft.write_text(json.dumps(job, indent=1) + "\n")
        os.replace(draft, self.folder / "job.json")

    def _finished(self, *, trusting: bool) -> dict[str, list[Summary]]:
        """The regions that are finished; unless `trusting`, those alone that were flushed."""
        found: dict[str, list[Summary]] = {}
        flushed: dict[str, list[Summary]] = {}
        try:
            lines = (self.folder / "done").read_text().splitlines(keepends=True)
        except OSError:
            return {}
        for line in lines:
            try:
                entry = json.loads(line) if line.endswith("\n") else None
            except ValueError:
                break  # cut off in the middle
            if entry is None:
                break
            if entry == "flushed":
                flushed = dict(found)
            else:
                found[entry[0]] = [_summary(each) for each in entry[1]]
        return found if trusting else flushed

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Refuse a second process that works on the same draft."""
        with open(self.folder / "lock", "w") as lock:
            try:
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except ImportError:
                pass  # Windows, whose own locks go with files that are open
            except OSError as fault:
                raise FileProblem(
                    f"{shown(self.folder)} is being written by another process."
                ) from fault
            yield

    # Working

    def finish(self, key: str, summaries: list[Summary]) -> None:
        """A region is in the store."""
        assert self._journal is not None
        self.done[key] = summaries
        self._journal.write(_line(key, summaries))
        self._journal.flush()
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            _flush()
            self._journal.write('"flushed"\n')
            self._journal.flush()
            self._flushed = time.monotonic()

    # Ending

    def publish(self, made: Path, *, force: bool) -> None:
        """Give what was made, a file or a folder inside this one, the name of the output."""
        try:
            _flush()
            if os.path.lexists(self.output):
                if not force:
                    raise FileProblem(
                        f"{shown(self.output)} has appeared in the meantime; add --force to replace it, and "
                        "--resume to keep what was computed."
                    )
                if made.is_file() and self.output.is_file():
                    os.chmod(made, self.output.stat().st_mode & 0o777)
                    os.replace(made, self.output)
                else:
                    # Folders cannot be exchanged in one step: the old one waits inside this.
                    os.rename(self.output, self.folder / "replaced")
                    os.rename(made, self.output)
            else:
                os.rename(made, self.output)
            _flush_folder(self.output.parent)
        except OSError as fault:
            raise _failed(self.output, fault) from fault
        self._is_published = True

    def _refuse_strangers(self) -> None:
        """Touch no folder that is not a draft."""
        if self.folder.is_dir() and not (self.folder / "job.json").exists():
            if {each.name for each in self.folder.iterdir()} <= _OURS:
                return
        elif not os.path.lexists(self.folder) or self.folder.is_dir():
            return
        raise FileProblem(
            f"{shown(self.folder)} is in the way, and is no draft of ours; remove it, or choose another name."
        )

    def _clear(self) -> None:
        """Empty the folder of all but the lock."""
        for each in self.folder.iterdir():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            elif each.name != "lock":
                each.unlink()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):  # what is left does no harm
            shutil.rmtree(self.folder)


_OURS = {"results", "done", "lock", "job.tmp", "replaced", "whole"}
_DIFFERENCES = {
    "gridgrad": "the version of gridgrad",
    "inputs": "an input",
    "request": "an option",
    "results": "the results' shapes",
    "regions": "the size of regions",
}


def fingerprint(paths: Iterable[Path]) -> list[Any]:
    """What tells whether inputs are still what they were: sizes and times of change of all their files."""
    found: list[Any] = []
    for path in paths:
        files = [path]
        if path.is_dir():
            files = sorted(each for each in path.rglob("*") if each.is_file())
        stats = [each.stat() for each in files]
        found.append(
            [
                str(path.resolve()), len(files), sum(each.st_size for each in stats),
                max((each.st_mtime_ns for each in stats), default=0),
            ]
        )  # fmt: skip
    return found


def _line(key: str, summaries: list[Summary]) -> str:
    return json.dumps([key, [list(dataclasses.astuple(each)) for each in summaries]]) + "\n"


def _summary(entry: list[Any]) -> Summary:
    count, finite, low, high, total, squares, scale = entry
    return Summary(count, finite, low, high, (total[0], total[1]), squares, scale)


def _boot() -> str:
    """What is another after the machine was started anew; on other systems, in every process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"process {os.getpid()} {time.time()}"


def _flush() -> None:
    if hasattr(os, "sync"):
        os.sync()


def _flush_folder(folder: Path) -> None:
    """The new name reaches the disk."""
    with contextlib.suppress(OSError):  # not on every system
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _failed(output: Path, fault: OSError) -> FileProblem:
    return FileProblem(f"{shown(output)} could not be written: {fault.strerror or fault}.")
