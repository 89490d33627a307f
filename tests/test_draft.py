"""Outputs that were cut off: nothing is mistaken for whole, and what is finished is not done again."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gridgrad.app import draft as drafts
from gridgrad.app.draft import Draft, fingerprint
from gridgrad.app.files import open_source
from gridgrad.app.source import FileProblem
from gridgrad.app.summary import summarise

from .commanding import after, call, contents, refused, script

# 64 regions of little data, in a process of its own; each is written with a pause where the test stops the
# command, and all but the first few wait for a file to go, however busy the machine is.
SLOWLY = """
import itertools, time
pause, free = float(os.environ.get("PAUSE", 0)), int(os.environ.get("FREE", 1000))
from gridgrad.app import job, store
cut = job.Job.cut
def small(self, limit, threads=1):
    cut(self, 12 << 10)
    return threads
job.Job.cut = small
write, numbers = store.StoreWriter.__call__, itertools.count(1)
def slowly(self, *words):
    number = next(numbers)
    time.sleep(pause)
    while number > free and os.path.exists("hold"):
        time.sleep(0.005)
    return write(self, *words)
store.StoreWriter.__call__ = slowly
made = job.Job.compute
def compute(self, region):
    # Closed in so many words: what a signal raises while a file is freed is silently lost.
    with open('computed', 'a') as journal:
        journal.write(region.key + chr(10))
    return made(self, region)
job.Job.compute = compute
from gridgrad.app import produce
produce.fits_in_memory = lambda *_: False
"""
# More memory than a process of tests ever holds: the limit is not what is tested here.
WORDS = ["gradient", "f.zarr", "--dim", "y,x", "--memory", "64GB", "--threads", "2"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def source():
    values = np.random.default_rng(0).normal(size=(4, 64, 64)).astype("f4")
    coords = {"x": np.arange(64) ** 1.1, "y": np.arange(64)}
    dataset = xr.Dataset({"f": (("t", "y", "x"), values)}, coords)
    dataset.to_zarr("f.zarr", encoding={"f": {"chunks": (1, 16, 16)}}, consolidated=False)


def running(free, *words):
    """The command, which finishes so many regions and no more while there is a file `hold`."""
    Path("hold").touch()
    return subprocess.Popen(
        [*after(SLOWLY), *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PAUSE": "0.05", "FREE": str(free)},
    )


def lines(path):
    return len(path.read_text().splitlines()) if path.exists() else 0


def killed_after(count, output, *words, how=signal.SIGKILL):
    """Start the command, and kill it when so many regions are finished; whether that was before its end."""
    journal = Path(f"{output}.incomplete", "done")
    # Some more than are waited for, so that the end comes in the middle of a region.
    process = running(count + 3 - lines(journal), *WORDS, output, *words)
    deadline = time.monotonic() + 60
    while process.poll() is None and lines(journal) < count and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(how)
    Path("hold").unlink()
    said = process.communicate(timeout=60)[1]
    assert process.returncode in (0, -how)
    return process.returncode != 0, said


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize("output", ["g.zarr", pytest.param("g.nc", marks=pytest.mark.exhaustive)])
def test_killed_at_random_moments_and_resumed_each_time(output, request):
    kills = 10 if request.config.getoption("--all") else 3
    assert script(SLOWLY, *WORDS, f"whole-{output}").returncode == 0
    total = lines(Path("computed"))
    Path("computed").unlink()
    moments = sorted(random.Random(0).sample(range(1, total - 8), kills))
    for count in moments:
        was_killed, _ = killed_after(count, output, *(["--resume"] if count != moments[0] else []))
        assert was_killed
        assert not Path(output).exists()
        assert lines(Path(f"{output}.incomplete", "done")) >= count
    # Whoever opens the store within is told, and whoever wants the whole is told how.
    with xr.open_zarr(f"{output}.incomplete/results") as part:
        assert part.attrs["incomplete"] == "samples are still to come"
    done = script(SLOWLY, *WORDS, output, "--resume")
    assert done.returncode == 0, done.stderr
    # No region that was told to be finished is made again: those cut off are no more than were under way.
    computed = Path("computed").read_text().splitlines()
    assert len(set(computed)) == total
    assert len(computed) <= total + kills * 3
    found, whole = (open_source(name).dataset.load() for name in (output, f"whole-{output}"))
    assert "incomplete" not in {*found.attrs, *whole.attrs}
    assert set(found) == set(whole) == {"df_dy", "df_dx"}
    for name in whole.variables:
        np.testing.assert_array_equal(found[name].values.view("u1"), whole[name].values.view("u1"))
    assert not Path(f"{output}.incomplete").exists()


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize(
    ("how", "threads"), [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 2)]
)
def test_an_interrupt_leaves_what_can_be_resumed(how, threads):
    was_killed, said = killed_after(5, "g.zarr", "--threads", threads, how=how)
    assert was_killed, said
    if how == signal.SIGINT:
        assert said == (
            "gridgrad: Interrupted. What was finished is kept; --resume goes on from there.\n"
        )
    assert not Path("g.zarr").exists()
    assert lines(Path("g.zarr.incomplete", "done")) >= 5
    for name in ("g.zarr.incomplete", "g.zarr"):
        with pytest.raises((FileProblem, FileNotFoundError)):
            open_source(name)
    with pytest.raises(Exception, match=r"incomplete|No group|group|match"):
        xr.open_zarr("g.zarr.incomplete", consolidated=False)
    assert "--resume" in refused(call(*WORDS, "g.zarr"))
    before = lines(Path("computed"))
    assert script(SLOWLY, *WORDS, "g.zarr", "--force").returncode == 0
    assert lines(Path("computed")) > before + 5
    assert not Path("g.zarr.incomplete").exists()


@pytest.mark.usefixtures("source")
def test_the_old_output_outlives_a_kill():
    Path("g.nc").write_bytes(b"old")
    assert killed_after(5, "g.nc", "--force")[0]
    assert Path("g.nc").read_bytes() == b"old"
    assert script(SLOWLY, *WORDS, "g.nc", "--force", "--resume").returncode == 0
    assert "df_dx" in open_source("g.nc").dataset


@pytest.mark.usefixtures("source")
def test_nothing_is_resumed_of_another_job():
    assert killed_after(5, "g.zarr")[0]
    before = contents()
    assert "an option (accuracy) changed" in refused(
        call(*WORDS, "g.zarr", "--resume", "--accuracy", "4")
    )
    os.utime("f.zarr/zarr.json")
    assert "an input changed" in refused(call(*WORDS, "g.zarr", "--resume"))
    assert contents() == before


@pytest.mark.usefixtures("source")
def test_two_at_once():
    process = running(3, *WORDS, "g.zarr")
    while lines(Path("g.zarr.incomplete", "done")) < 3:
        time.sleep(0.01)
    assert "another process" in refused(call(*WORDS, "g.zarr", "--resume"))
    assert "--resume" in refused(call(*WORDS, "g.zarr"))
    Path("hold").unlink()
    assert process.wait(60) == 0
    process.communicate()
    assert "df_dx" in open_source("g.zarr").dataset


def begun(path, signature, *, resume=False):
    draft = Draft(Path(path))
    return draft, draft.begun(signature, resume=resume, create=draft.store.mkdir)


SUMMARIES = [summarise(np.arange(5.0)), summarise(np.array([np.nan, 1e308]))]


def interrupted(draft, *keys):
    for key in keys:
        draft.finish(key, SUMMARIES)
    raise KeyboardInterrupt


def cut_off(path="g.zarr", keys=("a", "b")):
    draft, context = begun(path, {"x": 1})
    with pytest.raises(KeyboardInterrupt), context:
        interrupted(draft, *keys)


def test_summaries_survive():
    cut_off()
    draft, context = begun("g.zarr", {"x": 1}, resume=True)
    with context:
        assert draft.done == {"a": SUMMARIES, "b": SUMMARIES}


def test_a_torn_line_is_not_finished():
    cut_off()
    journal = Path("g.zarr.incomplete/done")
    journal.write_text(journal.read_text()[:-3])
    draft, context = begun("g.zarr", {"x": 1}, resume=True)
    with context:
        assert list(draft.done) == ["a"]


def test_after_a_crash_of_the_machine_only_what_was_flushed_counts(monkeypatch):
    monkeypatch.setattr(drafts, "_FLUSH_SECONDS", -1.0)
    cut_off()
    monkeypatch.setattr(drafts, "_FLUSH_SECONDS", 1e9)
    draft, context = begun("g.zarr", {"x": 1}, resume=True)
    with pytest.raises(KeyboardInterrupt), context:
        interrupted(draft, "c")
    job = Path("g.zarr.incomplete/job.json")
    job.write_text(json.dumps(json.loads(job.read_text()) | {"boot": "before"}))
    draft, context = begun("g.zarr", {"x": 1}, resume=True)
    with context:
        assert list(draft.done) == []  # the journal was begun anew, and c was never flushed


def test_folders_of_others_are_left_alone():
    Path("g.zarr.incomplete").mkdir()
    Path("g.zarr.incomplete/thesis.txt").write_text("mine")
    _, context = begun("g.zarr", {"x": 1})
    with pytest.raises(FileProblem, match="in the way"), context:
        pass
    assert Path("g.zarr.incomplete/thesis.txt").read_text() == "mine"


def test_what_has_appeared_in_the_meantime_is_kept():
    draft, context = begun("g.zarr", {"x": 1})
    with context:
        draft.finish("a", SUMMARIES)
        Path("g.zarr").mkdir()
        with pytest.raises(FileProblem, match="appeared in the meantime"):
            draft.publish(draft.store, force=False)
    assert Path("g.zarr.incomplete/results").is_dir()


def test_a_folder_is_replaced():
    Path("g.zarr").mkdir()
    Path("g.zarr/old").touch()
    draft, context = begun("g.zarr", {"x": 1})
    with context:
        (draft.store / "new").touch()
        draft.finish("a", SUMMARIES)
        draft.publish(draft.store, force=True)
    assert os.listdir("g.zarr") == ["new"]
    assert os.listdir() == ["g.zarr"]


def test_fingerprints_tell_changes():
    Path("s").mkdir()
    Path("s/a").write_text("1")
    before = fingerprint([Path("s")])
    assert fingerprint([Path("s")]) == before
    Path("s/b").write_text("2")
    assert fingerprint([Path("s")]) != before
