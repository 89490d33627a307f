"""Pure functions of Python values, which `torch.compile` evaluates rather than reads, and a cache."""

import sys
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any


def remember(function: Callable[..., Any]) -> Callable[..., Any]:
    """`functools.lru_cache`, whose results are constants to PyTorch's compiler."""
    cached = lru_cache(maxsize=1024, typed=True)(function)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        return cached(*arguments)

    return constant(call)


def constant(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have PyTorch's compiler evaluate a pure function rather than read it."""
    # What torch.compiler.assume_constant_result sets, which would have to import PyTorch's compiler.
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]  # functions may have any
    return function


@constant
def is_compiling() -> bool:
    """Whether `torch.compile` or `torch.export` is reading this code rather than running it."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    if torch.compiler.is_compiling():
        return True
    # Compilers before this say so only to what they read, which this is not.
    return not hasattr(torch.compiler, "_compile_session_context") and (
        torch._guards.TracingContext.try_get() is not None
    )
