"""What the CPU engine makes together: rows, lines inside rows, and the edges of many lines.

No bit of it may differ from what is made row after row and edge after edge. That is for arrays whose rows are
long; it is asked here of small ones.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gridgrad
from gridgrad import calls
from gridgrad.engines import cpu, jobs, program, tables
from gridgrad.engines.layout import (
    EDGE_FIRST,
    EDGE_LAST,
    LINES_TOGETHER,
    MEMBERS,
    MOST_COLUMNS,
    TOGETHER,
)

from .grids import spoilt

KINDS = {"rows": TOGETHER, "lines": LINES_TOGETHER, "edges": EDGE_FIRST}


@dataclass
class Call:
    shape: tuple[int, ...]
    dtype: str
    dim: int
    options: dict[str, Any]
    layout: str
    place: int
    """Where in a line of the cache the output begins."""
    bad: float
    """Which part of the samples is not finite, or so large that sums are not."""
    seed: int
    streams: bool
    chunk: int
    operator: str = "derivative"
    """Or its backward pass, or the backward pass of a laplacian."""

    def input(self) -> Any:
        room = tuple(n + 3 for n in self.shape) if self.layout == "sliced" else self.shape
        x = spoilt(room, self.dtype, self.bad, self.seed)
        if self.layout == "sliced":
            x = x[tuple(slice(2, -1) for _ in room)]
        return x[::-1] if self.layout == "reversed" else x

    def run(self, x: Any, *, together: bool) -> tuple[bytes, Counter[str]]:
        seen: Counter[str] = Counter()
        group = tables._Tables._group

        def grouped(made: Any) -> None:
            group(made)
            for term in made.terms:
                for name, column in KINDS.items():
                    seen[name] += bool(term[column])
                    if not together:
                        term[column] = 0

        room = np.full(x.size + 64, 7, self.dtype)
        first = 16 + self.place - room.ctypes.data % 64 // room.itemsize
        out = room[first : first + x.size].reshape(x.shape)
        before = x.tobytes()
        with (
            mock.patch.object(tables._Tables, "_group", grouped),
            mock.patch.object(jobs, "STREAMED", 0 if self.streams else 1 << 60),
            mock.patch.object(program, "CHUNK_BYTES", self.chunk),
            mock.patch.dict(cpu._tables, clear=True),
            mock.patch.dict(calls._known, clear=True),
            np.errstate(all="ignore"),
        ):
            self.call(x, out)
        assert x.tobytes() == before
        found = out.tobytes()
        out[...] = 7
        assert (room == 7).all(), "memory beside the output was written"
        return found, seen

    def call(self, x: Any, out: Any) -> None:
        if self.operator == "derivative":
            gridgrad.derivative(x, dim=self.dim, out=out, **self.options)
            return
        given = torch.tensor(x.copy("C"))
        at = torch.zeros_like(given, requires_grad=True)
        if self.operator == "backward":
            found = gridgrad.derivative(at, dim=self.dim, **self.options)
        else:
            # Uneven along the first dim and periodic along the last, whose transposes differ in kind.
            spacing = (np.cumsum(1.0 + np.arange(x.shape[0]) % 3), 0.5)
            found = gridgrad.laplacian(
                at, dim=(0, -1), spacing=spacing, boundary=("one-sided", "periodic"),
                accuracy=min(self.options.get("accuracy", 2), 4),
            )  # fmt: skip
        out[...] = torch.autograd.grad(found, at, given)[0].numpy()


@st.composite
def some_calls(draw: Any) -> Call:
    before = draw(st.lists(st.integers(1, 13), min_size=1, max_size=2))
    last = draw(st.sampled_from([10, 17, 32, 64, 96, 100, 131, 200, 300]))
    shape = (*before, draw(st.integers(5, 90)), last) if last < 32 else (*before, last)
    dim = draw(st.integers(0, len(shape) - 1))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    options: dict[str, Any] = {"spacing": draw(st.sampled_from([0.5, 0.3]))}
    if draw(st.booleans()):
        # Some neighbours stand evenly, so that the sample between them has no weight.
        steps = rng.choice(draw(st.sampled_from([[1, 2, 3], [1.0], [0.7, 0.9]])), shape[dim])
        options["spacing"] = np.cumsum(steps).astype(dtype)
    else:
        options["boundary"] = draw(st.sampled_from(["one-sided", "periodic", "reflect", 1.5]))
        options["order"] = draw(st.sampled_from([1, 1, 2]))
    most = [p for p in (2, 4, 6, 8) if shape[dim] >= p + 4]
    if most:
        options["accuracy"] = draw(st.sampled_from(most))
    else:
        shape = (*shape[:dim], 9, *shape[dim + 1 :])
        if isinstance(options["spacing"], np.ndarray):
            options["spacing"] = (np.arange(9) ** 2).astype(dtype)
    return Call(
        shape, dtype, dim, options, draw(st.sampled_from(["contiguous", "sliced", "reversed"])),
        draw(st.sampled_from([0, 0, 0, 4, 7])), draw(st.sampled_from([0, 0, 0, 1e-4, 0.01])),
        draw(st.integers(0, 99)), draw(st.booleans()), draw(st.sampled_from([512, 1 << 12, 12 << 10])),
        draw(st.sampled_from(["derivative", "backward", *["laplacian"] * (shape[0] >= 9)])),
    )  # fmt: skip


@settings(max_examples=400)
@given(some_calls())
def test_no_bit_differs_from_one_after_another(call: Call) -> None:
    x = call.input()
    assert call.run(x, together=True)[0] == call.run(x, together=False)[0]


@pytest.mark.parametrize(
    ("kind", "shape", "dim", "spacing"),
    [
        ("rows", (12, 64), 0, 0.5),
        ("rows", (12, 64), 0, "uneven"),
        ("lines", (3, 12, 32), 1, "uneven"),
        ("edges", (12, 64), 1, 0.5),
    ],
)
def test_each_kind_is_made_together(kind: str, shape: Any, dim: int, spacing: Any) -> None:
    if spacing == "uneven":
        spacing = np.cumsum(np.random.default_rng(1).uniform(1, 2, 12))
    call = Call(shape, "float64", dim, {"spacing": spacing}, "contiguous", 0, 0, 3, False, 512)
    assert call.run(call.input(), together=True)[1][kind] == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(40, 4100), (9, 30_000)])
def test_the_transpose_on_coordinates_reads_no_further_than_its_zeros(
    shape: Any, dtype: str
) -> None:
    """Its weights are those of samples, not of differences: what is subtracted is one short row of zeros."""
    spacing = np.cumsum(np.random.default_rng(1).uniform(1, 2, shape[0]))
    call = Call(
        shape, dtype, 0, {"spacing": spacing}, "contiguous", 0, 0, 3, False, 12 << 10, "backward"
    )
    x = call.input()
    found, seen = call.run(x, together=True)
    assert found == call.run(x, together=False)[0]
    # The forward pass alone: what stands after the zeros may be zeros, by chance.
    assert seen["rows"] == 1


def test_a_laplacian_with_more_steps_than_there_is_room_for_columns() -> None:
    """Backwards, where what is subtracted is no sample of the line, each step takes two columns."""
    at = torch.randn(60, 50, 100, dtype=torch.float64, requires_grad=True)
    given = torch.randn(60, 50, 100, dtype=torch.float64)
    seen = []
    group = tables._Tables._group

    def grouped(made: Any) -> None:
        group(made)
        for term in made.terms:
            # As many as what its edges read and all that its group's steps do, each end by itself.
            steps = max(count for _, count, _ in made._rules_of(term))
            seen.append((term[MEMBERS], term[EDGE_FIRST] + term[EDGE_LAST], steps))

    with (
        mock.patch.object(tables._Tables, "_group", grouped),
        mock.patch.dict(cpu._tables, clear=True),
    ):
        found = gridgrad.laplacian(at, dim=(0, 2), accuracy=12, boundary=("one-sided", "periodic"))
        torch.autograd.grad(found, at, given)
    backward = seen[-2:]
    (members, columns, _), (_, _, steps) = backward
    assert members == 2
    assert columns == 0 or columns + 2 * steps <= MOST_COLUMNS
