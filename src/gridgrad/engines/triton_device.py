"""What the GPU engine asks of a device: tables uploaded without waiting, streams, captures of CUDA graphs."""

import subprocess
from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b
from typing import Any

import torch

# What a GPU's second-level cache holds, where PyTorch does not tell: that of an A100.
_CACHE = 40 << 20


class NotUploaded(Exception):
    """A table is needed while a CUDA graph is captured, when nothing can be sent to the GPU."""


class Table:
    """Numbers on a device, sent there on one stream."""

    def __init__(self, values: Any, stream: Any, sent: Any) -> None:
        self.values, self.stream, self.sent = values, stream, sent


# Tables that a captured graph reads whenever it is replayed must never be freed.
_captured: dict[int, Table] = {}


# What was sent, by its bytes: coordinates make a plan new with every call, but not its tables.
_sent: dict[Any, Table] = {}
# Bytes of a table that is kept (1.4 million coordinates in single precision, accuracy 2), and of all of them.
KEPT, _ALL_KEPT = 1 << 24, 1 << 26


def upload(values: Any, device: Any) -> Table:
    """A NumPy array on the device, before long: whoever uses it waits for it there."""
    if values.nbytes > KEPT:
        return _send(values, device)
    key = (device, values.dtype, values.size, blake2b(values).digest())
    found = _sent.get(key)
    if found is None:
        found = _send(values, device)
        held = sum(each.values.nbytes for each in _sent.values())
        if len(_sent) >= 512 or held + values.nbytes > _ALL_KEPT:
            _sent.clear()
        _sent[key] = found
    return found


def _send(values: Any, device: Any) -> Table:
    host = torch.from_numpy(values)
    if is_capturing(device):
        raise NotUploaded
    if device.type != "cuda":
        return Table(host, None, None)
    # From pinned memory, so that this does not wait; PyTorch keeps that memory until it has been read.
    there = host.pin_memory().to(device, non_blocking=True)
    stream = torch.cuda.current_stream(device)
    return Table(there, stream, stream.record_event())


def use(table: Table) -> Any:
    """The table's tensor, ready on the current stream."""
    if table.stream is None:
        return table.values
    if torch.cuda.is_current_stream_capturing():
        # Graphs are captured after a synchronisation, so that it has been sent.
        _captured[id(table)] = table
        return table.values
    stream = torch.cuda.current_stream(table.values.device)
    if stream != table.stream:
        if table.sent is not None:
            stream.wait_event(table.sent)
            if table.sent.query():
                table.sent = None
        table.values.record_stream(stream)
    return table.values


def fill(table: Table, later: Any, dtype: Any) -> Table:
    """A table with weights from the device put in, each after so many numbers, by two operations there."""
    values, pieces, at = use(table), [], 0
    for start, piece in later:
        pieces += [values[at:start], piece.detach()]
        at = start
    return Table(torch.cat([*pieces, values[at:]]).to(dtype), None, None)


def is_capturing(device: Any) -> bool:
    """Whether a CUDA graph is captured, and does what is done now."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def guard(device: Any) -> AbstractContextManager[Any]:
    """Makes the device the current one, as kernels are launched on that."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return nullcontext()
    return torch.cuda.device(device)


def cache_bytes(device: Any) -> int:
    """What the device's second-level cache holds."""
    if device.type != "cuda":
        return _CACHE
    return int(getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0)) or _CACHE


def is_failure(error: Exception) -> bool:
    """Whether Triton could not compile or load a kernel: for an unknown GPU, or without a C compiler."""
    from triton.compiler.errors import CompilationError
    from triton.runtime.errors import OutOfResources, PTXASError

    kinds = (CompilationError, OutOfResources, PTXASError, subprocess.CalledProcessError)
    return isinstance(error, kinds) or "C compiler" in str(error)
