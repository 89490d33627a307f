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
    # Asked at every call: PyTorch is looked for until it is there.
    return _is_compiling() if _is_compiling is not None else _look_for_torch()


_is_compiling: Callable[[], bool] | None = None


def _look_for_torch() -> bool:
    global _is_compiling
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "compiler"):  # or its import is under way
        return False

    def of_older() -> bool:
        # They say so only to what they read, which this is not.
        says_so: bool = torch.compiler.is_compiling()
        return says_so or torch._guards.TracingContext.try_get() is not None

    is_newer = hasattr(torch.compiler, "_compile_session_context")
    _is_compiling = torch.compiler.is_compiling if is_newer else of_older
    return _is_compiling()
