"""Memory for large results, which goes from results that nobody holds any more to new ones.

The first write to a page of fresh memory has the system find it and fill it with zeros, which takes longer
than a derivative does. So memory that comes back is kept for the next result of about the same size, but
marked as free (MADV_FREE): the system takes it whenever it needs some.
"""

import mmap
import os
import sys
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

# Below this NumPy's own allocation is cheap, above it memory is on large pages, of so many bytes.
LARGE = 1 << 22
_PAGE = 1 << 21
# Just below the largest block (32 MiB) by which the GNU allocator learns.
_BLOCK = (1 << 25) - (1 << 16)

_kept: deque[mmap.mmap] = deque()


def _most() -> int:
    """Bytes to keep: an eighth of this machine's memory, or of its container's."""
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with open("/sys/fs/cgroup/memory.max") as file:
            limit = file.read().strip()
        most = min(most, int(limit)) if limit.isdecimal() else most
    except OSError:
        pass
    return most // 8


_offered = sys.platform == "linux" and hasattr(mmap, "MADV_FREE") and hasattr(mmap, "MADV_HUGEPAGE")
_MOST = _most() if _offered else 0


def _allowed() -> int:
    """Bytes to keep now: of a Dask worker's own limit an eighth too, since it counts them as in use."""
    worker = sys.modules.get("distributed.worker")
    if worker is None:
        return _MOST
    limits = [each.memory_manager.memory_limit for each in tuple(worker.Worker._instances)]
    return min([_MOST, *(int(limit) // 8 for limit in limits if limit)])


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """`numpy.empty`, on large pages where it is large, and where possible in memory used before."""
    dtype = np.dtype(dtype)
    count = 1
    for n in shape:
        count *= n
    if not _offered or count * dtype.itemsize < LARGE:
        return np.empty(shape, dtype)
    size = -(-count * dtype.itemsize // _PAGE) * _PAGE
    block = _take(size) or _fresh(size, count * dtype.itemsize)
    whole = np.frombuffer(block, np.uint8)
    weakref.finalize(whole, _give_back, block).atexit = False
    first = _first(whole)
    # NumPy makes `whole` the base of every view, so that it lives as long as any of them.
    return whole[first : first + count * dtype.itemsize].view(dtype).reshape(shape)


def maker(size: int) -> Callable[..., Any]:
    """What makes arrays of so many bytes as `empty` does, which for small ones is NumPy's own."""
    return np.empty if not _offered or size < LARGE else empty


def _fresh(size: int, used: int) -> mmap.mmap:
    """A new block for so many bytes, of which so many are used."""
    try:
        block = mmap.mmap(-1, size + _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"cannot allocate {used} bytes.") from error
    with suppress(OSError):  # a system without large pages
        # Not for what is left over: the last page would be resident as a whole.
        block.madvise(
            mmap.MADV_HUGEPAGE, _first(np.frombuffer(block, np.uint8)), used // _PAGE * _PAGE
        )
    return block


def _first(whole: Any) -> int:
    """Where the first large page begins."""
    return int(-whole.__array_interface__["data"][0] % _PAGE)


def _take(size: int) -> mmap.mmap | None:
    """A kept block that holds so many bytes, and not many more."""
    for _ in range(len(_kept)):
        try:
            block = _kept.pop()  # a deque's ends need no lock
        except IndexError:
            break
        if size + _PAGE <= len(block) <= size * 5 // 4 + _PAGE:
            return block
        _kept.appendleft(block)
    return None


def _give_back(block: mmap.mmap) -> None:
    # Called when its array is collected, in any thread at any time: no locks, no errors.
    try:
        block.madvise(mmap.MADV_FREE)
    except OSError:
        return
    _kept.append(block)
    try:
        most = _allowed()
    except Exception:  # a worker that is not yet, or no longer, whole
        most = _MOST
    while sum(map(len, tuple(_kept))) > most:
        try:
            _kept.popleft()
        except IndexError:
            return


def forget() -> None:
    """Give all kept memory back to the system."""
    _kept.clear()


if hasattr(os, "register_at_fork"):
    # A child's first write to a kept page would copy it.
    os.register_at_fork(after_in_child=forget)


def keep_heap() -> None:
    """Have memory that others' small and middle-sized results give back stay with the process, up to 64 MiB.

    The GNU allocator gives the end of its heap back to the system beyond twice the size of the largest block
    that it ever took by itself and was given back, and a program that runs again and again then takes each
    page of its buffers anew, which costs more than what it does with them. So that is such a block, of which
    no page is touched. Settings of the allocator's own are left alone by it.
    """
    if _offered:
        np.empty(_BLOCK, np.uint8)
