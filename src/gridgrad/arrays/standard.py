"""Any library that speaks the Python Array API (JAX, CuPy, array-api-strict, ...), and what all share."""

import importlib
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import array_api_compat
import numpy as np

from gridgrad.engines import reference
from gridgrad.errors import GridError, GridTypeError
from gridgrad.plan import Plan

Small = Callable[[Any], tuple[Any, ...] | None]


class Quick(Protocol):
    """What runs a plan on arrays of one layout, and gives None where it can't."""

    small: Small | None
    """The same for one small input of the right dtype and shape, of which nothing else was asked."""

    def __call__(
        self, inputs: Sequence[Any], out: Any, read: Sequence[Any]
    ) -> tuple[Any, ...] | None:
        """The results; `read` are arrays that are read besides, and not to be written into."""


# Bytes of coordinates that are compared by value.
_SHORT = 1 << 14
# Half precision holds data, not arithmetic.
_COMPUTE = {"float16": "float32", "bfloat16": "float32", "complex32": "complex64"}


def name_of(dtype: Any) -> str:
    """'float32' and the like, whatever the library calls it."""
    found = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    return str(found).rpartition(".")[2]


def _of_module(name: str) -> "Standard":
    return Standard(importlib.import_module(name))


class Standard:
    """What gridgrad needs to know of an array library, read off the Array API standard."""

    keeps_numpy_scalars = False
    is_told_by_type = True  # or what an array holds matters too
    takes_blocks_alone = False  # or also beside arrays of the library that its blocks are made of

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self.name = xp.__name__.removeprefix("array_api_compat.").partition(".")[0]

    def __reduce__(self) -> Any:
        # Modules can't be pickled.
        return _of_module, (self.xp.__name__,)

    # What an array holds

    def owns(self, value: Any) -> bool:
        """Whether `value` is an array of this library."""
        return (
            array_api_compat.is_array_api_obj(value)
            and array_api_compat.array_namespace(value) is self.xp
        )

    def namespace(self, x: Any) -> Any:
        """The Array API functions for x."""
        return self.xp

    def dtype(self, name: str) -> Any:
        """This library's dtype of that name."""
        return getattr(self.xp, name)

    def kind(self, x: Any, name: str) -> str:
        """'integer', 'real' or 'complex'; an error that names the argument for any other dtype."""
        for kind, standard in (
            ("real", "real floating"),
            ("integer", "integral"),
            ("complex", "complex floating"),
        ):
            if self.xp.isdtype(x.dtype, standard):
                return kind
        raise self.refused(x, name)

    def refused(self, x: Any, name: str) -> GridTypeError:
        return GridTypeError(
            f"{name} must hold integers, floats or complex numbers, but holds {name_of(x.dtype)}."
        )

    def values(self, x: Any) -> Any:
        """The values of x as a NumPy array, or None where there are none yet, as under a compiler."""
        if self.is_followed(x):
            return None
        try:
            return np.asarray(x)
        except (TypeError, ValueError, RuntimeError):
            return np.from_dlpack(x)

    def is_followed(self, x: Any) -> bool:
        """Whether x is differentiated or traced, so that weights must be made by its own library."""
        jax = sys.modules.get("jax")
        return jax is not None and isinstance(x, jax.core.Tracer)

    def is_symbolic(self, number: Any) -> bool:
        """Whether a compiler knows a number by a name only, since it may be another at the next call."""
        return False

    def tensor(self, values: Any, input: Any) -> Any:
        """A number, or a list or NumPy array of them, as an array beside the input."""
        return self.xp.asarray(values, device=getattr(input, "device", None))

    def check_device(self, x: Any, input: Any, name: str) -> None:
        """Refuse an x that lives on another device than the input."""
        there, here = (array_api_compat.device(array) for array in (x, input))
        if there != here and None not in (there, here):  # a traced array has none
            raise GridError(f"{name} must be on the input's device, {here}, but is on {there}.")

    def components(self, x: Any) -> list[Any]:
        """The arrays that one array's first dim counts."""
        return [x[k] for k in range(x.shape[0])]

    def check_alike(self, x: Any, input: Any, name: str) -> None:
        """Refuse an input x that can't be computed with beside the first one."""
        self.check_device(x, input, name)

    # What a result holds

    def floating(self, x: Any) -> Any:
        """The dtype of x, or the library's default floating dtype where x holds integers."""
        return self.default_floating() if self.xp.isdtype(x.dtype, "integral") else x.dtype

    def default_floating(self) -> Any:
        return self.xp.asarray(0.0).dtype

    def result_dtype(self, input: Any, dtype: Any, is_complex: bool) -> Any:
        """The dtype of a derivative of `input` by coordinates of `dtype` (None: which do not promote)."""
        found = self.floating(input)
        if dtype is not None:
            found = self.promote(found, dtype)
        if is_complex and not self.xp.isdtype(found, "complex floating"):
            found = self.promote(found, self.dtype("complex64"))
        return found

    def promote(self, a: Any, b: Any) -> Any:
        return self.xp.result_type(a, b)

    def compute_dtype(self, dtype: Any, x: Any, wide: bool = False) -> Any:
        """The dtype in which results of `dtype` are computed; `wide` asks for double precision."""
        name = _COMPUTE.get(name_of(dtype), name_of(dtype))
        if wide and self.has_double(x):
            name = {"float32": "float64", "complex64": "complex128"}.get(name, name)
        return self.dtype(name)

    def has_double(self, x: Any) -> bool:
        """Whether float64 exists here; in JAX it does only if it is switched on."""
        return name_of(self.default_floating()) == "float64"

    # Running a plan

    def is_fast(self, plan: Plan, inputs: Sequence[Any], computes: Sequence[Any]) -> bool:
        """Whether an engine other than the reference runs this plan on arrays of these dtypes."""
        return False

    def layout(self, x: Any) -> Any:
        """What calls with one x and with another need have in common to be answered in one way.

        That is the dtype, the shape, and where in memory the samples stand from the first. None where
        something else matters too, or where x is no array of this library.
        """
        return None

    def content(self, x: Any) -> Any:
        """What tells short coordinates from others; None where it can't be told, or takes long."""
        if type(x) is not np.ndarray or x.nbytes > _SHORT or x.dtype.kind not in "fiumM":
            return None
        return x.dtype.str, x.shape, x.tobytes()

    def quick(
        self, plan: Plan, inputs: Sequence[Any], results: Sequence[Any], computes: Sequence[Any], out: Any
    ) -> Quick | None:  # fmt: skip
        """What runs the plan on all inputs, and into all `out` if that is given, of these layouts.

        Where it can't, for a reason that their layouts do not tell, it gives None.
        """
        return None

    # How the reference engine lays pieces end to end, if not by concatenation, and does without any.
    join: Any = None
    whole: Any = None

    def quiet(self) -> AbstractContextManager[Any]:
        """Several libraries compute by NumPy, which would warn of infinities."""
        return np.errstate(all="ignore")

    def run(
        self,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
        out: Sequence[Any] | None = None,
    ) -> tuple[Any, ...]:
        """The outputs of a plan, each computed in a dtype of `computes` and rounded once to its result's.

        They are written into `out` if that is given.
        """
        found = self.run_by_reference(plan, inputs, results, computes)
        if out is None:
            return found
        for value, array in zip(found, out, strict=True):
            array[...] = value
        return tuple(out)

    def run_by_reference(
        self, plan: Plan, inputs: Sequence[Any], results: Sequence[Any], computes: Sequence[Any]
    ) -> tuple[Any, ...]:
        """The same by the reference engine, whatever others there are."""
        with self.quiet():
            return tuple(
                self.xp.astype(value, dtype, copy=False)
                for value, dtype in zip(
                    reference.run(plan, inputs, computes, self.xp, self.join, self.whole),
                    results,
                    strict=True,
                )
            )

    def check_out(
        self, out: Any, shape: tuple[int, ...], dtypes: Sequence[Any], read: Sequence[Any]
    ) -> tuple[Any, ...]:
        """`out` as one writable array for each result, none of which overlaps what is `read`."""
        if not isinstance(out, (tuple, list)):
            raise GridTypeError(
                f"out must be a tuple or list of {len(dtypes)} arrays, but is {type(out).__name__}."
            )
        if len(out) != len(dtypes):
            raise GridError(
                f"out must have {len(dtypes)} arrays, one for each dim, but has {len(out)}."
            )
        for k, (array, dtype) in enumerate(zip(out, dtypes, strict=True)):
            if not self.owns(array):
                raise GridTypeError(
                    f"out[{k}] must be an array of the input's library, {self.name}, "
                    f"but is {type(array).__module__}.{type(array).__name__}."
                )
            if tuple(array.shape) != tuple(shape):
                raise GridError(
                    f"out[{k}] must have the input's shape, {tuple(shape)}, "
                    f"but has {tuple(array.shape)}."
                )
            if array.dtype != dtype:
                raise GridTypeError(
                    f"out[{k}] must have the result's dtype, {name_of(dtype)}, "
                    f"but has {name_of(array.dtype)}."
                )
            if read:
                self.check_device(array, read[0], f"out[{k}]")
            self.check_writable(array, k)
            for other in (*read, *out[:k]):
                if self.overlap(array, other):
                    which = (
                        "the input or its coordinates" if any(other is r for r in read) else "out"
                    )
                    raise GridError(f"out[{k}] must not share memory with {which}.")
        return tuple(out)

    def check_writable(self, array: Any, k: int) -> None:
        raise GridTypeError(f"out is not offered for {self.name}, whose arrays may not be changed.")

    def overlap(self, a: Any, b: Any) -> bool:
        """Whether writing a may change b."""
        return a is b
