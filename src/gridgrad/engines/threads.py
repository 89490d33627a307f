"""Threads that share out a list of tasks: one pool a process, sound after forks, interrupts and exit."""

import os
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from gridgrad.errors import GridError, GridTypeError

_chosen: int | None = None
_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_lock = threading.Lock()
_is_forked = False


def set_num_threads(n: int) -> None:
    """Let every later call compute with at most `n` threads, in this process.

    Results do not depend on the number, bit for bit. Calls made inside a Dask worker's or a PyTorch
    DataLoader worker's thread stay on that thread whatever the number, since those already use every CPU.
    PyTorch tensors are worked on by PyTorch's own threads, and by no more than `torch.set_num_threads` says.

    Raises GridError if n is not positive, GridTypeError if it is not an integer.

    >>> import gridgrad
    >>> before = gridgrad.get_num_threads()
    >>> gridgrad.set_num_threads(1)
    >>> gridgrad.get_num_threads()
    1
    >>> gridgrad.set_num_threads(before)
    """
    global _chosen
    if isinstance(n, bool) or not isinstance(n, int):
        raise GridTypeError(f"the number of threads must be an integer, but is {n!r:.80}.")
    if n < 1:
        raise GridError(f"the number of threads must be at least 1, but is {n}.")
    _chosen = n


def get_num_threads() -> int:
    """The number of threads that a call may use.

    What `set_num_threads` said last; else the environment variable GRIDGRAD_NUM_THREADS; else the number
    of CPUs that this process may use.

    >>> import gridgrad
    >>> gridgrad.get_num_threads() >= 1
    True
    """
    global _chosen
    if _chosen is None:
        given = os.environ.get("GRIDGRAD_NUM_THREADS", "").strip()
        if given and not (given.isdecimal() and int(given) > 0):
            raise GridError(
                f"GRIDGRAD_NUM_THREADS must be a positive integer, but is {given!r:.80}."
            )
        _chosen = int(given) if given else _usable_cpus()
    return _chosen


def _usable_cpus() -> int:
    """The CPUs that this process may run on, and no more than its container's share of time."""
    where = getattr(os, "sched_getaffinity", None)
    count = len(where(0)) if where else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        return count if quota == "max" else max(1, min(count, round(int(quota) / int(period))))
    except (OSError, ValueError):
        return count


def threads_here() -> int:
    """How many threads a call made from this thread should use."""
    return 1 if _in_a_worker() else get_num_threads()


def _in_a_worker() -> bool:
    """Whether this thread is one of many that a Dask scheduler or a PyTorch DataLoader keeps busy."""
    data = sys.modules.get("torch.utils.data")
    if data is not None and data.get_worker_info() is not None:
        return True
    worker = sys.modules.get("distributed.worker")
    if worker is not None and hasattr(worker.thread_state, "execution_state"):
        return True
    threaded = sys.modules.get("dask.threaded")
    if threaded is None:
        return False
    here = threading.current_thread()
    pools = [threaded.default_pool, *(p for s in list(threaded.pools.values()) for p in s.values())]
    if any(here in getattr(pool, "_threads", ()) for pool in pools):
        return True
    # A pool of the caller's own is known by what Dask runs in it.
    local = sys.modules.get("dask.local")
    task = getattr(getattr(local, "execute_task", None), "__code__", None)
    frame: Any = (
        sys._getframe() if task is not None and here is not threading.main_thread() else None
    )
    while frame is not None:
        if frame.f_code is task:
            return True
        frame = frame.f_back
    return False


def apart(tasks: list[Any], threads: int) -> list[Any]:
    """Tasks in an order in which threads that each take the next one stay far from each other.

    Two that first write to the same large page of fresh memory would both have it zeroed.
    """
    slab = max(1, -(-len(tasks) // max(1, threads)))
    return [task for k in range(slab) for task in tasks[k::slab]]


def share(work: Callable[[Iterable[Any]], None], tasks: list[Any], threads: int) -> None:
    """Call `work` in up to so many threads, this one among them, each with a share of the tasks.

    Each takes the next task when it is free. This thread never waits for one that has not begun, so that
    a busy pool delays nobody.
    """
    if threads <= 1 or len(tasks) <= 1:
        work(tasks)
        return
    rest = iter(tasks)  # taking the next item of a list's iterator is atomic
    others: list[Future[None]] = []
    try:
        pool = _the_pool(threads - 1)
        for _ in range(min(threads, len(tasks)) - 1):
            # One by one, so that those before a failure are waited for.
            others.append(pool.submit(work, rest))
    except RuntimeError:
        pass  # the interpreter is shutting down, or no thread can be started: this one does it all
    try:
        work(rest)
    except BaseException:
        for _ in rest:  # leave nothing for the others to begin
            pass
        raise
    finally:
        begun = [future for future in others if not future.cancel()]
        _wait(begun)  # they write into memory that the caller owns
    for future in begun:
        future.result()


def _wait(futures: list[Future[None]]) -> None:
    """Wait for all, even if an interrupt comes meanwhile, which is raised when they are done."""
    interrupt: BaseException | None = None
    while True:
        try:
            wait(futures)
            break
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


def _the_pool(size: int) -> ThreadPoolExecutor:
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < size:
            if _pool is not None:
                _pool.shutdown(wait=False)
            _pool, _pool_size = ThreadPoolExecutor(size, "gridgrad"), size
        return _pool


def is_forked() -> bool:
    """Whether this process was forked after gridgrad was imported: no thread of others' lives here."""
    return _is_forked


def _forget() -> None:
    """In a forked child no thread of the pool lives, and the lock may have been held: begin anew."""
    global _pool, _pool_size, _lock, _is_forked
    _pool, _pool_size, _lock, _is_forked = None, 0, threading.Lock(), True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
