"""The command with the workers of a Dask cluster: two processes that read and write the files themselves."""

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from distributed import LocalCluster
from distributed.comm.core import CommClosedError

from gridgrad.app import job, stream
from gridgrad.app.files import open_source

from .commanding import call, done, refused

# What a cluster says when it starts and stops is not ours.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_results_are_those_of_this_process_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cut = job.Job.cut
    monkeypatch.setattr(job.Job, "cut", lambda self, limit, threads=1: cut(self, 3 << 14, threads))
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.uniform(0.5, 1.5, 96))
    samples = rng.normal(size=(80, 96)).astype("f4")
    field = xr.Dataset({"t": (("y", "x"), samples)}, {"x": x, "y": np.arange(80.0)})
    field.to_zarr("t.zarr", encoding={"t": {"chunks": (16, 24)}}, consolidated=False)
    options = ["--accuracy", 4, "--boundary", "y=periodic", "--period", "y=80"]
    done("gradient", "t.zarr", "here.zarr", *options)
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        for name in ("there.zarr", "there.nc"):
            far = ["--scheduler", cluster.scheduler_address]
            done("gradient", "t.zarr", name, *options, *far)
            found, wanted = (open_source(each).dataset.load() for each in (name, "here.zarr"))
            assert set(found.data_vars) == set(wanted.data_vars) == {"dt_dy", "dt_dx"}
            for each in wanted.data_vars:
                assert found[each].dtype == np.float32
                assert found[each].values.tobytes() == wanted[each].values.tobytes()

        def lost(*_):
            raise CommClosedError("the other end is gone")

        monkeypatch.setattr(stream, "by_cluster", lost)
        assert "was lost" in refused(call("gradient", "t.zarr", "lost.nc", *options, *far))
    assert sorted(os.listdir()) == ["here.zarr", "t.zarr", "there.nc", "there.zarr"]
    chunks = [path for path in Path("there.zarr/dt_dx/c").rglob("*") if path.is_file()]
    assert len(chunks) == 5 * 4
