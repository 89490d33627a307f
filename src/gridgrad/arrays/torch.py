"""PyTorch tensors."""

from collections.abc import Sequence
from typing import Any

import array_api_compat.torch as xp
import torch

from gridgrad.arrays.standard import Standard
from gridgrad.errors import GridError


class Torch(Standard):
    """PyTorch, on any device."""

    def __init__(self) -> None:
        super().__init__(xp)
        self.name = "torch"

    def owns(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor)

    def kind(self, x: Any, name: str) -> str:
        if x.dtype.is_floating_point and x.dtype.itemsize >= 2:
            return "real"
        if x.dtype.is_complex:
            return "complex"
        if x.dtype == torch.bool or not self.xp.isdtype(x.dtype, "integral"):
            raise self.refused(x, name)
        return "integer"

    def read(self, x: Any) -> Any:
        if _differentiated(x):
            return None
        x = x.detach().cpu().resolve_conj().resolve_neg()
        return (x.float() if x.dtype == torch.bfloat16 else x).numpy()

    def floating(self, x: Any) -> Any:
        is_inexact = x.dtype.is_floating_point or x.dtype.is_complex
        return x.dtype if is_inexact else torch.get_default_dtype()

    def default_floating(self) -> Any:
        return torch.get_default_dtype()

    def has_double(self, x: Any) -> bool:
        return bool(x.device.type != "mps")

    def check_writable(self, array: Any, k: int) -> None:
        if array.requires_grad:
            raise GridError(f"out[{k}] requires a gradient, which writing into it would break.")
        if any(stride == 0 and n > 1 for stride, n in zip(array.stride(), array.shape, strict=True)):
            raise GridError(f"out[{k}] must not be an expanded tensor, whose elements share memory.")

    def overlap(self, a: Any, b: Any) -> bool:
        if not isinstance(b, torch.Tensor) or a.device != b.device:
            return False
        (a_first, a_last), (b_first, b_last) = _extent(a), _extent(b)
        return bool(a_first < b_last and b_first < a_last)

    def write(self, results: Sequence[Any], out: Sequence[Any]) -> None:
        for value, array in zip(results, out, strict=True):
            array.copy_(value)


def _differentiated(x: Any) -> bool:
    """Whether the values of x may not be read: a gradient, a transform or a compiler follows them."""
    return bool(
        x.requires_grad
        or type(x) not in (torch.Tensor, torch.nn.Parameter)
        or x.device.type == "meta"
        or torch.compiler.is_compiling()
        or torch._C._functorch.is_functorch_wrapped_tensor(x)
        or torch.autograd.forward_ad.unpack_dual(x).tangent is not None
    )


def _extent(x: Any) -> tuple[int, int]:
    """The addresses of the first byte of x and of the one past its last."""
    if x.numel() == 0:
        return 0, 0
    reach = sum(stride * (n - 1) for stride, n in zip(x.stride(), x.shape, strict=True))
    return x.data_ptr(), x.data_ptr() + (reach + 1) * x.element_size()
