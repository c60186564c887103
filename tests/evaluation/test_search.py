"""Settings found on validation: how the ladders are climbed, and by what a model is judged."""

from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.catalogue.event_log import EventLog
from recsys.config import PreferenceSettings, Settings
from recsys.evaluation.search import Panel, climb, search
from recsys.evaluation.split import Question
from recsys.ranking.candidates import History, Query
from recsys.ranking.reasons import deeds

FEW = Settings(preference=PreferenceSettings(factors=0))
NOW = datetime(2025, 6, 1, tzinfo=UTC)
LADDERS = {
    "linear_ridge": (1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
    "cooccurrence_fading": (0.0, 0.1, 0.2, 0.3),
}


def question(history: list[int], targets: list[int], seen: list[int] | None = None) -> Question:
    items = np.array(history, dtype=np.int64)
    known = History(items, np.ones(len(items), dtype=np.float32), deeds(["like"] * len(items)))
    hidden = np.array(history if seen is None else seen, dtype=np.int64)
    query = Query(at=NOW, limit=20, history=known, seen=hidden)
    return Question(actor=0, query=query, targets=np.array(targets, dtype=np.int64))


def test_every_setting_climbs_to_its_best_rung_from_either_side() -> None:
    def judge(s: PreferenceSettings) -> float:
        return 1 - abs(np.log2(s.linear_ridge) - 4) / 10 - abs(s.cooccurrence_fading - 0.1)

    for start in (1.0, 16.0, 32.0):
        found = climb(
            judge, PreferenceSettings(linear_ridge=start, cooccurrence_fading=0.3), LADDERS
        )
        assert (found.linear_ridge, found.cooccurrence_fading) == (16.0, 0.1)


def test_no_setting_is_judged_twice_and_a_gain_by_chance_moves_nothing() -> None:
    asked: list[tuple[float, float]] = []

    def judge(s: PreferenceSettings) -> float:
        asked.append((s.linear_ridge, s.cooccurrence_fading))
        return 1 + 1e-4 * s.linear_ridge

    start = PreferenceSettings(linear_ridge=4.0, cooccurrence_fading=0.1)
    assert climb(judge, start, LADDERS) == start
    assert len(asked) == len(set(asked)) == 5, "where it stands, and one rung up and down of each"


def test_a_model_is_judged_by_the_ndcg_of_a_full_ranking_without_what_was_seen() -> None:
    rng = np.random.default_rng(0)
    W = csr_array((rng.random((30, 30)) * (rng.random((30, 30)) < 0.5)).astype(np.float32))
    questions = [
        question(rng.choice(30, 4, replace=False).tolist(), rng.choice(30, 3).tolist())
        for _ in range(300)
    ]
    gains = []
    for asked in questions:
        history = asked.query.history.items
        scores = (np.exp(-0.3 * np.arange(4)) @ W.toarray()[history]).astype(np.float32)
        scores[history] = -np.inf
        top = np.argsort(-scores, kind="stable")[:20]
        targets = set(asked.targets.tolist())
        dcg = sum(1 / np.log2(rank + 2) for rank, item in enumerate(top) if item in targets)
        gains.append(dcg / sum(1 / np.log2(rank + 2) for rank in range(len(asked.targets))))
    assert Panel.of(questions, 30).of_rows(W, 0.3) == pytest.approx(np.mean(gains), abs=1e-6)
    assert len(Panel.of(questions, 30).first(100)) == 100
    part = Panel.of(questions, 30).first(100).of_rows(W, 0.3)
    assert part == pytest.approx(np.mean(gains[:100]), abs=1e-6)


def paths(people: int, known: int, n_items: int = 60) -> tuple[EventLog, list[Question]]:
    """Everybody goes round a circle of items in the same direction; what comes after the last `known` ones?"""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, n_items, people)
    steps = np.arange(6)
    items = (starts[:, None] + steps) % n_items
    day = 86_400_000_000
    log = EventLog(
        actors=tuple(f"{n:04d}" for n in range(people)),
        types=("like",),
        actor=np.tile(np.arange(people), 6).astype(np.int32),
        item=items.T.ravel().astype(np.int32),
        type=np.zeros(6 * people, dtype=np.int16),
        value=np.full(6 * people, np.nan, dtype=np.float32),
        time=np.repeat(steps * day, people).astype(np.int64),
    )
    asked = [
        question(row[: -1 - known : -1].tolist(), [(int(row[-1]) + 1) % n_items]) for row in items
    ]
    return log, asked


def test_it_learns_whether_direction_matters() -> None:
    log, asked = paths(300, known=1)
    blind = PreferenceSettings(transitions_back=1.0)
    assert search(log, asked, 60, {}, {}, FEW, start=blind).transitions_back < 1


def test_it_learns_how_fast_a_taste_fades() -> None:
    log, asked = paths(300, known=6)
    never = PreferenceSettings(cooccurrence_fading=0.0)
    assert search(log, asked, 60, {}, {}, FEW, start=never).cooccurrence_fading > 0


def test_settings_that_were_given_stay_and_without_questions_nothing_is_searched() -> None:
    log, asked = paths(200, known=6)
    given = {"transitions_back": 0.9, "cooccurrence_fading": 0.0, "factors": 8}
    settings = Settings(preference=PreferenceSettings(**given))
    found = search(log, asked, 60, {}, {}, settings)
    assert {name: getattr(found, name) for name in given} == given
    assert search(log, [], 60, {}, {}, settings) == settings.preference
    off = Settings(preference=PreferenceSettings(search=False))
    assert search(log, asked, 60, {}, {}, off) == off.preference
