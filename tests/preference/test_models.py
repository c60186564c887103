"""All models of taste, fitted together, kept and read back."""

import numpy as np
import pytest

from recsys.config import Settings
from recsys.preference.baselines import fit_baselines
from recsys.preference.cold import ContentPrior
from recsys.preference.interactions import interactions
from recsys.preference.linear import fit_linear
from recsys.preference.models import Preference, fit_preference
from recsys.preference.sparse import score

N = 22
HISTORY, WEIGHTS = np.array([0, 2]), np.ones(2, np.float32)


@pytest.fixture
def text():
    """Two directions, one per group; 20 is a new item of the even group, 21 has no text."""
    rows = np.zeros((N, 3), dtype=np.float32)
    rows[:21, 0] = np.arange(21) % 2 == 0
    rows[:21, 1] = np.arange(21) % 2 == 1
    similarity = rows @ rows.T - np.eye(N)
    near = np.argsort(-similarity, axis=1, kind="stable")[:, :10]
    closeness = np.take_along_axis(similarity, near, axis=1)
    absent = closeness <= 0
    return ContentPrior(
        rows,
        np.where(absent, -1, near).astype(np.int32),
        np.where(absent, -np.inf, closeness).astype(np.float32),
    )


@pytest.fixture
def fitted(checkerboard, text, small):
    return fit_preference(checkerboard, N, {"text": text}, small)


def scores_of(preference):
    return [
        score(preference.cooccurrence, HISTORY, WEIGHTS),
        score(preference.linear, HISTORY, WEIGHTS),
        preference.factors.score(HISTORY, WEIGHTS),
        preference.popularity.popular,
        preference.popularity.trending,
        preference.support,
    ]


def test_every_model_serves_a_taste_from_its_own_group(fitted):
    for scores in scores_of(fitted)[:3]:
        assert scores[4:20:2].min() > scores[1:20:2].max()


def test_a_new_item_is_served_by_its_text_to_the_group_it_belongs_to(fitted):
    cooccurrence, linear, factors, *_ = scores_of(fitted)
    assert cooccurrence[20] > cooccurrence[1:20:2].max()
    assert linear[20] > linear[1:20:2].max()
    assert np.isnan(factors[20])


def test_what_is_read_back_scores_as_what_was_written(fitted, tmp_path):
    fitted.write(tmp_path / "preference")
    loaded = Preference.load(tmp_path / "preference")
    for live, read in zip(scores_of(fitted), scores_of(loaded), strict=True):
        assert np.array_equal(live, read, equal_nan=True)


def test_models_that_were_not_fitted_are_not_there_when_read_back(checkerboard, tmp_path):
    own = Settings().preference.model_copy(update={"factors": 0, "linear_memory_gb": 0})
    fit_preference(checkerboard, N, {}, Settings(preference=own)).write(tmp_path)
    loaded = Preference.load(tmp_path)
    assert loaded.linear is None
    assert loaded.factors is None


def test_it_says_which_models_there_are_and_how_far_they_reach(checkerboard, text, small):
    room = {"linear_memory_gb": 10 * 10 * 8 / 1e9, "transitions_span": 0}
    own = small.preference.model_copy(update=room)
    fitted = fit_preference(
        checkerboard, N, {"text": text}, small.model_copy(update={"preference": own})
    )
    reach = fitted.reach
    assert set(reach) == {"cooccurrence", "linear", "factors"}
    assert reach["linear"]["solve"] == "dense"
    assert [(m["items"], m["of"]) for m in reach.values()] == [(21, 22), (10, 22), (20, 22)]
    assert reach["factors"]["dimensions"] == 2
    assert reach["linear"]["weights"] == fitted.linear.nnz


def test_the_same_events_give_the_same_models(checkerboard, text, small, fitted):
    again = fit_preference(checkerboard, N, {"text": text}, small)
    for first, second in zip(scores_of(fitted), scores_of(again), strict=True):
        assert np.array_equal(first, second, equal_nan=True)


def test_dislikes_never_enter_what_is_learned(make_log, small):
    nan = float("nan")
    events = [(f"p{n}", item, "like", nan, 0) for n in range(5) for item in (0, 1)]
    hated = [(f"p{n}", 2, "dislike", nan, 0) for n in range(5)]
    W = fit_preference(make_log(events + hated), 3, {}, small)
    assert W.cooccurrence.toarray()[:, 2].tolist() == [0, 0, 0]
    assert W.linear.toarray()[:, 2].tolist() == [0, 0, 0]
    assert W.support.tolist() == [5, 5, 0]


@pytest.mark.parametrize("n_items", [0, 1, 3])
def test_a_world_without_events_knows_nothing_and_does_not_fail(make_log, small, tmp_path, n_items):
    empty = ContentPrior(
        np.zeros((n_items, 4), np.float32),
        np.full((n_items, 2), -1, np.int32),
        np.full((n_items, 2), -np.inf, np.float32),
    )
    for spaces in ({}, {"image": empty}):
        got = fit_preference(make_log([]), n_items, spaces, small)
        assert got.cooccurrence.shape == (n_items, n_items)
        assert got.factors is None
        assert np.isnan(got.popularity.popular).all()
        got.write(tmp_path / str(len(spaces)))
        assert Preference.load(tmp_path / str(len(spaces))).support.tolist() == [0] * n_items


def test_a_single_event_is_enough_to_fit(make_log, small):
    got = fit_preference(make_log([("a", 0, "like", float("nan"), 0)]), 1, {}, small)
    assert got.popularity.popular.tolist() == [1]
    assert got.cooccurrence.nnz == 0
    assert np.isfinite(got.factors.score(np.array([0]), np.ones(1, np.float32))).all()


def test_progress_names_each_step(checkerboard, small):
    steps = []
    fit_preference(checkerboard, N, {}, small, steps.append)
    assert len(steps) == len(set(steps)) > 4


def test_every_baseline_but_popularity_finds_the_group_of_a_taste(
    checkerboard, fitted, text, small
):
    baselines = fit_baselines(checkerboard, fitted, text.rows, small)
    own = {"co-occurrence", "transitions", "linear model", "ALS"}
    assert set(baselines) == own | {"popularity", "item-kNN", "EASE", "content"}
    for name, baseline in baselines.items():
        scores = baseline(HISTORY, WEIGHTS)
        assert scores.shape == (N,)
        assert scores.dtype == np.float32
        if name not in ("popularity", "transitions"):  # of which some have no pair to tell them
            assert scores[4:20:2].min() > scores[1:20:2].max(), name


def test_baselines_that_cannot_be_had_are_left_out(make_log, small):
    log = make_log([])
    got = fit_baselines(log, fit_preference(log, 2, {}, small), None, small)
    assert set(got) == {"co-occurrence", "linear model", "popularity", "item-kNN", "EASE"}


def test_the_engines_own_models_are_measured_alone_as_they_are_served(checkerboard, text, small):
    fadings = {"cooccurrence": 0.3, "transitions": 0.4, "linear": 0.5, "factors": 0.6}
    own = small.preference.model_copy(update={f"{m}_fading": f for m, f in fadings.items()})
    settings = small.model_copy(update={"preference": own})
    fitted = fit_preference(checkerboard, N, {"text": text}, settings)
    baselines = fit_baselines(checkerboard, fitted, text.rows, settings)
    history, weights = np.array([0, 3, 2]), np.array([1, 0.5, 1], dtype=np.float32)
    left = {model: weights * np.exp(-f * np.arange(3)) for model, f in fadings.items()}
    expected = {
        "co-occurrence": left["cooccurrence"] @ fitted.cooccurrence.toarray()[history],
        "transitions": left["transitions"] @ fitted.transitions.toarray()[history],
        "linear model": left["linear"] @ fitted.linear.toarray()[history],
        "ALS": fitted.factors.score(history, left["factors"].astype(np.float32)),
    }
    for name, scores in expected.items():
        assert baselines[name](history, weights) == pytest.approx(scores, rel=1e-5, nan_ok=True), (
            name
        )


def test_without_content_the_textbooks_linear_model_is_the_one_that_was_fitted(checkerboard, small):
    fitted = fit_preference(checkerboard, N, {}, small)
    ease = fit_baselines(checkerboard, fitted, None, small)["EASE"]
    alone = fit_linear(
        interactions(checkerboard, N, small.events, 200).matrix, {}, small.preference
    )
    assert ease(HISTORY, WEIGHTS).tolist() == score(alone, HISTORY, WEIGHTS).tolist()


def test_content_alone_says_nothing_without_content_on_both_sides(
    checkerboard, fitted, text, small
):
    content = fit_baselines(checkerboard, fitted, text.rows, small)["content"]
    assert np.isnan(content(np.array([21]), np.ones(1, np.float32))).all()
    assert np.isnan(content(np.array([0]), -np.ones(1, np.float32))).all()
    assert np.isnan(content(HISTORY, WEIGHTS)[21])
