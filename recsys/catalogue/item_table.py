"""The whole catalogue as columns: what every later stage reads instead of the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.identity import ABSENT, NOTHING, IdMap, ItemId, Mask, Ordinals

NEVER = int(np.iinfo(np.int64).max)
"""`expires_at` of an item that does not expire."""

ALWAYS = int(np.iinfo(np.int64).min)
"""`shown_from` of an item without a date."""

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("description", pa.string()),
        pa.field("categories", pa.list_(pa.string()), nullable=False),
        pa.field("brand", pa.string()),
        pa.field("price", pa.float64()),
        pa.field("currency", pa.string()),
        pa.field("images", pa.list_(pa.string()), nullable=False),
        pa.field("attributes", pa.string(), nullable=False),
        pa.field("available", pa.bool_(), nullable=False),
        pa.field("published_at", pa.int64()),
        pa.field("expires_at", pa.int64()),
        pa.field("created_at", pa.int64(), nullable=False),
    ]
)
"""`attributes` is a JSON object as text; times are microseconds since the epoch."""

NUMBERS = {"double": np.float64, "int64": np.int64, "int32": np.int32}
"""Arrow's names of numpy's types."""


@dataclass(frozen=True, eq=False)
class ItemTable:
    """The catalogue: an item's row is its ordinal. Ordered by id, but for items added since it was read.

    Numpy columns are made on first use.
    """

    data: pa.Table
    """Columns as in `SCHEMA`."""
    _by_attribute: dict[str, dict[str, Ordinals]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.data.schema.equals(SCHEMA):
            raise ValueError(f"an item table needs the columns {SCHEMA.names}")

    def __len__(self) -> int:
        return int(self.data.num_rows)

    @cached_property
    def ids(self) -> IdMap[ItemId]:
        """Item id <-> row."""
        return IdMap(cast(list[ItemId], self.data["id"].to_pylist()))

    def titles(self, ordinals: Ordinals) -> list[str]:
        """The titles of these rows; the id of an item without one."""
        found = zip(self.title_texts.of(ordinals), ordinals.tolist(), strict=True)
        return [title or self.id_texts.of(np.array([row]))[0] for title, row in found]

    @cached_property
    def id_texts(self) -> "Texts":
        """The ids as they lie in memory."""
        return Texts.in_column(self.data["id"])

    @cached_property
    def title_texts(self) -> "Texts":
        """The titles as they lie in memory; an empty one where there is none."""
        return Texts.in_column(self.data["title"])

    @cached_property
    def available(self) -> Mask:
        """(n,) False for what must not be recommended now."""
        return self._numpy("available")

    @cached_property
    def created_at(self) -> NDArray[np.int64]:
        """(n,) microseconds; when the item was first seen here."""
        return self._numpy("created_at")

    @cached_property
    def published_at(self) -> NDArray[np.int64]:
        """(n,) microseconds; `created_at` where no date was given."""
        given = self._numpy("published_at", missing=NEVER)
        return np.where(given == NEVER, self.created_at, given)

    @cached_property
    def shown_from(self) -> NDArray[np.int64]:
        """(n,) microseconds before which an item must not be shown; `ALWAYS` where no date was given."""
        return self._numpy("published_at", missing=ALWAYS)

    @cached_property
    def expires_at(self) -> NDArray[np.int64]:
        """(n,) microseconds; `NEVER` where no date was given."""
        return self._numpy("expires_at", missing=NEVER)

    @cached_property
    def price(self) -> NDArray[np.float64]:
        """(n,) NaN where unknown."""
        return self._numpy("price", missing=np.nan)

    @cached_property
    def brands(self) -> IdMap[str]:
        """Brand <-> code, in alphabetical order."""
        return IdMap(sorted(cast(list[str], self.data["brand"].unique().drop_null().to_pylist())))

    @cached_property
    def brand_codes(self) -> NDArray[np.int32]:
        """(n,) codes into `brands`, -1 where unknown."""
        found = self.data["brand"].combine_chunks().dictionary_encode()
        known = self.brands.ordinals(cast(list[str], found.dictionary.to_pylist()))
        codes = np.append(known, ABSENT).astype(np.int32)
        return np.asarray(codes[as_numpy(found.indices, ABSENT)])

    @cached_property
    def category_codes(self) -> tuple[Ordinals, Ordinals, int]:
        """Rows ascending and the codes of their categories, each pair once, and how many categories there are."""
        lists = self.data["categories"].combine_chunks()
        row = as_numpy(pc.list_parent_indices(lists)).astype(np.int64)
        names = pc.list_flatten(lists).dictionary_encode()
        code = as_numpy(names.indices).astype(np.int64)
        count = max(1, len(names.dictionary))
        pairs = np.sort(row * count + code)
        pairs = pairs[np.diff(pairs, prepend=-1) != 0]
        rows, codes = np.divmod(pairs, count)
        return rows, codes, len(names.dictionary)

    def with_category(self, name: str) -> Ordinals:
        """Rows in this category, ascending; the name must match exactly."""
        return self._by_category.get(name, NOTHING)

    def with_attribute(self, key: str, value: str) -> Ordinals:
        """Rows whose attribute has this value, or a list that holds it, ascending.

        Values are compared as text: 5 and 5.0 are "5", true is "true".
        """
        if key not in self._by_attribute:
            self._by_attribute[key] = self._attribute(key)
        return self._by_attribute[key].get(value, NOTHING)

    def postings(self, name: str) -> dict[str, Ordinals]:
        """Value -> rows, ascending, of "brand", "categories" or "attributes.NAME"; empty where nothing is known."""
        if name == "categories":
            return self._by_category
        if name == "brand":
            known = np.flatnonzero(self.brand_codes >= 0)
            return _postings(pa.array(known), self.data["brand"].combine_chunks().drop_null())
        field, _, key = name.partition(".")
        return self._attribute(key) if field == "attributes" and key else {}

    def with_rows(self, rows: "ItemTable") -> "ItemTable":
        """With these rows in the place of those of the same ids; behind them those of new ids, in the order given."""
        count, was = len(self), self.ids.ordinals(list(rows.ids))
        place = np.arange(count + int((was == ABSENT).sum()))
        place[was[was != ABSENT]] = count + np.flatnonzero(was != ABSENT)
        place[count:] = count + np.flatnonzero(was == ABSENT)
        both = pa.concat_tables([self.data, rows.data]).combine_chunks()
        return ItemTable(both.take(place))

    def write(self, path: Path) -> None:
        """As an uncompressed Arrow file, which `read` maps into memory."""
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
            writer.write_table(self.data)

    @classmethod
    def read(cls, path: Path) -> "ItemTable":
        """Raises OSError or ArrowInvalid if the file is missing or not one of ours."""
        return cls(pa.ipc.open_file(pa.memory_map(str(path))).read_all())

    def _numpy(self, name: str, missing: float = 0) -> NDArray[Any]:
        return as_numpy(self.data[name].combine_chunks(), missing)

    @cached_property
    def _by_category(self) -> dict[str, Ordinals]:
        lists = self.data["categories"].combine_chunks()
        return _postings(pc.list_parent_indices(lists), pc.list_flatten(lists))

    def _attribute(self, key: str) -> dict[str, Ordinals]:
        quoted = orjson.dumps(key).decode() + ":"
        rows = pc.indices_nonzero(pc.match_substring(self.data["attributes"], quoted))
        texts = cast(list[str], self.data["attributes"].take(rows).to_pylist())
        pairs = [
            (row, text)
            for row, document in zip(rows.to_pylist(), texts, strict=True)
            for text in _texts(orjson.loads(document), key)
        ]
        return _postings(
            pa.array([row for row, _ in pairs], pa.int64()),
            pa.array([text for _, text in pairs], pa.string()),
        )


def as_numpy(array: "pa.Array[Any]", missing: float = 0) -> NDArray[Any]:
    """Booleans or numbers. Arrow's own way imports pandas, if that is installed, which takes a second."""
    there, data = array.buffers()
    some = slice(array.offset, array.offset + len(array))
    if pa.types.is_boolean(array.type):
        values: NDArray[Any] = _bits(data)[some]
    else:
        values = np.frombuffer(memoryview(data or b""), NUMBERS[str(array.type)])[some]
    if not array.null_count:
        return values
    return np.where(_bits(there)[some], values, values.dtype.type(missing))


def _bits(data: "pa.Buffer | None") -> Mask:
    bits: Any = np.frombuffer(memoryview(data or b""), np.uint8)
    return np.asarray(np.unpackbits(bits, bitorder="little"), dtype=bool)


class Texts(NamedTuple):
    """A column of texts, each read when it is asked for: an Arrow scalar takes ten times as long."""

    edges: NDArray[np.int32]
    """(n + 1,) text n is letters[edges[n]:edges[n + 1]]."""
    letters: NDArray[np.uint8]
    """In UTF-8."""

    @classmethod
    def in_column(cls, column: "pa.ChunkedArray[Any]") -> "Texts":
        """As they lie in memory; "" where there is none."""
        array = column.combine_chunks()
        _, edges, letters = array.buffers()
        some = slice(array.offset, array.offset + len(array) + 1)
        return cls._of(
            np.frombuffer(memoryview(edges or bytes(4)), np.int32)[some],
            np.frombuffer(memoryview(letters or b""), np.uint8),
        )

    @classmethod
    def of_strings(cls, some: Sequence[str]) -> "Texts":
        """Side by side."""
        joined = "".join(some)
        encoded = joined.encode(errors="surrogatepass")
        pieces: Sequence[str | bytes] = some
        if not joined.isascii():
            pieces = [one.encode(errors="surrogatepass") for one in some]
        edges = np.zeros(len(some) + 1, dtype=np.int32)
        np.cumsum(np.fromiter(map(len, pieces), np.int32, len(some)), out=edges[1:])
        return cls._of(edges, np.frombuffer(encoded, np.uint8))

    @classmethod
    def _of(cls, edges: NDArray[np.int32], letters: NDArray[np.uint8]) -> "Texts":
        """Read-only, both: to the compiler another kind of array would be another program."""
        edges.setflags(write=False)
        letters.setflags(write=False)
        return cls(edges, letters)

    def of(self, rows: Ordinals) -> list[str]:
        """The texts of these rows; "" where there is none."""
        letters = memoryview(cast(Any, self.letters))
        spans = zip(self.edges[rows].tolist(), self.edges[rows + 1].tolist(), strict=True)
        return [str(letters[start:end], "utf-8") for start, end in spans]


def _postings(rows: "pa.Array[Any]", names: "pa.Array[Any]") -> dict[str, Ordinals]:
    """Name -> its distinct rows, ascending."""
    encoded = names.dictionary_encode()
    codes = as_numpy(encoded.indices)
    ordinals = as_numpy(rows).astype(np.int64)
    order = np.lexsort((ordinals, codes))
    ends = np.cumsum(np.bincount(codes, minlength=len(encoded.dictionary)))
    parts = np.split(ordinals[order], ends[:-1])
    return {
        str(name): np.unique(part)
        for name, part in zip(encoded.dictionary.to_pylist(), parts, strict=False)
    }


def _texts(attributes: Mapping[str, Any], key: str) -> list[str]:
    value = attributes.get(key)
    if value is None:
        return []
    return [_text(part) for part in (value if isinstance(value, list) else [value])]


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return orjson.dumps(value).decode()
