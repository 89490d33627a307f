"""What each rank of `test_dtensor` does: `python -W error dtensor_ranks.py FOLDER`.

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
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.placement_types import _StridedShard

import gridgrad

REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
COMPLEX = (torch.complex64, torch.complex128)
INTEGER = (torch.uint8, torch.int32, torch.int64)


class Counted:
    """Bytes that this rank sends and receives inside.

    If `watched`, other communication too, of which there is none. PyTorch's watch is a mode, under which all
    is computed in operations that it sees, and rounded as these round.
    """

    def __init__(self, watched=False):
        self.watched = watched

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
        if self.watched:
            self.others.__enter__()
        return self

    def __exit__(self, *error):
        if self.watched:
            self.others.__exit__(*error)
        distributed.batch_isend_irecv = self._real
        if self.watched and error[0] is None:
            assert self.others.get_total_counts() == 0, self.others.get_comm_counts()


def spread(x, mesh, placements):
    """A whole tensor, known to every rank, as a DTensor; nothing is sent."""
    return distribute_tensor(x, mesh, placements, src_data_rank=None)


def laid(x, order):
    """The same tensor with its dims in another order in memory."""
    return x.permute(order).contiguous().permute([order.index(dim) for dim in range(x.ndim)])


def as_bytes(x):
    return x.contiguous().reshape(-1).view(torch.uint8)


def assert_same(found, wanted):
    """This rank's part of a DTensor has the bits of its part of the whole."""
    assert isinstance(found, DTensor)
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    mine = found.detach().to_local()
    part = spread(wanted.detach(), found.device_mesh, found.placements).to_local()
    assert mine.shape == part.shape
    same = as_bytes(mine) == as_bytes(part)
    if not same.all():
        at = tuple(torch.nonzero(mine != part)[:1].ravel().tolist())
        where = f"at {at} {mine[at]} but {part[at]}" if at else "the sign of zero"
        raise AssertionError(f"not the same bits: {where}")


def refused(kind, words, call):
    with pytest.raises(kind) as found:
        call()
    assert words in str(found.value)
    assert str(found.value).endswith(".")


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


def halo_rows(calls, n, first, last, backward, periodic):
    """How many rows beyond its own the shard [first, last) of n samples reads."""
    if first == last or (first, last) == (0, n):
        return 0
    places = set()
    for call in calls:
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
        self.memory = choose.sample(range(ndim), ndim)
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
        return laid((found.abs() if dtype in INTEGER else found).to(dtype), self.memory)

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

    def along(self, k, mirrored):
        """What is done along the k-th differentiated dim, on lines."""
        orders = [self.order]
        if mirrored and self.order % 2:
            # What a mirrored pair reads cancels out, but not in the next order, of no less reach.
            orders.append(self.order + 1)
        how = self.how([self.spacing[k]])
        if self.name == "gradient" and self.edge_order is None and self.accuracy == 2:
            how["edge_order"] = 1
        return [
            partial(gridgrad.derivative, dim=0, order=order, spacing=[self.spacing[k]], **how)
            for order in orders
        ]

    def bytes(self, backward, itemsize, mirrored=False):
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
                        self.along(k, mirrored),
                        n,
                        first,
                        last,
                        backward,
                        self.boundary == "periodic",
                    )
                    total += rows * (part.numel() // max(1, part[dim])) * itemsize
        return total

    def check(self, counted, backward, itemsize):
        least = most = self.bytes(backward, itemsize)
        if "reflect" in (self.boundary if isinstance(self.boundary, tuple) else [self.boundary]):
            # Weights of mirrored pairs may add up to 0, of samples that are borrowed nevertheless.
            is_uneven = any(map(np.ndim, self.spacing))
            most = 1 << 30 if is_uneven else self.bytes(backward, itemsize, mirrored=True)
        assert least <= counted.received <= most, (least, counted.received, most)

    def run(self, counts):
        try:
            wanted = self.call(*self.inputs)
        except gridgrad.GridError as error:
            spread_out = [spread(x, self.mesh, self.placements) for x in self.inputs]
            refused(type(error), str(error), lambda: self.call(*spread_out))
            return False
        follows = self.dtype not in INTEGER
        whole = [x.clone().requires_grad_(follows) for x in self.inputs]
        parts = [spread(x, self.mesh, self.placements).requires_grad_(follows) for x in self.inputs]
        with Counted() as counted:
            found = self.call(*parts)
        for a, b in zip(found, wanted, strict=True):
            assert list(a.placements) == self.placements
            assert_same(a, b)
        self.check(counted, False, self.inputs[0].itemsize)
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
            self.check(counted, True, given[0].itemsize)
            counts.append((counted.sent, counted.received))
        return True


def check_generated(meshes):
    """Operators, forwards and backwards: the bits of the whole, and no byte more than the halos'."""
    choose, counts, done = random.Random(1), [], 0
    for _ in range(70):
        case = Case(choose, meshes)
        try:
            done += case.run(counts)
        except Exception as error:
            raise AssertionError(f"{case!r}: {error}") from error
    assert done > 45, done
    return counts


def line(n, dtype=torch.float64, seed=0):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )


def check_nothing_is_sent_along_other_dims(meshes):
    """Not a byte where no differentiated dim is sharded, forwards or backwards."""
    x = line(720).reshape(8, 9, 10)
    for mesh in meshes:
        for placements in (
            [Shard(0)],
            [Replicate()],
            [Shard(2), Replicate()],
            [Shard(0), Shard(2)],
        ):
            placements = [*placements, Replicate()][: mesh.ndim]
            part = spread(x, mesh, placements).requires_grad_()
            whole = x.clone().requires_grad_()
            with Counted() as counted:
                found = gridgrad.derivative(part, dim=1, accuracy=6)
                (grad,) = torch.autograd.grad(found, part, found.detach())
            assert (counted.sent, counted.received) == (0, 0)
            with Counted(watched=True):
                torch.autograd.grad(
                    gridgrad.derivative(part, dim=1, accuracy=6), part, found.detach()
                )
            wanted = gridgrad.derivative(whole, dim=1, accuracy=6)
            assert_same(found, wanted)
            assert_same(grad, torch.autograd.grad(wanted, whole, wanted.detach())[0])


def check_known_bytes(meshes):
    """A gradient of (64, 10) float32 by rows: 10 samples from each neighbour, both ways."""
    mesh = meshes[0]
    rank, count = mesh.get_local_rank(), mesh.size()
    x = line(640, torch.float32).reshape(64, 10)
    part = spread(x, mesh, [Shard(0)]).requires_grad_()
    for boundary in ("one-sided", "periodic"):
        with Counted(watched=True):
            gridgrad.gradient(part, boundary=boundary)
        with Counted() as counted:
            found = gridgrad.gradient(part, boundary=boundary)
        neighbours = 2 if boundary == "periodic" or 0 < rank < count - 1 else 1
        assert counted.sent == counted.received == neighbours * 10 * 4
        with Counted() as counted:
            torch.autograd.grad(found, part, [each.detach() for each in found])
        assert counted.sent == counted.received == neighbours * 10 * 4
        with Counted() as counted:
            gridgrad.hessian(part.detach(), boundary=boundary)
        assert counted.sent > 0


def check_long_coordinates(meshes):
    """Lines for which the engine makes weights from the coordinates, and many, for which it does not."""
    mesh, x = meshes[0], line(20_000).abs().add(0.1).cumsum(0)
    everywhere = DTensor.from_local(x, mesh, run_check=False)
    for shape, dim in (((20_000, 1), 0), ((3, 20_000), 1), ((20_000, 18), 0), ((18, 20_000), 1)):
        f = line(shape[0] * shape[1], seed=1).reshape(shape)
        for samples in (f, f.T.contiguous().T):
            part = spread(samples, mesh, [Shard(dim)]).requires_grad_()
            whole = samples.clone().requires_grad_()
            for theirs, ours in ((x.numpy(), x.numpy()), (x, x), (everywhere, x)):
                found = gridgrad.derivative(part, spacing=theirs, dim=dim, edge_order=1)
                wanted = gridgrad.derivative(whole, spacing=ours, dim=dim, edge_order=1)
                assert_same(found, wanted)
            (grad,) = torch.autograd.grad(found, part, found.detach())
            assert_same(grad, torch.autograd.grad(wanted, whole, wanted.detach())[0])


def check_derivatives_of_derivatives(meshes):
    """A loss as users write it, and double backward. (PyTorch has no forward mode for DTensors.)"""
    mesh = meshes[0]
    x, direction = line(60).reshape(12, 5), line(60, seed=1).reshape(12, 5)

    def energy(f):
        return sum((each**2).sum() for each in gridgrad.gradient(f, accuracy=4))

    part = spread(x, mesh, [Shard(0)]).requires_grad_()
    whole = x.clone().requires_grad_()
    grads = []
    for f, v in ((part, spread(direction, mesh, [Shard(0)])), (whole, direction)):
        (first,) = torch.autograd.grad(energy(f), f, create_graph=True)
        (second,) = torch.autograd.grad((first * v).sum(), f)
        grads += [first, second]
    assert_same(grads[0], grads[2])
    assert_same(grads[1], grads[3])


def check_gradients_that_lie_otherwise(meshes):
    """An incoming gradient is first laid as the result is; that of the input lies as the input."""
    mesh = meshes[0]
    x, given = line(45).reshape(9, 5), line(45, seed=1).reshape(9, 5)
    whole = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(gridgrad.laplacian(whole), whole, given)
    rank = mesh.get_local_rank()
    partial = DTensor.from_local(
        given if rank == 0 else torch.zeros_like(given), mesh, [Partial()], run_check=False
    )
    for arrived in (*(spread(given, mesh, [each]) for each in (Replicate(), Shard(1))), partial):
        part = spread(x, mesh, [Shard(0)]).requires_grad_()
        (found,) = torch.autograd.grad(gridgrad.laplacian(part), part, arrived)
        assert list(found.placements) == [Shard(0)]
        assert_same(found, wanted)


def check_transforms(meshes):
    """`torch.func` exchanges what a backward pass does, and gathers nothing; batches, too."""
    mesh, x = meshes[0], line(16 * 6).reshape(16, 6)
    part = spread(x, mesh, [Shard(0)])

    def energy(f):
        return sum((each**2).sum() for each in gridgrad.gradient(f, accuracy=4))

    def pulled(f):
        found, back = torch.func.vjp(partial(gridgrad.laplacian, spacing=0.1), f)
        return back(found)[0]

    def lines(f):
        return torch.func.vmap(gridgrad.derivative, in_dims=1, out_dims=1)(f)

    for function in (torch.func.grad(energy), pulled, lines):
        with Counted() as counted, CommDebugMode() as others:
            found = function(part)
        assert counted.sent > 0
        assert not any("gather" in str(each) for each in others.get_comm_counts())
        assert list(found.placements) == [Shard(0)]
        with torch.no_grad():
            assert_same(function(part), function(x))


def check_transforms_of_several(meshes):
    """A component that a transform holds beside one that it does not, and what is Partial."""
    mesh, x = meshes[0], line(16 * 6).reshape(16, 6)
    part, whole = spread(x, mesh, [Shard(0)]), x

    def loss(u, v):
        return gridgrad.divergence((u, v)).square().sum()

    with torch.no_grad():
        for k in (0, 1):
            found, want = (torch.func.grad(loss, k)(f, 2 * f) for f in (part, whole))
            assert_same(found, want)
    rank = mesh.get_local_rank()
    summed = DTensor.from_local(
        x if rank == 0 else torch.zeros_like(x), mesh, [Partial()], run_check=False
    )
    found, want = (
        torch.func.vmap(partial(gridgrad.derivative, boundary=3.0), in_dims=1)(f)
        for f in (summed, whole)
    )
    torch.testing.assert_close(found.full_tensor(), want)
    refused(
        gridgrad.errors.GridTypeError,
        "must all be DTensors",
        lambda: torch.func.grad(loss)(part, x),
    )
    everywhere = DTensor.from_local(line(16).exp().cumsum(0), mesh, run_check=False)
    slope = partial(gridgrad.derivative, dim=0, spacing=everywhere)
    with torch.no_grad():
        found = torch.func.vjp(slope, part)[1](part)[0]
        want = torch.func.vjp(partial(slope, spacing=everywhere.to_local()), x)[1](x)[0]
    assert_same(found, want)
    refused(
        gridgrad.GridError, "not offered for DTensors",
        lambda: torch.func.grad(lambda f: slope(f, spacing=1j).abs().sum())(part),
    )  # fmt: skip


def check_modes(meshes):
    """Of no values, and of no graph."""
    mesh, x = meshes[0], line(48).reshape(8, 6)
    part = spread(x, mesh, [Shard(0)])
    with torch.inference_mode():
        assert_same(gridgrad.derivative(part, dim=0), gridgrad.derivative(x, dim=0))
    with FakeTensorMode():
        rows = torch.empty(8 // mesh.size(), 6)
        found = gridgrad.derivative(
            DTensor.from_local(rows, mesh, [Shard(0)], run_check=False), dim=0
        )
        assert found.shape == (8, 6)


def check_hessians(meshes):
    """Both of its passes are run as the whole is, by one engine."""
    for dtype in (torch.float64, torch.complex128):
        x = line(9 * 16, dtype).reshape(9, 16)
        for dim in (0, 1):
            part = spread(x, meshes[0], [Shard(dim)])
            how = {"boundary": [1.5, "replicate"], "accuracy": 4}
            found, want = (sum(gridgrad.hessian(f, **how), ()) for f in (part, x))
            for a, b in zip(found, want, strict=True):
                assert_same(a, b)


def check_compiled_code(meshes):
    """A compiled function is cut at a call on DTensors, which exchanges rows as in eager code."""
    mesh = meshes[0]
    compiled = torch.compile(lambda f: gridgrad.derivative(f, dim=0), backend="eager")
    for n in (7, 8):  # the first rank's shard is of one size
        x = line(6 * n).reshape(n, 6)
        with Counted() as counted:
            found = compiled(spread(x, mesh, [Shard(0)]))
        assert list(found.placements) == [Shard(0)]
        assert counted.sent > 0
        assert_same(found, gridgrad.derivative(x, dim=0))
    whole = torch.compile(gridgrad.laplacian, backend="eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="exchanges rows of DTensors itself"):
        whole(spread(x, mesh, [Shard(0)]))
    torch._dynamo.reset()


def check_zeros_have_the_same_sign(meshes):
    """Of nothing that is summed up, at a mirrored edge, too."""
    for shape in ((10, 6, 10), (10, 3, 10), (10, 1, 10)):
        x = torch.zeros(shape)
        how = {"dim": 0, "boundary": "reflect", "spacing": -0.5}
        part = spread(x, meshes[0], [Shard(1)])
        assert_same(gridgrad.derivative(part, **how), gridgrad.derivative(x, **how))


def check_ranks_in_any_order(meshes):
    """A neighbour is who holds the rows beside, whatever its rank."""
    mesh = DeviceMesh("cpu", list(reversed(range(distributed.get_world_size()))))
    place, count, x = mesh.get_coordinate()[0], mesh.size(), line(48).reshape(8, 6)
    rows = 8 // count
    part = DTensor.from_local(
        x[place * rows : (place + 1) * rows], mesh, [Shard(0)], run_check=False
    )
    found = gridgrad.derivative(part, dim=0).to_local()
    wanted = gridgrad.derivative(x, dim=0)[place * rows : (place + 1) * rows]
    assert torch.equal(found, wanted)


def check_no_values(meshes):
    """Shapes alone are sent to nobody."""
    mesh = meshes[0]
    x = torch.empty(8 // mesh.size(), 6, device="meta")
    part = DTensor.from_local(x, mesh, [Shard(0)], run_check=False)
    found = gridgrad.derivative(part, dim=0)
    assert found.shape == (8, 6)
    assert found.to_local().is_meta


def check_mixed_dtypes(meshes):
    """Components of different dtypes go into one letter; the gradient of a real one is real."""
    mesh = meshes[0]
    parts, wholes = [], []
    for k, dtype in enumerate((torch.float32, torch.complex128)):
        f = line(77, dtype, k).reshape(11, 7)
        parts.append(spread(f, mesh, [Shard(0)]))
        wholes.append(f)
    for each in (*parts, *wholes):
        each.requires_grad_()
    found, wanted = gridgrad.divergence(parts), gridgrad.divergence(wholes)
    assert_same(found, wanted)
    found = torch.autograd.grad(found, parts, found.detach())
    for a, b in zip(found, torch.autograd.grad(wanted, wholes, wanted.detach()), strict=True):
        assert_same(a, b)


def check_refusals(meshes):
    """What is not offered is refused in one sentence, by every rank alike."""
    mesh, square = meshes[0], meshes[1]
    x = line(48).reshape(8, 6)
    part = spread(x, mesh, [Shard(0)])
    grid, kinds = gridgrad.GridError, gridgrad.errors.GridTypeError
    summed = DTensor.from_local(x, mesh, [Partial()], run_check=False)
    refused(grid, "input must not be a DTensor that is Partial", lambda: gridgrad.gradient(summed))

    def both(*components):
        return lambda: gridgrad.divergence(components)

    refused(kinds, "components[1] must be a DTensor", both(part, x))
    refused(kinds, "components[1] must be an array of the same library", both(x, part))
    refused(grid, "components[1] must lie on its ranks", both(part, spread(x, mesh, [Shard(1)])))
    refused(kinds, "out is not offered", lambda: gridgrad.derivative(part, out=part))
    steps = torch.ones(6, dtype=torch.float64, requires_grad=True).cumsum(0)
    refused(grid, "requires a gradient", lambda: gridgrad.derivative(part, dim=1, spacing=(steps,)))
    cut = spread(steps.detach(), mesh, [Shard(0)])
    refused(
        grid, "spacing for dim 1 must be a plain", lambda: gridgrad.derivative(part, spacing=(cut,))
    )
    follows = part.clone().requires_grad_()
    refused(grid, "complex spacing", lambda: gridgrad.derivative(follows, spacing=1j))
    assert_same(
        gridgrad.derivative(part, dim=0, spacing=1j), gridgrad.derivative(x, dim=0, spacing=1j)
    )
    odd = DTensor.from_local(
        x[: 3 if mesh.get_local_rank() else 5], mesh, [Shard(0)], run_check=False, shape=x.shape,
        stride=x.stride(),
    )  # fmt: skip
    refused(grid, "cut as torch.chunk cuts", lambda: gridgrad.derivative(odd, dim=0))
    loss = gridgrad.derivative(follows, dim=0)
    pulled = partial(torch.autograd.grad, loss, follows)
    refused(kinds, "must be DTensors", lambda: pulled(torch.ones(8, 6)))
    many = spread(x.expand(2, 8, 6), mesh, [Shard(1)])
    refused(kinds, "must be DTensors", lambda: pulled(many, is_grads_batched=True))
    for call in (gridgrad.jacobian, gridgrad.divergence):
        stack = spread(line(24).reshape(2, 3, 4), mesh, [Shard(0)])
        refused(grid, "sharded along the dim that counts them", partial(call, stack))
    if square.size(0) > 1:
        strided = spread(
            line(18).reshape(3, 6), square, [_StridedShard(0, split_factor=2), Shard(0)]
        )
        refused(grid, "sharded at most once", lambda: gridgrad.derivative(strided, dim=0))
        twice = spread(x, square, [Shard(0), Shard(0)])
        refused(grid, "sharded at most once", lambda: gridgrad.derivative(twice, dim=0))
        assert_same(gridgrad.derivative(twice, dim=1), gridgrad.derivative(x, dim=1))


def check_ranks_beside_the_mesh(meshes):
    """Ranks that hold nothing take part in nothing."""
    ranks = list(range(1, distributed.get_world_size()))
    mesh = DeviceMesh("cpu", ranks)
    x = line(48).reshape(8, 6)
    part = spread(x, mesh, [Shard(0)]).requires_grad_()
    found = gridgrad.derivative(part, dim=0)
    if distributed.get_rank() in ranks:
        assert_same(found, gridgrad.derivative(x, dim=0))
    else:
        assert found.shape == x.shape
        assert found.to_local().numel() == 0


MESHES = {2: [(2,), (1, 2)], 4: [(4,), (2, 2)]}
CHECKS = [value for name, value in list(globals().items()) if name.startswith("check_")]


def rank_of(count, rank, folder):
    """All checks on one rank."""
    torch.set_num_threads(1)
    name, found = "start", {}
    try:
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/store-{count}", rank=rank, world_size=count,
            timeout=timedelta(seconds=60),
        )  # fmt: skip
        meshes = [init_device_mesh("cpu", shape) for shape in MESHES[count]]
        for check in CHECKS:
            name = check.__name__
            found[name] = "begun"
            found[name] = {"counts": check(meshes) or []}
        distributed.destroy_process_group()
    except BaseException:
        found[name] = traceback.format_exc()
    Path(folder, f"{count}-{rank}.json").write_text(json.dumps(found))
    # At once: after a failure, others may wait for this rank, and PyTorch for them.
    os._exit(0)


def main(folder):
    for count in MESHES:
        children = []
        for rank in range(count):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads
                child = os.fork()
            if not child:
                rank_of(count, rank, folder)
            children.append(child)
        # One that fails leaves others waiting for it.
        deadline = time.monotonic() + 200
        while children:
            child, _ = os.waitpid(-1, os.WNOHANG)
            if child:
                children.remove(child)
                written = [path.read_text() for path in Path(folder).glob(f"{count}-*.json")]
                if any("Traceback" in each for each in written):
                    deadline = min(deadline, time.monotonic() + 5)
            elif time.monotonic() > deadline:
                for each in children:
                    os.kill(each, signal.SIGKILL)
                deadline = float("inf")
            else:
                time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1])
