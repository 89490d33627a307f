"""Images as samples: one number a pixel, rows from top to bottom."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from gridgrad.app.source import Source, shown

if TYPE_CHECKING:
    from PIL import Image

# Luminance of linear red, green and blue after ITU-R BT.709; on the gamma-coded values of a file it
# gives the luma.
REC_709 = (0.2126, 0.7152, 0.0722)


def read(path: Path, var: Sequence[str] | None, coordinate: str | None) -> Source:
    """The grey levels of an image, as the variable `grey` with the dims row and column."""
    del var, coordinate
    from PIL import Image, ImageOps

    # Pillow logs what it finds wrong in a file, which is told in a sentence here.
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    notes: list[str] = []
    with Image.open(path) as image:
        if (frames := getattr(image, "n_frames", 1)) > 1:
            notes.append(f"{shown(path)} holds {frames} images; the first was read.")
        if image.getexif().get(0x0112, 1) != 1:
            notes.append(f"{shown(path)} was turned upright, as its camera recorded.")
        if image.mode == "RGB" and "16" in str(image.tile):
            notes.append(f"{shown(path)} has colours of 16 bits, of which Pillow reads 8.")
        values = _grey(ImageOps.exif_transpose(image), shown(path), notes)
    dataset = xr.Dataset({"grey": (("row", "column"), values, {"long_name": "grey level"})})
    return Source(
        dataset,
        title=path.name,
        path=path,
        counts_samples=True,
        look="image",
        notes=tuple(notes),
    )


def _grey(image: "Image.Image", name: str, notes: list[str]) -> Any:
    """One number a pixel; what is lost on the way is noted."""
    if image.mode in ("P", "PA", "1"):
        # A palette's numbers are names of colours, and 1-bit pixels are truth values: neither can
        # be subtracted.
        transparent = "transparency" in image.info or image.mode == "PA"
        image = image.convert("L" if image.mode == "1" else "RGBA" if transparent else "RGB")
    if image.mode in ("LA", "La", "RGBA", "RGBa"):
        notes.append(f"The alpha channel of {name} was dropped.")
        # By hand, because Pillow's own conversion from premultiplied alpha changes the colours.
        image = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode))
        image = image.getchannel("L") if image.mode == "LA" else image.convert("RGB")
    if image.mode in ("L", "F", "I") or image.mode.startswith("I;16"):
        return np.asarray(image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    notes.append(f"The colours of {name} became grey levels by the Rec. 709 luminance.")
    grey: Any = np.asarray(image, dtype=np.float64) @ np.array(REC_709)
    return grey
