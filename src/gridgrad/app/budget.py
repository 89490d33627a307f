"""How much memory there is, how much is in use, and how sizes are read and told."""

import os
import re
import sys
from contextlib import suppress

from gridgrad.errors import GridError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12,
          "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}  # fmt: skip


def parse_bytes(text: str, option: str) -> int:
    """A size such as `800MB`, `1.5 GB` or `2GiB` in bytes.

    >>> parse_bytes("1.5GB", "--memory")
    1500000000
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]i?)?b?\s*", text.lower())
    size = float(match[1]) * _UNITS[match[2] or ""] if match else 0.0
    if not size:
        raise GridError(f"{option} must be a size such as 800MB or 2GB, but is {text!r}.")
    return int(size)


def told_bytes(size: float) -> str:
    """A size for people, in powers of ten.

    >>> told_bytes(1_234_567_890)
    '1.23 GB'
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def installed() -> int:
    """The bytes of memory of this machine, or of its container."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 4 << 30  # where the system does not say
    with suppress(OSError, ValueError), open("/sys/fs/cgroup/memory.max") as file:
        found = min(found, int(file.read()))
    return found


def resident() -> int:
    """The bytes of memory that this process holds now; at most so many where the system does not say."""
    with suppress(OSError), open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        import resource
    except ImportError:
        return 300 << 20  # about what the libraries take
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10
