"""PyTorch's distributed tensors on 2 and on 4 processes of this machine, which talk by gloo.

What the processes check stands in `dtensor_ranks.py`; here each check of each group is a test.
"""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

RANKS = Path(__file__).with_name("dtensor_ranks.py")
CHECKS = (
    "check_generated",
    "check_nothing_is_sent_along_other_dims",
    "check_known_bytes",
    "check_long_coordinates",
    "check_derivatives_of_derivatives",
    "check_gradients_that_lie_otherwise",
    "check_transforms",
    "check_transforms_of_several",
    "check_modes",
    "check_hessians",
    "check_compiled_code",
    "check_zeros_have_the_same_sign",
    "check_ranks_in_any_order",
    "check_no_values",
    "check_mixed_dtypes",
    "check_refusals",
    "check_ranks_beside_the_mesh",
)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="ranks are forked")


def environment():
    """Processes find each other on this machine alone, and compute on one thread each."""
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return {"GLOO_SOCKET_IFNAME": loopback, "OMP_NUM_THREADS": "1", **os.environ}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each rank found: by the size of its group, a list of ranks' answers to each check."""
    folder = tmp_path_factory.mktemp("ranks")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(RANKS), str(folder)], capture_output=True, text=True,
        timeout=500, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    read = {}
    for count in (2, 4):
        paths = [folder / f"{count}-{rank}.json" for rank in range(count)]
        read[count] = [
            json.loads(path.read_text()) if path.exists() else {"start": done.stderr or "it hung"}
            for path in paths
        ]
    return read


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("count", [2, 4])
def test_ranks(found, count, check):
    for rank, answers in enumerate(found[count]):
        answer = answers.get(check, f"not reached: {answers}")
        assert isinstance(answer, dict), f"rank {rank} of {count}: {answer}"


@pytest.mark.parametrize("count", [2, 4])
def test_what_is_sent_arrives(found, count):
    """In every call as many bytes as all ranks together sent were received, and each by whom it needs."""
    calls = zip(*(answers["check_generated"]["counts"] for answers in found[count]), strict=True)
    total = 0
    for ranks in calls:
        assert sum(sent for sent, _ in ranks) == sum(received for _, received in ranks)
        total += sum(sent for sent, _ in ranks)
    assert total > 0


def test_the_example_smooths_the_field_as_one_process_does():
    example = RANKS.parents[1] / "examples" / "distributed.py"
    for _ in range(3):
        done = subprocess.run(
            [
                sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
                str(example),
            ],
            capture_output=True, text=True, timeout=300, env=environment(),
        )  # fmt: skip
        # On a busy machine PyTorch now and then ends a process so when it leaves its group (a thread of its
        # own is not joined), after the work is done.
        if "terminate called without an active exception" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    program = runpy.run_path(str(example))
    losses = program["descend"](program["noise"](128).requires_grad_(), h=1 / 128)
    assert losses[-1] < losses[0] / 100
    assert done.stdout.splitlines() == [
        "2 processes, 64 of 128 rows on the first",
        f"roughness {losses[0]:.1f} at first, {losses[-1]:.1f} after 20 steps",
    ]


def test_every_check_is_a_test():
    names = {
        line.partition("(")[0].removeprefix("def ")
        for line in RANKS.read_text().splitlines()
        if line.startswith("def check_")
    }
    assert names == set(CHECKS)
