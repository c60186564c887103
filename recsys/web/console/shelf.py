"""The snapshots that are kept, as rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recsys.errors import NoSnapshot, SnapshotError
from recsys.evaluation.result import BLEND, HEADLINE, Estimate, Evaluation
from recsys.snapshot import Manifest, Snapshots

COVERAGE = "coverage@10"


@dataclass(frozen=True)
class Kept:
    """A snapshot of a rebuild."""

    id: str
    manifest: Manifest | None
    """None: it cannot be read."""
    problem: str
    """Why it cannot be read; "" where it can."""
    metrics: dict[str, Estimate]
    """Of the blend; empty: nothing was measured."""
    is_served: bool
    refresh: Manifest | None
    """The refresh of it that is being served."""
    has_report: bool

    @property
    def ndcg(self) -> Estimate | None:
        """NDCG@10."""
        return self.metrics.get(HEADLINE)

    @property
    def coverage(self) -> Estimate | None:
        """Share of the available items shown to anyone."""
        return self.metrics.get(COVERAGE)

    @property
    def counts(self) -> dict[str, int]:
        """Of what it holds now: a refresh brings items in."""
        told = self.refresh or self.manifest
        return told.counts if told else {}

    @property
    def encoders(self) -> Sequence[str]:
        """In words."""
        return encoders_of(self.manifest) if self.manifest else ()


def kept(snapshots: Snapshots) -> list[Kept]:
    """Newest first; a refresh is told with its origin."""
    served = current(snapshots)
    origin = snapshots.origin(served) if served else None
    refresh = _refresh(snapshots, served) if served and served != origin else None
    own = [snapshot for snapshot in snapshots.ids() if snapshots.origin(snapshot) == snapshot]
    return [
        _kept(snapshots, one, one == origin, refresh if one == origin else None)
        for one in reversed(own)
    ]


def current(snapshots: Snapshots) -> str | None:
    """The id that is published; None: nothing is."""
    try:
        return snapshots.current_id()
    except NoSnapshot:
        return None


def encoders_of(manifest: Manifest) -> list[str]:
    """text: all-MiniLM-L6-v2"""
    return [f"{kind}: {_model(card)}" for kind, card in sorted(manifest.encoders.items())]


def _model(card: dict[str, Any]) -> str:
    """A folder by its last part."""
    return str(card["model"]).rpartition("/")[2]


def _refresh(snapshots: Snapshots, served: str) -> Manifest | None:
    """None: another one came in its place this very moment."""
    try:
        return snapshots.manifest(served)
    except SnapshotError:
        return None


def _kept(snapshots: Snapshots, snapshot: str, is_served: bool, refresh: Manifest | None) -> Kept:
    has_report = (snapshots.folder / snapshot / "report.html").is_file()
    try:
        manifest = snapshots.manifest(snapshot)
    except SnapshotError as error:
        return Kept(snapshot, None, str(error), {}, is_served, refresh, has_report)
    metrics = _metrics(snapshots, manifest)
    return Kept(snapshot, manifest, "", metrics, is_served, refresh, has_report)


def _metrics(snapshots: Snapshots, manifest: Manifest) -> dict[str, Estimate]:
    """Without intervals where the evaluation cannot be read."""
    evaluation = Evaluation.beside(snapshots.folder / manifest.id)
    if evaluation is not None:
        return evaluation.models[BLEND].metrics if evaluation.measured else {}
    blend = f"{BLEND}."
    return {
        name.removeprefix(blend): Estimate(value, None, None)
        for name, value in manifest.metrics.items()
        if name.startswith(blend)
    }
