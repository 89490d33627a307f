"""The scripts in examples/, run small: each gets better at what it does, and draws."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The function that does the work, small arguments, and what its error must fall to, of what it was.
RUNS = {
    "fit_field": ("fit", {"n": 16, "steps": 60}, 0.7),
    "learn_grid": ("learn", {"n": 16, "steps": 60}, 0.8),
    "denoise_images": ("denoise", {"n": 2, "size": 24, "steps": 40}, 0.7),
}


def test_every_example_is_run():
    """That of distributed tensors is run by test_dtensor.py, on two ranks; the storm by test_docs.py."""
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*RUNS, "distributed", "make_storm"}


@pytest.mark.parametrize("name", RUNS)
def test_example(name, tmp_path):
    function, how, part = RUNS[name]
    module = load(name)
    found = getattr(module, function)(**how)
    before, after = found["error"]
    assert after < part * before
    module.draw(found, str(tmp_path / "picture.png"))
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", [*RUNS, "make_storm"])
def test_asked_for_help_it_ran_and_wrote_a_file_of_that_name(name, tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", "--help"], capture_output=True, text=True,
        cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.startswith("usage:")
    assert not list(tmp_path.iterdir())
