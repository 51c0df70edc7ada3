"""How channels hang below one another."""

from __future__ import annotations

import pytest

from penstock.access.channels import ChannelInput, Channels, misplaced_channels
from penstock.errors import Broken


def tree(**parents: str | None) -> Channels:
    ids = {ref: place for place, ref in enumerate(parents, 1)}
    return Channels(
        by_ref=ids,
        refs={number: ref for ref, number in ids.items()},
        parents={ids[ref]: ids[parent] if parent else None for ref, parent in parents.items()},
        currencies={},
        catalogues={},
        own_settings={ids[ref]: {"own": ref, ref: True} for ref in parents},
    )


RETAILER = tree(retailer=None, brand="retailer", site="brand")


def refused(*channels: tuple[str, str | None], there: Channels = RETAILER) -> dict[str, str]:
    asked = [ChannelInput(ref, parent=parent) for ref, parent in channels]
    return {ref: one.code for ref, one in misplaced_channels(asked, there).items()}


def test_parents_may_come_later_in_the_list() -> None:
    assert refused(("shop", "region"), ("region", "country"), ("country", None)) == {}


def test_a_channel_is_not_below_itself_nor_below_what_is_below_it() -> None:
    assert refused(("brand", "brand")) == {"brand": "channel_cycle"}
    assert refused(("retailer", "site")) == {"retailer": "channel_cycle"}


def test_channels_that_close_a_cycle_together_are_refused_and_those_below_are_not() -> None:
    asked = (("retailer", "site"), ("kiosk", "site"), ("other", None))
    assert refused(*asked) == {"retailer": "channel_cycle"}


def test_two_may_change_places() -> None:
    assert refused(("brand", None), ("retailer", "brand")) == {}


def test_what_hangs_below_a_refused_new_channel_is_refused_too() -> None:
    asked = (("a", "nowhere"), ("b", "a"), ("c", "b"), ("d", "site"))
    assert refused(*asked) == dict.fromkeys("abc", "unknown_channel")


def test_new_channels_in_a_cycle_take_those_below_them_along() -> None:
    asked = (("a", "b"), ("b", "a"), ("c", "a"))
    assert refused(*asked) == {
        "a": "channel_cycle",
        "b": "channel_cycle",
        "c": "unknown_channel",
    }


def test_settings_are_the_channels_own_or_inherited_key_by_key() -> None:
    site = RETAILER.by_ref["site"]
    assert RETAILER.settings(site) == {
        "own": "site",
        "retailer": True,
        "brand": True,
        "site": True,
    }
    assert RETAILER.settings(RETAILER.by_ref["retailer"]) == {"own": "retailer", "retailer": True}
    assert RETAILER.ids == [1, 2, 3]


def test_a_tree_that_is_none_is_broken_and_not_walked_for_ever() -> None:
    with pytest.raises(Broken):
        tree(a="b", b="a").path(1)
