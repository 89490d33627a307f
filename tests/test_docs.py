"""The pages in docs/ that hold examples."""

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["poisson.md", "torch.md", "xarray.md"])
def test_examples_give_what_they_say(page):
    found = doctest.testfile(str(DOCS / page), module_relative=False)
    assert found.attempted > 3
    assert not found.failed
