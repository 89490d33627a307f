"""PyTorch's own threads: the same results bit for bit, and none after a fork or where it has none."""

from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gridgrad
from gridgrad import calls
from gridgrad.arrays import openmp, shortcut
from gridgrad.engines import cpu, jobs

from .grids import jittered
from .test_threads import program

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


@contextmanager
def threads(team, number=3):
    """With so many threads of that team, for tensors of any size, and nothing remembered of other calls."""
    before, theirs = gridgrad.get_num_threads(), torch.get_num_threads()
    gridgrad.set_num_threads(number)
    torch.set_num_threads(max(2, theirs))
    for kept in (calls._known, cpu._tables, shortcut._orders):
        kept.clear()
    try:
        with (
            mock.patch.object(openmp, "_team", team),
            mock.patch.multiple(jobs, TEAMED=0, SERIAL=0),
        ):
            yield
    finally:
        gridgrad.set_num_threads(before)
        torch.set_num_threads(theirs)
        for kept in (calls._known, cpu._tables, shortcut._orders):
            kept.clear()


@pytest.fixture
def team():
    """PyTorch's threads, which note when they are asked."""
    found = openmp._find()
    if found is None:
        pytest.skip("PyTorch is not linked to a runtime of OpenMP that offers GNU's entry here")
    return mock.Mock(side_effect=found)


@st.composite
def works(draw):
    """Samples and arguments."""
    shape = draw(st.lists(st.integers(9, 24), min_size=1, max_size=3))
    dtype = draw(st.sampled_from(DTYPES))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    x = torch.randn(*shape, dtype=dtype, generator=generator)
    if draw(st.booleans()):
        x = x.mT.contiguous().mT if x.ndim > 1 else x
    how = {"accuracy": draw(st.sampled_from([2, 4]))}
    if draw(st.booleans()):
        how["spacing"] = [jittered(n, n) * n for n in shape]
    else:
        how["boundary"] = draw(st.sampled_from(["one-sided", "periodic", "reflect"]))
    return x, how


def results(x, how):
    """Of a call, of one that remembers it, and of the backward pass."""
    found = [*gridgrad.gradient(x, **how), *gridgrad.gradient(x, **how)]
    out = tuple(torch.zeros_like(each) for each in found[: x.ndim])
    found += gridgrad.gradient(x, **how, out=out)
    followed = x.clone(memory_format=torch.preserve_format).requires_grad_()
    made = gridgrad.gradient(followed, **how)
    for _ in range(2):
        found += torch.autograd.grad(
            made, followed, [x + k for k in range(x.ndim)], retain_graph=True
        )
    return found


@given(works(), st.integers(2, 5))
@settings(max_examples=60)
def test_results_are_those_of_one_thread_bit_for_bit(work, number):
    team = mock.Mock(side_effect=openmp._find())
    x, how = work
    before = x.clone()
    with threads(team, number):
        found = results(x, how)
    assert team.called == (openmp._find() is not None)
    with threads(None, 1):
        expected = results(x, how)
    assert torch.equal(x, before)
    for mine, other in zip(found, expected, strict=True):
        assert (mine.dtype, mine.device, mine.stride()) == (
            other.dtype,
            other.device,
            other.stride(),
        )
        # As bits: what is not a number is none, and zeros have signs.
        assert mine.detach().numpy().tobytes() == other.detach().numpy().tobytes()


def test_many_calls_at_once_share_a_layout(team):
    from concurrent.futures import ThreadPoolExecutor

    inputs = [torch.randn(40, 30, generator=torch.Generator().manual_seed(k)) for k in range(32)]
    with threads(team), ThreadPoolExecutor(4) as pool:
        found = list(pool.map(gridgrad.gradient, inputs))
    for x, mine in zip(inputs, found, strict=True):
        expected = np.gradient(x.numpy())
        for value, other in zip(mine, expected, strict=True):
            np.testing.assert_array_equal(value.numpy(), other)


@pytest.mark.parametrize(
    "reason", ["ours are one", "theirs are one", "few samples", "many samples"]
)
def test_where_they_are_not_asked(team, reason):
    x = torch.randn(64, 32)
    with threads(team, 1 if reason == "ours are one" else 2):
        if reason == "theirs are one":
            torch.set_num_threads(1)
        sizes = {"few samples": {"TEAMED": 1 << 12}, "many samples": {"LONG": 1 << 10}}
        with mock.patch.multiple(jobs, **sizes.get(reason, {"TEAMED": 0})):
            found = gridgrad.gradient(x)
    assert not team.called
    for value, other in zip(found, np.gradient(x.numpy()), strict=True):
        np.testing.assert_array_equal(value.numpy(), other)


def test_a_library_without_the_entry_has_no_team(monkeypatch, tmp_path):
    monkeypatch.setattr(torch, "__file__", str(tmp_path / "__init__.py"))
    assert openmp._find() is None
    monkeypatch.setattr(openmp.sys, "platform", "darwin")
    assert openmp._find() is None


def test_no_more_are_asked_for_than_work_for_pytorch(monkeypatch):
    monkeypatch.setattr(openmp.sys, "platform", "linux")
    library = mock.Mock()
    monkeypatch.setattr(openmp.ctypes, "CDLL", lambda path: library)
    openmp._find()(1, 2, 1000)
    library.GOMP_parallel.assert_called_once_with(1, 2, torch.get_num_threads(), 0)


def test_a_child_that_is_forked_before_the_first_tensor_does_not_wait_either(team):
    said = program("""
        import os, warnings
        warnings.simplefilter("ignore")  # forks beside threads
        import torch, gridgrad

        torch.set_num_threads(2)
        x = torch.rand(1200, 1000)
        (x * 2).sum()
        child = os.fork()
        if child == 0:
            for _ in range(2):
                found = gridgrad.gradient(x)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    assert said == "0"


def test_a_forked_child_does_not_wait_for_threads_that_it_has_not(team):
    said = program("""
        import os, warnings
        warnings.simplefilter("ignore")  # forks beside threads
        import torch, gridgrad
        from gridgrad.arrays import openmp

        gridgrad.set_num_threads(2)
        torch.set_num_threads(2)
        x = torch.rand(1200, 1000)
        gridgrad.gradient(x)
        before = gridgrad.gradient(x)
        assert openmp.team() is not None
        child = os.fork()
        if child == 0:
            found = gridgrad.gradient(x)
            same = all((a.numpy() == b.numpy()).all() for a, b in zip(found, before))
            os._exit(0 if same and openmp.team() is None else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), openmp.team() is not None)
    """)
    assert said == "0 True"
