"""Records: rows as structs, nested fields from columns, orders from their lines."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from penstock.bulk.errors_file import ErrorsFile
from penstock.bulk.files import examine
from penstock.bulk.flat_orders import order_chunks, read_columns
from penstock.bulk.master_data import LOCATIONS, PRODUCTS
from penstock.bulk.model import Fault
from penstock.bulk.records import Chunk, Shape, record_chunks, sliced
from penstock.catalogue.model import ProductInput
from penstock.errors import Refusal
from penstock.network.hours import CalendarInput, OwnDate
from penstock.network.model import LocationInput
from penstock.orders.intake import OrderInput


def written(tmp_path: Path, name: str, content: str) -> Path:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return path


def chunks(path: Path, shape: Shape[Any], done: int = 0, size: int = 100) -> list[Chunk[Any]]:
    return list(record_chunks(examine(path), shape, done, size))


def orders(path: Path, done: int = 0, size: int = 100) -> list[Chunk[OrderInput]]:
    source = examine(path)
    return list(sliced(order_chunks(source, read_columns(source), "web"), done, size))


def test_a_nested_field_is_json_text_or_a_column_for_each_part(tmp_path: Path) -> None:
    header = "ref,kind,latitude,longitude,address.town,opening_hours,daily_capacity.deliver"
    row = 'L1,store,51.4,-2.4,Bath,"{""mon"":[[""09:00"",""17:30""]]}",120'
    (chunk,) = chunks(written(tmp_path, "l.csv", f"{header}\n{row}\n"), LOCATIONS)
    (location,) = chunk.values
    assert isinstance(location, LocationInput)
    assert (location.address, location.daily_capacity) == ({"town": "Bath"}, {"deliver": 120})
    assert location.opening_hours == {"mon": [("09:00", "17:30")]}


def test_a_calendar_s_holidays_are_a_column_and_its_dates_json(tmp_path: Path) -> None:
    header = "ref,kind,latitude,longitude,calendar.holidays,calendar.dates"
    row = 'L1,store,51.4,-2.4,GB-ENG,"[{""on"":""2026-12-24"",""reason"":""inventory""}]"'
    (chunk,) = chunks(written(tmp_path, "l.csv", f"{header}\n{row}\n"), LOCATIONS)
    (location,) = chunk.values
    assert isinstance(location, LocationInput)
    eve = OwnDate(date(2026, 12, 24), reason="inventory")
    assert location.calendar == CalendarInput(holidays="GB-ENG", dates=[eve])


def test_values_are_converted_and_what_is_wrong_names_the_field(tmp_path: Path) -> None:
    text = "sku,is_stocked,weight_g,attributes\nA,false,250,\nB,perhaps,1,\nC,true,x,\nD,,,{\n,,,\n"
    (chunk,) = chunks(written(tmp_path, "p.csv", text), PRODUCTS)
    (product,) = chunk.values
    assert product == ProductInput("A", is_stocked=False, weight_g=250)
    assert [(f.row, f.field, f.code) for f in chunk.faults] == [
        (2, "is_stocked", "invalid_record"),
        (3, "weight_g", "invalid_record"),
        (4, "attributes", "invalid_record"),
    ]
    assert chunk.rows_done == 5


def test_lines_of_json_are_taken_each_by_itself(tmp_path: Path) -> None:
    lines = '{"ref":"A"}\n{"ref":1}\n\n{"ref":\n{"ref":"B","naem":"x"}\n{"name":"x"}\n'
    lines += '{"ref":"C","name":"\\u0000"}\n{"ref":"D","attributes":{"a":[1]}}\n'
    (chunk,) = chunks(written(tmp_path, "p.jsonl", lines), PRODUCTS)
    assert chunk.rows == [1, 8]
    assert [(f.row, f.field, f.code) for f in chunk.faults] == [
        (2, "ref", "invalid_record"),
        (4, "", "row_unreadable"),
        (5, "naem", "invalid_record"),
        (6, "ref", "invalid_record"),
        (7, "", "invalid_record"),
    ]


def test_a_column_that_lacks_or_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        chunks(written(tmp_path, "a.csv", "name\nx\n"), PRODUCTS)
    assert (refused.value.code, refused.value.data["column"]) == ("missing_column", "sku")
    with pytest.raises(Refusal) as refused:
        chunks(written(tmp_path, "b.csv", "sku,colour\nx,y\n"), PRODUCTS)
    assert (refused.value.code, refused.value.data["column"]) == ("unknown_column", "colour")
    with pytest.raises(Refusal) as refused:
        orders(written(tmp_path, "c.csv", "order_ref,sku\nx,y\n"))
    assert (refused.value.code, refused.value.data["column"]) == ("missing_column", "qty")


def test_chunks_go_on_after_the_rows_that_are_done(tmp_path: Path) -> None:
    rows = "".join(f"P{n},{'x' if n == 4 else 1}\n" for n in range(1, 10))
    path = written(tmp_path, "p.csv", f"sku,weight_g\n{rows}")
    found = chunks(path, PRODUCTS, size=3)
    assert [(chunk.rows, chunk.rows_done) for chunk in found] == [
        ([1, 2, 3], 4),
        ([5, 6, 7], 7),
        ([8, 9], 9),
    ]
    assert [fault.row for fault in found[0].faults] == [4]
    (rest,) = chunks(path, PRODUCTS, done=7)
    assert (rest.rows, rest.faults, rest.rows_done) == ([8, 9], [], 9)
    assert chunks(path, PRODUCTS, done=9) == []


def test_rows_of_an_order_stand_together(tmp_path: Path) -> None:
    text = "channel,order_ref,placed_at,sku,qty,unit_price,"
    text += "destination.latitude,destination.longitude\n"
    text += "web,O1,2026-01-01T10:00:00Z,A,1,2.50,51,-2\nweb,O1,,B,2,1,,\n,O2,,A,1,,51,-2\n"
    found = orders(written(tmp_path, "o.csv", text))
    first, second = (order for chunk in found for order in chunk.values)
    assert [(line.sku, line.qty, str(line.unit_price)) for line in first.lines] == [
        ("A", 1, "2.50"),
        ("B", 2, "1"),
    ]
    assert (first.ref, second.ref, second.channel) == ("O1", "O2", "web")
    assert [(chunk.rows, chunk.rows_done) for chunk in found] == [([1], 2), ([3], 3)]


def test_an_order_with_a_row_that_cannot_be_read_is_not_taken_in_part(tmp_path: Path) -> None:
    text = "order_ref,sku,qty\nO1,A,1\nO2,A,1\nO2,B,1,9\nO3,A,1\nO4,A,x\nO5,A,1\n"
    found = orders(written(tmp_path, "o.csv", text))
    assert [order.ref for chunk in found for order in chunk.values] == ["O1", "O3", "O5"]
    faults = [fault for chunk in found for fault in chunk.faults]
    assert sorted((fault.row, fault.code) for fault in faults) == [
        (2, "order_line_unreadable"),
        (3, "row_unreadable"),
        (5, "invalid_record"),
    ]


def test_orders_are_whole_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.bulk.blocks.PARQUET_ROWS", 7)
    lines = pl.DataFrame({"order_ref": [f"O{n // 3}" for n in range(60)], "sku": "A", "qty": 1})
    lines.write_parquet(tmp_path / "o.parquet")
    found = orders(tmp_path / "o.parquet", size=4)
    assert [len(order.lines) for chunk in found for order in chunk.values] == [3] * 20
    assert found[-1].rows_done == 60
    rest = orders(tmp_path / "o.parquet", done=30)
    assert [order.ref for chunk in rest for order in chunk.values] == [
        f"O{n}" for n in range(10, 20)
    ]


def test_the_errors_file_agrees_with_what_was_done(tmp_path: Path) -> None:
    imported = tmp_path / "stock.csv"
    file = ErrorsFile(imported, 0)
    assert not file.path.exists()
    mark = file.write(0, [Fault(1, "sku", 'no "x", there', "unknown_sku")])
    file.write(mark, [Fault(9, "sku", "rolled back", "unknown_sku")])
    file.write(mark, [Fault(5, "on_hand", "line\nbreak", "not_an_integer")])
    told = pl.read_csv(file.path)
    assert told.columns == ["row", "field", "reason", "code"]
    assert told["row"].to_list() == [1, 5]
    assert told["reason"].to_list() == ['no "x", there', "line\nbreak"]
    assert pl.read_csv(ErrorsFile(imported, 4).path)["row"].to_list() == [1]
    ErrorsFile(imported, 0)
    assert not file.path.exists()
