"""What libraries have in common whose arrays hold no samples yet: they follow another library's rules."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from gridgrad.arrays.standard import Standard
from gridgrad.plan import Plan


class Lazy(Standard, ABC):
    """Arrays whose samples come later, as arrays of `inner`, whose dtypes and promotion they have."""

    def __init__(self, inner: Standard, name: str) -> None:
        self.inner, self.xp, self.name = inner, inner.xp, name
        self.keeps_numpy_scalars = inner.keeps_numpy_scalars

    @abstractmethod
    def meta(self, x: Any) -> Any:
        """An array of `inner` with the dtype and the number of dims of x; x itself if it is `inner`'s."""

    def namespace(self, x: Any) -> Any:
        return self.inner.namespace(self.meta(x))

    def dtype(self, name: str) -> Any:
        return self.inner.dtype(name)

    def kind(self, x: Any, name: str) -> str:
        return self.inner.kind(self.meta(x), name)

    def is_followed(self, x: Any) -> bool:
        return self.inner.is_followed(self.meta(x))

    def tensor(self, values: Any, input: Any) -> Any:
        return self.inner.tensor(values, self.meta(input))

    def check_device(self, x: Any, input: Any, name: str) -> None:
        self.inner.check_device(self.meta(x), self.meta(input), name)

    def floating(self, x: Any) -> Any:
        return self.inner.floating(self.meta(x))

    def default_floating(self) -> Any:
        return self.inner.default_floating()

    def result_dtype(self, input: Any, dtype: Any, is_complex: bool) -> Any:
        return self.inner.result_dtype(self.meta(input), dtype, is_complex)

    def promote(self, a: Any, b: Any) -> Any:
        return self.inner.promote(a, b)

    def compute_dtype(self, dtype: Any, x: Any, wide: bool = False) -> Any:
        return self.inner.compute_dtype(dtype, self.meta(x), wide)

    def run(
        self,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
        out: Sequence[Any] | None = None,
    ) -> tuple[Any, ...]:
        metas = [self.meta(x) for x in inputs]
        # As the whole would be run, so that parts of it are rounded alike.
        by_reference = not self.inner.is_fast(plan, metas, computes)
        if not plan.between:
            return self.later(plan, inputs, results, computes, by_reference)
        found: list[Any] = [None] * plan.outputs
        for dtype, chosen, part in plan.by_key(computes):
            first, second = part.stages()
            dtypes = [dtype] * part.between
            between = self.later(first, inputs, dtypes, dtypes, by_reference)
            made = self.later(
                second, (*inputs, *between), [results[k] for k in chosen], [dtype] * len(chosen),
                by_reference,
            )  # fmt: skip
            for k, value in zip(chosen, made, strict=True):
                found[k] = value
        return tuple(found)

    @abstractmethod
    def later(
        self,
        plan: Plan,
        inputs: Sequence[Any],
        results: Sequence[Any],
        computes: Sequence[Any],
        by_reference: bool,
    ) -> tuple[Any, ...]:
        """What stands for the results of a plan without arrays between."""
