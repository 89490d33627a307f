"""docs/parity.md: every test that it names exists, and every kind of deviation is in it."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "parity.md").read_text()
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "test"), NAMED, ids="::".join)
def test_a_named_test_exists(file, test):
    tree = ast.parse((TESTS / file).read_text())
    assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_many_are_named():
    assert len(NAMED) > 40


def test_all_ten_faults_are_listed():
    for number in range(1, 11):
        assert f"\n| {number}. " in PAGE


def test_tables_are_whole():
    width = 0
    for line in PAGE.splitlines():
        cells = line.count("|") if line.startswith("|") else 0
        assert not cells or not width or cells == width, line
        width = cells
