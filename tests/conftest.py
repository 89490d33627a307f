"""What every test shares: Hypothesis' profile, and the array libraries as a fixture."""

import os

import pytest
from hypothesis import HealthCheck, settings

from .calling import LIBRARIES, Library

# Kernels of the GPU engine run in Triton's interpreter, which must be known before the first is defined. On a
# machine with a GPU `make test-gpu` says 0.
os.environ.setdefault("TRITON_INTERPRET", "1")

# The same examples on every run, so that a failure is always the change's own. New ones are looked
# for with pytest --hypothesis-profile=explore.
_COMMON = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("repeatable", derandomize=True, **_COMMON)
settings.register_profile("explore", derandomize=False, max_examples=2_000, **_COMMON)
settings.load_profile("repeatable")


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.name)
def library(request: pytest.FixtureRequest) -> Library:
    """Each array library in turn."""
    return request.param


@pytest.fixture(params=LIBRARIES[:2], ids=lambda library: library.name)
def writable(request: pytest.FixtureRequest) -> Library:
    """The libraries whose arrays may be written to: NumPy and PyTorch."""
    return request.param


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the tests marked exhaustive as well")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "thread_unsafe: NumPy's own tests carry it; it means nothing here"
    )
    config.addinivalue_line(
        "markers", "exhaustive: goes through all cases of a proof; runs with --all"
    )
    config.addinivalue_line("markers", "gpu: needs a GPU; runs with make test-gpu")
    for name in ("asyncio", "flaky", "network", "skip_with_dask_array", "slow"):
        config.addinivalue_line(
            "markers", f"{name}: xarray's own tests carry it; it means nothing here"
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is slow, unless --all is given.

    It takes minutes to go through every order, accuracy, edge and grid. Each such test has a fast sister
    that checks a selection of the same cases by the same function.
    """
    if config.getoption("--all"):
        return
    slow = [item for item in items if item.get_closest_marker("exhaustive")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]
