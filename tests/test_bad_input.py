"""Arguments that cannot be meant: one sentence of the right type, and nothing changed."""

import re
import warnings

import numpy as np
import pytest
import torch

import gridgrad
from gridgrad import GridError, GridIndexError, GridTypeError

from .calling import JAX, NUMPY, STRICT, TORCH, Library, snapshot

NAN, INF = float("nan"), float("inf")

# name -> (arguments, exception, what the sentence says); the input is 4 by 5.
BAD = {
    "too-few-spacings": ({"spacing": [1.0]}, GridError, "spacing .* has 1 and 2 dims"),
    "too-many-spacings": ({"spacing": (1, 2, 3)}, GridError, "spacing .* has 3 and 2 dims"),
    "spacings-for-one-dim": ({"spacing": (1, 2), "dim": 1}, GridError, "has 2 and 1 dim"),
    "no-spacings": ({"spacing": ()}, GridError, "spacing .* has 0"),
    "coordinates-not-in-a-sequence": ({"spacing": [0, 1, 2, 3], "dim": 0}, GridError, "inside a"),
    "short-coordinates": ({"spacing": ([0, 1], 1)}, GridError, "dim 0 .* 4, but have 2"),
    "long-coordinates": ({"spacing": (1, range(6))}, GridError, "dim 1 .* 5, but have 6"),
    "empty-coordinates": ({"spacing": (1, [])}, GridError, "dim 1 .* 5, but have 0"),
    "2-d-coordinates": ({"spacing": (1, [[0, 1, 2, 3, 4]])}, GridError, r"dim 1 .* shape \(1, 5\)"),
    "ragged-coordinates": ({"spacing": (1, [[0], [1, 2]])}, (GridError), "dim 1"),
    "nan-coordinate": ({"spacing": (1, [0, 1, NAN, NAN, 4])}, GridError, "dim 1 .* entry 2 is nan"),
    "inf-coordinate": ({"spacing": ([0, INF, 2, 3], 1)}, GridError, "dim 0 .* entry 1 is inf"),
    "duplicates": ({"spacing": (1, [0, 1, 2, 1, 2])}, GridError, "dim 1 .* entry 3 .* entry 1"),
    "duplicate-integers": ({"spacing": ([5, 5, 4, 3], 1)}, GridError, "dim 0 .* entry 1 .* 0"),
    "zero-step": ({"spacing": 0.0}, GridError, "spacing .* zero"),
    "integer-zero-step": ({"spacing": (1, 0)}, GridError, "spacing for dim 1 .* zero"),
    "negative-zero-step": ({"spacing": -0.0}, GridError, "spacing .* zero"),
    "complex-zero-step": ({"spacing": 0j}, GridError, "spacing .* zero"),
    "nan-step": ({"spacing": (NAN, 1)}, GridError, "spacing for dim 0 .* nan"),
    "inf-step": ({"spacing": INF}, GridError, "spacing .* inf"),
    "complex-nan-step": ({"spacing": complex(0, NAN)}, GridError, "spacing .* nan"),
    "enormous-step": ({"spacing": 10**400}, GridError, "spacing .* too large"),
    "bool-step": ({"spacing": True}, GridTypeError, "spacing .* True"),
    "string-step": ({"spacing": "1"}, GridTypeError, "spacing .* '1'"),
    "list-of-strings": ({"spacing": (1, list("abcde"))}, GridTypeError, "dim 1"),
    "list-of-bools": ({"spacing": (1, [True, False] * 2 + [True])}, GridTypeError, "dim 1 .* bool"),
    "none-in-spacing": ({"spacing": (1, None)}, GridTypeError, "spacing for dim 1 .* None"),
    "set-of-spacings": ({"spacing": {1, 2}}, GridTypeError, "spacing .* set"),
    "function-as-spacing": ({"spacing": len}, GridTypeError, "spacing"),
    "repeated-dim": ({"dim": (1, 1)}, GridError, "dim 1 appears more than once"),
    "repeated-negative-dim": ({"dim": (1, -1)}, GridError, "dim 1 appears more than once"),
    "dim-too-high": ({"dim": 2}, GridIndexError, "dim 2 is out of range .* from -2 to 1"),
    "dim-too-low": ({"dim": (0, -3)}, GridIndexError, "dim -3 is out of range"),
    "float-dim": ({"dim": 1.0}, GridTypeError, "dim must be .* but is 1.0"),
    "bool-dim": ({"dim": True}, GridTypeError, "dim must be .* but is True"),
    "bool-among-dims": ({"dim": (0, True)}, GridTypeError, "dim must be .* but is True"),
    "string-dim": ({"dim": "x"}, GridTypeError, "dim must be .* but is 'x'"),
    "none-among-dims": ({"dim": (None,)}, GridTypeError, "dim must be"),
    "numpy-bool-dim": ({"dim": np.True_}, GridTypeError, "dim must be"),
    "both-dim-and-axis": ({"dim": 0, "axis": 0}, GridTypeError, "dim .* axis .* both"),
    "edge-order-0": ({"edge_order": 0}, GridError, "edge_order must be from 1 to 20, but is 0"),
    "edge-order-21": ({"edge_order": 21}, GridError, "edge_order must be from 1 to 20, but is 21"),
    "edge-order-8": ({"edge_order": 8}, GridError, "has . samples, but edge_order=8 needs 9"),
    "float-edge-order": ({"edge_order": 1.0}, GridTypeError, "edge_order .* 1.0"),
    "bool-edge-order": ({"edge_order": True}, GridTypeError, "edge_order .* True"),
    "string-edge-order": ({"edge_order": "2"}, GridTypeError, "edge_order .* '2'"),
    "accuracy": ({"accuracy": 3}, GridError, "accuracy must be even where the spacing of dim 0"),
    "accuracy-22": ({"accuracy": 22}, GridError, "accuracy must be from 1 to 20, but is 22"),
    "accuracy-20": ({"accuracy": 20}, GridError, "has . samples, but .* needs"),
    "bool-accuracy": ({"accuracy": True}, GridTypeError, "accuracy .* True"),
    "boundary": ({"boundary": "wrap"}, GridError, "boundary must be one of .* but is 'wrap'"),
    "boundary-number": ({"boundary": float("nan")}, GridError, "boundary must be a finite number"),
    "boundary-type": ({"boundary": {}}, GridTypeError, "boundary must be one of"),
    "boundaries": ({"boundary": ("one-sided",) * 3}, GridError, "boundary must be one value or"),
    "half-periodic": (
        {"boundary": ("periodic", "reflect"), "dim": 0}, GridError, "periodic on one side only",
    ),
    "period": ({"period": 360}, GridError, "period=360 is given for dim 0, which is not periodic"),
    "period-0": ({"boundary": "periodic", "period": 0}, GridError, "period for dim 0 must be finite"),
    "period-step": (
        {"boundary": "periodic", "period": 99}, GridError, "period=99 for dim 0 does not fit its step",
    ),
    "side": ({"side": "up"}, GridError, "side must be 'center', 'forward' or 'backward'"),
}  # fmt: skip
LIBRARIES = [NUMPY, TORCH, JAX, STRICT]


def one_sentence(error: pytest.ExceptionInfo) -> str:
    message = str(error.value)
    assert message.endswith("."), message
    assert "\n" not in message
    assert len(message) < 400
    return message


def assert_refused(f, options, exception, says, outs=()) -> None:
    before = [snapshot(x) for x in (f, *outs)]
    with pytest.raises(exception) as caught:
        gridgrad.gradient(f, **options)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RuntimeError)
    if exception is GridTypeError:
        assert isinstance(caught.value, TypeError)
    if exception is GridIndexError:
        assert isinstance(caught.value, IndexError)
    assert re.search(says, one_sentence(caught)), caught.value
    assert [snapshot(x) for x in (f, *outs)] == before


def a_field(library: Library):
    return library.asarray([[float((3 * i * j) % 7) for j in range(5)] for i in range(4)])


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
@pytest.mark.parametrize("name", BAD)
def test_bad_argument(library, name):
    options, exception, says = BAD[name]
    f = a_field(library)
    assert_refused(f, options, exception, says)
    if library in (NUMPY, TORCH):
        outs = [f * 0 + 7.0, f * 0 + 7.0]
        assert_refused(f, {**options, "out": outs}, exception, says, outs)


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
@pytest.mark.parametrize(
    ("x", "says"),
    [
        ([0.0, 1.0, NAN, 3.0, 4.0], "entry 2 is nan"),
        ([0.0, 1.0, 2.0, -INF, 4.0], "entry 3 is -inf"),
        ([0.0, 1.0, 1.0, 3.0, 4.0], "entry 2 is .* as is entry 1"),
        ([[0.0, 1.0, 2.0, 3.0, 4.0]], r"shape \(1, 5\)"),
        ([True, False, True, True, True], "bool"),
        (0.0, "zero"),
        (NAN, "nan"),
        (True, "bool|True"),
    ],
)
def test_bad_array_as_spacing(library, x, says):
    exception = GridTypeError if says.startswith("bool") else GridError
    assert_refused(a_field(library), {"spacing": (1, library.asarray(x))}, exception, says)


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_too_few_samples(library):
    f = library.asarray([[1.0, 2.0]])
    assert_refused(f, {}, GridError, "dim 0 has 1 sample, but edge_order=1 needs 2")
    assert_refused(f, {"dim": 1, "edge_order": 2}, GridError, "has 2 samples, .* needs 3")
    empty = library.asarray([[1.0]])[:, :0]
    assert_refused(empty, {"dim": 1}, GridError, "dim 1 has 0 samples")
    assert_refused(library.asarray(1.0), {"dim": 0}, GridIndexError, "dim 0 is out of range")


@pytest.mark.parametrize(
    "f",
    [
        np.array([True, False]),
        np.array([1, 2], object),
        np.array(["a", "b"]),
        np.array([b"a", b"b"]),
        np.array(["2024-01-01", "2024-01-02"], "datetime64[D]"),
        np.array([(1.0,)] * 2, [("a", float)]),
        np.ma.array([True, False]),
    ],
    ids=lambda f: str(f.dtype),
)
def test_data_that_is_no_number(f):
    before = f.copy()
    with pytest.raises(GridTypeError, match=r"input must hold .* but holds .*\.$"):
        gridgrad.gradient(f)
    assert (f == before).all()


@pytest.mark.parametrize("f", [[1.0, 2.0], (1.0, 2.0), 3.0, None, "ab", {1: 2}, range(3)], ids=repr)
def test_data_that_is_no_array(f):
    with pytest.raises(GridTypeError, match=r"input must be an array .* but is .*\.$"):
        gridgrad.gradient(f)


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (torch.tensor([True, False]), "holds bool"),
        (torch.ones(3).to(torch.float8_e4m3fn), "holds float8"),
        (torch.ones(3).to_sparse(), "input .* layout is torch.sparse"),
    ],
    ids=["bool", "float8", "sparse"],
)
def test_tensors_that_are_no_dense_numbers(tensor, says):
    with pytest.raises(GridTypeError, match=says) as caught:
        gridgrad.gradient(tensor)
    one_sentence(caught)


def test_tensors_on_different_devices():
    f = torch.ones(3)
    for spacing in ((torch.arange(3.0, device="meta"),), torch.tensor(1.0, device="meta")):
        with pytest.raises(GridError, match=r"on the input's device, cpu, but is on meta\.$"):
            gridgrad.gradient(f, spacing=spacing)
    with pytest.raises(GridError, match=r"on the input's device, meta, but is on cpu\.$"):
        gridgrad.gradient(f.to("meta"), spacing=(torch.arange(3.0),))


@pytest.mark.parametrize(
    ("spacing", "exception", "says"),
    [
        (np.timedelta64(0, "s"), GridError, "zero"),
        (np.timedelta64("NaT"), GridError, "NaT"),
        (np.timedelta64(1, "M"), GridTypeError, "no fixed length"),
        (np.timedelta64(5), GridTypeError, "no fixed length|unit"),
        (np.datetime64("2024-01-01"), GridTypeError, "spacing for dim 0"),
        ((np.array(["2024-01-01", "NaT", "2024-01-03"], "M8[D]"),), GridError, "entry 1 is NaT"),
        ((np.array(["2024-01-01"] * 3, "M8[D]"),), GridError, "entry 1 is 2024-01-01"),
        ((np.array([1, 2, 4], "m8[Y]"),), GridTypeError, "no fixed length"),
        ((np.array([1, 2, 4], object),), GridTypeError, "object"),
        ((np.array(["a", "b", "c"]),), GridTypeError, "spacing|coordinates"),
    ],
)
def test_bad_times_and_objects(spacing, exception, says):
    for f in (np.array([1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 4.0])):
        assert_refused(f, {"spacing": spacing}, exception, says)


# Coordinates that turn back are allowed, with a warning.


@pytest.mark.parametrize(
    ("x", "last", "turned"),
    [([0.0, 1.0, 3.0, 2.0, 4.0], 2, 3), ([4.0, 3.0, 3.5, 2.0, 1.0], 1, 2), ([0, 9, 8, 7, 6], 1, 2)],
)
def test_coordinates_that_turn_back_warn(x, last, turned, library):
    f = library.asarray([1.0, 2.0, 4.0, 7.0, 5.0])
    for coordinates in (x, library.asarray(x)):
        with pytest.warns(
            gridgrad.NonMonotonicWarning, match=rf"after entry {last} .* entry {turned}\.$"
        ) as found:
            gridgrad.gradient(f, spacing=(coordinates,))
        assert len(found) == 1
        assert found[0].filename == __file__
        assert issubclass(found[0].category, gridgrad.GridWarning)
        assert issubclass(found[0].category, UserWarning)


def test_the_warning_of_numpys_signature_points_at_the_caller_too():
    import gridgrad.numpy

    with pytest.warns(gridgrad.NonMonotonicWarning) as found:
        gridgrad.numpy.gradient([1.0, 2.0, 4.0], [0.0, 2.0, 1.0])
    assert found[0].filename == __file__


def test_a_warning_made_an_error_changes_nothing():
    f, out = np.array([1.0, 2.0, 4.0]), np.full(3, 7.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", gridgrad.GridWarning)
        with pytest.raises(gridgrad.NonMonotonicWarning):
            gridgrad.gradient(f, spacing=([0.0, 2.0, 1.0],), out=(out,))
    assert out.tolist() == [7.0] * 3
    assert f.tolist() == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("side", ["forward", "backward"])
@pytest.mark.parametrize(
    "boundary", ["replicate", 0.0, [(0.5, "one-sided")], [("one-sided", "reflect")]]
)
def test_too_few_coordinates_to_be_mirrored(side, boundary):
    """NumPy said that shapes could not be broadcast."""
    for n in range(1, 8):
        f, x = np.ones(n), np.arange(n) ** 1.5
        for order, accuracy in ((1, 1), (1, 3), (2, 2), (3, 1)):
            how = {"order": order, "accuracy": accuracy, "side": side, "boundary": boundary}
            is_refused = False
            try:
                gridgrad.derivative(f, spacing=(x,), **how)
            except GridError:
                is_refused = True
            assert not is_refused or n <= order + accuracy + 1
