"""A short run of the stress test; python tests/stress.py --seconds 60 is the long one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not (hasattr(os, "fork") and Path("/proc/self/statm").exists()),
    reason="the stress test forks, and reads its memory from /proc",
)


def test_threads_and_children_together():
    script = Path(__file__).with_name("stress.py")
    done = subprocess.run(
        [sys.executable, script, "--seconds", "5"],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("No wrong value, deadlock or leak: ")
    assert done.stderr == ""


def test_a_wrong_value_is_found():
    """Else the test above would prove nothing."""
    folder = Path(__file__).parent
    program = f"""
import sys, threading
sys.path.insert(0, {str(folder)!r})
sys.argv = ["stress.py", "--seconds", "1"]
import stress, gridgrad
right, all_jobs = gridgrad.gradient, stress.jobs

def jobs():
    found = all_jobs()[:3]
    stress.gridgrad.gradient = wrong
    return found

def wrong(f, **options):
    results = right(f, **options)
    if threading.current_thread() is not threading.main_thread():
        results[0].flat[0] += 1
    return results

stress.jobs = jobs
sys.exit(stress.main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 1
    assert "The stress test failed: in a thread: gradient of " in done.stderr
    assert "gave a wrong value" in done.stderr
