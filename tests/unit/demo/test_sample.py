"""The packaged sample: its size, what is in it, that it hangs together and can be remade."""

import json
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import penstock.demo
from penstock.demo.clean import PRODUCT_SKU
from penstock.demo.draw import draw
from penstock.demo.made_demand import make_customers, make_orders
from penstock.demo.made_network import read_towns
from penstock.demo.make_sample import FIRST_DAY, LAST_DAY, label_of, main, write_sample
from penstock.demo.sample import PACKAGED, Sample, load_sample, sample_of
from penstock.errors import Refusal

MAX_BYTES = 1_500_000
FRAMES = Sample.__struct_fields__


@pytest.fixture(scope="module")
def sample() -> Sample:
    return load_sample()


def lines_of(sample: Sample) -> pl.DataFrame:
    """Return the cleaned lines a sample was made from: what is real in it."""
    customer = pl.col("customer_ref")
    placed = sample.orders.select(
        "order_ref",
        "placed_at",
        pl.when(~customer.str.starts_with("guest-")).then(customer).alias("customer_ref"),
    )
    return sample.order_lines.join(placed, on="order_ref", maintain_order="left").join(
        sample.products.select("sku", "name"), on="sku", maintain_order="left"
    )


def test_all_shipped_files_together_stay_within_the_bound() -> None:
    folder = Path(penstock.demo.__path__[0])
    shipped = [*PACKAGED.iterdir(), folder / "towns.csv"]
    assert sum(path.stat().st_size for path in shipped) <= MAX_BYTES


def test_it_holds_at_least_five_thousand_orders_each_with_lines(sample: Sample) -> None:
    assert sample.orders.height >= 5_000
    assert set(sample.orders["order_ref"]) == set(sample.order_lines["order_ref"])


def test_it_holds_no_service_codes_and_no_line_without_quantity_or_price(sample: Sample) -> None:
    assert sample.products["sku"].str.contains(PRODUCT_SKU).all()
    assert (sample.products["name"].str.len_chars() > 0).all()
    assert (
        int(sample.order_lines.select(pl.min_horizontal("qty", "unit_price_minor").min()).item())
        > 0
    )


@pytest.mark.parametrize(
    ("frame", "column", "target", "key"),
    [
        ("order_lines", "order_ref", "orders", "order_ref"),
        ("order_lines", "sku", "products", "sku"),
        ("orders", "customer_ref", "customers", "ref"),
        ("orders", "channel_ref", "channels", "ref"),
        ("stock", "sku", "products", "sku"),
        ("stock", "location_ref", "locations", "ref"),
        ("network_locations", "network_ref", "networks", "ref"),
        ("network_locations", "location_ref", "locations", "ref"),
        ("channels", "parent_ref", "channels", "ref"),
        ("buffers", "channel_ref", "channels", "ref"),
        ("buffers", "sku", "products", "sku"),
        ("buffers", "location_ref", "locations", "ref"),
    ],
)
def test_every_ref_names_a_row(
    sample: Sample, frame: str, column: str, target: str, key: str
) -> None:
    named = set(getattr(sample, frame)[column].drop_nulls())
    assert named <= set(getattr(sample, target)[key])


@pytest.mark.parametrize(
    ("frame", "keys"),
    [
        ("products", ["sku"]),
        ("locations", ["ref"]),
        ("customers", ["ref"]),
        ("orders", ["order_ref"]),
        ("order_lines", ["order_ref", "line_no"]),
        ("order_lines", ["order_ref", "sku", "unit_price_minor"]),
        ("stock", ["sku", "location_ref"]),
        ("rate_card", ["distance_km_upto", "weight_g_upto"]),
    ],
)
def test_keys_are_unique(sample: Sample, frame: str, keys: list[str]) -> None:
    assert not getattr(sample, frame).select(keys).is_duplicated().any()


def test_all_and_only_products_that_were_ordered_are_in_it(sample: Sample) -> None:
    assert set(sample.products["sku"]) == set(sample.order_lines["sku"])


def test_orders_come_by_time_within_the_ten_weeks_it_names(sample: Sample) -> None:
    placed = sample.orders["placed_at"]
    assert placed.dtype == pl.Datetime("us", "UTC")
    assert placed.is_sorted()
    days = placed.dt.convert_time_zone("Europe/London").dt.date()
    assert (days.min(), days.max()) == (FIRST_DAY, LAST_DAY)


def test_four_warehouses_and_sixty_stores_stand_in_real_towns(sample: Sample) -> None:
    kinds = dict(sample.locations["kind"].value_counts().iter_rows())
    assert kinds == {"warehouse": 4, "store": 60}
    at = ("town", "latitude", "longitude")
    towns = read_towns().rename({"name": "town"}).select(at)
    assert sample.locations.join(towns, on=list(at), how="anti").is_empty()


def test_opening_hours_name_seven_days_and_some_stores_close_on_sundays(sample: Sample) -> None:
    hours = [json.loads(text) for text in sample.locations["opening_hours"]]
    assert {tuple(day) for day in hours} == {("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
    assert all(opens < closes for week in hours for day in week.values() for opens, closes in day)
    closed = sum(not week["sun"] for week in hours)
    assert 0 < closed < len(hours)
    assert {ZoneInfo(zone).key for zone in sample.locations["time_zone"]} == {"Europe/London"}


def test_wholesale_is_served_by_warehouses_alone(sample: Sample) -> None:
    networks = dict(sample.channels.select("ref", "networks").iter_rows())
    assert networks["wholesale"] == ["warehouses"]
    assert networks["retailer"] == ["warehouses", "stores"]
    members = sample.network_locations.filter(pl.col("network_ref") == "warehouses")
    assert set(members["location_ref"].str.slice(0, 3)) == {"WH-"}


def test_the_rate_card_reshapes_and_never_falls_with_distance_or_weight(sample: Sample) -> None:
    card = sample.rate_card
    distances = card["distance_km_upto"].n_unique()
    amounts = card["amount_minor"].to_numpy().reshape(distances, -1)
    assert (amounts[1:] >= amounts[:-1]).all()
    assert (amounts[:, 1:] >= amounts[:, :-1]).all()
    assert card.select("distance_km_upto", "weight_g_upto").equals(
        card.select("distance_km_upto", "weight_g_upto").sort("distance_km_upto", "weight_g_upto")
    )


def test_supply_stands_beside_demand_unevenly(sample: Sample) -> None:
    wanted = sample.order_lines.group_by("sku").agg(wanted=pl.col("qty").sum())
    supplied = sample.stock.group_by("sku").agg(supplied=pl.col("on_hand").sum())
    both = wanted.join(supplied, on="sku", how="left").with_columns(pl.col("supplied").fill_null(0))
    could_be_met = float(both.select(pl.min_horizontal("wanted", "supplied").sum()).item())
    assert 0.9 < could_be_met / int(both["wanted"].sum()) < 1.0
    is_short = both["supplied"] < 0.8 * both["wanted"]
    assert 30 < int(is_short.sum()) < 0.2 * both.height
    in_warehouses = sample.stock.filter(pl.col("location_ref").str.starts_with("WH-"))
    share = int(in_warehouses["on_hand"].sum()) / int(sample.stock["on_hand"].sum())
    assert 0.8 < share < 0.95
    assert set(sample.stock["sku"]) - set(in_warehouses["sku"]), "some SKUs are in stores only"


def test_the_makers_make_the_packaged_sample_again(sample: Sample) -> None:
    remade = sample_of(lines_of(sample))
    for name in FRAMES:
        assert_frame_equal(getattr(remade, name), getattr(sample, name))


def test_a_customer_is_the_same_in_a_smaller_company(sample: Sample) -> None:
    lines = lines_of(sample).filter(pl.col("order_ref") < "525000")
    homes = ("ref", "town", "address", "latitude", "longitude")
    fewer = make_customers(make_orders(lines), lines, read_towns()).select(homes)
    assert 0 < fewer.height < sample.customers.height
    assert fewer.join(sample.customers, on=list(homes), how="anti").is_empty()


def test_a_draw_belongs_to_its_purpose_and_key() -> None:
    assert draw("town", "13085") == draw("town", "13085")
    assert len({draw("town", "13085"), draw("tier", "13085"), draw("town", "13086")}) == 3
    assert 0.0 <= draw("town", "13085") < 1.0


def test_every_file_says_whether_it_is_made() -> None:
    for name in FRAMES:
        metadata = pl.read_parquet_metadata(PACKAGED / f"{name}.parquet")
        assert label_of(name).items() <= metadata.items()
    assert label_of("stock")["made"] == "true"
    assert label_of("order_lines")["made"] == "false"
    assert label_of("orders")["made_columns"] == "channel_ref"


def test_what_is_written_is_what_is_read(sample: Sample, tmp_path: Path) -> None:
    written = write_sample(sample, tmp_path / "copy")
    assert written == sum(path.stat().st_size for path in (tmp_path / "copy").iterdir())
    again = load_sample(tmp_path / "copy")
    for name in FRAMES:
        assert_frame_equal(getattr(again, name), getattr(sample, name))


def test_a_folder_without_a_sample_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        load_sample(tmp_path)
    assert refused.value.code == "sample_unreadable"


def test_the_script_says_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_the_script_says_what_file_it_cannot_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nothing.parquet"), str(tmp_path)]) == 1
    assert "nothing.parquet" in capsys.readouterr().err
