"""Differences of samples and of coordinates, exact in every type.

A derivative is a weighted sum of differences. A difference is worth having only if it is formed before
anything is rounded: integers must not wrap around, 64-bit integers must keep all of their digits, and
half precision must not overflow. So a sampled array is first taken apart into `parts`, arrays of one floating
dtype whose exact sum is the array, and a difference is the sum of the differences of the parts.
"""

import math
from typing import Any

# The digits of an integer that go into one part, by the precision of the floating dtype in bits.
_DIGITS = {24: 16, 53: 32}


def precision(xp: Any, dtype: Any) -> int:
    """The number of bits in the significand of a floating dtype: 24 for float32, 53 for float64."""
    return 1 - round(math.log2(float(xp.finfo(dtype).eps)))


def parts(x: Any, dtype: Any, xp: Any) -> tuple[Any, ...]:
    """Take `x` apart into arrays of the floating `dtype` whose exact sum is `x`, largest first.

    Floating input is one part. So is an integer dtype that `dtype` holds exactly; a wider one gives as
    many parts as its digits need.

    >>> import numpy as np
    >>> [int(part[0]) for part in parts(np.array([2**53 + 1]), np.dtype("float64"), np)]
    [9007199254740992, 1]
    """
    if not xp.isdtype(x.dtype, "integral"):
        return (xp.astype(x, dtype, copy=False),)
    bits = xp.iinfo(x.dtype).bits
    exact = precision(xp, dtype)
    found = []
    if bits > exact:
        digits = _DIGITS.get(exact, exact)
        for low in range(0, bits - digits, digits):
            # Masks alone, no shifts: some libraries have no shifts for unsigned integers.
            lowest = x & (((1 << digits) - 1) << low)
            x = x ^ lowest
            found.append(xp.astype(lowest, dtype))
    return (xp.astype(x, dtype), *reversed(found))


def difference(a: tuple[Any, ...], b: tuple[Any, ...]) -> Any:
    """The parts of one array less those of another, rounded once.

    >>> import numpy as np
    >>> x = np.array([-(2**63), 2**63 - 1])
    >>> split = parts(x, np.dtype("float64"), np)
    >>> float(difference(tuple(p[1] for p in split), tuple(p[0] for p in split)))
    1.8446744073709552e+19
    """
    total = a[0] - b[0]
    for left, right in zip(a[1:], b[1:], strict=True):
        total = total + (left - right)
    return total
