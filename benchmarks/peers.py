"""Who computes a case: gridgrad, its peers, and a plain copy of as many bytes as the case must move."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from timeit import repeat
from typing import Any, NamedTuple

import numpy as np

import gridgrad
from benchmarks.cases import Case, Data
from gridgrad.engines import recycling

Call = Callable[[], Any]


class Peer(NamedTuple):
    """`prepare` makes a call without arguments that computes a case; `refuses` says why it cannot."""

    name: str
    label: str
    prepare: Callable[[Data], Call]
    refuses: Callable[[Case], str | None]
    rival: str  # the form of gridgrad that it is compared with


def _offers_all(case: Case) -> str | None:
    return None


def _has_no_out(case: Case) -> str | None:
    if case.operator != "gradient":
        return None  # timed with fresh memory beside gridgrad's given: it has nothing else to offer
    return "has no `out=`" if case.out else None


def _jax_refuses(case: Case) -> str | None:
    if case.edge_order != 1:
        return "offers edge order 1 only"
    return _has_no_out(case)


def _gridgrad(data: Data) -> Call:
    case = data.case
    out = None
    if case.out:
        out = tuple(np.zeros(case.shape, case.result_dtype) for _ in range(case.outputs))
    return _called(case, data.x, data.spacing, out)


def _called(case: Case, x: Any, spacing: list[Any], out: Any) -> Call:
    how: dict[str, Any] = {
        "spacing": spacing,
        "dim": case.dims,
        "accuracy": case.accuracy,
        "out": out,
    }
    if case.operator == "gradient":
        how["edge_order"] = case.edge_order
    elif out is not None:
        (how["out"],) = out
    call = partial(getattr(gridgrad, case.operator), x, **how)
    if not case.untouched:
        return call

    def forgetful() -> Any:
        recycling.forget()
        return call()

    return forgetful


def _gridgrad_torch(data: Data) -> Call:
    import torch

    case = data.case
    x: Any = (
        [torch.from_numpy(part) for part in data.x] if case.inputs > 1 else torch.from_numpy(data.x)
    )
    out = None
    if case.out:
        dtype = torch.from_numpy(np.zeros(0, case.dtype)).dtype
        dtype = dtype if dtype.is_floating_point or dtype.is_complex else torch.float32
        out = tuple(torch.zeros(case.shape, dtype=dtype) for _ in range(case.outputs))
    return _called(case, x, _as_tensors(data), out)


def _numpy(data: Data) -> Call:
    case = data.case
    if case.operator != "gradient":
        steps = list(zip(case.differentiated, data.spacing, strict=True))
        if case.operator == "divergence":
            return lambda: sum(
                np.gradient(part, h, axis=d) for (d, h), part in zip(steps, data.x, strict=True)
            )
        return lambda: sum(np.gradient(np.gradient(data.x, h, axis=d), h, axis=d) for d, h in steps)
    axis = case.differentiated[0] if len(case.differentiated) == 1 else case.dims
    return partial(np.gradient, data.x, *data.spacing, axis=axis, edge_order=case.edge_order)


def _as_tensors(data: Data) -> list[Any]:
    import torch

    return [torch.from_numpy(s) if isinstance(s, np.ndarray) else s for s in data.spacing]


def _torch(data: Data) -> Call:
    import torch

    case, spacing = data.case, _as_tensors(data)
    if (
        case.spacing == "mixed"
    ):  # PyTorch takes steps or coordinates for all, so steps are written out
        spacing = [
            s if isinstance(s, torch.Tensor) else torch.arange(n, dtype=torch.float64) * s
            for s, n in zip(spacing, case.shape, strict=True)
        ]
    dim = case.differentiated
    return partial(
        torch.gradient, torch.from_numpy(data.x), spacing=spacing, dim=dim, edge_order=case.edge_order
    )  # fmt: skip


def _compiled(data: Data) -> Call:
    """Compiled once for the case: for its shape, its spacing and its dims."""
    import torch

    called = _torch(data)
    assert isinstance(called, partial)
    how = called.keywords

    def gradient(x: Any) -> Any:
        return torch.gradient(x, **how)

    return partial(torch.compile(gradient, dynamic=False), called.args[0])


def _jax(data: Data) -> Call:
    """JAX arrays have no strides: a transposed input is laid out anew before the clock runs."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]  # JAX does not type it
    axis = data.case.differentiated
    spacing = [jnp.asarray(s) if isinstance(s, np.ndarray) else s for s in data.spacing]
    compiled = jax.jit(lambda x: jnp.gradient(x, *spacing, axis=axis))
    x = jnp.asarray(data.x)
    return lambda: jax.block_until_ready(compiled(x))  # type: ignore[no-untyped-call]  # JAX does not type it


def _findiff(data: Data) -> Call:
    """Its operators are made before the clock runs."""
    import findiff

    case = data.case
    each = [findiff.Diff(dim, s) for dim, s in zip(case.differentiated, data.spacing, strict=True)]
    if case.operator == "laplacian":
        whole = sum((part**2 for part in each[1:]), each[0] ** 2)
        return lambda: whole(data.x)
    if case.operator == "divergence":
        return lambda: sum(part(x) for part, x in zip(each, data.x, strict=True))
    return lambda: [operator(data.x) for operator in each]


# Pieces of a copy. Two halves at once, or pieces of 4 MiB and more, took up to a third longer here: whole
# halves wait for the slower CPU, and beyond some size the C library writes past the caches.
_PIECE = 1 << 18


def _floor(data: Data) -> Call:
    """A plain copy that moves as many bytes as the case: it reads one half of them and writes the other.

    It is done by as many threads as gridgrad uses, each taking the next piece when it is free, or by one
    thread where little is copied and that is faster.
    """
    moved = data.case.input_bytes + data.case.output_bytes
    source = np.resize(np.arange(256, dtype=np.uint8), moved // 2)
    target = np.zeros_like(source)
    alone = partial(np.copyto, target, source)
    if source.size < 4 * _PIECE:
        return alone
    threads = gridgrad.get_num_threads()
    cuts = range(0, source.size, _PIECE)
    pieces = [(target[k : k + _PIECE], source[k : k + _PIECE]) for k in cuts]
    pool = _pool(threads)

    def take(rest: Iterator[tuple[Any, Any]]) -> None:
        for into, piece in rest:
            np.copyto(into, piece)

    def shared() -> None:
        rest = iter(pieces)  # taking the next one is atomic
        others = [pool.submit(take, rest) for _ in range(threads - 1)]
        take(rest)
        for each in others:
            each.result()

    if source.size >= 16 * _PIECE:
        return shared
    ways: tuple[Call, Call] = (alone, shared)
    return min(ways, key=lambda call: min(repeat(call, number=1, repeat=7)))


def _pool(threads: int) -> ThreadPoolExecutor:
    if not _pools:
        _pools.append(ThreadPoolExecutor(max(1, threads - 1)))
    return _pools[0]


_pools: list[ThreadPoolExecutor] = []


PEERS = {
    peer.name: peer
    for peer in (
        Peer("floor", "plain copy", _floor, _offers_all, "gridgrad"),
        Peer("gridgrad", "gridgrad", _gridgrad, _offers_all, "gridgrad"),
        Peer("gridgrad-torch", "gridgrad, tensors", _gridgrad_torch, _offers_all, "gridgrad-torch"),
        Peer("numpy", "numpy.gradient", _numpy, _has_no_out, "gridgrad"),
        Peer("torch", "torch.gradient", _torch, _has_no_out, "gridgrad-torch"),
        Peer("compiled", "compiled torch", _compiled, _has_no_out, "gridgrad-torch"),
        Peer("jax", "jitted JAX", _jax, _jax_refuses, "gridgrad"),
        Peer("findiff", "findiff", _findiff, _has_no_out, "gridgrad"),
    )
}
RIVALS = ("numpy", "torch", "compiled", "jax", "findiff")


def as_arrays(result: Any) -> Sequence[Any]:
    """What a peer returned, as NumPy arrays, without copying."""
    parts = result if isinstance(result, (tuple, list)) else [result]
    return [part.numpy() if hasattr(part, "numpy") else np.asarray(part) for part in parts]
