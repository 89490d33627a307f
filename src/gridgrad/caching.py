"""A cache for pure functions of Python values, which `torch.compile` evaluates rather than reads."""

import sys
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any


def is_compiling() -> bool:
    """Whether `torch.compile` or `torch.export` is reading this code rather than running it."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()


def remember(function: Callable[..., Any]) -> Callable[..., Any]:
    """`functools.lru_cache`, whose results are constants to PyTorch's compiler."""
    cached = lru_cache(maxsize=1024, typed=True)(function)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        return cached(*arguments)

    # What torch.compiler.assume_constant_result sets, which would have to import PyTorch.
    call._dynamo_marked_constant = True  # type: ignore[attr-defined]  # functions may have any
    return call
