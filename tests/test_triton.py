"""The GPU engine under Triton's interpreter, against the reference engine and exact arithmetic.

Cases are those of the CPU engine's tests, with its bounds, and others that only PyTorch's tensors have.
"""

import math
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import gridgrad
from gridgrad.engines import memory, triton_device

from . import interpreting, test_engine
from .test_engine import BFLOAT16, GROUPS, cases, check

# Few, at half a second each: `test_triton_torch` runs whole calls through the same kernel.
CASES = {"real": 10, "integer": 7, "half": 10, "complex": 7, "wide": 8, "several": 7}


def tensor(x: Any) -> torch.Tensor:
    """The same memory as a tensor."""
    if x.dtype in (BFLOAT16, memory.BFLOAT16):
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def run(case: Any) -> list[Any]:
    """What `test_engine.run` does, by the other engine."""
    before = [x.tobytes() for x in case.inputs]
    computes = [getattr(torch, dtype.name) for dtype in case.computes]
    # One in three in several tiles.
    size = math.prod(case.inputs[0].shape)
    tiles = (max(size // 2, 16), 16) if size % 3 == 0 else (1024, 128)
    with interpreting.interpreting(*tiles):
        interpreting.run(
            case.plan, [tensor(x) for x in case.inputs], [tensor(x) for x in case.outputs], computes
        )
    assert [x.tobytes() for x in case.inputs] == before, "an input was changed"
    return [x.copy() for x in case.outputs]


@st.composite
def shapes(draw, large: bool = True):
    """Small ones: the interpreter takes a tenth of a second for a tile, which has three dims at most."""
    shape = [
        draw(st.sampled_from([1, 2, 3, 3, 4, 5, 6, 7, 11, 20]))
        for _ in range(draw(st.integers(1, 5)))
    ]
    while math.prod(shape[:-3]) > 2:
        shape[shape[:-3].index(max(shape[:-3]))] = draw(st.sampled_from([1, 2]))
    while math.prod(shape) > 500:
        shape[shape.index(max(shape))] = 3
    if max(shape) < 2:
        shape[-1] = 4
    return tuple(shape)


@pytest.mark.parametrize("group", GROUPS)
def test_agrees_with_the_reference_and_with_exact_arithmetic(group):
    # To look for a smaller case would take minutes.
    @settings(max_examples=CASES[group], phases=(Phase.explicit, Phase.generate))
    @given(cases(**GROUPS[group]))
    def agree(case):
        check(case, 1)

    with mock.patch.multiple(test_engine, run=run, shapes=shapes):
        agree()


@pytest.mark.parametrize("longest", [4, 128])
def test_bands_and_tiles_of_any_size_agree(longest):
    """A sample's sum does not depend on the tile that it is in, bit for bit."""
    f = torch.randn(5, 6, 7, generator=torch.Generator().manual_seed(0))
    found = []
    for samples, cache in ((4096, 1 << 30), (longest * 16, 3000)):
        with (
            interpreting.interpreting(samples, longest),
            interpreting.on_memory(),
            mock.patch.object(triton_device, "_CACHE", cache),
        ):
            found.append(gridgrad.gradient(f, spacing=0.3, accuracy=4))
    assert all(map(torch.equal, *found))
