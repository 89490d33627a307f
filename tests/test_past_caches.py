"""Large results, which are written past the caches: no bit of them may differ from those that are not.

Rows are made in stretches, lines of the cache are put together from parts, and samples at edges inside rows
come as patches. All of it is asked here of small arrays.
"""

from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import gridgrad
from gridgrad import calls
from gridgrad.engines import cpu, jobs, program, tables

from .grids import spoilt

# Samples beside each output, which must stay as they are.
_GUARD = 48


@dataclass
class Call:
    """A call with arrays of its own, each output at its own place in a line of the cache."""

    shape: tuple[int, ...]
    dtype: str
    operator: str
    options: dict[str, Any]
    places: list[int]
    bad: float
    """Which part of the samples is not finite, or so large that sums are not."""
    seed: int
    stretch: int

    def input(self) -> Any:
        return spoilt(self.shape, self.dtype, self.bad, self.seed)

    def run(self, x: Any, *, past_caches: bool) -> list[bytes]:
        rooms = [np.full(x.size + 2 * _GUARD, 7, x.dtype) for _ in range(x.ndim)]
        if self.operator == "laplacian":
            rooms = rooms[:1]
        out = []
        for room, place in zip(rooms, self.places, strict=False):
            first = _GUARD // 2 + place - room.ctypes.data % 64 // room.itemsize
            out.append(room[first : first + x.size].reshape(x.shape))
        with (
            mock.patch.object(jobs, "STREAMED", 0 if past_caches else 1 << 60),
            mock.patch.object(tables, "STRETCH_BYTES", self.stretch),
            mock.patch.object(program, "CHUNK_BYTES", min(self.stretch, program.CHUNK_BYTES)),
            mock.patch.dict(cpu._tables, clear=True),
            mock.patch.dict(calls._known, clear=True),
            np.errstate(all="ignore"),
        ):
            if self.operator == "laplacian":
                gridgrad.laplacian(x, out=out[0], **self.options)
            else:
                gridgrad.gradient(x, out=tuple(out), **self.options)
        found = [each.tobytes() for each in out]
        for each in out:
            each[...] = 7
        assert all((room == 7).all() for room in rooms), "memory beside an output was written"
        return found


@st.composite
def some_calls(draw: Any) -> Call:
    last = draw(st.one_of(st.integers(20, 300), st.sampled_from([64, 128, 256, 4096])))
    before = draw(st.lists(st.integers(9, 24), max_size=2))
    shape = (*before, last, *draw(st.sampled_from([(), (), (), (10,), (33,)])))
    boundary = draw(st.sampled_from(["one-sided", "one-sided", "periodic", "reflect", 1.5]))
    lines = draw(st.booleans()) and boundary == "one-sided"
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    spacing: Any = 0.5
    if lines:
        spacing = [np.cumsum(rng.integers(1, 4, n) / 4).astype(dtype) for n in shape]
    options: dict[str, Any] = {"spacing": spacing, "boundary": boundary}
    operator = draw(st.sampled_from(["gradient", "laplacian"]))
    options["accuracy"] = draw(st.sampled_from([2, 2, 4, 6] if operator == "gradient" else [2, 4]))
    if operator == "gradient" and options["accuracy"] == 2 and draw(st.booleans()):
        options["edge_order"] = 2
    places = draw(st.lists(st.integers(0, 15), min_size=len(shape), max_size=len(shape)))
    return Call(
        shape, dtype, operator, options, places, draw(st.sampled_from([0, 0, 1e-4, 0.01])),
        draw(st.integers(0, 99)), draw(st.sampled_from([1 << 16, 1 << 14, 4096, 1024])),
    )  # fmt: skip


@settings(max_examples=400)
@given(some_calls())
def test_no_bit_differs_past_the_caches(call: Call) -> None:
    x = call.input()
    assert call.run(x, past_caches=True) == call.run(x, past_caches=False)


def test_threads_share_a_large_result() -> None:
    x = np.random.default_rng(0).standard_normal((20, 300, 400)).astype(np.float32)
    room = np.empty(x.size + 16, np.float32)
    out = room[5 : 5 + x.size].reshape(x.shape)
    with (
        mock.patch.object(jobs, "STREAMED", 0),
        mock.patch.object(jobs, "SERIAL", 0),
        mock.patch.dict(cpu._tables, clear=True),
        mock.patch.dict(calls._known, clear=True),
    ):
        gridgrad.laplacian(x, accuracy=4, out=out)
    whole = gridgrad.laplacian(x, accuracy=4)
    assert out.tobytes() == whole.tobytes()
