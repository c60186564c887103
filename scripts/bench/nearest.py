"""How fast are similar items found, beside databases of vectors: pgvector in PostgreSQL, and LanceDB?

usage: python scripts/bench/nearest.py [--home DIR] [--queries 100] [--runs 5] [--json]

DIR is a world of make_world.py; without one, 100,000 items are made first, which takes minutes. Its whitened
vectors go into both databases (rivals.py), whose searches look as far as is needed to find 95 of 100 nearest. Then
all are asked in turns, one question at a time, as a product page asks: the ten nearest to a vector, of our index
too; and ten items like an item, for which the product makes a slate, all its models blended, with reasons. Ours
takes one core, as in service. The last line is a JSON object:

    pgvector_ratio, lancedb_ratio                    its time for a vector over our index's
    pgvector_similar_ratio, lancedb_similar_ratio    its time for an item over that of our slate
    ..._recall@10, ..._ms, ..._similar_ms, ..._build_seconds      of pgvector, lancedb and ours
    listed_ms, listed_recall@10                      the list that we keep of each item, which slates are made from

Each ratio is the median of all runs, with `_low` and `_high`; null where the extra `bench` is not installed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TypeVar

import numpy as np
from batch import made
from rivals import K, Store, lancedb, pgvector

from recsys.config import IndexSettings, RankingSettings
from recsys.identity import Floats, Ordinals
from recsys.index.exact import Exam, exact_search
from recsys.index.faiss import build_index
from recsys.index.space import Space
from recsys.ranking.candidates import Query
from recsys.ranking.recommender import Recommender
from recsys.snapshot import Snapshots
from recsys.threads import limit_threads

ENOUGH = 0.95
"""Recall@10 that the databases' effort is raised to."""

EFFORTS = (40, 80, 160, 320, 640)

AWAY = 0.5
"""Length of what is added to the vector of an item, of length 1, to make a question that is no item."""

Question = TypeVar("Question")

Seconds = Mapping[str, Floats]
"""Who was asked -> (runs,) the mean time of a question in each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        home = asked.home or made(Path(folder) / "world", asked.items)
        found = compare(home, asked.queries, asked.runs, asked.seed)
    for name in ("ours", "pgvector", "lancedb"):
        if found[f"{name}_ms"] is None:
            print(f"{name}: not installed")
            continue
        print(
            f"{name}: nearest {found[f'{name}_ms']} ms at recall {found[f'{name}_recall@10']}, "
            f"similar {found[f'{name}_similar_ms']} ms, built in {found[f'{name}_build_seconds']} s"
        )
    if asked.json:
        print(json.dumps(found))
    return 0


@dataclass(frozen=True)
class Ours:
    """The product's index and slates, as a `Store`."""

    space: Space
    recommender: Recommender
    now: datetime
    build_seconds: float

    def look(self, effort: int) -> None:
        """Does nothing: the effort was found when the index was built."""

    def nearest(self, vector: Floats) -> list[int]:
        """By the index."""
        found: list[int] = self.space.search(vector[None], K).ordinals[0].tolist()
        return found

    def similar(self, item: int) -> Sequence[object]:
        """By the slate, which is not made of what is nearest alone."""
        slate = self.recommender.recommend(Query(self.now, K, context=np.array([item])))
        return [found.item for found in slate.items]


def compare(home: Path, queries: int, runs: int, seed: int) -> dict[str, float | None]:
    """Times, recall and ratios."""
    limit_threads(0)
    _, artefacts = Snapshots(home / "snapshots").load_current()
    space = artefacts.spaces["text"]
    rows = np.ascontiguousarray(space.rows)
    began = perf_counter()
    build_index(rows, IndexSettings())
    built = perf_counter() - began

    def listed(item: int) -> list[int]:
        return space.neighbours[item, :K].tolist()

    recommender = Recommender.of(artefacts, RankingSettings())
    ours = Ours(space, recommender, datetime.now(UTC), built)
    rng = np.random.default_rng(seed)
    items = rng.choice(len(rows), min(queries, len(rows)), replace=False)
    vectors = near_to(rows[items], rng)
    truth = exact_search(rows, vectors, K).ordinals
    with pgvector(rows) as postgres, lancedb(rows) as lance:
        stores: dict[str, Store | None] = {"ours": ours, "pgvector": postgres, "lancedb": lance}
        there = {name: store for name, store in stores.items() if store is not None}
        recalls = {name: raised(store, vectors, truth) for name, store in there.items()}
        limit_threads(1)
        by_vector = in_turns(
            {name: store.nearest for name, store in there.items()}, list(vectors), runs
        )
        by_item = in_turns(
            {"listed": listed} | {name: store.similar for name, store in there.items()},
            items.tolist(),
            runs,
        )
    exam = Exam.of(rows, K)
    figures: dict[str, float | None] = {
        "items": len(rows),
        "queries": len(items),
        "listed_ms": _milliseconds(by_item, "listed"),
        "listed_recall@10": round(exam.share(space.similarity[exam.asked, :K]), 4),
    }
    for name, store in stores.items():
        figures[f"{name}_ms"] = _milliseconds(by_vector, name)
        figures[f"{name}_similar_ms"] = _milliseconds(by_item, name)
        figures[f"{name}_recall@10"] = recalls.get(name)
        figures[f"{name}_build_seconds"] = round(store.build_seconds, 1) if store else None
    for name in ("pgvector", "lancedb"):
        figures |= _ratio(f"{name}_ratio", by_vector, name)
        figures |= _ratio(f"{name}_similar_ratio", by_item, name)
    return figures


def near_to(rows: Floats, rng: np.random.Generator) -> Floats:
    """(q, dim) unit vectors near to these, none of them an item's: as words about an item are."""
    away = rng.standard_normal(rows.shape, dtype=np.float32) * np.float32(
        AWAY / rows.shape[1] ** 0.5
    )
    moved = rows + away
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True))


def raised(store: Store, vectors: Floats, truth: Ordinals) -> float:
    """The recall at the least effort at which it is enough, or at the most effort."""
    recall = 0.0
    for effort in EFFORTS:
        store.look(effort)
        recall = recall_of((store.nearest(vector) for vector in vectors), truth)
        if recall >= ENOUGH:
            break
    return recall


def recall_of(answers: Iterable[Sequence[int]], truth: Ordinals) -> float:
    """Share of the true ones that were found."""
    shares = [np.isin(true, found).mean() for true, found in zip(truth, answers, strict=True)]
    return round(float(np.mean(shares)), 4)


def in_turns(
    asks: Mapping[str, Callable[[Question], object]], questions: Sequence[Question], runs: int
) -> Seconds:
    """Each question to one after the other; a first run does not count."""
    spent = {name: np.zeros(runs + 1) for name in asks}
    for run in range(runs + 1):
        for question in questions:
            for name, ask in asks.items():
                began = perf_counter()
                ask(question)
                spent[name][run] += perf_counter() - began
    return {name: seconds[1:] / len(questions) for name, seconds in spent.items()}


def _milliseconds(seconds: Seconds, name: str) -> float | None:
    return round(1e3 * median(seconds[name]), 4) if name in seconds else None


def _ratio(figure: str, seconds: Seconds, name: str) -> dict[str, float | None]:
    """Their time over ours, run by run: the median, the least and the greatest."""
    names = (figure, f"{figure}_low", f"{figure}_high")
    if name not in seconds:
        return dict.fromkeys(names)
    ratios = seconds[name] / seconds["ours"]
    found = (median(ratios), ratios.min(), ratios.max())
    return dict(zip(names, (round(float(ratio), 2) for ratio in found), strict=True))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--home", type=Path, help="a world of make_world.py")
    parser.add_argument("--items", type=int, default=100_000, help="of the world that is made")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="the last line is a JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
