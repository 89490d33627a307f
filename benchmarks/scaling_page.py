"""The page on scaling: what was measured, and a petabyte on a thousand workers worked out from it."""

import statistics
from collections.abc import Iterable
from typing import TYPE_CHECKING

from benchmarks import machine
from benchmarks.report import digits, duration

if TYPE_CHECKING:
    from benchmarks.scaling import Found

MIB, GIB = 1 << 20, 1 << 30
FASTER = 1.5  # what two workers must be against one

# The store that is worked out: float32, in blocks of 512^3.
SHAPE, SIDE, WORKERS = (2**14, 2**17, 2**17), 512, 1000
# Bytes a second that a worker reads from or writes to the store; say so if yours does otherwise.
BANDWIDTH = 1e9


def page(found: "Found", limit: int, facts: Iterable[tuple[str, str]]) -> str:
    parts = [
        "# Scaling",
        "This page is written by `make scaling`, all of it from one run on one machine. How Dask arrays are "
        "computed is in `src/gridgrad/arrays/dask.py`: for each block a task that copies out the faces "
        "which its neighbours need, and a task for each result, which reads the block and those faces.",
        "## What a block costs",
        _costs(found),
        "## Against size and workers",
        "Samples are made by the workers, in slabs of 16 planes; the maxima of the three components of "
        "their gradient come back. Workers are processes of one thread, new for each row, on the same CPUs "
        "as the scheduler.",
        _table(
            ("samples", "workers", "time", "samples a second", "peak of a worker", "moved"),
            [
                (
                    f"{run.samples:,}", str(run.workers), duration(run.seconds),
                    f"{run.samples / run.seconds / 1e6:.0f} million", _size(run.peak), _size(run.moved),
                )
                for run in found.runs
            ],
        ),
        "## Data larger than a worker's memory",
        _beyond(found, limit),
        "## What moves",
        _moves(found),
        "## A petabyte on a thousand workers, on paper",
        _petabyte(found),
        "## What to set",
        _advice(),
        "## Machine and versions",
        machine.lines([*facts, ("command", "`make scaling`")]),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _costs(found: "Found") -> str:
    return (
        _table(
            ("what", "measured"),
            [
                ("tasks a block, for all three components", digits(found.tasks)),
                ("making the graph, a block", duration(found.build)),
                ("optimising it, a block", duration(found.optimize)),
                ("a pickled task", f"{found.task_bytes:.0f} bytes"),
                ("Dask's threads, a task", duration(found.threads)),
                ("a scheduler and one worker on the same CPUs, a task", duration(found.scheduler)),
                ("the same for sums in Dask alone, a task", duration(found.plain)),
                ("scheduler and client grow by, a task", f"{found.scheduler_bytes:.0f} bytes"),
            ],
        )
        + "\n\nThe tasks of this table do nothing to speak of: blocks of 32 samples. Graph and time grow "
        "linearly with the blocks. Dask's scheduler, not gridgrad, sets the cost of a task."
    )  # fmt: skip


def _beyond(found: "Found", limit: int) -> str:
    one, two = (
        statistics.median(run.seconds for run in found.against if run.workers == count)
        for count in (1, 2)
    )
    worst = max(run.peak for run in found.against)
    restarts = sum(run.restarts for run in found.against)
    size = 4 * found.against[0].samples
    ratio = one / two
    met = ratio >= FASTER and worst <= limit and not restarts
    return (
        f"{_size(size)} of float32 in blocks of 64 MiB, on workers that may use {_size(limit)} each; "
        "one worker and two in turns.\n\n"
        + _table(
            ("workers", "time", "peak of a worker", "restarts", "moved"),
            [
                (
                    str(run.workers), duration(run.seconds), _size(run.peak), str(run.restarts),
                    _size(run.moved),
                )
                for run in found.against
            ],
        )
        + f"\n\nBy medians two workers are {digits(ratio)} times faster than one (required: at least "
        f"{FASTER:g}), the largest peak is {_size(worst)}, and {restarts or 'no'} workers were restarted: "
        f"{'met' if met else 'MISSED'}."
    )  # fmt: skip


def _moves(found: "Found") -> str:
    queued, together, faces = found.halo
    return (
        f"The faces of {found.halo_blocks} blocks hold {_size(faces)} in all. Two workers sent each other "
        f"{_size(queued)} as Dask is set up, where blocks go to whichever worker is free, so that most "
        "neighbours are apart (and some blocks are computed away from where they were made). With "
        "`distributed.scheduler.worker-saturation: inf` Dask keeps neighbours together, and "
        f"{_size(together)} moved; but then it makes blocks ahead of their use, which needs memory."
    )


def _petabyte(found: "Found") -> str:
    total = 4 * SHAPE[0] * SHAPE[1] * SHAPE[2]
    blocks = (SHAPE[0] // SIDE) * (SHAPE[1] // SIDE) * (SHAPE[2] // SIDE)
    block = 4 * SIDE**3
    tasks = 5 * blocks  # read, faces, three gradients that write what they made
    halo = 6 * 4 * SIDE**2
    storing = 4 * total / (BANDWIDTH * WORKERS)
    scheduling = tasks * found.scheduler
    alone = 4 * block / BANDWIDTH / (5 * found.scheduler)
    clusters = max(1, -(-WORKERS // max(1, int(alone))))
    rows = [
        ("the store", f"{' x '.join(f'{n:,}' for n in SHAPE)} float32, {total / 2**50:g} PiB"),
        ("blocks of 512^3", f"{blocks:,}, of {_size(block)}"),
        ("results", f"3 stores, {3 * total / 2**50:g} PiB"),
        ("tasks", f"{tasks:,}: 5 a block, each gradient joined by Dask with its writing"),
        ("faces of a block", f"{_size(halo)}, {100 * halo / block:.1f} % of it"),
        (
            "moved between workers",
            f"at most {_size(blocks * halo)} of faces, {_size(blocks * halo // WORKERS)} each",
        ),
        ("making the graph", f"{duration(blocks * found.build)}, once, in the client"),
        ("the graph, sent", _size(int(tasks * found.task_bytes))),
        ("the scheduler's memory", _size(int(tasks * found.scheduler_bytes))),
        ("reading and writing", f"{_hours(storing)} at {BANDWIDTH / 1e9:g} GB a second and worker"),
        ("scheduling, by one scheduler", _hours(scheduling)),
        ("a worker's memory", f"a thread: a block, its faces, one result; {_size(2 * block + halo)}"),
    ]  # fmt: skip
    if clusters > 1:
        verdict = (
            f"One scheduler that is as fast as the one measured here keeps {int(alone):,} such workers busy: "
            "the scheduler is the limit, not the faces nor the arithmetic. The way out is fewer, larger "
            f"tasks or more schedulers. {clusters} clusters, each with its own scheduler and its own part of "
            f"the first dim, need {_hours(scheduling / clusters)} for scheduling. They have nothing to tell "
            "each other: each reads the few planes beyond its part from the store. Or blocks "
            f"{clusters} times as large, on workers with as much more memory."
        )
    else:
        verdict = (
            f"One scheduler that is as fast as the one measured here keeps {int(alone):,} such workers busy: "
            "the store is the limit, not the scheduler."
        )
    return (
        "Worked out from the numbers above; nothing of it was run.\n\n"
        + _table(("what", "how much"), rows)
        + f"\n\n{verdict}\n\nParts are taken of the results, not of the input: `results[0][a:b]` needs the "
        "blocks of its planes and the faces beyond, Dask takes all else out of the graph, and every bit is "
        "what the whole would give. A part is also what is lost, and run again, when a cluster dies."
    )


def _advice() -> str:
    return "\n".join([
        "- Chunks that are whole chunks (or shards) of the store, of 64 MiB to 1 GiB, as near to cubes as "
        "the store allows: faces then are few. Thinner chunks work and are never cut anew, but move more.",
        "- One thread a CPU. Inside a worker gridgrad stays on the thread that it is called in.",
        "- `distributed.scheduler.worker-saturation`: leave it where memory is short; `inf` where faces cost "
        "more than blocks that wait.",
        "- `distributed.scheduler.allowed-failures`: higher than 3 on machines that may be taken away. Tasks "
        "depend on their inputs alone, so what a lost worker held is made again, with the same bits.",
        "- Compile once: point `NUMBA_CACHE_DIR` at a folder that all workers of a machine share.",
        "- Ask for the components that you use. Each has tasks of its own, and a dim that is not cut needs "
        "no faces.",
    ])  # fmt: skip


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _size(count: float) -> str:
    for unit, name in ((1 << 50, "PiB"), (1 << 40, "TiB"), (GIB, "GiB"), (MIB, "MiB")):
        if count >= unit:
            return f"{digits(count / unit)} {name}"
    return f"{count:.0f} bytes"


def _hours(seconds: float) -> str:
    return f"{digits(seconds / 3600)} h"
