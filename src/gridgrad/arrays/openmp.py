"""The threads that PyTorch itself computes with, for work on tensors.

They wait busily for a while for more to do. Threads of our own would meanwhile wait for their CPUs, where
these begin at once.
"""

import ctypes
import sys
from pathlib import Path

import torch
from torch import get_num_threads

from gridgrad.engines.jobs import Team
from gridgrad.engines.threads import is_forked


def team() -> Team | None:
    """What runs a function of C in so many of them, or None where PyTorch has none, or none that lives.

    In a forked child its runtime would wait for threads that stayed behind.
    """
    return None if _team is None or is_forked() or get_num_threads() == 1 else _team


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
        # More than PyTorch's own would be started for this, and stopped for its next operation.
        parallel(function, argument, min(threads, get_num_threads()), 0)

    return run


_team = _find()
