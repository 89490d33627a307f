"""The kernel, compiled for one dtype when first asked for, and kept on disk."""

import gc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite.binding import add_symbol
from numba import cfunc, from_dtype, njit, types

from gridgrad.engines import (
    kernels,
    lanes,
    layout,
    loops,
    parts,
    passes,
    steps,
    varied,
    weighted,
    words,
)

_SOURCES = (kernels, lanes, layout, loops, parts, passes, steps, varied, weighted, words)


def _name(function: Any) -> None:
    """Have a new name for what changes: Numba looks only at the function's own file, and keeps it by name."""
    digest = zlib.crc32(b"".join(Path(str(each.__file__)).read_bytes() for each in _SOURCES))
    function.__qualname__ = f"{function.__name__}_{digest:08x}"


def _with_cache(function: Any, **options: Any) -> Any:
    """The function for Numba to compile, and to keep on disk, if there is a folder that it may write to."""
    options |= {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    _name(function)
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        return njit(**options)(function)


run_boxes = _with_cache(kernels.run_boxes)
_name(kernels.take_tasks)
_parts = {name: _with_cache(part, no_cpython_wrapper=True) for name, part in words.PARTS.items()}


def kernel(dtype: Any) -> Any:
    """The kernel that computes in float32 or in float64."""
    number = from_dtype(np.dtype(dtype))
    signature = words.kernel_signature(number)
    with _one_process_at_a_time(), _no_collections():
        for name, part in _parts.items():
            _tell(name, number, _compile(part, words.signature(part.py_func, number)))
        _tell(words.KERNEL, number, _compile(run_boxes, signature))
    return run_boxes.get_overload(signature)  # asked by type at every call it would take longer


def worker(dtype: Any) -> Any:
    """`kernels.take_tasks` as C calls it, void (void *state), for that dtype; its kernel is compiled."""
    state = types.CPointer(from_dtype(np.dtype(dtype)))  # type: ignore[no-untyped-call]  # Numba does not type it
    signature = types.void(state)
    how: dict[str, Any] = {"nopython": True, "error_model": "numpy"}
    with _one_process_at_a_time(), _no_collections():
        try:
            return cfunc(signature, cache=True, **how)(kernels.take_tasks)
        except (RuntimeError, OSError):  # no folder to write to, or one that is full
            return cfunc(signature, **how)(kernels.take_tasks)


def _tell(name: str, number: Any, found: Any) -> None:
    """Have other compiled code find what is compiled, by its name."""
    address = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
    add_symbol(words.symbol(name, number), address)


def _compile(function: Any, signature: Any) -> Any:
    try:
        function.compile(signature)
    except OSError:  # compiled, but the disk is too full to keep it; asking again says if not
        function.compile(signature)
    return function.overloads[signature]


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
