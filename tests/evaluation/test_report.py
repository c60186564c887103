import re
from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from recsys.evaluation.charts import charts
from recsys.evaluation.report import html, table
from recsys.evaluation.result import Estimate, Evaluation, Measured, Period, Slice, Trial
from recsys.evaluation.words import evidence, headline

METRICS = ("ndcg", "recall", "hit", "mrr")


def measured(ndcg: float, popular: float) -> Measured:
    metrics = {
        f"{name}@{k}": Estimate(ndcg, ndcg - 0.02, ndcg + 0.02)
        for name in METRICS
        for k in (10, 20)
    }
    metrics |= {
        "novelty@10": Estimate(10.2, 9.0, 11.0),
        "popularity@10": Estimate(popular, popular, popular),
        "coverage@10": Estimate(0.123, None, None),
    }
    slices = {"all": 74, "history 1": 4, "history 2-4": 5, "history 5-19": 0, "history 20+": 65}
    slices |= {"first visits": 38, "cold items": 0}
    return Measured(slices={s: Slice(n=n, metrics=metrics if n else {}) for s, n in slices.items()})


def evaluation(low: float = 0.002, high: float = 0.02) -> Evaluation:
    day = datetime(2026, 6, 1, tzinfo=UTC)
    return Evaluation(
        measured=True,
        protocol="Global time split.\nSecond <paragraph>.",
        settings={"evaluation": {"seed": 0}},
        data_digest="5b2e",
        windows={"test": Period(start=day, end=day, events=100, actors=80, queries=74)},
        weights={"history": {"linear": 1.0, "text": 0.3}, "newcomer": {"popular": 1.0}},
        models={
            "blend": measured(0.142, 0.6),
            "popularity": measured(0.091, 1.0),
            "<b>EASE</b>": measured(0.131, 0.8),
        },
        left_out={"ALS": "the setting preference.factors is 0"},
        difference={
            "popularity": Estimate(0.051, 0.03, 0.07),
            "<b>EASE</b>": Estimate((low + high) / 2, low, high),
        },
        seconds={"measuring": 1.0},
    )


def unmeasured() -> Evaluation:
    found = evaluation().model_dump() | {"measured": False, "models": {}, "difference": {}}
    return Evaluation.model_validate(found | {"reason": "the test gives 3 queries"})


def printed(found: Evaluation, width: int = 100) -> str:
    console = Console(width=width, file=StringIO(), force_terminal=True, color_system="standard")
    console.print(table(found))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.002, 0.02, "The blend is ahead of every single model."),
        (-0.002, 0.02, "The blend is level with <b>EASE</b>, ahead of popularity."),
        (-0.02, -0.002, "The blend is behind <b>EASE</b>, ahead of popularity."),
    ],
)
def test_the_headline_claims_no_more_than_the_interval_allows(
    low: float, high: float, says: str
) -> None:
    assert headline(evaluation(low, high)) == says
    assert "74 queries" in evidence(evaluation(low, high))


def test_the_table_fits_100_columns_with_nothing_cut_off() -> None:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed(evaluation()))
    assert max(map(len, plain.splitlines())) <= 100
    assert "…" not in plain
    assert "0.142 [0.122, 0.162]" in plain
    assert "ALS is left out" in plain


def test_weights_that_could_not_be_fitted_are_named() -> None:
    assert "starting ones" not in printed(evaluation())
    found = evaluation().model_copy(update={"weights": {"history": {"linear": 1.0}}})
    assert "weights for first visits are the starting ones" in " ".join(printed(found).split())


def test_the_best_figure_of_a_column_is_bold() -> None:
    text = printed(evaluation())
    assert "\x1b[1m0.142 [0.122, 0.162]" in text
    assert "\x1b[1m60.0%" in text
    assert "\x1b[1m0.131" not in text


def test_slices_without_queries_are_not_listed() -> None:
    text = printed(evaluation())
    assert "first visits" in text
    assert "5 to 19" not in text
    assert "new items" not in text


def test_figures_for_papers_are_told_where_they_were_asked() -> None:
    assert "never saw the validation part" not in printed(evaluation())
    found = evaluation().model_copy(update={"train_only": measured(0.05432, 0.5).metrics})
    says = "as papers report: NDCG@10 0.0543 [0.0343, 0.0743], Recall@10 0.0543"
    assert says in " ".join(re.sub(r"\x1b\[[0-9;]*m", "", printed(found)).split())
    assert "never saw the validation part" in html(found, "Snapshot 1")


@pytest.mark.parametrize(
    ("trial", "says"),
    [
        (
            Trial(used=True, queries=434, gain=Estimate(0.012, 0.003, 0.021), model="tree"),
            "on the 434 later ones by +0.012 [+0.003, +0.021]: it ranks on top of the blend.",
        ),
        (
            Trial(used=False, queries=434, gain=Estimate(0.003, -0.005, 0.011)),
            "by +0.003 [-0.005, +0.011]: the blend ranks without it.",
        ),
        (Trial(used=False, queries=0), "was not tried: validation has too few queries."),
    ],
)
def test_what_came_of_trying_a_ranker_is_one_sentence(trial: Trial, says: str) -> None:
    assert "ranker" not in printed(evaluation())
    found = evaluation().model_copy(update={"ranker": trial})
    assert says in " ".join(re.sub(r"\x1b\[[0-9;]*m", "", printed(found)).split())
    assert says in html(found, "Snapshot 1")


def test_a_part_without_dates_shows_none() -> None:
    part = Period(start=None, end=None, events=123, actors=80)
    page = html(unmeasured().model_copy(update={"windows": {"test": part}}), "Snapshot 1")
    assert "<td></td><td>123</td>" in page
    assert "1970" not in page


def test_too_little_to_measure_is_one_clear_sentence() -> None:
    assert "Not measured: the test gives 3 queries." in printed(unmeasured())
    page = html(unmeasured(), "Snapshot 1")
    assert "Not measured: the test gives 3 queries." in page
    assert len(page) < 20_000


def test_the_page_asks_for_nothing_from_outside() -> None:
    page = html(evaluation(), "Snapshot 1")
    own, plotly = split_off_plotly(page)
    assert len(plotly) > 1_000_000
    assert not re.search(r"https?://|src=|<link|@import|url\(", own)
    assert page.count("plotly.js v") <= 1


def test_the_page_shows_every_model_and_plot() -> None:
    own, _ = split_off_plotly(html(evaluation(), "Snapshot 1"))
    for chart in ("accuracy", "differences", "slices", "weights", "coverage", "popularity"):
        assert f'<div id="{chart}"' in own
        assert f'"{chart}": {{"data"' in own
    assert "0.142</strong>" in own
    assert "Second &lt;paragraph&gt;" in own


def test_all_fitted_weights_are_shown_for_whom_they_were_fitted() -> None:
    weights = {
        "history": {"linear": 0.7, "text": 0.3, "new": 0.0},
        "returning": {"linear": 0.2, "popular": 0.8},
        "short": {"popular": 1.0},
        "newcomer": {"popular": 1.0},
        "new items": {"text": 0.5, "unproven": -1.5},
    }
    found = evaluation().model_copy(update={"weights": weights})
    figure = next(chart for chart in charts(found) if chart.id == "weights").figure
    names, texts = figure["layout"]["yaxis"]["ticktext"], figure["data"][0]["text"]
    assert sorted(names) == ["linear", "popular", "text", "unproven"]
    shown = {name: texts[5 * row : 5 * row + 5] for row, name in enumerate(names)}
    assert shown["popular"] == ["", "0.80", "1.00", "1.00", ""]
    assert shown["unproven"] == ["", "", "", "", "-1.50"]
    cells = {(cell["y0"] + 0.5, cell["x0"] + 0.5): cell for cell in figure["layout"]["shapes"]}
    assert len(cells) == sum(map(bool, texts))
    popular, unproven = names.index("popular"), names.index("unproven")
    assert cells[popular, 2]["opacity"] == cells[unproven, 4]["opacity"] == 0.5
    assert cells[names.index("text"), 4]["opacity"] == pytest.approx(0.5 / 3)


def test_no_label_of_a_point_covers_another_and_the_page_still_names_all() -> None:
    names = ["blend", "co-occurrence", "transitions", "linear model", "ALS", "EASE", "content"]
    crowd = {name: measured(0.14 + n / 1e4, 0.6) for n, name in enumerate(names)}
    apart = {f"model {n}": measured(n / 10, n / 10) for n in range(1, 8)}
    gaps = {name: Estimate(0.01, 0.0, 0.02) for name in names[1:]}
    crowded = evaluation().model_copy(update={"models": crowd, "difference": gaps})
    figure = next(c for c in charts(crowded) if c.id == "popularity").figure["data"][0]
    assert sum(bool(label) for label in figure["text"]) < len(names), "there is no room for all"
    assert figure["text"][0] == "blend"
    assert figure["hovertext"] == names
    models = {"blend": measured(0.8, 0.9), **apart}
    free = evaluation().model_copy(
        update={"models": models, "difference": dict.fromkeys(apart, Estimate(0.1, 0.0, 0.2))}
    )
    figure = next(c for c in charts(free) if c.id == "popularity").figure["data"][0]
    assert figure["text"] == list(models)


def test_everything_on_the_page_is_escaped() -> None:
    page = html(evaluation(), '<script>alert("x")</script>')
    own, _ = split_off_plotly(page)
    assert "<script>alert" not in own
    assert "<b>EASE" not in own
    assert "<extra>" not in own  # of the figures: no tag can end the element they stand in
    assert "&lt;b&gt;EASE" in own
    assert own.count("</script>") == 2  # the figures' and the page's own; Plotly's was split off


def split_off_plotly(page: str) -> tuple[str, str]:
    """The page without Plotly's script, and that script."""
    start = page.index("<script>")
    end = page.index("</script>", start)
    return page[:start] + page[end + len("</script>") :], page[start:end]
