"""RecBole's atomic files: tab-separated, the first line names each column and its type, `item_id:token`.

A row is an event; or, where a column such as `item_id_list:token_seq` holds what came before, a question:
this list, then that item. Questions are put together again into everybody's one sequence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path

from interactions import (
    PARTS,
    TEST,
    TRAINING,
    Clock,
    Gathering,
    Interactions,
    Protocol,
    a_day_apart,
    known_then_test,
)

from recsys.catalogue.columns import find_columns
from recsys.errors import FeedError

ENDINGS = (".inter", ".inter.gz")


def is_inter(path: Path) -> bool:
    """A file of interactions, by its name."""
    return path.name.endswith(ENDINGS)


@dataclass(frozen=True)
class Header:
    """The columns of an atomic file."""

    names: tuple[str, ...]
    types: tuple[str, ...]

    @classmethod
    def of(cls, line: str) -> "Header":
        """Names and types stand with a colon between."""
        cells = [cell.strip().partition(":") for cell in line.split("\t")]
        return cls(tuple(cell[0] for cell in cells), tuple(cell[2] for cell in cells))

    @property
    def item(self) -> int | None:
        """By its name, else the second column of ids; None if there is no column of ids."""
        return _first([*self._named("item_id"), *self._ids[1:2], *self._ids])

    @property
    def user(self) -> int | None:
        """By its name, else another column of ids than the item's."""
        others = [n for n in self._ids if n != self.item]
        return _first([*self._named("user_id", "session_id"), *others])

    @property
    def time(self) -> int | None:
        return _first(self._named("time"))

    @property
    def value(self) -> int | None:
        return _first(self._named("value"))

    @property
    def before(self) -> int | None:
        """The list of the items that came before; None where a row is an event."""
        lists = [n for n, kind in enumerate(self.types) if kind == "token_seq"]
        own = [n for n in lists if self.names[n] == f"{self.names[self.item or 0]}_list"]
        return _first(own + [n for n in lists if "item" in self.names[n]])

    @cached_property
    def _ids(self) -> list[int]:
        return [n for n, kind in enumerate(self.types) if kind == "token"]

    @cached_property
    def _fields(self) -> dict[str, int]:
        known = find_columns("events", list(dict.fromkeys(self.names)), {})
        return {field: self.names.index(names[0]) for field, names in known.fields.items()}

    def _named(self, *fields: str) -> list[int]:
        return [self._fields[field] for field in fields if field in self._fields]


@dataclass(frozen=True)
class _File:
    """One file, and the part its name tells."""

    path: Path
    part: int | None
    header: Header
    lines: Sequence[str]

    def rows(self) -> Iterator[list[str]]:
        """The cells of every row; what is missing at the end is empty."""
        width = len(self.header.names)
        for line in self.lines[1:]:
            if line:
                cells = line.split("\t")
                yield cells + [""] * (width - len(cells))


def read(files: Sequence[tuple[Path, Sequence[str]]], folder: Path) -> Interactions:
    """files: their paths and lines. Raises FeedError where they are no atomic files, or too many."""
    found = [_file(path, lines) for path, lines in files]
    split = sorted(
        (file for file in found if file.part is not None), key=lambda file: file.part or 0
    )
    if {TRAINING, TEST} <= {file.part for file in split}:
        return _read(split, split=True)
    if len(found) == 1:
        return _read(found, split=False)
    raise FeedError(
        f"{folder} holds {', '.join(file.path.name for file in found)}: "
        "expected one .inter file, or .train.inter and .test.inter"
    )


def _file(path: Path, lines: Sequence[str]) -> _File:
    header = Header.of(lines[0] if lines else "")
    if header.item is None:
        raise FeedError(
            f"{path}: found the header {' '.join(header.names)!r}, "
            "expected tab-separated columns such as user_id:token and item_id:token"
        )
    name = path.name.removesuffix(".gz").removesuffix(".inter").rpartition(".")[2]
    return _File(path, PARTS.get(name), header, lines)


def _read(files: Sequence[_File], split: bool) -> Interactions:
    protocol: Protocol = "parts" if split else "leave-one-out"
    paths = [file.path for file in files]
    if all(file.header.before is not None for file in files):
        return _questions(files).done(protocol, paths, a_day_apart, split)
    dated = all(file.header.time is not None for file in files)
    clock: Clock = known_then_test if split else a_day_apart
    return _events(files, dated).done(protocol, paths, None if dated else clock, split)


def _events(files: Sequence[_File], dated: bool) -> Gathering:
    rows = Gathering()
    for file in files:
        header = file.header
        if header.user is None:
            raise FeedError(f"{file.path}: no column of users among {' '.join(header.names)}")
        for cells in file.rows():
            rows.add(
                cells[header.user],
                cells[header.item or 0],
                file.part or TRAINING,
                rows.moment(_cell(cells, header.time)) if dated else 0,
                _cell(cells, header.value),
            )
    return rows


def _questions(files: Sequence[_File]) -> Gathering:
    """A list that says more than was known of its owner was known before the item asked for: training."""
    asked: dict[str, list[tuple[int, list[str], str]]] = {}
    for file in files:
        header = file.header
        for number, cells in enumerate(file.rows()):
            own = f"{file.path.name} {number}" if header.user is None else cells[header.user]
            before, item = cells[header.before or 0].split(), cells[header.item or 0]
            asked.setdefault(own, []).append((file.part or TRAINING, before, item))
    rows = Gathering()
    for user, questions in asked.items():
        for item, part in _together(questions):
            rows.add(user, item, part)
    return rows


def _together(questions: list[tuple[int, list[str], str]]) -> list[tuple[str, int]]:
    """(item, part) oldest first, of one person. Lists may be cut at their old end; then their order counts."""
    items: list[str] = []
    parts: list[int] = []
    for part, before, item in sorted(questions, key=itemgetter(0)):
        overlap = _overlap(items, before)
        if overlap < len(before) and _within(items, [*before, item]):
            continue
        new = before[overlap:]
        items += [*new, item]
        parts += [*[TRAINING] * len(new), part]
    return list(zip(items, parts, strict=True))


def _overlap(items: list[str], before: list[str]) -> int:
    """How much of the list's beginning is the end of the items."""
    longest = min(len(items), len(before))
    return next((n for n in range(longest, 0, -1) if items[-n:] == before[:n]), 0)


def _within(items: list[str], some: list[str]) -> bool:
    n = len(some)
    return any(items[start : start + n] == some for start in range(len(items) - n + 1))


def _cell(cells: list[str], column: int | None) -> str | None:
    return None if column is None else cells[column]


def _first(columns: Sequence[int]) -> int | None:
    return columns[0] if columns else None
