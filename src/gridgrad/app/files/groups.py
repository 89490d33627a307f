"""What xarray finds in a file that names its dims; variables may be in groups, as files are in folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from gridgrad.app.files.choice import numeric, unknown
from gridgrad.app.files.lazy import guarded
from gridgrad.app.source import FileProblem, Source, shown


def labelled(path: Path, var: Sequence[str] | None, store: Any = None, **engine: Any) -> Source:
    """The variables of the root, or of the group that `var` leads into (`group/name`).

    Where the root has no numbers and one group has, that group is meant. `store` is what xarray's engine
    opens, if that is not the path.
    """
    place = path if store is None else store
    group = _group(path, place, var, **engine) if any("/" in name for name in var or ()) else ""
    dataset, notes = _opened(path, place, group, **engine)
    if var is None and not any(numeric(each) and each.ndim for each in dataset.data_vars.values()):
        there = _groups(place, **engine)
        if len(there) > 1:
            dataset.close()
            raise FileProblem(
                f"{shown(path)} has its arrays in groups; choose one with --var: "
                f"{', '.join(_inside(there))}."
            )
        for group in there:
            dataset.close()
            dataset, notes = _opened(path, place, group, **engine)
    return Source(guarded(dataset, path), title=path.name, path=path, notes=notes)


def _opened(
    path: Path, place: Any, group: str, **engine: Any
) -> tuple[xr.Dataset, tuple[str, ...]]:
    """A dataset whose samples are not read, and what had to be left out of its decoding."""
    options = dict(engine, group=group.strip("/") or None, cache=False, chunks=None)
    try:
        return xr.open_dataset(place, **options), ()
    except ValueError as fault:
        # "months since 1850", say, is a unit that CF has, but no length of time.
        if "decode time" not in str(fault):
            raise
        note = f"The times in {shown(path)} are in no unit of time and were read as numbers."
        return xr.open_dataset(place, decode_times=False, **options), (note,)


def _group(path: Path, place: Any, var: Sequence[str] | None, **engine: Any) -> str:
    """The group that all of these variables are in."""
    groups = {f"/{name.rpartition('/')[0].strip('/')}" for name in var or ()}
    if len(groups) > 1:
        raise FileProblem(
            f"--var must name variables of one group of {shown(path)}, but these are of {len(groups)}: "
            f"{', '.join(sorted(groups))}."
        )
    (group,) = groups
    there = _groups(place, **engine)
    for name in var or ():
        if name.strip("/") not in _inside(there):
            raise unknown(name, path, _inside(there))
    return group


def _groups(place: Any, **engine: Any) -> dict[str, list[str]]:
    """The groups that have arrays of numbers, and the names of these."""
    found = xr.open_groups(place, decode_times=False, **engine)
    try:
        return {
            group: names
            for group, dataset in found.items()
            if (names := [str(name) for name, each in dataset.data_vars.items() if numeric(each)])
        }
    finally:
        for dataset in found.values():
            dataset.close()


def _inside(groups: dict[str, list[str]]) -> list[str]:
    return sorted(f"{group}/{name}".strip("/") for group, names in groups.items() for name in names)
