"""The kernel, compiled for one dtype when first asked for, and kept on disk."""

import gc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numba import from_dtype, njit, types

from gridgrad.engines import kernels, lanes, layout, loops, passes, steps, varied, weighted, words

_SOURCES = (kernels, lanes, layout, loops, passes, steps, varied, weighted, words)


def _with_cache() -> Any:
    digest = zlib.crc32(b"".join(Path(str(each.__file__)).read_bytes() for each in _SOURCES))
    run_boxes = kernels.kernel(digest)  # type: ignore[no-untyped-call]  # Numba's to type
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    try:
        return njit(cache=True, **options)(run_boxes)
    except RuntimeError:  # there is no folder that Numba may write to
        return njit(**options)(run_boxes)


run_boxes = _with_cache()


def kernel(dtype: Any) -> Any:
    """The kernel that computes in float32 or in float64."""
    signature = (types.int64,) * 3 + (from_dtype(np.dtype(dtype)),)
    with _one_process_at_a_time(), _no_collections():
        try:
            run_boxes.compile(signature)
        except OSError:  # compiled, but the disk is too full to keep it; asking again says if not
            run_boxes.compile(signature)
    return run_boxes.get_overload(signature)  # asked by type at every call it would take longer


@contextmanager
def _no_collections() -> Iterator[None]:
    """Compilers make so many objects that looking for garbage takes a tenth of their time."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


@contextmanager
def _one_process_at_a_time() -> Iterator[None]:
    """Of many processes that start on an empty cache one compiles, and the others read what it wrote.

    Numba's cache alone does not lose files, but two processes that save different dtypes at once can
    leave an index that names one's code as the other's.
    """
    lock = None
    try:
        import fcntl

        folder = Path(run_boxes.stats.cache_path)
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "gridgrad.lock", "w")  # noqa: SIM115  # closed below
        fcntl.flock(lock, fcntl.LOCK_EX)
    except (ImportError, OSError, TypeError):  # no such locks here, or a cache that only reads
        if lock is not None:
            lock.close()
        yield
        return
    try:
        yield
    finally:
        # Closing would not unlock what a child, forked meanwhile, holds open too.
        fcntl.flock(lock, fcntl.LOCK_UN)
        lock.close()
