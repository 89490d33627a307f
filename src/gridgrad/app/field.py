"""A field: samples together with what is known about them."""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from gridgrad.app.source import FileProblem as FileProblem
from gridgrad.app.source import printable as printable
from gridgrad.app.source import shown as shown

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Step: TypeAlias = float | Array
"""The spacing along one dim: a step, or the positions of all samples."""


@dataclass(frozen=True)
class Dimension:
    """What is known about one dim: how it is called, and in what it is measured."""

    name: str
    label: str
    unit: str = ""
    origin: float = 0.0
    """Where the first sample stands, when the spacing is a step."""


@dataclass(frozen=True)
class Field:
    """Samples of one quantity on a grid."""

    values: Array
    title: str
    dims: tuple[Dimension, ...]
    label: str = "value"
    unit: str = ""
    step: str = "sample"
    """What one unit of spacing is: the denominator of a slope's unit."""
    spacing: tuple[Step, ...] | None = None
    """The spacing of every dim where the source itself tells it."""
    look: Literal["plain", "image", "terrain"] = "plain"
    notes: tuple[str, ...] = ()

    @property
    def slope_unit(self) -> str:
        """The unit of a first derivative: `m/m`, `grey levels/pixel`, or `per sample`."""
        return f"{self.unit}/{self.step}" if self.unit else f"per {self.step}"

    def component(self, dim: int) -> str:
        """The name of the derivative along `dim`, in tables and in .npz files."""
        return f"d_{self.dims[dim].name}"

    def spaced(self) -> "Field":
        """The same samples at a spacing that the user gave, in a unit that only the user knows."""
        return replace(self, step="unit of spacing")

    def measured(self, dim: int) -> str:
        """The label of the positions along `dim`."""
        known = self.dims[dim]
        return f"{known.label} ({known.unit})" if known.unit else known.label


def numbered(ndim: int) -> tuple[Dimension, ...]:
    """The dims of an array about which nothing is known."""
    return tuple(Dimension(f"dim{number}", f"dim {number}") for number in range(ndim))
