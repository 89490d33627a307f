"""What Dask arrays cost against size and workers: `python -m benchmarks.scaling` writes docs/scaling.md.

Samples are made by the workers, block by block, so that no file limits them; the maximum of each component of
their gradient comes back. Every cluster is made of processes of one thread each, anew for each
measurement, in turns.
"""

import argparse
import os
import pickle
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import dask
import dask.array as da
import numpy as np
from dask.base import collections_to_expr

import gridgrad
from benchmarks import machine, scaling_page
from benchmarks.memory import status

PAGE = Path(__file__).parent.parent / "docs" / "scaling.md"
MIB, GIB = 1 << 20, 1 << 30
# Each worker's memory limit, and data several times as large.
LIMIT, LARGE = 1 * GIB, (64, 1024, 1024)
SLAB = 16


class Run(NamedTuple):
    """One computation on a cluster of so many workers."""

    workers: int
    samples: int
    seconds: float
    peak: int  # bytes, of the worker that took most
    restarts: int
    moved: int  # bytes that workers sent each other


class Found(NamedTuple):
    """Everything that the page tells."""

    build: float  # seconds to make the graph, a block
    optimize: float  # seconds to optimise it, a block
    tasks: float  # tasks a block, optimised
    task_bytes: float  # bytes of a pickled task
    threads: float  # seconds of Dask's threaded scheduler, a task
    scheduler: float  # seconds of a scheduler and one worker, a task
    plain: float  # the same for a graph of Dask's own, of sums
    scheduler_bytes: float  # bytes that the scheduler's process grows by, a task
    runs: list[Run]
    against: list[Run]  # two workers against one, in turns
    halo_blocks: int
    halo: tuple[int, int, int]  # bytes moved in a run, with neighbours kept together, of all faces


def block(block_info: Any = None) -> Any:
    """Samples that depend on their place alone, in memory's time."""
    (first, last), *rest = block_info[None]["array-location"]
    across = np.arange(np.prod([b - a for a, b in rest]), dtype=np.float32)
    across = (across.reshape([b - a for a, b in rest]) * np.float32(1e-3)) % np.float32(7)
    return across[None] * np.arange(first, last, dtype=np.float32)[:, None, None]


def samples(shape: tuple[int, ...], slab: int = SLAB) -> Any:
    chunks = ((slab,) * (shape[0] // slab), *((n,) for n in shape[1:]))
    return da.map_blocks(
        block, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * 3, np.float32)
    )


@contextmanager
def cluster(workers: int, limit: int = 0) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, memory_limit=limit, dashboard_address=None,
            silence_logs=50,
        ) as found,
        Client(found) as client,
    ):  # fmt: skip
        client.wait_for_workers(workers)
        yield client


def run(shape: tuple[int, ...], workers: int, limit: int = 0, slab: int = SLAB) -> Run:
    """The maxima of a gradient on a new cluster, once its workers have imported and compiled everything."""
    with cluster(workers, limit) as client:
        for _ in range(2):
            _maxima(samples((8 * slab, 32, 32), slab), client)
        pids = sorted(client.run(os.getpid).values())
        sent = sum(client.run(_sent).values())
        start = time.perf_counter()
        _maxima(samples(shape, slab), client)
        seconds = time.perf_counter() - start
        peak = max(client.run(_peak).values())
        moved = sum(client.run(_sent).values()) - sent
        restarts = len(set(pids) - set(client.run(os.getpid).values()))
    return Run(workers, int(np.prod(shape)), seconds, peak, restarts, moved)


def _maxima(f: Any, client: Any) -> Any:
    return client.gather(client.compute([g.max() for g in gridgrad.gradient(f)]))


def _peak() -> int:
    return status("VmHWM")


def _sent(dask_worker: Any) -> int:
    return int(dask_worker.transfer_outgoing_bytes_total)


def _of_the_graph(count: int) -> dict[str, float]:
    """What tasks cost that do nothing to speak of: many tiny blocks."""
    f = da.zeros((count * 2, 4, 4), chunks=(2, 4, 4))
    gridgrad.gradient(f[:8])
    start = time.perf_counter()
    results = gridgrad.gradient(f)
    build = time.perf_counter() - start
    start = time.perf_counter()
    graph = collections_to_expr(list(results)).optimize().__dask_graph__()
    optimize = time.perf_counter() - start
    few = [task for _, task in zip(range(500), graph.values(), strict=False)]
    bytes_each = statistics.mean(len(pickle.dumps(task)) for task in few)
    with dask.config.set(scheduler="threads"):
        start = time.perf_counter()
        dask.compute(*(g.sum() for g in results))
        threads = time.perf_counter() - start
    with cluster(1) as client:  # two would spend their time on each other's faces
        _maxima(f[:80], client)
        before = _resident()  # the scheduler lives in this process
        start = time.perf_counter()
        futures = client.compute([g.sum() for g in results])
        client.gather(futures)
        seconds = time.perf_counter() - start
        grown = _resident() - before
        plain = [(f + k).sum() for k in range(3)]
        start = time.perf_counter()
        client.gather(client.compute(plain))
        plain_seconds = time.perf_counter() - start
    plain_tasks = len(collections_to_expr(plain).optimize().__dask_graph__())
    tasks = len(collections_to_expr([g.sum() for g in results]).optimize().__dask_graph__())
    return {
        "build": build / count, "optimize": optimize / count, "tasks": len(graph) / count,
        "task_bytes": bytes_each, "threads": threads / tasks, "scheduler": seconds / tasks,
        "plain": plain_seconds / plain_tasks, "scheduler_bytes": max(grown, 0) / tasks,
    }  # fmt: skip


def _resident() -> int:
    return status("VmRSS")


def _halo() -> tuple[int, int, int]:
    """Bytes that two workers sent each other, as Dask is set up and with neighbours kept together."""
    shape = (64 * SLAB, 512, 512)
    queued = run(shape, 2).moved
    with dask.config.set({"distributed.scheduler.worker-saturation": "inf"}):
        together = run(shape, 2).moved
    return queued, together, 2 * (shape[0] // SLAB - 1) * shape[1] * shape[2] * 4


def measure(quick: bool) -> Found:
    said("the graph and the schedulers")
    graph = _of_the_graph(200 if quick else 1000)
    runs = []
    for planes in (4, 8) if quick else (4, 16, 64):
        for workers in (1, 2):
            shape = (planes * SLAB, 512, 512)
            said(f"{' x '.join(map(str, shape))}, {workers} workers")
            runs.append(run(shape, workers))
    against = []
    for _ in range(1 if quick else 5):
        for workers in (1, 2):
            said(f"data beyond the memory limit, {workers} workers")
            shape = ((8 if quick else LARGE[0]) * SLAB, *LARGE[1:])
            against.append(run(shape, workers, LIMIT))
    said("the bytes of the faces")
    return Found(**graph, runs=runs, against=against, halo_blocks=64, halo=_halo())


def said(what: str) -> None:
    print(what, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes; writes nothing")
    given = parser.parse_args()
    facts = machine.facts()
    found = measure(given.quick)
    text = scaling_page.page(found, LIMIT, [*facts, *machine.versions()])
    if given.quick:
        print(text)
        return 0
    PAGE.write_text(text, encoding="utf-8")
    said(f"written: docs/{PAGE.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
