"""Every error and warning that gridgrad raises.

Each error is a sentence that names the argument, what was given, and what would be right.
"""

import sys
import warnings


class GridError(ValueError, RuntimeError):
    """An argument that cannot be meant.

    It is a `ValueError` and a `RuntimeError`, so that code written for NumPy (which raises the one)
    and code written for PyTorch (which raises the other) both catch it.

    >>> issubclass(GridError, ValueError) and issubclass(GridError, RuntimeError)
    True
    """


class GridIndexError(GridError, IndexError):
    """A dim that the input does not have."""


class GridTypeError(GridError, TypeError):
    """An argument of a type that is not understood."""


class GridWarning(UserWarning):
    """The base of gridgrad's warnings."""


class NonMonotonicWarning(GridWarning):
    """Coordinates that turn back on themselves: allowed, as in PyTorch, but seldom meant."""


def warn(message: str, category: type[GridWarning]) -> None:
    """Warn at the line that called gridgrad, however deep inside the package the reason was found."""
    frame, depth = sys._getframe(1), 2
    package = __name__.partition(".")[0]
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth)
