"""The marks of CUDA tensors: `python -m benchmarks.gpu`, on a machine with a GPU, writes their page.

Times are those of the GPU's own clock, by events, of calls in turns in one process; before each the
second-level cache is filled with something else. Only the time of a small call is the host's: what it takes
until the next call may be made. The floor is a copy on the device that moves as many bytes.
"""

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

import gridgrad
from benchmarks import machine
from benchmarks.tables import table

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks-gpu.md"
CUBE, SQUARE = (512, 512, 512), (64, 64)
_ROUNDS, _SMALL_CALLS = 25, 300
# Beyond any second-level cache.
_FLUSH_BYTES = 1 << 28
# Clock cycles that the GPU waits before a call's time begins, 5 ms or more. Meanwhile the host prepares the
# call and queues its kernels, all of autograd's or of a hundred small operations, so that the GPU never waits
# for the host while it is timed. The cache's filling alone would hide less than 0.1 ms of that.
_WAIT_CYCLES = 10_000_000

Calls = dict[str, Callable[[], Any]]


class Mark(NamedTuple):
    """A ratio of two times that is required to be at least, or at most, so much."""

    work: str
    says: str
    above: str
    below: str
    bound: float
    at_least: bool


MARKS = (
    Mark("512^3 float32, forward", "of a copy's bandwidth", "copy", "forward", 0.85, True),
    Mark("512^3 float32, forward", "times faster than torch.gradient", "torch", "forward", 5, True),
    Mark("512^3 float32, backward", "of a copy's bandwidth", "copy", "backward", 0.80, True),
    Mark(
        "512^3 float32, backward", "times faster than torch.gradient", "torch backward", "backward", 8, True
    ),
    Mark("512^3, coordinates", "times the time of a step", "coordinates", "forward", 1.15, False),
    Mark("512^3, accuracy 8", "times the time of accuracy 2", "accuracy 8", "forward", 1.3, False),
    Mark("512^3 float16", "of a copy's bandwidth", "half copy", "float16", 0.80, True),
    Mark("512^3 bfloat16", "of a copy's bandwidth", "half copy", "bfloat16", 0.80, True),
    Mark("64 x 64, host", "times the time of torch.gradient", "small", "small torch", 1.0, False),
)  # fmt: skip


def main() -> int:
    given = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    given.add_argument("--no-write", action="store_true", help="print the page, write nothing")
    given.add_argument("--tiles", action="store_true", help="time other tiles too; writes nothing")
    options = given.parse_args()
    if not torch.cuda.is_available():
        print("error: PyTorch sees no GPU here, so there is nothing to measure")
        return 1
    if options.tiles:
        _time_tiles()
        return 0
    times = {**_timed(_large()), **_timed(_half()), **_host_timed(_small())}
    text = page(times, extra_memory())
    print(text)
    if not options.no_write:
        PAGE.write_text(text, encoding="utf-8")
    return 0


def _large() -> Calls:
    x = torch.rand(CUBE, device="cuda")
    followed = x.clone().requires_grad_()
    out = [torch.empty_like(x) for _ in CUBE]
    given = [torch.rand_like(x) for _ in CUBE]
    lines = [(torch.arange(n) + torch.rand(n) / 2).numpy() for n in CUBE]
    on_device = [torch.from_numpy(line).cuda() for line in lines]
    ours, theirs = gridgrad.gradient(followed), torch.gradient(followed)
    source, target = (
        torch.rand(2 * x.numel(), device="cuda"),
        torch.empty(2 * x.numel(), device="cuda"),
    )
    compiled = torch.compile(torch.gradient)
    calls: Calls = {
        "copy": lambda: target.copy_(source),  # 4 N samples in all, as the work needs
        "forward": lambda: gridgrad.gradient(x, out=out),
        "forward, fresh": lambda: gridgrad.gradient(x),
        "torch": lambda: torch.gradient(x),
        "compiled torch": lambda: compiled(x),
        "backward": lambda: torch.autograd.grad(ours, followed, given, retain_graph=True),
        "torch backward": lambda: torch.autograd.grad(theirs, followed, given, retain_graph=True),
        "coordinates": lambda: gridgrad.gradient(x, spacing=lines, out=out),
        "coordinates on the GPU": lambda: gridgrad.gradient(x, spacing=on_device, out=out),
        "accuracy 8": lambda: gridgrad.gradient(x, accuracy=8, edge_order=1, out=out),
        "laplacian": lambda: gridgrad.laplacian(x),
    }
    try:
        import cupy
    except ImportError:
        return calls
    theirs_too = cupy.from_dlpack(x)
    return {**calls, "CuPy": lambda: cupy.gradient(theirs_too)}


def _half() -> Calls:
    calls: Calls = {}
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.rand(CUBE, device="cuda").to(dtype)
        out = [torch.empty_like(x) for _ in CUBE]
        name = str(dtype).removeprefix("torch.")
        calls[name] = lambda x=x, out=out: gridgrad.gradient(x, out=out)  # type: ignore[misc]  # mypy infers no lambda with defaults
    source = torch.rand(x.numel(), device="cuda")
    target = torch.empty_like(source)
    calls["half copy"] = lambda: target.copy_(source)
    return calls


def _small() -> Calls:
    x = torch.rand(SQUARE, device="cuda")
    followed, given = x.clone().requires_grad_(), [torch.rand_like(x)] * 2
    return {
        "small": lambda: gridgrad.gradient(x),
        "small torch": lambda: torch.gradient(x),
        "small, both ways": lambda: torch.autograd.grad(
            gridgrad.gradient(followed), followed, given
        ),
        "small torch, both ways": lambda: torch.autograd.grad(
            torch.gradient(followed), followed, given
        ),
    }


def _timed(calls: Calls) -> dict[str, float]:
    """The median seconds of each call by the GPU's clock; the first three compile and warm up."""
    flush = torch.empty(_FLUSH_BYTES, dtype=torch.int8, device="cuda")
    for call in calls.values():
        for _ in range(3):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(_ROUNDS):
        for name, call in calls.items():
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            flush.zero_()
            torch.cuda._sleep(_WAIT_CYCLES)
            start.record()
            call()
            stop.record()
            torch.cuda.synchronize()
            seconds[name].append(start.elapsed_time(stop) / 1e3)
    return {name: statistics.median(each) for name, each in seconds.items()}


def _host_timed(calls: Calls) -> dict[str, float]:
    """The seconds of the host for each call, one after another, without waiting in between."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(_ROUNDS + 3):
        for name, call in calls.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(_SMALL_CALLS):
                call()
            torch.cuda.synchronize()
            if turn >= 3:
                seconds[name].append((time.perf_counter() - start) / _SMALL_CALLS)
    return {name: statistics.median(each) for name, each in seconds.items()}


def extra_memory() -> int:
    """The peak bytes of a gradient beyond its input and outputs."""
    x = torch.rand(CUBE, device="cuda")
    out = [torch.empty_like(x) for _ in CUBE]
    gridgrad.gradient(x, out=out)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    gridgrad.gradient(x, out=out)
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated() - before)


def page(times: dict[str, float], extra: int) -> str:
    """The page."""
    device = torch.cuda.get_device_properties(0)
    facts = [
        ("GPU", f"{device.name}, {device.total_memory / 2**30:.0f} GiB, compute capability "
                f"{device.major}.{device.minor}"),
        ("CUDA", str(torch.version.cuda)),
        *machine.versions(),
        ("commit", machine.commit() or "unknown"),
    ]  # fmt: skip
    rows = [_row(mark, times) for mark in MARKS]
    verdict = "met" if extra < 1 << 20 else "MISSED"
    rows.append(["512^3 float32", "bytes beyond input and outputs", "none", str(extra), verdict])
    taken = [[name, f"{1e6 * each:,.1f} µs"] for name, each in times.items()]
    return "\n\n".join([
        "# Benchmarks on a GPU",
        "This page is written by `make bench-gpu`. All numbers come from one run on one GPU; medians. Large "
        "arrays are timed by the GPU's clock with its cache filled before by something else, small ones by "
        "the host's.",
        "## The marks",
        table(["work", "quantity", "required", "measured", "verdict"], rows),
        "## Times",
        table(["call", "time"], taken),
        "## The machine",
        machine.lines(facts),
    ]) + "\n"  # fmt: skip


def _row(mark: Mark, times: dict[str, float]) -> list[str]:
    ratio = times[mark.above] / times[mark.below]
    met = ratio >= mark.bound if mark.at_least else ratio <= mark.bound
    required = f"at {'least' if mark.at_least else 'most'} {mark.bound:g}"
    return [mark.work, mark.says, required, f"{ratio:.3g}", "met" if met else "MISSED"]


def _time_tiles() -> None:
    """Other tiles, warps and limits of registers than the engine's, for 512^3 float32, both ways."""
    from gridgrad.engines import triton as engine
    from gridgrad.engines import triton_walk

    x = torch.rand(CUBE, device="cuda")
    followed = x.clone().requires_grad_()
    out, given = ([torch.rand_like(x) for _ in CUBE] for _ in range(2))
    ours = gridgrad.gradient(followed)
    calls: Calls = {
        "forward": lambda: gridgrad.gradient(x, out=out),
        "backward": lambda: torch.autograd.grad(ours, followed, given, retain_graph=True),
    }
    print("samples, longest, warps, registers: forward, backward in ms")
    print("the engine's own:", _in_milliseconds(calls))
    for samples, longest, warps, registers in itertools.product(
        (512, 1024, 2048), (64, 128, 256, 512), (4, 8), (80, 96, 128, 168)
    ):
        triton_walk._SAMPLES, triton_walk._LONGEST = samples, longest
        engine.WARPS, engine.REGISTERS = warps, {math.inf: registers}
        engine._launches.clear()
        print(f"{samples}, {longest}, {warps}, {registers}:", _in_milliseconds(calls))


def _in_milliseconds(calls: Calls) -> str:
    return ", ".join(f"{1e3 * each:.3f}" for each in _timed(calls).values())


if __name__ == "__main__":
    raise SystemExit(main())
