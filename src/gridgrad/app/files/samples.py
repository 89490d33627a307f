"""Sample data by name, so that the first trial needs no file.

`sample:terrain` is `jacksboro_fault_dem.npz` of Matplotlib: elevations in metres as int16, 344 rows
from north to south by 403 columns from west to east. Its steps are in degrees, of which a slope
cannot be made: 1/1200 degree is 92.5 m towards the north there, but only 74.5 m towards the east.
So the steps are turned into metres on the WGS84 ellipsoid, with the radii of curvature at the
middle latitude (36.59 degrees north):

    one degree of latitude  = pi/180 * M            M = a (1 - e²) / (1 - e² sin²φ)**1.5
    one degree of longitude = pi/180 * N cos φ      N = a / sqrt(1 - e² sin²φ)

From there to the upper and the lower edge, the true step towards the east changes by 0.19 %.
"""

import math
from pathlib import Path

import numpy as np
import xarray as xr

from gridgrad.app.source import FileProblem, Source, shown

PREFIX = "sample:"
NAMES = ("terrain",)

# WGS84: the semi-major axis in metres, and the first eccentricity squared.
SEMI_MAJOR = 6_378_137.0
ECCENTRICITY_2 = 0.006_694_379_990_14


def metres_per_degree(latitude: float) -> tuple[float, float]:
    """The length of one degree of latitude, and of one degree of longitude, on WGS84."""
    phi = math.radians(latitude)
    bulge = 1 - ECCENTRICITY_2 * math.sin(phi) ** 2
    meridian = SEMI_MAJOR * (1 - ECCENTRICITY_2) / bulge**1.5
    parallel = SEMI_MAJOR / math.sqrt(bulge) * math.cos(phi)
    return math.radians(meridian), math.radians(parallel)


def read(source: str) -> Source:
    """The sample that `source` names."""
    name = source.removeprefix(PREFIX)
    if name not in NAMES:
        known = ", ".join(PREFIX + known for known in NAMES)
        raise FileProblem(f"There is no sample {shown(source)}; there is: {known}.")
    return terrain()


def terrain() -> Source:
    """Elevations around the Jacksboro fault in Tennessee, on metres towards the north and the east."""
    # Importing Matplotlib takes a while, so that happens only for those who ask for its data.
    import matplotlib

    path = Path(matplotlib.get_data_path(), "sample_data", "jacksboro_fault_dem.npz")
    try:
        with np.load(path, allow_pickle=False) as dem:
            values = dem["elevation"]
            step_x, step_y = float(dem["dx"]), float(dem["dy"])
            # The file calls the latitude of its first row, which is the northern edge, `ymin`.
            edges = float(dem["ymin"]), float(dem["ymax"])
    except (OSError, KeyError, ValueError) as fault:
        raise FileProblem(
            f"This installation of Matplotlib does not hold {path.name}, which sample:terrain is."
        ) from fault

    middle = sum(edges) / 2
    north, east = metres_per_degree(middle)
    rows, columns = values.shape
    dataset = xr.Dataset(
        {"elevation": (("y", "x"), values, {"units": "m", "long_name": "elevation"})},
        coords={
            "y": ("y", _even(abs(step_y) * north) * np.arange(rows)[::-1], _metres("north")),
            "x": ("x", _even(abs(step_x) * east) * np.arange(columns), _metres("east")),
        },
    )
    return Source(
        dataset,
        title="Terrain at the Jacksboro fault, Tennessee",
        look="terrain",
        notes=(
            f"sample:terrain has steps of {abs(step_y) * north:.2f} m from north to south (y) and "
            f"{abs(step_x) * east:.2f} m from west to east (x), on WGS84 at {middle:.2f} degrees north.",
        ),
    )


def _even(step: float) -> float:
    """The step with few enough bits, to a millionth of a metre, that all its multiples are exact: so the
    positions stay evenly spaced to the last bit."""
    return round(step * 2**20) / 2**20


def _metres(towards: str) -> dict[str, str]:
    return {"units": "m", "long_name": towards}
