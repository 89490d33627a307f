"""What earlier calls worked out must not answer a call that means something else."""

import gc
import threading
import weakref
from unittest import mock

import numpy as np
import pytest
import torch

import gridgrad
from gridgrad import GridError, GridTypeError, NonMonotonicWarning, calls
from gridgrad.engines import cpu

from .calling import numpy

OPERATORS = {
    "gradient": lambda f, **how: gridgrad.gradient(f, **how)[0],
    "derivative": lambda f, **how: gridgrad.derivative(f, order=2, dim=0, **how),
    "laplacian": gridgrad.laplacian,
    "hessian": lambda f, **how: gridgrad.hessian(f, **how)[0][1],
    "curl": lambda f, **how: gridgrad.curl((f, f * f), **how),
    "jacobian": lambda f, **how: gridgrad.jacobian((f, f * f), **how)[1][0],
    "directional": lambda f, **how: gridgrad.directional_derivative(f, (2, 0.5), **how),
}
LAYOUTS = {
    "plain": lambda f: f,
    "transposed": lambda f: f.T,
    "sliced": lambda f: f[:, ::2],
    "window": lambda f: f[1:, 1:],
}


def field(dtype: str, library: str, seed: int):
    f = (np.random.default_rng(seed).standard_normal((8, 10)) * 9).astype(dtype)
    return torch.from_numpy(f) if library == "torch" else f


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    monkeypatch.setattr(calls, "_known", {})


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "int16", "float16"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_later_calls_give_what_first_ones_give(operator, dtype, library, monkeypatch):
    """Bit for bit, on other values, in every layout."""
    call = OPERATORS[operator]
    for how in ({}, {"spacing": 0.1, "boundary": "periodic"}, {"accuracy": 4}):
        for layout in LAYOUTS.values():
            fields = [layout(field(dtype, library, seed)) for seed in range(3)]
            if how.get("accuracy") == 4 and min(fields[0].shape) < 7:
                continue
            found = [call(f, **how) for f in fields]
            for f, value in zip(fields, found, strict=True):
                monkeypatch.setattr(calls, "_known", {})
                first = call(f, **how)
                assert value.dtype == first.dtype
                assert numpy(value).tobytes() == numpy(first).tobytes()


def test_arguments_that_are_equal_and_mean_something_else():
    f = np.arange(6.0).reshape(2, 3) ** 2
    for _ in range(2):
        (found,) = gridgrad.gradient(f, dim=1, spacing=1)
        for wrong in (True, 1.0, np.array([1.0, 2.0])):
            with pytest.raises(GridError):
                gridgrad.gradient(f, dim=wrong, spacing=1)
        for wrong in (2.0, True):
            with pytest.raises(GridTypeError):
                gridgrad.gradient(f, dim=1, accuracy=wrong)
        with pytest.raises(GridError):
            gridgrad.gradient(f, dim=1, spacing=True)
        assert found.tolist() == [[1.0, 2.0, 3.0], [7.0, 8.0, 9.0]]


class Renamed(torch.Tensor):
    """A subclass, whose results are of it too."""


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_arrays_of_the_same_dtype_and_shape_that_are_not_alike():
    """After a plain one has found the shortest way."""
    f = np.arange(24.0).reshape(4, 6) ** 2
    wide, raw = np.repeat(f, 2, axis=1), np.zeros(24 * 8 + 1, np.uint8)
    shifted = raw[1:].view("f8").reshape(4, 6)
    shifted[...] = f
    t, kept = torch.from_numpy(f), torch.from_numpy(f.copy())
    expected = gridgrad.gradient(f.astype(object).astype(float), spacing=0.5)
    for _ in range(2):
        gridgrad.gradient(f, spacing=0.5)
        gridgrad.gradient(t, spacing=0.5)
        arrays = [
            wide[:, ::2],
            shifted,
            np.asfortranarray(f),
            np.ma.masked_array(f),
            np.broadcast_to(f, f.shape),
        ]
        for x in arrays:
            found = gridgrad.gradient(x, spacing=0.5)
            assert [type(each) is type(x) for each in found] == [True, True]
            for value, same in zip(found, expected, strict=True):
                assert value.tolist() == same.tolist()
        tensors = [
            torch.from_numpy(wide)[:, ::2], torch.from_numpy(shifted), t.as_subclass(Renamed),
            torch.nn.Parameter(kept), torch._neg_view(-kept), (1j * kept).conj().imag.neg(),
        ]  # fmt: skip
        for x in tensors:
            found = gridgrad.gradient(x, spacing=0.5)
            assert isinstance(x, Renamed) == isinstance(found[0], Renamed)
            assert found[0].requires_grad == x.requires_grad
            for value, same in zip(found, expected, strict=True):
                assert value.detach().tolist() == same.tolist()
        nothing = torch._efficientzerotensor(t.shape, dtype=t.dtype)
        assert not gridgrad.gradient(nothing, spacing=0.5)[0].any()
        assert gridgrad.gradient(t.to("meta"), spacing=0.5)[0].device.type == "meta"
        mapped = torch.func.vmap(lambda x: gridgrad.gradient(x, spacing=0.5))(torch.stack([t, t]))
        assert mapped[1][1].tolist() == expected[1].tolist()
        _, (slope, _) = torch.func.jvp(lambda x: gridgrad.gradient(x, spacing=0.5), (t,), (t,))
        assert slope.tolist() == expected[0].tolist()


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_coordinates_that_were_changed_in_place(library):
    x = np.array([0.0, 1.0, 3.0, 4.0])
    f = x**2
    if library == "torch":
        x, f = torch.from_numpy(x), torch.from_numpy(f)
    for factor in (1.0, 2.0, 0.5):
        x *= factor
        (found,) = gridgrad.gradient(f, spacing=(x,))
        (expected,) = gridgrad.gradient(f, spacing=([float(each) for each in x],))
        assert numpy(found).tolist() == numpy(expected).tolist()


def test_each_call_warns_of_coordinates_that_turn_back():
    f = np.arange(4.0)
    for x in (np.array([0.0, 2.0, 1.0, 3.0]), [0.0, 2.0, 1.0, 3.0]):
        for _ in range(3):
            with pytest.warns(NonMonotonicWarning):
                gridgrad.gradient(f, spacing=(x,))
    assert not calls._known


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_out_is_checked_at_every_call(library):
    """Layouts do not tell whether an array may be written, nor where it is."""
    f, x = np.arange(12.0).reshape(3, 4) ** 2, np.array([0.0, 1.0, 3.0, 7.0])
    room, wide = np.zeros((5, 4)), np.zeros(8)
    locked = np.zeros((3, 4))
    if library == "torch":
        f, x, room, wide, locked = map(torch.from_numpy, (f, x, room, wide, locked))
        locked.requires_grad_()
    else:
        locked.flags.writeable = False
    out = room[:3]
    for _ in range(3):
        assert gridgrad.gradient(f, dim=1, spacing=(x,), out=(out,))[0] is out
        (expected,) = gridgrad.gradient(f, dim=1, spacing=(x,))
        assert (numpy(out) == numpy(expected)).all()
    for wrong, says in ((f, "share memory"), (locked, "read-only|requires a gradient")):
        with pytest.raises(GridError, match=says):
            gridgrad.gradient(f, dim=1, spacing=(x,), out=(wrong,))
    with pytest.raises(GridError, match="share memory"):
        gridgrad.gradient(room[1:4], dim=1, spacing=(x,), out=(out,))
    # The same coordinates, by value, once apart from the output and once beside it.
    g = room[0]
    gridgrad.gradient(g, spacing=(x,), out=(wide[4:],))
    wide[:4] = x
    with pytest.raises(GridError, match="share memory"):
        gridgrad.gradient(g, spacing=(wide[:4],), out=(wide[2:6],))


def test_a_tensor_counts_as_written_to():
    f, out = torch.arange(5.0), torch.zeros(5)
    for k in range(1, 4):
        gridgrad.gradient(f, out=(out,))
        assert out._version == k


def test_integers_follow_the_default_dtype():
    f = torch.arange(5)
    try:
        for dtype in (torch.float32, torch.float64, torch.float32):
            torch.set_default_dtype(dtype)
            assert gridgrad.laplacian(f).dtype == dtype
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_tensor_that_is_not_aligned():
    memory = bytearray(8 * 8 + 1)
    for first in (0, 1, 0):
        f = torch.frombuffer(memory, dtype=torch.float64, offset=first, count=8)
        f[:] = torch.arange(8.0) ** 2
        expected = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 13.0]
        assert gridgrad.gradient(f)[0].tolist() == expected
        assert gridgrad.gradient(f.numpy())[0].tolist() == expected
        x = f.detach().requires_grad_()
        (back,) = torch.autograd.grad(gridgrad.gradient(x)[0].sum(), x)
        assert back.tolist() == [-1.5, 0.5, 0, 0, 0, 0, -0.5, 1.5]


def test_gradients_that_come_in_in_many_ways():
    """None, expanded, transposed, and plain again, through one remembered call."""
    x = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    y = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    plan = [
        gridgrad.gradient(torch.eye(30, dtype=torch.float64)[k].reshape(5, 6)) for k in range(30)
    ]
    matrices = [torch.stack([each[k].flatten() for each in plan], 1) for k in range(2)]
    grads = [
        torch.randn(5, 6, dtype=torch.float64),
        torch.randn(6, 5, dtype=torch.float64).T,
        torch.ones((), dtype=torch.float64).expand(5, 6),
        None,
    ]
    for _ in range(2):
        for first in grads:
            for second in grads:
                given = [g for g in (first, second) if g is not None]
                if not given:
                    continue
                results = [
                    r
                    for r, g in zip(gridgrad.gradient(x), (first, second), strict=True)
                    if g is not None
                ]
                (found,) = torch.autograd.grad(results, x, given)
                expected = sum(
                    m.T @ g.flatten()
                    for m, g in zip(matrices, (first, second), strict=True)
                    if g is not None
                )
                torch.testing.assert_close(found.flatten(), expected)
                # Of two inputs one may be wanted, or both.
                value = gridgrad.divergence((x, y.detach()), edge_order=1)
                if first is not None:
                    (found,) = torch.autograd.grad(value, x, first)
                    torch.testing.assert_close(found.flatten(), matrices[0].T @ first.flatten())


def test_threads_and_a_full_memory(monkeypatch):
    monkeypatch.setattr(calls, "_MOST", 2)
    wrong: list[str] = []

    def work(n: int) -> None:
        f = np.arange(float(n)) ** 2
        for _ in range(200):
            for order in (1, 2):
                found = gridgrad.derivative(f, order=order)[1:-1]
                if not (found == (2 if order == 2 else 2 * np.arange(1, n - 1))).all():
                    wrong.append(f"{n} {order}")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6, 12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong
    assert len(calls._known) <= 2 * (2 + len(threads))  # two keys for each small array


@pytest.mark.parametrize("own", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_what_a_small_array_reads_is_not_freed(own):
    """Threads that made the same call first at once kept each other's tables: a general protection fault."""
    x = own(np.arange(7.0) ** 2)
    with mock.patch.dict(calls._known, clear=True), mock.patch.dict(cpu._tables, clear=True):
        wanted = gridgrad.gradient(x, spacing=0.25)
        jobs = [weakref.ref(job) for _, job in cpu._tables.values()]
        for key, value in tuple(calls._known.items()):
            if isinstance(value, calls._Known):
                del calls._known[key]
        cpu._tables.clear()
        gc.collect()
        assert len(jobs) == len(calls._known) == 1
        assert jobs[0]() is not None
        found = gridgrad.gradient(x, spacing=0.25)
    assert (found[0] == wanted[0]).all()
