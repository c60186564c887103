"""What rebuilds say of themselves: where the running one is, and how each ended.

    <home>/snapshots/.rebuild.json    the newest one, from its first moment on; replaced every second
    <home>/snapshots/.rebuilds.jsonl  a line for each that ended, oldest first; its figures outlive the snapshot.
                                      One that was killed gets its line when the next one begins

Whoever looks on is in another process: nothing here is locked, and a reader sees one state or the next. Where nothing
can be written, on a full disk for one, the rebuild goes on unrecorded.
"""

import logging
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from recsys.errors import GateRefused
from recsys.evaluation.result import BLEND, HEADLINE, Estimate, Evaluation

log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two looks at where a rebuild is."""

SILENT = timedelta(seconds=30)
"""A rebuild that said nothing for so long was killed."""

STEPS = 200
"""A line keeps so many."""

READ = 500
"""Lines that a reader gets, the newest: years of a daily rebuild, three weeks of an hourly one."""

Outcome = Literal["published", "unchanged", "refused", "failed", "killed"]

State = Outcome | Literal["running"]


class Progress(Protocol):
    """Where a long job says how far it is."""

    def task(self, name: str, total: int | None = None) -> Callable[[int], None]:
        """Begin a step; call what it returns with the number of units done so far."""


class Step(BaseModel):
    """A part of a rebuild."""

    model_config = ConfigDict(frozen=True)

    name: str
    began: AwareDatetime
    total: int | None = None
    """Units; None: they are not counted."""
    done: int = 0


class Rebuild(BaseModel):
    """A rebuild, running or ended."""

    model_config = ConfigDict(frozen=True)

    started: AwareDatetime
    seen: AwareDatetime
    """When it last said something."""
    outcome: Outcome | None = None
    """None: it is running, or was killed and no other has begun since."""
    snapshot: str | None = None
    """What it published, or found unchanged."""
    reason: str = ""
    """Why it was refused or failed; why it would have been refused, had it not been forced."""
    steps: tuple[Step, ...] = ()
    metrics: dict[str, Estimate] = {}
    """Of the blend, on the main set of queries; empty: nothing was measured."""
    models: dict[str, Estimate] = {}
    """Model -> NDCG@10."""
    slices: dict[str, Estimate] = {}
    """Slice of the queries -> NDCG@10 of the blend."""

    def state_at(self, moment: datetime) -> State:
        """How it is doing."""
        if self.outcome is not None:
            return self.outcome
        return "running" if moment - self.seen < SILENT else "killed"


class Figures(NamedTuple):
    """What of an evaluation is kept, as a `Rebuild` has it; all empty where nothing was measured."""

    metrics: dict[str, Estimate]
    models: dict[str, Estimate]
    slices: dict[str, Estimate]


def figures(evaluation: Evaluation) -> Figures:
    """Those of an evaluation."""
    if not evaluation.measured:
        return Figures({}, {}, {})
    blend = evaluation.models[BLEND]
    models = {name: each.metrics[HEADLINE] for name, each in evaluation.models.items()}
    slices = {name: each.metrics[HEADLINE] for name, each in blend.slices.items() if each.metrics}
    return Figures(blend.metrics, models, slices)


class Recording:
    """Passes progress on and writes it down. Enter it while no other rebuild can run."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        """folder: of the snapshots."""
        self._folder, self._progress = folder, progress
        now = datetime.now(UTC)
        self._rebuild = Rebuild(started=now, seen=now)
        self._steps: list[Step] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="recsys-record", daemon=True)

    def __enter__(self) -> "Recording":
        _calmly(self._begin)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        if error is not None:
            outcome: Outcome = "refused" if isinstance(error, GateRefused) else "failed"
            reason = str(error) or type(error).__name__
            self._note({"outcome": outcome, "reason": reason})
        _calmly(self._end)

    def task(self, name: str, total: int | None = None) -> Callable[[int], None]:
        """Begin a step."""
        advance = self._progress.task(name, total)
        place = len(self._steps)
        self._steps.append(Step(name=name, began=datetime.now(UTC), total=total))

        def advanced(done: int) -> None:
            advance(done)
            self._steps[place] = self._steps[place].model_copy(update={"done": done})

        return advanced

    def ends(self, outcome: Outcome, snapshot: str, reason: str | None) -> None:
        """Say how it ended."""
        self._note({"outcome": outcome, "snapshot": snapshot, "reason": reason or ""})

    def measured(self, evaluation: Evaluation) -> None:
        """Say what the build is worth."""
        self._note(figures(evaluation)._asdict())

    def _note(self, update: dict[str, object]) -> None:
        self._rebuild = self._rebuild.model_copy(update=update)

    def _begin(self) -> None:
        last = newest(self._folder)
        if last is not None and last.outcome is None:
            self._add(last.model_copy(update={"outcome": "killed"}))
        self._write()

    def _go_on(self) -> None:
        while not self._stop.wait(EVERY):
            _calmly(self._write)

    def _end(self) -> None:
        self._add(self._write())

    def _write(self) -> Rebuild:
        """Gives what it wrote. Changes nothing here: the rebuild itself may note something at this moment."""
        now = {"seen": datetime.now(UTC), "steps": tuple(self._steps[-STEPS:])}
        said = self._rebuild.model_copy(update=now)
        draft = self._folder / ".rebuild.json.draft"
        draft.write_text(said.model_dump_json(exclude_defaults=True), encoding="utf-8")
        draft.replace(self._folder / ".rebuild.json")
        return said

    def _add(self, rebuild: Rebuild) -> None:
        """To those that ended. A line that was cut off is not gone on with."""
        with (self._folder / ".rebuilds.jsonl").open("a+b") as lines:
            if lines.tell():
                lines.seek(-1, os.SEEK_END)
                lines.write(b"" if lines.read(1) == b"\n" else b"\n")
            lines.write(rebuild.model_dump_json(exclude_defaults=True).encode() + b"\n")


def newest(folder: Path) -> Rebuild | None:
    """The rebuild that is running, or ended last; None: there was none, or what it wrote cannot be read."""
    try:
        return Rebuild.model_validate_json((folder / ".rebuild.json").read_bytes())
    except (OSError, ValidationError):
        return None


def ended(folder: Path) -> list[Rebuild]:
    """The newest `READ` that ended, oldest first. What cannot be read, such as a line that was cut off, is left out."""
    try:
        lines = (folder / ".rebuilds.jsonl").read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines[-READ:]:
        try:
            found.append(Rebuild.model_validate_json(line))
        except ValidationError:
            continue
    return found


def _calmly(write: Callable[[], object]) -> None:
    """Whoever looks on is no reason for a rebuild to fail."""
    try:
        write()
    except OSError as error:
        log.warning("where the rebuild is cannot be written down: %s", error)
