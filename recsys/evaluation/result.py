"""What an evaluation found, as one frozen document: kept beside a snapshot, printed, drawn, compared.

Evaluation ── windows, weights ──┐
   └── models: name -> Measured ─┴─ slices: name -> Slice ── metrics: name -> Estimate
"""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

BLEND = "blend"
"""The model that is served; every other model measured stands alone: a baseline."""

ALL = "all"
"""The slice of one query per person: what is meant where no slice is named."""

FIRST_VISITS = "first visits"
FIRST_EVENT = "first event"
COLD_ITEMS = "cold items"
COLD_ALONE = "cold items among themselves"

FILE = "evaluation.json"
"""Where a snapshot keeps it."""

HEADLINE = "ndcg@10"
"""The metric by which models are ranked and the gate decides."""


class Estimate(NamedTuple):
    """A mean over queries and its 95 % bootstrap interval; None where resampling queries means nothing."""

    value: float
    low: float | None
    high: float | None


class Document(BaseModel):
    """Frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Slice(Document):
    """One model on one group of queries."""

    n: int
    """Queries; with none there are no metrics."""
    metrics: dict[str, Estimate]


class Measured(Document):
    """One model on every group of queries."""

    slices: dict[str, Slice]

    @property
    def metrics(self) -> dict[str, Estimate]:
        """The metrics on the main set of queries."""
        return self.slices[ALL].metrics


class Period(Document):
    """A part of the events; by time, a stretch of it with both ends included."""

    start: datetime | None
    """None where the events' times say nothing."""
    end: datetime | None
    events: int
    actors: int
    queries: int = 0
    """Queries whose targets are in it, after sampling."""
    first_visits: int = 0
    """Queries of people first seen in it, after sampling."""


class Trial(Document):
    """A ranker against the blend, both taught by the earlier questions of validation and asked the later ones."""

    used: bool
    """Whether it is served on top of the blend: only where the whole interval of the gain is above 0."""
    queries: int
    """Later questions; 0 where there were too few to try it."""
    gain: Estimate | None = None
    """NDCG@20 of the ranker minus that of the blend, query by query; None: not tried."""
    model: str = ""
    """LightGBM's text of the ranker that all questions of validation taught; empty unless it is used."""

    @property
    def served(self) -> str | None:
        """The model, where it is used."""
        return self.model if self.used else None


class Basis(Document):
    """What settings and weights were learned from: enough to tell later whether they still hold."""

    made_with: str
    """A digest of the settings, the libraries and the encoders."""
    events: list[int]
    """Hashes of a sample of the events."""
    items: list[int]
    """Hashes of a sample of the items and what they contain."""
    until: int | None
    """Microseconds: the newest event of the validation part; None: there is none."""
    builds: int = 0
    """Builds that took over what was learned, the one at hand included; 0: it learned itself."""
    because: str = ""
    """Why the build that learned did so."""


class Evaluation(Document):
    """How the blend and the baselines did on held-out events; without models, why that is not known."""

    protocol: str
    settings: dict[str, Any]
    """The settings that the figures depend on, the seed included."""
    data_digest: str
    """Of the item ids and the events: figures are comparable where it is equal."""
    measured: bool = False
    reason: str = ""
    """Why nothing was measured."""
    windows: dict[str, Period] = {}
    """`training`, `validation` and `test`, as far as there are such events."""
    preference: dict[str, Any] = {}
    """Settings of the models of taste, as found on validation; empty when nothing was measured."""
    events: dict[str, Any] = {}
    """What events weigh, as found on validation; empty when nothing was measured."""
    basis: Basis | None = None
    """What settings and weights were learned from; None when nothing was measured."""
    hides_seen: bool = True
    """Whether what a viewer had seen was left out: as set, else as found better on validation."""
    weights: dict[str, dict[str, float]] = {}
    """Segment -> source -> weight of the blend, as fitted on validation; segments not fitted are absent."""
    ranker: Trial | None = None
    """What trying a ranker found; None: not asked for."""
    models: dict[str, Measured] = {}
    """The blend first."""
    train_only: dict[str, Estimate] = {}
    """The blend's metrics with models that never saw the validation part, as papers report; empty: not asked."""
    left_out: dict[str, str] = {}
    """Baseline -> why it was not measured."""
    difference: dict[str, Estimate] = {}
    """Baseline -> NDCG@10 of the blend minus that of the baseline, query by query."""
    seconds: dict[str, float] = {}
    """Step -> how long it took; the only part that differs between two runs on the same data."""

    @property
    def best_baseline(self) -> str:
        """The baseline with the highest NDCG@10. Raises ValueError if none was measured."""
        baselines = [name for name in self.models if name != BLEND]
        return max(baselines, key=lambda name: self.models[name].metrics[HEADLINE].value)

    @property
    def takes_over(self) -> bool:
        """Whether settings and weights are an earlier build's; then of the baselines only popularity was asked."""
        return self.basis is not None and self.basis.builds > 0

    def metrics(self) -> dict[str, float]:
        """`model.metric` -> value on the main set; empty when nothing was measured."""
        return {
            f"{name}.{metric}": estimate.value
            for name, model in self.models.items()
            for metric, estimate in model.metrics.items()
        }

    def to_json(self) -> str:
        """As text that `from_json` reads back to an equal evaluation."""
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Evaluation":
        """Raises pydantic's ValidationError for a document of another form."""
        return cls.model_validate_json(text)

    @classmethod
    def beside(cls, snapshot: Path) -> "Evaluation | None":
        """What lies in the folder of a snapshot; None where there is none that this version reads."""
        try:
            return cls.from_json((snapshot / FILE).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ValidationError):
            return None


def comparable(one: Evaluation, other: Evaluation) -> bool:
    """Whether figures of both answer the same kind of question: else neither is better than the other."""
    return _asked(one) == _asked(other)


def _asked(evaluation: Evaluation) -> tuple[object, ...]:
    """The protocol by its name, how much is held out and hidden, and what counts as a like."""
    how, events = (evaluation.settings.get(name, {}) for name in ("evaluation", "events"))
    likes = sorted(name for name, weight in events.get("weights", {}).items() if weight > 0)
    name = evaluation.protocol.partition(":")[0]
    return name, how.get("test"), how.get("cold_items"), events.get("rating_neutral"), likes
