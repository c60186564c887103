"""An evaluation in words and figures: shared by the terminal and the page."""

from dataclasses import dataclass

from recsys.evaluation.result import (
    ALL,
    BLEND,
    COLD_ALONE,
    COLD_ITEMS,
    FIRST_EVENT,
    FIRST_VISITS,
    HEADLINE,
    Estimate,
    Evaluation,
    Trial,
)
from recsys.ranking.blend import NEW_ITEMS


@dataclass(frozen=True)
class Column:
    """A metric as a reader meets it."""

    metric: str
    label: str
    """On two lines where a table is narrow."""
    means: str
    form: str = ".3f"
    lower_is_better: bool = False

    @property
    def name(self) -> str:
        """The label on one line."""
        return self.label.replace("-\n", "").replace("\n", " ")


COLUMNS = (
    Column(HEADLINE, "NDCG\n@10", "how near the top the liked items stand, 1 is perfect"),
    Column("recall@10", "Recall\n@10", "share of the liked items found"),
    Column("ndcg@20", "NDCG\n@20", "the same over twenty places"),
    Column("recall@20", "Recall\n@20", "the same over twenty places"),
    Column("mrr@10", "MRR\n@10", "1 / rank of the first liked item"),
    Column("coverage@10", "Cover-\nage", "share of the available items shown to anyone", ".1%"),
    Column("novelty@10", "Nov-\nelty", "bits of surprise: rarely liked items score high", ".1f"),
    Column("diversity@10", "Diver-\nsity", "1 - mean cosine of the items shown together"),
    Column(
        "popularity@10",
        "Popular",
        "share of items shown that are among the most liked tenth",
        ".1%",
        lower_is_better=True,
    ),
)

AS_PAPERS_REPORT = ("recall@10", HEADLINE, "recall@20", "ndcg@20")
"""The metrics for which there are figures to compare with."""

SLICES = {
    ALL: "everybody",
    "history 1": "1 like known",
    "history 2-4": "2 to 4 likes known",
    "history 5-19": "5 to 19 likes known",
    "history 20+": "20 or more likes known",
    FIRST_VISITS: "first visits",
    FIRST_EVENT: "one event known",
    COLD_ITEMS: "new items",
    COLD_ALONE: "new items alone",
}
"""Slice -> what it is called, in reading order."""

NEW_ITEMS_HOW = """\
New items: models know nobody's event on them; there, the targets are those alone, and the whole catalogue \
competes. New items alone: the same targets, and only new items compete."""

BY_TIME = """\
Global time split with live history: the newest {test:.0%} of the events are the test window, the \
{validation:.0%} before them the validation window. Settings were found on validation, the blend's weights \
on it and on the equally long window before it, where there are enough events. A model knows only events \
from before the window.
Each person who liked something in the window is asked about once, in the middle of those likes: the \
first half has joined the history, as it would have in service, and the targets are the distinct items \
of the rest.
First visits: people without any event before the window, asked without history for all they liked in \
it. One event known: the same people after their first like there, asked for all later ones. """
BY_TIME += NEW_ITEMS_HOW

LEAVE_ONE_OUT = """\
Leave one out: the last like of each person with at least three is the target of the test, the one \
before it that of validation, on which the blend's weights were fitted. Everything before the target is \
the history, in the test the validation item too. A model knows everybody's events up to the target.
It leaks the future: models learn from what others did after the moment of a question, which nobody \
knows in service. It orders models otherwise than a split by time does, and serves only to compare with \
papers that report it. """
LEAVE_ONE_OUT += NEW_ITEMS_HOW

BY_PARTS = {
    True: """\
A given split in training, validation and test: the blend's weights were fitted on validation; then a \
model knows both. Each person with likes in the test part is asked once, with all that is known of them \
as history; the targets are the distinct items of those likes.""",
    False: """\
A given split in training and test: the blend's weights were fitted on likes of training, held back by \
chance; then a model knows all of training. Each person with likes in the test part is asked once, with \
the training part as history; the targets are the distinct items of those likes.""",
}
"""With and without a validation part."""

GIVEN_SPLIT = """\
Where such a split does not follow time it leaks the future: it serves only to compare with papers that \
report it. """
GIVEN_SPLIT += NEW_ITEMS_HOW

MEASURED_HOW = """\
The whole catalogue competes, no sample of it; items off sale are masked, and seen ones where they \
are hidden, alike for every model. What is liked again on a later day is a target like any other, and is missed \
where seen items are hidden; what only ends a visit that had begun, as a purchase after a view does, is none.
NDCG counts 1 per target and is perfect with min(targets, k) of them on top; recall divides by all \
targets. Where a baseline has nothing to say, or cannot tell items apart, the more popular comes first. \
Intervals: 95 %, {resamples:,} bootstrap resamples of the queries, seed {seed}."""

MADE_NEW = """\
To measure how new items fare, {share:.0%} of the items were made new: drawn by chance, their events are hidden \
from every model and from every history, in validation too, and only the targets hold them."""

SEGMENTS = {
    "history": "viewers with a history",
    "returning": "who comes back",
    "short": "short histories",
    "newcomer": "first visits",
    NEW_ITEMS: "new items",
}
"""Segment of the blend that is fitted -> what it is called."""


STANDING_IN = {
    "history": "the starting ones",
    "newcomer": "the starting ones",
    NEW_ITEMS: "those for known ones",
}
"""Segment -> what weighs where nothing was fitted; the others then have the weights of `history`."""


def headline(evaluation: Evaluation) -> str:
    """The outcome in one sentence, which claims no more than the intervals of the differences allow."""
    if not evaluation.measured:
        return f"Not measured: {evaluation.reason}."
    found = evaluation.difference.items()
    behind = [name for name, (_, _, high) in found if high is not None and high < 0]
    ahead = [name for name, (_, low, _) in found if low is not None and low > 0]
    level = [name for name, _ in found if name not in behind + ahead]
    if not behind and not level and not evaluation.takes_over:
        return "The blend is ahead of every single model."
    said = [f"behind {_listed(behind)}"] if behind else []
    said += [f"level with {_listed(level)}"] if level else []
    said += [f"ahead of {_listed(ahead)}"] if ahead else []
    return f"The blend is {', '.join(said)}."


def _listed(names: list[str]) -> str:
    """`A, B and C`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def evidence(evaluation: Evaluation) -> str:
    """The figures behind the headline; empty when nothing was measured."""
    if not evaluation.measured:
        return ""
    best = evaluation.best_baseline
    mine, other = (evaluation.models[name].metrics[HEADLINE].value for name in (BLEND, best))
    gain = f" ({mine / other - 1:+.1%})" if other > 0 else ""
    rank = "" if evaluation.takes_over else ", the best single model"
    return (
        f"NDCG@10 is {mine:.3f}, against {other:.3f} for {best}{rank}{gain}. "
        f"The difference, query by query, is {interval(evaluation.difference[best], '+.3f')} "
        f"over {queries(evaluation):,} queries."
    )


def train_only(evaluation: Evaluation) -> str:
    """The figures for papers, of an evaluation that has them."""
    found = ", ".join(
        f"{column.label.replace(chr(10), '')} {interval(evaluation.train_only[column.metric], '.4f')}"
        for column in COLUMNS
        if column.metric in AS_PAPERS_REPORT
    )
    return f"With models that never saw the validation part, as papers report: {found}."


def trial(found: Trial) -> str:
    """What came of trying a ranker."""
    if found.gain is None:
        return "A ranker (LambdaMART) was not tried: validation has too few queries."
    outcome = "it ranks on top of the blend" if found.used else "the blend ranks without it"
    return (
        f"A ranker (LambdaMART), taught by the earlier queries of validation, changed the blend's NDCG@20 on "
        f"the {found.queries:,} later ones by {interval(found.gain, '+.3f')}: {outcome}."
    )


def learned(evaluation: Evaluation) -> list[str]:
    """Whose settings and weights were measured, a paragraph at the most."""
    basis = evaluation.basis
    if basis is None or not basis.builds:
        return []
    ago = "by the last build" if basis.builds == 1 else f"{basis.builds} builds ago"
    return [
        f"Settings and weights are those learned {ago}, when all single models were measured: events, items and "
        "settings are nearly the same."
    ]


def queries(evaluation: Evaluation) -> int:
    """Queries of the main set."""
    return evaluation.models[BLEND].slices[ALL].n


def source_name(source: str) -> str:
    """`co-occurrence`, `text taste`: as a reader meets what the code calls `cooccurrence`, `text_taste`."""
    return source.replace("cooccurrence", "co-occurrence").replace("_", " ")


def interval(estimate: Estimate, form: str = ".3f") -> str:
    """`0.142 [0.131, 0.153]`; without brackets where there is no interval."""
    value, low, high = (f"{part:{form}}" if part is not None else "" for part in estimate)
    return f"{value} [{low}, {high}]" if low else value


def cell(evaluation: Evaluation, model: str, column: Column) -> str:
    """One figure of the main table; a dash where it is unknown."""
    estimate = evaluation.models[model].metrics.get(column.metric)
    if estimate is None:
        return "-"
    return interval(estimate) if column.metric == HEADLINE else f"{estimate.value:{column.form}}"


def best_of_column(evaluation: Evaluation, column: Column) -> set[str]:
    """The models with the best figure, ties included."""
    found = {
        name: model.metrics[column.metric].value
        for name, model in evaluation.models.items()
        if column.metric in model.metrics
    }
    choose = min if column.lower_is_better else max
    return {name for name, value in found.items() if value == choose(found.values())}


def slices(evaluation: Evaluation) -> list[tuple[str, str, int]]:
    """(slice, what it is called, queries) of those that hold any query, in reading order."""
    found = evaluation.models[BLEND].slices
    asked = [name for name in SLICES if name in found and found[name].n]  # an older one has fewer
    return [(name, SLICES[name], found[name].n) for name in asked]


def _served(evaluation: Evaluation) -> list[str]:
    """The segments of the blend that matter to its figures."""
    if not evaluation.measured:
        return []
    met = COLD_ITEMS in {name for name, _, _ in slices(evaluation)}
    return [segment for segment in STANDING_IN if segment != NEW_ITEMS or met]


def footnotes(evaluation: Evaluation) -> list[str]:
    """How it was measured, a paragraph each."""
    left_out = [f"{name} is left out: {why}." for name, why in evaluation.left_out.items()]
    unfitted = [
        f"The blend's weights for {SEGMENTS[segment]} are {STANDING_IN[segment]}: validation has too few queries."
        for segment in _served(evaluation)
        if segment not in evaluation.weights
    ]
    alone = [train_only(evaluation)] if evaluation.train_only else []
    tried = [trial(evaluation.ranker)] if evaluation.ranker else []
    return [
        *learned(evaluation),
        *alone,
        *tried,
        *evaluation.protocol.splitlines(),
        *left_out,
        *unfitted,
    ]
