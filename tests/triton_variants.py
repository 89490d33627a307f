"""Compiles what the GPU engine runs, for a GPU that need not be there, and prints what came of it as JSON.

A program of its own, with TRITON_INTERPRET=0: Triton's interpreter and its compiler do not share a process.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from gridgrad.engines.triton_kernels import run_tile
from gridgrad.plan import Plan

from .triton_forms import cases, options, variant


def compile_for(plan: Plan, arrays: list[Any], compute: Any, arch: int = 90) -> Any:
    given = variant(plan, arrays, compute)
    constants = {name: each for name, each in given.items() if name.isupper()}
    signature = {**given, **dict.fromkeys(constants, "constexpr")}
    places = [(k, i) for k in range(2) for i in range(len(given[("inputs", "outputs")[k]]))]
    attrs = {place: [["tt.divisibility", 16]] for place in (*places, (3,), (4,))}
    return triton.compile(
        ASTSource(run_tile, signature, constants, attrs),
        target=GPUTarget("cuda", arch, 32),
        options=options(plan, arrays, compute),
    )


def told(kernel: Any) -> dict[str, Any]:
    """Vector loads and stores, registers, and bytes of the stack, where registers spill."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        words = subprocess.run(
            [tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    ptx = kernel.asm["ptx"]
    return {
        "loads": sorted(set(re.findall(r"ld\.global\.(\S+)", ptx))),
        "stores": sorted(set(re.findall(r"st\.global\.(\S+)", ptx))),
        "shared": kernel.metadata.shared,
        **{name: int(n) for name, n in re.findall(r"(REG|STACK|LOCAL):(\d+)", words)},
    }


def main() -> None:
    found = {name: told(compile_for(*case)) for name, case in cases().items()}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
