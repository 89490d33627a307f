"""Peak memory of one call beyond its outputs, in a process of its own for each peer and case.

The process makes the data and calls once, so that everything is imported, compiled and pooled. Then it
lets go of the result and sets the kernel's record of its peak resident memory back to what is resident now
(writing 5 to /proc/self/clear_refs). It calls again and reads the record (VmHWM in /proc/self/status). From
the rise it takes away the bytes of fresh outputs. Where the kernel offers no such record, nothing is
reported.
"""

import contextlib
import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.cases import CASES, Case, Data
from benchmarks.peers import PEERS, as_arrays
from gridgrad.engines import recycling


class Memory(NamedTuple):
    """The extra bytes at the peak of a call, beyond input and outputs."""

    case: Case
    peer: str
    extra: int

    @property
    def percent(self) -> float:
        """As a part of the input."""
        return 100 * self.extra / self.case.input_bytes


def measure(case: Case, peer: str) -> Memory | None:
    """Measure in a new process; None where it cannot be measured."""
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", case.name, peer],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if found.returncode:
        raise RuntimeError(f"measuring {peer} on {case.name!r} failed:\n{found.stderr[-2000:]}")
    extra = json.loads(found.stdout.splitlines()[-1])
    return None if extra is None else Memory(case, peer, extra)


def status(field: str) -> int:
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}.")


def give_back() -> None:
    """Give freed memory back to the system, so that it does not hide what the call takes."""
    gc.collect()
    recycling.forget()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def rise(call: Callable[[], Any], fresh: int | None = None) -> int | None:
    """The bytes at the peak of a call beyond its results, whose bytes are given or counted."""
    call()
    give_back()
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before = status("VmHWM")
    except OSError:
        return None
    result = call()
    above = status("VmHWM") - before
    return above - (sum(part.nbytes for part in as_arrays(result)) if fresh is None else fresh)


def _measure_here(case: Case, peer: str) -> int | None:
    return rise(PEERS[peer].prepare(Data(case)), 0 if case.out else None)


if __name__ == "__main__":
    print(json.dumps(_measure_here(CASES[sys.argv[1]], sys.argv[2])))
