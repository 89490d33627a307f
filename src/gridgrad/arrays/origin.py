"""What PyTorch's tracer knows of an array: whether it is given to a program, and what it is made of there."""

from typing import Any

from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot

# What these make is not made twice where it can be read from memory.
_COSTLY = frozenset(
    f"aten::{name}"
    for names in (
        "acos acosh asin asinh atan atan2 atanh cos cosh sin sinh tan tanh sigmoid",
        "exp exp2 expm1 log log10 log1p log2 pow sqrt rsqrt div reciprocal fmod remainder",
        "erf erfc erfinv lgamma digamma gelu gelu_backward silu silu_backward softplus softplus_backward",
    )
    for name in names.split()
)
# And what is made of more operations than this.
_MOST = 300


def is_given(x: Any) -> bool:
    """Whether that is memory when a program starts: one of its arguments."""
    node = _node(x)
    return node is None or node.op == "placeholder"


def is_cheap(x: Any) -> bool:
    """Whether to make that of a program's arguments twice takes no longer than to read it from memory."""
    left, seen = [_node(x)], set[Any]()
    while left:
        node = left.pop()
        if node is None or node.op == "placeholder" or node in seen:
            continue
        # To divide by a number, or to multiply by itself, is cheap.
        by = node.args[1] if len(node.args) > 1 else None
        name = getattr(getattr(node.target, "_schema", None), "name", None)
        is_number = isinstance(by, (int, float))
        is_plain = is_number and (name == "aten::div" or (name == "aten::pow" and by in (1, 2, 3)))
        if (name in _COSTLY and not is_plain) or len(seen) > _MOST:
            return False
        seen.add(node)
        left += node.all_input_nodes
    return True


def _node(x: Any) -> Any:
    """What the tracer has put down for it, if that is at work."""
    mode = get_proxy_mode()
    found = None if mode is None else get_proxy_slot(x, mode.tracer, None)
    return None if found is None else found.proxy.node
