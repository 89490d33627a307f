"""`python -m benchmarks`: run the benchmarks, print their tables, write their page and picture."""

import argparse
import time
import warnings
from pathlib import Path

from rich.console import Console

from benchmarks import (
    dask_marks,
    machine,
    memory,
    page,
    picture,
    report,
    startup,
    training,
    xarray_marks,
)
from benchmarks.cases import CASES, GROUPS, units
from benchmarks.checking import Mismatch
from benchmarks.running import Results, run_unit

DOCS = Path(__file__).parent.parent / "docs"
PARTS = (*GROUPS, "memory", "dask", "xarray", "training", "start")
# A quick run leaves out cases that move more bytes than this.
_QUICK_BYTES = 300_000_000


def main() -> int:
    given = _arguments()
    said = Console(stderr=True)
    parts: tuple[str, ...] = (given.only,) if given.only else PARTS
    if given.only == "marks":
        parts = ("marks", "memory", "dask", "xarray", "training", "start")
    facts = machine.facts()
    if dict(facts)["load when the run began"] > "0.8":
        said.print("warning: other programs are using this machine", style="yellow")
    # findiff and PyTorch's compiler warn about themselves, not about the results.
    warnings.simplefilter("ignore")
    found = Results()
    begun = time.perf_counter()
    try:
        _time(found, parts, given.quick, said)
        if "memory" in parts and not given.quick:
            _measure_memory(found, given.only == "marks", said)
        if "dask" in parts and not given.quick:
            said.print("Dask arrays: time and memory")
            found.dask = dask_marks.measure()
        if "start" in parts:
            said.print("starting: imports and first calls")
            found.startup = startup.measure(*((5, 1) if given.quick else (15, 3)))
        if "xarray" in parts:
            said.print("labelled arrays: the accessor beside xarray's own")
            found.xarray = xarray_marks.measure()
        if "training" in parts:
            said.print("training: steps on PyTorch, forwards and backwards")
            found.training = training.measure(*((3, 0.2) if given.quick else (7, 3.0)), given.quick)
    except Mismatch as error:
        said.print(f"error: {error}", style="bold red")
        return 1
    said.print(f"done in {time.perf_counter() - begun:.0f} s")
    _show(found)
    if given.only or given.quick or given.no_write:
        said.print("docs/benchmarks.md is not written: that takes a whole run")
        return 0
    facts.append(("load when it ended, its own included", machine.load()))
    picture.draw(found, DOCS / "benchmarks.png")
    (DOCS / "benchmarks.md").write_text(page.page(found, facts), encoding="utf-8")
    said.print("written: docs/benchmarks.md, docs/benchmarks.png")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="run one part; writes nothing")
    parser.add_argument(
        "--quick", action="store_true", help="small cases, few repeats; writes nothing"
    )
    parser.add_argument("--no-write", action="store_true", help="print the tables, write nothing")
    return parser.parse_args()


def _time(found: Results, parts: tuple[str, ...], quick: bool, said: Console) -> None:
    work = units(tuple(p for p in parts if p in GROUPS), _QUICK_BYTES if quick else None)
    for k, cases in enumerate(work):
        start = time.perf_counter()
        said.print(
            f"[{k + 1}/{len(work)}] {'; '.join(c.described for c in cases)}", end=" ", markup=False
        )
        for row in run_unit(cases, *((3, 0.2) if quick else (7, 1.0))):
            found.rows[row.case.name] = row
        said.print(f"{time.perf_counter() - start:.1f} s")


def _measure_memory(found: Results, only_ours: bool, said: Console) -> None:
    for case in (case for case in CASES.values() if case.group == "memory"):
        for peer in case.peers:
            if only_ours and not peer.startswith("gridgrad"):
                continue
            said.print(f"memory: {peer}, {case.described}", markup=False)
            measured = memory.measure(case, peer)
            if measured is not None:
                found.memory.append(measured)


def _show(found: Results) -> None:
    console = Console(width=None if Console().is_terminal else 150)
    tables = [
        report.times_table("Time against size", found.of("sweep")),
        report.times_table("Dtypes, layouts, spacing, edges", found.of("forms")),
        report.times_table("The cases of the marks", found.of("marks")),
        report.memory_table(found),
        report.startup_table(found),
        report.training_table(found),
    ]
    others = (found.memory, found.dask, found.xarray, found.startup, found.training)
    if found.of("marks") or any(others):
        tables.append(report.marks_table(found))
    for table in tables:
        report.show(table, console)
    console.print("Peers' columns: how many times faster gridgrad is. Below 1, it loses.")


if __name__ == "__main__":
    raise SystemExit(main())
