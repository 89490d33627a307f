"""Units as `units` attributes write them: the text of a quotient, in the grammar of UDUNITS.

No library of units is asked, so that results do not depend on which is installed, and none has to be loaded.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

# What a difference of readings is in: zero points and dates drop out.
_DIFFERENCES = {
    f"{degree}{scale}": unit
    for unit, scales in (
        ("K", ("C", "celsius", "Celsius")),
        ("degR", ("F", "fahrenheit", "Fahrenheit")),
    )
    for scale in scales
    for degree in ("", "°", "deg", "deg_", "degree", "degrees", "degree_", "degrees_")
    if degree or len(scale) > 1  # C and F are the coulomb and the farad
}
_ORIGIN = re.compile(r"\s+(?:since|after|from|ref)\s+|\s*@\s*", re.IGNORECASE)

# Names of one unit, which cancel. A unit keeps the name that it came with.
_SAME = {
    name: names.split()[0]
    for names in (
        "degree degrees deg ° degrees_north degree_north degrees_N degree_N degreesN degreeN degrees_east "
        "degree_east degrees_E degree_E degreesE degreeE degrees_true degree_true",
        "radian radians rad",
        "m meter meters metre metres",
        "km kilometer kilometers kilometre kilometres",
        "cm centimeter centimeters centimetre centimetres",
        "mm millimeter millimeters millimetre millimetres",
        "s second seconds sec secs",
        "min minute minutes",
        "h hour hours hr hrs",
        "day days d",
        "K kelvin kelvins Kelvin degK deg_K degreeK degree_K degrees_K degree_kelvin degrees_kelvin",
        "Pa pascal pascals",
        "hPa hectopascal hectopascals mbar millibar millibars mb",
        "kg kilogram kilograms",
        "g gram grams",
        "J joule joules",
        "W watt watts",
        "N newton newtons",
        "V volt volts",
        "% percent",
    )
    for name in names.split()
}
_FACTOR = re.compile(r"(?P<name>°[CF]?|%|[^\W\d_][^\W\d]*)(?:(?:\^|\*\*)?(?P<power>[+-]?\d+))?")
_BETWEEN = re.compile(r"\s*(?:(?P<over>/|\bper\b)|\*(?!\*)|[.·⋅])?\s*")
_ONE = re.compile(r"1(?![\d.eE^*+-])")

Powers = dict[str, tuple[str, int]]  # the unit's usual name: its name here, and its power


class Unit(NamedTuple):
    """A unit as text, and what tells whether another text means the same."""

    text: str
    meaning: object


@lru_cache(maxsize=1024)
def quotient(text: str, per: tuple[tuple[str, int], ...]) -> Unit:
    """The unit of a derivative: of `text` per each of the units to its power.

    >>> quotient("degC", (("m", 2),)).text
    'K m-2'
    >>> quotient("m2 s**-2", (("metres", 1),)).text
    'm s-2'
    >>> quotient("m/s", (("degrees_east", 1),)).text
    'm s-1 degree-1'
    >>> quotient("K", (("days since 2000-01-01", 1),)).text
    'K days-1'
    >>> quotient("lg(re 1 mW)", (("m", 1),)).text
    '(lg(re 1 mW)) m-1'
    """
    units = [(text, 1), *((each, -power) for each, power in per)]
    known = [(_parse(_difference(each)), each, power) for each, power in units]
    if all(powers is not None for powers, _, _ in known):
        product = _product([(powers, power) for powers, _, power in known if powers is not None])
        meaning = frozenset((name, power) for name, (_, power) in product.items())
        return Unit(_written(product), meaning)
    parts = []
    for powers, each, power in known:
        if powers is None:
            parts.append(f"({each.strip()})" + (str(power) if power != 1 else ""))
        elif powers:
            parts.append(_written(_product([(powers, power)])))
    return Unit(" ".join(parts), " ".join(parts))


def factors(text: str) -> list[tuple[str, int]] | None:
    """The units whose product differences of what is in this unit are in, each with its power.

    >>> factors("m/s"), factors("degrees_north")
    ([('m', 1), ('s', -1)], [('degree', 1)])
    """
    powers = _parse(_difference(text))
    return None if powers is None else list(powers.values())


def same_unit(units: Sequence[Unit | None]) -> str | None:
    """The text of the one unit that all terms of a sum have; None if one is unknown; raises ValueError."""
    known = [unit for unit in units if unit is not None]
    if len({unit.meaning for unit in known}) > 1:
        raise ValueError(" and ".join(dict.fromkeys(repr(unit.text) for unit in known)))
    return known[0].text if known and len(known) == len(units) else None


def _difference(text: str) -> str:
    """The unit of differences of what is in this unit."""
    text = _ORIGIN.split(text.strip(), maxsplit=1)[0]
    return _DIFFERENCES.get(text, text)


def _parse(text: str) -> Powers | None:
    """The units of a product and their powers, or None for what is no plain product.

    >>> _parse("kg/m^2 s-1")
    {'kg': ('kg', 1), 'm': ('m', -2), 's': ('s', -1)}
    >>> _parse("1") == _parse("") == {}, _parse("1e-3 kg") is None
    (True, True)
    """
    factors: list[tuple[Powers, int]] = []
    at, sign = 0, 1
    while at < len(text):
        one, factor = _ONE.match(text, at), _FACTOR.match(text, at)
        if one:
            at = one.end()
        elif factor:
            name = factor["name"]
            usual = _SAME.get(name, name)
            spelled = "degree" if usual == "degree" else name
            factors.append(({usual: (spelled, 1)}, sign * int(factor["power"] or 1)))
            at = factor.end()
        else:
            return None
        between = _BETWEEN.match(text, at)
        assert between is not None  # it matches nothing, too
        if between.end() == at < len(text):
            return None  # two factors with nothing between them
        at, sign = between.end(), -1 if between["over"] else 1
    return None if sign < 0 else _product(factors)


def _product(factors: Sequence[tuple[Powers, int]]) -> Powers:
    found: Powers = {}
    for powers, times in factors:
        for usual, (spelled, power) in powers.items():
            before = found.get(usual, (spelled, 0))
            found[usual] = (before[0], before[1] + times * power)
    return {usual: each for usual, each in found.items() if each[1]}


def _written(powers: Powers) -> str:
    return (
        " ".join(name if power == 1 else f"{name}{power}" for name, power in powers.values()) or "1"
    )
