"""What is worked out when a snapshot is written is what its parts say, and no other snapshot's."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from recsys.facts import NEVER, PLACES, Facts, Groups
from recsys.snapshot import Artefacts


def alike(one: Facts, other: Facts) -> bool:
    mine, theirs = (
        {f.name: getattr(facts, f.name) for f in fields(Facts)} for facts in (one, other)
    )
    groups = zip(mine.pop("groups"), theirs.pop("groups"), strict=True)
    return all(np.array_equal(mine[name], theirs[name]) for name in mine) and all(
        np.array_equal(*pair) for pair in groups
    )


def test_what_is_read_is_what_was_written(artefacts: Artefacts, tmp_path: Path) -> None:
    artefacts.write(tmp_path)
    read = Artefacts.read(tmp_path).facts
    assert alike(read, artefacts.facts)
    assert read.records.dtype == artefacts.facts.records.dtype
    assert not any(
        array.flags.writeable for array in (read.records, read.newest, read.groups.codes)
    )


def test_another_catalogue_has_facts_of_its_own(artefacts: Artefacts, tmp_path: Path) -> None:
    artefacts.write(tmp_path)
    read = Artefacts.read(tmp_path)
    rows = artefacts.items.data.to_pylist()
    column = [False, *(row["available"] for row in rows[1:])]
    data = artefacts.items.data
    place = data.schema.get_field_index("available")
    changed = type(artefacts.items)(data.set_column(place, data.schema.field(place), [column]))
    assert read.facts.records["shown_from"][0] != NEVER
    assert replace(read, items=changed).facts.records["shown_from"][0] == NEVER


def test_orders_and_records_are_those_of_the_parts(artefacts: Artefacts) -> None:
    facts, items, models = artefacts.facts, artefacts.items, artefacts.preference
    there = np.flatnonzero(items.available)
    assert set(facts.newest.tolist()) == set(there.tolist())
    dates = items.published_at[facts.newest]
    assert (np.diff(dates) <= 0).all()
    assert (facts.moments == -dates).all()
    popular = np.nan_to_num(models.popularity.popular) * items.available
    assert (np.diff(popular[facts.popular]) <= 0).all()
    assert set(facts.popular.tolist()) == set(np.flatnonzero(popular > 0).tolist())
    knows = facts.records["judged_by"] >> PLACES["cooccurrence"] & 1
    reached = np.zeros(len(items), dtype=bool)
    reached[models.cooccurrence.indices] = True
    assert (knows.astype(bool) == reached).all()


def test_groups_are_the_brand_and_the_categories_of_each_item(artefacts: Artefacts) -> None:
    groups = Groups.of(artefacts.items)
    rows = artefacts.items.data.select(["brand", "categories"]).to_pylist()
    seen: dict[int, tuple[str, str]] = {}
    for n, row in enumerate(rows):
        codes = groups.codes[groups.ends[n] : groups.ends[n + 1]].tolist()
        names = [("brand", row["brand"])] * (row["brand"] is not None)
        names += [("category", name) for name in set(row["categories"])]
        assert len(codes) == len(set(codes)) == len(names)
        assert sum(code < groups.brands for code in codes) == (row["brand"] is not None)
        for code in codes:
            seen.setdefault(code, ("brand" if code < groups.brands else "category", ""))
    kinds = {("brand", row["brand"]) for row in rows if row["brand"] is not None}
    kinds |= {("category", name) for row in rows for name in row["categories"]}
    assert len(seen) == groups.total == len(kinds)
