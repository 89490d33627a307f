"""A file that was opened: a Dataset whose samples are read when they are asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from gridgrad.errors import GridError

if TYPE_CHECKING:
    import xarray as xr

# xarray is imported where a file is opened: `gridgrad --help` answers at once.

Look: TypeAlias = Literal["plain", "image", "terrain"]


class FileProblem(GridError):
    """A file that cannot be read, or cannot be written."""


@dataclass(frozen=True)
class Source:
    """What a file holds.

    The variables of `dataset` are read when they are indexed, where the format allows it, and a fault in
    the file is then a `FileProblem`. Their `encoding` says how they lie in the file.
    """

    dataset: "xr.Dataset"
    title: str
    """For people: the name of the file, or what the sample shows."""
    path: Path | None = None
    """None for a sample."""
    counts_samples: bool = False
    """The format has no coordinates, so that a dim without one has the step 1 without being asked."""
    look: Look = "plain"
    notes: tuple[str, ...] = ()
    """What was assumed, in sentences."""

    def close(self) -> None:
        """Close the file; what has not been read by then cannot be read any more."""
        self.dataset.close()


def shown(name: str | Path) -> str:
    """A file name in quotes, on one line, whatever characters are in it."""
    return repr(str(name))


def printable(text: str) -> str:
    """A name with spaces where it has characters that would move the cursor, or mean nothing."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
