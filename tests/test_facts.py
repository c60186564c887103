"""What is worked out when a snapshot is written is what its parts say, and no other snapshot's."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from recsys.facts import NEVER, PLACES, Groups
from recsys.snapshot import Artefacts


def test_what_is_read_is_what_was_written(artefacts: Artefacts, tmp_path: Path) -> None:
    artefacts.write(tmp_path)
    read = Artefacts.read(tmp_path).facts
    assert read.equals(artefacts.facts)
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
    other = replace(read, items=changed).facts
    assert other.records["shown_from"][0] == NEVER
    assert not other.equals(read.facts)


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
    seen: dict[tuple[str, str], set[int]] = {}
    for n, row in enumerate(rows):
        codes = set(groups.codes[groups.ends[n] : groups.ends[n + 1]].tolist())
        brands = {code for code in codes if code < groups.brands}
        assert len(brands) == (row["brand"] is not None)
        assert len(codes - brands) == len(set(row["categories"]))
        for kind, names, found in (
            ("brand", [row["brand"]] * len(brands), brands),
            ("category", row["categories"], codes - brands),
        ):
            for name in names:  # whoever has it has a code in common
                seen[kind, name] = seen.get((kind, name), found) & found
    assert all(len(found) == 1 for found in seen.values())
    kinds = {("brand", row["brand"]) for row in rows if row["brand"] is not None}
    kinds |= {("category", name) for row in rows for name in row["categories"]}
    assert set(seen) == kinds
    assert len(set.union(*seen.values())) == groups.total == len(kinds)
