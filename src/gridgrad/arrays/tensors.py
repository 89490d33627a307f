"""What holds of a tensor: where its values are, and who keeps them or follows what is done to them."""

import sys
from typing import Any

import numpy as np
import torch

from gridgrad.engines.memory import BFLOAT16, order_of


def is_transforming() -> bool:
    """Whether a transform of `torch.func` is at work, also where the compiler reads one."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def _is_functionalizing() -> bool:
    """Whether `torch.func.functionalize` is among the transforms at work."""
    kind = torch._C._functorch.TransformType.Functionalize
    stack = torch._C._functorch.get_interpreter_stack()
    return stack is not None and any(each.key() == kind for each in stack)


# The compiler asks once, while it reads. PyTorch's own way to say so imports all of the compiler.
is_transforming._dynamo_marked_constant = True  # type: ignore[attr-defined]  # functions may have any


def promoted(a: Any, b: Any) -> Any:
    """The dtype of what is made of two others."""
    # Where they are one, no function is asked, which an exported program would record.
    return a if a == b else torch.promote_types(a, b)


def is_distributed(x: Any) -> bool:
    """Whether x is a DTensor, whose module takes long to import."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(x, module.DTensor)


def holds_ranks(x: Any) -> bool:
    """Whether x is a DTensor, or what a transform makes of one."""
    if "torch.distributed.tensor" not in sys.modules:
        return False
    while torch._C._functorch.is_functorch_wrapped_tensor(x):
        x = torch._C._functorch.get_unwrapped(x)
    return is_distributed(x)


def is_memory(x: Any, device: str = "cpu") -> bool:
    """Whether x is memory of this machine, or of another kind of device, which an engine may use."""
    return bool(
        x.device.type == device
        and x.layout == torch.strided
        and x.dtype != torch.complex32
        and not is_hidden(x)
        and not is_differentiated(x)
        and not x.is_conj()
        and not x.is_neg()
        and not x._is_zerotensor()  # zeros that lie nowhere
    )


def as_numpy(x: Any) -> Any:
    if x.dtype == torch.bfloat16:
        return x.detach().view(torch.int16).numpy().view(BFLOAT16)
    return x.detach().numpy()


def from_numpy(x: Any) -> Any:
    if x.dtype == BFLOAT16:
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def inside_transform(x: Any) -> Any:
    """The values of a plain tensor while other tensors are transformed, when no operation may touch it."""
    try:
        return np.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError):
        return None


def is_hidden(x: Any) -> bool:
    """Whether a transform, a subclass, a mode or a compiler keeps the values of x to itself."""
    return bool(
        torch.compiler.is_compiling()
        or torch._C._is_tracing()
        or torch._C._len_torch_dispatch_stack() > 0
        or type(x).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__
        or x.device.type == "meta"
        or torch._C._functorch.is_functorch_wrapped_tensor(x)
        or torch._C._functorch.is_legacy_batchedtensor(x)
    )


def laid_out(value: Any, like: Any) -> Any:
    """The same that lies in memory as the engines lay out what they make of such an input."""
    if like.is_contiguous():
        return value
    order = order_of(like.stride(), like.shape)
    return value.permute(order).contiguous().permute([order.index(dim) for dim in range(like.ndim)])


def is_watched(x: Any) -> bool:
    """Whether PyTorch differentiates or batches what is done to x."""
    # None of gradcheck's batches, `functionalize` and `jit.trace` knows functions with a backward pass of
    # their own.
    is_batched = torch._C._functorch.is_legacy_batchedtensor(x)
    if is_batched or _is_functionalizing() or torch._C._is_tracing():
        return False
    return torch._C._functorch.is_functorch_wrapped_tensor(x) or is_differentiated(x)


def is_differentiated(x: Any) -> bool:
    return bool(
        (x.requires_grad and torch.is_grad_enabled())
        or torch.autograd.forward_ad.unpack_dual(x).tangent  # type: ignore[no-untyped-call]  # PyTorch does not type it
        is not None
    )


def is_asked(x: Any) -> bool:
    """Whether x is of a subclass that has its say in what is made of it."""
    kind = type(x)
    return kind is not torch.Tensor and (
        kind.__torch_function__ is not torch._C._disabled_torch_function_impl
    )


def is_nowhere(x: Any) -> bool:
    """Whether x has no address: a transform, a subclass or a device without memory holds it."""
    return (
        x.device.type == "meta"
        or torch._C._functorch.is_functorch_wrapped_tensor(x)
        or type(x).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__
    )


def extent(x: Any) -> tuple[int, int]:
    """The addresses of the first byte of x and of the one past its last."""
    if x.numel() == 0:
        return 0, 0
    reach = sum(stride * (n - 1) for stride, n in zip(x.stride(), x.shape, strict=True))
    return x.data_ptr(), x.data_ptr() + (reach + 1) * x.element_size()
