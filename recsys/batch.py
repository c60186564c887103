"""Offline scoring: a slate for every user, from the same recommender as the API.

    DIR/_batch.json           what this run is: snapshot, moment, limit, users; `complete` when it is
    DIR/part-00000.parquet    user_id, rank, item_id, score, reason, snapshot; written whole or not at all
    DIR/.lock                 held by the one run that may write here

DIR reads as one Parquet dataset. An interrupted run goes on where it stopped, with the users, the snapshot,
the moment and the events it began with. Items deleted or made unavailable since are left out of what is
still to be written, and rules are as they are by then, those that were in force at the moment; another limit, other
users or other settings begin a new run.
"""

import gc
import hashlib
import signal
import sys
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from multiprocessing import current_process, get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Engine

from recsys.catalogue.database import check_schema, reading, writing
from recsys.catalogue.event_log import ByActor, EventLog
from recsys.catalogue.events import read_events, user_ids
from recsys.catalogue.fields import distinct
from recsys.catalogue.items import gone_since
from recsys.catalogue.recommendations import Recommendation, replace_recommendations
from recsys.catalogue.rules import read_rules
from recsys.catalogue.times import to_us
from recsys.config import Settings
from recsys.errors import BatchError, InputError, SnapshotError
from recsys.forks import Lifeline
from recsys.identity import NOTHING, Floats, IdMap, Ordinals, UserId
from recsys.locks import only_one
from recsys.ranking.block import Block, alike
from recsys.ranking.candidates import Query, Ruling
from recsys.ranking.reasons import PHRASES
from recsys.ranking.recommender import Recommender
from recsys.ranking.rules import Rules
from recsys.ranking.slates import Slates
from recsys.ranking.viewer import viewers_of
from recsys.snapshot import Snapshots
from recsys.threads import available_cores, limit_threads, one_blas_thread

USERS_PER_PART = 1_000

OVERLAP = timedelta(seconds=10)
"""Withdrawn items are looked for from this long before the build: clocks differ, commits take time."""

COLUMNS: dict[str, pa.DataType] = {
    "user_id": pa.string(),
    "rank": pa.int64(),
    "item_id": pa.string(),
    "score": pa.float64(),
    "reason": pa.string(),
    "snapshot": pa.string(),
}

REPEATED = [name for name in COLUMNS if name != "score"]
"""Columns that a file holds as a dictionary of their values."""

RANGED = ["user_id", "rank", "score", "snapshot"]
"""Columns of whose values a file tells the lowest and the highest. For texts that takes as long as all else of them."""


class Run(BaseModel):
    """What a batch run is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    snapshot: str
    at: datetime
    """The moment of every query; later events are not read."""
    limit: int
    settings: str
    """Digest of the settings that slates depend on."""
    everyone: bool
    """The users are those who had an event at that moment."""
    complete: bool = False
    users: tuple[UserId, ...]


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
    say: Callable[[str], None] = lambda _: None,
) -> Done:
    """Score `users` (None: everyone with an event) into `out`, and with `table` into the database.

    `started` is told the number of users and gives back what to call with how many are done; `say` is
    told what may surprise. Processes are forked: where other threads rank meanwhile, `threads = 1` is needed, or
    they may wait for a lock of those threads. Raises InputError for a limit out of bounds and for a folder in other
    use, BatchError where a process is ended from outside.
    """
    check_schema(engine)
    asked = _fresh_run(engine, settings, limit, users)
    with _only_run(out):
        run, scorer = _loaded(engine, out, asked, settings, say)
        if unknown := sum(not scorer.knows(user) for user in run.users):
            say(f"{unknown:,} of {len(run.users):,} users unknown: they get what newcomers get")
        advance, done = started(len(run.users)), 0
        parts = parts_of(out, run.users)
        there = [part for part in parts if part.path.exists()]
        missing = [part for part in parts if not part.path.exists()]
        with closing(written(scorer, missing, settings.threads or available_cores())) as more:
            for part in chain(there, more):
                if table:
                    with writing(engine) as connection:
                        replace_recommendations(connection, part.users, _read_part(part.path))
                advance(done := done + len(part.users))
        _write_run(out, run.model_copy(update={"complete": True}))
    return Done(run, len(parts), len(there))


def read_users(path: Path) -> list[UserId]:
    """The ids in a file of one per line; they may hold anything but a line's end. Raises InputError."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error}): save it as UTF-8") from None
    return [UserId(line) for line in (line.rstrip("\r\t ") for line in lines) if line]


class Part(NamedTuple):
    """A file, and the users whose slates it holds."""

    path: Path
    users: Sequence[UserId]


def parts_of(out: Path, users: Sequence[UserId]) -> list[Part]:
    """All files of a run, in the order of its users."""
    return [
        Part(out / f"part-{number:05d}.parquet", users[begin : begin + USERS_PER_PART])
        for number, begin in enumerate(range(0, len(users), USERS_PER_PART))
    ]


def written(scorer: "Scorer", parts: Sequence[Part], processes: int) -> Generator[Part]:
    """Write parts in so many processes, and give each back, in order, once it is on disk. Raises BatchError.

    The processes share what this one has in memory, and end when it does; one that may have no children of its own
    does it all. To be closed, if not read to its end.
    """
    processes = 1 if current_process().daemon else min(processes, len(parts))
    with one_blas_thread():
        if processes <= 1:
            for part in parts:
                scorer.write(part)
                yield part
            return
        scorer.table(parts[0].users[:1])  # what that has to compile or to load, all of them have
    with ExitStack() as afterwards:
        if not gc.get_freeze_count():
            afterwards.callback(gc.unfreeze)
        gc.freeze()  # the collector would write to every object that they share
        lifeline = afterwards.enter_context(closing(Lifeline()))
        shared = (scorer, parts, lifeline)
        pool = ProcessPoolExecutor(processes, get_context("fork"), _share, shared)
        afterwards.callback(pool.shutdown, cancel_futures=True)
        try:
            for n in pool.map(_write, range(len(parts))):
                yield parts[n]
        except BrokenProcessPool:
            raise BatchError(
                "a process that writes slates was ended from outside: is there enough memory? `threads` sets how many "
                "there are; the same command goes on where this one stopped"
            ) from None


_shared: tuple["Scorer", Sequence[Part]]
"""Those of a process that was forked to write."""


def _share(scorer: "Scorer", parts: Sequence[Part], lifeline: Lifeline) -> None:
    global _shared  # noqa: PLW0603  a pool hands its work to functions alone
    _shared = scorer, parts
    lifeline.hang_on()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells when to stop
    # those of a progress bar may be locked for ever
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    limit_threads(1)


def _write(n: int) -> int:
    scorer, parts = _shared
    scorer.write(parts[n])
    return n


class Scorer:
    """Slates for users whose events are all in memory."""

    def __init__(
        self,
        recommender: Recommender,
        log: EventLog,
        withdrawn: Ordinals,
        ruling: Ruling | None,
        settings: Settings,
        run: Run,
    ) -> None:
        self._recommender, self._log, self._withdrawn = recommender, log, withdrawn
        self._ruling = ruling
        self._settings, self._run = settings, run
        self._actors, self._by_actor = IdMap(log.actors), ByActor(log)
        self._weighing = settings.events.taking(recommender.events)
        data = recommender.items.data
        self._ids = data["id"].combine_chunks()
        titled = pc.if_else(pc.equal(data["title"], pa.scalar("")), None, data["title"])
        self._titles = pc.coalesce(titled, data["id"]).combine_chunks()

    def knows(self, user: UserId) -> bool:
        """Whether the user had an event about an item of the snapshot."""
        return user in self._actors

    def write(self, part: Part) -> None:
        """Write the slates of a part into its file."""
        draft = part.path.with_name(f".{part.path.name}")
        pq.write_table(
            self.table(part.users),
            draft,
            use_dictionary=REPEATED,  # type: ignore[arg-type]  # its stubs know of no names
            write_statistics=RANGED,
            store_schema=False,  # texts are texts to who reads them, whatever they were in memory
        )
        draft.replace(part.path)

    def table(self, users: Sequence[UserId]) -> pa.Table:
        """One row per user and place, in the order of the users. Columns as in `COLUMNS`, some as dictionaries."""
        queries = self.queries(users)
        answered = [
            _rows(
                self._recommender.answer(Block([queries[place] for place in places])),
                np.array(places),
            )
            for places in alike(queries)
        ]
        rows = _Rows(*map(np.concatenate, zip(*answered, strict=True)))
        return self._as_table(users, rows)

    def queries(self, users: Sequence[UserId]) -> list[Query]:
        """The queries that the API would make for these users at the moment of the run."""
        events = [
            self._by_actor.events_of(actor) if actor >= 0 else NOTHING
            for actor in self._actors.ordinals(users).tolist()
        ]
        hides_seen = self._recommender.hides_seen
        return [
            Query(
                at=self._run.at,
                limit=self._run.limit,
                history=viewer.history,
                seen=viewer.seen if hides_seen else NOTHING,
                withdrawn=self._withdrawn,
                diversity=self._settings.ranking.diversity,
                ruling=self._ruling,
                pins=self._ruling.pins if self._ruling else (),
            )
            for viewer in viewers_of(self._log, events, self._weighing)
        ]

    def _as_table(self, users: Sequence[UserId], rows: "_Rows") -> pa.Table:
        order = np.argsort(rows.user, kind="stable")  # each user's rows are by rank
        ordered: list[Any] = [column[order] for column in rows]
        rows = _Rows(*ordered)
        items = pa.array(rows.item, pa.int64()).dictionary_encode()
        columns: list[Any] = [
            _repeated(rows.user, pa.array(users, pa.string())),
            rows.rank,
            _repeated(items.indices, self._ids.take(items.dictionary)),
            rows.score.astype(np.float64),
            self._in_words(rows.phrase, rows.named),
            _repeated(np.zeros_like(rows.user), pa.array([self._run.snapshot])),
        ]
        return pa.table(columns, list(COLUMNS))

    def _in_words(self, phrase: Ordinals, named: Ordinals) -> "pa.DictionaryArray[Any, Any]":
        """The reasons as texts; each that occurs is put together once."""
        every = len(self._titles) + 1
        reasons = pa.array(phrase * every + named + 1, pa.int64()).dictionary_encode()
        said, item = np.divmod(reasons.dictionary.to_numpy(), every)
        words = pc.binary_join_element_wise(
            pa.array([PHRASES[n].before for n in said], pa.string()),
            pc.fill_null(self._titles.take(pa.array(item - 1, pa.int64(), mask=item == 0)), ""),
            pa.array([PHRASES[n].after for n in said], pa.string()),
            "",
        ).dictionary_encode()
        return _repeated(words.indices.take(reasons.indices), words.dictionary)


def _repeated(which: Any, values: "pa.Array[Any]") -> "pa.DictionaryArray[Any, Any]":  # noqa: ANN401
    """values: distinct texts."""
    return pa.DictionaryArray.from_arrays(which, values)


class _Rows(NamedTuple):
    """Columns of what is to be written: one row per place."""

    user: Ordinals
    """Position among the users."""
    rank: Ordinals
    item: Ordinals
    score: Floats
    phrase: Ordinals
    """The reason: position in `PHRASES`."""
    named: Ordinals
    """The item that it names; `ABSENT`: none."""


def _rows(slates: Slates, users: Ordinals) -> _Rows:
    """users: (q,) positions of those whose slates they are."""
    lengths, items = np.diff(slates.items.starts), slates.items.items
    first = np.repeat(slates.items.starts[:-1], lengths)
    return _Rows(
        np.repeat(users, lengths),
        np.arange(len(items)) - first + 1,
        items,
        slates.scores,
        slates.phrase,
        slates.named,
    )


def _loaded(
    engine: Engine, out: Path, fresh: Run, settings: Settings, say: Callable[[str], None]
) -> tuple[Run, Scorer]:
    """The run and what scores it. Where its snapshot is refreshed away before it is loaded, it is one of the next."""
    snapshots = Snapshots(settings.home / "snapshots")
    while True:
        run = _begin(out, fresh, settings, say)
        try:
            return run, _scorer(engine, settings, run)
        except SnapshotError:
            if run.snapshot in snapshots.ids():
                raise
            fresh = fresh.model_copy(update={"snapshot": snapshots.current_id()})


def _scorer(engine: Engine, settings: Settings, run: Run) -> Scorer:
    manifest, artefacts = Snapshots(settings.home / "snapshots").load(run.snapshot)
    ids = artefacts.items.ids
    with reading(engine) as connection:
        log = read_events(connection, ids, until_us=to_us(run.at))
        gone = gone_since(connection, manifest.built_at - OVERLAP, run.at)
        kept = read_rules(connection)
    withdrawn = ids.ordinals(gone)
    recommender = Recommender.of(artefacts, settings.ranking)
    rules = Rules(recommender.items, recommender.lookup, recommender.duplicates, kept)
    ruling = rules.at(run.at, "recommendations")
    return Scorer(recommender, log, withdrawn[withdrawn >= 0], ruling, settings, run)


def _fresh_run(
    engine: Engine, settings: Settings, limit: int, users: Sequence[UserId] | None
) -> Run:
    most = settings.ranking.max_limit
    if not 1 <= limit <= most:
        raise InputError(
            f"the limit is {limit}; it must lie between 1 and ranking.max_limit = {most}"
        )
    snapshot = Snapshots(settings.home / "snapshots").current_id()
    with reading(engine) as connection:
        wanted = distinct(user_ids(connection) if users is None else users)
    relevant = settings.model_dump_json(include={"ranking", "events"})
    return Run(
        snapshot=snapshot,
        at=datetime.now(UTC),
        limit=limit,
        settings=hashlib.sha256(relevant.encode()).hexdigest(),
        everyone=users is None,
        users=wanted,
    )


def _only_run(out: Path) -> AbstractContextManager[None]:
    """Make the folder and hold its lock. Raises InputError if it is in other use."""
    out.mkdir(parents=True, exist_ok=True)
    visible = [path for path in out.iterdir() if not path.name.startswith(".")]
    if visible and not (out / "_batch.json").exists():
        raise InputError(
            f"{out} holds files that are not a batch run's: give an empty or a new folder"
        )
    running = f"another batch is writing to {out}: wait for it to end, or give another folder"
    return only_one(out, InputError(running))


def _begin(out: Path, fresh: Run, settings: Settings, say: Callable[[str], None]) -> Run:
    """Take up the interrupted run in the folder, or clear the folder and begin a new one."""
    found = _read_run(out)
    if found and not found.complete:
        change = _change(found, fresh, Snapshots(settings.home / "snapshots").ids())
        if change is None:
            return found
        say(f"beginning anew: since the interrupted run, {change}")
    for part in out.glob("part-*.parquet"):
        part.unlink()
    _write_run(out, fresh)
    return fresh


def _change(found: Run, fresh: Run, snapshots: Collection[str]) -> str | None:
    """Why the run found cannot go on as the one asked for; None if it can."""
    if found.limit != fresh.limit:
        return f"the limit changed from {found.limit} to {fresh.limit}"
    if found.settings != fresh.settings:
        return "settings of ranking or events changed"
    if found.everyone != fresh.everyone or not (fresh.everyone or found.users == fresh.users):
        return "the users asked for changed"
    if found.snapshot not in snapshots:
        return f"its snapshot {found.snapshot} was deleted"
    return None


def _read_run(out: Path) -> Run | None:
    path = out / "_batch.json"
    try:
        return Run.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise InputError(
            f"{path} is not readable ({error.errors()[0]['msg']}): give a new folder"
        ) from None


def _write_run(out: Path, run: Run) -> None:
    temporary = out / "._batch.json"
    temporary.write_text(run.model_dump_json(indent=1), encoding="utf-8")
    temporary.replace(out / "_batch.json")


def _read_part(path: Path) -> list[Recommendation]:
    return [Recommendation(**row) for row in pq.read_table(path).to_pylist()]
