"""The plan: a whole computation as a table of one-axis stencils.

Every operator on sampled data is such a table, so that one engine method, "run this plan", serves them all.
"""

from collections.abc import Sequence
from typing import NamedTuple

from gridgrad.stencil import Stencil


class Term(NamedTuple):
    """Output `output` adds this stencil along `dim` of input `input`."""

    output: int
    input: int
    dim: int
    stencil: Stencil


class Plan(NamedTuple):
    """Terms that take `inputs` arrays to `outputs` arrays. Hashable where every spacing is a number."""

    inputs: int
    outputs: int
    terms: tuple[Term, ...]

    def only(self, outputs: Sequence[int]) -> "Plan":
        """The part of the plan that makes these outputs, in this order."""
        place = {output: k for k, output in enumerate(outputs)}
        terms = (t._replace(output=place[t.output]) for t in self.terms if t.output in place)
        return Plan(self.inputs, len(place), tuple(terms))


def gradient_plan(stencils: dict[int, Stencil]) -> Plan:
    """One input; for each dim an output, its derivative along that dim."""
    terms = (Term(k, 0, dim, stencil) for k, (dim, stencil) in enumerate(stencils.items()))
    return Plan(1, len(stencils), tuple(terms))
