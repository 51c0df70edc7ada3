"""Geography: points on the sphere and great-circle distances, vectorised.

Owns the Earth's radius and the two forms of a point: degrees, and a unit vector, with which
distances of thousands of pairs cost one matrix product.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

EARTH_RADIUS_KM = 6371.0088  # mean radius R1, IUGG (Moritz, Geodetic Reference System 1980)


def unit_vectors(latitudes: ArrayLike, longitudes: ArrayLike) -> NDArray[np.float64]:
    """Return unit vectors (n, 3) of points given in degrees."""
    latitude = np.radians(np.asarray(latitudes, dtype=np.float64))
    longitude = np.radians(np.asarray(longitudes, dtype=np.float64))
    across = np.cos(latitude)
    return np.stack(
        [across * np.cos(longitude), across * np.sin(longitude), np.sin(latitude)], axis=-1
    )


def distances_km(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return great-circle distances of pairs from the dot products of their unit vectors."""
    return EARTH_RADIUS_KM * np.arccos(np.clip(cosines, -1.0, 1.0))


def cosines_upto(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the dot products that great-circle distances in km correspond to."""
    return np.cos(np.clip(distances / EARTH_RADIUS_KM, 0.0, np.pi))
