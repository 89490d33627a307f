"""Whatever a library raises at a broken file becomes one sentence that names the file."""

import ctypes
import errno
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gridgrad.app.source import FileProblem, shown
from gridgrad.errors import GridError


@contextmanager
def opening(path: Path, called: str) -> Iterator[None]:
    """While a file is opened, which is `called` NetCDF, Zarr, ..."""
    try:
        with warnings.catch_warnings():
            # Libraries warn of headers that others wrote, of codecs beyond a specification, and so on:
            # nothing that makes the numbers wrong.
            warnings.simplefilter("ignore")
            yield
    except (GridError, MemoryError, ModuleNotFoundError):
        raise
    except Exception as fault:
        if isinstance(fault, OSError) and fault.errno:
            raise FileProblem(f"{shown(path)} cannot be read: {reason(fault)}.") from fault
        # NumPy, zipfile, zlib, HDF5 and the like raise a dozen types between them.
        if "allow_pickle" in str(fault) or "Python objects" in str(fault):
            raise objects(path) from fault
        raise FileProblem(f"{shown(path)} cannot be read as {called}: {reason(fault)}.") from fault


@contextmanager
def reading(path: str, what: str) -> Iterator[None]:
    """While samples are read from a file that was opened.

    Warnings are left alone: this happens in many threads at once, and filters are not theirs.
    """
    try:
        yield
    except (GridError, MemoryError, ModuleNotFoundError):
        raise
    except Exception as fault:
        raise FileProblem(
            f"The samples of {what!r} in {shown(path)} cannot be read: {reason(fault)}."
        ) from fault


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """While a file is written: what libraries raise where the disk is full becomes an OSError."""
    try:
        yield
    except Exception as fault:
        _never_freed(fault)
        if isinstance(fault, OSError) and fault.errno:
            raise OSError(fault.errno, os.strerror(fault.errno), fault.filename) from fault
        if not (isinstance(fault, OSError) or type(fault) is RuntimeError):
            raise
        # HDF5 says no more than that there was an error.
        if shutil.disk_usage(path.parent).free < 2**20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from fault
        raise OSError(errno.EIO, reason(fault)) from fault


def _never_freed(fault: BaseException) -> None:
    """Keep an exception, and with it what its functions had at hand, to the end of the process and beyond.

    A file of netCDF4's or h5netcdf's that could not be closed is closed again when it is freed, and that ends
    the process with a segmentation fault.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(fault))


def objects(path: Path) -> FileProblem:
    """The answer to a pickle."""
    return FileProblem(
        f"{shown(path)} holds Python objects, which are not read because they could run code; save arrays of "
        "numbers."
    )


def reason(fault: BaseException) -> str:
    """What a fault says, on one line and without the full stop; its type where it says nothing."""
    said = getattr(fault, "strerror", None) or str(fault)
    text = " ".join(str(said).split())
    if len(text) > 200:  # of a paragraph, as PyTorch writes them, the first sentence
        text = text.partition(". ")[0]
    if len(text) > 200:
        text = text[:200].rpartition(" ")[0] + "..."
    return text.rstrip(". ") or type(fault).__name__
