"""The six examples in the documentation of `torch.gradient`, on every library.

Where the documentation contradicts itself, the rule is: entry k of `spacing` belongs to dim k.
"""

import pytest
import torch

from .calling import Library, check, gradient

DOWN = [[9, 18, 36, 72], [9, 18, 36, 72]]
ACROSS = [[1, 1.5, 3, 4], [10, 15, 30, 40]]
# A step of 2 down and of 3 across.
DOWN_BY_2 = [[4.5, 9, 18, 36], [4.5, 9, 18, 36]]
ACROSS_BY_3 = [[1 / 3, 0.5, 1, 4 / 3], [10 / 3, 5, 10, 40 / 3]]


@pytest.fixture
def t(library: Library):
    return library.asarray([[1, 2, 4, 8], [10, 20, 40, 80]])


def test_values_at_coordinates(library):
    values, x = library.asarray([4.0, 1.0, 1.0, 16.0]), library.asarray([-2.0, -1.0, 1.0, 4.0])
    check(gradient(values, spacing=(x,)), [[-3, -2, 2, 5]], library.floating)


def test_no_spacing(library, t):
    check(gradient(t), [DOWN, ACROSS], library.floating)


def test_one_step_for_all_dims(library, t):
    across = [[0.5, 0.75, 1.5, 2], [5, 7.5, 15, 20]]
    check(gradient(t, spacing=2.0), [DOWN_BY_2, across], library.floating)


def test_one_dim(library, t):
    check(gradient(t, dim=1), [ACROSS], library.floating)


def test_one_step_for_each_dim(library, t):
    check(gradient(t, spacing=[2.0, 3.0]), [DOWN_BY_2, ACROSS_BY_3], library.floating, rtol=1e-7)


def test_coordinates_for_each_dim(library, t):
    coordinates = (library.asarray([0, 2]), library.asarray([0, 3, 6, 9]))
    check(gradient(t, spacing=coordinates), [DOWN_BY_2, ACROSS_BY_3], library.floating, rtol=1e-7)


def test_entry_k_of_spacing_belongs_to_dim_k(library, t):
    """The documentation prints the result of [2., 3.] for [3., 2.]; PyTorch computes this."""
    expected = [[3, 6, 12, 24], [[0.5, 0.75, 1.5, 2], [5, 7.5, 15, 20]]]
    check(gradient(t, spacing=[3.0, 2.0]), expected, library.floating)
    # And in the order of `dim`, not of the input's dims.
    check(gradient(t, spacing=[2.0, 3.0], dim=(1, 0)), expected[::-1], library.floating)
    if library.name == "torch":
        check(torch.gradient(t, spacing=[3.0, 2.0]), expected, "float32")


def test_floats_give_what_integers_give(library, t):
    floats = library.astype(t, "float32")
    check(gradient(floats), [DOWN, ACROSS], "float32")
    check(gradient(floats, spacing=[2.0, 3.0]), [DOWN_BY_2, ACROSS_BY_3], "float32", rtol=1e-7)


def test_the_command_of_the_issue_prints_what_it_says():
    values, x = torch.tensor([4.0, 1.0, 1.0, 16.0]), torch.tensor([-2.0, -1.0, 1.0, 4.0])
    assert repr(gradient(values, spacing=(x,))) == "(tensor([-3., -2.,  2.,  5.]),)"
