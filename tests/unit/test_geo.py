"""Distances on the sphere: two formulas agree, and known distances come out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.geo import cosines_upto, distances_km, haversine_km, unit_vectors

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)


@given(latitudes, longitudes, latitudes, longitudes)
def test_dot_products_and_haversine_agree(
    latitude: float, longitude: float, other_latitude: float, other_longitude: float
) -> None:
    here, there = unit_vectors([latitude, other_latitude], [longitude, other_longitude])
    arc = distances_km(np.array([here @ there]))[0]
    exact = haversine_km(latitude, longitude, other_latitude, other_longitude)
    # Near the antipode either formula loses half its digits.
    assert arc == pytest.approx(float(exact), abs=0.3)


def test_london_is_343_km_from_paris() -> None:
    km = haversine_km([51.5074], [-0.1278], [48.8566], [2.3522])
    assert km.round(1).tolist() == [343.6]


def test_a_quarter_of_the_equator_and_the_way_to_the_antipode() -> None:
    vectors = unit_vectors([0.0, 0.0, 0.0], [0.0, 90.0, 180.0])
    assert distances_km(vectors @ vectors[0]).round(1).tolist() == [0.0, 10007.6, 20015.1]


@given(st.lists(st.floats(0, 20000), min_size=1, max_size=5))
def test_cosines_of_distances_lead_back_to_them(distances: list[float]) -> None:
    back = distances_km(cosines_upto(np.array(distances)))
    assert back == pytest.approx(distances, abs=0.2)


def test_what_is_beyond_the_antipode_counts_as_the_antipode() -> None:
    assert cosines_upto(np.array([99999.0])).tolist() == [-1.0]
