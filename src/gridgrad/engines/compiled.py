"""The kernel, compiled for one dtype when first asked for, and kept on disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numba import from_dtype, njit, types

from gridgrad.engines import kernels

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


def _with_cache() -> Any:
    try:
        return njit(cache=True, **_OPTIONS)(kernels.run_box)
    except RuntimeError:  # there is no folder that Numba may write to
        return njit(**_OPTIONS)(kernels.run_box)


run_box = _with_cache()
_ready: set[Any] = set()


def kernel(dtype: Any) -> Any:
    """The kernel that computes in float32 or in float64."""
    if dtype not in _ready:
        with _one_process_at_a_time():
            run_box.compile((types.int64,) * 4 + (from_dtype(np.dtype(dtype)),))
        _ready.add(dtype)
    return run_box


@contextmanager
def _one_process_at_a_time() -> Iterator[None]:
    """Of many processes that start on an empty cache one compiles, and the others read what it wrote.

    Numba's cache alone does not lose files, but two processes that save different dtypes at once can
    leave an index that names one's code as the other's.
    """
    try:
        import fcntl

        folder = Path(run_box.stats.cache_path)
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "gridgrad.lock", "w")  # noqa: SIM115  # closed below, which unlocks it
        fcntl.flock(lock, fcntl.LOCK_EX)
    except (ImportError, OSError, TypeError):  # no such locks here, or a cache that only reads
        yield
        return
    with lock:
        yield
