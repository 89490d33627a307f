"""Compiles what the GPU engine runs, for a GPU that need not be there, and prints what came of it as JSON.

Run as a program of its own, since the interpreter and the compiler do not share a process.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)

import numpy as np
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import gridgrad
from gridgrad.calls import Call
from gridgrad.engines import triton as engine
from gridgrad.engines.triton_kernels import run_tile
from gridgrad.plan import Plan, gradient_plan

TYPES = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int8: "*i8",
    torch.int64: "*i64",
    torch.uint8: "*u8",
}


def plan_of(shape: tuple[int, ...], dim: Any = None, **how: Any) -> Plan:
    call = Call((torch.empty(shape, device="meta"),), ("input",), dim=dim, **how)
    return gradient_plan({each.dim: call.stencil(k) for k, each in enumerate(call.axes)})


def compiled(plan: Plan, arrays: list[Any], dtype: torch.dtype, arch: int) -> Any:
    launch = engine.launch_of(plan, arrays, dtype)
    kinds = [TYPES[x.dtype] for x in arrays]
    signature = {
        "inputs": tuple(kinds[: plan.inputs]),
        "outputs": tuple(kinds[plan.inputs :]),
        "sizes": tuple("i64" if size >= 2**31 else "i32" for size in launch.sizes),
        "places": "*i64",
        "numbers": TYPES[dtype],
        **dict.fromkeys(launch.constants, "constexpr"),
    }
    places = [(0, k) for k in range(plan.inputs)] + [(1, k) for k in range(plan.outputs)]
    attrs = {place: [["tt.divisibility", 16]] for place in (*places, (3,), (4,))}
    source = ASTSource(run_tile, signature, launch.constants, attrs)
    return triton.compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": engine._WARPS})


def told(name: str, plan: Plan, arrays: list[Any], dtype: torch.dtype, arch: int) -> dict[str, Any]:
    kernel = compiled(plan, arrays, dtype, arch)
    ptx = kernel.asm["ptx"]
    return {
        "name": name,
        "loads": sorted(set(re.findall(r"ld\.global\S*", ptx))),
        "stores": sorted(set(re.findall(r"st\.global\S*", ptx))),
        "lines": len(ptx.splitlines()),
        "shared": kernel.metadata.shared,
        "hash": kernel.hash,
        "cubin": kernel.asm["cubin"].hex() if "--cubin" in sys.argv else len(kernel.asm["cubin"]),
    }
