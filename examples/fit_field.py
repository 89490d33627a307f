"""A field fitted to noisy samples at a few places, with a physical law as part of the loss.

The law is Poisson's equation, laplacian(u) = source, of which the source is known. Run it as
`python examples/fit_field.py field.png`; it prints the error before and after and draws both.
"""

import argparse
from typing import Any

import torch

import gridgrad

# Of the law, beside what was measured: a residual of 50 counts as much as an error of 0.5.
WEIGHT = 0.01


def problem(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The true field, its source, which samples are known (one in ten), and what was measured there."""
    generator = torch.Generator().manual_seed(1)
    x = torch.linspace(0, 1, n)
    wave = 2 * torch.pi * x
    truth = torch.outer(wave.sin(), (wave / 2).cos()) + 0.5 * torch.outer(
        wave.cos(), (2 * wave).sin()
    )
    source = gridgrad.laplacian(truth.double(), spacing=1 / (n - 1), accuracy=4).float()
    known = torch.rand(n, n, generator=generator) < 0.1
    measured = truth + 0.2 * torch.randn(n, n, generator=generator)
    return truth, source, known, torch.where(known, measured, 0.0)


def fit(n: int = 48, steps: int = 1500) -> dict[str, Any]:
    """Fit the field, from zeros, to what was measured and to the law."""
    truth, source, known, measured = problem(n)
    field = torch.zeros(n, n, requires_grad=True)
    h = 1 / (n - 1)

    def loss() -> torch.Tensor:
        misfit = (field - measured)[known].square().mean()
        residual = gridgrad.laplacian(field, spacing=h) - source
        return misfit + (WEIGHT * residual).square().mean()

    # A law of second derivatives is stiff: what is far from a measurement is reached in many small steps.
    optimizer = torch.optim.LBFGS(
        [field], max_iter=steps, max_eval=2 * steps, history_size=50, tolerance_grad=1e-7,
        tolerance_change=1e-10, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    begun = float(loss().detach())
    optimizer.step(closure)

    def error(u: torch.Tensor) -> float:
        return float((u - truth).square().mean().sqrt())

    found = field.detach()
    return {
        "loss": (begun, float(loss().detach())),
        "error": (error(measured), error(found)),
        "fields": {"what was measured": measured, "fitted with the law": found, "the truth": truth},
    }


def draw(found: dict[str, Any], path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, (title, field) in zip(figure.subplots(1, 3), found["fields"].items(), strict=True):
        image = axes.imshow(field.T.numpy(), origin="lower", cmap="RdBu_r", vmin=-1.5, vmax=1.5)
        axes.set(title=title, xticks=[], yticks=[])
    figure.colorbar(image, ax=figure.axes, shrink=0.8)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("picture", nargs="?", help="a file to draw, such as field.png")
    picture = parser.parse_args().picture
    found = fit()
    print("error before and after:", *(f"{each:.3f}" for each in found["error"]))
    if picture:
        draw(found, picture)
