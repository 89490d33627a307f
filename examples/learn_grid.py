"""A grid that learns where to stand: coordinates as parameters.

A steep front is sampled at few positions, and its slope computed by finite differences. The positions are
moved to where the slope comes out best. Run it as `python examples/learn_grid.py grid.png`; it prints the
error on the even grid and on the learned one and draws both.
"""

import argparse
from typing import Any

import torch

import gridgrad

STEEP, WHERE = 25.0, 0.6


def front(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(STEEP * (x - WHERE))


def slope(x: torch.Tensor) -> torch.Tensor:
    """The true derivative of `front`."""
    return STEEP / torch.cosh(STEEP * (x - WHERE)) ** 2


def positions(gaps: torch.Tensor) -> torch.Tensor:
    """Increasing coordinates from 0 to 1, whatever the parameters are."""
    return torch.cat([torch.zeros(1, dtype=gaps.dtype), torch.cumsum(gaps.softmax(0), 0)])


def error(x: torch.Tensor) -> torch.Tensor:
    """The root of the mean squared error of the slope, drawn as straight lines between the positions."""
    (found,) = gridgrad.gradient(front(x), spacing=(x,), edge_order=2)
    at = torch.linspace(0, 1, 1001, dtype=x.dtype)
    k = torch.searchsorted(x.detach(), at).clamp(1, len(x) - 1)
    share = (at - x[k - 1]) / (x[k] - x[k - 1])
    drawn = (1 - share) * found[k - 1] + share * found[k]
    return (drawn - slope(at)).square().mean().sqrt()


def learn(n: int = 24, steps: int = 400) -> dict[str, Any]:
    gaps = torch.zeros(n - 1, dtype=torch.float64, requires_grad=True)
    even = positions(gaps).detach()
    optimizer = torch.optim.Adam([gaps], lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        # The values of the front depend on the positions too; both parts of the gradient count.
        error(positions(gaps)).backward()
        optimizer.step()
    learned = positions(gaps).detach()
    return {"grids": (even, learned), "error": (float(error(even)), float(error(learned)))}


def draw(found: dict[str, Any], path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    fine = torch.linspace(0, 1, 1000, dtype=torch.float64)
    titles = ("an even grid", "the learned grid")
    for axes, x, title, wrong in zip(
        figure.subplots(1, 2, sharey=True), found["grids"], titles, found["error"], strict=True
    ):
        (y,) = gridgrad.gradient(front(x), spacing=(x,), edge_order=2)
        axes.plot(fine.numpy(), slope(fine).numpy(), color="0.6", label="true slope")
        axes.plot(x.numpy(), y.numpy(), "o-", ms=4, lw=1, label="finite differences")
        axes.plot(x.numpy(), [-2] * len(x), "|", color="black", label="positions")
        axes.set(title=f"{title}: error {wrong:.2g}", xlabel="x")
    figure.axes[0].legend(frameon=False)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("picture", nargs="?", help="a file to draw, such as grid.png")
    picture = parser.parse_args().picture
    found = learn()
    print("error on the even and on the learned grid:", *(f"{each:.3g}" for each in found["error"]))
    if picture:
        draw(found, picture)
