"""Samples and coordinates that are quantities of pint: their units are pint's, not attributes."""

import math
import sys
from collections.abc import Iterable, Sequence
from types import NoneType
from typing import Any

from gridgrad.errors import GridError
from gridgrad.labelled.units import factors


def split(values: Any) -> tuple[Any, Any]:
    """The numbers, and their unit, or None for what is no quantity. Never imports pint."""
    pint = sys.modules.get("pint")
    if pint is not None and isinstance(values, pint.Quantity):
        return values.magnitude, values.units
    return values, None


def registry_of(units: Iterable[Any]) -> Any:
    """The registry of the first unit that is pint's; None if none is."""
    return next((unit._REGISTRY for unit in units if not isinstance(unit, (str, NoneType))), None)


def quotient(registry: Any, unit: Any, per: Sequence[tuple[Any, int]]) -> Any:
    """The unit of a derivative. Units may be pint's, texts, which the registry reads, or None, which is 1."""
    found = _difference(unit, registry)
    for other, power in per:
        found = found / _difference(other, registry) ** power
    return found


def _difference(unit: Any, registry: Any) -> Any:
    """The unit of differences: degrees Celsius become differences of degrees Celsius."""
    if unit is None:
        return registry.dimensionless
    if isinstance(unit, str):
        try:
            # A registry need not know how UDUNITS writes powers.
            parts = factors(unit)
            if parts is not None:
                return math.prod(
                    (registry.Unit(name) ** power for name, power in parts),
                    start=registry.dimensionless,
                )
            unit = registry.Unit(unit)
        except Exception as error:  # pint raises its own, and those of the tokenizer
            raise GridError(
                f"units {unit!r} are not understood by the registry of pint that the other units belong "
                "to; change the attribute, or quantify it too."
            ) from error
    zero = registry.Quantity(0, unit)
    return (zero - zero).units


def attach(values: Any, unit: Any) -> Any:
    return unit._REGISTRY.Quantity(values, unit)
