"""The pages in docs/ that hold examples."""

import doctest
import os
import re
import runpy
import sys
from pathlib import Path

import pytest

from .commanding import call

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["poisson.md", "torch.md", "xarray.md"])
def test_examples_give_what_they_say(page):
    found = doctest.testfile(str(DOCS / page), module_relative=False)
    assert found.attempted > 3
    assert not found.failed


def test_the_session_prints_what_the_page_says(tmp_path, monkeypatch):
    """Every line after a $ is run, in order, and what follows it is what it prints."""
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "cli.md").read_text()
    blocks = [part.split("\n```")[0] for part in text.split("```console\n")[1:]]
    lines = [each for block in blocks for each in f"\n{block}".split("\n$ ")[1:]]
    assert len(lines) >= 8
    for entry in lines:
        line, _, wanted = entry.partition("\n")
        program, *words = line.split()
        if program == "python":
            monkeypatch.setattr(sys, "argv", words)
            runpy.run_path(str(DOCS.parent / words[0]), run_name="__main__")
        else:
            assert program == "gridgrad"
            # What took more than a second, on a busy machine, is told with its rate.
            printed = re.sub(r"': [\d.]+ [kM]B in .*/s\)\.", "'.", call(*words).output)
            assert printed.rstrip() == wanted.rstrip(), line
    assert {"storm.nc", "vorticity.nc", "winds.png", "vorticity.png"} == set(os.listdir())
