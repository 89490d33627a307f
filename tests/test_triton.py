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

from gridgrad.engines import memory

from . import interpreting, test_engine
from .test_engine import BFLOAT16, GROUPS, cases, check

CASES = {"real": 8, "integer": 8, "half": 16, "complex": 8, "wide": 12, "several": 12}


def tensor(x: Any) -> torch.Tensor:
    """The same memory as a tensor."""
    if x.dtype in (BFLOAT16, memory.BFLOAT16):
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def run(case: Any) -> list[Any]:
    """What `test_engine.run` does, by the other engine."""
    before = [x.tobytes() for x in case.inputs]
    computes = [getattr(torch, dtype.name) for dtype in case.computes]
    # In tiles of half of the samples at most.
    with interpreting.interpreting(max(math.prod(case.inputs[0].shape) // 2, 16), 16):
        interpreting.run(
            case.plan, [tensor(x) for x in case.inputs], [tensor(x) for x in case.outputs], computes
        )
    assert [x.tobytes() for x in case.inputs] == before, "an input was changed"
    return [x.copy() for x in case.outputs]


@pytest.mark.parametrize("group", GROUPS)
def test_agrees_with_the_reference_and_with_exact_arithmetic(group):
    small = [(4097,), (3, 64, 64), (33, 127), (2, 40, 3, 20)]

    # To look for a smaller case would take minutes: the interpreter is slow.
    @settings(max_examples=CASES[group], phases=(Phase.explicit, Phase.generate))
    @given(cases(**GROUPS[group]))
    def agree(case):
        with mock.patch.object(test_engine, "run", run):
            check(case, 1)

    with mock.patch.object(test_engine, "LARGE", small):
        agree()
