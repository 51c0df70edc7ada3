"""The index against a dict: what is taken, what is found, whatever the order of entries."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.availability import shop

from penstock.availability import product_map
from penstock.availability.index import Change, Index

# Position ids stand for places: product, location and pool follow from the id.
ENTRIES = st.lists(
    st.tuples(
        st.integers(1, 400),
        st.integers(-9, 200_000),
        st.integers(0, 200_000),
        st.integers(1, 5),
    ),
    min_size=1,
    max_size=60,
)


def place_of(position_id: int) -> tuple[int, int, int]:
    return 1 + position_id // 20, (70_000 if position_id % 20 == 7 else position_id % 20), 1


def batches_of(entries: list[tuple[int, int, int, int]], size: int) -> list[list[tuple[int, ...]]]:
    full = [
        (id_, *place_of(id_), hand, reserved, version) for id_, hand, reserved, version in entries
    ]
    return [full[start : start + size] for start in range(0, len(full), size)]


def model_of(entries: list[tuple[int, int, int, int]]) -> dict[int, tuple[int, int, int]]:
    model: dict[int, tuple[int, int, int]] = {}
    for id_, hand, reserved, version in entries:
        if id_ not in model or version > model[id_][2]:
            model[id_] = (hand, reserved, version)
    return model


def one_truth(entries: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Make entries of the same position and version the same, as they are in a journal."""
    seen: dict[tuple[int, int], tuple[int, int, int, int]] = {}
    return [seen.setdefault((entry[0], entry[3]), entry) for entry in entries]


@given(entries=ENTRIES, size=st.integers(1, 60))
def test_the_highest_version_of_each_position_is_what_the_index_holds(
    entries: list[tuple[int, int, int, int]], size: int
) -> None:
    entries = one_truth(entries)
    index = Index()
    for batch in batches_of(entries, size):
        index.apply(shop.rows(*batch))
    model = model_of(entries)
    ids = np.array(sorted(model), dtype=np.int32)
    columns = (index.on_hand[ids], index.reserved[ids], index.version[ids])
    held = list(zip(*(column.tolist() for column in columns), strict=True))
    assert held == [model[id_] for id_ in ids.tolist()]
    assert np.flatnonzero(index.product).tolist() == ids.tolist()


def test_a_column_widens_when_a_value_no_longer_fits() -> None:
    index = Index()
    index.apply(shop.rows((1, 7, 1, 1, 40, 0, 1), (2, 7, 2, 1, 41, 3, 1)))
    narrow = (index.on_hand.itemsize, index.reserved.itemsize, index.version.itemsize)
    assert narrow == (2, 2, 2)
    index.apply(shop.rows((1, 7, 1, 1, 32_768, 65_536, 65_536)))
    index.apply(shop.rows((2, 7, 2, 1, -32_769, 3, 2)))
    assert index.on_hand[1:3].tolist() == [32_768, -32_769]
    assert index.reserved[1:3].tolist() == [65_536, 3]
    assert index.version[1:3].tolist() == [65_536, 2]
    assert index.net(np.array([1, 2])).tolist() == [-32_768, -32_772]


@given(entries=ENTRIES, late=ENTRIES, is_merged=st.booleans())
def test_every_position_is_found_by_its_place_and_by_its_product(
    entries: list[tuple[int, int, int, int]],
    late: list[tuple[int, int, int, int]],
    is_merged: bool,  # noqa: FBT001
) -> None:
    index = Index()
    index.fill(shop.rows(*batches_of(entries, 99)[0]))
    index.map.build(index.size)
    index.apply(shop.rows(*batches_of(late, 99)[0]))
    if is_merged:
        index.map.merge()
    known = {entry[0] for entry in entries + late}
    wanted = np.arange(0, 440, dtype=np.int32)
    places = np.array([place_of(id_) for id_ in wanted.tolist()], dtype=np.int32).T
    found = index.find(places[0], places[1], places[2]).tolist()
    assert found == [id_ if id_ in known else -1 for id_ in wanted.tolist()]
    products = np.array([3, -1, 1, 10_000, 3, 21, 0], dtype=np.int32)
    line_start, ids = index.positions_of(products)
    lines = [set(ids[a:b].tolist()) for a, b in itertools.pairwise(line_start)]
    assert lines == [{id_ for id_ in known if place_of(id_)[0] == p} for p in products.tolist()]
    assert line_start[-1] == len(ids)


def test_a_product_s_positions_come_sorted_by_location_and_pool() -> None:
    index = shop.index_of((5, 1, 30, 1, 1, 0, 1), (6, 1, 10, 2, 1, 0, 1), (7, 1, 10, 1, 1, 0, 1))
    index.map.merge()
    index.apply(shop.rows((3, 1, 20, 1, 1, 0, 1), (4, 2, 5, 1, 1, 0, 1)))
    for _ in ("late", "merged"):
        line_start, ids = index.positions_of(np.array([2, 1]))
        assert ids.tolist() == [4, 7, 6, 3, 5]
        assert line_start.tolist() == [0, 1, 5]
        index.map.merge()


def test_a_build_in_slices_sorts_as_one_in_a_piece_would(monkeypatch: object) -> None:
    rng = np.random.default_rng(7)
    ids = rng.permutation(np.arange(1, 500, dtype=np.int32))
    index = Index()
    index.fill(shop.rows(*((i, 1 + i % 13, 1 + i // 13, 1, 1, 0, 1) for i in ids.tolist())))
    index.map.build(index.size)
    whole = index.map.order.tolist()
    monkeypatch.setattr(product_map, "SLICE", 50)  # type: ignore[attr-defined]
    index.map.build(index.size)
    assert index.map.order.tolist() == whole
    assert whole == sorted(whole, key=lambda i: (1 + i % 13, 1 + i // 13))


def test_late_positions_are_merged_when_they_are_many() -> None:
    count = product_map.MIN_LATE + 1
    index = Index()
    ids = np.arange(1, count + 1)
    columns = [ids, 1 + ids // 50, ids % 50, *([np.ones(count, dtype=int)] * 4)]
    index.apply(shop.rows(*np.stack(columns, axis=1).tolist()))
    assert (index.map.late_count, len(index.map.order)) == (0, count)


def test_watchers_hear_of_each_changed_position_once() -> None:
    index = shop.index_of((1, 1, 10, 1, 5, 1, 3))
    heard: list[Change] = []
    index.watchers.append(heard.append)
    assert index.apply(shop.rows((1, 1, 10, 1, 9, 9, 2), (1, 1, 10, 1, 5, 1, 3))) == 0
    assert index.apply(shop.rows((1, 1, 10, 1, 5, 2, 4), (2, 1, 20, 1, 3, 0, 1))) == 2
    assert index.apply(shop.rows((1, 1, 10, 1, 8, 2, 6), (1, 1, 10, 1, 7, 2, 5))) == 1
    nets = [(c.position_ids.tolist(), c.net_before.tolist(), c.net_after.tolist()) for c in heard]
    assert nets == [([1, 2], [4, 0], [3, 3]), ([1], [3], [6])]
