"""The table of cases: what is computed. It drives the comparison of results, the timing and the memory.

A case says the shape, dtype, layout and spacing of the data, the dims, the order at the edges and whether
the outputs are given. It does not say who computes it; `peers.py` does.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

GRIDGRAD = ("gridgrad", "gridgrad-torch")
EAGER = ("numpy", "torch", "jax", "findiff")
ALL = (*GRIDGRAD, *EAGER, "compiled")
STEP = 0.5


@dataclass(frozen=True)
class Case:
    """One gradient to compute. Cases that name the same `together` are timed in the same rounds."""

    name: str
    group: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    layout: str = "contiguous"  # or transposed, or sliced: every second sample of the last dim
    spacing: str = "step"  # or coordinates, or mixed: coordinates for the last dim only
    dims: tuple[int, ...] | None = None
    edge_order: int = 1
    accuracy: int = 2
    operator: str = "gradient"  # or laplacian, or divergence
    out: bool = False
    untouched: bool = False  # outputs in memory that this process has never used, whatever is kept
    peers: tuple[str, ...] = (*GRIDGRAD, *EAGER)
    together: str = ""

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def differentiated(self) -> tuple[int, ...]:
        return tuple(range(len(self.shape))) if self.dims is None else self.dims

    @property
    def inputs(self) -> int:
        return len(self.differentiated) if self.operator == "divergence" else 1

    @property
    def outputs(self) -> int:
        return len(self.differentiated) if self.operator == "gradient" else 1

    @property
    def result_dtype(self) -> np.dtype[Any]:
        """The dtype of gridgrad's result for a NumPy array."""
        return np.dtype("float64" if self.dtype == "int16" else self.dtype)

    @property
    def input_bytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize * self.inputs

    @property
    def output_bytes(self) -> int:
        return self.size * self.result_dtype.itemsize * self.outputs

    @property
    def described(self) -> str:
        """The case in words, for the tables."""
        shape = " x ".join(map(str, self.shape))
        if len(self.shape) > 1 and len(set(self.shape)) == 1:
            shape = f"{self.shape[0]}^{len(self.shape)}"
        words = [shape, self.dtype]
        if self.operator != "gradient":
            words.insert(0, self.operator)
        if len(self.shape) > 1:
            dims = "all dims"
            if self.dims is not None:
                dims = f"dim {self.dims[0]}" if len(self.dims) == 1 else f"dims {self.dims}"
            words.append(dims)
        if self.spacing != "step":
            words.append("steps and coordinates" if self.spacing == "mixed" else self.spacing)
        if self.accuracy != 2:
            words.append(f"accuracy {self.accuracy}")
        if self.edge_order != 1:
            words.append(f"edge order {self.edge_order}")
        if self.layout != "contiguous":
            words.append(self.layout)
        if self.out:
            words.append("preallocated")
        if self.untouched:
            words.append("memory never used before")
        return ", ".join(words)


class Data:
    """The samples of a case and where they stand; made once, shared by all peers."""

    def __init__(self, case: Case) -> None:
        self.case = case
        if case.layout == "transposed":
            self.x = _samples(case.shape[::-1], case.dtype).transpose()
        elif case.layout == "sliced":
            self.x = _samples((*case.shape[:-1], 2 * case.shape[-1]), case.dtype)[..., ::2]
        else:
            self.x = _samples(case.shape, case.dtype)
        if case.operator == "divergence":
            self.x = [self.x, *(self.x[::-1].copy() for _ in range(case.inputs - 1))]

    @cached_property
    def spacing(self) -> list[Any]:
        """For each differentiated dim a step, or coordinates in the precision of the samples."""
        dims = self.case.differentiated
        uneven = {"step": (), "coordinates": dims, "mixed": dims[-1:]}[self.case.spacing]
        single = self.case.dtype in ("float32", "complex64")
        found: list[Any] = []
        for dim in dims:
            if dim not in uneven:
                found.append(STEP)
                continue
            steps = np.random.default_rng(dim).uniform(0.5, 1.5, self.case.shape[dim])
            found.append(np.cumsum(steps).astype("float32" if single else "float64"))
        return found


def _samples(shape: tuple[int, ...], dtype: str) -> Any:
    """Noise, repeated: random numbers for a GiB would take longer than all the timing of it."""
    rng = np.random.default_rng(2024)
    block: Any = rng.standard_normal(min(math.prod(shape), 2**20 + 7))
    if dtype == "int16":  # the range of elevations in metres, where PyTorch's integers do not wrap
        block = block * 2000
    elif dtype == "complex64":
        block = block + 1j * rng.permutation(block)
    return np.resize(block.astype(dtype), shape)


CUBE = (256, 256, 256)
SQUARE = (4096, 4096)


def _marks() -> list[Case]:
    def cube(name: str, **how: Any) -> Case:
        return Case(name, "marks", CUBE, together="cube", **how)

    return [
        cube("cube out", out=True),
        cube("cube", peers=ALL),
        cube("cube coordinates", spacing="coordinates", peers=ALL),
        cube("cube untouched", untouched=True, peers=(*GRIDGRAD, "numpy", "torch", "jax")),
        cube("cube accuracy 8", accuracy=8, out=True, peers=GRIDGRAD),
        cube("laplacian", operator="laplacian", out=True, peers=(*GRIDGRAD, "numpy", "findiff")),
        cube("divergence", operator="divergence", out=True, peers=(*GRIDGRAD, "numpy", "findiff")),
        cube("cube first", dims=(0,), out=True),
        cube("cube middle", dims=(1,), out=True),
        cube("cube last", dims=(2,), out=True),
        Case("square", "marks", SQUARE, together="square"),
        Case("square transposed", "marks", SQUARE, layout="transposed", together="square"),
        Case("thousand", "marks", (1000,), "float64", peers=ALL),
    ]


def _sweep() -> list[Case]:
    """Compiled PyTorch is left out: it compiles anew for each shape, which takes seconds.

    findiff is left out of the largest, where it would take a fifth of the whole run.
    """
    lengths = [2**k for k in (4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26)]
    sides = [4, 8, 16, 32, 64, 128, 200, 320]
    return [
        *(Case(f"line {n}", "sweep", (n,)) for n in lengths),
        Case("line GiB", "sweep", (2**28,), peers=(*GRIDGRAD, "numpy", "torch", "jax")),
        *(Case(f"box {n}", "sweep", (n, n, n)) for n in sides),
    ]


def _forms() -> list[Case]:
    cases: list[Case] = []

    def add(name: str, shape: tuple[int, ...], **how: Any) -> None:
        cases.append(Case(name, "forms", shape, **{"peers": ALL, **how}))

    box, image, field = (160, 160, 160), (2048, 2048), (24, 16, 96, 128)
    add("box float64", box, dtype="float64")
    for dtype in ("complex64", "int16"):
        add(f"box {dtype}", box, dtype=dtype, peers=(*GRIDGRAD, *EAGER))
    add("box float64 coordinates", box, dtype="float64", spacing="coordinates")
    add("box float64 out", box, dtype="float64", out=True)
    add("box edge 2", box, edge_order=2)
    add("box transposed", box, layout="transposed", peers=(*GRIDGRAD, *EAGER))
    for dim in range(3):
        add(f"box dim {dim}", box, dims=(dim,), peers=(*GRIDGRAD, *EAGER))
    add(
        "line coordinates",
        (2**20,),
        dtype="float64",
        spacing="coordinates",
        peers=(*GRIDGRAD, *EAGER),
    )
    add("line edge 2", (2**22,), dtype="float64", edge_order=2, peers=(*GRIDGRAD, *EAGER))
    add("line sliced", (2**22,), layout="sliced", peers=(*GRIDGRAD, *EAGER))
    add("line int16", (2**22,), dtype="int16", peers=(*GRIDGRAD, *EAGER))
    add("line complex64", (2**21,), dtype="complex64", peers=(*GRIDGRAD, *EAGER))
    add("image", image)
    add("image first", image, dims=(0,), peers=(*GRIDGRAD, *EAGER))
    add("image last", image, dims=(1,), peers=(*GRIDGRAD, *EAGER))
    add("image sliced", image, layout="sliced", peers=(*GRIDGRAD, *EAGER))
    add("image coordinates edge 2", image, spacing="coordinates", edge_order=2)
    add("image mixed", image, dtype="float64", spacing="mixed", peers=(*GRIDGRAD, *EAGER))
    add("field", field)
    add("field dims", field, dtype="float64", dims=(2, 3), peers=(*GRIDGRAD, *EAGER))
    add("field first coordinates", field, dims=(0,), spacing="coordinates")
    add("field transposed", field, layout="transposed", peers=(*GRIDGRAD, *EAGER))
    add("small image", (64, 64), peers=(*GRIDGRAD, *EAGER))
    add(
        "small image coordinates",
        (64, 64),
        dtype="float64",
        spacing="coordinates",
        peers=(*GRIDGRAD, *EAGER),
    )
    add(
        "small line coordinates",
        (1000,),
        dtype="float64",
        spacing="coordinates",
        peers=(*GRIDGRAD, *EAGER),
    )
    add("small line out", (1000,), dtype="float64", out=True, peers=GRIDGRAD)
    return cases


def _memory() -> list[Case]:
    """Large inputs, whose peak memory is measured in a process of their own."""
    box = (400, 400, 400)
    return [
        Case("memory box", "memory", box, peers=ALL),
        Case(
            "memory box coordinates", "memory", box, spacing="coordinates",
            peers=(*GRIDGRAD, "numpy", "torch", "findiff"),
        ),
        Case("memory box out", "memory", box, out=True, peers=GRIDGRAD),
        Case("memory box transposed", "memory", box, layout="transposed", peers=GRIDGRAD),
        Case("memory box int16", "memory", box, "int16", dims=(2,), peers=(*GRIDGRAD, "numpy")),
        Case("memory line", "memory", (2**26,), peers=(*GRIDGRAD, "numpy", "torch")),
        Case(
            "memory line coordinates", "memory", (2**22,), "float64", spacing="coordinates",
            peers=("gridgrad", "numpy", "torch"),
        ),
    ]  # fmt: skip


CASES = {case.name: case for case in (*_marks(), *_sweep(), *_forms(), *_memory())}
GROUPS = ("marks", "sweep", "forms")
assert len(CASES) == sum(map(len, (_marks(), _sweep(), _forms(), _memory()))), "names are unique"


def units(groups: tuple[str, ...], most_bytes: int | None = None) -> list[list[Case]]:
    """The cases to time, in lists that are timed in the same rounds, so that they can be compared."""
    found: dict[str, list[Case]] = {}
    for case in CASES.values():
        moved = case.input_bytes + case.output_bytes
        if case.group in groups and (most_bytes is None or moved <= most_bytes):
            found.setdefault(case.together or case.name, []).append(case)
    return list(found.values())
