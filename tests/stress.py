"""Eight threads and four forked children call the engine together: python tests/stress.py --seconds 60.

Every result is compared, byte for byte, with what one thread computed beforehand. The threads change
the number of threads all the while; children come and go, each forked while the threads are at work.
Fails, with exit status 1 and one sentence, on a wrong value, a changed input, an exception, a child or
a thread that does not end, or memory whose peak in the last quarter of the time is more than GROWTH
above that in the second quarter.
"""

import argparse
import faulthandler
import os
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import gridgrad
from gridgrad.engines import jobs as kept

THREADS, CHILDREN = 8, 4
# A leak of one result a call would be gigabytes a minute; allocators keep some of what they had in hand.
GROWTH = 64 * 2**20
CHILD_SECONDS = 4.0
PATIENCE = 60.0  # seconds more than asked for, after which everything hangs


@dataclass
class Job:
    """A call, the bytes of its input, and those of its results."""

    name: str
    input: Any
    call: Callable[[], Any]
    before: bytes
    expected: list[bytes]

    def run(self) -> None:
        found = [bytes_of(x) for x in self.call()]
        if found != self.expected:
            raise Failure(f"{self.name} gave a wrong value")
        if bytes_of(self.input) != self.before:
            raise Failure(f"{self.name} changed its input")


class Failure(Exception):
    """What the stress test looks for."""


def bytes_of(x: Any) -> bytes:
    return np.ascontiguousarray(x).tobytes()


def jobs() -> list[Job]:
    """Small, medium and large arrays, in place and in blocks, with and without `out`."""
    rng = np.random.default_rng(0)
    found = []

    def add(name: str, f: Any, into: str = "fresh", **options: Any) -> None:
        like = gridgrad.gradient(f, **options)

        def fresh() -> Any:
            return gridgrad.gradient(f, **options)

        def out() -> Any:
            return gridgrad.gradient(f, out=[np.empty(x.shape, x.dtype) for x in like], **options)

        def strided() -> Any:
            both = [np.empty((*x.shape, 2), x.dtype)[..., 0] for x in like]
            return gridgrad.gradient(f, out=both, **options)

        call = {"fresh": fresh, "out": out, "strided": strided}[into]
        found.append(Job(name, f, call, bytes_of(f), [bytes_of(x) for x in like]))

    for dtype in ("float32", "float64", "complex64", "int16", "float16"):
        for shape in (
            (9,),
            (1000,),
            (40, 50),
            (300, 400),
            (60, 50, 40),
            (7, 200, 130),
            (70_001, 3),
        ):
            f = (rng.standard_normal(shape) * 100).astype(dtype)
            into = ("fresh", "out", "strided")[len(found) % 3]
            add(f"gradient of {dtype} {shape}, {into}", f, into)
    f = rng.standard_normal((260, 300)).astype("float32")
    uneven = np.cumsum(rng.uniform(1, 2, 300))
    add("coordinates", f, spacing=(2.0, uneven), edge_order=2)
    add("coordinates, transposed", f.T, "out", spacing=(uneven, 0.5))
    add("integer coordinates", f[:, :40], dim=1, spacing=(np.cumsum(rng.choice([1, 2], 40)),))
    add("reversed", f[::-1, ::-1], "strided")
    add("broadcast", np.broadcast_to(f[:1], (260, 300)), dim=1)
    add("foreign byte order", f.astype(">f4"), "out", spacing=0.1)
    special = f.copy()
    special[::7, ::5], special[3::11] = np.nan, np.inf
    add("not finite", special)
    add("64-bit integers", rng.integers(-(2**62), 2**62, (300, 300)))
    # Tensors, which PyTorch's own threads work on where there are any: in children there are not.
    for x in (f, special, f.T, rng.standard_normal((70, 50, 40)) + 1j):
        add(f"tensor of {x.dtype} {x.shape}", torch.from_numpy(x))
    return found


def keep_calling(todo: list[Job], until: float, seed: int) -> int:
    """Run jobs in random order, now and then with another number of threads."""
    rng, done = random.Random(seed), 0
    while time.monotonic() < until:
        if rng.random() < 0.1:
            gridgrad.set_num_threads(rng.randint(1, 8))
        rng.choice(todo).run()
        done += 1
    return done


def memory() -> int:
    """The bytes that this process has in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def child(todo: list[Job], until: float, seed: int) -> None:
    """A forked process: two threads of its own. Leaves by its exit status."""
    status = 1
    try:
        errors: list[BaseException] = []

        def other() -> None:
            try:
                keep_calling(todo, until, seed + 1)
            except BaseException as error:
                errors.append(error)

        beside = threading.Thread(target=other)
        beside.start()
        keep_calling(todo, until, seed)
        beside.join()
        if errors:
            raise errors[0]
        status = 0
    except Failure as failure:
        print(f"in a child: {failure}.", file=sys.stderr, flush=True)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def stress(seconds: float) -> str:
    """What was done, in words; raises Failure."""
    gridgrad.set_num_threads(1)
    todo = jobs()
    for job in todo:  # all of it is right, and compiled, before others depend on it
        job.run()
    started = time.monotonic()
    until = started + seconds
    errors: list[str] = []
    calls = [0] * THREADS

    def one_thread(k: int) -> None:
        try:
            calls[k] = keep_calling(todo, until, k)
        except Failure as failure:
            errors.append(f"in a thread: {failure}")
        except BaseException as error:
            traceback.print_exc()
            errors.append(f"in a thread: {error!r}")

    threads = [threading.Thread(target=one_thread, args=[k], daemon=True) for k in range(THREADS)]
    for thread in threads:
        thread.start()
    forked = look_after_children(todo, started, until, errors)
    for thread in threads:
        thread.join(PATIENCE / 2)
        if thread.is_alive():
            faulthandler.dump_traceback(all_threads=True)
            raise Failure("a thread did not end")
    if errors:
        raise Failure("; ".join(errors))
    return f"{sum(calls)} calls of {len(todo)} kinds in {THREADS} threads, {forked}"


def look_after_children(todo: list[Job], started: float, until: float, errors: list[str]) -> str:
    """Keep four children alive until then, and watch this process's memory."""
    alive: dict[int, float] = {}
    count, peaks = 0, [0] * 4  # of memory, in each quarter of the time
    try:
        while alive or (time.monotonic() < until and not errors):
            now = time.monotonic()
            while len(alive) < CHILDREN and now < until and not errors:
                count += 1
                end = min(now + CHILD_SECONDS, until)
                pid = os.fork()
                if not pid:
                    child(todo, end, 1000 * count)
                alive[pid] = end
            time.sleep(0.05)
            if now < until:
                quarter = int(4 * (now - started) / (until - started))
                peaks[quarter] = max(peaks[quarter], memory())
            for pid in list(alive):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    del alive[pid]
                    if status:
                        errors.append(f"a child ended with status {status}")
                elif now > alive[pid] + PATIENCE / 2:
                    os.kill(pid, signal.SIGUSR1)  # it says where it is
                    time.sleep(1)
                    raise Failure("a child did not end")
    finally:
        for pid in alive:  # only these, which this function started
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    shown = ", ".join(f"{peak / 2**20:.0f}" for peak in peaks)
    if not errors and peaks[3] - peaks[1] > GROWTH:
        raise Failure(f"memory grew: {shown} MiB in the quarters of the time")
    return f"{count} children, {CHILDREN} at a time, and peaks of {shown} MiB in the quarters of the time"


def main() -> int:
    kept.SERIAL = kept.TEAMED = 1 << 14  # threads for small arrays too
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    # From Python 3.12 on a fork beside threads warns; to survive it is what is tested here.
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
    faulthandler.enable()
    # A watchdog is a thread, which no child has; a child is asked by a signal.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    faulthandler.dump_traceback_later(seconds + 2 * PATIENCE, exit=True)
    sys.setswitchinterval(1e-4)
    try:
        said = stress(seconds)
    except Failure as failure:
        print(f"The stress test failed: {failure}.", file=sys.stderr)
        return 1
    print(f"No wrong value, deadlock or leak: {said}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
