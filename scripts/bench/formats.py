"""Folders of public data -> interactions, whichever of the usual formats they are in.

    sequences.txt                    `user item item ...`, oldest first
    *.inter, or *.train.inter ...    RecBole's atomic files (atomic.py)
    train.txt, valid.txt, test.txt   `user item item ...` each
    ratings.csv or another table     columns of a user, an item and a time

Any of them may be gzipped.
"""

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

import atomic
from interactions import (
    PARTS,
    TEST,
    TRAINING,
    Gathering,
    Interactions,
    a_day_apart,
    known_then_test,
)

from recsys.catalogue.columns import Columns, find_columns
from recsys.catalogue.feeds import read_columns, read_records
from recsys.errors import FeedError

ACCEPTED = (
    "sequences.txt, or one *.inter, or *.train.inter and *.test.inter, or train.txt and test.txt, "
    "or a .csv or .tsv with columns of a user, an item and a timestamp (any of them may end in .gz)"
)

NAMED = 12
"""Files that an error message names at the most."""


def read_interactions(folder: Path) -> Interactions:
    """What people did. Raises FeedError for a folder without any of the formats."""
    if not folder.is_dir():
        raise FeedError(f"{folder} is not a folder: expected one that holds {ACCEPTED}")
    for read in (_sequences, _atomic, _lists, _table):
        found = read(folder)
        if found is not None:
            if not len(found):
                names = ", ".join(path.name for path in found.files)
                raise FeedError(f"{folder}: found no usable row in {names}, expected {ACCEPTED}")
            return found
    names = ", ".join(sorted(path.name for path in folder.iterdir())[:NAMED]) or "nothing"
    raise FeedError(f"{folder} holds {names}: expected {ACCEPTED}")


def tables(folder: Path) -> list[Path]:
    """The .csv and .tsv files, by name."""
    endings = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
    return sorted(path for path in folder.iterdir() if path.name.lower().endswith(endings))


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text file, plain or gzipped, without their ends."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                yield line.decode("utf-8-sig", errors="replace").rstrip("\r\n")
    except (OSError, EOFError) as error:
        raise FeedError(f"{path} cannot be read: {error}") from None


def _sequences(folder: Path) -> Interactions | None:
    path = _text_file(folder, "sequences")
    if path is None:
        return None
    return _lists_of([(path, TRAINING)]).done("leave-one-out", [path], a_day_apart, split=False)


def _lists(folder: Path) -> Interactions | None:
    files = [(path, part) for name, part in PARTS.items() if (path := _text_file(folder, name))]
    if not {TRAINING, TEST} <= {part for _, part in files}:
        return None
    read = [path for path, _ in files]
    return _lists_of(files).done("parts", read, known_then_test, split=True)


def _text_file(folder: Path, stem: str) -> Path | None:
    names = (f"{stem}{ending}" for ending in (".txt", ".txt.gz", "", ".gz"))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _lists_of(files: Sequence[tuple[Path, int]]) -> Gathering:
    rows = Gathering()
    for path, part in files:
        for line in lines_of(path):
            user, *items = line.split() or [""]
            for item in items:
                rows.add(user, item, part)
    return rows


def _atomic(folder: Path) -> Interactions | None:
    files = sorted(path for path in folder.iterdir() if atomic.is_inter(path))
    return atomic.read([(path, list(lines_of(path))) for path in files], folder) if files else None


def _table(folder: Path) -> Interactions | None:
    """Of several such tables the one with ratings, else the largest: beside ratings lie tags."""
    found = {path: columns for path in tables(folder) if (columns := _event_columns(path))}
    if not found:
        return None
    path = max(found, key=lambda path: (found[path].has_ratings, path.stat().st_size))
    fields = {name: columns[0] for name, columns in found[path].fields.items()}
    who = fields.get("user_id") or fields["session_id"]
    rows = Gathering()
    for record in read_records(path):
        row = record.values
        value = row.get(fields["value"]) if found[path].has_ratings else None
        rows.add(
            row.get(who) or "",
            row.get(fields["item_id"]) or "",
            us=rows.moment(row.get(fields["time"])),
            value=value,
        )
    return rows.done("time", [path], clock=None, split=False)


def _event_columns(path: Path) -> Columns | None:
    """The columns of a table of events; None for another table."""
    try:
        columns = find_columns("events", read_columns(path), {})
    except FeedError:
        return None
    has_who = {"user_id", "session_id"} & columns.fields.keys()
    return columns if has_who and {"item_id", "time"} <= columns.fields.keys() else None
