"""What the command costs on a store larger than memory: `python -m benchmarks.shell` tells docs/streaming.md.

The command and plain copies of as many bytes run in turns, each in a process of its own, which is told at its
end how much memory it held at most. All of them end with their output on disk (`os.sync`).
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import machine
from benchmarks.report import digits, duration

PAGE = Path(__file__).parent.parent / "docs" / "streaming.md"
LIMIT = "1GB"
# The mark: time over that of a plain copy, and bytes.
SLOWER, MOST = 1.5, 10**9
PLANE, CHUNK = (2048, 2048), (8, 512, 512)
HELP_SECONDS, INFO_SECONDS = 1.0, 2.0

# Reads every chunk once, and writes it twice: as many bytes as two components.
COPY = """
import itertools, os, sys
from concurrent.futures import ThreadPoolExecutor
import zarr
source, target, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
samples = zarr.open_group(source, mode="r")["t"]
group = zarr.open_group(target, mode="w")
copies = [
    group.create_array(name, shape=samples.shape, chunks=samples.chunks, dtype=samples.dtype)
    for name in ("a", "b")
]
starts = itertools.product(*(range(0, n, k) for n, k in zip(samples.shape, samples.chunks)))
keys = [tuple(slice(i, i + k) for i, k in zip(start, samples.chunks)) for start in starts]
def copy(key):
    values = samples[key]
    for each in copies:
        each[key] = values
with ThreadPoolExecutor(threads) as pool:
    list(pool.map(copy, keys))
os.sync()
"""


class Run(NamedTuple):
    """One process: how long it took, and what it held at most, or this one when it began that one."""

    seconds: float
    peak: int


def make(folder: Path, gigabytes: float) -> Path:
    """Temperatures of about so many gigabytes: smooth, with noise, compressed as Zarr does by itself."""
    import dask.array
    import xarray as xr
    import zarr

    path = folder / "in.zarr"
    times = max(CHUNK[0], round(gigabytes * 1e9 / 4 / np.prod(PLANE) / CHUNK[0]) * CHUNK[0])
    lat = np.linspace(-90, 90, PLANE[0])
    lon = np.arange(PLANE[1]) * 360 / PLANE[1]
    coords = {
        "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude"}),
    }
    samples = dask.array.zeros((times, *PLANE), chunks=CHUNK, dtype="f4")
    dataset = xr.Dataset({"t": (("time", "lat", "lon"), samples, {"units": "K"})}, coords)
    dataset.to_zarr(path, compute=False, consolidated=False)
    array: Any = zarr.open_group(path, mode="r+")["t"]
    smooth = 280 + 20 * np.cos(np.deg2rad(lat))[:, None] + 3 * np.sin(np.deg2rad(3 * lon))
    rng = np.random.default_rng(0)
    for first in range(0, times, CHUNK[0]):
        noise = rng.standard_normal((CHUNK[0], *PLANE), dtype=np.float32)
        array[first : first + CHUNK[0]] = smooth.astype("f4") + noise
    os.sync()
    return path


def run(words: list[str]) -> Run:
    """A process and its end."""
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(words[:4])} ... failed")
    return Run(seconds, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "gridgrad", *words]


def measure(folder: Path, gigabytes: float, rounds: int) -> dict[str, list[Run]]:
    """The command, and copies by one thread and by two, in turns."""
    source, target = make(folder, gigabytes), folder / "out.zarr"
    gradient = command(
        "gradient", str(source), str(target), "--dim", "lat,lon", "--memory", LIMIT, "--quiet"
    )
    ways = {
        "gridgrad": gradient,
        "one thread": [sys.executable, "-c", COPY, str(source), str(target), "1"],
        "two threads": [sys.executable, "-c", COPY, str(source), str(target), "2"],
    }
    found: dict[str, list[Run]] = {name: [] for name in ways}
    for k in range(rounds):
        for name, words in list(ways.items())[:: 1 if k % 2 == 0 else -1]:
            found[name].append(run(words))
            print(f"{name}: {found[name][-1]}", file=sys.stderr)
            shutil.rmtree(target)
    return found


def starts(folder: Path, repeats: int = 5) -> dict[str, float]:
    """Medians of the seconds that two short commands take, once all their files have been read."""
    import xarray as xr

    small = folder / "small.nc"
    xr.Dataset({"t": (("y", "x"), np.zeros((20, 30)))}, {"x": np.arange(30.0)}).to_netcdf(small)
    found = {}
    for name, words in (("--help", ["--help"]), ("info", ["info", str(small)])):
        run(command(*words))
        found[name] = statistics.median(run(command(*words)).seconds for _ in range(repeats))
    return found


def page(runs: dict[str, list[Run]], short: dict[str, float], size: float, facts: Any) -> str:
    seconds = {
        name: statistics.median(each.seconds for each in found) for name, found in runs.items()
    }
    peak = max(each.peak for each in runs["gridgrad"])
    ratios = {name: seconds["gridgrad"] / value for name, value in seconds.items()}

    def verdict(met: bool) -> str:
        return "met" if met else "**MISSED**"

    rows = [
        ("peak memory with `--memory 1GB`", "at most 1 GB", f"{peak / 1e6:.0f} MB",
         verdict(peak <= MOST)),
        ("time over a plain copy, chunk by chunk", f"at most {SLOWER} x",
         f"{digits(ratios['one thread'])} x", verdict(ratios["one thread"] <= SLOWER)),
        ("the same, a copy by two threads", "", f"{digits(ratios['two threads'])} x", ""),
        ("`gridgrad --help`", "under 1 s", duration(short["--help"]),
         verdict(short["--help"] < HELP_SECONDS)),
        ("`gridgrad info` on a small NetCDF file", "under 2 s", duration(short["info"]),
         verdict(short["info"] < INFO_SECONDS)),
    ]  # fmt: skip
    table = ["| work | required | measured | verdict |", "|---|---|---:|---|"]
    table += [f"| {' | '.join(row)} |" for row in rows]
    times = ["| process | time |", "|---|---:|"]
    names = {
        "gridgrad": "`gridgrad gradient in.zarr out.zarr --dim lat,lon --memory 1GB`",
        "one thread": "a copy of each chunk, written twice",
        "two threads": "the same by two threads",
    }
    times += [f"| {names[name]} | {duration(seconds[name])} |" for name in runs]
    count = len(next(iter(runs.values())))
    parts = [
        "# A store larger than memory",
        "This page is written by `make streaming`, all of it from one run on one machine. "
        "[The command line](cli.md) tells what is measured.",
        f"The store holds {size:.1f} GB of float32, smooth with noise, in chunks of "
        f"{' x '.join(map(str, CHUNK))}, compressed as Zarr does by itself (zstd). The gradient over two "
        "dims reads it once and writes two components, as compressed; a plain copy that writes as many bytes "
        "reads each chunk and writes it twice. Every process ends with its output on disk.",
        "\n".join(table),
        f"Medians of {count} run{'s' if count > 1 else ''} in turns:",
        "\n".join(times),
        "## Machine and versions",
        "\n".join(f"- {name}: {value}" for name, value in facts),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=8.6)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, help="where 30 GB fit; a temporary folder if left out"
    )
    parser.add_argument("--print", action="store_true", help="print the page, and write nothing")
    given = parser.parse_args()
    facts = [*machine.facts(), *machine.versions()]
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        short = starts(Path(name))
        runs = measure(Path(name), given.gigabytes, given.rounds)
    text = page(runs, short, given.gigabytes, facts)
    if given.print:
        print(text)
    else:
        PAGE.write_text(text)
        print(f"written: {PAGE.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
