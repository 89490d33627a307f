"""What a part of an array gives does not depend on how far the array extends along other dims."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gridgrad

DTYPES = (np.float32, np.float64, np.complex64, np.complex128)


@given(
    shape=st.lists(st.sampled_from([5, 6, 7, 9, 12, 22, 40]), min_size=2, max_size=3),
    free=st.integers(0, 2),
    uneven=st.lists(st.booleans(), min_size=3, max_size=3),
    accuracy=st.sampled_from([1, 2, 3, 4]),
    dtype=st.sampled_from(DTYPES),
    backward=st.booleans(),
)
def test_bits_do_not_depend_on_the_extents_of_other_dims(
    shape, free, uneven, accuracy, dtype, backward
):
    """Short runs of samples, and terms that go into one sum in several passes, were rounded otherwise."""
    free %= len(shape)
    dims = [dim for dim in range(len(shape)) if dim != free]
    rng = np.random.default_rng(sum(shape))
    spacing = [np.cumsum(rng.uniform(0.5, 1.5, shape[dim])) if uneven[dim] else 0.1 for dim in dims]

    def total(f):
        if backward:
            torch = pytest.importorskip("torch")
            x = torch.zeros(f.shape, dtype=torch.from_numpy(f).dtype, requires_grad=True)
            slopes = gridgrad.gradient(x, dim=dims, spacing=spacing, accuracy=accuracy)
            given = [torch.from_numpy(f)] * len(dims)
            return torch.autograd.grad(slopes, x, given)[0].numpy()
        return gridgrad.laplacian(f, dim=dims, spacing=spacing, accuracy=accuracy)

    f = rng.standard_normal(shape).astype(dtype)
    part = np.take(f, range(1, shape[free] // 2), axis=free)
    try:
        whole = total(f)
    except gridgrad.GridError:
        return
    wanted = np.take(whole, range(1, shape[free] // 2), axis=free)
    assert total(part).tobytes() == wanted.tobytes()
