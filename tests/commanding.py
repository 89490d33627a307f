"""How the tests of the command run it, and what they expect of it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from gridgrad.app.cli import app

HILL = np.exp(-(np.mgrid[-2:2:30j, -3:3:40j] ** 2).sum(axis=0))


def call(*words: object) -> Any:
    """Run `gridgrad ...` in this process."""
    return CliRunner().invoke(app, list(map(str, words)))


def done(*words: object) -> Any:
    result = call(*words)
    assert (result.exit_code, result.exception) == (0, None), result.stderr
    return result


def command(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `gridgrad ...` in a process of its own, with warnings as errors."""
    settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    program = (sys.executable, "-W", "error", "-m", "gridgrad", *map(str, words))
    return subprocess.run(program, text=True, check=False, timeout=120, **settings)


def after(code: str) -> list[str]:
    """The program that runs the command after some code, which may break things."""
    # A shell has what it runs in the background ignore interrupts, and so tests that run there.
    heard = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"import os, signal, sys\n{heard}\n{code}\nfrom gridgrad.app import main\nmain()"
    return [sys.executable, "-c", code]


def script(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own after some code."""
    return subprocess.run(
        [*after(code), *map(str, words)], capture_output=True, text=True, check=False, timeout=120
    )


def refused(result: Any) -> str:
    """The one line with which the command ended at status 2."""
    status = result.returncode if hasattr(result, "returncode") else result.exit_code
    assert status == 2, result.stderr
    assert not result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("gridgrad: ")
    assert line.endswith(".")
    assert "Traceback" not in line
    assert "fault in gridgrad" not in line
    return str(line)


def contents() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def save(values: Any, name: str = "f.npy") -> str:
    np.save(name, values)
    return name
