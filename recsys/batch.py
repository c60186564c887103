"""Offline scoring: a slate for every user, from the same recommender as the API.

    DIR/batch.json            what this run is: snapshot, moment, limit, users; `complete` when it is
    DIR/part-00000.parquet    user_id, rank, item_id, score, reason, snapshot; written whole or not at all

An interrupted run goes on where it stopped, with the snapshot and the moment it began with.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Engine

from recsys.catalogue.database import check_schema, reading, writing
from recsys.catalogue.event_log import EventLog
from recsys.catalogue.events import read_events, user_ids
from recsys.catalogue.recommendations import Recommendation, replace_recommendations
from recsys.config import Settings
from recsys.errors import InputError, SnapshotError
from recsys.identity import IdMap, UserId
from recsys.ranking.candidates import NO_HISTORY, Query
from recsys.ranking.recommender import Recommender
from recsys.ranking.viewer import read_viewer
from recsys.snapshot import Snapshots

USERS_PER_PART = 1_000

COLUMNS: dict[str, pa.DataType] = {
    "user_id": pa.string(),
    "rank": pa.int64(),
    "item_id": pa.string(),
    "score": pa.float64(),
    "reason": pa.string(),
    "snapshot": pa.string(),
}


@dataclass(frozen=True)
class Run:
    """What a batch run is; two runs that are equal write the same files."""

    snapshot: str
    at: str
    limit: int
    users: int
    users_digest: str
    complete: bool = False


@dataclass(frozen=True)
class Done:
    """How a batch ended."""

    run: Run
    parts: int
    resumed: int
    """Parts that an earlier, interrupted run had already written."""


def batch(
    engine: Engine,
    settings: Settings,
    out: Path,
    *,
    limit: int,
    users: Sequence[UserId] | None = None,
    table: bool = False,
    started: Callable[[int], Callable[[int], None]] = lambda _: lambda _: None,
) -> Done:
    """Score `users` (None: everyone with an event) into `out`, and with `table` into the database.

    `started` is told the number of users and gives back what to call with how many are done.
    """
    if not 1 <= limit <= settings.ranking.max_limit:
        raise InputError(
            f"the limit is {limit}; it must lie between 1 and ranking.max_limit = {settings.ranking.max_limit}"
        )
    check_schema(engine)
    with reading(engine) as session:
        wanted = list(dict.fromkeys(users)) if users is not None else user_ids(session)
    run = _begin(out, settings, limit, wanted)
    _, artefacts = Snapshots(settings.home / "snapshots").load(run.snapshot)
    recommender = Recommender.of(artefacts, settings.ranking)
    with reading(engine) as session:
        scorer = Scorer(recommender, read_events(session, artefacts.items.ids), settings, run)
    advance = started(len(wanted))
    resumed = 0
    for number, begin in enumerate(range(0, len(wanted), USERS_PER_PART)):
        chunk, path = wanted[begin : begin + USERS_PER_PART], out / f"part-{number:05d}.parquet"
        if path.exists():
            resumed += 1
        else:
            _write_part(path, list(scorer.rows(chunk)))
        if table:
            with writing(engine) as session:
                replace_recommendations(session, _read_part(path))
        advance(begin + len(chunk))
    _write_run(out, Run(**(asdict(run) | {"complete": True})))
    return Done(run, len(range(0, len(wanted), USERS_PER_PART)), resumed)


class Scorer:
    """Slates for users whose events are all in memory."""

    def __init__(
        self, recommender: Recommender, log: EventLog, settings: Settings, run: Run
    ) -> None:
        self._recommender, self._log, self._settings, self._run = recommender, log, settings, run
        self._actors = IdMap(log.actors)
        self._by_actor = np.argsort(log.actor, kind="stable")
        self._starts = np.searchsorted(log.actor[self._by_actor], np.arange(len(log.actors) + 1))

    def rows(self, users: Sequence[UserId]) -> Iterator[Recommendation]:
        """One row per user and place."""
        for user in users:
            slate = self._recommender.recommend(self.query(user))
            for rank, item in enumerate(slate.items, start=1):
                yield Recommendation(
                    user, rank, item.item, item.score, item.reason, self._run.snapshot
                )

    def query(self, user: UserId) -> Query:
        """The query that the API would make for this user at the moment of the run."""
        at = datetime.fromisoformat(self._run.at)
        actor = self._actors.ordinal(user)
        diversity = self._settings.ranking.diversity
        if actor < 0:
            return Query(at=at, limit=self._run.limit, history=NO_HISTORY, diversity=diversity)
        log, mine = self._log, self._by_actor[self._starts[actor] : self._starts[actor + 1]]
        viewer = read_viewer(
            log.item[mine].astype(np.int64),
            log.type[mine],
            log.value[mine],
            log.time[mine],
            log.types,
            self._settings.events,
        )
        return Query(
            at=at,
            limit=self._run.limit,
            history=viewer.history,
            seen=viewer.seen,
            diversity=diversity,
        )


def _begin(out: Path, settings: Settings, limit: int, users: Sequence[UserId]) -> Run:
    """Take up an interrupted run of the same users and limit, or clear the folder and begin a new one."""
    snapshots = Snapshots(settings.home / "snapshots")
    current = snapshots.current_id()
    digest = hashlib.sha256("\0".join(users).encode()).hexdigest()
    out.mkdir(parents=True, exist_ok=True)
    run = _read_run(out)
    if (
        run
        and not run.complete
        and (run.limit, run.users_digest) == (limit, digest)
        and run.snapshot in snapshots.ids()
    ):
        return run
    if run is None and any(out.iterdir()):
        raise InputError(
            f"{out} holds files that are not a batch run's: give an empty or a new folder"
        )
    for part in out.glob("part-*.parquet"):
        part.unlink()
    run = Run(current, datetime.now(UTC).isoformat(), limit, len(users), digest)
    _write_run(out, run)
    return run


def _read_run(out: Path) -> Run | None:
    try:
        return Run(**json.loads((out / "batch.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise SnapshotError(
            f"{out / 'batch.json'} is not readable ({error}): give a new folder"
        ) from None


def _write_run(out: Path, run: Run) -> None:
    temporary = out / ".batch.json"
    temporary.write_text(json.dumps(asdict(run), indent=1), encoding="utf-8")
    temporary.replace(out / "batch.json")


def _write_part(path: Path, rows: Sequence[Recommendation]) -> None:
    temporary = path.with_name(f".{path.name}")
    pq.write_table(
        pa.Table.from_pylist([asdict(row) for row in rows], pa.schema(COLUMNS)), temporary
    )
    temporary.replace(path)


def _read_part(path: Path) -> list[Recommendation]:
    return [Recommendation(**row) for row in pq.read_table(path).to_pylist()]
