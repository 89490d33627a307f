"""How long importing takes, and the first call: each in a new process, in turns."""

import os
import statistics
import subprocess
import sys
import tempfile
from typing import NamedTuple

_IMPORT = """
import time
start = time.perf_counter()
import {name}
print(time.perf_counter() - start)
"""

_FIRST_CALL = """
import time
start = time.perf_counter()
import numpy as np
samples = np.sin(np.arange(1000.0))
numpy_done = time.perf_counter()
import gridgrad
imported = time.perf_counter()
gridgrad.gradient(samples)
done = time.perf_counter()
print(done - imported, done - numpy_done)
"""


class Startup(NamedTuple):
    """Medians, in seconds."""

    numpy_import: float
    gridgrad_import: float
    warm_call: float  # the first call of a process, the compiled kernel on disk
    warm_with_import: float
    cold_call: float  # the first call ever, an empty folder for the compiled kernel
    cold_with_import: float
    repeats: int
    cold_repeats: int


def measure(repeats: int, cold_repeats: int) -> Startup:
    """Imports and first calls in turns, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        cold = [_run(_FIRST_CALL, os.path.join(folder, f"empty-{k}")) for k in range(cold_repeats)]
        filled = os.path.join(folder, "empty-0")
        numpy, gridgrad, warm = [], [], []
        for _ in range(repeats):
            numpy += [_run(_IMPORT.format(name="numpy"), filled)[0]]
            gridgrad += [_run(_IMPORT.format(name="gridgrad"), filled)[0]]
            warm += [_run(_FIRST_CALL, filled)]
    (warm_call, warm_all), (cold_call, cold_all) = (
        [statistics.median(each[k] for each in runs) for k in (0, 1)] for runs in (warm, cold)
    )
    return Startup(
        statistics.median(numpy), statistics.median(gridgrad), warm_call, warm_all, cold_call,
        cold_all, repeats, cold_repeats,
    )  # fmt: skip


def _run(program: str, cache: str) -> list[float]:
    """What a program prints, run in a new process whose compiled kernels are kept in `cache`."""
    os.makedirs(cache, exist_ok=True)
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    # An installed package has its bytecode on disk, even where Python is told to write none.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    found = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [float(word) for word in found.stdout.split()]
