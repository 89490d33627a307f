"""Memory of large results: used again when nobody holds it, never before."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

import gridgrad
from gridgrad.engines import recycling

N = 1 << 21  # samples: 8 MiB of float32

pytestmark = pytest.mark.skipif(
    not recycling._offered, reason="large memory is recycled on Linux alone"
)


@pytest.fixture(autouse=True)
def nothing_kept():
    gc.collect()
    recycling._kept.clear()
    yield
    recycling._kept.clear()


def address(x) -> int:
    return x.__array_interface__["data"][0]


def test_memory_that_nobody_holds_is_used_again():
    first = recycling.empty((N,), np.float32)
    where = address(first)
    del first
    assert address(recycling.empty((2, N // 2), np.float32)) == where


@pytest.mark.parametrize("hold", [lambda x: x[5:9], lambda x: memoryview(x), torch.from_numpy])
def test_memory_that_anybody_holds_is_not(hold):
    first = recycling.empty((N,), np.float32)
    first[:] = 7
    held = hold(first)
    del first
    recycling.empty((N,), np.float32)[:] = 1
    assert bool((np.asarray(held) == 7).all())


def test_results_that_are_held_keep_their_values():
    f = np.arange(N, dtype=np.float32) ** 2
    results = [gridgrad.gradient(f, spacing=h)[0] for h in (1.0, 2.0, 4.0)]
    expected = np.gradient(f)
    for h, result in zip((1.0, 2.0, 4.0), results, strict=True):
        assert np.array_equal(result * np.float32(h), expected)


def test_tensors_are_recycled_too():
    f = torch.arange(N, dtype=torch.float32)
    where = gridgrad.gradient(f)[0].data_ptr()
    assert gridgrad.gradient(f)[0].data_ptr() == where


def test_small_results_are_numpys_own():
    assert recycling.empty((1000,), np.float32).base is None


@pytest.mark.parametrize("shape", [(0,), (), (3, 0)])
def test_nothing_to_hold(shape):
    assert recycling.empty(shape, np.float64).shape == shape


def test_blocks_much_larger_than_needed_are_left():
    del_me = recycling.empty((8 * N,), np.float32)
    del del_me
    assert len(recycling._kept) == 1
    recycling.empty((N,), np.float32)
    assert len(recycling._kept) == 2


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(recycling, "_MOST", 5 * (8 << 20))
    held = [recycling.empty((N,), np.float32) for _ in range(10)]
    held.clear()
    assert 0 < sum(map(len, recycling._kept)) <= recycling._MOST


def test_too_much_is_a_memory_error():
    with pytest.raises(MemoryError, match="cannot allocate"):
        recycling.empty((1 << 55,), np.float64)


def test_a_child_keeps_nothing():
    program = (
        "import os; from gridgrad.engines import recycling as r; r.empty((1 << 21,), 'f4'); "
        "assert r._kept; child = os.fork(); child or os._exit(len(r._kept)); "
        "assert os.waitpid(child, 0)[1] == 0"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_threads_never_share_a_block():
    wrong = []

    def work(number: int) -> None:
        for _ in range(50):
            x = recycling.empty((N,), np.float32)
            x[::4096] = number
            y = recycling.empty((N,), np.float32)
            y[::4096] = -number
            if not (x[::4096] == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(k + 1,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_end_of_a_process_is_quiet():
    program = (
        "import numpy as np, gridgrad; x = gridgrad.gradient(np.ones((1 << 21,), np.float32)); "
        "y = gridgrad.gradient(np.ones((1 << 21,), np.float32)); del y"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


TAUGHT = """
import ctypes
import resource

if {taught}:
    from gridgrad.engines.recycling import keep_heap
    keep_heap()

c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
SIZE = 4 << 20


def step():
    blocks = [c.malloc(SIZE) for _ in range(4)]
    for block in blocks:
        ctypes.memset(block, 1, SIZE)
    for block in blocks:
        c.free(block)


for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_buffers_of_compiled_programs_went_back_to_the_system_at_every_step():
    """Most pages of four buffers were taken anew; the allocator, unless it is told what to do, can learn."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    found = []
    for taught in (False, True):
        command = [sys.executable, "-c", TAUGHT.format(taught=taught)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=own)
        found.append(int(done.stdout))
    if found[0] < 5_000:
        pytest.skip("this C library keeps memory by itself")
    assert found[1] < 500
