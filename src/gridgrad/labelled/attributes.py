"""What a derivative inherits of its input's attributes and encoding, and how it is named, by CF custom."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

# What describes the input's own values, and would be wrong of a derivative. Besides, `units` and
# `long_name` are made anew.
_OF_VALUES = frozenset((
    "actual_range", "add_offset", "ancillary_variables", "axis", "bounds", "calendar", "climatology",
    "flag_masks", "flag_meanings", "flag_values", "formula_terms",
    "GRIB_cfName", "GRIB_cfVarName", "GRIB_missingValue", "GRIB_name", "GRIB_paramId", "GRIB_shortName",
    "GRIB_units", "least_significant_digit", "long_name", "missing_value", "number_of_significant_digits",
    "positive", "scale_factor", "short_name", "standard_name", "units", "valid_max", "valid_min",
    "valid_range", "_FillValue", "_Unsigned",
))  # fmt: skip

# How values are laid out in a file. What packs them (dtype, scale_factor, add_offset, _FillValue, filters)
# is for the range of the input's values.
_OF_LAYOUT = frozenset((
    "blosc", "blosc_shuffle", "bzip2", "chunks", "chunksizes", "complevel", "compression", "compression_opts",
    "compressor", "compressors", "contiguous", "coordinates", "endian", "fletcher32", "grid_mapping",
    "preferred_chunks", "shards", "shuffle", "szip", "szip_coding", "szip_pixels_per_block", "zlib", "zstd",
))  # fmt: skip

_ORDINALS = ("", "", "second ", "third ", "fourth ", "fifth ", "sixth ", "seventh ", "eighth ")
_LONGITUDE_UNITS = frozenset(
    ("degrees_east", "degree_east", "degrees_E", "degree_E", "degreesE", "degreeE")
)


def inherited(attrs: Mapping[Any, Any], dims: Sequence[Hashable]) -> dict[Any, Any]:
    """The attributes that are as true of a derivative along these dims as of what is differentiated."""
    found = {key: value for key, value in attrs.items() if key not in _OF_VALUES}
    methods = found.get("cell_methods")
    # "time: mean" says nothing of a derivative by time, but all of one by x of the mean.
    if methods is not None and any(f"{dim}:" in str(methods).split() for dim in dims):
        del found["cell_methods"]
    return found


def common(all_attrs: Sequence[Mapping[Any, Any]], dims: Sequence[Hashable]) -> dict[Any, Any]:
    """What is inherited from several, where they agree."""
    first, *others = (inherited(attrs, dims) for attrs in all_attrs)
    return {
        key: value
        for key, value in first.items()
        if all(key in other and _equal(other[key], value) for other in others)
    }


def _equal(a: Any, b: Any) -> bool:
    try:
        return bool(a == b)
    except ValueError:  # arrays
        return False


def kept_encoding(encoding: Mapping[Any, Any]) -> dict[Any, Any]:
    """The part of an encoding that fits a derivative: layout and compression, not packing."""
    if not encoding:
        return {}
    return {key: value for key, value in encoding.items() if key in _OF_LAYOUT}


def is_longitude(attrs: Mapping[Any, Any], unit: Any) -> bool:
    """Whether a coordinate is a longitude in degrees, by CF."""
    text = str(attrs.get("units", unit))
    return text in _LONGITUDE_UNITS or (
        attrs.get("standard_name") == "longitude" and text in ("degrees", "degree", "deg")
    )


def title(name: Hashable, attrs: Mapping[Any, Any]) -> str:
    """What to call a variable in words."""
    if attrs.get("long_name"):
        return str(attrs["long_name"])
    if attrs.get("standard_name"):
        return str(attrs["standard_name"]).replace("_", " ")
    return "" if name is None else str(name)


def derivative_title(what: str, by: Sequence[str], order: int) -> str:
    """The `long_name` of a derivative.

    >>> derivative_title("temperature", ["x"], 2)
    'second derivative of temperature with respect to x'
    """
    of = f" of {what}" if what else ""
    return f"{_ORDINALS[order]}derivative{of} with respect to {' and '.join(by)}"


def derivative_name(name: Hashable, by: Sequence[Hashable]) -> str:
    """A name for a derivative by these, one after the other.

    >>> derivative_name("T", ["x"]), derivative_name("T", ["x", "x"]), derivative_name("T", ["x", "y"])
    ('dT_dx', 'd2T_dx2', 'd2T_dxdy')
    >>> derivative_name(None, ["x"])
    'd_dx'
    """
    order = str(len(by)) if len(by) > 1 else ""
    below = "".join(
        f"d{each}{by.count(each) if by.count(each) > 1 else ''}" for each in dict.fromkeys(by)
    )
    return f"d{order}{'' if name is None else name}_{below}"
