"""Arrays that lie elsewhere: any part of a result is that of the whole, bit for bit."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings

import gridgrad
from gridgrad import GridTypeError
from gridgrad.arrays.stored import Derived, Stored
from gridgrad.windows import Span

from .chunking import calls, leaves, same_bits

pytestmark = pytest.mark.filterwarnings("ignore::gridgrad.NonMonotonicWarning")


def stored(x, seen=None):
    def read(box):
        if seen is not None:
            seen.append(box)
        return x[box]

    return Stored(x.shape, x.dtype, read)


def boxes(chunks):
    """The parts that chunks cut an array into."""
    spans = []
    for lengths in chunks:
        ends = list(itertools.accumulate(lengths, initial=0))
        spans.append([Span(a, b) for a, b in itertools.pairwise(ends)])
    return itertools.product(*spans)


def assembled(result, chunks):
    found = np.empty(result.shape, result.dtype)
    for box in boxes(chunks):
        found[tuple(slice(each.first, each.last) for each in box)] = result.read(box)
    return found


@settings(max_examples=80)
@given(case=calls())
def test_no_bit_depends_on_the_regions(case):
    name, how, arrays, chunks = case
    given = how["spacing"]
    entries = [
        x[1] if isinstance(x, tuple) else x for x in (given if isinstance(given, list) else [given])
    ]
    how = how | {"spacing": entries if isinstance(given, list) else entries[0]}

    def call(*inputs):
        function = getattr(gridgrad, name)
        if name == "directional_derivative":
            return function(*inputs, [1.5, -2.0, 0.25][: inputs[0].ndim], **how)
        several = name in ("divergence", "curl", "jacobian")
        return function(inputs if several else inputs[0], **how)

    before = [x.copy() for x in arrays]
    with np.errstate(all="ignore"):
        try:
            wanted = leaves(call(*arrays))
        except gridgrad.GridError as error:
            with pytest.raises(type(error)):
                call(*map(stored, arrays))
            return
        for result, value in zip(leaves(call(*map(stored, arrays))), wanted, strict=True):
            assert isinstance(result, Derived)
            same_bits(assembled(result, chunks), value)
    for x, y in zip(arrays, before, strict=True):
        same_bits(x, y)


def test_nothing_is_read_before_it_is_needed_and_then_once_for_all_results():
    seen = []
    x = np.random.default_rng(0).standard_normal((20, 30))
    down, right = gridgrad.gradient(stored(x, seen), spacing=(0.5, np.arange(30.0) ** 1.1))
    assert not seen
    box = (Span(5, 10), Span(0, 8))
    found = down.run.on(box)
    assert seen == [(slice(4, 11), slice(0, 9))]
    assert down.run is right.run
    wanted = gridgrad.gradient(x, spacing=(0.5, np.arange(30.0) ** 1.1))
    for part, whole in zip(found, wanted, strict=True):
        same_bits(part, whole[5:10, :8])


def test_a_periodic_dim_is_read_around_its_ends():
    seen = []
    x = np.random.default_rng(0).standard_normal(12).astype("f4")
    result = gridgrad.derivative(stored(x, seen), accuracy=4, boundary="periodic")
    same_bits(
        result.read((Span(0, 3),)),
        gridgrad.derivative(x, accuracy=4, boundary="periodic")[:3],
    )
    assert seen == [(slice(10, 12),), (slice(0, 5),)]


def test_results_are_stored_arrays_again():
    x = np.random.default_rng(0).standard_normal((9, 11))
    twice = gridgrad.derivative(gridgrad.derivative(stored(x), dim=0), dim=1)
    same_bits(
        assembled(twice, ((4, 5), (1, 10))),
        gridgrad.derivative(gridgrad.derivative(x, dim=0), dim=1),
    )


class Reader:
    def __call__(self, box):
        return np.arange(100.0).reshape(10, 10)[box]


def test_a_result_goes_to_another_process():
    result = gridgrad.laplacian(Stored((10, 10), "f8", Reader()))
    box = (Span(2, 4), Span(0, 10))
    same_bits(pickle.loads(pickle.dumps(result)).read(box), result.read(box))


def test_out_is_refused():
    x = np.zeros((3, 3))
    with pytest.raises(GridTypeError, match="stored arrays"):
        gridgrad.gradient(stored(x), out=(x, x))
