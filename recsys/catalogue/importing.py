"""Files -> catalogue: each row mapped, checked and written; what cannot be used goes to the rejects file.

read_records ─> columns ─> Item or Event ─> one transaction per chunk
                              └─> rejects: one JSON line each, with line, reason and row
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from sqlalchemy import Connection, Engine

from recsys.catalogue.columns import Columns, Kind, find_columns
from recsys.catalogue.database import writing
from recsys.catalogue.events import Event, append_events, check_type
from recsys.catalogue.feeds import Record, read_columns, read_records
from recsys.catalogue.fields import explain
from recsys.catalogue.images import image_locator, is_address, no_images
from recsys.catalogue.items import Counts, Item, upsert_items
from recsys.catalogue.rejects import Rejects
from recsys.catalogue.rows import need_event_columns, need_item_columns, read_event, read_item
from recsys.config import Settings
from recsys.errors import FeedError, InputError

CHUNK = 4_000
"""Rows per transaction: a killed import loses at most these, and others may write in between."""

R = TypeVar("R", Item, Event)
Progress = Callable[[int], None]
"""Called with the number of rows done so far."""


@dataclass(frozen=True)
class FeedOptions:
    """How a file is to be read."""

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Field -> columns, where the names alone do not tell."""
    split: str = "|"
    """What separates the values of a list in one column."""
    image: str | None = None
    """Where an item's image lies, e.g. `posters/{item_id}.jpg`."""
    type: str | None = None
    """The type of events that bring none."""
    strict: bool = False
    """Import all rows or nothing."""
    rejects: Path | None = None
    """Where rejected rows go; None: `<home>/rejects/<file>.<kind>.jsonl`."""


@dataclass(frozen=True)
class Summary:
    """What became of a file. added + updated + unchanged + rejected = rows."""

    rows: int
    added: int
    updated: int
    unchanged: int
    """Rows that were in the catalogue already, just so."""
    rejected: int
    images: int
    """Items with an image."""
    at_addresses: int
    """Those with one that is to be fetched."""
    rejects: Path | None
    """The rejects file; None when every row was used."""
    columns: Mapping[str, tuple[str, ...]]
    """Field -> the columns it came from."""


@dataclass(frozen=True)
class _Target(Generic[R]):
    """What differs between items and events."""

    kind: Kind
    need: Callable[[Columns], None]
    """Raises FeedError if a needed column is missing."""
    read: Callable[[Mapping[str, Any], Columns], R]
    write: Callable[[Connection, Sequence[R]], Counts]


def import_file(
    engine: Engine,
    kind: Kind,
    path: Path,
    options: FeedOptions,
    settings: Settings,
    progress: Progress | None = None,
) -> Summary:
    """Import one file. A bad row never stops it; the same file again changes nothing.

    Raises FeedError when the file cannot be used, and with `strict` when any row was rejected: then
    nothing at all was written. Where a file breaks off half-way, what came before stays, save with
    `strict`.
    """
    if kind == "items":
        return _run(engine, _items(options, settings), path, options, settings, progress)
    return _run(engine, _events(options, settings), path, options, settings, progress)


def _items(options: FeedOptions, settings: Settings) -> _Target[Item]:
    root = settings.embedding.image_root
    locate = image_locator(options.image, root) if options.image else no_images
    return _Target(
        "items",
        need_item_columns,
        lambda row, columns: read_item(row, columns, options.split, locate),
        lambda connection, items: upsert_items(connection, items, datetime.now(UTC)),
    )


def _events(options: FeedOptions, settings: Settings) -> _Target[Event]:
    now = datetime.now(UTC)
    if options.type:
        check_type(options.type, settings.events)
    return _Target(
        "events",
        lambda columns: need_event_columns(columns, options.type),
        lambda row, columns: read_event(row, columns, options.type, settings.events, now),
        _append,
    )


def _append(connection: Connection, events: Sequence[Event]) -> Counts:
    added, duplicates = append_events(connection, events)
    return Counts(added, unchanged=duplicates)


def _run(
    engine: Engine,
    target: _Target[R],
    path: Path,
    options: FeedOptions,
    settings: Settings,
    progress: Progress | None,
) -> Summary:
    found = read_columns(path)
    file = options.rejects or settings.home / "rejects" / f"{path.name}.{target.kind}.jsonl"
    rows, images, at_addresses, written = 0, 0, 0, Counts()
    with Rejects(file) as rejects, _transactions(engine, options.strict) as transaction:
        for columns, records in _chunks(path, found, target, options):
            good = list(_accepted(records, columns, target, rejects))
            with transaction() as connection:
                written = _sum(written, target.write(connection, good))
            rows += len(records)
            pictures = [row.images for row in good if isinstance(row, Item) and row.images]
            images += len(pictures)
            at_addresses += sum(any(map(is_address, some)) for some in pictures)
            if progress:
                progress(rows)
        if options.strict and rejects.count:
            raise FeedError(
                f"{path}: {rejects.count} of {rows} rows cannot be used, so nothing was imported: "
                f"{file} says why"
            )
    return Summary(
        rows,
        *written,
        rejected=rejects.count,
        images=images,
        at_addresses=at_addresses,
        rejects=file if rejects.count else None,
        columns=columns.fields,
    )


def _chunks(
    path: Path, found: Sequence[str], target: _Target[R], options: FeedOptions
) -> Iterator[tuple[Columns, list[Record]]]:
    """An empty chunk first, so that a missing column is told before anything is read.

    JSON lines bring their columns with them: they are looked for again whenever a new one appears.
    """
    names = dict.fromkeys(found)
    columns = _columns(target, names, options)
    yield columns, []
    records = read_records(path)
    while chunk := list(islice(records, CHUNK)):
        if new := [n for r in chunk if not r.problem for n in r.values if n not in names]:
            names.update(dict.fromkeys(new))
            columns = _columns(target, names, options)
        yield columns, chunk


def _columns(target: _Target[R], names: Iterable[str], options: FeedOptions) -> Columns:
    if not names:
        return Columns({}, ())
    columns = find_columns(target.kind, list(names), options.columns)
    target.need(columns)
    return columns


def _accepted(
    records: Iterable[Record], columns: Columns, target: _Target[R], rejects: Rejects
) -> Iterator[R]:
    for record in records:
        if record.problem:
            rejects.add(record, record.problem)
            continue
        try:
            row = target.read(record.values, columns)
        except ValidationError as error:
            rejects.add(record, explain(error))
        except (ValueError, InputError, RecursionError) as error:
            rejects.add(record, str(error))
        else:
            yield row


def _sum(one: Counts, other: Counts) -> Counts:
    return Counts(*map(sum, zip(one, other, strict=True)))


@contextmanager
def _transactions(
    engine: Engine, one: bool
) -> Iterator[Callable[[], AbstractContextManager[Connection]]]:
    """What opens a transaction: one per call, or one over all calls."""
    if not one:
        yield lambda: writing(engine)
        return
    with writing(engine) as connection:
        yield lambda: nullcontext(connection)
