"""How results are cut into regions: all of it, once, in whole chunks, within memory."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridgrad import GridError
from gridgrad.app import budget, words
from gridgrad.app.regions import Field, boxes, default_chunks, region_lengths


@st.composite
def fields(draw):
    ndim = draw(st.integers(1, 4))
    size = st.integers(1, 300)

    def each(strategy):
        return tuple(draw(strategy) for _ in range(ndim))

    shape = each(size)
    return Field(
        shape,
        tuple(min(n, k) for n, k in zip(shape, each(size), strict=True)),
        tuple(min(n, k) for n, k in zip(shape, each(size), strict=True)),
        each(st.sampled_from((0, 0, 2, 8))),
        draw(st.sampled_from((1, 4, 8))),
        draw(st.sampled_from((4, 8, 24))),
    )


@given(fields(), st.integers(10, 40))
def test_regions_are_whole_chunks_within_memory(field, bits):
    lengths = region_lengths(field, 1 << bits)
    if not lengths:
        assert (
            field.held([min(*pair) for pair in zip(field.shape, field.chunks, strict=True)])
            > 1 << bits
        )
        return
    assert field.held(lengths) <= 1 << bits
    for n, length, chunk in zip(field.shape, lengths, field.chunks, strict=True):
        assert length == n or length % chunk == 0


@given(st.lists(st.integers(0, 9), min_size=1, max_size=3), st.lists(st.integers(1, 4), min_size=3))
def test_every_sample_lies_in_one_region(shape, lengths):
    found = [
        index
        for box in boxes(shape, lengths[: len(shape)])
        for index in itertools.product(*(range(each.first, each.last) for each in box))
    ]
    assert sorted(found) == sorted(itertools.product(*map(range, shape)))


def test_regions_grow_along_dims_that_are_read_beyond_their_ends():
    field = Field((64, 2048, 2048), (8, 256, 256), (8, 256, 256), (0, 2, 2), 4, 8)
    lengths = region_lengths(field, 512 << 20)
    assert lengths == (8, 2048, 2048)
    assert field.read(lengths) == 1
    lengths = region_lengths(field, 64 << 20)
    assert lengths == (8, 512, 1024)
    assert field.read(lengths) == 3.0  # chunks on both sides of both cuts


def test_regions_that_need_no_halo_stay_small():
    field = Field((4096, 1024, 1024), (1, 1024, 1024), (1, 1024, 1024), (0, 0, 2), 4, 4)
    assert math.prod(region_lengths(field, 8 << 30)) * 8 <= 64 << 20


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=4), st.sampled_from((1, 4, 16)))
def test_chunks_for_files_without_are_of_some_megabytes(shape, itemsize):
    chunks = default_chunks(shape, itemsize)
    assert all(1 <= k <= n for k, n in zip(chunks, shape, strict=True))
    assert math.prod(chunks) * itemsize <= 4 << 20


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1GB", 10**9),
        ("1 gib", 1 << 30),
        ("512M", 512 * 10**6),
        ("2k", 2000),
        ("7", 7),
        (".5MB", 500000),
    ],
)
def test_sizes(text, size):
    assert budget.parse_bytes(text, "--memory") == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1 PB", "one", "0", "nan", "1e9"])
def test_sizes_that_are_none(text):
    with pytest.raises(GridError, match="--memory must be a size"):
        budget.parse_bytes(text, "--memory")


def test_values_by_dim():
    read = words.number("--period")
    assert words.by_dim([], "--period", read, ["x", "y"]) is None
    assert words.by_dim(["2"], "--period", read, ["x", "y"]) == 2
    assert words.by_dim(["2", "3"], "--period", read, ["x", "y"]) == {"x": 2, "y": 3}
    assert words.by_dim(["y=3"], "--period", read, ["x", "y"]) == {"y": 3}


@pytest.mark.parametrize(
    ("entry", "part"),
    [("1,2,3", "3"), ("x=1,2", "every value"), ("x=1,x=2", "twice"), ("x=one", "number")],
)
def test_values_by_dim_that_make_no_sense(entry, part):
    with pytest.raises(GridError, match=part):
        words.by_dim(words.split([entry]), "--period", words.number("--period"), ["x", "y"])
