"""The kernel with its cache on disk, which many processes may fill at once, or none may write to."""

from typing import Any

from numba import njit

from gridgrad.engines import kernels

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def _cached() -> Any:
    try:
        return njit(cache=True, **_OPTIONS)(kernels.run_box)
    except RuntimeError:  # no folder that Numba may write to
        return njit(**_OPTIONS)(kernels.run_box)


run_box = _cached()
