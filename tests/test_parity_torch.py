"""Parity with `torch.gradient`: PyTorch's own samples and error inputs, and a table of deviations.

The samples and errors run straight from the installed PyTorch, entry `gradient` of its `op_db`.
"""

import warnings

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db

import gridgrad

from .calling import gradient

(OP,) = (op for op in op_db if op.name == "gradient")
DTYPES = sorted(OP.dtypes, key=str)
SAMPLES = 8

# Forward mode compiles parts of PyTorch with its own deprecated torch.jit.script.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:.torch\.jit\.script. is deprecated:DeprecationWarning"
)

# Samples of the OpInfo that are meant to come out otherwise: (dtype, index) -> reason; none so far.
OPINFO_DEVIATIONS: dict[tuple[torch.dtype, int], str] = {}


def sample(dtype: torch.dtype, k: int, requires_grad: bool = False):
    torch.manual_seed(0)
    return list(OP.sample_inputs("cpu", dtype, requires_grad))[k]


def quietly(call, *args, **options):
    """One of PyTorch's samples has coordinates that turn back, which is worth a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gridgrad.NonMonotonicWarning)
        return call(*args, **options)


def as_tuple(result):
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def largest_term(f: torch.Tensor, spacing) -> float:
    """A bound on the terms w_j f_j of PyTorch's sums."""
    entries = (
        spacing if isinstance(spacing, tuple | list) else [1.0 if spacing is None else spacing]
    )
    gap = min(
        float(x.diff().abs().min()) if isinstance(x, torch.Tensor) else abs(x) for x in entries
    )
    return float(f.abs().max()) * 2 / gap


def test_every_sample_and_dtype_is_run():
    assert len(DTYPES) == 10
    for dtype in DTYPES:
        assert len(list(OP.sample_inputs("cpu", dtype, False))) == SAMPLES


@pytest.mark.parametrize("k", range(SAMPLES))
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_opinfo_sample(dtype, k):
    given = sample(dtype, k)
    expected = as_tuple(OP.op(given.input, *given.args, **given.kwargs))
    found = quietly(gradient, given.input, *given.args, **given.kwargs)
    assert len(found) == len(expected)
    same = True
    for value, want in zip(found, expected, strict=True):
        assert (value.dtype, value.device) == (want.dtype, want.device)
        size = largest_term(given.input, given.kwargs["spacing"])
        error = (value - want).abs().max()
        same = same and float(error) <= 2 * torch.finfo(value.dtype).eps * size
    if (dtype, k) in OPINFO_DEVIATIONS:
        assert not same, "listed as a deviation, but it no longer is one"
    else:
        assert same


@pytest.mark.parametrize("k", range(SAMPLES))
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_opinfo_sample_is_differentiable(dtype, k):
    given = sample(dtype, k, requires_grad=True)

    def function(x):
        return quietly(gridgrad.gradient, x, *given.args, **given.kwargs)

    assert torch.autograd.gradcheck(function, (given.input,), check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(
        function, (given.input,), check_fwd_over_rev=True, fast_mode=True
    )


@pytest.mark.parametrize("k", range(len(list(OP.error_inputs("cpu")))))
def test_opinfo_error(k):
    wrong = list(OP.error_inputs("cpu"))[k]
    given = wrong.sample_input
    with pytest.raises(wrong.error_type):
        OP.op(given.input, *given.args, **given.kwargs)
    with pytest.raises(wrong.error_type) as caught:
        gradient(given.input, *given.args, **given.kwargs)
    assert isinstance(caught.value, gridgrad.GridError)


t = torch.tensor
F = t([1.0, 2.0, 4.0, 7.0, 5.0])
SQUARE = F * F[:, None]

# What both give, beyond the samples.
SAME = {
    "no-dims": (SQUARE, {"dim": ()}),
    "a-number-has-no-dims": (t(3.0), {}),
    "an-empty-dim-beside": (torch.ones(0, 3), {"dim": 1}),
    "a-dim-of-one-sample-beside": (torch.ones(1, 3), {"dim": 1}),
    "dims-out-of-order": (SQUARE, {"dim": (1, 0), "spacing": [2.0, 3.0]}),
    "negative-dim": (SQUARE, {"dim": -2}),
    "axis": (SQUARE, {"axis": 1}),
    "no-spacing-is-none": (SQUARE, {"spacing": None}),
    "negative-step": (F, {"spacing": -0.5}),
    "integer-step": (F, {"spacing": 3}),
    "complex-step": (F, {"spacing": 2j}),
    "complex-samples": (F * (1 + 2j), {"spacing": 0.5}),
    "complex-coordinates": (F, {"spacing": (t([0j, 1j, 2j, 4j, 5j]),)}),
    "decreasing-coordinates": (F, {"spacing": (t([9.0, 7.0, 4.0, 2.0, 1.0]),)}),
    "tensor-step": (F, {"spacing": t(2.0)}),
    "tensor-step-does-not-widen": (F, {"spacing": t(2.0, dtype=torch.float64)}),
    "integer-coordinates": (F, {"spacing": (t([0, 1, 3, 4, 6]),)}),
    "float64-coordinates-widen": (F, {"spacing": (t([0.0, 1, 2, 4, 6], dtype=torch.float64),)}),
    "float32-coordinates-widen-float16": (F.half(), {"spacing": (t([0.0, 1, 2, 4, 6]),)}),
    "float16-coordinates-do-not": (F, {"spacing": (t([0.0, 1, 2, 3, 4]).half(),)}),
    "coordinates-that-turn-back": (F, {"spacing": (t([0.0, 1, 3, 2, 4]),)}),
}


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("name", SAME)
def test_same_as_torch(name, edge_order):
    f, options = SAME[name]
    expected = torch.gradient(f, **options, edge_order=edge_order)
    found = quietly(gradient, f, **options, edge_order=edge_order)
    assert len(found) == len(expected)
    for value, want in zip(found, expected, strict=True):
        assert value.dtype == want.dtype
        eps = 4 * torch.finfo(value.dtype).eps
        torch.testing.assert_close(
            value, want, rtol=eps, atol=eps * float(want.abs().amax()) if want.numel() else 0
        )


X = t([0.0, 1.0, 3.0])
# name -> (samples, arguments, reason); every one is wrong, or refused without need, in PyTorch.
DEVIATIONS = {
    "int8-wraps": (t([-100, 100, 100], dtype=torch.int8), {}, "integers are widened first"),
    "uint8-refused": (t([1, 2, 4], dtype=torch.uint8), {}, "unsigned integers are numbers"),
    "three-coordinates-for-five": (F, {"spacing": (X,)}, "coordinates must be one a sample"),
    "five-coordinates-for-three": (X, {"spacing": (F,)}, "coordinates must be one a sample"),
    "unsigned-coordinates-decrease": (
        X,
        {"spacing": (t([9, 7, 4], dtype=torch.uint8),)},
        "integer coordinates are differenced exactly",
    ),
    "duplicate-coordinates": (X, {"spacing": (t([0.0, 0, 1]),)}, "would divide by zero"),
    "nan-coordinates": (X, {"spacing": (t([0.0, torch.nan, 1]),)}, "would give NaN"),
    "zero-step": (X, {"spacing": 0.0}, "would divide by zero"),
    "nan-step": (X, {"spacing": torch.nan}, "would give NaN"),
    "float32-overflow": (t([-2e38, 0, 2e38]), {}, "the derivative is a float32"),
    "float16-coordinates": (
        F,
        {"spacing": (t([0.0, 1, 3, 4, 6]).half(),)},
        "weights are as precise as the result",
    ),
    "integers-at-float16-coordinates": (
        t([1, 2, 5]),
        {"spacing": (X.half(),)},
        "integers give the default floating dtype, which half precision does not narrow",
    ),
    "float16-edges": (X.half() / 7, {"spacing": (X / 3,)}, "edges are as precise as the interior"),
    "float16-rounds-often": (
        t([0.1, 1.7, 3.3]).half(),
        {"spacing": 0.3, "edge_order": 2},
        "half precision is computed in float32 and rounded once",
    ),
    "a-constant": (X * 0 + 0.1, {"spacing": 0.1, "edge_order": 2}, "a constant has derivative 0"),
    "lists-of-coordinates": (X, {"spacing": ([0.0, 1, 3],)}, "coordinates may be a list"),
    "mixed-spacing": (X * X[:, None], {"spacing": (X, 2.0)}, "steps and coordinates may mix"),
    "nan-where-the-weight-is-zero": (
        t([0.0, torch.nan, 2.0]),
        {"spacing": (t([0.0, 1.0, 2.0]),)},
        "a NaN reaches the results that read it",
    ),
}


def outcome(call, f, options):
    """The results, or that there are none."""
    try:
        return [(value.dtype, value.tolist()) for value in call(f, **options)]
    except (RuntimeError, TypeError):
        return "refused"


@pytest.mark.parametrize("name", DEVIATIONS)
def test_listed_deviation_still_deviates(name):
    f, options, _ = DEVIATIONS[name]
    # By their text, in which NaN equals NaN.
    assert repr(outcome(gradient, f, options)) != repr(outcome(torch.gradient, f, options))
