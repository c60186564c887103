"""Feeds: CSV, TSV, JSON lines and Parquet files as one stream of records, never whole in memory.

A row that cannot be read is a record with a problem; only a file that cannot be read at all raises.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.errors import FeedError

BATCH = 4_000
"""Rows of Parquet decoded at once."""

Format = Literal["csv", "tsv", "jsonl", "parquet"]

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_DELIMITERS = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a feed."""

    line: int
    """Where it begins: the physical line, from 1; of Parquet, the row, from 1."""
    values: dict[str, Any]
    """Column -> value. Under "" what belongs to no column."""
    problem: str | None = None
    """Why it could not be read."""


def read_columns(path: Path) -> tuple[str, ...]:
    """The columns a file declares; none for JSON lines, whose rows each bring their own.

    Raises FeedError if the file is missing, unreadable, of an unknown format or without a header.
    """
    kind = _format(path)
    with readable(path):
        if kind == "jsonl":
            path.stat()
            return ()
        columns = _schema(path) if kind == "parquet" else _header(path, _DELIMITERS[kind])
    return _checked(path, columns)


def read_records(path: Path) -> Iterator[Record]:
    """Every row in order. Raises FeedError where the file breaks off."""
    kind = _format(path)
    with readable(path):
        if kind == "parquet":
            yield from _parquet(path)
        elif kind == "jsonl":
            yield from _json_lines(path)
        else:
            yield from _delimited(path, _DELIMITERS[kind])


def _format(path: Path) -> Format:
    name = path.name.lower()
    is_packed = name.endswith(".gz")
    kind = _SUFFIXES.get(Path(name.removesuffix(".gz")).suffix)
    if kind is None or (is_packed and kind == "parquet"):
        raise FeedError(
            f"{path}: the name must end in one of {', '.join(_SUFFIXES)} "
            "(.gz may follow, except after .parquet)"
        )
    return kind


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Where a file is read: raises FeedError if it is missing or breaks off."""
    try:
        yield
    except FileNotFoundError:
        raise FeedError(f"{path} does not exist") from None
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise FeedError(f"{path} cannot be read (to the end): {error}") from None


@contextmanager
def _text(path: Path) -> Iterator[TextIOWrapper]:
    """Lines with their ends kept. Bytes that are not UTF-8 become lone surrogates, refused row by row."""
    packed = path.name.lower().endswith(".gz")
    with gzip.open(path) if packed else path.open("rb") as binary:
        yield TextIOWrapper(binary, "utf-8-sig", errors="surrogateescape", newline="")


def _header(path: Path, delimiter: str) -> list[str]:
    with _text(path) as text:
        try:
            return next(csv.reader(text, delimiter=delimiter, strict=True), [])
        except csv.Error as error:
            raise FeedError(f"{path}: the header line is malformed: {error}") from None


def _schema(path: Path) -> list[str]:
    with pq.ParquetFile(path) as file:
        return list(file.schema_arrow.names)


def _checked(path: Path, columns: Sequence[str]) -> tuple[str, ...]:
    if not any(name.strip() for name in columns):
        raise FeedError(f"{path} has no header: its first line must name the columns")
    if not "".join(columns).isprintable():
        raise FeedError(
            f"{path}: the header is not UTF-8 text (found {columns!r}): save it as UTF-8"
        )
    if len(set(columns)) < len(columns):
        raise FeedError(f"{path} names a column twice: {', '.join(columns)}")
    return tuple(columns)


def _delimited(path: Path, delimiter: str) -> Iterator[Record]:
    with _text(path) as text:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        columns = next(reader, [])
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Record(line, {}, f"malformed up to line {reader.line_num}: {error}")
                continue
            if row:
                yield _row(line, columns, row)


def _row(line: int, columns: Sequence[str], row: Sequence[str]) -> Record:
    values: dict[str, Any] = dict(zip(columns, row, strict=False))
    if len(row) == len(columns):
        return Record(line, values)
    if len(row) > len(columns):
        values[""] = row[len(columns) :]
    return Record(line, values, f"found {len(row)} values for {len(columns)} columns")


def _json_lines(path: Path) -> Iterator[Record]:
    with _text(path) as text:
        for line, content in enumerate(text, start=1):
            if not content.isspace():
                yield _object(line, content)


def _object(line: int, content: str) -> Record:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        return Record(line, {"": content[:1_000]}, f"not JSON: {error}")
    if not isinstance(values, dict):
        return Record(line, {"": content[:1_000]}, "not a JSON object")
    return Record(line, values)


def _parquet(path: Path) -> Iterator[Record]:
    with pq.ParquetFile(path) as file:
        line = 1
        for batch in file.iter_batches(batch_size=BATCH):
            yield from _batch(line, batch)
            line += batch.num_rows


def _batch(line: int, batch: pa.RecordBatch) -> Iterator[Record]:
    """Dates and times as ISO text: Arrow knows years that Python does not."""
    plain = pa.RecordBatch.from_arrays(
        [c.cast(pa.string()) if pa.types.is_temporal(c.type) else c for c in batch.columns],
        names=batch.schema.names,
    )
    try:
        rows = plain.to_pylist()
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            yield Record(line, {}, f"cannot be decoded: {error}")
            return
        for n in range(batch.num_rows):
            yield from _batch(line + n, batch.slice(n, 1))
        return
    yield from (Record(line + n, row) for n, row in enumerate(rows))
