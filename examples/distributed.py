"""A field smoothed by gradient descent on a loss of its derivatives, in shards on several processes.

    torchrun --nproc-per-node=2 examples/distributed.py

Each process holds its rows of the field. The loss is half the integral of |grad u|**2; a step of descent on
it is a step of heat flow. The derivatives read one row of each neighbouring shard, forwards and backwards:
that is all that is sent for them.
"""

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

import gridgrad


def roughness(field, h):
    """Half the integral of the squared slope, on square cells of width h."""
    slopes = gridgrad.gradient(field, spacing=h)
    return sum((slope**2).sum() for slope in slopes) * (h**2 / 2)


def descend(field, h, steps=20):
    """Smooth the field in place; its roughness before each step."""
    optimizer = torch.optim.SGD([field], lr=0.2)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = roughness(field, h)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses


def noise(n):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, n, generator=generator, dtype=torch.float64)


def main():
    distributed.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
    n = 128
    field = distribute_tensor(noise(n), mesh, [Shard(0)]).requires_grad_()
    losses = [float(loss.full_tensor()) for loss in descend(field, h=1 / n)]
    if distributed.get_rank() == 0:
        rows = field.to_local().shape[0]
        print(f"{mesh.size()} processes, {rows} of {n} rows on the first")
        print(f"roughness {losses[0]:.1f} at first, {losses[-1]:.1f} after {len(losses)} steps")
    distributed.barrier()  # nobody leaves while another still needs an answer
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
