"""Which category a point shows."""

from datetime import UTC, datetime
from pathlib import Path

import worlds

from recsys.catalogue.database import connect, migrate, reading, writing
from recsys.catalogue.items import Item, read_items, upsert_items
from recsys.config import Settings
from recsys.mapping.colouring import COLOURS, coloured


def shown(home: Path, categories: list[tuple[str, ...]]) -> tuple[list[str], list[str]]:
    """The legend, and what each item shows; "" for the others."""
    engine = connect(Settings(home=home))
    migrate(engine)
    made = [Item(id=f"i{n:04}", categories=some) for n, some in enumerate(categories)]
    with writing(engine) as connection:
        upsert_items(connection, made, datetime.now(UTC))
    with reading(engine) as connection:
        found = coloured(read_items(connection))
    engine.dispose()
    return list(found.names), [[*found.names, ""][code] for code in found.codes]


def test_an_item_shows_the_rarest_of_its_categories(tmp_path: Path) -> None:
    some = [("Drama",)] * 5 + [("Comedy", "Drama")] * 3 + [("Comedy",)] * 3 + [()] * 3
    names, each = shown(tmp_path, some)
    assert names == ["Comedy", "Drama"]
    assert each == ["Drama"] * 5 + ["Comedy"] * 6 + [""] * 3


def test_a_category_of_nearly_all_items_has_no_colour(tmp_path: Path) -> None:
    names, each = shown(tmp_path, [("Shop", "Shoes")] * 4 + [("Shop", "Hats")] * 3 + [("Shop",)])
    assert names == ["Shoes", "Hats"]
    assert each == ["Shoes"] * 4 + ["Hats"] * 3 + [""]


def test_it_has_one_where_there_is_no_other(tmp_path: Path) -> None:
    assert shown(tmp_path, [("Shop",)] * 3) == (["Shop"], ["Shop"] * 3)


def test_the_twelve_most_frequent_have_colours(tmp_path: Path) -> None:
    some = [(f"c{n:02}",) for n in range(20) for _ in range(21 - n)]
    names, each = shown(tmp_path, some)
    assert names == [f"c{n:02}" for n in range(COLOURS)]
    assert each.count("") == sum(21 - n for n in range(COLOURS, 20))


def test_without_categories_all_are_others(tmp_path: Path) -> None:
    assert shown(tmp_path, [(), ()]) == ([], ["", ""])


def test_without_items_there_is_nothing(tmp_path: Path) -> None:
    assert shown(tmp_path, []) == ([], [])


def test_films_show_their_genres(tmp_path: Path) -> None:
    engine = connect(Settings(home=tmp_path))
    migrate(engine)
    worlds.fill(engine)
    with reading(engine) as connection:
        found = coloured(read_items(connection))
    engine.dispose()
    assert set(found.names) == set(worlds.GENRES)  # half of them are dramas as well
