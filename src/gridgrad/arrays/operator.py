"""The operator `gridgrad::run`: a plan on the CPU engine as one node of a program that PyTorch compiles.

The compiler sees what goes in and out, and its fake and autograd rules. The plan goes along as text, so that
the operator means the same in every process; or, for `gridgrad::run_at`, the call that makes the plan of
coordinates, which a program is given as arrays.
"""

import ast
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from importlib.resources import files
from typing import Any, NamedTuple

import torch

from gridgrad.arrays import placed
from gridgrad.arrays.autograd import Work
from gridgrad.arrays.near import count, with_arrays
from gridgrad.arrays.shortcut import run_order
from gridgrad.caching import constant
from gridgrad.plan import Plan, Term
from gridgrad.stencil import Row, Stencil

_NAME, _WEIGHTS, _TAGS = "run", "weights_at", (torch.Tag.pt2_compliant_tag,)
# Fused operations take less time up to about so many bytes; twice as many, less what an allocator adds, where
# they need no memory of their own. For larger results PyTorch asks the system at every call, not the engine.
_FUSED, _ADDED = 1 << 24, 1 << 16
# What fused operations are made by, of which PyTorch knows nothing.
_MADE_BY = zlib.crc32(
    b"".join(
        files("gridgrad").joinpath(name).read_bytes()
        for name in (
            "adjoint.py",
            "arrays/autograd.py",
            "arrays/expressions.py",
            "arrays/fused.py",
            "arrays/near.py",
            "arrays/operator.py",
            "arrays/origin.py",
            "arrays/standard.py",
            "arrays/traced.py",
            "boundary.py",
            "differences.py",
            "discretization.py",
            "engines/pairs.py",
            "engines/reference.py",
            "plan.py",
            "stencil.py",
        )
    )
)
# The operator lives as long as this does.
_library: Any = torch.library.Library("gridgrad", "FRAGMENT")  # type: ignore[no-untyped-call]  # PyTorch does not type it


class Order(NamedTuple):
    """What the operator is asked to do: a part of a plan or, if `transposed`, of its transpose."""

    plan: Plan
    results: tuple[str, ...]  # dtypes
    computes: tuple[str, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    transposed: bool = False
    fused: int = _FUSED
    """Up to so many bytes of samples, or twice as many, a program is made of PyTorch's own operations."""
    made_by: int = _MADE_BY
    """By what. It is said here since PyTorch keeps compiled programs on disk, by what they are made of."""
    call: tuple[Any, ...] | None = None
    """What makes the plan at coordinates, as `placed` reads it; `plan` tells what is made of what, then."""
    near: int = 0
    """How many samples edges read if each term is made of a sample's neighbours (`near.edges_of`), or 0."""

    def part(self, shape: Sequence[int], coordinates: Sequence[Any] = ()) -> Plan:
        """The plan to run on tensors of this shape."""
        plan = self.plan if self.call is None else placed.plan_of(self.call, shape, coordinates)
        return (plan.adjoint(shape) if self.transposed else plan).among(self.inputs, self.outputs)

    def backward(self, given: Sequence[int], dtypes: Sequence[str]) -> tuple["Order", list[int]]:
        """The order that takes gradients of the `given` results to inputs of these dtypes, and to which."""
        links = self._links()
        wanted = [
            k for k, dtype in enumerate(dtypes)
            if "int" not in dtype and any(t[0] in given and t[1] == k for t in links)
        ]  # fmt: skip
        computes = [
            reduce(_wider, (self.computes[t[0]] for t in links if t[0] in given and t[1] == k))
            for k in wanted
        ]  # fmt: skip
        return Order(
            self.plan,
            tuple(dtypes[k] for k in wanted),
            tuple(computes),
            tuple(self.outputs[k] for k in given),
            tuple(self.inputs[k] for k in wanted),
            not self.transposed,
            self.fused,
            self.made_by,
            self.call,
            self.near,
        ), wanted

    def _links(self) -> list[tuple[int, int]]:
        """Every (output, input) of the part of which the one is made from the other."""
        pairs = sorted(self.plan.links())
        if self.transposed:
            pairs = [(input, output) for output, input in pairs]
        return [
            (self.outputs.index(output), self.inputs.index(input))
            for output, input in pairs
            if output in self.outputs and input in self.inputs
        ]


def _wider(a: str, b: str) -> str:
    return a if getattr(torch, a).itemsize >= getattr(torch, b).itemsize else b


def as_text(order: Order) -> str:
    """An order as text, of numbers and names only.

    >>> plan = Plan(1, 1, (Term(0, 0, 0, Stencil((), Row((0, 1), (-1.0, 1.0)), ())),))
    >>> order = Order(plan, ("float32",), ("float32",), (0,), (0,))
    >>> from_text(as_text(order)) == order
    True
    """

    # Tuples without names, one by one: the compiler, which reads this, passes no others on.
    def row(each: Row) -> tuple[Any, ...]:
        weights = tuple(each.weights)
        return (each.offsets, weights, each.divisor, each.sides, each.plain)

    def term(each: Term) -> tuple[Any, ...]:
        lower = tuple([row(r) for r in each.stencil.lower])
        upper = tuple([row(r) for r in each.stencil.upper])
        rows = (lower, row(each.stencil.interior), upper, each.stencil.fits_single)
        return (each.output, each.input, each.dim, *rows)

    plan = order.plan
    terms = tuple([term(each) for each in plan.terms])
    return str(_written((
        plan.inputs, plan.outputs, terms, plan.between, order.results, order.computes, order.inputs,
        order.outputs, order.transposed, order.fused, order.made_by, order.call, order.near,
    )))  # fmt: skip


@constant
def _written(numbers: Any) -> str:
    return repr(numbers)  # not remembered: (1,) is another text than (True,), which equals it


@lru_cache(maxsize=1024)
def from_text(text: str) -> Order:
    inputs, outputs, terms, between, *rest = ast.literal_eval(text)

    def rows(given: Sequence[Any]) -> tuple[Row, ...]:
        return tuple(Row(*row) for row in given)

    return Order(
        Plan(
            inputs,
            outputs,
            tuple(
                Term(output, input, dim, Stencil(rows(lower), Row(*inner), rows(upper), fits))
                for output, input, dim, lower, inner, upper, fits in terms
            ),
            between,
        ),
        *rest,
    )


def is_constant(plan: Plan) -> bool:
    """Whether all weights are numbers, which can be written down."""
    return all(
        isinstance(number, float) for row in _rows(plan) for number in (*row.weights, row.divisor)
    )


def is_symbolic(number: Any) -> bool:
    """Whether the compiler, which reads this, leaves open which number it is."""
    # It shows its symbols as plain numbers, and knows of this one way to ask.
    return isinstance(number, (float, int)) and (
        not torch.fx.experimental.symbolic_shapes.has_static_value(number)
    )


def has_symbols(plan: Plan) -> bool:
    """Whether that is so of a number beyond an edge."""
    return any(is_symbolic(side) for row in _rows(plan) for side in row.sides or ())


def _rows(plan: Plan) -> list[Row]:
    return [
        row
        for term in plan.terms
        for row in (*term.stencil.lower, term.stencil.interior, *term.stencil.upper)
    ]


def _dtypes(names: Sequence[str]) -> list[Any]:
    return [getattr(torch, name) for name in names]


def fuse_by(
    run: Callable[..., tuple[Any, ...]], is_lean: Callable[[Plan, Sequence[Any]], bool]
) -> None:
    """Have programs for few samples made of PyTorch's own operations, by `run`, in the operator's place.

    A compiler fuses them with what comes before and after, which for few samples is faster than a call; for
    twice as many if it `is_lean`: needs no memory of its own. Where the operator meets PyTorch's tracer,
    derivatives are operators of their own already.
    """
    from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode  # the compiler has it

    def rule(mode: Any, func: Any, kinds: Any, args: tuple[Any, ...], kwargs: Any = None) -> Any:
        inputs, given = args[0], from_text(args[1])
        with mode:
            if all(_is_small(x, 2 * given.fused - _ADDED) for x in inputs):
                part = given.part(inputs[0].shape)
                if all(_is_small(x, given.fused) for x in inputs) or is_lean(part, inputs):
                    return list(run(part, inputs, _dtypes(given.results), _dtypes(given.computes)))
        return mode.__torch_dispatch__(func, kinds, args, kwargs)

    def rule_at(mode: Any, func: Any, kinds: Any, args: tuple[Any, ...], kwargs: Any = None) -> Any:
        inputs, given = args[0], from_text(args[1])
        if given.near and all(_is_small(x, given.fused) for x in inputs):
            computes, shape = _dtypes(given.computes), inputs[0].shape
            many = count(given.plan, shape)
            if many * computes[0].itemsize <= given.fused and len({*computes}) == 1:
                with mode:
                    call = str(_written(given.call))
                    numbers = weights(args[2], call, shape, many, computes[0])
                    plan = with_arrays(given.plan, shape, numbers, given.near, given.transposed)
                    part = plan.among(given.inputs, given.outputs)
                    return list(run(part, inputs, _dtypes(given.results), computes))
        return mode.__torch_dispatch__(func, kinds, args, kwargs)

    weights = torch.ops.gridgrad.weights_at.default
    for name, each in ((_NAME, rule), (f"{_NAME}_at", rule_at)):
        whole = f"gridgrad::{name}"
        torch.library.register_torch_dispatch(whole, ProxyTorchDispatchMode, each, lib=_library)


def _is_small(x: Any, most: int) -> bool:
    """Whether x is known to take no more bytes while it is computed, and lies as results of any operation do.

    Complex numbers are left to the engine: whether they are finite is asked by what cannot be recorded here.
    """
    known = all(type(n) is int for n in x.shape) and not x.is_complex()
    return known and x.is_contiguous() and x.numel() * max(4, x.element_size()) <= most


def register(run: Callable[..., tuple[Any, ...]]) -> tuple[Any, Any]:
    """The operators `run` and `run_at`, whose work is done by `run(plan, inputs, results, computes)`."""

    def operator(
        inputs: Sequence[torch.Tensor], order: str, coordinates: Sequence[torch.Tensor] = ()
    ) -> list[torch.Tensor]:
        def work() -> Work:
            given = from_text(order)
            part, computes = given.part(inputs[0].shape, coordinates), _dtypes(given.computes)
            return Work(run, part, _dtypes(given.results), placed.computes_of(part, computes))

        quick = run_order((order, *placed.values_of(coordinates)), inputs, work)
        if quick is not None:
            return quick
        found = work()(*inputs)
        # The compiler counts on the strides that it was told.
        strides = torch.empty_like(inputs[0], device="meta").stride()
        return [
            x if x.stride() == strides else x.new_empty_strided(x.shape, strides).copy_(x)
            for x in found
        ]

    def fake(
        inputs: Sequence[torch.Tensor], order: str, coordinates: Sequence[torch.Tensor] = ()
    ) -> list[torch.Tensor]:
        names = from_text(order).results
        return [torch.empty_like(inputs[0], dtype=dtype) for dtype in _dtypes(names)]

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.order = inputs[1]
        ctx.dtypes = [str(x.dtype).removeprefix("torch.") for x in inputs[0]]
        ctx.set_materialize_grads(False)
        if len(inputs) > 2:
            ctx.save_for_backward(*inputs[2])

    def backward(ctx: Any, grads: Sequence[Any]) -> tuple[Any, ...]:
        result: list[Any] = [None] * len(ctx.dtypes)
        given = [k for k, grad in enumerate(grads) if grad is not None]
        order, coordinates = from_text(ctx.order), ctx.saved_tensors
        if given:
            back, wanted = order.backward(given, ctx.dtypes)
            words: tuple[Any, ...] = (as_text(back),)
            if order.call is not None:
                words = (*words, coordinates)
            found = called[len(words) - 1]([grads[k] for k in given], *words) if wanted else []
            for k, value in zip(wanted, found, strict=True):
                result[k] = value
        return (result, None) if order.call is None else (result, None, [None] * len(coordinates))

    called = tuple(
        # What `torch.library.custom_op` does, without the layers that it puts around every call.
        _define(name, words, operator, fake, backward, setup_context)
        for name, words in (
            (_NAME, "Tensor[] inputs, str order"),
            (_NAME + "_at", "Tensor[] inputs, str order, Tensor[] coordinates"),
        )
    )
    _library.define(f"{_WEIGHTS}({placed.WORDS}) -> Tensor", tags=_TAGS)
    _library.impl(_WEIGHTS, placed.weights_at, "CompositeExplicitAutograd")
    torch.library.register_fake(f"gridgrad::{_WEIGHTS}", placed.no_weights_at, lib=_library)
    return called[0], called[1]


def _define(
    name: str, words: str, operator: Any, fake: Any, backward: Any, setup_context: Any
) -> Any:
    _library.define(f"{name}({words}) -> Tensor[]", tags=_TAGS)
    _library.impl(name, operator, "CompositeExplicitAutograd")
    whole = f"gridgrad::{name}"
    torch.library.register_fake(whole, fake, lib=_library)
    torch.library.register_autograd(whole, backward, setup_context=setup_context, lib=_library)
    return getattr(torch.ops.gridgrad, name).default
