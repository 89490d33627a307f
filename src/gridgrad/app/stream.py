"""Regions made and written one after another, by threads here or by the workers of a cluster."""

import asyncio
import contextlib
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import gridgrad
from gridgrad.app.job import Job, Region
from gridgrad.app.source import FileProblem
from gridgrad.app.summary import Summary

# Seconds that a scheduler has to answer.
_PATIENCE = 4

Finished = Callable[[Region, list[Summary], list[Any] | None], None]


def make(job: Job, region: Region, write: Any) -> tuple[list[Summary], list[Any] | None]:
    """A region's summaries once it is written; its values, if `write` is None."""
    values, summaries = job.compute(region)
    if write is None:
        return summaries, values
    write(job.parts[region.part], region, values)
    return summaries, None


def by_threads(
    job: Job, regions: Sequence[Region], write: Any, threads: int, finished: Finished
) -> None:
    """`finished` is called here, in this thread, for one region after another."""
    if len(regions) <= 1 or threads <= 1:
        for region in regions:
            finished(region, *make(job, region, write))
        return
    before = gridgrad.get_num_threads()
    gridgrad.set_num_threads(1)  # regions run side by side, each in its thread
    pool = ThreadPoolExecutor(threads, "gridgrad-regions")
    try:
        _in_flight(
            regions, threads + 1, lambda region: pool.submit(make, job, region, write), finished
        )
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        gridgrad.set_num_threads(before)


def _in_flight(
    regions: Sequence[Region], most: int, submit: Callable[[Region], Any], finished: Finished
) -> None:
    """Keep so many regions under way, so that neither results nor tasks pile up."""
    waiting = iter(regions)
    running: dict[Future[Any], Region] = {}
    for region in itertools.islice(waiting, most):
        running[submit(region)] = region
    try:
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                region = running.pop(future)
                finished(region, *future.result())
                following = next(waiting, None)
                if following is not None:
                    running[submit(following)] = following
    except BaseException:
        # Those that are being written are finished, and count.
        with contextlib.suppress(Exception):
            for future, region in running.items():
                if not future.cancel():
                    finished(region, *future.result())
        raise


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Any]:
    """A client of a scheduler of dask.distributed."""
    try:
        from distributed import CancelledError, Client
        from distributed.comm.core import CommClosedError
    except ModuleNotFoundError as missing:
        raise FileProblem(
            "--scheduler needs distributed, which comes with: pip install 'gridgrad[cluster]'."
        ) from missing
    # Its lines on a connection that was lost would stand beside ours.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL + 1)
    try:
        # A client itself waits for ever where a port is open and nobody speaks.
        asyncio.run(asyncio.wait_for(_ask(address), _PATIENCE))
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except ValueError as fault:
        raise FileProblem(
            f"--scheduler must be an address such as tcp://host:8786, but is {address!r}."
        ) from fault
    except OSError as fault:
        raise FileProblem(
            f"the scheduler {address!r} did not answer within {_PATIENCE} s."
        ) from fault
    except Exception as fault:
        why = "what answers there is no scheduler of Dask"
        if address.startswith("tls:"):
            why = "its certificates must stand in Dask's configuration (distributed.comm.tls)"
        raise FileProblem(f"the scheduler {address!r} cannot be spoken to: {why}.") from fault
    try:
        if not client.scheduler_info()["workers"]:
            raise FileProblem(f"the scheduler {address!r} has no workers.")
        try:
            yield client
        except (CommClosedError, CancelledError) as fault:
            raise FileProblem(f"the scheduler {address!r} was lost.") from fault
    finally:
        client.close()


async def _ask(address: str) -> None:
    from distributed.comm.core import connect

    comm = await connect(address, timeout=_PATIENCE)
    await comm.close()


def by_cluster(
    client: Any, job: Job, regions: Sequence[Region], write: Any, finished: Finished
) -> None:
    """The same by workers, which read and write the files under the same paths as here."""
    import distributed

    sent = client.scatter(job, broadcast=True)
    most = 2 * sum(client.nthreads().values())
    waiting = iter(regions)
    # Without the loop it would look for a default client, which ours is not.
    running = distributed.as_completed(loop=client.loop, with_results=False)
    of: dict[Any, Region] = {}

    def submit(region: Region) -> None:
        future = client.submit(make, sent, region, write, pure=False)
        of[future.key] = region
        running.add(future)

    for region in itertools.islice(waiting, most):
        submit(region)
    for future in running:
        finished(of.pop(future.key), *future.result())
        following = next(waiting, None)
        if following is not None:
            submit(following)


def limit_zarr(threads: int) -> None:
    """Few chunks at a time, so that memory is that of the regions."""
    with contextlib.suppress(ModuleNotFoundError):
        import zarr

        zarr.config.set(
            {"async.concurrency": max(1, threads), "threading.max_workers": os.cpu_count()}
        )
