"""Times of several calls, taken in turns, so that whatever else the machine does hits all of them alike."""

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from itertools import repeat
from typing import Any, NamedTuple

# A sample of a short call is a loop that takes so long; the clock and the loop cost nothing beside it.
_SAMPLE_SECONDS = 1e-3
# After a call, PyTorch's threads wait busily for the next for a while and hold a CPU. Let them go to sleep.
_PAUSE_SECONDS = 1e-2
_MOST_ROUNDS = 41
# Calls slower than this are repeated so often only: what disturbs a run is short beside them. Beside fast
# ones it is long, so that they are taken so often in each round.
_SLOW_SECONDS, _SLOW_REPEATS = 0.8, 3
_FAST_SECONDS, _FAST_TIMES = 0.02, 3


class Times(NamedTuple):
    """The seconds that one call takes, in several repeats."""

    seconds: tuple[float, ...]
    loops: int

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def least(self) -> float:
        return min(self.seconds)


def interleave(
    calls: Mapping[Hashable, Callable[[], Any]],
    rounds: int,
    budget: float,
) -> dict[Hashable, Times]:
    """Time all calls in each round, in a new order each round.

    At least so many rounds, and more while the budget of seconds lasts; fewer for calls of a second or
    so. Each call was made before. The time includes letting go of the result, as in a program that calls
    again and again.
    """
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return _interleave(calls, rounds, budget)
    finally:
        if was_enabled:
            gc.enable()


def _interleave(
    calls: Mapping[Hashable, Callable[[], Any]],
    rounds: int,
    budget: float,
) -> dict[Hashable, Times]:
    loops, slow, once = {}, set(), 0.0
    order: list[Hashable] = []
    for key, call in calls.items():
        loops[key], each = _calibrate(call)
        if each > _SLOW_SECONDS:
            slow.add(key)
        times = _FAST_TIMES if each < _FAST_SECONDS else 1
        order += [key] * times
        once += times * (each * loops[key] + _PAUSE_SECONDS)
    rounds = max(rounds, min(_MOST_ROUNDS, int(budget / once)))
    seconds: dict[Hashable, list[float]] = {key: [] for key in calls}
    rng = random.Random(1)
    for _ in range(rounds):
        rng.shuffle(order)
        for key in order:
            if key in slow and len(seconds[key]) >= _SLOW_REPEATS:
                continue
            time.sleep(_PAUSE_SECONDS)
            if loops[key] > 1:
                calls[key]()  # back into the cache
            seconds[key].append(_sample(calls[key], loops[key]))
    return {key: Times(tuple(found), loops[key]) for key, found in seconds.items()}


def _calibrate(call: Callable[[], Any]) -> tuple[int, float]:
    """How many calls fill a sample, and about how long one call takes."""
    loops = 1
    while True:
        seconds = _sample(call, loops)
        if loops == 1 and seconds < _SLOW_SECONDS:
            # The first was out of the cache, or found out what later ones know.
            seconds = min(seconds, _sample(call, 1), _sample(call, 1))
        if seconds * loops > _SAMPLE_SECONDS / 4:
            return max(1, math.ceil(_SAMPLE_SECONDS / seconds)), seconds
        loops *= 4


def _sample(call: Callable[[], Any], loops: int) -> float:
    if loops == 1:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    turns = repeat(None, loops)
    start = time.perf_counter()
    for _ in turns:
        call()
    return (time.perf_counter() - start) / loops
