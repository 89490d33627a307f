"""Runs the cases: makes the data, compares the results, times the peers, and keeps what was found."""

import gc
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cases import Case, Data
from benchmarks.checking import compare
from benchmarks.dask_marks import DaskMarks
from benchmarks.memory import Memory
from benchmarks.peers import PEERS, RIVALS, as_arrays
from benchmarks.startup import Startup
from benchmarks.timing import Times, interleave
from benchmarks.training import Training

NOT_COMPILED = "not compiled for this row: each shape takes seconds to compile"


@dataclass
class Row:
    """What was found about one case."""

    case: Case
    times: dict[str, Times] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def ratio(self, above: str, below: str, stat: str = "median") -> float | None:
        """The time of one peer over that of another."""
        if above not in self.times or below not in self.times:
            return None
        return float(getattr(self.times[above], stat) / getattr(self.times[below], stat))

    def against(self, rival: str, stat: str = "median") -> float | None:
        """How many times faster gridgrad is than a rival, on the rival's own kind of array."""
        mine = PEERS[rival].rival
        return self.ratio(rival, mine if mine in self.times else "gridgrad", stat)

    def lost(self) -> list[str]:
        """The rivals that were faster."""
        ratios = {rival: self.against(rival) for rival in RIVALS}
        return [rival for rival, ratio in ratios.items() if ratio is not None and ratio < 1]


@dataclass
class Results:
    """Everything that a run found."""

    rows: dict[str, Row] = field(default_factory=dict)
    memory: list[Memory] = field(default_factory=list)
    startup: Startup | None = None
    dask: DaskMarks | None = None
    xarray: dict[str, tuple[Times, Times]] | None = None
    training: Training | None = None

    def of(self, group: str) -> list[Row]:
        return [row for row in self.rows.values() if row.case.group == group]

    def across(self, above: str, below: str, peer: str, stat: str = "median") -> float | None:
        """One peer's time for one case over its time for another, timed in the same rounds."""
        if above not in self.rows or below not in self.rows:
            return None
        times = [self.rows[name].times.get(peer) for name in (above, below)]
        if times[0] is None or times[1] is None:
            return None
        return float(getattr(times[0], stat) / getattr(times[1], stat))


def run_unit(cases: list[Case], rounds: int, budget: float) -> list[Row]:
    """Compare and time cases whose times are to be compared with one another."""
    if any("compiled" in case.peers for case in cases):
        _forget_compiled()
    rows = [Row(case) for case in cases]
    calls: dict[Hashable, Callable[[], Any]] = {}
    for row in rows:
        for peer, call in _prepare(row).items():
            calls[row.case.name, peer] = call
    floor_of: dict[int, Hashable] = {}  # cases that move as many bytes share a floor
    for case in cases:
        key, moved = (case.name, "floor"), case.input_bytes + case.output_bytes
        if moved in floor_of:
            del calls[key]
        else:
            floor_of[moved] = key
    times = interleave(calls, rounds, budget)
    for row in rows:
        name = row.case.name
        row.times = {peer: times[name, peer] for peer in PEERS if (name, peer) in times}
        row.times["floor"] = times[floor_of[row.case.input_bytes + row.case.output_bytes]]
    del calls
    gc.collect()
    return rows


def _prepare(row: Row) -> dict[str, Callable[[], Any]]:
    """The calls of all peers, each made once, with its result compared with gridgrad's."""
    case, data, mine = row.case, Data(row.case), None
    calls = {"floor": PEERS["floor"].prepare(data)}
    calls["floor"]()
    for name, peer in PEERS.items():
        if name == "floor":
            continue
        reason = peer.refuses(case)
        if reason is None and name not in case.peers:
            reason = NOT_COMPILED if name == "compiled" else "left out"
            if name == "findiff" and case.size >= 1 << 28:
                reason = "left out of the largest row, where it would take a fifth of the whole run"
        if reason is not None:
            row.left_out[name] = reason
            continue
        try:
            call = peer.prepare(data)
            result = call()
        except ImportError as error:
            row.left_out[name] = f"not installed: {error.name}"
            continue
        except Exception as error:
            if name != "compiled":  # it needs a C++ compiler on the machine
                raise
            row.left_out[name] = f"PyTorch could not compile it: {type(error).__name__}"
            continue
        found = as_arrays(result)
        if mine is None:
            mine = found
        else:
            compare(case, name, mine, found)
        calls[name] = call
    return calls


def _forget_compiled() -> None:
    """PyTorch keeps at most 8 compiled forms of one function, and tries them in turn."""
    try:
        import torch
    except ImportError:
        return
    torch._dynamo.reset()
