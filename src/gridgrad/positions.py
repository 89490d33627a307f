"""The coordinates of the samples along one dim, checked, and kept so that their differences are exact."""

import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from gridgrad.boundary import PERIODIC, Sides
from gridgrad.differences import difference, parts
from gridgrad.errors import GridError, GridTypeError, NonMonotonicWarning, warn

# NumPy's units of time that have a fixed length, in seconds.
SECONDS = {
    "W": Fraction(604800),
    "D": Fraction(86400),
    "h": Fraction(3600),
    "m": Fraction(60),
    **{
        unit: Fraction(1, 1000**k)
        for k, unit in enumerate(("s", "ms", "us", "ns", "ps", "fs", "as"))
    },
}

# Bytes of coordinates that are remembered.
_SMALL = 1 << 15
# Coordinates looked at at a time: no check takes memory worth mentioning. Gaps in their own dtype take less.
_BLOCK, _GAPS = 1 << 13, 1 << 14


@dataclass(frozen=True, eq=False)
class Positions:
    """Coordinates as the parts of a sum, in a `unit` of so many of the user's.

    NumPy arrays, which are differenced in the widest floating dtype, `wide`, so that weights are rounded
    once, at the end; or, where a library differentiates or traces them, that library's arrays
    (`traced`), and so are the weights.
    """

    parts: tuple[Any, ...]
    xp: Any
    unit: tuple[int, int] = (1, 1)  # a ratio; torch.compile does not know Fraction
    traced: bool = False
    wide: Any = None
    # 1, unless gaps are so extreme that weights would leave the range of floats: then a power of two of
    # their size, by which weights are multiplied and results divided.
    unit_size: float = 1.0
    made: dict[Any, Any] = field(default_factory=dict)  # what was worked out from them
    lasting: bool = False  # the one object for these coordinates, from call to call

    def gaps(self, a: int, b: int, start: int, stop: int) -> Any:
        """x[i + a] - x[i + b] for i from `start` up to `stop`, differenced before anything is rounded."""
        ahead = tuple(part[start + a : stop + a] for part in self.parts)
        behind = tuple(part[start + b : stop + b] for part in self.parts)
        if self.wide is not None:
            ahead = tuple(part.astype(self.wide) for part in ahead)
            behind = tuple(part.astype(self.wide) for part in behind)
        found = difference(ahead, behind)
        if self.unit != (1, 1):
            found = found * self.unit[0] / self.unit[1]
        return found

    @property
    def line(self) -> Any:
        """The coordinates as they are, if they are ordinary: ordered floats with gaps of ordinary sizes.

        From these the weights of three neighbours can be made in a kernel, in doubled double precision.
        """
        if "line" not in self.made:
            self.made["line"] = self.parts[0] if self._is_ordinary() else None
        return self.made["line"]

    def _is_ordinary(self) -> bool:
        x = self.parts[0]
        if (
            self.traced
            or self.wide is None
            or self.unit_size != 1
            or x.dtype.name not in ("float32", "float64")
        ):
            return False
        if not (x.dtype.isnative and x.flags.c_contiguous and x.flags.aligned):
            return False
        least, most = self.extremes
        return bool(1e-12 < least <= most < 1e12 or -1e12 < least <= most < -1e-12)

    @property
    def extremes(self) -> tuple[Any, Any]:
        """The least and the greatest gap of real floats; NaN, if some are none."""
        if "extremes" not in self.made:
            with np.errstate(all="ignore"):
                gaps = map(np.diff, _blocks(self.parts[0], 1, _GAPS))
                found = [(each.min(), each.max()) for each in gaps]
                least, most = zip(*found, strict=True)
                self.made["extremes"] = np.min(least), np.max(most)
        extremes: tuple[Any, Any] = self.made["extremes"]
        return extremes

    def extended(self, below: int, above: int, sides: Sides, period: Any, dim: int) -> "Positions":
        """The same with positions beyond the edges: a period away, or mirrored at the edge.

        They are sums of two parts, so that nothing is rounded before differences are taken.
        """
        n, xp = self.parts[0].shape[0], self.xp
        made_anew: dict[str, Any] = {"made": {}, "lasting": False}

        def pick(*indices: Any) -> tuple[Any, ...]:
            found = tuple(xp.concat([part[index] for index in indices]) for part in self.parts)
            return found if self.wide is None else tuple(xp.astype(x, self.wide) for x in found)

        def backwards(index: Any) -> tuple[Any, ...]:
            # PyTorch has no slices of negative step.
            return tuple(xp.flip(part, axis=0) for part in pick(index))

        def apart(index: Any, other: Any) -> Any:
            return difference(pick(index), pick(other))

        none = apart(slice(0, n), slice(0, n))
        if sides[0] == PERIODIC:
            turn = self._turn(period, dim, n)
            ends = slice(n - below, n), slice(0, above)
            shifts = [none[:below] - turn, none, none[:above] + turn]
            return replace(
                self, parts=(*pick(ends[0], slice(0, n), ends[1]), xp.concat(shifts)), **made_anew
            )
        # Mirrored at the edge: as far beyond it as the inner neighbour is inside.
        # Not `[...] * below`, for which PyTorch's compiler makes n a constant.
        first = [slice(0, 1) for _ in range(below)]
        last = [slice(n - 1, n) for _ in range(above)]
        shifts = [none]
        if below:
            shifts.insert(0, difference(pick(*first), backwards(slice(1, below + 1))))
        if above:
            shifts.append(difference(pick(*last), backwards(slice(n - 1 - above, n - 1))))
        summands = (*pick(*first, slice(0, n), *last), xp.concat(shifts))
        return replace(self, parts=summands, **made_anew)

    def _turn(self, period: Any, dim: int, n: int) -> Any:
        """What the coordinates grow by in a period, in their own unit."""
        turn = period * self.unit[1] / self.unit[0]
        if self.traced:
            if self.xp.isdtype(self.parts[0].dtype, "complex floating"):
                return turn
            return abs(turn) * self.xp.sign(self.gaps(n - 1, 0, 0, 1))
        reach = float(self.gaps(n - 1, 0, 0, 1)[0])
        if abs(reach) >= abs(period):
            raise GridError(
                f"period={abs(period):g} for dim {dim} must be longer than the coordinates reach, "
                f"which is {abs(reach):g}."
            )
        return math.copysign(turn, reach)


def _blocks(x: Any, more: int = 0, size: int = _BLOCK) -> list[Any]:
    """x in blocks of some size, each with `more` entries of the next."""
    return [x[first : first + size + more] for first in range(0, len(x) - more, size)]


def _is_ordered(x: Any) -> bool:
    return all((block[1:] > block[:-1]).all() for block in _blocks(x, 1)) or all(
        (block[1:] < block[:-1]).all() for block in _blocks(x, 1)
    )


def check_shape(shape: tuple[int, ...], dim: Any, n: int) -> None:
    """Refuse coordinates that are not one a sample."""
    if len(shape) != 1:
        raise GridError(
            f"coordinates for dim {dim} must be scalars or 1d (a step, or one coordinate a sample), "
            f"but have shape {shape}."
        )
    if shape[0] != n:
        raise GridError(
            f"coordinates for dim {dim} must have one entry a sample, {n}, but have {shape[0]}."
        )


def seconds(time: Any, dim: Any) -> float:
    """A timedelta64 in seconds."""
    if np.isnat(time):
        raise GridError(f"spacing for dim {dim} must be finite and not zero, but is NaT.")
    count, unit = _counts(np.asarray(time), dim)
    return float(int(count) * unit)


_known: dict[tuple[str, Any, bytes], Positions] = {}


def from_values(x: Any, dim: Any, per: Fraction | int = 1) -> Positions:
    """Check coordinates whose values can be read: finite, distinct, and with a warning if they turn back.

    `dim` is what errors call the dim. Times count in units of `per` seconds.
    """
    if x.nbytes > _SMALL or x.dtype.kind in "cVO" or isinstance(x, np.ma.MaskedArray):
        return _checked(x, dim, per)
    # Short coordinates are given again and again, and to check them takes longer than to use them.
    key = (x.dtype.str, per, x.tobytes())
    found = _known.get(key)
    if found is None:
        x = x.copy()
        found = _checked(x, dim, per)
        if _is_ordered(x):  # others warn each time
            found = replace(found, lasting=True)
            if len(_known) >= 256:
                _known.clear()
            _known[key] = found
    return found


def _checked(x: Any, dim: Any, per: Fraction | int) -> Positions:
    if isinstance(x, np.ma.MaskedArray):
        _refuse_first(np.ma.getmaskarray(x), x, dim)
        x = x.data
    if x.dtype.kind in "mM":
        _refuse_first(np.isnat(x), x, dim)
        counts, unit = _counts(x, dim)
        unit /= per
        found = Positions(parts(counts, np.dtype(np.longdouble), np), np, unit.as_integer_ratio())
    elif x.dtype.kind in "iu":
        found = Positions(parts(x, np.dtype(np.longdouble), np), np)
    elif x.dtype.kind == "f" or x.dtype.name == "bfloat16":
        found = Positions((x,), np, wide=np.dtype(np.longdouble))
    elif x.dtype.kind == "c":
        found = Positions((x,), np, wide=np.dtype(np.clongdouble))
    else:
        raise GridTypeError(
            f"coordinates for dim {dim} must be integers, floats, complex numbers or times, "
            f"but are {x.dtype}."
        )
    if x.dtype.kind == "f" and len(x) > 1:
        least, most = found.extremes  # a gap keeps its sign when it is rounded
        is_ordered = least > 0 or most < 0
    else:
        is_ordered = x.dtype.kind != "c" and _is_ordered(x)
    # What is ordered is distinct, and finite if its ends are.
    if not (is_ordered and np.isfinite(x[:: max(1, len(x) - 1)]).all()):
        if x.dtype.kind not in "iumM" and not all(np.isfinite(block).all() for block in _blocks(x)):
            _refuse_first(~np.isfinite(x), x, dim)
        _check_distinct(found, x, dim)
    if len(x) < 2:
        return found
    span = float(abs(found.gaps(len(x) - 1, 0, 0, 1)[0])) / len(x)
    if 1e-25 < span < 1e25 and x.dtype.kind != "c":
        return found  # some gap is as wide as the mean
    widest = float(np.max(np.abs(found.gaps(1, 0, 0, len(x) - 1))))
    if 1e-30 < widest < 1e30:
        return found
    return replace(found, unit_size=math.ldexp(1.0, min(math.frexp(widest)[1] - 1, 1023)))


def common_step(positions: Positions, n: int) -> Any:
    """The step of positions whose gaps are all exactly equal, or None."""
    if positions.traced or n < 2:
        return None
    if "step" not in positions.made:
        positions.made["step"] = _common_step(positions, n)
    return positions.made["step"]


def _common_step(positions: Positions, n: int) -> Any:
    first = positions.gaps(1, 0, 0, min(n - 1, 16))
    if not (first == first[0]).all():
        return None
    step = complex(first[0]) if np.iscomplexobj(first) else float(first[0])
    if step != first[0]:
        return None
    for start in range(0, n - 1, _BLOCK):
        if not (positions.gaps(1, 0, start, min(start + _BLOCK, n - 1)) == first[0]).all():
            return None
    return step


def _counts(times: Any, dim: Any) -> tuple[Any, Fraction]:
    """Times as int64 counts of a unit of so many seconds."""
    unit, count = np.datetime_data(times.dtype)
    if unit in ("Y", "M") and times.dtype.kind == "M":
        times, unit, count = times.astype("datetime64[D]"), "D", 1
    if unit not in SECONDS:
        raise GridTypeError(
            f"spacing for dim {dim} is {times.dtype}, whose unit has no fixed length; "
            "convert it to days, seconds or another fixed unit of time."
        )
    return times.astype(np.int64), count * SECONDS[unit]


def _refuse_first(bad: Any, x: Any, dim: Any) -> None:
    if bad.any():
        first = int(np.argmax(bad))
        raise GridError(
            f"coordinates for dim {dim} must be finite, but entry {first} is {x[first]}."
        )


def _check_distinct(positions: Positions, x: Any, dim: Any) -> None:
    gaps = positions.gaps(1, 0, 0, len(x) - 1)
    if np.iscomplexobj(gaps) and not gaps.imag.any():
        gaps = gaps.real
    ordered = not np.iscomplexobj(gaps)
    if ordered and ((gaps > 0).all() or (gaps < 0).all()):
        return
    _, first_seen, which = np.unique(x, return_index=True, return_inverse=True)
    repeated = first_seen[which] != np.arange(len(x))
    if repeated.any():
        second = int(np.argmax(repeated))
        raise GridError(
            f"coordinates for dim {dim} must be distinct, but entry {second} is {x[second]}, "
            f"as is entry {int(first_seen[which[second]])}."
        )
    if ordered:
        turn = 1 + int(np.argmax(np.sign(gaps) != np.sign(gaps[0])))
        warn(
            f"coordinates for dim {dim} are not monotonic: they turn back after entry {turn - 1}"
            f" ({x[turn - 1]}) towards entry {turn}.",
            NonMonotonicWarning,
        )
