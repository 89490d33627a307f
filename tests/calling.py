"""Calls of gridgrad that check that nothing given was changed, and what comes back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import array_api_compat
import array_api_strict
import jax.numpy as jnp
import numpy as np
import torch

import gridgrad


@dataclass(frozen=True)
class Library:
    """An array library under test."""

    name: str
    xp: Any
    floating: str  # its default floating dtype
    make: Callable[[Any], Any]

    def asarray(self, values: Any, dtype: str | None = None) -> Any:
        """An array of the library; integers and floats are of the library's own default dtype."""
        x = self.make(values)
        return self.astype(x, dtype) if dtype else x

    def astype(self, x: Any, dtype: str) -> Any:
        xp = array_api_compat.array_namespace(x)
        return xp.astype(x, getattr(self.xp, dtype))


LIBRARIES = (
    Library("numpy", np, "float64", np.asarray),
    Library("torch", torch, "float32", torch.tensor),
    Library("jax", jnp, "float32", jnp.asarray),
    Library("array_api_strict", array_api_strict, "float64", array_api_strict.asarray),
)
NUMPY, TORCH, JAX, STRICT = LIBRARIES


def dtype_name(x: Any) -> str:
    """'float32' and the like, whatever the library calls it."""
    return str(getattr(x.dtype, "name", x.dtype)).rpartition(".")[2]


def numpy(x: Any) -> np.ndarray:
    """The values of any library's array, in an array of NumPy that holds them exactly."""
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu().resolve_conj().resolve_neg()
        return (x.double() if x.dtype == torch.bfloat16 else x).numpy()
    if isinstance(x, np.ndarray | np.generic):
        return np.ma.getdata(x)
    if array_api_compat.is_jax_array(x):
        x = np.asarray(x)
        return x.astype(np.float64) if x.dtype.name == "bfloat16" else x
    return np.from_dlpack(x) if array_api_compat.is_array_api_obj(x) else np.asarray(x)


def gradient(input: Any, **options: Any) -> tuple[Any, ...]:
    """`gridgrad.gradient`, with what holds of every call asserted.

    Nothing given is changed; each result is an array of the input's library, device and shape.
    """
    given = [input, *_arrays(options.get("spacing"))]
    before = [snapshot(x) for x in given]
    results = gridgrad.gradient(input, **options)
    assert [snapshot(x) for x in given] == before, "the call changed what it was given"
    assert isinstance(results, tuple)
    xp = array_api_compat.array_namespace(input)
    for result in results:
        assert array_api_compat.array_namespace(result) is xp
        assert array_api_compat.device(result) == array_api_compat.device(input)
        assert tuple(result.shape) == tuple(input.shape)
    return results


def check(results: Sequence[Any], expected: Sequence[Any], dtype: str, rtol: float = 0.0) -> None:
    """Each result has this dtype and these values."""
    assert len(results) == len(expected)
    for result, values in zip(results, expected, strict=True):
        assert dtype_name(result) == dtype
        values = np.broadcast_to(np.asarray(values), tuple(result.shape))
        np.testing.assert_allclose(numpy(result), values, rtol=rtol, atol=0)


def snapshot(x: Any) -> tuple[Any, ...]:
    """All that a call could change of an array: its type, shape, dtype and bytes."""
    if isinstance(x, torch.Tensor):
        if x.device.type == "meta" or x.is_sparse:
            return (type(x), tuple(x.shape), x.dtype)
        plain = x.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
        return (type(x), tuple(x.shape), x.dtype, bytes(plain.view(torch.uint8).numpy()))
    if isinstance(x, np.ma.MaskedArray):
        return (type(x), x.shape, x.dtype, x.data.tobytes(), np.ma.getmaskarray(x).tobytes())
    values = x if isinstance(x, np.ndarray) else numpy(x)
    return (type(x), values.shape, values.dtype, values.tobytes())


def _arrays(spacing: Any) -> list[Any]:
    entries = spacing if isinstance(spacing, list | tuple) else [spacing]
    return [x for x in entries if isinstance(x, np.ndarray) or array_api_compat.is_array_api_obj(x)]
