"""Outputs appear whole or not at all, and never on top of something that was not to be touched."""

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from gridgrad.app.source import FileProblem, shown


def check_output(
    path: Path, option: str, *, suffixes: Iterable[str], force: bool, inputs: Iterable[Path]
) -> None:
    """Refuse an output that could not be written, or should not be, before any work is done for
    it."""
    check_place(path, option, suffixes)
    if not path.exists():
        return
    if any(source.exists() and path.samefile(source) for source in inputs):
        raise FileProblem(
            f"{option} {shown(path)} is also an input; choose another name for the output."
        )
    if not path.is_file():
        raise FileProblem(
            f"{option} {shown(path)} cannot be written, because it exists and is not a file."
        )
    if not force:
        raise _exists(path)


def check_place(path: Path, option: str, suffixes: Iterable[str]) -> None:
    """Refuse a name of no known format, and a folder that takes no new files."""
    if path.suffix.lower() not in suffixes:
        raise FileProblem(
            f"{option} cannot be {shown(path)}, because its name must end in one of "
            f"{', '.join(suffixes)}."
        )
    folder = path.parent
    if not folder.is_dir():
        raise FileProblem(
            f"{option} {shown(path)} cannot be written, because there is no folder {shown(folder)}."
        )
    if not os.access(folder, os.W_OK):
        raise FileProblem(
            f"{option} {shown(path)} cannot be written, because the folder {shown(folder)} allows "
            "no new files."
        )


@contextmanager
def published(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """A file to write to, which appears as `path` when the block ends well, and vanishes when it
    does not.

    The bytes go to a temporary file in the same folder, and reach the disk before the name does, so
    that a crash at any time leaves either the old file or the new one. Without `force`, a file that
    has appeared in the meantime wins.
    """
    # Through symbolic links, so that a link stays a link and the file that it names is replaced.
    target = Path(os.path.realpath(path))
    draft = target.parent / f".gridgrad-{secrets.token_hex(6)}.tmp"
    try:
        # Not tempfile: its files are readable by their owner only, and these are to stay.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with open(os.open(draft, flags, 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if force:
            if target.exists():
                os.chmod(draft, target.stat().st_mode & 0o777)
            os.replace(draft, target)
        else:
            _place(draft, target)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as fault:
        reason = fault.strerror or str(fault)
        raise FileProblem(f"{shown(path)} could not be written: {reason}.") from fault
    finally:
        with suppress(OSError):
            draft.unlink()


def _place(draft: Path, target: Path) -> None:
    """Give `draft` the name `target`, unless that name is taken."""
    try:
        os.link(draft, target)
    except FileExistsError:
        raise
    except OSError:
        # Some file systems have no hard links. Then the name is claimed with an empty file and
        # replaced at once.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            os.replace(draft, target)
        except BaseException:
            target.unlink()
            raise


def _exists(path: Path) -> FileProblem:
    return FileProblem(f"{shown(path)} exists already; add --force to replace it.")
