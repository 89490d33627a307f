"""Before a peer is timed, its result is compared with gridgrad's: being fast at something else is no use."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.cases import Case


class Mismatch(Exception):
    """A peer's result is not gridgrad's, and no exception in the list says why."""


class Known(NamedTuple):
    """A difference that is meant. Only the samples away from the edges are compared then."""

    peer: str
    applies: Callable[[Case], bool]
    reason: str


KNOWN = (
    Known(
        "findiff",
        lambda case: case.edge_order == 1 and case.operator != "laplacian",
        "its edges are always of order 2, so only the samples between the edges are compared",
    ),
)

# Errors allowed, in units of the last place of the largest result. NumPy and gridgrad agree within one;
# PyTorch and JAX multiply samples by weights, not differences of samples, and lose a few digits more.
ALLOWED = 64
# NumPy has no second derivative: taking the first one twice reads samples two steps away.
UNCOMPARED = (("laplacian", "numpy"),)
_BLOCK = 1 << 22


def known(case: Case, peer: str) -> Known | None:
    """The listed difference between the peer and gridgrad on this case."""
    return next((each for each in KNOWN if each.peer == peer and each.applies(case)), None)


def compare(case: Case, peer: str, mine: Sequence[Any], theirs: Sequence[Any]) -> float:
    """The largest difference, as a part of the largest result; raises Mismatch if it is too large."""
    if len(mine) != len(theirs):
        raise Mismatch(f"{peer} gives {len(theirs)} results for {case.name!r}, not {len(mine)}.")
    if (case.operator, peer) in UNCOMPARED:
        return 0.0
    # A sum over dims has edges in all of them.
    interior = known(case, peer) is not None or case.operator == "divergence"
    dims: list[tuple[int, ...]] = [(dim,) for dim in case.differentiated]
    if case.operator != "gradient":
        dims = [case.differentiated]
    worst = 0.0
    for along, a, b in zip(dims, mine, theirs, strict=True):
        if a.shape != b.shape:
            raise Mismatch(f"{peer} gives the shape {b.shape} for {case.name!r}, not {a.shape}.")
        if interior:
            cut = tuple(slice(1, -1) if dim in along else slice(None) for dim in range(a.ndim))
            a, b = a[cut], b[cut]
        error, scale = _difference(a, b)
        allowed = ALLOWED * max(np.finfo(a.dtype).eps, np.finfo(b.dtype).eps)
        if not error <= allowed * scale:
            raise Mismatch(
                f"{peer} differs from gridgrad on {case.name!r}, dims {along}: by {error:.3g}, where the "
                f"largest result is {scale:.3g}."
            )
        worst = max(worst, error / scale if scale else 0.0)
    return worst


def _difference(a: Any, b: Any) -> tuple[float, float]:
    """The largest of |a - b| and of |a|, block by block, so that a GiB is not copied."""
    rows = max(1, _BLOCK * a.shape[0] // max(a.size, 1))
    error = scale = 0.0
    for start in range(0, a.shape[0], rows):
        here, there = a[start : start + rows], b[start : start + rows]
        error = max(error, float(np.abs(here - there).max(initial=0.0)))
        scale = max(scale, float(np.abs(here).max(initial=0.0)))
    return error, scale
