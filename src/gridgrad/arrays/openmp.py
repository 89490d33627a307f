"""The threads that PyTorch itself computes with, for work on tensors.

They wait busily for a while for more to do. Threads of our own would meanwhile wait for their CPUs, where
these begin at once.
"""

import ctypes
import os
import sys
from pathlib import Path

import torch
from torch import get_num_threads

from gridgrad.engines.cpu import Team


def team() -> Team | None:
    """What runs a function of C in so many of them, or None where PyTorch has none."""
    return _team if _team is not None and get_num_threads() > 1 else None


def _find() -> Team | None:
    """GNU's entry to the runtime of OpenMP that PyTorch is linked to, which Intel's and LLVM's offer too."""
    if sys.platform != "linux":
        return None
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        # Of this library: another may have brought another runtime, with threads of its own.
        parallel = ctypes.CDLL(str(library)).GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    parallel.restype = None

    def run(function: int, argument: int, threads: int) -> None:
        parallel(function, argument, threads, 0)

    return run


_team = _find()


def _leave() -> None:
    """In a forked child none of these threads live, and the runtime would wait for them."""
    global _team
    _team = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave)
