"""What gridgrad imports, and what it must not: of other packages, and of its own modules."""

import ast
import inspect
import subprocess
import sys
from importlib.metadata import requires
from importlib.resources import files
from pathlib import Path

import pytest

import gridgrad

PACKAGE = Path(str(files("gridgrad")))
OTHERS = {"torch", "jax", "matplotlib", "typer", "xarray", "dask", "rich", "PIL"}
ON_FIRST_USE = {"numba", "llvmlite", "scipy"}  # the CPU engine's, and what Numba itself imports

# Each module may import only from those before its own line: nothing climbs back up.
HOUSE = [
    {"gridgrad._version", "gridgrad.caching", "gridgrad.errors"},
    {"gridgrad.boundary", "gridgrad.differences", "gridgrad.formulas"},
    {"gridgrad.positions"},
    {"gridgrad.spacing"},
    {"gridgrad.axis"},
    {"gridgrad.stencil"},
    {"gridgrad.discretization"},
    {"gridgrad.adjoint"},
    {"gridgrad.plan"},
    {"gridgrad.windows"},
    {"gridgrad.engines"},
    {"gridgrad.arrays"},
    {"gridgrad.calls"},
    {"gridgrad.operators", "gridgrad.matrices"},
    {"gridgrad.vectors"},
    {"gridgrad.labelled"},
    {"gridgrad"},
    {"gridgrad.numpy", "gridgrad.xarray", "gridgrad.app", "gridgrad.__main__"},
]


def loaded_after(program: str) -> set[str]:
    """The packages that a fresh interpreter has loaded after it ran the program."""
    program += "; import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["gridgrad", "gridgrad.numpy"])
def test_importing_imports_numpy_alone(module):
    loaded = loaded_after(f"import {module}")
    assert "numpy" in loaded
    assert not loaded & (OTHERS | ON_FIRST_USE)


@pytest.mark.parametrize(
    "call",
    [
        "gradient(numpy.ones((2, 3)), spacing=(1.0, [0, 1, 3]))",
        "gradient(numpy.ma.ones(4), edge_order=2)",
    ],
)
def test_using_numpy_imports_no_other_array_library(call):
    assert not loaded_after(f"import gridgrad, numpy; gridgrad.{call}") & OTHERS


def test_a_tensor_does_not_import_jax_nor_the_other_way_round():
    call = "import {0}, gridgrad; gridgrad.gradient({1})"
    assert "jax" not in loaded_after(call.format("torch", "torch.ones(3)"))
    assert "torch" not in loaded_after(call.format("jax", "jax.numpy.ones(3)"))


def test_little_is_required():
    required = [line for line in requires("gridgrad") if "extra ==" not in line]
    assert {line.partition(">")[0] for line in required} <= {"array-api-compat", "numba", "numpy"}


def test_is_typed():
    assert (PACKAGE / "py.typed").is_file()


def test_every_public_name_has_a_docstring():
    public = [
        name
        for name, value in vars(gridgrad).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    ]
    assert {"gradient", "GridError", "NonMonotonicWarning"} <= set(public)
    for name in public:
        assert inspect.getdoc(getattr(gridgrad, name)), name
    assert "Parameters" in inspect.getdoc(gridgrad.gradient)
    for module in modules():
        tree = ast.parse(module.read_text())
        short = len(tree.body) < 2  # an empty __init__, the version
        assert short or ast.get_docstring(tree), f"{module} has no docstring"


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = ("gridgrad", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> int:
    """The line of HOUSE that a module belongs to, by its longest listed ancestor."""
    while module:
        for floor, names in enumerate(HOUSE):
            if module in names:
                return floor
        module = module.rpartition(".")[0]
    raise AssertionError("not in the house")


def imported_by(path: Path) -> set[str]:
    """gridgrad's own modules that a file imports anywhere, in functions too."""
    found = set()
    names = {name_of(p) for p in modules()}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in names else node.module)
    return {name for name in found if name.partition(".")[0] == "gridgrad"}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_nothing_climbs_back_up(path):
    module = name_of(path)
    for other in imported_by(path):
        same_floor = floor_of(other) == floor_of(module)
        assert floor_of(other) < floor_of(module) or same_floor, f"{module} imports {other}"
        if floor_of(module) < floor_of("gridgrad.engines"):
            assert not same_floor or other == module, f"{module} imports its neighbour {other}"


def test_every_module_is_in_the_house():
    """A new module gets its place by being written into HOUSE, not by falling under the package."""
    top = {name_of(path) for path in modules() if path.parent == PACKAGE}
    packages = {
        name_of(path / "__init__.py")
        for path in PACKAGE.iterdir()
        if (path / "__init__.py").is_file()
    }
    assert top | packages <= set().union(*HOUSE)


def test_there_are_no_import_circles():
    graph = {name_of(path): imported_by(path) for path in modules()}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module in done:
            return
        for other in graph.get(module, ()):
            if other != "gridgrad" or module != "gridgrad":
                visit(other, (*above, module))
        done.add(module)

    for module in graph:
        visit(module, ())
