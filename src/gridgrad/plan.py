"""The plan: a whole computation as a table of one-axis stencils.

Every operator on sampled data is such a table, so that one engine method, "run this plan", serves them all.
"""

from collections.abc import Sequence
from typing import NamedTuple

from gridgrad.adjoint import transposed
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

    def among(self, inputs: Sequence[int], outputs: Sequence[int]) -> "Plan":
        """The part of the plan that makes these outputs from these inputs, in this order."""
        place = {entry: k for k, entry in enumerate(inputs)}
        kept = (t for t in self.only(outputs).terms if t.input in place)
        return Plan(len(place), len(outputs), tuple(t._replace(input=place[t.input]) for t in kept))

    def shifted(self) -> "Plan":
        """The plan for arrays with another dim before the first."""
        return self._replace(terms=tuple(t._replace(dim=t.dim + 1) for t in self.terms))

    def linear(self) -> "Plan":
        """The plan with 0 for numbers beyond the edges: what it does to a change of its inputs."""
        return self._replace(
            terms=tuple(t._replace(stencil=t.stencil.linear()) for t in self.terms)
        )

    def adjoint(self, shape: Sequence[int]) -> "Plan":
        """The transpose: the plan that takes gradients of the outputs to gradients of the inputs.

        <plan(x), y> = <x, adjoint(y)> for all x and y of this shape.
        """
        return Plan(
            self.outputs,
            self.inputs,
            tuple(
                Term(t.input, t.output, t.dim, transposed(t.stencil, shape[t.dim]))
                for t in self.terms
            ),
        )


def gradient_plan(stencils: dict[int, Stencil]) -> Plan:
    """One input; for each dim an output, its derivative along that dim."""
    terms = (Term(k, 0, dim, stencil) for k, (dim, stencil) in enumerate(stencils.items()))
    return Plan(1, len(stencils), tuple(terms))
