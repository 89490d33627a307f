"""The compiled kernels: few, made when first needed, and kept where many processes may want them."""

import os
import shutil
import subprocess
import sys
import textwrap
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

LIMIT = 300  # seconds; eight processes compile at once on as few as two CPUs

# Compares with NumPy, and prints what was compiled and what was found in the cache.
REPORT = """
def right(f):
    import gridgrad, numpy
    (result,) = gridgrad.gradient(f)
    assert result.dtype == f.dtype, result.dtype
    assert (result == numpy.gradient(f)).all()

def report():
    from gridgrad.engines.compiled import run_boxes
    stats = run_boxes.stats
    print(len(run_boxes.signatures), sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def start(text: str, *, folder: Path | None = None, **environment: str) -> subprocess.Popen:
    if folder is not None:
        environment["NUMBA_CACHE_DIR"] = str(folder)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", REPORT + textwrap.dedent(text)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def said(process: subprocess.Popen) -> str:
    try:
        out, err = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    assert process.returncode == 0, f"exit status {process.returncode}: {err}"
    assert err == ""
    return out.strip()


def call(text: str, **options: Any) -> str:
    return said(start(text, **options))


def test_importing_compiles_nothing():
    text = """
        import sys, gridgrad, gridgrad.numpy, gridgrad.engines.cpu
        print("numba" in sys.modules)
        report()
        """
    assert call(text).split() == ["False", "0", "0", "0"]


def test_two_kernels_serve_every_array():
    """One for single precision and one for double, whatever the shape, the dtype or the spacing."""
    text = """
        import ml_dtypes, numpy, gridgrad
        from gridgrad.engines.compiled import _parts, run_boxes
        names = ["int8", "int16", "int32", "int64", "uint8", "uint64", "float16", "float32",
                 "float64", "complex64", "complex128", ml_dtypes.bfloat16]
        for name in names:
            for shape in [(3,), (5, 4), (100_000,), (4, 5, 6), (300, 300), (3, 3, 3, 3, 3)]:
                f = numpy.ones(shape, name)
                uneven = tuple(numpy.arange(n) ** 2 for n in shape)
                numpy_scalars = tuple(numpy.float64(0.1) for n in shape)
                for spacing in (1, 0.1, uneven, numpy_scalars):
                    for given in (f, f.T, f[::-1], f[..., ::2].repeat(2, -1)):
                        if given.shape == shape:
                            gridgrad.gradient(given, spacing=spacing, edge_order=2)
                gridgrad.gradient(f, out=tuple(numpy.zeros(shape[::-1], g.dtype).T
                                               for g in gridgrad.gradient(f)))
        print(*sorted({str(kind) for each in run_boxes.signatures for kind in each
                       if "float" in str(kind)}, key=str), sep="|")
        print(*(len(each.signatures) for each in [run_boxes, *_parts.values()]))
        """
    kinds, numbers = call(text).splitlines()
    assert numbers.split() == ["2"] * 5, "the kernel and its four parts"
    assert "float32" in kinds
    assert "float64" in kinds


WAIT = """
import os, time
while not os.path.exists({signal!r}):
    time.sleep(0.01)
"""
# What a busy disk or a slow network folder does: time passes while the index is written.
SLOW = """
import time
from numba.core.caching import IndexDataCacheFile
quick = IndexDataCacheFile._save_index
def slow(self, overloads):
    time.sleep(1.0)
    quick(self, overloads)
IndexDataCacheFile._save_index = slow
"""


def test_eight_processes_start_on_an_empty_cache_at_once(tmp_path):
    folder, signal = tmp_path / "cache", tmp_path / "go"
    processes = [
        start(
            f"import numpy, gridgrad.engines.compiled\n{SLOW}{WAIT.format(signal=str(signal))}"
            f"right(numpy.linspace(0, 1, 100_003).astype('{dtype}'))\n"
            f"right(numpy.arange(5, dtype='{dtype}') ** 2)\nreport()",
            folder=folder,
        )
        for dtype in ["float32", "float64"] * 4
    ]
    signal.touch()
    for process in processes:
        signatures, hits, misses = map(int, said(process).split())
        assert signatures == hits + misses == 1
    # What they left must be right for whoever comes; all of it has its own place.
    ninth = """
        import numpy
        right(numpy.arange(6, dtype="float32") ** 2)
        right(numpy.linspace(0, 1, 100_003))
        report()
        """
    assert call(ninth, folder=folder).split() == ["2", "2", "0"]


@pytest.fixture(scope="module")
def nowhere_to_write(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A copy of the package and an environment in which no folder for a cache can be made.

    By files that stand where the folders would: permissions bind no administrator.
    """
    root = tmp_path_factory.mktemp("readonly")
    package = root / "site" / "gridgrad"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(str(files("gridgrad")), package, ignore=ignored)
    (package / "engines" / "__pycache__").write_text("a file")
    (root / "file").write_text("another")
    inside = str(root / "file" / "cache")
    return {
        "PYTHONPATH": str(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": inside,
        "XDG_CACHE_HOME": inside,
        "HOME": inside,
        "LOCALAPPDATA": inside,
    }


def test_a_cache_folder_that_cannot_be_made(nowhere_to_write):
    """Compiled anew by each process, without a warning."""
    text = """
        import gridgrad, numpy, sys
        right(numpy.arange(5.0) ** 2)
        right(numpy.linspace(0, 1, 100_003))
        print(gridgrad.__file__)
        report()
        """
    path, counts = call(text, **nowhere_to_write).splitlines()
    assert path.startswith(nowhere_to_write["PYTHONPATH"])
    signatures, hits, _ = counts.split()
    assert (signatures, hits) == ("1", "0")


def test_a_folder_named_by_the_user_that_cannot_be_made(tmp_path):
    """The next one that Numba knows is taken."""
    (tmp_path / "file").write_text("a file")
    text = "import numpy; right(numpy.arange(5.0) ** 2); report()"
    assert call(text, folder=tmp_path / "file" / "cache").split()[0] == "1"


def test_a_file_system_without_locks(tmp_path):
    """Such as Lustre's default: then Numba's own care must do."""
    text = """
        import errno, fcntl, numpy
        def flock(*arguments):
            raise OSError(errno.ENOSYS, "Function not implemented")
        fcntl.flock = flock
        right(numpy.arange(5.0) ** 2)
        report()
        """
    assert call(text).split()[0] == "1"


def test_a_disk_that_is_full():
    """The kernel is compiled; that it cannot be kept is no reason to fail."""
    text = """
        import errno, numpy
        from numba.core.caching import IndexDataCacheFile
        def save(*arguments):
            raise OSError(errno.ENOSPC, "No space left on device")
        IndexDataCacheFile.save = save
        IndexDataCacheFile.load = lambda *arguments: None
        right(numpy.arange(5.0) ** 2)
        right(numpy.linspace(0, 1, 100_003))
        report()
        """
    assert call(text).split()[0] == "1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_during_the_first_compilation(tmp_path):
    """The child inherits locks that a thread held which it does not have."""
    text = """
        import faulthandler, os, threading, time, warnings
        import numpy
        import gridgrad.engines.compiled
        warnings.simplefilter("ignore", DeprecationWarning)  # fork while there are threads
        f = numpy.arange(5.0) ** 2
        first = threading.Thread(target=right, args=[f])
        first.start()
        time.sleep(1.0)
        child = os.fork()
        if not child:
            faulthandler.dump_traceback_later(40, exit=True)
            right(f)
            os._exit(0)
        first.join()
        print(os.waitpid(child, 0)[1])
        """
    assert call(text, folder=tmp_path) == "0"
