"""The page: docs/benchmarks.md, written by the run. Nobody edits it by hand."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from benchmarks import machine, report
from benchmarks.cases import STEP, Case
from benchmarks.checking import KNOWN
from benchmarks.marks import MARKS
from benchmarks.peers import PEERS
from benchmarks.running import Results, Row

COMMAND = "make bench"


class Reason(NamedTuple):
    """Why gridgrad is slower than some peer on some cases."""

    title: str
    applies: Callable[[Case, str], bool]
    text: str


# The first that applies is the reason given. A losing row that none fits is marked as not yet explained.
REASONS = (
    Reason(
        "Small inputs",
        lambda case, rival: case.input_bytes <= 1 << 20,
        "The time goes into reading the arguments, not into arithmetic. gridgrad checks them in "
        "Python: spacing, dims, dtypes. Jitted JAX and compiled PyTorch did so when they compiled, for "
        "one shape and one spacing.",
    ),
    Reason(
        "Samples that are not neighbours in memory",
        lambda case, rival: case.layout == "sliced",
        "The kernel reads rows of neighbours. A sliced input is first gathered into blocks that fit in "
        "the cache. JAX has no strides: its copy was made before the clock ran.",
    ),
    Reason(
        "Integers",
        lambda case, rival: case.dtype == "int16",
        "gridgrad gives float64 for a NumPy integer array, as NumPy does, and converts block by block. "
        "PyTorch and JAX give float32, which is half the bytes to write.",
    ),
    Reason(
        "Long lines with coordinates",
        lambda case, rival: len(case.shape) == 1 and case.spacing == "coordinates",
        "Nothing but the coordinates is kept of such a line, so that the weights of every sample are made "
        "anew at each call, in sums of two doubles, which keeps them right to the last places. The others "
        "make them in plain doubles, and lose digits where coordinates are large beside their gaps.",
    ),
    Reason(
        "Compiled code for one shape",
        lambda case, rival: rival in ("jax", "compiled") and len(case.differentiated) == 1,
        "With one dim there is one input to read and one output to write, for us as for them. A "
        "compiler that knows the shape does that in one pass too, and is near the same floor.",
    ),
    Reason(
        "New memory for middle-sized results",
        lambda case, rival: not case.out and case.output_bytes <= 1 << 27,
        "While inputs still fit in the last-level cache, memory for results costs as much as the derivative: "
        "compare the rows of 160^3 in float64 with and without outputs given. PyTorch and JAX are handed "
        "the same memory again by an allocator that keeps it; gridgrad marks what it keeps as free, so "
        "that the system may have it, and some of it has to be found again.",
    ),
)


_UNEXPLAINED = Reason(
    "Not yet explained", lambda case, rival: True, "These rows wait for an explanation."
)


def page(found: Results, facts: Iterable[tuple[str, str]]) -> str:
    """The whole page, as Markdown."""
    commit = machine.commit()
    when = [("date", datetime.now(UTC).strftime("%Y-%m-%d"))]
    if commit:
        when.append(("commit", commit))
    parts = [
        "# Benchmarks",
        _intro(),
        "## The marks",
        report.markdown(report.marks_table(found)),
        _missed(found),
        "## Time against size",
        "![Time against size for gridgrad, its peers and a plain copy](benchmarks.png)",
        "float32, fresh outputs, one step for all dims. Compiled PyTorch is not in this sweep: it "
        "compiles anew for each shape, which takes seconds.",
        report.markdown(report.times_table("", found.of("sweep"))),
        "## The cases of the marks",
        report.markdown(report.times_table("", found.of("marks"))),
        "## Dtypes, layouts, spacing, edges",
        report.markdown(report.times_table("", found.of("forms"))),
        "## Where gridgrad loses",
        _losses(found),
        "## Peak memory",
        _memory_text(),
        report.markdown(report.memory_table(found)),
        "## Training on PyTorch",
        _training_text(),
        report.markdown(report.training_table(found)),
        "## Starting",
        _startup_text(found),
        report.markdown(report.startup_table(found)),
        "## How it was measured",
        _method(found),
        "## Machine and versions",
        machine.lines([*facts, *machine.versions(), *when, ("command", f"`{COMMAND}`")]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _intro() -> str:
    return (
        f"This page is written by `{COMMAND}`. All numbers on it come from one run on one machine. Compare "
        "ratios, not times: times change from machine to machine and from hour to hour.\n\n"
        "In the tables of times, *gridgrad* is its median time for a NumPy array. *Over floor* is that "
        "time over the time of a plain copy that moves as many bytes. The columns of peers say how many "
        "times faster gridgrad is than that peer: below 1, gridgrad loses. Rows with a loss are in bold. "
        "A dash stands where a peer cannot do the work or is left out; the reasons are below."
    )


def _missed(found: Results) -> str:
    missed = [m for m in MARKS if (v := m.measure(found, "median")) is not None and not m.met(v)]
    if not missed:
        return "All marks that were measured are met."
    names = "; ".join(f"{mark.work} ({mark.quantity})" for mark in missed)
    return f"Missed: {names}."


def _losses(found: Results) -> str:
    """The losing rows, each under the reason for it."""
    groups: dict[Reason, list[str]] = {}
    for row in found.rows.values():
        losses: dict[Reason, list[str]] = {}
        for rival in row.lost():
            reason = next((r for r in REASONS if r.applies(row.case, rival)), _UNEXPLAINED)
            text = f"{PEERS[rival].label} {report.ratio(row.against(rival))}"
            losses.setdefault(reason, []).append(text)
        for reason, texts in losses.items():
            groups.setdefault(reason, []).append(f"- {row.case.described}: {', '.join(texts)}")
    if not groups:
        return "In no row of this run."
    order = [reason for reason in (*REASONS, _UNEXPLAINED) if reason in groups]
    return "\n\n".join(
        f"**{reason.title}.** {reason.text}\n\n" + "\n".join(groups[reason]) for reason in order
    )


def _memory_text() -> str:
    return (
        "What one call takes at its peak, beyond its input and its outputs. Each number comes from a "
        "process of its own. It calls once, lets go of the result, has the kernel forget the peak of its "
        "resident memory (5 into `/proc/self/clear_refs`), calls again and reads the new peak (`VmHWM`). "
        "The kernel counts in pages and per CPU, so that a few hundred KiB are noise."
    )


def _training_text() -> str:
    return (
        "float32, all dims, a step of 1, or float32 coordinates that are tensors. Gradients of the results "
        "are given, that of the input is made by "
        "`torch.autograd.grad`, in new memory: PyTorch offers no way to give it. The loss is the sum of the "
        "squares of all derivatives; a step is that loss and its gradient. *Slices* is the same loss written "
        "by hand with slices of the tensor. Losses and gradients were compared before the clock ran. The "
        "peak memory in the marks is what a forward and a backward pass take beyond the derivatives and the "
        "gradient of the input, in a process of their own."
    )


def _startup_text(found: Results) -> str:
    if found.startup is None:
        return ""
    return (
        f"Each in a new process, in turns; medians of {found.startup.repeats} repeats, of "
        f"{found.startup.cold_repeats} for the first call ever, which finds an empty folder for compiled "
        "kernels. The call is a gradient of 1,000 float64 samples."
    )


def _method(found: Results) -> str:
    notes = [
        "The same table of cases (`benchmarks/cases.py`) drives the comparison and the timing. Before a "
        "peer is timed, its result is compared with gridgrad's, to within 64 units of the last place of "
        "the largest result. A difference stops the run, unless it is listed here:",
        "",
        *(f"- {PEERS[each.peer].label}: {each.reason}." for each in KNOWN),
        "",
        "All peers of a row are timed in one process, in turns, in a new order each round: at least 7 "
        "rounds, in each 3 times where a call takes less than 20 ms, and 3 times in all where it takes "
        "0.8 s or more. The shortest calls are timed in loops of a millisecond. "
        "Compilers run before the clock does. The time includes letting go of the result. "
        "Outputs are fresh unless a row says preallocated. gridgrad keeps the memory of large results that "
        "nobody holds any more for the next ones, as a program that calls it again and again finds it; a row "
        "that says so has it forget that memory before each call, as in a first call.",
        "",
        "The floor is `numpy.copyto` over pieces of 256 KiB, in as many threads as gridgrad uses, or in one "
        "where little is copied and that is faster. Rows timed together that move as many bytes share it. "
        "It reads and writes memory that was touched before, so the floor knows nothing of the cost of fresh "
        "memory. Before each call there is a pause of 10 ms, in which the threads of the call before, which "
        "in some libraries wait busily for the next, go to sleep.",
        "",
        "NumPy, JAX and findiff are compared with gridgrad on NumPy arrays, PyTorch with gridgrad on "
        f"tensors. Steps are {STEP:g}. Coordinates are uneven, in the precision of the samples. JAX runs "
        "with 64-bit types allowed; its arrays have no strides, so transposed and sliced inputs are laid "
        "out for it before the clock runs. findiff's operators are made before the clock runs. PyTorch "
        "takes no steps beside coordinates, so steps are written out as coordinates for it.",
        "",
        "Left out:",
        "",
        *_left_out(found.rows.values()),
    ]
    return "\n".join(notes)


def _left_out(rows: Iterable[Row]) -> list[str]:
    reasons = dict.fromkeys(
        (PEERS[name].label, reason)
        for row in rows
        for name, reason in row.left_out.items()
        if reason != "left out"
    )
    return [f"- {label}: {reason}." for label, reason in sorted(reasons)]
