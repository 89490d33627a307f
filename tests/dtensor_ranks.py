"""What each rank of `test_dtensor` does: `python dtensor_ranks.py FOLDER`.

PyTorch is imported once; the ranks of a group of 2 and of one of 4 are forked from that. Each writes what it
found to FOLDER, check by check. Samples are made from one seed, so that every rank knows the whole.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
import warnings
from datetime import timedelta
from pathlib import Path

warnings.simplefilter("error")

import numpy as np
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode

import gridgrad

REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
COMPLEX = (torch.complex64, torch.complex128)
INTEGER = (torch.uint8, torch.int32, torch.int64)


class Counted:
    """Bytes that this rank sends and receives inside, and other communication, of which there is none."""

    def __enter__(self):
        self.sent = self.received = 0
        self.others = CommDebugMode()
        self._real = distributed.batch_isend_irecv

        def counting(orders):
            for each in orders:
                size = each.tensor.numel() * each.tensor.itemsize
                if each.op is distributed.isend:
                    self.sent += size
                else:
                    self.received += size
            return self._real(orders)

        distributed.batch_isend_irecv = counting
        self.others.__enter__()
        return self

    def __exit__(self, *error):
        self.others.__exit__(*error)
        distributed.batch_isend_irecv = self._real
        if error[0] is None:
            assert self.others.get_total_counts() == 0, self.others.get_comm_counts()


def spread(x, mesh, placements):
    """A whole tensor, known to every rank, as a DTensor; nothing is sent."""
    return distribute_tensor(x, mesh, placements, src_data_rank=None)


def assert_same(found, wanted):
    """This rank's part of a DTensor has the bits of its part of the whole."""
    assert isinstance(found, DTensor)
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    mine = found.detach().to_local()
    part = spread(wanted.detach(), found.device_mesh, found.placements).to_local()
    assert mine.shape == part.shape
    same = mine.contiguous().view(torch.uint8) == part.contiguous().view(torch.uint8)
    if not same.all():
        at = tuple(torch.nonzero(mine != part)[:1].ravel().tolist())
        where = f"at {at} {mine[at]} but {part[at]}" if at else "the sign of zero"
        raise AssertionError(f"not the same bits: {where}")


def refused(kind, words, call):
    try:
        call()
    except kind as error:
        assert words in str(error), str(error)
        assert str(error).endswith("."), str(error)
    else:
        raise AssertionError(f"not refused: {words}")


# How a NaN spreads, which says what is read.


def reads(call, n, backward):
    """For each result of `call` on a line, the samples that it reads, itself among them."""
    x = torch.zeros(n, n, dtype=torch.float64)
    marked = x.clone().fill_diagonal_(torch.nan)
    if backward:
        x.requires_grad_()
        (found,) = torch.autograd.grad(call(x), x, marked)
    else:
        found = call(marked)
    return [{i, *torch.nonzero(found[i].isnan()).ravel().tolist()} for i in range(n)]


def halo_rows(call, n, first, last, backward, periodic):
    """How many rows beyond its own the shard [first, last) of n samples reads."""
    if first == last or (first, last) == (0, n):
        return 0
    places = set()
    for i, samples in list(enumerate(reads(call, n, backward)))[first:last]:
        for j in samples:
            places.add(i + (j - i + n // 2) % n - n // 2 if periodic else j)
    return max(max(places), last - 1) - min(*places, first) + 1 - (last - first)


class Case:
    """One operator on samples of one shape, dtype and layout, chosen at random."""

    def __init__(self, choose, meshes):
        self.mesh = choose.choice(meshes)
        ndim = choose.randint(1, 3)
        self.dims = sorted(choose.sample(range(ndim), choose.randint(1, ndim)))
        self.shape = [choose.choice((1, 2, 3, 4, 5, 7, 9, 12, 17)) for _ in range(ndim)]
        for dim in self.dims:
            self.shape[dim] = choose.choice((3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 22))
        places = choose.sample(range(ndim), min(ndim, self.mesh.ndim)) + [None] * self.mesh.ndim
        places = places[: self.mesh.ndim]
        choose.shuffle(places)
        self.placements = [
            Replicate() if dim is None or choose.random() < 0.2 else Shard(dim) for dim in places
        ]
        self.name = choose.choice(("gradient", "laplacian", "divergence", "derivative"))
        if self.name == "derivative":
            self.dims = [choose.choice(self.dims)]
        self.order = {"laplacian": 2, "derivative": choose.randint(1, 4)}.get(self.name, 1)
        self.dtype = choose.choice((*REAL, *REAL, *COMPLEX, *INTEGER))
        kinds = (
            "one-sided", "one-sided", "periodic", "reflect", "replicate", ("reflect", 0.5), 0.0, 1.5,
        )  # fmt: skip
        self.boundary = choose.choice(kinds)
        is_uneven = choose.random() < 0.4
        self.accuracy = choose.choice((1, 2, 3, 4) if is_uneven else (2, 2, 4, 6))
        self.edge_order = choose.choice((1, 2, 3, None))
        noise = np.random.default_rng(choose.randrange(1 << 30))
        self.spacing = [
            np.cumsum(noise.uniform(0.5, 1.5, self.shape[dim])) if is_uneven
            else choose.choice((1.0, 0.1, 3.0))
            for dim in self.dims
        ]  # fmt: skip
        count = len(self.dims) if self.name == "divergence" else 1
        self.inputs = [self._samples(noise, self.dtype) for _ in range(count)]
        self.noise = noise

    def __repr__(self):
        shown = {k: v for k, v in vars(self).items() if k not in ("inputs", "noise")}
        return f"{shown}"

    def _samples(self, noise, dtype):
        found = noise.standard_normal(self.shape) * 50
        if dtype.is_complex:
            found = found + 1j * noise.standard_normal(self.shape)
        found = torch.from_numpy(found)
        return (found.abs() if dtype in INTEGER else found).to(dtype)

    def how(self, spacing):
        found = {
            "accuracy": self.accuracy, "edge_order": self.edge_order, "boundary": self.boundary,
        }  # fmt: skip
        if self.boundary == "periodic":
            found["period"] = [float(x[-1]) if np.ndim(x) else None for x in spacing]
        return found

    def call(self, *inputs):
        """The operator's results."""
        how = {"spacing": list(self.spacing), **self.how(self.spacing)}
        if isinstance(self.boundary, tuple):
            how["boundary"] = [self.boundary] * len(self.dims)
        if self.name == "derivative":
            return (gridgrad.derivative(inputs[0], dim=self.dims[0], order=self.order, **how),)
        if self.name == "divergence":
            return (gridgrad.divergence(inputs, dim=self.dims, **how),)
        if self.name == "laplacian":
            return (gridgrad.laplacian(inputs[0], dim=self.dims, **how),)
        return gridgrad.gradient(inputs[0], dim=self.dims, **how)

    def along(self, k):
        """What is done along the k-th differentiated dim, on lines."""
        how = self.how([self.spacing[k]])
        if self.name == "gradient":
            if self.edge_order is None and self.accuracy == 2:
                how["edge_order"] = 1
        return lambda x: gridgrad.derivative(
            x, dim=0, order=self.order, spacing=[self.spacing[k]], **how
        )

    def bytes(self, backward, itemsize):
        """What this rank needs from others: rows of each pair of an input and a dim."""
        total, place = 0, self.mesh.get_coordinate()
        part = spread(self.inputs[0], self.mesh, self.placements).to_local().shape
        for k, dim in enumerate(self.dims):
            for axis, each in enumerate(self.placements):
                if each.is_shard(dim):
                    n, count = self.shape[dim], self.mesh.size(axis)
                    size = -(-n // count)
                    first, last = (min(n, (place[axis] + j) * size) for j in (0, 1))
                    rows = halo_rows(
                        self.along(k), n, first, last, backward, self.boundary == "periodic"
                    )
                    total += rows * (part.numel() // max(1, part[dim])) * itemsize
        return total

    def run(self, counts):
        try:
            wanted = self.call(*self.inputs)
        except gridgrad.GridError as error:
            spread_out = [spread(x, self.mesh, self.placements) for x in self.inputs]
            refused(type(error), str(error), lambda: self.call(*spread_out))
            return False
        follows = self.dtype not in INTEGER
        whole = [x.clone().requires_grad_(follows) for x in self.inputs]
        parts = [
            spread(x, self.mesh, self.placements).requires_grad_(follows) for x in self.inputs
        ]
        with Counted() as counted:
            found = self.call(*parts)
        for a, b in zip(found, wanted, strict=True):
            assert list(a.placements) == self.placements
            assert_same(a, b)
        assert counted.received == self.bytes(False, self.inputs[0].itemsize)
        counts.append((counted.sent, counted.received))
        if follows:
            wanted = self.call(*whole)
            given = [self._samples(self.noise, x.dtype) for x in wanted]
            wanted = torch.autograd.grad(wanted, whole, given)
            spread_out = [spread(x, self.mesh, self.placements) for x in given]
            with Counted() as counted:
                found = torch.autograd.grad(found, parts, spread_out)
            for a, b in zip(found, wanted, strict=True):
                assert list(a.placements) == self.placements
                assert_same(a, b)
            assert counted.received == self.bytes(True, given[0].itemsize)
            counts.append((counted.sent, counted.received))
        return True


def check_generated(meshes):
    """Operators, forwards and backwards: the bits of the whole, and no byte more than the halos'."""
    choose, counts, done = random.Random(1), [], 0
    for _ in range(400):
        case = Case(choose, meshes)
        try:
            done += case.run(counts)
        except Exception as error:
            raise AssertionError(f"{case!r}: {error}") from error
    assert done > 250, done
    return counts


CHECKS = [check_generated]


def rank_of(count, rank, folder):
    """All checks on one rank."""
    torch.set_num_threads(1)
    found = {}
    try:
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/store-{count}", rank=rank, world_size=count,
            timeout=timedelta(seconds=60),
        )  # fmt: skip
        meshes = [init_device_mesh("cpu", shape) for shape in ({2: [(2,), (1, 2)], 4: [(4,), (2, 2)]}[count])]
        for check in CHECKS:
            found[check.__name__] = "not finished"
            start = time.process_time()
            found[check.__name__] = {"counts": check(meshes), "seconds": time.process_time() - start}
        distributed.destroy_process_group()
    except BaseException:
        found[check.__name__] = traceback.format_exc()
    Path(folder, f"{count}-{rank}.json").write_text(json.dumps(found))
    # At once: after a failure, others may wait for this rank, and PyTorch for them.
    os._exit(0)


def main(folder):
    for count in (2, 4):
        children = []
        for rank in range(count):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads
                child = os.fork()
            if not child:
                rank_of(count, rank, folder)
            children.append(child)
        # One that fails leaves others waiting.
        deadline = time.monotonic() + 240
        while children:
            child, _ = os.waitpid(-1, os.WNOHANG)
            if child:
                children.remove(child)
                mine = Path(folder)
                failed = any('"not finished"' in p.read_text() or "Traceback" in p.read_text() for p in mine.glob(f"{count}-*.json"))
                if failed:
                    deadline = min(deadline, time.monotonic() + 5)
            elif time.monotonic() > deadline:
                for each in children:
                    os.kill(each, signal.SIGKILL)
                deadline = float("inf")
            else:
                time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1])
