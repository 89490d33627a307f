"""The marks that gridgrad must reach, and whether it does."""

from collections.abc import Callable
from typing import NamedTuple

from benchmarks.dask_marks import DaskMarks
from benchmarks.running import Results
from benchmarks.xarray_marks import worst


class Mark(NamedTuple):
    """A required bound: `at_most` of a quantity or, failing that, at least."""

    work: str
    quantity: str
    at_most: bool
    bound: float
    unit: str
    measure: Callable[[Results, str], float | None]

    def met(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound

    @property
    def required(self) -> str:
        return f"{'at most' if self.at_most else 'at least'} {self.bound:g}{self.unit}"

    def shown(self, value: float | None) -> str:
        return "not measured" if value is None else f"{value:.3g}{self.unit}"


def _floor(case: str) -> Callable[[Results, str], float | None]:
    return lambda found, stat: (
        found.rows[case].ratio("gridgrad", "floor", stat) if case in found.rows else None
    )


def _rival(case: str, rival: str) -> Callable[[Results, str], float | None]:
    return lambda found, stat: found.rows[case].against(rival, stat) if case in found.rows else None


def _own(above: str, below: str) -> Callable[[Results, str], float | None]:
    return lambda found, stat: found.across(above, below, "gridgrad", stat)


def _memory(is_line: bool) -> Callable[[Results, str], float | None]:
    """The worst of gridgrad's rows, of those with coordinates for a long 1-D input or of all others."""

    def worst(found: Results, stat: str) -> float | None:
        return max(
            (
                each.percent
                for each in found.memory
                if each.peer.startswith("gridgrad")
                and is_line == (len(each.case.shape) == 1 and each.case.spacing != "step")
            ),
            default=None,
        )

    return worst


def _import(found: Results, stat: str) -> float | None:
    start = found.startup
    return None if start is None else 1e3 * (start.gridgrad_import - start.numpy_import)


def _first(name: str) -> Callable[[Results, str], float | None]:
    return lambda found, stat: None if found.startup is None else getattr(found.startup, name)


def _dask(value: Callable[[DaskMarks, str], float]) -> Callable[[Results, str], float | None]:
    return lambda found, stat: None if found.dask is None else value(found.dask, stat)


def _faster(mine: str, other: str) -> Callable[[Results, str], float | None]:
    """How many times faster a training step is than another's."""
    return lambda found, stat: found.training and found.training.ratio(other, mine, stat)


def _over(mine: str, other: str) -> Callable[[Results, str], float | None]:
    return lambda found, stat: found.training and found.training.ratio(mine, other, stat)


def _training_memory(found: Results, stat: str) -> float | None:
    return found.training and found.training.percent


_CUBE = "256^3 float32, all dims"
_FLOOR = "time over the floor's"
_PEAK = "peak memory beyond the outputs, of the input"
_SLABS = "512^3 float32 in Dask slabs of 64, the maximum of each component"
_X = " x"

MARKS = (
    Mark(f"{_CUBE}, preallocated", _FLOOR, True, 1.3, _X, _floor("cube out")),
    Mark(f"{_CUBE}, fresh", "faster than numpy.gradient", False, 3.5, _X, _rival("cube", "numpy")),
    Mark(f"{_CUBE}, fresh", "faster than torch.gradient", False, 10, _X, _rival("cube", "torch")),
    Mark(f"{_CUBE}, fresh", "faster than compiled torch", False, 3, _X, _rival("cube", "compiled")),
    Mark(f"{_CUBE}, fresh", "faster than jitted JAX", False, 3, _X, _rival("cube", "jax")),
    Mark(
        f"{_CUBE}, coordinates, fresh", "faster than numpy.gradient", False, 8, _X,
        _rival("cube coordinates", "numpy"),
    ),
    Mark(
        f"{_CUBE}, coordinates, fresh", "faster than torch.gradient", False, 12, _X,
        _rival("cube coordinates", "torch"),
    ),
    Mark(
        f"{_CUBE}, coordinates, fresh", "time over our own with a step", True, 1.2, _X,
        _own("cube coordinates", "cube"),
    ),
    Mark("256^3 float32, first dim, preallocated", _FLOOR, True, 1.4, _X, _floor("cube first")),
    Mark("256^3 float32, middle dim, preallocated", _FLOOR, True, 1.4, _X, _floor("cube middle")),
    Mark("256^3 float32, last dim, preallocated", _FLOOR, True, 1.4, _X, _floor("cube last")),
    Mark(
        f"{_CUBE}, preallocated, accuracy 8", "time over that of accuracy 2", True, 1.6, _X,
        _own("cube accuracy 8", "cube out"),
    ),
    Mark(f"laplacian, {_CUBE}, preallocated", _FLOOR, True, 1.5, _X, _floor("laplacian")),
    Mark(
        f"laplacian, {_CUBE}, preallocated", "faster than numpy.gradient twice", False, 8, _X,
        _rival("laplacian", "numpy"),
    ),
    Mark(
        f"laplacian, {_CUBE}, preallocated", "faster than findiff", False, 8, _X,
        _rival("laplacian", "findiff"),
    ),
    Mark(f"divergence, {_CUBE}, preallocated", _FLOOR, True, 1.4, _X, _floor("divergence")),
    Mark(
        "4096^2 float32, transposed", "time over the contiguous one's", True, 1.5, _X,
        _own("square transposed", "square"),
    ),
    Mark("1,000 samples, float64", "faster than numpy.gradient", False, 1.5, _X, _rival("thousand", "numpy")),
    Mark("1,000 samples, float64", "faster than torch.gradient", False, 3, _X, _rival("thousand", "torch")),
    Mark("large inputs, the worst row", _PEAK, True, 1, " %", _memory(False)),
    Mark("a long 1-D input with coordinates", _PEAK, True, 1, " %", _memory(True)),
    Mark(
        _SLABS, "faster than dask.array.gradient", False, 2, _X,
        _dask(lambda dask, stat: dask.faster(stat)),
    ),
    Mark(
        _SLABS, "peak memory beyond the input, of dask.array.gradient's", True, 60, " %",
        _dask(lambda dask, stat: dask.memory_percent),
    ),
    Mark(_SLABS, "tasks a block", True, 6, "", _dask(lambda dask, stat: dask.tasks["gridgrad"])),
    Mark(
        "64 x 64, a labelled derivative, the worst row", "time over xarray's differentiate", True, 2, _X,
        lambda found, stat: None if found.xarray is None else worst(found.xarray, stat),
    ),
    Mark("import gridgrad", "time beyond `import numpy`", True, 50, " ms", _import),
    Mark("first call, kernel on disk", "time", True, 1, " s", _first("warm_call")),
    Mark("first call ever", "time", True, 5, " s", _first("cold_call")),
    Mark(
        f"{_CUBE}, forward and backward", "faster than torch.gradient", False, 12, _X,
        _faster("cube", "cube torch"),
    ),
    Mark(
        f"{_CUBE}, a loss, eager", "faster than torch.gradient", False, 4, _X,
        _faster("loss", "loss torch"),
    ),
    Mark(
        f"{_CUBE}, the same compiled", "time over jitted JAX's", True, 1.2, _X,
        _over("compiled", "compiled jax"),
    ),
    Mark(f"{_CUBE}, backward", _FLOOR, True, 1.5, _X, _over("cube backward", "cube floor")),
    Mark(
        f"{_CUBE}, forward and backward", "peak memory beyond all results, of the input", True, 5, " %",
        _training_memory,
    ),
    Mark(
        "1,000 samples, forward and backward", "faster than torch.gradient", False, 2, _X,
        _faster("thousand", "thousand torch"),
    ),
    Mark(
        "1,000 samples, forward", "faster than torch.gradient", False, 3, _X,
        _faster("forward", "forward torch"),
    ),
    Mark(
        f"{_CUBE}, a compiled step", "time over slices by hand", True, 1, _X,
        _over("compiled", "compiled slices"),
    ),
    Mark(
        "2048^2 float32, all dims, a compiled step", "time over slices by hand", True, 1, _X,
        _over("sheet", "sheet slices"),
    ),
    Mark(
        "512^2 x 3 float32, all dims, a compiled step", "time over slices by hand", True, 1, _X,
        _over("image", "image slices"),
    ),
    Mark(
        "64^3 float32, all dims, a compiled step", "time over slices by hand", True, 1, _X,
        _over("middle", "middle slices"),
    ),
    Mark(
        "128^2 float32, all dims, a compiled step", "time over slices by hand", True, 1, _X,
        _over("small", "small slices"),
    ),
)  # fmt: skip
