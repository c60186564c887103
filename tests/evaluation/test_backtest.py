from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from recsys.catalogue.event_log import EventLog, LogBuilder
from recsys.catalogue.item_table import ItemTable
from recsys.config import IndexSettings, Settings
from recsys.embedding.encoder import EncoderCard, unit_rows
from recsys.embedding.vectors import VectorTable
from recsys.evaluation.backtest import Evaluation, backtest
from recsys.evaluation.split import by_parts
from recsys.index.space import Space, build_space
from recsys.preference.cold import ContentPrior

GENRES, OF_A_GENRE = 3, 30
ITEMS = GENRES * OF_A_GENRE


def likes(people: int = 150) -> list[tuple[str, int, float]]:
    """Everybody keeps to one genre (items n, n + 3, ...) and likes 10 films of it within three weeks."""
    rng = np.random.default_rng(0)
    taste = np.linspace(3, 1, OF_A_GENRE)
    events = []
    for person in range(people):
        chosen = rng.choice(OF_A_GENRE, 10, replace=False, p=taste / taste.sum())
        days = rng.uniform(0, 100) + np.sort(rng.uniform(0, 21, size=10))
        films = (GENRES * chosen + person % GENRES).tolist()
        events += [(f"p{person}", item, day) for item, day in zip(films, days, strict=True)]
    return sorted(events, key=lambda event: event[2])


@dataclass(frozen=True)
class World:
    items: ItemTable
    spaces: dict[str, Space]
    priors: dict[str, ContentPrior]
    log: EventLog

    def measure(
        self, settings: Settings, progress: Callable[[str], None] | None = None
    ) -> Evaluation:
        return backtest(self.items, self.spaces, self.priors, self.log, settings, progress)


@pytest.fixture
def world(make_items: Callable, make_log: Callable) -> World:
    """Films whose text tells their genre."""
    items = make_items(ITEMS)
    rows = np.random.default_rng(1).normal(scale=0.3, size=(ITEMS, 16))
    rows[np.arange(ITEMS), np.arange(ITEMS) % GENRES] += 2
    card = EncoderCard("made for a test", "1", "text", 16, None, "genre")
    table = VectorTable(items.ids, unit_rows(rows.astype(np.float32)), card)
    space = build_space(items.ids, table, IndexSettings())
    prior = ContentPrior(table.rows, space.neighbours, space.similarity)
    return World(items, {"text": space}, {"text": prior}, make_log(items, likes()))


@pytest.fixture(scope="module")
def told() -> list[str]:
    """The steps that `outcome` told of."""
    return []


@pytest.fixture(scope="module")
def kept() -> list[Evaluation]:
    """The outcome, once it is made."""
    return []


@pytest.fixture
def outcome(world: World, small: Settings, told: list[str], kept: list[Evaluation]) -> Evaluation:
    """What the whole world's backtest found; made once."""
    if not kept:
        kept.append(world.measure(small, told.append))
    return kept[0]


def without_times(evaluation: Evaluation) -> Evaluation:
    return evaluation.model_copy(update={"seconds": {}})


def test_where_taste_decides_the_blend_is_ahead_of_popularity(outcome: Evaluation) -> None:
    assert outcome.measured
    assert outcome.difference["popularity"].low > 0
    assert outcome.metrics()["blend.ndcg@10"] > 1.5 * outcome.metrics()["popularity.ndcg@10"]


def test_every_baseline_is_measured_on_the_same_queries(outcome: Evaluation) -> None:
    textbooks = {"popularity", "item-kNN", "ALS", "EASE", "content"}
    own = {"co-occurrence", "transitions", "linear model"}
    assert set(outcome.models) == {"blend"} | textbooks | own
    assert set(outcome.difference) == set(outcome.models) - {"blend"}
    assert len({model.slices["all"].n for model in outcome.models.values()}) == 1
    for name, difference in outcome.difference.items():
        gap = outcome.metrics()["blend.ndcg@10"] - outcome.metrics()[f"{name}.ndcg@10"]
        assert difference.value == pytest.approx(gap)


def test_without_a_history_baselines_that_need_one_are_as_good_as_popularity(
    outcome: Evaluation,
) -> None:
    visits = {
        name: model.slices["first visits"].metrics["ndcg@10"]
        for name, model in outcome.models.items()
    }
    assert visits["item-kNN"] == visits["EASE"] == visits["content"] == visits["popularity"]


def test_weights_are_learned_for_every_segment_with_enough_questions(outcome: Evaluation) -> None:
    asked = {"history", "newcomer", "new items"}
    assert asked <= set(outcome.weights) <= asked | {"short", "returning"}
    assert all(any(weights.values()) for weights in outcome.weights.values())


def test_the_windows_follow_one_another_and_hold_all_events(
    outcome: Evaluation, world: World
) -> None:
    training, validation, test = (
        outcome.windows[name] for name in ("training", "validation", "test")
    )
    assert training.end < validation.start <= validation.end < test.start
    assert training.events + validation.events + test.events == len(world.log)
    assert test.events == round(0.2 * len(world.log))


def test_the_same_data_and_seed_give_the_same_evaluation(
    outcome: Evaluation, world: World, small: Settings
) -> None:
    assert without_times(world.measure(small)) == without_times(outcome)


def test_what_is_learned_does_not_depend_on_the_test_window(
    outcome: Evaluation, world: World, small: Settings
) -> None:
    """Other likes in the test window: other figures, but the same weights of the blend."""
    log = world.log
    start = len(log) - outcome.windows["test"].events
    item = log.item.copy()
    item[start:] = np.random.default_rng(2).integers(0, ITEMS, len(item) - start)
    shuffled = replace(world, log=replace(log, item=item)).measure(small)
    assert shuffled.weights == outcome.weights
    assert shuffled.metrics()["blend.ndcg@10"] < 0.7 * outcome.metrics()["blend.ndcg@10"]


def test_steps_are_told_as_they_start_and_timed(outcome: Evaluation, told: list[str]) -> None:
    assert list(outcome.seconds) == told
    assert "asking the blend" in told


def test_an_evaluation_read_back_is_the_same(outcome: Evaluation) -> None:
    assert Evaluation.from_json(outcome.to_json()) == outcome


def test_the_settings_kept_are_those_that_figures_depend_on(outcome: Evaluation) -> None:
    """The database and where things lie are not among them."""
    sections = {"events", "embedding", "index", "preference", "ranking", "evaluation"}
    assert set(outcome.settings) == sections


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([], "there are no events"),
        ([(f"p{n}", n, 3) for n in range(20)], "no event is left to learn from"),
        ([("a", n, n) for n in range(20)], "1 queries"),
    ],
)
def test_too_little_to_measure_is_said_and_measures_nothing(
    world: World, make_log: Callable, small: Settings, events: Sequence, says: str
) -> None:
    found = replace(world, log=make_log(world.items, events)).measure(small)
    assert not found.measured
    assert says in found.reason
    assert found.metrics() == found.weights == found.models == {}
    assert found.protocol
    assert found.data_digest


def test_without_a_linear_model_there_is_no_ease_and_it_says_so(
    world: World, small: Settings
) -> None:
    tight = small.preference.model_copy(update={"linear_memory_gb": 0, "factors": 0})
    found = world.measure(small.model_copy(update={"preference": tight}))
    assert set(found.left_out) == {"EASE", "ALS", "linear model"}
    assert "linear_memory_gb" in found.left_out["EASE"]
    assert "EASE" not in found.models


def test_a_world_without_content_is_measured_by_behaviour_alone(
    world: World, small: Settings
) -> None:
    found = replace(world, spaces={}, priors={}).measure(small)
    assert found.difference["popularity"].low > 0
    assert set(found.left_out) == {"content"}
    assert "diversity@10" not in found.models["blend"].metrics


def test_where_nothing_can_be_known_nothing_is_found(world: World, small: Settings) -> None:
    """People view an item twice and buy it, all by chance: knowing the view must not count as foresight."""
    rng = np.random.default_rng(3)
    builder, n = LogBuilder(world.items.ids), len(world.items)
    rows = []
    for person in range(600):
        for day in rng.uniform(0, 100, size=6):
            item = f"{rng.integers(n):03}"
            for minute, kind in enumerate(("view", "view", "purchase")):
                time = round(day * 86_400_000_000) + minute * 60_000_000
                rows.append((f"p{person:03}", None, item, kind, np.nan, time))
    builder.add(rows)
    found = replace(world, log=builder.build()).measure(small)
    chance = 10 / n
    assert found.models["blend"].metrics["recall@10"].value < 2 * chance
    assert found.models["content"].metrics["recall@10"].value < 2 * chance


def test_with_leave_one_out_the_blend_is_also_measured_as_papers_do(
    world: World, small: Settings
) -> None:
    one_out = small.evaluation.model_copy(update={"protocol": "leave-one-out"})
    found = world.measure(small.model_copy(update={"evaluation": one_out}))
    asked = found.models["blend"].slices["all"].n
    assert found.protocol.startswith("Leave one out")
    assert asked == found.windows["test"].queries == found.windows["test"].events == 150
    assert found.windows["training"].events == len(world.log) - 2 * 150
    assert set(found.train_only) == set(found.models["blend"].metrics)
    assert found.train_only["ndcg@10"].value != found.metrics()["blend.ndcg@10"]
    assert found.train_only["ndcg@10"].low > 1.5 * found.metrics()["popularity.ndcg@10"]


def test_a_split_by_time_has_no_figures_for_papers(outcome: Evaluation) -> None:
    assert outcome.train_only == {}


def test_models_for_papers_know_the_training_part_alone(world: World, small: Settings) -> None:
    """Other events of the validation part change nothing where it has too few people to learn weights from."""
    part = np.where(world.log.actor < 9, 1, 0)
    part[-500:] = 2

    def papers(log: EventLog) -> Evaluation:
        plan = by_parts(log, part, world.items, small)
        return backtest(world.items, world.spaces, world.priors, log, small, plan=plan)

    item = world.log.item.copy()
    item[part == 1] = np.random.default_rng(2).integers(0, ITEMS, (part == 1).sum())
    plain, changed = papers(world.log), papers(replace(world.log, item=item))
    assert plain.weights == changed.weights == {}
    assert plain.train_only == changed.train_only
    assert plain.metrics() != changed.metrics()


def test_the_parts_of_a_given_split_have_no_dates(world: World, small: Settings) -> None:
    part = np.repeat([0, 2], [1_200, 300])
    plan = by_parts(world.log, part, world.items, small)
    found = backtest(world.items, world.spaces, world.priors, world.log, small, plan=plan)
    assert found.measured
    assert found.protocol.startswith("A given split in training and test")
    assert found.train_only == {}
    assert [(p.start, p.end) for p in found.windows.values()] == [(None, None)] * 3
    assert found.windows["test"].events == 300


def slice_of(found: Evaluation, model: str, name: str) -> float:
    return found.models[model].slices[name].metrics["ndcg@20"].value


def test_items_made_new_are_found_by_their_content_alone(world: World, small: Settings) -> None:
    evaluation = small.evaluation.model_copy(update={"cold_items": 0.3})
    found = world.measure(small.model_copy(update={"evaluation": evaluation}))
    alone = "cold items among themselves"
    assert "30% of the items were made new" in found.protocol
    assert found.models["blend"].slices[alone].n == found.models["blend"].slices["cold items"].n
    assert slice_of(found, "blend", alone) > 1.5 * slice_of(found, "popularity", alone)
    assert slice_of(found, "content", alone) > slice_of(found, "EASE", alone)
    known = found.weights["new items"].keys() - {"unproven"}
    assert "text" in known
    assert not known & {"factors", "again"}  # they know nothing of new items


def test_people_with_one_event_have_figures_of_their_own(outcome: Evaluation) -> None:
    slices = outcome.models["blend"].slices
    assert 0 < slices["first event"].n <= slices["first visits"].n
    assert slice_of(outcome, "blend", "first event") > slice_of(
        outcome, "popularity", "first event"
    )
    assert slice_of(outcome, "blend", "first event") > slice_of(outcome, "blend", "first visits")


def test_models_that_the_rehearsal_fitted_are_not_fitted_again(
    world: World, small: Settings
) -> None:
    evaluation = small.evaluation.model_copy(update={"protocol": "leave-one-out"})
    found = world.measure(small.model_copy(update={"evaluation": evaluation}))
    assert found.train_only
    assert [step for step in found.seconds if step.startswith("fitting models")] == [
        "fitting models for validation",
        "fitting models for test",
    ]
