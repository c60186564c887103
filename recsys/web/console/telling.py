"""Rebuilds in words: where the running one is, and how each ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from recsys.evaluation.result import HEADLINE, Estimate
from recsys.evaluation.words import interval
from recsys.record import Rebuild, State
from recsys.web.console.shelf import COVERAGE
from recsys.web.console.words import lasted, share

SHOWN = 20
"""Rebuilds in the history."""

TONES: dict[State, str] = {
    "running": "accent",
    "published": "good",
    "unchanged": "",
    "refused": "warm",
    "failed": "bad",
    "killed": "bad",
}
"""State -> the class of its tag."""

MEANS: dict[State, str] = {
    "running": "A rebuild is running",
    "published": "The last rebuild published a snapshot",
    "unchanged": "The last rebuild found nothing changed",
    "refused": "The last rebuild was refused by the gate",
    "failed": "The last rebuild failed",
    "killed": "The last rebuild was killed",
}


class Stage(NamedTuple):
    """A step of a rebuild."""

    name: str
    took: str
    total: int | None
    done: int


@dataclass(frozen=True)
class Told:
    """One rebuild, ready to be shown."""

    rebuild: Rebuild
    state: State
    took: str
    """From its beginning to its end, or to now."""
    stages: Sequence[Stage]
    gains: Sequence[str]
    """What was measured, each beside the rebuild before it."""

    @property
    def is_running(self) -> bool:
        """Whether there is more to come."""
        return self.state == "running"

    @property
    def tone(self) -> str:
        """The class of its tag."""
        return TONES[self.state]

    @property
    def means(self) -> str:
        """A heading."""
        return MEANS[self.state]

    @property
    def reason(self) -> str:
        """As a sentence; "" where there is none."""
        said = self.rebuild.reason
        return f"{said[0].upper()}{said[1:].rstrip('.')}." if said else ""

    @property
    def ndcg(self) -> str:
        """NDCG@10 of the blend with its interval; "" where nothing was measured."""
        found = self.rebuild.metrics.get(HEADLINE)
        return interval(found) if found else ""


def told(rebuild: Rebuild, before: Sequence[Rebuild] = ()) -> Told:
    """before: those that ended before it, oldest first."""
    now = datetime.now(UTC)
    state = rebuild.state_at(now)
    end = now if state == "running" else rebuild.seen
    return Told(
        rebuild,
        state,
        lasted((end - rebuild.started).total_seconds()),
        _stages(rebuild, end),
        _gains(rebuild, [one for one in before if one.started < rebuild.started]),
    )


def history(ended: Sequence[Rebuild]) -> list[Told]:
    """The newest, newest first."""
    return [told(rebuild) for rebuild in reversed(ended[-SHOWN:])]


def _stages(rebuild: Rebuild, end: datetime) -> list[Stage]:
    ends = [step.began for step in rebuild.steps[1:]] + [end]
    return [
        Stage(step.name, lasted((until - step.began).total_seconds()), step.total, step.done)
        for step, until in zip(rebuild.steps, ends, strict=False)
    ]


def _gains(rebuild: Rebuild, before: Sequence[Rebuild]) -> list[str]:
    """Against the newest one before that published something measured."""
    published = (one for one in reversed(before) if one.outcome == "published" and one.metrics)
    last = next(published, None)
    rival = last.metrics if last else {}
    found = rebuild.metrics
    told = []
    if HEADLINE in found:
        told.append(f"NDCG@10 {interval(found[HEADLINE])}{_than(rival.get(HEADLINE))}")
    if COVERAGE in found:
        was = rival.get(COVERAGE)
        told.append(
            f"coverage {share(found[COVERAGE].value)}{f', before {share(was.value)}' if was else ''}"
        )
    return told


def _than(was: Estimate | None) -> str:
    return f", before {interval(was)}" if was else ""
