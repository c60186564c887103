"""How fast is a text query answered by the product's index, and how much does it find? Beside exact FAISS search.

usage: python scripts/bench/index.py [--items 1000000] [--queries 200] [--runs 5] [--json]

The vectors are a made-up catalogue's (worldly.py); the queries are further items of the same clusters, which
are not in the index. A tenth of them is put to both, one after the other and one at a time, on one thread each:
as a request is answered. The last line is a JSON object with `index_speedup` (exact time over ours, the median
of those queries and all runs) and `index_recall@10` (of all queries).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from statistics import median
from time import perf_counter

import faiss
import numpy as np
from worldly import vectors

from recsys.config import IndexSettings
from recsys.identity import Floats
from recsys.index.exact import VectorIndex
from recsys.index.faiss import build_index, choose_kind
from recsys.threads import limit_threads

DIM = 384
"""That of the usual text encoder."""

K = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = _parser().parse_args(arguments)
    limit_threads(0)
    drawn = vectors(asked.items + asked.queries, DIM, asked.seed)
    chosen = np.random.default_rng(asked.seed).permutation(len(drawn))
    queries, rows = drawn[chosen[: asked.queries]], drawn[np.sort(chosen[asked.queries :])]
    del drawn
    kind = choose_kind(len(rows), IndexSettings())
    print(f"building the product's index ({kind}) of {len(rows):,} vectors of {DIM} numbers")
    began = perf_counter()
    ours = build_index(rows, IndexSettings())
    built = perf_counter() - began
    exact = faiss.IndexFlatIP(DIM)
    exact.add(rows)
    recall = recall_of(exact, ours, queries)
    limit_threads(1)
    found = compare(exact, ours, queries[: max(1, len(queries) // 10)], asked.runs)
    found["index_recall@10"] = recall
    print(
        f"built in {built:.0f} s; exact {found['exact_ms']:.1f} ms, ours {found['ours_ms']:.2f} ms"
    )
    if asked.json:
        print(json.dumps(found | {"items": len(rows), "kind": kind, "build_seconds": round(built)}))
    return 0


def compare(exact: faiss.Index, ours: VectorIndex, queries: Floats, runs: int) -> dict[str, float]:
    """Times of single queries, taken in turns."""
    exact_times: list[float] = []
    our_times: list[float] = []
    for query in [row[None, :] for _ in range(runs) for row in queries]:
        began = perf_counter()
        exact.search(query, K)
        between = perf_counter()
        ours.search(query, K)
        our_times.append(perf_counter() - between)
        exact_times.append(between - began)
    ratios = np.array(exact_times) / np.array(our_times)
    low, middle, high = np.percentile(ratios, [5, 50, 95])
    return {
        "index_speedup": round(float(middle), 2),
        "index_speedup_p5": round(float(low), 2),
        "index_speedup_p95": round(float(high), 2),
        "exact_ms": round(1e3 * median(exact_times), 3),
        "ours_ms": round(1e3 * median(our_times), 3),
    }


def recall_of(exact: faiss.Index, ours: VectorIndex, queries: Floats) -> float:
    """Share of the exact answers that ours holds."""
    _, truth = exact.search(queries, K)
    found = ours.search(queries, K).ordinals
    return round(float(np.mean([np.isin(*pair) for pair in zip(truth, found, strict=True)])), 4)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="the last line is a JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
