"""The plan: a whole computation as a table of one-axis stencils.

Every operator on sampled data is such a table, so that one engine method, "run this plan", serves them all.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gridgrad.adjoint import transposed
from gridgrad.discretization import owning
from gridgrad.stencil import Stencil


class Term(NamedTuple):
    """Output `output` adds this stencil along `dim` of input `input`."""

    output: int
    input: int
    dim: int
    stencil: Stencil


class Plan(NamedTuple):
    """Terms that take `inputs` arrays to `outputs` arrays. Hashable where every spacing is a number.

    There may be arrays `between`, which are made from inputs and from which outputs are made, as mixed
    derivatives are. Terms count them after the outputs where they write them, after the inputs where they
    read them.
    """

    inputs: int
    outputs: int
    terms: tuple[Term, ...]
    between: int = 0

    def only(self, outputs: Sequence[int]) -> "Plan":
        """The part of the plan that makes these outputs, in this order."""
        return self.among(range(self.inputs), outputs)

    def among(self, inputs: Sequence[int], outputs: Sequence[int]) -> "Plan":
        """The part of the plan that makes these outputs from these inputs, in this order."""
        made = {t.output - self.outputs for t in self.terms if t.input in inputs}
        read = {t.input - self.inputs for t in self.terms if t.output in outputs}
        kept = [k for k in range(self.between) if k in made and k in read]
        into = [*inputs, *(self.inputs + k for k in kept)]
        onto = [*outputs, *(self.outputs + k for k in kept)]
        places = [{entry: k for k, entry in enumerate(ends)} for ends in (onto, into)]
        terms = (
            t._replace(output=places[0][t.output], input=places[1][t.input])
            for t in self.terms
            if t.output in places[0] and t.input in places[1]
        )
        return Plan(len(inputs), len(outputs), tuple(terms), len(kept))

    def by_key(self, keys: Sequence[Any]) -> list[tuple[Any, list[int], "Plan"]]:
        """The parts of the plan whose outputs have one key: that, which outputs they are, and the part.

        Arrays between are made once in each part, in the dtype of its outputs, say.
        """
        found = []
        for key in dict.fromkeys(keys):
            chosen = [k for k, each in enumerate(keys) if each == key]
            part = self if len(chosen) == len(keys) else self.only(chosen)
            found.append((key, chosen, part))
        return found

    def stages(self) -> tuple["Plan", "Plan"]:
        """The plan that makes the arrays between, and the one that makes the outputs.

        The second reads inputs and, after them, arrays between.
        """
        first = (
            t._replace(output=t.output - self.outputs)
            for t in self.terms
            if t.output >= self.outputs
        )
        second = (t for t in self.terms if t.output < self.outputs)
        return (
            Plan(self.inputs, self.between, tuple(first)),
            Plan(self.inputs + self.between, self.outputs, tuple(second)),
        )  # fmt: skip

    def paths(self, output: int) -> list[tuple[Term, ...]]:
        """The terms that an output is the sum of, each after the term that makes what it reads, if any."""
        found: list[tuple[Term, ...]] = []
        for term in self.terms:
            if term.output == output:
                befores = [
                    t for t in self.terms
                    if term.input >= self.inputs and t.output - self.outputs == term.input - self.inputs
                ]  # fmt: skip
                found += [(before, term) for before in befores] or [(term,)]
        return found

    def links(self) -> set[tuple[int, int]]:
        """Every (output, input) of which the one is made from the other."""
        return {(k, path[0].input) for k in range(self.outputs) for path in self.paths(k)}

    def shifted(self) -> "Plan":
        """The plan for arrays with another dim before the first."""
        return self._replace(terms=tuple(t._replace(dim=t.dim + 1) for t in self.terms))

    def linear(self) -> "Plan":
        """The plan with 0 for numbers beyond the edges: what it does to a change of its inputs."""
        return self._replace(
            terms=tuple(t._replace(stencil=t.stencil.linear()) for t in self.terms)
        )

    def owning(self) -> "Plan":
        """The plan with copies of what its caller may change later: the coordinates of long lines."""
        return self._replace(terms=tuple(t._replace(stencil=owning(t.stencil)) for t in self.terms))

    def adjoint(self, shape: Sequence[int]) -> "Plan":
        """The transpose: the plan that takes gradients of the outputs to gradients of the inputs.

        <plan(x), y> = <x, adjoint(y)> for all x and y of this shape.
        """
        terms = (
            Term(t.input, t.output, t.dim, transposed(t.stencil, shape[t.dim])) for t in self.terms
        )
        return Plan(self.outputs, self.inputs, tuple(terms), self.between)


def gradient_plan(stencils: dict[int, Stencil]) -> Plan:
    """One input; for each dim an output, its derivative along that dim."""
    terms = (Term(k, 0, dim, stencil) for k, (dim, stencil) in enumerate(stencils.items()))
    return Plan(1, len(stencils), tuple(terms))
