"""Gradients of a batch of images (N, C, H, W): edges, and noise removed by their total variation.

Run it as `python examples/denoise_images.py images.png`; it prints the error before and after and draws both.
"""

import argparse
from typing import Any

import torch

import gridgrad


def images(n: int, size: int) -> torch.Tensor:
    """Discs and squares of random colours, as (n, 3, size, size) in the memory format of convolutions."""
    generator = torch.Generator().manual_seed(2)
    at = torch.arange(size) / size
    found = torch.zeros(n, 3, size, size)
    for k in range(n):
        for j in range(4):
            x, y, r = (torch.rand(3, generator=generator) * 0.6 + 0.2).tolist()
            across, down = (at - x).abs()[None, :], (at - y).abs()[:, None]
            inside = (
                across**2 + down**2 < (r / 2) ** 2 if j % 2 else torch.maximum(across, down) < r / 3
            )
            colour = torch.rand(3, generator=generator)[:, None, None]
            found[k] = torch.where(inside, colour, found[k])
    return found.to(memory_format=torch.channels_last)


def edges(batch: torch.Tensor) -> torch.Tensor:
    """How fast all colours together change at each pixel, as (N, 1, H, W)."""
    down, across = gridgrad.gradient(batch, dim=(-2, -1))
    return (down.square() + across.square()).sum(1, keepdim=True).add(1e-8).sqrt()


def variation(batch: torch.Tensor) -> torch.Tensor:
    """The total variation, of differences between neighbours: those of `gradient` skip one."""
    how: dict[str, Any] = {"accuracy": 1, "side": "forward"}
    down, across = gridgrad.gradient(batch, dim=(-2, -1), **how)
    return (down.square() + across.square()).sum(1).add(1e-4).sqrt().mean()


def denoise(n: int = 4, size: int = 64, steps: int = 200) -> dict[str, Any]:
    clean = images(n, size)
    noisy = clean + 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    result = noisy.clone().requires_grad_()
    optimizer = torch.optim.Adam([result], lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (result - noisy).square().sum(1).mean() / 2 + 0.35 * variation(result)
        loss.backward()
        optimizer.step()
    found = result.detach()
    return {
        "error": tuple(float((each - clean).square().mean().sqrt()) for each in (noisy, found)),
        "batches": {"noisy": noisy, "denoised": found, "edges of noisy": edges(noisy), "edges": edges(found)},
    }  # fmt: skip


def draw(found: dict[str, Any], path: str) -> None:
    from matplotlib.figure import Figure

    batches = found["batches"]
    count = min(4, len(batches["noisy"]))
    figure = Figure(figsize=(1.6 * count + 1, 1.6 * len(batches)), layout="constrained")
    rows = figure.subplots(len(batches), count, squeeze=False)
    for row, (title, batch) in zip(rows, batches.items(), strict=True):
        row[0].set_ylabel(title)
        for axes, image in zip(row, batch, strict=False):
            axes.imshow(image.clip(0, 1).permute(1, 2, 0).expand(-1, -1, 3).numpy())
            axes.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=60)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("picture", nargs="?", help="a file to draw, such as images.png")
    picture = parser.parse_args().picture
    found = denoise()
    print("error before and after:", *(f"{each:.3f}" for each in found["error"]))
    if picture:
        draw(found, picture)
