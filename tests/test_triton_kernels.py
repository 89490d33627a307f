"""What the GPU engine's kernel compiles to, without a GPU, and how often it is compiled at all."""

import json
import os
import subprocess
import sys

import pytest
import torch

from gridgrad.engines import triton_walk

from . import triton_forms as forms


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """The variants compiled, for compute capability 9.0."""
    folder = str(tmp_path_factory.mktemp("triton"))
    given = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": folder}
    command = [sys.executable, "-m", "tests.triton_variants"]
    done = subprocess.run(command, capture_output=True, text=True, env=given, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_every_kind_of_kernel_compiles_and_reads_16_bytes_at_once(kernels):
    assert set(kernels) == set(forms.cases())
    for name, kernel in kernels.items():
        wide = "v2.b64" if name in ("laplacian", "integers") else "v4.b32"
        assert wide in kernel["loads"], name
        if name != "integers":  # eight bytes in, four out
            assert wide in kernel["stores"], name


def test_registers_leave_room_for_several_programs(kernels):
    for name, kernel in kernels.items():
        limit = forms.options(*forms.cases()[name])["maxnreg"]
        assert kernel["REG"] <= limit <= 168, name  # three programs at once
        assert kernel["STACK"] == 0, name  # what does not fit into registers
        assert kernel["LOCAL"] == 0
        assert kernel["shared"] <= 512, f"{name} lays whole tiles out anew"


def test_registers_are_given_by_what_an_output_reads():
    limits = {name: forms.options(*case)["maxnreg"] for name, case in forms.cases().items()}
    assert limits["cube"] == limits["coordinates"] == limits["unseen"] == 96
    assert limits["cube, back"] == 128
    assert limits["coordinates, back"] == limits["accuracy 8, back"] == limits["laplacian"] == 168


def variants(shapes, dtypes=(torch.float32,), **how) -> set:
    """What is compiled for gradients of these shapes."""
    found = set()
    for shape in shapes:
        plan = forms.plan_of(shape, **how)
        for dtype in dtypes:
            given = forms.variant(plan, forms.arrays_of(plan, shape, dtype), torch.float32)
            found.add(str(given))
    return found


def test_shapes_steps_edges_and_boundaries_share_a_kernel():
    shapes = [(128, 128, 128), (512, 512, 512), (100, 40, 384), (17, 2000, 128), (64, 64, 1024)]
    found = set()
    for how in (
        {},
        {"spacing": (0.5, 2.0, 0.25)},
        {"edge_order": 2},
        {"boundary": "periodic"},
        {"boundary": ("reflect", "replicate", 1.5)},
    ):
        found |= variants(shapes, **how)
    assert len(found) == 1


def test_what_is_compiled_anew():
    """Steps that are no powers of two divide; lines that are no multiples of 16 bytes are read one by one."""
    cube = [(128, 128, 128)]
    assert len(variants([*cube, (128, 128, 1023)])) == 2
    lines = [(128, 128, 4 * n) for n in range(33, 200)]
    assert len(variants(lines)) <= 3  # tiles of three lengths
    assert len(variants(cube) | variants(cube, spacing=0.3)) == 2
    assert len(variants(cube) | variants(cube, accuracy=4)) == 2
    assert len(variants(cube, (torch.float32, torch.float16, torch.bfloat16))) == 3


# How arrays are walked


def walk(shape, strides=None, dims=None, cache=40 << 20, order=1):
    plan = forms.plan_of(shape, dim=dims, order=order)
    strides = strides or torch.empty(shape, device="meta").stride()
    count = plan.inputs + plan.outputs
    return triton_walk.walk(plan, shape, [strides] * count, [4] * count, 4, cache)


def test_dims_without_terms_are_joined():
    assert walk((4, 3, 32, 64), dims=(2, 3)).shape == (12, 32, 64)
    assert walk((4, 3, 32, 64), dims=(0,)).shape == (1, 4, 6144)
    assert walk((7,)).shape == (1, 1, 7)
    assert walk((3, 3, 4, 5, 6)).shape == (3, 3, 4, 5, 6)
    # In the order of memory: the last dim of a transposed array is its first.
    assert walk((64, 32), (1, 64)).place == (2, 1)
    # A slice has gaps, over which nothing is joined.
    assert walk((4, 8, 16), (256, 32, 1), dims=(0,)).shape == (4, 8, 16)


def test_tiles_cover_what_there_is_and_little_more():
    for shape in [
        (512, 512, 512),
        (1000, 1000),
        (10**6,),
        (3, 5),
        (64, 64),
        (31, 33, 35),
        (9, 513),
    ]:
        route = walk(shape)
        covered = [n * size for n, size in zip(route.counts[-3:], route.tile, strict=True)]
        assert all(n >= m for n, m in zip(covered, route.shape[-3:], strict=True))
        assert route.tile[2] >= min(32, route.shape[-1])
    assert walk((512, 512, 512)).tile == (2, 4, 128)
    assert walk((10**6,)).tile == (1, 1, 1024)


def test_planes_larger_than_the_cache_are_walked_in_bands():
    assert walk((64, 512, 512)).width == 128  # all of it
    large = walk((64, 8192, 8192))
    assert large.outer == 0
    assert 1 < large.width < large.counts[1] / 8
    assert walk((64, 8192, 8192), dims=(1, 2)).outer == 1


def test_more_than_two_to_the_31_samples_need_wide_indices_only_where_one_tile_does():
    assert not walk((2048, 2048, 2048)).wide
    assert walk((2**31 + 5,)).wide
    assert walk((2**12, 2**10, 2**10), (1, 2**12, 2**22)).wide is False
    assert walk((4, 2**9, 2**9), (2**31, 2**9, 1)).wide
