"""What would the engine have suggested? Fit on what is known, ask about the rest, compare with what was liked.

rehearsal: known events -> settings and weights that suit the questions of validation (`learning`)
test: known events -> models, blend, baselines -> questions of the test -> Evaluation
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from recsys.catalogue.event_log import EventLog
from recsys.catalogue.items import ItemTable
from recsys.catalogue.times import from_us
from recsys.config import Settings
from recsys.evaluation.baselines import WHY_LEFT_OUT, baseline_slates, popularity_slates
from recsys.evaluation.basis import basis_of, outdated
from recsys.evaluation.judge import Slates, differences, judge, judge_alone
from recsys.evaluation.learning import Learned, learn, taken_over
from recsys.evaluation.metrics import Shelf, padded
from recsys.evaluation.past import MEASURED_SETTINGS, Found, Past
from recsys.evaluation.result import BLEND, Basis, Estimate, Evaluation, Period
from recsys.evaluation.split import LIMIT, Exam, Plan, Question, make_plan
from recsys.identity import Ordinals
from recsys.index.space import Space
from recsys.preference.baselines import fit_baselines
from recsys.preference.cold import ContentPrior
from recsys.preference.models import Preference
from recsys.ranking.block import Block, alike
from recsys.ranking.recommender import Recommender
from recsys.threads import one_blas_thread

__all__ = ["Evaluation", "Sitting", "backtest", "sit"]


@dataclass(frozen=True, eq=False)
class Sitting:
    """A test that was taken."""

    exam: Exam
    """As it was put."""
    slates: Slates
    """What was answered; empty where it would have told nothing."""
    evaluation: Evaluation


def backtest(
    items: ItemTable,
    spaces: Mapping[str, Space],
    priors: Mapping[str, ContentPrior],
    log: EventLog,
    settings: Settings,
    progress: Callable[[str], None] | None = None,
    plan: Plan | None = None,
    start: Found | None = None,
    beside: bool = True,
    last: Evaluation | None = None,
) -> Evaluation:
    """Measure what models of the known events suggest to those who then liked something else.

    progress is told the name of each step as it starts. plan: None for what the settings' protocol asks.
    start: settings from which the search sets out, such as those that the last build found.
    beside: False leaves out the baselines, which take longer than the blend where everybody is asked.
    last: what it learned is taken over while it holds (`basis`), and of the baselines popularity alone is asked.
    Equal inputs give an equal outcome, but for `seconds`.
    """
    data = (items, spaces, priors, log, settings)
    return sit(*data, progress, plan, start, beside, last).evaluation


def sit(
    items: ItemTable,
    spaces: Mapping[str, Space],
    priors: Mapping[str, ContentPrior],
    log: EventLog,
    settings: Settings,
    progress: Callable[[str], None] | None = None,
    plan: Plan | None = None,
    start: Found | None = None,
    beside: bool = True,
    last: Evaluation | None = None,
    alone: str | None = None,
) -> Sitting:
    """The same, with what was asked and answered. alone: a source of the blend that is asked by itself as well."""
    past = Past(items, spaces, priors, settings)
    steps = _Steps(progress)
    with steps("making the questions"):
        plan = _with_new_items(plan or make_plan(log, items, settings), len(items), settings)
    outcome = _nothing_yet(past, log, plan)
    if reason := _too_little(log, plan.test, settings):
        return Sitting(plan.test, {}, outcome.model_copy(update={"reason": reason}))
    learned, basis = _learned(past, log, plan, start, last, steps)
    past, test = past.having(learned.found), _as_served(plan.test, learned)
    slates, preference = _answer(past, test, learned, beside, basis.builds > 0, alone, steps)
    with steps("measuring"):
        known = np.bincount(test.known.item, minlength=len(items)) > 0
        models = judge(test, slates, _shelf(past, preference), known, settings.evaluation)
        difference = differences(test, slates, settings.evaluation)
    found = {
        "measured": True,
        "preference": learned.found.preference.model_dump(mode="json"),
        "events": learned.found.events.model_dump(mode="json"),
        "basis": basis,
        "hides_seen": learned.hides_seen,
        "weights": learned.weights,
        "ranker": learned.trial,
        "models": models,
        "train_only": {} if basis.builds else _train_only(past, plan, learned, steps),
        "left_out": {} if basis.builds else _left_out(models, beside),
        "difference": difference,
        "seconds": steps.seconds,
    }
    return Sitting(test, slates, outcome.model_copy(update=found))


@dataclass(frozen=True)
class _Steps:
    """Names each step as it starts, and keeps how long it took."""

    progress: Callable[[str], None] | None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if self.progress:
            self.progress(name)
        started = perf_counter()
        yield
        self.seconds[name] = perf_counter() - started


def _with_new_items(plan: Plan, n_items: int, settings: Settings) -> Plan:
    """The plan with as many items made new as the settings ask for, drawn by chance."""
    wanted = round(settings.evaluation.cold_items * n_items)
    if not wanted:
        return plan
    rng = np.random.default_rng(settings.evaluation.seed)
    return plan.forgetting(np.isin(np.arange(n_items), rng.permutation(n_items)[:wanted]))


def _left_out(models: Collection[str], beside: bool) -> dict[str, str]:
    if not beside:
        return {}
    return {name: why for name, why in WHY_LEFT_OUT.items() if name not in models}


def _too_little(log: EventLog, test: Exam, settings: Settings) -> str:
    """Why an exam would tell nothing; empty if it would."""
    least = settings.evaluation.min_queries
    if not len(log):
        return "there are no events"
    if not len(test.known):
        return "no event is left to learn from once the test is held out"
    if len(test.main) < least:
        return (
            f"the test gives {len(test.main)} queries, "
            f"the setting evaluation.min_queries asks for {least}"
        )
    return ""


def _learned(
    past: Past,
    log: EventLog,
    plan: Plan,
    start: Found | None,
    last: Evaluation | None,
    steps: _Steps,
) -> tuple[Learned, Basis]:
    """What the last evaluation learned, else what is learned now."""
    now = basis_of(past, log, plan)
    then = last.basis if last else None
    why = outdated(then, now, plan)
    if last and then and not why:
        return taken_over(last), then.model_copy(update={"builds": then.builds + 1})
    learned = learn(past, plan, start, steps)
    if plan.train_only is None:
        learned = replace(learned, fitted=None)  # not needed any more, and large
    return learned, now.model_copy(update={"because": why})


def _answer(
    past: Past,
    exam: Exam,
    learned: Learned,
    beside: bool,
    few: bool,
    alone: str | None,
    steps: _Steps,
) -> tuple[Slates, Preference]:
    """Let the blend, and every baseline beside it, answer every question. few: of the baselines, popularity alone."""
    with steps("fitting models for test"):
        preference = past.fit(exam.known)
    with steps("asking the blend"):
        recommender = past.recommender(preference, learned.weights, learned.ranker)
        slates = {BLEND: _slates(recommender, exam.questions)}
    if alone is not None:
        with steps(f"asking {alone} alone"):
            slates[by_itself(alone)] = _slates(recommender, _put_to(alone, exam.questions))
    if not beside:
        return slates, preference
    popular = preference.popularity.popular
    queries = [question.query for question in exam.questions]
    if few:
        with steps("asking popularity"):
            return slates | popularity_slates(popular, past.items, queries), preference
    with steps("fitting baselines"):
        scorers = fit_baselines(exam.known, preference, past.content, past.settings)
    with steps("asking the baselines"), one_blas_thread():  # their products are too small to share
        return slates | baseline_slates(scorers, popular, past.items, queries), preference


def by_itself(source: str) -> str:
    """The model that a source of the blend is where nothing else speaks."""
    return f"{source} alone"


def _put_to(source: str, questions: Sequence[Question]) -> list[Question]:
    only = frozenset({source})
    return [replace(each, query=replace(each.query, sources=only)) for each in questions]


def _train_only(past: Past, plan: Plan, learned: Learned, steps: _Steps) -> dict[str, Estimate]:
    """Let the blend answer the main questions with models of the training part alone."""
    if plan.train_only is None:
        return {}
    exam, fitted = _as_served(plan.train_only, learned), learned.fitted
    if fitted is None or exam.known is not plan.rehearsal.known:
        with steps("fitting models on training alone"):
            fitted = past.fit(exam.known)
    with steps("asking the blend of training alone"):
        slates = _slates(past.recommender(fitted, learned.weights, learned.ranker), exam.main)
    with steps("measuring training alone"):
        return judge_alone(exam, slates, _shelf(past, fitted), past.settings.evaluation)


def _as_served(exam: Exam, learned: Learned) -> Exam:
    """With histories and seen items as a request would have them."""
    return exam.hiding_seen(learned.hides_seen).weighing(learned.found.events)


def _shelf(past: Past, preference: Preference) -> Shelf:
    """What is on offer, as well known as these models have it."""
    return Shelf(past.items.available, preference.support, past.content)


def _slates(recommender: Recommender, questions: Sequence[Question]) -> Ordinals:
    """(q, LIMIT) the items of the very slates that requests would get, padded with `ABSENT`."""
    queries = [question.query for question in questions]
    found: dict[int, Ordinals] = {}
    with one_blas_thread():  # as in service
        for places in alike(queries):
            slates = recommender.answer(Block([queries[place] for place in places]))
            found |= zip(places, slates.items, strict=True)
    return padded((found[place] for place in range(len(queries))), LIMIT)


def _nothing_yet(past: Past, log: EventLog, plan: Plan) -> Evaluation:
    """How it is measured and on what, before anything is found."""
    exams = {"validation": plan.rehearsal, "test": plan.test}
    return Evaluation(
        protocol=plan.protocol,
        settings=past.settings.model_dump(mode="json", include=MEASURED_SETTINGS),
        data_digest=_digest(past.items, log),
        windows={
            name: _period(part, exams.get(name), plan.dated)
            for name, part in plan.parts.items()
            if len(part)
        },
    )


def _period(part: EventLog, exam: Exam | None, dated: bool) -> Period:
    return Period(
        start=from_us(int(part.time[0])) if dated else None,
        end=from_us(int(part.time[-1])) if dated else None,
        events=len(part),
        actors=len(np.unique(part.actor)),
        queries=len(exam.main) if exam else 0,
        first_visits=len(exam.visits) if exam else 0,
    )


def _digest(items: ItemTable, log: EventLog) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in (*items.ids, *log.actors, *log.types):
        digest.update(name.encode() + b"\0")
    for column in (log.actor, log.item, log.type, log.value, log.time):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
