"""The GPU engine on a real GPU: `make test-gpu`. What can be tested without one is in `test_triton*`."""

import os

import pytest
import torch
from hypothesis import given, settings

import gridgrad
from gridgrad.engines import triton as engine
from gridgrad.engines import triton_walk

from .grids import BOUNDARIES, jittered
from .test_engine import GROUPS, cases
from .test_triton import tensor

WHY = (
    "PyTorch sees no GPU here"
    if not torch.cuda.is_available()
    else "kernels are interpreted here; `make test-gpu` compiles them"
)
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1", reason=WHY
    ),
]


def samples(*shape: int, dtype=torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype).cuda()


@pytest.fixture
def ran(caplog):
    caplog.set_level("DEBUG", "gridgrad.engines")
    return lambda: {record.getMessage() for record in caplog.records}


@pytest.mark.parametrize("group", GROUPS)
def test_agrees_with_the_reference_and_with_exact_arithmetic(group, monkeypatch):
    from . import test_engine

    def run(case):
        inputs = [tensor(x).cuda() for x in case.inputs]
        outputs = [tensor(x).cuda() for x in case.outputs]
        computes = [getattr(torch, dtype.name) for dtype in case.computes]
        assert engine.run(case.plan, inputs, outputs, computes)
        for mine, theirs in zip(case.outputs, outputs, strict=True):
            tensor(mine).copy_(theirs.cpu())
        return [x.copy() for x in case.outputs]

    monkeypatch.setattr(test_engine, "run", run)

    @settings(max_examples=300)
    @given(cases(**GROUPS[group]))
    def agree(case):
        test_engine.check(case, 1)

    agree()


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=str)
def test_whole_calls_agree_with_the_cpu(boundary, ran):
    f = samples(37, 65, 130, dtype=torch.float64)
    how = {"boundary": boundary, "accuracy": 4, "spacing": (0.5, 2.0, 0.3)}
    for mine, theirs in zip(
        gridgrad.gradient(f, **how), gridgrad.gradient(f.cpu(), **how), strict=True
    ):
        torch.testing.assert_close(mine.cpu(), theirs, rtol=1e-12, atol=1e-12)
    assert ran() == {"triton"}


@pytest.mark.parametrize("even", [True, False])
def test_backwards_agrees_with_the_cpu(even, ran):
    f = samples(20, 33, dtype=torch.float64)
    x = 0.3 if even else torch.from_numpy(jittered(33)).cuda()
    found = []
    for values, spacing in ((f, x), (f.cpu(), x if even else x.cpu())):
        y = values.clone().requires_grad_()
        (slope,) = gridgrad.gradient(y, dim=1, spacing=spacing)
        (once,) = torch.autograd.grad((slope**3).sum(), y, create_graph=True)
        (twice,) = torch.autograd.grad((once**2).sum(), y)
        found.append((once.detach().cpu(), twice.cpu()))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)
    assert ran() == {"triton"}


def agree_with_the_cpu(call, f, rtol=1e-12, atol=1e-12):
    for mine, theirs in zip(call(f), call(f.cpu()), strict=True):
        assert mine.is_cuda
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        torch.testing.assert_close(mine.cpu(), theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_samples(dtype, ran):
    f = samples(20, 33, dtype=dtype)
    tolerance = 1e-5 if dtype == torch.complex64 else 1e-12
    agree_with_the_cpu(
        lambda f: gridgrad.gradient(f, spacing=(0.3, jittered(33)), accuracy=4),
        f, tolerance, tolerance,
    )  # fmt: skip
    assert ran() == {"triton"}


LAYOUTS = {
    "transposed": lambda x: x.mT.contiguous().mT,
    "permuted": lambda x: x.permute(2, 0, 1).contiguous().permute(1, 2, 0),
    "strided": lambda x: torch.stack([x, x], -1).flatten(-2)[..., ::2],
    "sliced": lambda x: torch.nn.functional.pad(x, (3, 2, 1, 4))[:, 1:-4, 3:-2],
    "expanded": lambda x: x[..., :1].expand(x.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides_both_ways(layout, ran):
    f = LAYOUTS[layout](samples(12, 37, 66, dtype=torch.float64))

    def both_ways(f):
        f = f.detach().requires_grad_()
        found = gridgrad.gradient(f, spacing=(0.5, 2.0, jittered(66)))
        (back,) = torch.autograd.grad(sum((x**2).sum() for x in found), f)
        return *(x.detach() for x in found), back

    assert not f.is_contiguous()
    memory = f.clone()
    agree_with_the_cpu(both_ways, f)
    assert torch.equal(f, memory)
    assert ran() == {"triton"}


@pytest.mark.filterwarnings(
    "ignore:TensorFloat32 tensor cores:UserWarning"
)  # there are no matrices
def test_under_torch_compile():
    f = samples(20, 33, dtype=torch.float64)

    def loss(f):
        return sum((x**2).sum() for x in gridgrad.gradient(f, spacing=(0.5, 0.3), accuracy=4))

    def both_ways(f, loss):
        f = f.detach().requires_grad_()
        total = loss(f)
        return total.detach(), *torch.autograd.grad(total, f)

    compiled = torch.compile(loss, fullgraph=True)
    for mine, theirs in zip(both_ways(f, compiled), both_ways(f, loss), strict=True):
        assert mine.is_cuda
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_the_same_bits_every_time():
    f = samples(100, 200, 300)
    first = gridgrad.gradient(f, spacing=0.3)
    for _ in range(5):
        assert all(map(torch.equal, gridgrad.gradient(f, spacing=0.3), first))


def test_coordinates_on_the_gpu_do_not_wait_for_it():
    f, x = samples(200, 300), torch.from_numpy(jittered(300)).float().cuda()
    gridgrad.gradient(f, spacing=(x,), dim=1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        gridgrad.gradient(f, spacing=(x,), dim=1)
        gridgrad.gradient(f, spacing=0.123)  # new tables
    finally:
        torch.cuda.set_sync_debug_mode("default")


def captured(call):
    """A CUDA graph of a call that has run once before, and what it will fill."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        call()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = call()
    return graph, found


@pytest.mark.parametrize("on_gpu", [True, False])
def test_cuda_graphs(on_gpu):
    f, x = samples(64, 96), jittered(96)
    spacing = (torch.from_numpy(x).float().cuda(),) if on_gpu else (x,)

    def call():
        return gridgrad.gradient(f, spacing=spacing, dim=1)

    graph, (found,) = captured(call)
    f.copy_(samples(64, 96, seed=1))
    engine._launches.clear()  # what the graph reads lives on
    graph.replay()
    torch.testing.assert_close(found, call()[0], rtol=0, atol=0)


def test_long_coordinates_are_captured():
    n = 50_000
    f, x = samples(n), torch.linspace(0, 1, n, device="cuda") ** 2
    for line in (x, x.cpu().numpy()):
        wanted = gridgrad.gradient(f, spacing=(line,))
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = gridgrad.gradient(f, spacing=(line,))
        graph.replay()
        assert all(map(torch.equal, found, wanted))


def test_a_cuda_graph_of_both_ways(ran):
    f, given = samples(64, 96).requires_grad_(), [samples(64, 96, seed=k) for k in (1, 2)]

    def call():
        found = gridgrad.gradient(f, spacing=(0.5, jittered(96)))
        return *found, *torch.autograd.grad(found, f, given)

    graph, found = captured(call)
    with torch.no_grad():
        f.copy_(samples(64, 96, seed=3))
    given[0].copy_(samples(64, 96, seed=4))
    graph.replay()
    for mine, theirs in zip(found, call(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    assert ran() == {"triton"}


def test_a_capture_that_would_break_is_refused():
    f, x = samples(64, 96), 3 * jittered(96) + 0.1
    x[5] += 0.001
    graph, kept = torch.cuda.CUDAGraph(), f.clone()
    with torch.cuda.graph(graph):
        with pytest.raises(gridgrad.GridError, match="once before the capture"):
            gridgrad.gradient(f, spacing=(x,), dim=1)
        kept.add_(1)
    graph.replay()  # the capture has gone on
    assert torch.equal(kept, f + 1)


def test_other_streams():
    f = samples(128, 128)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        found = gridgrad.gradient(f, spacing=0.77)
    torch.cuda.current_stream().wait_stream(stream)
    for mine, theirs in zip(found, gridgrad.gradient(f.cpu(), spacing=0.77), strict=True):
        torch.testing.assert_close(mine.cpu(), theirs)


@pytest.mark.parametrize("spacing", ["step", "host", "gpu"])
def test_cupy(spacing, ran):
    cupy = pytest.importorskip("cupy")
    f, line = samples(20, 33, dtype=torch.float64), jittered(33)
    own = {"step": 0.3, "host": line, "gpu": cupy.asarray(line)}[spacing]
    (found,) = gridgrad.gradient(cupy.from_dlpack(f), spacing=(own,), axis=1)
    (wanted,) = gridgrad.gradient(f.cpu(), spacing=(0.3 if spacing == "step" else line,), axis=1)
    assert isinstance(found, cupy.ndarray)
    torch.testing.assert_close(torch.from_dlpack(found).cpu(), wanted, rtol=1e-9, atol=1e-9)
    assert ran() == {"triton"}


def test_cupy_strided_and_in_half_precision(ran):
    cupy = pytest.importorskip("cupy")
    f = cupy.random.rand(40, 66).astype(cupy.float16).T[::2]
    for mine, theirs in zip(gridgrad.gradient(f), gridgrad.gradient(f.get()), strict=True):
        assert mine.dtype == f.dtype
        torch.testing.assert_close(
            torch.from_numpy(mine.get()), torch.from_numpy(theirs), rtol=2e-3, atol=1e-3
        )
    assert ran() == {"triton"}


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one GPU")
def test_the_tensors_own_device():
    f = samples(30, 40).to("cuda:1")
    found = gridgrad.gradient(f)
    assert {x.device for x in found} == {torch.device("cuda:1")}
    for mine, theirs in zip(found, gridgrad.gradient(f.cpu()), strict=True):
        torch.testing.assert_close(mine.cpu(), theirs)


def test_no_memory_but_the_outputs():
    f = samples(128, 128, 128)
    out = [torch.empty_like(f) for _ in range(3)]
    gridgrad.gradient(f, out=out)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    gridgrad.gradient(f, out=out)
    assert torch.cuda.max_memory_allocated() == before


def test_more_than_two_to_the_31_samples():
    n = 2**31 + 1000
    if torch.cuda.mem_get_info()[0] < 5 * n:
        pytest.skip("the GPU has no room for 2**31 samples and their derivative")
    f = torch.zeros(n, dtype=torch.float16, device="cuda")
    f[-3:] = torch.tensor([1.0, 4.0, 9.0])
    (found,) = gridgrad.gradient(f)
    assert found[-4:].tolist() == [0.5, 2.0, 4.0, 5.0]
    assert found[: n - 4].abs().max() == 0


def test_bands_of_planes_agree_with_whole_ones(monkeypatch):
    f = samples(9, 300, 260)
    whole = gridgrad.gradient(f)
    monkeypatch.setattr(triton_walk, "_order", lambda *_: (0, 3))
    engine._launches.clear()
    assert all(map(torch.equal, gridgrad.gradient(f, out=[x.clone() for x in whole]), whole))
