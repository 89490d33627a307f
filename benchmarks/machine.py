"""What the run ran on: the machine, the versions, the commit. No names of hosts or folders."""

import os
import platform
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from glob import glob
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import gridgrad

_PACKAGES = (
    "numpy",
    "numba",
    "llvmlite",
    "torch",
    "jax",
    "jaxlib",
    "findiff",
    "dask",
    "distributed",
    "xarray",
    "zarr",
)
_ROOT = Path(__file__).parent.parent


def facts() -> list[tuple[str, str]]:
    """What a reader needs to judge the numbers, as names and values."""
    return [
        ("CPU", _from_file("/proc/cpuinfo", "model name") or platform.processor() or "unknown"),
        ("CPUs used", str(_usable())),
        ("caches", _caches()),
        ("memory", _memory()),
        ("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        ("transparent huge pages", _huge_pages()),
        ("threads of gridgrad", str(gridgrad.get_num_threads())),
        ("load when the run began", load()),
    ]


def versions() -> list[tuple[str, str]]:
    found = [("Python", platform.python_version()), ("gridgrad", gridgrad.__version__)]
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found.append((name, version(name)))
    return found


def commit() -> str | None:
    """The commit that the files come from, and whether they were changed since."""
    try:
        name = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--", "src", "benchmarks")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{name}, with changes" if changed else name


def _git(*words: str) -> str:
    found = subprocess.run(["git", *words], cwd=_ROOT, capture_output=True, text=True, check=True)
    return found.stdout.strip()


def _usable() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _from_file(path: str, field: str) -> str | None:
    with suppress(OSError), open(path) as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == field:
                return value.strip()
    return None


def _caches() -> str:
    found = []
    for folder in sorted(glob("/sys/devices/system/cpu/cpu0/cache/index*")):
        with suppress(OSError):
            level, kind, size = (
                Path(folder, n).read_text().strip() for n in ("level", "type", "size")
            )
            if kind != "Instruction":
                found.append(f"L{level} {_bytes(size)}")
    return ", ".join(found) or "unknown"


def _bytes(size: str) -> str:
    kib = int(size.removesuffix("K"))
    return f"{kib // 1024} MiB" if kib >= 1024 else f"{kib} KiB"


def _memory() -> str:
    total = _from_file("/proc/meminfo", "MemTotal")
    return f"{int(total.split()[0]) / 2**20:.0f} GiB" if total else "unknown"


def _huge_pages() -> str:
    with suppress(OSError):
        words = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
        return words.partition("[")[2].partition("]")[0] or "unknown"
    return "unknown"


def load() -> str:
    """How many programs wanted a CPU in the last minute."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def lines(pairs: Iterable[tuple[str, str]]) -> str:
    """The facts as a Markdown table."""
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in pairs)])
