"""A space: items aligned with the catalogue, their neighbours, and its files."""

from pathlib import Path

import numpy as np
import pytest

from recsys.config import IndexSettings
from recsys.embedding.encoder import EncoderCard, unit_rows
from recsys.embedding.vectors import VectorTable
from recsys.errors import SnapshotCorrupt
from recsys.identity import ABSENT, IdMap, ItemId
from recsys.index.space import Space, build_space, extended

DIM = 12
CARD = EncoderCard("model", "1", "text", DIM, 256, "title")
IDS = IdMap([ItemId(f"i{n:03}") for n in range(200)])
WITH_VECTORS = np.flatnonzero(np.arange(200) % 3 != 0)
KINDS = {"exact": {}, "ivf": {"exact_below": 1}}


def table(items: np.ndarray, seed: int = 0) -> VectorTable:
    rows = np.random.default_rng(seed).normal(size=(len(items), DIM)) + 1
    return VectorTable(IdMap(IDS.external(items)), unit_rows(rows), CARD)


def space(kind: str = "exact", items: np.ndarray = WITH_VECTORS, k: int = 8) -> Space:
    return build_space(IDS, table(items), IndexSettings(neighbours=k, **KINDS[kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_those_of_a_full_comparison(kind: str) -> None:
    made = space(kind)
    every = made.rows @ made.rows.T
    every[:, ~made.present] = -np.inf
    np.fill_diagonal(every, -np.inf)
    order = np.argsort(-every[WITH_VECTORS], axis=1)[:, :8]
    agree = (made.neighbours[WITH_VECTORS] == order).mean()
    assert agree == 1.0 if kind == "exact" else agree > 0.9
    assert made.kind == kind and made.recall > 0.95
    np.testing.assert_allclose(
        made.similarity[WITH_VECTORS],
        np.take_along_axis(every[WITH_VECTORS], made.neighbours[WITH_VECTORS], axis=1),
        atol=1e-5,
    )


def test_items_without_a_vector_are_zero_rows_without_neighbours_and_nobodys_neighbour() -> None:
    made = space()
    without = np.flatnonzero(np.arange(200) % 3 == 0)
    np.testing.assert_array_equal(np.flatnonzero(~made.present), without)
    assert not made.rows[without].any()
    assert (made.neighbours[without] == ABSENT).all() and np.isneginf(
        made.similarity[without]
    ).all()
    assert not np.isin(made.neighbours[WITH_VECTORS], without).any()
    np.testing.assert_allclose(np.linalg.norm(made.rows[WITH_VECTORS], axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_space_of_hardly_any_items_works(count: int, tmp_path: Path) -> None:
    made = space(items=WITH_VECTORS[:count], k=5)
    assert made.neighbours.shape == (200, 5) and made.present.sum() == count
    assert (made.neighbours[WITH_VECTORS[0]] != ABSENT).sum() == max(0, count - 1)
    made.write(tmp_path, "text")
    loaded = Space.load(tmp_path, "text")
    query = made.encode_query(unit_rows(np.ones((1, DIM))))
    np.testing.assert_array_equal(loaded.search(query, 3).ordinals, made.search(query, 3).ordinals)


def test_duplicates_do_not_crowd_out_neighbours_or_bring_the_item_itself_back() -> None:
    rows = unit_rows(np.repeat(np.random.default_rng(1).normal(size=(5, DIM)), 20, axis=0))
    items = np.arange(100)
    made = build_space(
        IDS, VectorTable(IdMap(IDS.external(items)), rows, CARD), IndexSettings(neighbours=4)
    )
    assert (made.neighbours[items] != items[:, None]).all()
    assert (made.neighbours[items] // 20 == items[:, None] // 20).all()


def test_search_speaks_in_item_ordinals_with_and_without_a_filter() -> None:
    made = space()
    item = int(WITH_VECTORS[57])
    assert made.search(made.rows[[item]], 1).ordinals.tolist() == [[item]]
    allowed = np.array([0, 1, 2, 3, 50, 100])  # 0 and 3 have no vector
    found = made.search(made.rows[[item]], 6, allowed)
    assert sorted(found.ordinals[0, :4]) == [1, 2, 50, 100]
    assert (found.ordinals[0, 4:] == ABSENT).all()
    np.testing.assert_allclose(
        found.scores[0, :4], made.rows[found.ordinals[0, :4]] @ made.rows[item], atol=1e-6
    )


def test_an_items_own_raw_vector_as_query_lands_on_the_item() -> None:
    made, raw = space(), table(WITH_VECTORS).rows
    query = made.encode_query(raw[:5])
    np.testing.assert_array_equal(made.search(query, 1).ordinals[:, 0], WITH_VECTORS[:5])


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_space_is_the_space_that_was_saved(tmp_path: Path, kind: str) -> None:
    made = space(kind)
    made.write(tmp_path, "text")
    loaded = Space.load(tmp_path, "text")
    for name in ("rows", "present", "neighbours", "similarity"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(made, name))
    assert (loaded.card, loaded.kind, loaded.recall) == (made.card, made.kind, made.recall)
    query = unit_rows(np.random.default_rng(5).normal(size=(3, DIM)))
    np.testing.assert_array_equal(loaded.encode_query(query), made.encode_query(query))
    np.testing.assert_array_equal(loaded.search(query, 9).ordinals, made.search(query, 9).ordinals)


@pytest.mark.parametrize(
    "name",
    ["rows.npy", "present.npy", "nearest.npy", "matrix.npy", "faiss", "space.json"],
)
@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_damaged_file_of_a_space_is_named(tmp_path: Path, name: str, damage: str) -> None:
    space("ivf").write(tmp_path, "text")
    path = tmp_path / f"text.{name}"
    whole = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SnapshotCorrupt, match=rf"text\.{name}"):
        Space.load(tmp_path, "text")


def test_progress_ends_with_all_items_done() -> None:
    done: list[int] = []
    build_space(IDS, table(WITH_VECTORS), IndexSettings(), done.append)
    assert done[-1] == len(WITH_VECTORS)


def shop(count: int = 3_000, seed: int = 0) -> np.ndarray:
    """Unit rows around 60 centres."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(60, DIM))
    return unit_rows(
        centres[random.integers(0, 60, count)] + 0.5 * random.normal(size=(count, DIM))
    )


def built(
    rows: dict[int, np.ndarray], kind: str, last: tuple[IdMap, Space] | None = None, card=CARD
) -> tuple[IdMap, Space]:
    """The space of items named by numbers, of which those without a row have no vector."""
    ids = IdMap([ItemId(f"i{n:06}") for n in sorted(rows)])
    having = [n for n in sorted(rows) if rows[n] is not None]
    vectors = np.stack([rows[n] for n in having])
    known = VectorTable(IdMap([ItemId(f"i{n:06}") for n in having]), vectors, card)
    settings = IndexSettings(neighbours=10, **KINDS[kind])
    before = {} if last is None else {"last_ids": last[0], "last": last[1]}
    return ids, build_space(ids, known, settings, **before)


def named(ids: IdMap, space: Space, item: int) -> list[str]:
    return ids.external(space.neighbours[ids.ordinal(ItemId(f"i{item:06}"))])


def recall(space: Space) -> float:
    """Share of the ten nearest others that the space knows, of all items, by a full comparison."""
    every = space.rows @ space.rows.T
    every[:, ~space.present] = -np.inf
    np.fill_diagonal(every, -np.inf)
    best = -np.sort(-every[space.present], axis=1)[:, 9:10]
    mine = np.take_along_axis(every, space.neighbours.astype(np.int64), axis=1)
    np.testing.assert_allclose(mine[space.present], space.similarity[space.present], atol=1e-5)
    return float((mine[space.present] >= best - 1e-5).mean())


def changed(rows: dict[int, np.ndarray], seed: int = 1) -> dict[int, np.ndarray]:
    """40 items go, 40 change, 30 come in between, 5 lose their vector."""
    random = np.random.default_rng(seed)
    picked = random.permutation(sorted(rows))
    then = {n: row for n, row in rows.items() if n not in picked[:40]}
    new = shop(70, seed + 100)
    then |= dict(zip(picked[40:80], new[:40], strict=True))
    then |= dict(zip(picked[80:110] + 1, new[40:], strict=True))
    return then | dict.fromkeys(picked[110:115])


SHOP = dict(zip(range(0, 6_000, 2), shop(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_space_made_from_the_last_is_as_good_as_one_built_anew(kind: str, tmp_path: Path) -> None:
    ids, made = built(SHOP, kind)
    made.write(tmp_path, "text")
    then = changed(SHOP)
    _, made = built(then, kind, (ids, Space.load(tmp_path, "text")))
    assert made.changed == 40 + 40 + 30 + 5
    assert recall(made) == 1.0 if kind == "exact" else recall(made) >= 0.95
    assert made.recall >= 0.98
    having = np.flatnonzero(made.present)
    assert len(having) == len(then) - 5
    found = made.search(made.rows[having[::50]], 1).ordinals[:, 0]
    np.testing.assert_array_equal(found, having[::50])


@pytest.mark.parametrize("kind", KINDS)
def test_days_of_small_changes_leave_no_trace_of_what_went(kind: str) -> None:
    ids, made = built(SHOP, kind)
    then, matrix = SHOP, made.projection.matrix
    for day in range(2):
        then = changed(then, seed=day)
        ids, made = built(then, kind, (ids, made))
    assert made.changed == 230
    np.testing.assert_array_equal(made.projection.matrix, matrix)
    assert recall(made) == 1.0 if kind == "exact" else recall(made) >= 0.95
    then = changed(then, seed=2)  # more than a tenth, all together
    ids, made = built(then, kind, (ids, made))
    assert made.changed == 0
    np.testing.assert_array_equal(made.rows, built(then, kind)[1].rows)
    assert not np.array_equal(made.projection.matrix, matrix)
    assert recall(made) == 1.0 if kind == "exact" else recall(made) >= 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_far_from_any_change_keeps_its_neighbours_though_all_ordinals_shift(
    kind: str,
) -> None:
    ids, made = built(SHOP, kind)
    new_ids, then = built({**SHOP, 1: SHOP[2]}, kind, (ids, made))  # one like item 2, after item 0
    near = made.rows @ made.rows[ids.ordinal(ItemId("i000002"))]
    far = [2 * int(n) for n in np.argsort(near)[:300]]
    for item in far:
        assert named(new_ids, then, item) == named(ids, made, item)
    assert named(new_ids, then, 1)[0] == "i000002"
    assert named(new_ids, then, 2) == ["i000001", *named(ids, made, 2)[:9]]


def test_an_item_all_of_whose_neighbours_go_gets_others() -> None:
    ids, made = built(SHOP, "exact")
    gone = set(ids.external(made.nearest[ids.ordinal(ItemId("i000100"))]))
    then = {n: row for n, row in SHOP.items() if f"i{n:06}" not in gone}
    new_ids, made = built(then, "exact", (ids, made))
    assert made.changed == len(gone) == 20
    assert recall(made) == 1.0
    assert not gone & set(named(new_ids, made, 100))


def test_a_space_of_another_encoder_or_kind_or_width_is_not_gone_on_from() -> None:
    ids, made = built(SHOP, "exact")
    then = changed(SHOP)
    assert built(then, "exact", (ids, made))[1].changed
    assert not built(then, "ivf", (ids, made))[1].changed
    other = EncoderCard("model", "2", "text", DIM, 256, "title")
    assert not built(then, "exact", (ids, made), other)[1].changed
    assert not built(then, "exact", (IdMap([]), made))[1].changed


def test_a_world_that_stayed_gives_the_same_space() -> None:
    ids, made = built(SHOP, "ivf")
    _, again = built(SHOP, "ivf", (ids, made))
    assert again.changed == 0
    np.testing.assert_array_equal(again.nearest, made.nearest)
    queries = made.rows[::100]
    np.testing.assert_array_equal(
        again.search(queries, 10).ordinals, made.search(queries, 10).ordinals
    )


def extended_by(then: dict[int, np.ndarray], ids: IdMap, space: Space) -> tuple[IdMap, Space]:
    """What became of a space whose items changed, came or lost their vectors; new ones stand behind the others."""
    known = [int(key[1:]) for key in ids]
    order = known + [n for n in sorted(then) if n not in set(known)]
    now = IdMap([ItemId(f"i{n:06}") for n in order])
    differ = [at for at, n in enumerate(order) if n not in SHOP or then[n] is not SHOP[n]]
    having = np.array([then[order[at]] is not None for at in differ])
    vectors = [
        then[order[at]] if has else np.zeros(DIM) for at, has in zip(differ, having, strict=True)
    ]
    found = np.array(vectors, dtype=np.float32)
    return now, extended(space, len(order), np.array(differ), found, having)


@pytest.mark.parametrize("kind", KINDS)
def test_an_extended_space_is_as_good_as_one_built_anew(kind: str, tmp_path: Path) -> None:
    ids, made = built(SHOP, kind)
    made.write(tmp_path, "text")
    then = SHOP | changed(SHOP)  # nothing goes
    _, found = extended_by(then, ids, Space.load(tmp_path, "text"))
    assert found.changed == 40 + 30 + 5
    assert recall(found) == 1.0 if kind == "exact" else recall(found) >= 0.95
    having = np.flatnonzero(found.present)
    assert len(having) == len(then) - 5
    at = found.search(found.rows[having[::50]], 1).ordinals[:, 0]
    np.testing.assert_array_equal(at, having[::50])
    assert found.index.search(found.rows[:1], 5).ordinals.min() >= 0
    (tmp_path / "again").mkdir()
    found.write(tmp_path / "again", "text")
    again = Space.load(tmp_path / "again", "text")
    np.testing.assert_array_equal(again.neighbours, found.neighbours)


@pytest.mark.parametrize("kind", KINDS)
def test_a_space_extended_by_nothing_new_is_the_same_object(kind: str) -> None:
    ids, made = built(SHOP, kind)
    some = np.array([3, 8])
    raw = np.stack([SHOP[int(ids.external(some)[n][1:])] for n in range(2)]).astype(np.float32)
    assert extended(made, len(ids), some, raw, np.ones(2, dtype=bool)) is made


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_space_of_hardly_any_items_can_be_extended(count: int) -> None:
    _, made = built({n: shop(3)[n] for n in range(count)}, "exact") if count else (None, None)
    if made is None:
        made = build_space(
            IdMap([]),
            VectorTable(IdMap([]), np.zeros((0, DIM), np.float32), CARD),
            IndexSettings(neighbours=10),
        )
    wider = extended(
        made, count + 2, np.arange(count, count + 2), shop(5)[3:], np.ones(2, dtype=bool)
    )
    known = (wider.neighbours != ABSENT).sum(axis=1)
    assert known.tolist() == [count + 1] * (count + 2)
