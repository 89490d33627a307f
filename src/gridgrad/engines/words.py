"""What the kernel is written in beside Python: addresses, loads and stores, functions that Numba compiles.

Rows and tables are addresses: one compiled kernel then serves any number of inputs and outputs of any shape
and strides, and a loop costs a call with a handful of numbers (arrays as arguments cost more than the loop
itself). `unit`, or any other number of the dtype computed in, says what stands at an address.
"""

import inspect
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from gridgrad.engines.layout import (
    CACHE_LINE,
    CALL_BYTES,
    CHUNK_BYTES,
    LISTS_BYTES,
    MANNER_BYTES,
    MOST_DIMS,
    OWN_BYTES,
    PATCHES_BYTES,
)

# Only the kernel calls these; without wrappers for Python they compile in half the time.
_OPTIONS: dict[str, Any] = {
    "nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True,
}  # fmt: skip
loop = njit(**_OPTIONS)
# A piece of its only caller, in which it would be optimised once more.
inlined = njit(inline="always", **_OPTIONS)
# The parts of the kernel that are compiled by themselves, by name.
PARTS: dict[str, Any] = {}


def symbol(name: str, number: Any) -> str:
    """The name by which compiled code finds a part, for numbers of a type."""
    return f"gridgrad.{name}.{number}"


def signature(function: Any, number: Any) -> Any:
    """What a part takes: a table, addresses and integers, and a number of the type."""
    count = len(inspect.signature(function).parameters) - 2
    return (types.CPointer(types.int64), *(types.int64,) * count, number)


def part(function: Any) -> Any:
    """A part of the kernel that says yes or no, and is compiled by itself: `compiled` does, for all callers.

    A function is otherwise compiled once more inside each that calls it, and in each that calls that.
    """
    name = function.__name__
    PARTS[name] = function

    def call(typingctx: Any, *args: Any) -> Any:
        if not isinstance(args[-1], types.Float):
            return None

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _call(context, builder, name, signature, args)

        return types.boolean(*signature(function, args[-1])), codegen

    parameters = inspect.signature(function).parameters.values()
    context = inspect.Parameter("typingctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    call.__signature__ = inspect.Signature([context, *parameters])  # Numba looks here
    return intrinsic(call)


def _call(context: Any, builder: Any, name: str, signature: Any, args: Any) -> Any:
    """What the function found by that name, for numbers of the last argument's type, makes of arguments."""
    result, kinds, how = signature.return_type, signature.args, context.call_conv
    kind = how.get_function_type(result, kinds)
    found = cgutils.get_or_insert_function(builder.module, kind, symbol(name, kinds[-1]))
    return how.call_function(builder, found, result, kinds, args)[1]


KERNEL = "kernel"


def kernel_signature(number: Any) -> Any:
    return (types.int64,) * 3 + (number,)


@intrinsic
def run_kernel(typingctx: Any, call: Any, unit: Any) -> Any:
    """The kernel itself, found by name, on the table at address `call`, which holds whole addresses."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        nothing = ir.Constant(ir.IntType(64), 0)
        whole = types.none(*kernel_signature(signature.args[-1]))
        _call(context, builder, KERNEL, whole, (nothing, nothing, *args))
        return context.get_dummy_value()

    return types.void(types.int64, unit), codegen


@intrinsic
def address_of(typingctx: Any, row: Any) -> Any:
    """A pointer as an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(args[0], ir.IntType(64))

    return types.int64(row), codegen


@intrinsic
def take_one(typingctx: Any, row: Any, j: Any) -> Any:
    """row[j], which is one more from then on: no two threads get the same number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.gep(args[0], [args[1]])
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(row, types.int64), codegen


@intrinsic
def pointer(typingctx: Any, address: Any, unit: Any) -> Any:
    """An address as a pointer to numbers of the type of `unit`."""
    found = types.CPointer(unit)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(found))

    return found(types.int64, unit), codegen


@intrinsic
def integers(typingctx: Any, address: Any) -> Any:
    """An address as a pointer to integers."""
    found = types.CPointer(types.int64)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(found))

    return found(types.int64), codegen


@intrinsic
def read(typingctx: Any, row: Any, j: Any) -> Any:
    """row[j] of an input, which nothing writes to meanwhile.

    Knowing that, LLVM vectorises loops over any number of rows; else it gives up at about eight.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = builder.load(builder.gep(args[0], [args[1]]))
        found.set_metadata("invariant.load", builder.module.add_metadata([]))
        return found

    return row.dtype(row, types.int64), codegen


@intrinsic
def get(typingctx: Any, row: Any, j: Any) -> Any:
    """row[j] of what is written to."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.gep(args[0], [args[1]]))

    return row.dtype(row, types.int64), codegen


@intrinsic
def put(typingctx: Any, row: Any, j: Any, value: Any) -> Any:
    """row[j] = value"""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(row, types.int64, row.dtype), codegen


@intrinsic
def put_alone(typingctx: Any, row: Any, j: Any, value: Any) -> Any:
    """row[j] = value, which LLVM does not join with others to one store of many far apart: those are slow."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = context.get_value_type(signature.args[0].dtype)
        size = 4 if isinstance(number, ir.FloatType) else 8
        builder.store_atomic(args[2], builder.gep(args[0], [args[1]]), "unordered", size)
        return context.get_dummy_value()

    return types.void(row, types.int64, row.dtype), codegen


@intrinsic
def copy(typingctx: Any, row: Any, other: Any, size: Any) -> Any:
    """So many bytes at address `other`, copied to `row`, which lies apart."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, source = (builder.inttoptr(place, ir.PointerType()) for place in args[:2])
        cgutils.raw_memcpy(builder, to, source, args[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def fence(typingctx: Any) -> Any:
    """From here on every thread sees what was written past the caches."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


def _chosen(is_first: str) -> Any:
    """A function for a if `a is_first b` holds, else b: Python's own take long to compile."""

    @intrinsic
    def choose(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.select(builder.icmp_signed(is_first, *args), *args)

        return types.int64(types.int64, types.int64), codegen

    return choose


least, most = _chosen("<"), _chosen(">")


def _divided(how: str) -> Any:
    @intrinsic
    def divide(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, how)(*args)

        return types.int64(types.int64, types.int64), codegen

    return divide


# a // b and a % b for numbers that are not negative, which Python's own look out for.
whole_of, remainder_of = _divided("udiv"), _divided("urem")


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once.

    That keeps the error on coordinates below 4 units in the last place of the larger term. Said for each
    product, and not left to the compiler, the result is the same in every loop.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return a(a, a, a), codegen


def _room(size: int) -> Any:
    """A function for the address of so many bytes that last as long as the call."""

    @intrinsic
    def room(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            with builder.goto_entry_block():
                found = builder.alloca(ir.ArrayType(ir.IntType(8), size))
            found.align = CACHE_LINE
            return builder.ptrtoint(found, ir.IntType(64))

        return types.int64(), codegen

    return room


room_for_chunks = _room(3 * CHUNK_BYTES + 3 * OWN_BYTES + PATCHES_BYTES)
room_for_call, room_for_index = _room(CALL_BYTES), _room(8 * MOST_DIMS)
room_for_lists, room_for_manner = _room(LISTS_BYTES), _room(MANNER_BYTES)
