"""A ranker is used where it surely wins on later questions, and nowhere else."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from recsys.catalogue.event_log import EventLog
from recsys.catalogue.item_table import ItemTable
from recsys.config import EvaluationSettings, Settings
from recsys.evaluation.backtest import Evaluation, backtest
from recsys.evaluation.blending import Rehearsed
from recsys.evaluation.exam import Question
from recsys.evaluation.result import Trial
from recsys.evaluation.trial import try_ranker
from recsys.evaluation.words import footnotes
from recsys.identity import Floats
from recsys.preference.popularity import Popularity
from recsys.ranking.blend import Example
from recsys.ranking.candidates import Candidates, History, Query
from recsys.ranking.features import Features
from recsys.ranking.reasons import deeds

ITEMS, QUESTIONS, LIKED = 60, 150, 3
START = datetime(2026, 1, 1, tzinfo=UTC)

Taste = Callable[[Floats, Floats, np.random.Generator, int], Floats]
"""(what the linear model says, what texts say, chance, the number of the question) -> how each item is liked."""


def interaction(linear: Floats, text: Floats, *_: object) -> Floats:
    """Liked is what both praise or both condemn: no weighted sum says so."""
    return linear * text


def weighted_sum(linear: Floats, text: Floats, rng: np.random.Generator, _: int) -> Floats:
    return linear + 0.4 * text + rng.normal(scale=0.5, size=ITEMS)


def chance(_: Floats, __: Floats, rng: np.random.Generator, ___: int) -> Floats:
    return rng.normal(size=ITEMS)


def habit(linear: Floats, text: Floats, rng: np.random.Generator, number: int) -> Floats:
    """The interaction holds for the earlier part alone; then what neither has a word for is liked."""
    return linear * text if number < 0.6 * QUESTIONS else -np.abs(linear * text)


def rehearsed(taste: Taste) -> Rehearsed:
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(QUESTIONS):
        linear, text = rng.normal(size=(2, ITEMS)).astype(np.float32)
        liking = taste(linear, text, rng, number)
        targets = np.sort(np.argsort(-liking)[:LIKED])
        history = History(np.arange(5), np.ones(5, np.float32), deeds(["like"] * 5))
        query = Query(START + timedelta(hours=number), 20, history)
        candidates = Candidates(np.arange(ITEMS), {"linear": linear, "text": text})
        chosen = np.isin(candidates.items, targets)
        pairs.append((Question(query, targets, number), Example(candidates, chosen, LIKED)))
    rng.shuffle(pairs)  # type: ignore[arg-type]
    asked = {"history": pairs, "short": [], "newcomer": []}
    return Rehearsed(asked, least=20, for_new={}, beside={})


@pytest.fixture
def trial(make_items: Callable[..., ItemTable]) -> Callable[..., Trial]:
    unknown = np.full(ITEMS, np.nan, dtype=np.float32)
    features = Features.of(make_items(ITEMS), Popularity(unknown, unknown, 0))

    def run(asked: Rehearsed, dated: bool = True, **settings: int) -> Trial:
        return try_ranker(asked, asked.weights(), features, dated, EvaluationSettings(**settings))

    return run


@pytest.mark.parametrize("dated", [True, False])
def test_it_is_used_where_no_weighted_sum_can_say_what_is_liked(
    trial: Callable[..., Trial], dated: bool
) -> None:
    found = trial(rehearsed(interaction), dated)
    assert found.used
    assert found.queries == 60
    assert found.gain.low > 0.1
    assert found.model.startswith("tree")


@pytest.mark.parametrize("taste", [weighted_sum, chance])
def test_it_is_not_used_where_the_blend_says_all_there_is_to_say(
    trial: Callable[..., Trial], taste: Taste
) -> None:
    found = trial(rehearsed(taste))
    assert not found.used
    assert found.gain.low <= 0
    assert found.model == ""


def test_what_held_only_in_the_earlier_part_is_not_used(trial: Callable[..., Trial]) -> None:
    found = trial(rehearsed(habit))
    assert not found.used
    assert found.gain.value < 0


def test_too_few_questions_are_no_trial(trial: Callable[..., Trial]) -> None:
    asked = rehearsed(interaction)
    assert trial(asked, min_queries=61) == Trial(used=False, queries=0)
    assert trial(asked.only(lambda question: question.actor < 30)).gain is None
    assert trial(asked.only(lambda _: False)).gain is None


def test_where_all_questions_are_of_one_moment_none_is_later(trial: Callable[..., Trial]) -> None:
    pairs = rehearsed(interaction).asked["history"]
    at_once = [
        (Question(Query(START, 20, q.query.history), q.targets, q.actor), e) for q, e in pairs
    ]
    asked = Rehearsed({"history": at_once, "short": [], "newcomer": []}, 20, {}, {})
    assert trial(asked) == Trial(used=False, queries=0)
    assert trial(asked, dated=False).used


BANDS, OF_A_BAND = 16, 60


@pytest.fixture
def shop(make_items: Callable[..., ItemTable]) -> ItemTable:
    """Every item is in one of sixteen bands of price."""
    prices = [10.0 * 3.0 ** (n % BANDS) for n in range(BANDS * OF_A_BAND)]
    return make_items(len(prices), price=prices)


def likes(people: int = 240) -> list[tuple[str, int, float]]:
    """Everybody keeps to a band of price, and there to chance: so few likes tell little of single items."""
    rng = np.random.default_rng(0)
    events = []
    for person in range(people):
        chosen = person % BANDS + BANDS * rng.choice(OF_A_BAND, 6, replace=False)
        days = rng.uniform(0, 100) + np.sort(rng.uniform(0, 30, size=6))
        events += [(f"p{person}", int(n), day) for n, day in zip(chosen, days, strict=True)]
    return sorted(events, key=lambda event: event[2])


def measured(shop: ItemTable, log: EventLog, small: Settings, ranker: str) -> Evaluation:
    """With co-occurrence and popularity alone."""
    off = {"factors": 0, "linear_memory_gb": 0, "transitions_span": 0}
    update = {
        "preference": small.preference.model_copy(update=off),
        "ranking": small.ranking.model_copy(update={"ranker": ranker, "candidates": 1_000}),
        "evaluation": small.evaluation.model_copy(update={"validation": 0.35}),
    }
    return backtest(shop, {}, {}, log, small.model_copy(update=update), beside=False)


def test_a_shop_where_prices_tell_is_served_better_with_it(
    shop: ItemTable, make_log: Callable[..., EventLog], small: Settings
) -> None:
    """What viewers usually pay is known to no source."""
    log = make_log(shop, likes())
    found, plain = (measured(shop, log, small, ranker) for ranker in ("learn", "blend"))
    assert plain.ranker is None
    assert found.ranker is not None
    assert found.ranker.used
    assert found.weights == plain.weights
    gain = found.metrics()["blend.ndcg@20"] / plain.metrics()["blend.ndcg@20"]
    assert gain > 1.1
    assert "it ranks on top of the blend" in " ".join(footnotes(found))
    assert "ranker" not in " ".join(footnotes(plain))
    assert Evaluation.from_json(found.to_json()) == found
    again = measured(shop, log, small, "learn")
    assert again.model_copy(update={"seconds": {}}) == found.model_copy(update={"seconds": {}})
