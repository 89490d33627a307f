"""Training steps on PyTorch: a gradient forwards and backwards, alone and in a loss, eager and compiled.

A backward pass is called as a training loop calls it, by `torch.autograd.grad`: gradients of the results are
given, that of the input is new memory. PyTorch offers no way to give that too.
"""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, NamedTuple

import gridgrad
from benchmarks import memory
from benchmarks.cases import CUBE, Case, Data
from benchmarks.checking import Mismatch
from benchmarks.peers import PEERS
from benchmarks.timing import Times, interleave

THOUSAND, SQUARE, BOX, SHEET = (1000,), (128, 128), (64, 64, 64), (2048, 2048)
IMAGE = (512, 512, 3)
# The largest difference of two losses or gradients, as a part of the largest number.
_ALLOWED = 1e-4


class Pair(NamedTuple):
    """One work, done by gridgrad and by another: what each is called, and who the other is."""

    work: str
    mine: str
    other: str
    label: str


PAIRS = (
    Pair("256^3, forward and backward, gradients given", "cube", "cube torch", "torch.gradient"),
    Pair("256^3, backward alone, gradients given", "cube backward", "cube floor", "plain copy"),
    Pair("256^3, sum of squares as loss, eager", "loss", "loss torch", "torch.gradient"),
    Pair("256^3, the same step compiled", "compiled", "compiled jax", "jitted JAX"),
    Pair("256^3, the same step compiled", "compiled", "compiled slices", "slices, compiled"),
    Pair("2048^2, the same step compiled", "sheet", "sheet slices", "slices, compiled"),
    Pair("512^2 x 3, the same step compiled", "image", "image slices", "slices, compiled"),
    Pair("64^3, the same step compiled", "middle", "middle slices", "slices, compiled"),
    Pair("128^2, the same step compiled", "small", "small slices", "slices, compiled"),
    Pair("2048^2 at coordinates, compiled", "uneven", "uneven slices", "slices, compiled"),
    Pair("128^2 at coordinates, compiled", "few uneven", "few uneven slices", "slices, compiled"),
    Pair("2048^2 at edge order 2, compiled", "edges", "edges slices", "slices, compiled"),
    Pair("128^2 at edge order 2, compiled", "few edges", "few edges slices", "slices, compiled"),
    Pair("1,000,000 at coordinates, forward and backward", "long", "long torch", "torch.gradient"),
    Pair("1,000 samples, forward and backward", "thousand", "thousand torch", "torch.gradient"),
    Pair("1,000 samples, forward", "forward", "forward torch", "torch.gradient"),
)


class Training(NamedTuple):
    """What was found: times by name, and the peak memory of a forward and backward pass."""

    times: dict[str, Times]
    percent: float | None  # beyond outputs and input gradient, of the input

    def ratio(self, above: str, below: str, stat: str) -> float | None:
        if above not in self.times or below not in self.times:
            return None
        return float(getattr(self.times[above], stat) / getattr(self.times[below], stat))


def measure(rounds: int, budget: float, quick: bool) -> Training:
    """Time all works; compiled ones, which take a minute to compile, only in a whole run."""
    times: dict[str, Times] = {}
    groups = [_small]
    if not quick:
        groups += [
            _cube,
            _long,
            _compiled,
            partial(_compiled, SHEET, "sheet"),
            partial(_compiled, IMAGE, "image"),
            partial(_compiled, BOX, "middle"),
            partial(_compiled, SQUARE, "small"),
            partial(_uneven, SHEET, "uneven"),
            partial(_uneven, SQUARE, "few uneven"),
            partial(_compiled, SHEET, "edges", 2),
            partial(_compiled, SQUARE, "few edges", 2),
        ]
    for group in groups:
        calls = group()
        found = interleave(calls, rounds, budget)
        times.update({str(name): each for name, each in found.items()})
    return Training(times, None if quick else peak())


def _samples(shape: tuple[int, ...]) -> Any:
    import torch

    data = Data(Case("training", "training", shape))
    return torch.from_numpy(data.x).requires_grad_()


def _both(function: Callable[[Any], Any], x: Any, given: list[Any]) -> Any:
    import torch

    return torch.autograd.grad(function(x), x, given)


def _small() -> dict[Hashable, Callable[[], Any]]:
    import torch

    x = _samples(THOUSAND)
    given, plain = [torch.ones_like(x)], x.detach()
    calls: dict[Hashable, Callable[[], Any]] = {
        "thousand": partial(_both, gridgrad.gradient, x, given),
        "thousand torch": partial(_both, torch.gradient, x, given),
        "forward": partial(gridgrad.gradient, plain),
        "forward torch": partial(torch.gradient, plain),
    }
    _compare(calls)
    return calls


def _cube() -> dict[Hashable, Callable[[], Any]]:
    import torch

    x = _samples(CUBE)
    given = [torch.rand_like(x) for _ in CUBE]
    results = gridgrad.gradient(x)
    floor = PEERS["floor"].prepare(Data(Case("floor", "training", CUBE)))  # as many bytes: 4 N
    calls: dict[Hashable, Callable[[], Any]] = {
        "cube": partial(_both, gridgrad.gradient, x, given),
        "cube torch": partial(_both, torch.gradient, x, given),
        "cube backward": partial(torch.autograd.grad, results, x, given, retain_graph=True),
        "cube floor": floor,
        "loss": partial(_step, partial(_squares, gridgrad.gradient), x),
        "loss torch": partial(_step, partial(_squares, torch.gradient), x),
    }
    _compare(calls)
    return calls


def _long() -> dict[Hashable, Callable[[], Any]]:
    """One line of more coordinates than whose weights are kept."""
    import torch

    x = _samples((1_000_000,))
    index = torch.arange(len(x))
    words = {"spacing": (index + 0.25 * (index % 2),)}
    given = [torch.rand_like(x)]
    calls: dict[Hashable, Callable[[], Any]] = {
        "long": partial(_both, partial(gridgrad.gradient, **words), x, given),
        "long torch": partial(_both, partial(torch.gradient, **words), x, given),
    }
    _compare(calls)
    return calls


def _compiled(
    shape: tuple[int, ...] = CUBE, name: str = "compiled", edge_order: int = 1
) -> dict[Hashable, Callable[[], Any]]:
    import torch

    torch._dynamo.reset()
    x = _samples(shape)
    calls: dict[Hashable, Callable[[], Any]] = {
        name: partial(_step, torch.compile(BY_GRADIENT[edge_order]), x),
        f"{name} slices": partial(_step, torch.compile(BY_SLICES[edge_order]), x),
    }
    if shape == CUBE:
        calls[f"{name} jax"] = _by_jax(x)
    _compare(calls)
    return calls


def _uneven(shape: tuple[int, ...], name: str) -> dict[Hashable, Callable[[], Any]]:
    """The same at coordinates, which are arrays that a program is given."""
    import torch

    torch._dynamo.reset()
    x = _samples(shape)
    coordinates = tuple(torch.linspace(0, 3, n).exp() for n in shape)

    def by_gradient(x: Any) -> Any:
        return sum((e * e).sum() for e in gridgrad.gradient(x, spacing=coordinates))

    def by_slices(x: Any) -> Any:
        return sum((e * e).sum() for dim, c in enumerate(coordinates) for e in _pieces(x, dim, c))

    calls: dict[Hashable, Callable[[], Any]] = {
        name: partial(_step, torch.compile(by_gradient), x),
        f"{name} slices": partial(_step, torch.compile(by_slices), x),
    }
    _compare(calls)
    return calls


def _pieces(x: Any, dim: int, c: Any) -> tuple[Any, ...]:
    """A gradient along one dim as one writes it by hand: the interior and both ends."""
    n, shape = x.shape[dim], (-1,) + (1,) * (x.ndim - dim - 1)
    below, above = (c[1:-1] - c[:-2]).reshape(shape), (c[2:] - c[1:-1]).reshape(shape)
    before, here, after = (x.narrow(dim, k, n - 2) for k in range(3))
    inner = below / above * (after - here) - above / below * (before - here)
    first = (x.narrow(dim, 1, 1) - x.narrow(dim, 0, 1)) / (c[1] - c[0])
    last = (x.narrow(dim, n - 1, 1) - x.narrow(dim, n - 2, 1)) / (c[-1] - c[-2])
    return inner / (below + above), first, last


def _by_jax(x: Any) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    a = jnp.asarray(x.detach().numpy())
    jitted = jax.jit(jax.value_and_grad(partial(_squares, jnp.gradient)))
    return lambda: jax.block_until_ready(jitted(a))  # type: ignore[no-untyped-call]  # JAX does not type it


def _squares(gradient: Callable[[Any], Any], x: Any) -> Any:
    return sum((each * each).sum() for each in gradient(x))


def _by_gradient(x: Any) -> Any:
    return sum((each * each).sum() for each in gridgrad.gradient(x))


# Written out, not by an argument: what a program looks up again at every call is part of what is timed.
def _by_gradient_2(x: Any) -> Any:
    return sum((each * each).sum() for each in gridgrad.gradient(x, edge_order=2))


def _by_slices(x: Any) -> Any:
    """The same loss as one writes it by hand."""
    total = 0.0
    for dim in range(x.ndim):
        n = x.shape[dim]
        inner = (x.narrow(dim, 2, n - 2) - x.narrow(dim, 0, n - 2)) / 2
        first = x.narrow(dim, 1, 1) - x.narrow(dim, 0, 1)
        last = x.narrow(dim, n - 1, 1) - x.narrow(dim, n - 2, 1)
        total = total + sum((each * each).sum() for each in (inner, first, last))
    return total


def _by_slices_2(x: Any) -> Any:
    total = 0.0
    for dim in range(x.ndim):
        n = x.shape[dim]
        inner = (x.narrow(dim, 2, n - 2) - x.narrow(dim, 0, n - 2)) / 2
        total = total + (inner * inner).sum()
        for places in ((0, 1, 2), (n - 1, n - 2, n - 3)):
            edge, near, far = (x.narrow(dim, k, 1) for k in places)
            end = 2 * (near - edge) - (far - edge) / 2
            total = total + (end * end).sum()
    return total


# By edge order: both losses.
BY_GRADIENT = {1: _by_gradient, 2: _by_gradient_2}
BY_SLICES = {1: _by_slices, 2: _by_slices_2}


def _step(loss: Callable[[Any], Any], x: Any) -> Any:
    import torch

    value = loss(x)
    return value.detach(), *torch.autograd.grad(value, x)


def _compare(calls: dict[Hashable, Callable[[], Any]]) -> None:
    """What is compared in time must be alike; a first call compiles, too."""
    import numpy as np

    found = {name: [np.asarray(each) for each in _flat(call())] for name, call in calls.items()}
    for pair in PAIRS:
        if pair.mine not in found or pair.other not in found or pair.label == "plain copy":
            continue
        for mine, other in zip(found[pair.mine], found[pair.other], strict=True):
            error = float(np.abs(mine - other).max())
            if not error <= _ALLOWED * float(np.abs(mine).max()):
                raise Mismatch(
                    f"{pair.label} differs from gridgrad on {pair.work}: by {error:.3g}."
                )


def _flat(result: Any) -> list[Any]:
    found = result if isinstance(result, (tuple, list)) else [result]
    return [
        each.detach().numpy() if hasattr(each, "detach") else each
        for each in found
        if each is not None
    ]


def peak() -> float | None:
    """The peak of a forward and backward pass, in a process of its own, as percent of the input."""
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.training"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise RuntimeError(f"measuring the memory of training failed:\n{found.stderr[-2000:]}")
    extra = json.loads(found.stdout.splitlines()[-1])
    return None if extra is None else 100 * extra / (4 * math.prod(CUBE))


def _peak_here() -> int | None:
    import torch

    x = _samples(CUBE)
    given = [torch.ones_like(x) for _ in CUBE]

    def call() -> Any:
        found = gridgrad.gradient(x)
        return found, torch.autograd.grad(found, x, given)

    return memory.rise(call, 4 * 4 * math.prod(CUBE))


if __name__ == "__main__":
    print(json.dumps(_peak_here()))
