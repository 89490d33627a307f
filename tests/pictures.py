"""What tests ask of figures before they are pixels."""

import io
import warnings
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from gridgrad.app.pictures.sheet import save, styled

Y, X = np.mgrid[-2:2:60j, -3:3:90j]
HILL = np.exp(-(X**2) - Y**2)


def labelled(values: Any, name: str = "values", **coords: Any) -> xr.DataArray:
    """An array as a file without coordinates gives it, or with those given for its dims."""
    values = np.asarray(values)
    dims = [*coords, *(f"dim{k}" for k in range(len(coords), values.ndim))]
    known = {dim: where for dim, where in coords.items() if where is not None}
    found = xr.DataArray(values, dims=dims, name=name)
    return found.assign_coords(
        {
            dim: where if isinstance(where, xr.DataArray) else (dim, where)
            for dim, where in known.items()
        }
    )


def along(dim: str, values: Any, **attrs: Any) -> xr.DataArray:
    """A coordinate with its attributes."""
    return xr.DataArray(values, dims=dim, attrs=attrs)


def saved(figure: Figure, suffix: str = ".png") -> bytes:
    file = io.BytesIO()
    save(figure, file, suffix)
    return file.getvalue()


def laid_out(figure: Figure) -> None:
    """All of the drawing but for the pixels, which take longest."""
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.draw_without_rendering()


def panels(figure: Figure) -> list[Any]:
    """The axes that show data; a colour bar's are not among them."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def images(figure: Figure) -> list[Any]:
    return [axes.images[0] for axes in panels(figure) if axes.images]


def arrows(figure: Figure) -> list[Quiver]:
    return [item for axes in figure.axes for item in axes.collections if isinstance(item, Quiver)]


def words(figure: Figure) -> str:
    every = [each for axes in figure.axes for each in (axes, *axes.child_axes)]
    texts = [axes.get_title(loc="left") + axes.get_title() for axes in every]
    texts += [axes.get_xlabel() + " " + axes.get_ylabel() for axes in every]
    return " | ".join([figure.get_suptitle(), *texts])


def ticks(axis: Any) -> list[str]:
    """What is written along an axis."""
    return [label.get_text() for label in axis.get_ticklabels() if label.get_text()]
