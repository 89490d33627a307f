"""The marks of Dask arrays: `python -m benchmarks.dask_marks`.

The work is the gradient of 512^3 float32 samples, `from_array` in slabs of 64, and the maximum of each
component; beside it the maxima of three plain sums, which is what reading the blocks and looking for maxima
takes. Times are taken in turns in one process, on Dask's threads. Peak memory is that of a process of its
own, as `benchmarks.memory` measures it, but from before the graph is made, for each of the two in turns.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import dask
import dask.array as da
import numpy as np
from dask.base import collections_to_expr

import gridgrad
from benchmarks.memory import give_back, status
from benchmarks.timing import Times, interleave

SIDE, SLAB = 512, 64
GRADIENTS: dict[str, Callable[[Any], Any]] = {"gridgrad": gridgrad.gradient, "dask": da.gradient}


class DaskMarks(NamedTuple):
    """Times, peaks in bytes beyond the input, and tasks a block."""

    times: dict[Hashable, Times]
    peaks: dict[str, float]
    tasks: dict[str, float]

    def faster(self, stat: str = "median") -> float:
        return float(getattr(self.times["dask"], stat) / getattr(self.times["gridgrad"], stat))

    @property
    def memory_percent(self) -> float:
        return 100 * self.peaks["gridgrad"] / self.peaks["dask"]


def measure(repeats: int = 3) -> DaskMarks:
    """Everything, in about a minute."""
    times, tasks = _time()
    peaks: dict[str, list[int]] = {name: [] for name in GRADIENTS}
    for _ in range(repeats):
        for name in GRADIENTS:
            peaks[name].append(_peak_apart(name))
    return DaskMarks(times, {k: statistics.median(v) for k, v in peaks.items()}, tasks)


def _time() -> tuple[dict[Hashable, Times], dict[str, float]]:
    """Times, and tasks a block."""
    f = _samples(SIDE)
    blocks = f.npartitions
    tasks = {
        name: len(collections_to_expr(list(of(f))).optimize().__dask_graph__()) / blocks
        for name, of in GRADIENTS.items()
    }
    calls: dict[Hashable, Callable[[], Any]] = {
        "gridgrad": lambda: _maxima(gridgrad.gradient(f)),
        "dask": lambda: _maxima(da.gradient(f)),
        "sums": lambda: _maxima([f + k for k in range(3)]),
    }
    found = {name: calls[name]() for name in GRADIENTS}
    if not np.allclose(found["gridgrad"], found["dask"], rtol=1e-5):
        raise RuntimeError(f"the maxima differ: {found}")
    return interleave(calls, 7, 20.0), tasks


def lines(found: DaskMarks) -> list[list[str]]:
    """What was found, as rows of words."""
    times = {name: f"{1e3 * each.median:.0f} ms" for name, each in found.times.items()}
    peaks = {name: f"{each / 2**20:.0f} MiB" for name, each in found.peaks.items()}
    return [
        ["gridgrad", times["gridgrad"], peaks["gridgrad"], f"{found.tasks['gridgrad']:g}"],
        ["dask.array.gradient", times["dask"], peaks["dask"], f"{found.tasks['dask']:g}"],
        ["three plain sums", times["sums"], "", ""],
    ]


def _samples(side: int) -> Any:
    noise = np.random.default_rng(2024).standard_normal(2**20 + 7, dtype=np.float32)
    return da.from_array(np.resize(noise, (side, side, side)), chunks=(SLAB, side, side))


def _maxima(arrays: Any) -> Any:
    return dask.compute(*(each.max() for each in arrays))


def _peak_apart(name: str) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.dask_marks", name],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(json.loads(done.stdout.splitlines()[-1]))


def _peak_here(name: str) -> int:
    of = GRADIENTS[name]
    _maxima(of(_samples(SLAB)))  # so that everything is imported and compiled
    f = _samples(SIDE)
    give_back()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = status("VmHWM")
    _maxima(of(f))
    return status("VmHWM") - before


def main() -> int:
    if len(sys.argv) > 1:
        print(json.dumps(_peak_here(sys.argv[1])))
        return 0
    found = measure()
    for row in [["", "time", "peak memory", "tasks a block"], *lines(found)]:
        print("{:22}{:>10}{:>14}{:>16}".format(*row))
    print(f"{found.faster():.2f} times faster ({found.faster('least'):.2f} by minima; at least 2)")
    print(f"{found.memory_percent:.0f} % of its peak memory (at most 60 %)")
    print(f"{found.tasks['gridgrad']:g} tasks a block (at most 6)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
