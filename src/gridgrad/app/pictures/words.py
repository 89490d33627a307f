"""Names and units as a picture writes them."""

import re
from typing import Any

import xarray as xr

from gridgrad.app.source import printable
from gridgrad.labelled.attributes import title

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# A number is a power after **, ^ or a sign, or alone after a unit that is never written with one.
_POWER = re.compile(
    r"(?<=[A-Za-z])(?<!\de)(?:(?:\*\*|\^)([+-]?\d+)|(-\d+)(?![\d.])|(?<=\bm|\bs)([23])\b)"
)

_SPACE = re.compile(r" (?![^(]*\))")


def unit_text(unit: str) -> str:
    """A unit with its powers raised.

    >>> unit_text("m**2 s**-2"), unit_text("kg m-3"), unit_text("degC"), unit_text("CO2 m2")
    ('m² s⁻²', 'kg m⁻³', '°C', 'CO2 m²')
    """
    if unit in ("degC", "degree_C", "degrees_C", "degree_Celsius", "degrees_Celsius", "celsius"):
        return "°C"
    return _POWER.sub(
        lambda found: next(group for group in found.groups() if group).translate(_RAISED), unit
    )


def amount(number: float) -> str:
    """Two digits of a number, as people write it.

    >>> amount(216.7), amount(0.000451), amount(3.1e-9)
    ('220', '0.00045', '3.1e-09')
    """
    return f"{float(f'{number:.2g}'):g}"


def measured(words: str, unit: str) -> str:
    """A name with its unit.

    >>> measured("wind", "m s-1"), measured("ratio", "1")
    ('wind (m s⁻¹)', 'ratio')
    """
    words = printable(words)
    return words if unit in ("", "1") else f"{words} ({unit_text(printable(unit))})"


def named(array: xr.DataArray) -> str:
    """What a field is called, between bars where its magnitude is shown."""
    words = title(array.name, array.attrs)
    words = "value" if words in ("", "values") else words
    return f"|{words}|" if array.dtype.kind == "c" else words


def labelled(array: xr.DataArray) -> str:
    """A field's name with its unit, for a colour bar or beside a curve."""
    unit = "days" if array.dtype.kind == "m" else str(array.attrs.get("units", ""))
    return measured(named(array), unit)


def say(setter: Any, text: str, **style: Any) -> None:
    """Set a text that has a user's words in it, of which a $ is no formula."""
    setter(text, **style).set_parse_math(False)


def short(text: str, most: int = 70) -> str:
    """A title on one line, cut in the middle if it is long."""
    text = printable(text)
    half = most // 2 - 1
    return text if len(text) <= most else f"{text[:half]} … {text[-half:]}"


def folded(text: str, most: int) -> str:
    """A text of several lines, each no longer than `most` where there are spaces to break it. What stands
    in parentheses, as units do, stays together.

    >>> folded("derivative of air temperature (K m)", 24)
    'derivative of air\\ntemperature (K m)'
    """
    words = _SPACE.split(text)
    if len(text) <= most or len(words) < 2:
        return text
    if len(text) <= 2 * most:
        # Two lines of about one length, rather than a short second.
        cut = min(range(1, len(words)), key=lambda k: abs(2 * len(" ".join(words[:k])) - len(text)))
        return " ".join(words[:cut]) + "\n" + " ".join(words[cut:])
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(word) < most:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)
