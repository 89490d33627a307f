"""The scripts in examples/, run small: each gets better at what it does, and draws."""

import importlib.util
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
