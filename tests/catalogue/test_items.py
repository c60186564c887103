from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine, event, select

from recsys.catalogue.database import connect, migrate, reading, writing
from recsys.catalogue.items import (
    Counts,
    Item,
    any_changed_since,
    changed_since,
    delete_item,
    find_items,
    get_item,
    get_items,
    gone_since,
    item_times,
    lately_changed,
    patch_item,
    read_items,
    read_some,
    upsert_items,
    withdrawn_since,
)
from recsys.catalogue.tables import ItemRow
from recsys.catalogue.times import to_us
from recsys.config import Settings
from recsys.errors import InputError, UnknownItem

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)

FULL = Item(
    id="lamp 1",
    title="Lamp",
    description="It glows.",
    categories=("Home", "Light"),
    brand="Lux",
    price=12.5,
    currency="EUR",
    images=("lamp.jpg",),
    attributes={"colour": "red", "sizes": [1, 2.5], "smart": True, "nested": {"a": None}},
    available=False,
    published_at=datetime(2020, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    expires_at=datetime(9999, 12, 31, tzinfo=UTC),
)
ANY_IDS = [
    "a/b",
    " ",
    "a b ",
    "ü😀日本",
    "it's",
    'say "x"',
    "two\nlines",
    "\\",
    "%",
    "x" * 512,
    "1",
    "01",
]


def put(engine: Engine, *items: Item, now: datetime = NOW) -> Counts:
    with writing(engine) as connection:
        return upsert_items(connection, items, now)


def updated_at(engine: Engine, item_id: str) -> datetime:
    with reading(engine) as connection:
        return connection.scalars(select(ItemRow.updated_at).where(ItemRow.id == item_id)).one()


def test_an_item_comes_back_as_it_was_written(engine: Engine):
    put(engine, FULL)
    with reading(engine) as connection:
        assert get_item(connection, "lamp 1") == FULL


def test_an_id_may_hold_any_character(engine: Engine):
    put(engine, *(Item(id=item_id, title=repr(item_id)) for item_id in ANY_IDS))
    with reading(engine) as connection:
        assert set(get_items(connection, ANY_IDS)) == set(ANY_IDS)
        assert list(read_items(connection).ids) == sorted(ANY_IDS)


def test_only_a_real_change_moves_updated_at(engine: Engine):
    assert put(engine, FULL, Item(id="b")) == Counts(added=2)
    assert put(engine, FULL, Item(id="b", price=0), now=LATER) == Counts(updated=1, unchanged=1)
    assert updated_at(engine, "lamp 1") == NOW
    assert updated_at(engine, "b") == LATER


def test_of_an_item_given_twice_the_last_one_stays(engine: Engine):
    counts = put(
        engine, Item(id="a", title="one"), Item(id="a", title="two"), Item(id="a", title="two")
    )
    assert counts == Counts(added=1, updated=1, unchanged=1)
    with reading(engine) as connection:
        assert get_item(connection, "a") == Item(id="a", title="two")


def test_more_items_than_one_statement_can_name(engine: Engine):
    many = [Item(id=str(n)) for n in range(2_500)]
    assert put(engine, *many) == Counts(added=2_500)
    assert put(engine, *many) == Counts(unchanged=2_500)


def test_a_deleted_item_is_gone_until_it_is_put_again(engine: Engine):
    put(engine, FULL)
    with writing(engine) as connection:
        assert delete_item(connection, "lamp 1", LATER)
        assert not delete_item(connection, "lamp 1", LATER)
        assert not delete_item(connection, "never there", LATER)
    with reading(engine) as connection:
        assert get_item(connection, "lamp 1") is None
        assert len(read_items(connection)) == 0
    assert put(engine, FULL, now=LATER) == Counts(added=1)
    with reading(engine) as connection:
        assert get_item(connection, "lamp 1") == FULL


def test_what_was_withdrawn_and_what_is_back_is_told_since_a_moment(engine: Engine):
    put(engine, *(Item(id=name) for name in ("old", "deleted", "hidden", "back", "changed")))
    put(engine, Item(id="back", available=False))
    with writing(engine) as connection:
        delete_item(connection, "deleted", LATER)
    put(
        engine,
        Item(id="hidden", available=False),
        Item(id="back"),
        Item(id="changed", price=1),
        now=LATER,
    )
    with reading(engine) as connection:
        expected = (["deleted", "hidden"], ["back", "changed"])
        assert withdrawn_since(connection, LATER, LATER) == expected
        assert withdrawn_since(connection, LATER + timedelta(microseconds=1), LATER) == ([], [])


@pytest.mark.parametrize("look", [withdrawn_since, gone_since])
def test_what_a_server_asks_every_second_reads_only_what_changed(look, tmp_path: Path):
    """However large the catalogue is."""
    engine = connect(Settings(home=tmp_path))
    migrate(engine)
    asked: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *told: asked.append(told[2:4]))
    with reading(engine) as connection:
        look(connection, NOW, LATER)
    statement, given = asked[-1]
    with engine.connect() as connection:
        (plan,) = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
    assert "INDEX ix_items_updated_at" in plan[-1]
    engine.dispose()


def test_an_item_is_on_offer_from_its_publication_until_its_expiry(engine: Engine):
    put(engine, Item(id="a", published_at=NOW, expires_at=LATER))
    instant = timedelta(microseconds=1)
    with reading(engine) as connection:
        for moment, offered in (
            (NOW - instant, False),
            (NOW, True),
            (LATER - instant, True),
            (LATER, False),
        ):
            assert withdrawn_since(connection, NOW, moment) == (
                ([], ["a"]) if offered else (["a"], [])
            )


def test_a_patch_changes_what_it_names_and_none_takes_away(engine: Engine):
    put(engine, FULL)
    changes = {"price": 9, "brand": None, "categories": None, "available": True}
    attributes = {"attributes": {"colour": "blue", "smart": None}}
    with writing(engine) as connection:
        patched = patch_item(connection, "lamp 1", changes | attributes, LATER)
    expected = FULL.model_copy(
        update={
            "price": 9.0,
            "brand": None,
            "categories": (),
            "available": True,
            "attributes": {"colour": "blue", "sizes": [1, 2.5], "nested": {"a": None}},
        }
    )
    assert patched == expected
    with reading(engine) as connection:
        assert get_item(connection, "lamp 1") == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"price": -1}, r"price: .*greater than or equal to 0 \(found -1\)"),
        ({"prize": 1}, "prize: Extra inputs are not permitted"),
        ({"id": "other"}, "cannot change"),
        ({"available": None}, r"available: .*valid boolean \(found None\)"),
    ],
)
def test_a_patch_that_makes_no_valid_item_is_refused(engine: Engine, changes, message):
    put(engine, FULL)
    with pytest.raises(InputError, match=message), writing(engine) as connection:
        patch_item(connection, "lamp 1", changes, LATER)
    with reading(engine) as connection:
        assert get_item(connection, "lamp 1") == FULL


def test_an_unknown_or_deleted_item_cannot_be_patched(engine: Engine):
    put(engine, FULL)
    with writing(engine) as connection:
        delete_item(connection, "lamp 1", LATER)
        for item_id in ("lamp 1", "never there"):
            with pytest.raises(UnknownItem, match=item_id):
                patch_item(connection, item_id, {"price": 1}, LATER)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "x" * 513},
        {"id": "nul\x00"},
        {"title": "nul\x00"},
        {"title": "\ud800"},
        {"price": -0.01},
        {"price": float("inf")},
        {"price": float("nan")},
        {"currency": "EURO"},
        {"published_at": datetime(2020, 1, 1)},
        {"published_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))},
        {"attributes": {"a": float("nan")}},
        {"attributes": {"a": [10**30]}},
        {"attributes": {"nul\x00": 1}},
        {"attributes": {"a": {"b": "nul\x00"}}},
        {"attributes": {"a": "\ud800"}},
        {"attributes": {"a": object()}},
        {"colour": "red"},
    ],
)
def test_what_a_database_could_not_keep_is_no_item(wrong):
    with pytest.raises(ValidationError):
        Item.model_validate({"id": "a"} | wrong)


def test_times_are_kept_in_utc_to_the_microsecond(engine: Engine):
    east = timezone(timedelta(hours=9))
    put(engine, Item(id="a", published_at=datetime(1969, 7, 20, 1, 2, 3, 4, tzinfo=east)))
    with reading(engine) as connection:
        found = get_item(connection, "a")
    assert found and str(found.published_at) == "1969-07-19 16:02:03.000004+00:00"


def test_naive_times_are_refused_by_the_table_itself(engine: Engine):
    with pytest.raises(Exception, match="has no time zone"), writing(engine) as connection:
        upsert_items(connection, [Item(id="a")], datetime(2024, 1, 1))


def test_what_changed_is_told_since_a_moment_the_latest_first_and_can_be_read(engine: Engine):
    put(engine, *(Item(id=name) for name in ("old", "deleted", "a", "b")))
    put(engine, Item(id="b", price=1), Item(id="a", available=False), now=LATER)
    put(engine, Item(id="new", title="New"), now=LATER + timedelta(seconds=1))
    with writing(engine) as connection:
        delete_item(connection, "deleted", LATER)
    with reading(engine) as connection:
        found = changed_since(connection, LATER)
        assert found == {"new": to_us(LATER) + 1_000_000, "a": to_us(LATER), "b": to_us(LATER)}
        assert list(found) == ["new", "a", "b"]
        newest = LATER + timedelta(seconds=1)
        assert any_changed_since(connection, newest)
        assert not any_changed_since(connection, newest + timedelta(microseconds=1))
        some = read_some(connection, [*found, "deleted", "never"])  # type: ignore[list-item]
        every = read_items(connection)
        wanted = every.ids.ordinals(list(some.ids))
        assert set(some.ids) == set(found)
        assert some.data.equals(every.data.take(wanted))
        assert len(read_some(connection, [])) == 0


def titled(engine: Engine, words: str, limit: int = 9) -> list[str]:
    with reading(engine) as connection:
        return [item.id for item in find_items(connection, words, limit)]


def test_items_are_found_by_their_id_or_by_words_of_their_title(engine: Engine):
    put(
        engine,
        Item(id="1", title="A Red Lamp"),
        Item(id="2", title="red and lampless"),
        Item(id="3", title="100% wool_blue"),
        Item(id="red", title="Blue"),
        Item(id="4"),
        Item(id="5", title="Lamp, red, gone"),
    )
    with writing(engine) as connection:
        delete_item(connection, "5", LATER)
    assert titled(engine, "lamp RED") == ["1", "2"]
    assert titled(engine, "red") == ["red", "1", "2"]
    assert titled(engine, "red", limit=2) == ["red", "1"]
    assert titled(engine, "0%") == titled(engine, "L_b") == ["3"]
    assert titled(engine, "_") == ["3"]
    assert titled(engine, "5") == titled(engine, "") == titled(engine, " ") == []


def test_what_changed_last_comes_first_and_is_told_when(engine: Engine):
    put(engine, Item(id="a"), Item(id="b"), Item(id="c"))
    put(engine, Item(id="b", title="new"), now=LATER)
    with writing(engine) as connection:
        delete_item(connection, "c", LATER)
    with reading(engine) as connection:
        assert [item.id for item in lately_changed(connection, 9)] == ["b", "a"]
        assert [item.id for item in lately_changed(connection, 1)] == ["b"]
        assert item_times(connection, "b") == (NOW, LATER)
        assert item_times(connection, "c") is None
