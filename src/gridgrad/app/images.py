"""Images as fields: one number a pixel, rows from top to bottom."""

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gridgrad.app.field import Array, Dimension, Field, FileProblem, shown

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

# Luminance of linear red, green and blue after ITU-R BT.709; on the gamma-coded values of a file it
# gives the luma.
REC_709 = (0.2126, 0.7152, 0.0722)


def read_image(path: Path) -> Field:
    """An image in grey levels, one pixel apart."""
    # Importing Pillow takes a while, so that happens only for those who have an image.
    from PIL import Image, ImageOps

    # Pillow logs what it finds wrong in a file, which is told in a sentence here.
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            # Pillow warns of images beyond 90 million pixels, and refuses those beyond twice that.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if (frames := getattr(image, "n_frames", 1)) > 1:
                    notes.append(f"{shown(path)} holds {frames} images; the first was read.")
                if image.getexif().get(0x0112, 1) != 1:
                    notes.append(f"{shown(path)} was turned upright, as its camera recorded.")
                if image.mode == "RGB" and "16" in str(image.tile):
                    notes.append(f"{shown(path)} has colours of 16 bits, of which Pillow reads 8.")
                values = _grey(ImageOps.exif_transpose(image), shown(path), notes)
    except Exception as fault:
        # Decoders raise many types for broken files; only a fault of the system has an errno, and
        # it stays itself.
        if isinstance(fault, MemoryError | ModuleNotFoundError) or getattr(fault, "errno", None):
            raise
        raise FileProblem(f"{shown(path)} cannot be read as an image.") from fault
    return Field(
        values=values,
        title=path.name,
        dims=(Dimension("dim0", "row", "pixels"), Dimension("dim1", "column", "pixels")),
        label="grey level",
        unit="grey levels",
        step="pixel",
        look="image",
        notes=tuple(notes),
    )


def _grey(image: "Image.Image", name: str, notes: list[str]) -> Array:
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
    grey: Array = np.asarray(image, dtype=np.float64) @ np.array(REC_709)
    return grey
