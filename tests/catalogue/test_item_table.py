from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import Engine

from recsys.catalogue.database import reading, writing
from recsys.catalogue.item_table import SCHEMA
from recsys.catalogue.items import Item, ItemTable, read_items, upsert_items

NOW = datetime(2024, 5, 1, tzinfo=UTC)
NOW_US = 1_714_521_600_000_000
ITEMS = [
    Item(id="c", categories=("Red wine", "Drinks"), price=3, available=False, brand="Zeta"),
    Item(id="a", title="Ale", categories=("Drinks",), brand="Alpha", attributes={"abv": 5.0}),
    Item(id="b", brand="Zeta", attributes={"abv": "5", "tags": ["x", True, 7], "abvx": 5}),
    Item(
        id="d",
        published_at=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        expires_at=datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC),
        attributes={'odd "key"': "v", "none": None},
    ),
]


@pytest.fixture
def table(engine: Engine) -> ItemTable:
    with writing(engine) as connection:
        upsert_items(connection, ITEMS, NOW)
    with reading(engine) as connection:
        return read_items(connection)


def test_columns_are_in_the_order_of_the_ids(table: ItemTable):
    assert list(table.ids) == ["a", "b", "c", "d"]
    assert table.titles(np.arange(4)) == ["Ale", "b", "c", "d"]
    assert table.available.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(table.price, [np.nan, np.nan, 3, np.nan])
    assert [table.brands.external(np.array([code]))[0] for code in table.brand_codes[:3]] == [
        *("Alpha", "Zeta", "Zeta")
    ]
    assert table.brand_codes[3] == -1


def test_missing_dates_never_hide_an_item(table: ItemTable):
    assert table.published_at.tolist() == [NOW_US] * 3 + [1_000_000]
    assert table.expires_at.tolist() == [2**63 - 1] * 3 + [2_000_000]
    assert table.created_at.tolist() == [NOW_US] * 4


def test_categories_are_matched_exactly(table: ItemTable):
    assert table.with_category("Drinks").tolist() == [0, 2]
    assert table.with_category("Red wine").tolist() == [2]
    assert table.with_category("drinks").tolist() == table.with_category("Red").tolist() == []


@pytest.mark.parametrize(
    ("key", "value", "rows"),
    [
        ("abv", "5", [0, 1]),
        ("tags", "x", [1]),
        ("tags", "true", [1]),
        ("tags", "7", [1]),
        ('odd "key"', "v", [3]),
        ("none", "null", []),
        ("unknown", "5", []),
    ],
)
def test_attributes_are_compared_as_text_and_lists_by_their_parts(table, key, value, rows):
    assert table.with_attribute(key, value).tolist() == rows


def test_a_written_table_is_read_back_the_same(table: ItemTable, tmp_path: Path):
    table.write(tmp_path / "items.arrow")
    again = ItemTable.read(tmp_path / "items.arrow")
    assert again.data == table.data
    assert again.with_category("Drinks").tolist() == [0, 2]
    assert again.brand_codes.tolist() == table.brand_codes.tolist()


def test_an_empty_catalogue_is_a_table_too(engine: Engine, tmp_path: Path):
    with reading(engine) as connection:
        table = read_items(connection)
    table.write(tmp_path / "items.arrow")
    for empty in (table, ItemTable.read(tmp_path / "items.arrow")):
        assert len(empty) == len(empty.ids) == len(empty.price) == len(empty.brand_codes) == 0
        assert len(empty.with_category("x")) == len(empty.with_attribute("x", "y")) == 0


def test_a_table_with_other_columns_is_refused():
    with pytest.raises(ValueError, match="needs the columns"):
        ItemTable(pa.table({"id": ["a"]}))


def test_rows_replace_those_of_their_ids_and_new_ones_come_behind(table: ItemTable) -> None:
    rows = [
        {"id": "new", "categories": [], "images": [], "attributes": "{}", "created_at": 1},
        {"id": "b", "title": "Beer", "categories": ["Drinks"], "images": [], "attributes": "{}"},
    ]
    known = {"available": True, "created_at": NOW_US}
    made = table.with_rows(ItemTable(pa.Table.from_pylist([known | row for row in rows], SCHEMA)))
    assert list(made.ids) == ["a", "b", "c", "d", "new"]
    assert made.titles(np.arange(5)) == ["Ale", "Beer", "c", "d", "new"]
    others = [0, 2, 3]
    assert made.data.take(others).equals(table.data.take(others))
    assert made.with_category("Drinks").tolist() == [0, 1, 2]
