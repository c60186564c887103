"""Settings: where they come from, and what is said of those that do not exist."""

from pathlib import Path

import pytest

from recsys.config import EventSettings, RankingSettings, documented, load_settings
from recsys.errors import ConfigError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_environment_comes_before_the_file_and_the_file_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("recsys.toml").write_text("[ranking]\ndiversity = 0.2\ncandidates = 50\n")
    monkeypatch.setenv("RECSYS_RANKING__DIVERSITY", "0.4")
    ranking = load_settings().ranking
    assert (ranking.diversity, ranking.candidates, ranking.pool) == (
        0.4,
        50,
        RankingSettings().pool,
    )


def test_a_file_may_be_named_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("shop.toml").write_text("home = 'elsewhere'\n")
    monkeypatch.setenv("RECSYS_CONFIG", "shop.toml")
    assert load_settings().home == Path("elsewhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[rankng]\n", "unknown setting rankng; did you mean ranking?"),
        (
            "[ranking]\ndiversty = 1\n",
            "unknown setting ranking.diversty; did you mean ranking.diversity?",
        ),
        (
            "[ranking]\ndiversity = 2\n",
            "ranking.diversity: Input should be less than or equal to 1",
        ),
        ("[ranking]\ndiversity = 'much'\n", "ranking.diversity: Input should be a valid number"),
        ("ranking = 3\n", "ranking: Input should be"),
        ("[events]\nseen = ['purchas']\n", "seen names purchas, which has no weight"),
        ("[events]\nhalf_life_days = inf\n", "should be a finite number"),
        ("[events.weights]\nview = nan\n", "should be a finite number"),
        ("[evaluation]\nvalidation = 0.6\ntest = 0.4\n", "must leave events to learn from"),
        ("[events]\nrating_best = 3\n", "rating_best must be greater than rating_neutral"),
        ("[[[", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_explained(text: str, message: str) -> None:
    Path("recsys.toml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_settings()
    assert message in str(raised.value)
    assert "recsys.toml" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("RECSYS_RANKING__DIVERSTY", "did you mean RECSYS_RANKING__DIVERSITY?"),
        ("RECSYS_HOMME", "did you mean RECSYS_HOME?"),
    ],
)
def test_an_unknown_variable_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match=name) as raised:
        load_settings()
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("RECSYS_EVENTS__SEEN", "purchase"), ("RECSYS_RANKING", "{"), ("RECSYS_THREADS", "many")],
)
def test_a_malformed_variable_is_explained(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="settings"):
        load_settings()


def test_own_event_types_can_be_weighed_from_either_place(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("recsys.toml").write_text("[events.weights]\nwishlist = 0.6\npurchase = 2\n")
    monkeypatch.setenv("RECSYS_EVENTS__WEIGHTS__GIFT", "0.7")
    weights = load_settings().events.weights
    assert (weights["wishlist"], weights["purchase"], weights["gift"]) == (0.6, 2.0, 0.7)
    assert weights["view"] == 0.2, "the usual types stay"


def test_what_a_build_found_stands_in_for_what_was_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = EventSettings()
    weights = {"view": 0.01, "click": 0.02, "gift": 0.03, "gone": 0.04}
    found = usual.model_copy(update={"half_life_days": 7.0, "weights": usual.weights | weights})
    assert usual.taking(found).half_life_days == 7
    assert usual.taking(found).weights == usual.weights | {"view": 0.01, "click": 0.02}

    Path("recsys.toml").write_text("[events]\nhalf_life_days = 180\nweights = { view = 0.2 }\n")
    monkeypatch.setenv("RECSYS_EVENTS__WEIGHTS__GIFT", "0.7")
    mine = load_settings().events.taking(found)
    assert mine.half_life_days == 180
    assert mine.weights == usual.weights | {"view": 0.2, "gift": 0.7, "click": 0.02}
    assert mine.taking(usual).weights["view"] == 0.2, "what was set is remembered"


def test_settings_cannot_be_changed_once_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().ranking.diversity = 1.0  # type: ignore[misc]


def test_every_setting_is_documented() -> None:
    assert [name for name, doc in documented() if not doc.strip()] == []
