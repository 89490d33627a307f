"""GRIB 1 and 2, by cfgrib; to read only."""

from collections.abc import Sequence
from pathlib import Path

import cfgrib

from gridgrad.app.files.choice import unknown
from gridgrad.app.files.lazy import guarded
from gridgrad.app.source import FileProblem, Source, shown


def read(path: Path, var: Sequence[str] | None, coordinate: str | None) -> Source:
    """The variables that share a grid: all, or those of `var`.

    One file may hold several grids, say the pressure at the ground beside winds on levels.
    """
    del coordinate
    # Without an index file, which cfgrib would leave beside the input.
    found = cfgrib.open_datasets(str(path), backend_kwargs={"indexpath": ""}, cache=False)
    names = [str(name) for dataset in found for name in dataset.data_vars]
    for name in var or ():
        if name not in names:
            raise unknown(name, path, names)
    fitting = [each for each in found if all(name in each for name in var or ())]
    if len(fitting) != 1:
        what = f"{', '.join(var)} on several grids" if var and fitting else "several grids"
        raise FileProblem(
            f"{shown(path)} holds {what}; choose variables of one with --var: "
            + "; ".join(", ".join(map(str, each.data_vars)) for each in found)
            + "."
        )
    (dataset,) = fitting
    return Source(guarded(dataset, path), title=path.name, path=path)
