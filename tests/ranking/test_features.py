"""What a ranker is told, against values worked out by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from recsys.catalogue.item_table import SCHEMA, ItemTable
from recsys.catalogue.times import to_us
from recsys.identity import Floats
from recsys.preference.popularity import Popularity
from recsys.ranking.candidates import Candidates, History, Query
from recsys.ranking.features import CONTEXTUAL, Features
from recsys.ranking.reasons import deeds

NAN = np.nan
NOW = datetime(2026, 7, 1, tzinfo=UTC)
DAY_AGO, YEAR_AGO = (to_us(NOW - timedelta(days=days)) for days in (1, 365))


def shop() -> ItemTable:
    columns = {
        "id": list("abcde"),
        "categories": [["tea"], ["tea", "gift", "tea"], ["cup"], [], ["cup"]],
        "price": [10.0, 40.0, None, 0.0, 20.0],
        "published_at": [DAY_AGO, None, YEAR_AGO, None, None],
        "attributes": ["{}"] * 5,
        "available": [True] * 5,
        "images": [[]] * 5,
        "created_at": [to_us(NOW)] * 5,
    }
    arrays = [pa.array(columns.get(field.name, [None] * 5), field.type) for field in SCHEMA]
    return ItemTable(pa.table(arrays, schema=SCHEMA))


def floats(*values: float) -> Floats:
    return np.array(values, dtype=np.float32)


FEATURES = Features.of(
    shop(), Popularity(floats(1, 4, NAN, NAN, 5), floats(-0.5, NAN, NAN, NAN, 2), 0)
)


def told(items: list[int], **weights: float) -> dict[str, list[float]]:
    """Feature -> value of each item, for a viewer who likes or dislikes the items named."""
    history = History(
        np.array(["abcde".index(name) for name in weights], dtype=np.int64),
        floats(*weights.values()),
        deeds(["like"] * len(weights)),
    )
    candidates = Candidates(np.array(items, dtype=np.int64), {"linear": floats(*range(len(items)))})
    sources = ["linear", "text"]
    query = Query(at=NOW, limit=5, history=history)
    blended = floats(*(n / 10 for n in range(len(items))))
    table = FEATURES.table(sources, query, candidates, blended)
    assert table.dtype == np.float32
    return dict(zip([*sources, *CONTEXTUAL], table.T.tolist(), strict=True))


def test_sources_are_standardised_as_in_the_blend_and_a_silent_one_says_nothing() -> None:
    found = told([0, 1, 2], a=1)
    assert found["linear"] == pytest.approx([-1.224745, 0, 1.224745], abs=1e-5)
    assert found["text"] == [0, 0, 0]
    assert found["blend"] == pytest.approx([0, 0.1, 0.2])


def test_an_age_is_known_only_where_a_date_was_given() -> None:
    expected = [np.log(2), NAN, np.log(366), NAN, NAN]
    assert told(list(range(5)), a=1)["age"] == pytest.approx(expected, nan_ok=True)


def test_a_price_is_held_against_what_the_viewer_usually_likes() -> None:
    """Of 10 and 40 the usual is 20; what was disliked or has no price does not count."""
    expected = [np.log(0.5), np.log(2), NAN, NAN, 0]
    found = told(list(range(5)), a=1, b=0.5, c=1, e=-1)["price"]
    assert found == pytest.approx(expected, nan_ok=True, abs=1e-6)
    assert np.isnan(told([0, 1], c=1)["price"]).all()


def test_affinity_is_the_share_of_what_is_liked_that_lies_in_an_items_categories() -> None:
    """Tea has all of `a` and half of `b`, gift the other half of `b`; 2 + 2 are liked in all."""
    found = told(list(range(5)), a=2, b=2, e=-1)["category"]
    assert found == pytest.approx([3 / 4, (3 / 4 + 1 / 4) / 2, 0, NAN, 0], nan_ok=True)
    assert np.isnan(told([0, 1], d=1)["category"]).all()


def test_what_nobody_liked_has_no_popularity_and_no_trend() -> None:
    found = told(list(range(5)), a=1, b=-1)
    assert found["popularity"] == pytest.approx([0.5, 2, 0, 0, 2.5])
    assert found["trend"] == pytest.approx([-0.5, 0, 0, 0, 2])
    assert found["history"] == [1] * 5


def test_an_empty_pool_and_a_catalogue_without_categories_are_no_trouble() -> None:
    assert told([], a=1)["age"] == []
    bare = shop().data.set_column(
        SCHEMA.get_field_index("categories"),
        SCHEMA.field("categories"),
        pa.array([[]] * 5, pa.list_(pa.string())),
    )
    features = Features.of(ItemTable(bare), Popularity(*[floats(*[NAN] * 5)] * 2, 0))
    table = features.table([], Query(NOW, 5), Candidates(np.arange(5), {}), floats(*[0] * 5))
    assert np.isnan(table[:, CONTEXTUAL.index("category")]).all()
    assert not table[:, CONTEXTUAL.index("popularity")].any()
