"""Dask arrays on a cluster: worker processes that pass each other faces, and one that dies at its work."""

import os
import signal
import time
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

import gridgrad

# A killed worker is a warning to the cluster; it says so, and goes on.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def client():
    """Two processes of one thread each."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        Client(cluster) as found,
    ):
        found.wait_for_workers(2, timeout=60)
        yield found


def compute(client, arrays):
    return client.gather(client.compute(arrays), errors="raise")


def same_bits(found, wanted):
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == np.ascontiguousarray(b).tobytes()


def test_results_are_those_in_memory(client):
    rng = np.random.default_rng(0)
    f = rng.standard_normal((24, 20, 18), dtype=np.float32)
    x = np.cumsum(rng.uniform(0.5, 1.5, 24))
    for chunks in ((6, 20, 18), (1, 20, 18), (7, 6, 9)):
        lazy = da.from_array(f, chunks=chunks)
        for how in (
            {},
            {"spacing": (x, np.float64(0.1), 2), "boundary": (0.5, "periodic", "reflect")},
        ):
            same_bits(compute(client, gridgrad.gradient(lazy, **how)), gridgrad.gradient(f, **how))
        found = compute(client, [gridgrad.laplacian(lazy, spacing=(x, 1, 1), accuracy=4)])
        same_bits(found, [gridgrad.laplacian(f, spacing=(x, 1, 1), accuracy=4)])


def test_long_coordinates_reach_the_workers(client):
    rng = np.random.default_rng(1)
    x, f = np.cumsum(rng.uniform(0.5, 1.5, 20_000)), rng.standard_normal(20_000)
    lazy = gridgrad.gradient(da.from_array(f, chunks=6_000), spacing=da.from_array(x, chunks=999))
    same_bits(compute(client, lazy), gridgrad.gradient(f, spacing=x))


def test_persisted_blocks_stay_on_the_cluster(client):
    f = np.random.default_rng(2).standard_normal((16, 9))
    kept = client.persist(da.from_array(f, chunks=(3, 9)))
    same_bits(compute(client, gridgrad.hessian(kept)[0]), gridgrad.hessian(f)[0])


def test_a_worker_killed_at_its_work_changes_nothing(client, tmp_path):
    """What it held is made again by the other; the results are the same bits."""
    count = 60

    def block(folder, block_info=None):
        """Samples that depend on nothing but their place, and a sign that they were made."""
        place = block_info[None]["chunk-location"][0]
        time.sleep(0.05)
        Path(folder, f"{place}-{time.monotonic_ns()}").touch()
        return np.random.default_rng(place).standard_normal((5, 40))

    f = da.map_blocks(
        block, str(tmp_path), chunks=((5,) * count, (40,)), dtype=float, meta=np.empty((0, 0))
    )
    blocks = [np.random.default_rng(k).standard_normal((5, 40)) for k in range(count)]
    wanted = gridgrad.gradient(np.concatenate(blocks), boundary="periodic")
    for each in tmp_path.iterdir():
        each.unlink()
    pids = set(client.run(os.getpid).values())
    futures = client.compute(gridgrad.gradient(f, boundary="periodic"))
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < count // 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(min(pids), signal.SIGKILL)
    made = len(list(tmp_path.iterdir()))
    assert count // 3 <= made < count, "it was killed too early or too late"
    same_bits(client.gather(futures), wanted)
    assert len(list(tmp_path.iterdir())) > count, "no block had to be made again"
    client.wait_for_workers(2, timeout=60)
    assert set(client.run(os.getpid).values()) != pids
