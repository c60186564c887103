"""What the items of a dataset say of themselves -> rows and options for the product's import.

The table with the most words is taken. Its ids are in the column that holds those which the interactions
speak of; a column that the product does not know by name joins the description, if it is text at all.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from formats import lines_of, tables
from interactions import Interactions

from recsys.catalogue.columns import KNOWN, find_columns, normal
from recsys.catalogue.feeds import read_columns, read_records
from recsys.catalogue.importing import FeedOptions
from recsys.catalogue.values import as_price
from recsys.errors import FeedError

Row = dict[str, str]

FIRST_NAMES = ("item", "item_id", "id")
"""Columns of ids that come before others which the product knows, and before the first column."""

OF_NO_USE = ("available", "published_at", "expires_at", "currency", "images", "attributes")
"""Fields that benchmarks do not look at: dates of sale would hide items, links cannot be followed."""

LOOKED_AT = 1_000
"""Rows by which a column is judged."""

NOTHING = {"", "nan", "none", "null", "n/a"}
"""Ways to write that there is nothing."""

ARCHIVES = ("posters.tar", "images.tar")
"""Where pictures lie, in a folder of the archive's name."""

ATOMIC = (".item", ".text", ".item.gz", ".text.gz")
KINDS = {"token", "token_seq", "float", "float_seq"}
"""What RecBole calls the types of columns."""


@dataclass(frozen=True)
class Table:
    """A table of items."""

    path: Path
    columns: tuple[str, ...]
    rows: Callable[[], Iterator[Row]]
    """Every row that can be read, from the first; called anew for each pass."""
    words: frozenset[str] = frozenset()
    """Columns that hold a list of words with spaces between."""


@dataclass(frozen=True)
class Texts:
    """The rows of those items that take part, and how the product is to read them."""

    file: Path
    id_column: str
    rows: list[Row]
    options: FeedOptions

    @property
    def ids(self) -> list[str]:
        return [row[self.id_column] for row in self.rows]

    @property
    def read_as_words(self) -> list[str]:
        """The columns that describe an item."""
        columns = find_columns("items", list(self.rows[0]), self.options.columns).fields
        return [c for name in ("title", "description", "categories") for c in columns.get(name, ())]


def find_texts(folder: Path, found: Interactions, everything: bool) -> Texts | None:
    """The table with the most columns of words. everything: also items that nobody has met."""
    ids = set(found.items)
    known = [_of(table, ids, everything) for table in _tables(folder, found)]
    return max(filter(None, known), key=lambda texts: len(texts.read_as_words), default=None)


def picture_template(folder: Path) -> str | None:
    """Where pictures lie, as the product's import is told: `posters.tar/posters/{item_id}.jpg`."""
    found = next((name for name in ARCHIVES if (folder / name).is_file()), None)
    return None if found is None else f"{found}/{found.removesuffix('.tar')}/{{item_id}}.jpg"


def _of(table: Table, ids: Collection[str], everything: bool) -> Texts | None:
    """None where no column holds the ids that the interactions speak of."""
    id_column = _id_column(table, ids)
    if id_column is None:
        return None
    rows: dict[str, Row] = {}
    for row in table.rows():
        key = _cell(row, id_column)
        if key and (everything or key in ids):
            rows.setdefault(key, {**dict.fromkeys(table.columns, ""), **row, id_column: key})
    kept = list(rows.values())
    options = _options(table, id_column, kept[:LOOKED_AT])
    return Texts(table.path, id_column, _with_sound_prices(kept, table, options), options)


def _id_column(table: Table, ids: Collection[str]) -> str | None:
    """Of the columns that may hold ids, the one that holds the most of these; the better name among equals."""
    names = [*map(normal, FIRST_NAMES), *KNOWN["items"]["id"]]
    named = [column for column in table.columns if normal(column) in names]
    named.sort(key=lambda column: names.index(normal(column)))
    hits = dict.fromkeys([*named, *table.columns[:1]], 0)
    for row in table.rows():
        for column in hits:
            hits[column] += _cell(row, column) in ids
    best = max(hits, key=lambda column: hits[column])
    return best if hits[best] else None


def _options(table: Table, id_column: str, sample: Sequence[Row]) -> FeedOptions:
    told: dict[str, tuple[str, ...]] = {"id": (id_column,)} | dict.fromkeys(OF_NO_USE, ())
    known = find_columns("items", table.columns, told)
    no_words = {name for field in ("id", *OF_NO_USE) for name in KNOWN["items"][field]}
    rest = [c for c in known.rest if normal(c) not in no_words and _is_text(c, sample)]
    described = (*known.fields.get("description", ()), *rest)
    if described:
        told["description"] = described
    categories = known.fields.get("categories", ())
    return FeedOptions(columns=told, split=_separator(categories, sample, table.words))


def _is_text(column: str, rows: Iterable[Row]) -> bool:
    """Words for the most part: no numbers, dates, codes or links."""
    values = [value for row in rows if (value := _cell(row, column))]
    return bool(values) and sum(map(_says_something, values)) * 2 > len(values)


def _says_something(value: str) -> bool:
    is_code = not re.search(r"\s", value) and any(map(str.isdigit, value))
    is_link = re.match(r"\W*(https?:)?//", value) is not None
    return any(map(str.isalpha, value)) and not is_code and not is_link


def _separator(columns: Sequence[str], rows: Sequence[Row], words: Collection[str]) -> str:
    values = [_cell(row, column) for row in rows for column in columns]
    for separator in ("|", ","):
        if any(separator in value for value in values):
            return separator
    return " " if set(columns) & set(words) else "|"


def _with_sound_prices(rows: list[Row], table: Table, options: FeedOptions) -> list[Row]:
    """Without prices that are none: the product would refuse the whole row."""
    fields = find_columns("items", table.columns, options.columns).fields
    for row in rows:
        for column in fields.get("price", ()):
            if not _is_price(row[column]):
                row[column] = ""
    return rows


def _is_price(value: str) -> bool:
    try:
        price, _ = as_price(value)
    except ValueError:
        return False
    return price is not None and price >= 0


def _cell(row: Row, column: str) -> str:
    """Empty where a row says nothing."""
    value = (row.get(column) or "").strip()
    return "" if value.lower() in NOTHING else value


# --- what may be a table of items


def _tables(folder: Path, found: Interactions) -> Iterator[Table]:
    for path in sorted(folder.iterdir()):
        if path.name.endswith(ATOMIC):
            yield _atomic(path, found.items)
    for path in tables(folder):
        if path not in found.files and (columns := _columns_of_items(path)):
            yield Table(path, columns, partial(_feed_rows, path))


def _columns_of_items(path: Path) -> tuple[str, ...]:
    """None for what cannot be read, and for a table of people."""
    try:
        columns = read_columns(path)
    except FeedError:
        return ()
    return (
        ()
        if {"user_id", "session_id"} & find_columns("events", columns, {}).fields.keys()
        else columns
    )


def _feed_rows(path: Path) -> Iterator[Row]:
    return (dict(record.values) for record in read_records(path) if not record.problem)


def _atomic(path: Path, ids: Collection[str]) -> Table:
    """With the header of an atomic file, or without: then `id<TAB>text` lines, or line n for item n."""
    first = next(lines_of(path), "")
    cells = [cell.strip().partition(":") for cell in first.split("\t")]
    if all(kind in KINDS for _, _, kind in cells):
        columns = tuple(name for name, _, _ in cells)
        words = frozenset(name for name, _, kind in cells if kind == "token_seq")
        return Table(path, columns, lambda: islice(_split_rows(path, columns), 1, None), words)
    columns = ("item_id", "text")
    if "\t" in first:
        return Table(path, columns, lambda: _split_rows(path, columns))
    begin = 0 if "0" in ids else 1
    return Table(path, columns, lambda: _numbered_rows(path, columns, begin))


def _split_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    for line in lines_of(path):
        yield dict(zip(columns, line.split("\t", len(columns) - 1), strict=False))


def _numbered_rows(path: Path, columns: Sequence[str], begin: int) -> Iterator[Row]:
    for number, line in enumerate(lines_of(path), begin):
        yield dict(zip(columns, (str(number), line), strict=True))
