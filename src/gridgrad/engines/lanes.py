"""Vectors of samples in LLVM's own language, for loops that LLVM does not make well by itself."""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

INTEGER, POINTER, BIT = ir.IntType(64), ir.PointerType(), ir.IntType(1)
_HALF, _BYTE = ir.IntType(32), ir.IntType(8)


class Lanes:
    """Vectors of so many numbers of a type; of one number, that number."""

    def __init__(self, builder: Any, number: Any, lanes: int) -> None:
        self.builder, self.number, self.lanes = builder, number, lanes
        self.size = 4 if isinstance(number, ir.FloatType) else 8
        self.vector = ir.VectorType(number, lanes) if lanes > 1 else number
        self._name = f"f{8 * self.size}" if lanes == 1 else f"v{lanes}f{8 * self.size}"
        self._multiply_add = self._function(
            f"llvm.fma.{self._name}", self.vector, (self.vector,) * 3
        )

    def _function(self, name: str, result: Any, arguments: Sequence[Any]) -> Any:
        kind = ir.FunctionType(result, arguments)
        return cgutils.get_or_insert_function(self.builder.module, kind, name)

    def entry(self, table: Any, i: Any, kind: Any) -> Any:
        """The i-th number of a table, of the type or an integer."""
        width = constant(8 if kind is INTEGER else self.size)
        found = self.builder.add(table, self.builder.mul(i, width))
        return self.builder.load(
            self.builder.inttoptr(found, POINTER), typ=kind, align=width.constant
        )

    def load(self, row: Any, j: Any, more: int = 0) -> Any:
        """The samples from j + more on of a row that begins at address `row`."""
        return self.builder.load(self._place(row, j, more), typ=self.vector, align=self.size)

    def store(self, value: Any, row: Any, j: Any, more: int = 0) -> None:
        self.builder.store(value, self._place(row, j, more), align=self.size)

    def load_some(self, row: Any, j: Any, first: Any, last: Any, others: Any) -> Any:
        """What stands from the j-th on in the lanes from one up to another, and in the others theirs."""
        kind = ir.VectorType(INTEGER, self.lanes)
        lane = ir.Constant(kind, list(range(self.lanes)))
        low, high = (self._spread(place, kind) for place in (first, last))
        some = self.builder.and_(
            self.builder.icmp_signed(">=", lane, low), self.builder.icmp_signed("<", lane, high)
        )
        arguments = (POINTER, _HALF, some.type, self.vector)
        function = self._function(f"llvm.masked.load.{self._name}.p0", self.vector, arguments)
        align = ir.Constant(_HALF, self.size)
        return self.builder.call(function, (self._place(row, j), align, some, others))

    def stream(self, value: Any, row: Any, j: Any, more: int = 0) -> None:
        """Store a line of the cache past the caches; one begins there."""
        size = self.size * self.lanes
        stored = self.builder.store(value, self._place(row, j, more), align=size)
        yes = self.builder.module.add_metadata([ir.Constant(_HALF, 1)])
        stored.set_metadata("nontemporal", yes)

    def prefetch(self, row: Any, j: Any, more: int = 0) -> None:
        """Fetch that place into the cache's second level, to be read; there need be no memory."""
        function = self._function("llvm.prefetch.p0", ir.VoidType(), (POINTER, _HALF, _HALF, _HALF))
        to_read, second_level, data = (ir.Constant(_HALF, value) for value in (0, 2, 1))
        self.builder.call(function, (self._place(row, j, more), to_read, second_level, data))

    def put(self, value: Any, table: Any, column: int) -> None:
        """An integer into a column of a table."""
        place = self.builder.add(table, constant(8 * column))
        self.builder.store(value, self.builder.inttoptr(place, POINTER), align=8)

    def _place(self, row: Any, j: Any, more: int = 0) -> Any:
        # What is known beforehand comes last, so that it becomes a part of the instruction: an address made
        # of two registers costs a register and time.
        offset = self.builder.mul(j, constant(self.size))
        place = self.builder.inttoptr(row, POINTER)
        for distance in (offset, *([constant(more * self.size)] if more else [])):
            place = self.builder.gep(place, [distance], source_etype=_BYTE)
        return place

    def spread(self, value: Any) -> Any:
        """A number in every lane."""
        return value if self.lanes == 1 else self._spread(value, self.vector)

    def _spread(self, value: Any, kind: Any) -> Any:
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, value, constant(0))
        lane = ir.Constant(ir.VectorType(_HALF, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, first, lane)

    def number_of(self, value: float) -> Any:
        return self.spread(ir.Constant(self.number, value))

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c, rounded once."""
        return self.builder.call(self._multiply_add, (a, b, c))

    def are_finite(self, values: Sequence[Any]) -> Any:
        """Whether all numbers of these vectors are."""
        none = None
        for value in values:
            nothing = self.builder.fsub(value, value)  # NaN, if it is not finite
            none = nothing if none is None else self.builder.fadd(none, nothing)
        odd = self.builder.fcmp_unordered("uno", none, none)
        if self.lanes > 1:
            odd = self.builder.bitcast(odd, ir.IntType(self.lanes))
        return self.builder.icmp_signed("==", odd, ir.Constant(odd.type, 0))


def constant(value: int) -> Any:
    return ir.Constant(INTEGER, value)
