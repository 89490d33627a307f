"""What the positions along a dim are like: their step, their gaps, and what makes them unfit."""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

UNITS = (("day", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("us", 1e-6))

SHOWN = 5
"""No more gaps than this are listed one by one."""


@dataclass(frozen=True)
class Gap:
    """Positions that are missing between two samples."""

    after: str
    before: str
    missing: int


@dataclass(frozen=True)
class Positions:
    """The positions along one dim, described."""

    n: int
    first: str | None = None
    last: str | None = None
    kind: Literal["uniform", "regular with gaps", "uneven", "one sample", "unfit"] = "uniform"
    step: float | None = None
    """The step, if there is one: negative where positions decrease; in seconds, or in months where the
    positions are the same days of successive months."""
    smallest: float | None = None
    largest: float | None = None
    per: Literal["", "s", "month"] = ""
    gaps: tuple[Gap, ...] = ()
    faults: tuple[str, ...] = ()
    """What keeps derivatives along the dim from being taken, or from being meant, as ends of a sentence
    that begins with the coordinate's name."""
    values: Array = field(default_factory=lambda: np.empty(0), compare=False, repr=False)
    """As float64, for those who ask more."""

    @property
    def missing(self) -> int:
        return sum(gap.missing for gap in self.gaps)

    @property
    def wraps(self) -> bool:
        """Whether they rise or fall all the way, but for jumps by a turn of 360 degrees."""
        steps = np.diff(np.unwrap(self.values, period=360)) if self.n > 1 else np.ones(1)
        return bool((steps > 0).all() or (steps < 0).all())

    @property
    def spacing(self) -> str:
        """The steps in words: `0.75`, `6 h`, `150 to 300`."""
        if self.smallest is None or self.largest is None:
            return "-"
        if self.step is not None:
            return self._written(self.step)
        if not self.per:
            return f"{_number(self.smallest)} to {_number(self.largest)}"
        return f"{self._written(self.smallest)} to {self._written(self.largest)}"

    def _written(self, step: float) -> str:
        if self.per == "month":
            return f"{step:g} month{'' if abs(step) == 1 else 's'}"
        return duration(step) if self.per == "s" else _number(step)


def describe(values: Array) -> Positions:
    """What is to be said of 1-D positions: numbers, dates or spans of time.

    >>> describe(np.array([90.0, 89.25, 88.5])).spacing
    '-0.75'
    >>> found = describe(np.array(["2024-01-01", "2024-01-02", "2024-01-05"], "M8[D]"))
    >>> found.spacing, found.gaps
    ('1 day', (Gap(after='2024-01-02', before='2024-01-05', missing=2),))
    """
    n = len(values)
    if not n:
        return Positions(0, kind="unfit", faults=("has no positions",))
    times = values.dtype.kind in "mMO"
    try:
        where = _seconds(values) if times else values.astype(np.float64)
    except (TypeError, ValueError):
        return Positions(n, kind="unfit", faults=(f"holds {_held(values)}, no positions",))
    ends = _written(values[0]), _written(values[-1])
    faults = _faults(values, where)
    known: dict[str, Any] = {
        "n": n,
        "first": ends[0],
        "last": ends[1],
        "values": where,
        "faults": faults,
    }
    if faults:
        return Positions(**known, kind="unfit")
    if n == 1:
        return Positions(**known, kind="one sample")
    steps, per = np.diff(where), "s" if times else ""
    months = _months(values)
    if months is not None and len(set(np.diff(months).tolist())) < len(set(steps.tolist())):
        steps, per = np.diff(months).astype(np.float64), "month"
    slack = 0.0 if times else _slack(values)
    known |= {
        "per": per,
        "smallest": _first(steps, np.abs(steps).min()),
        "largest": _first(steps, np.abs(steps).max()),
    }
    usual = float(np.median(steps))
    if (np.abs(steps - usual) <= slack + 1e-6 * abs(usual)).all():
        whole = (where[-1] - where[0]) / (n - 1) if per != "month" else usual
        return Positions(**known, kind="uniform", step=_round(whole, slack / max(n - 1, 1)))
    gaps = _gaps(values, steps, slack)
    if gaps is not None:
        usual = min(steps.tolist(), key=abs)
        return Positions(**known, kind="regular with gaps", step=_round(usual, slack), gaps=gaps)
    return Positions(**known, kind="uneven")


def _first(steps: Array, size: float) -> float:
    """A step of this size, with its sign."""
    return float(steps[np.abs(steps) == size][0])


def _slack(values: Array) -> float:
    """By how much steps may differ because positions were rounded to their dtype."""
    if values.dtype.kind != "f":
        return 0.0
    eps = max(float(np.finfo(values.dtype).eps), float(np.finfo(np.float64).eps))
    return 2 * eps * float(np.abs(values.astype(np.float64)).max())


def _round(step: float, slack: float) -> float:
    """The step without the digits that only rounding made."""
    for digits in range(1, 17):
        short = float(f"{step:.{digits}g}")
        if abs(short - step) <= max(slack, 1e-12 * abs(step)):
            return short
    return step


def _gaps(values: Array, steps: Array, slack: float) -> tuple[Gap, ...] | None:
    """The gaps, if all steps are multiples of the smallest, which most of them are."""
    smallest = min(steps.tolist(), key=abs)
    if abs(smallest) <= 4 * slack:
        return None
    times = steps / smallest
    whole = np.rint(times)
    if np.abs(times - whole).max() > 1e-6 * times.max() + 4 * slack / abs(smallest):
        return None
    if (whole == 1).mean() < (0.5 if len(steps) < 8 else 0.6):
        return None
    return tuple(
        Gap(str(_written(values[k])), str(_written(values[k + 1])), int(whole[k]) - 1)
        for k in np.flatnonzero(whole > 1)
    )


def _faults(values: Array, where: Array) -> tuple[str, ...]:
    lost = ~np.isfinite(where)
    if lost.any():
        few = ", ".join(map(str, np.flatnonzero(lost)[:3])) + (", ..." if lost.sum() > 3 else "")
        what = "no times" if values.dtype.kind in "mM" else "not finite"
        verb = "is" if lost.sum() == 1 else "are"
        return (f"has {lost.sum()} of {len(where)} positions that {verb} {what} (at {few})",)
    faults = []
    order = np.argsort(where, kind="stable")
    same = np.flatnonzero(np.diff(where[order]) == 0)
    if same.size:
        a, b = order[same[0]], order[same[0] + 1]
        more = f", and {same.size - 1} more are repeated" if same.size > 1 else ""
        faults.append(f"stands twice at {_written(values[a])} (samples {a} and {b}{more})")
    steps = np.diff(where)
    if (steps < 0).any() and (steps > 0).any():
        most = np.sign(np.median(steps)) or 1.0
        k = int(np.flatnonzero(steps * most < 0)[0])
        faults.append(
            f"turns back at sample {k + 1} (from {_written(values[k])} to {_written(values[k + 1])})"
        )
    return tuple(faults)


def _seconds(values: Array) -> Array:
    """Times as seconds from the first that is known."""
    if values.dtype.kind == "O":
        values = np.array(values - values.flat[0], "timedelta64[us]")
    if values.dtype.kind == "M":
        known = values[~np.isnat(values)]
        values = values - (known[0] if known.size else values[0])
    seconds: Array = values / np.timedelta64(1, "s")
    return seconds


def _months(values: Array) -> Array | None:
    """The number of the month, if all positions are at the same time of the same day of it."""
    if values.dtype.kind == "M":
        whole = values.astype("datetime64[M]")
        beside = values - whole
        return whole.astype(np.int64) if (beside == beside[0]).all() else None
    if values.dtype.kind == "O":
        within = {(each.day, each.hour, each.minute, each.second) for each in values}
        if len(within) == 1:
            return np.array([each.year * 12 + each.month for each in values])
    return None


def duration(seconds: float) -> str:
    """A span of time in the largest unit that it is some of.

    >>> duration(21600), duration(-86400), duration(0.5), duration(129600)
    ('6 h', '-1 day', '500 ms', '36 h')
    """
    for unit, length in UNITS:
        count = seconds / length
        if abs(count) >= 1 and abs(count - round(count)) < 1e-9 * abs(count):
            return f"{round(count)} {unit}{'s' if unit == 'day' and abs(count) > 1.5 else ''}"
    for unit, length in UNITS:
        if abs(seconds) >= length:
            plural = "s" if unit == "day" else ""
            return f"{seconds / length:.4g} {unit}{plural}"
    return f"{seconds:.4g} s"


def _written(value: Any) -> str:
    """A position as it is read."""
    if isinstance(value, np.datetime64):
        text = str(value.astype("datetime64[us]"))
        date, _, time = text.partition("T")
        time = time.rstrip("0").rstrip(".") if "." in time else time
        time = time.removesuffix(":00") if time.count(":") == 2 else time
        return date if time in ("00:00", "") else f"{date}T{time}"
    if isinstance(value, np.timedelta64):
        return duration(float(value / np.timedelta64(1, "s"))) if not np.isnat(value) else "NaT"
    if isinstance(value, np.number):
        return _number(float(value))
    return str(value).removesuffix(" 00:00:00")


def _number(value: float) -> str:
    return f"{value:.7g}"


def _held(values: Array) -> str:
    return "text" if values.dtype.kind in "SU" else f"values of the dtype {values.dtype}"
