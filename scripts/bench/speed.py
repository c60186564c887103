"""Every figure of speed, measured on this machine and written into the README's table.

usage: scripts/bench/all [--home DIR] [--small DIR --large DIR] [--only NAME ...] [--quick] [--readme FILE]

Runs serving.py, batch.py, nearest.py, map.py, embedding.py, images.py, rebuild.py and index.py one after the other,
which takes three quarters of an hour with nothing beside. DIR is a world of make_world.py for the first four; without
one they share one of 100,000 items that is made first. --only: some of them; the rows of the others stay as they are.
--quick: small sizes, to see that all runs. A figure that could not be had says so in its row.

--small, --large: worlds of make_world.py, of 10,000 and 1,000,000 items, that serving.py compares; without them the
rows that speak of a million items stay as they are.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
README = HERE.parent.parent / "README.md"

BEGIN, END = "<!-- scripts/bench/all writes these rows -->", "<!-- to here -->"

QUICK: Mapping[str, Sequence[str]] = {
    "serving": ("--runs", "1", "--seconds", "1"),
    "batch": ("--runs", "1", "--users", "50"),
    "nearest": ("--runs", "1", "--queries", "5"),
    "map": ("--seconds", "0.3", "--no-layout"),
    "embedding": ("--runs", "1", "--texts", "16"),
    "images": ("--runs", "1", "--images", "8"),
    "rebuild": ("--items", "300", "--nights", "1", "--queries", "200"),
    "index": ("--items", "30000", "--runs", "1", "--queries", "20"),
}

AMONG_A_MILLION = {"p50_growth", "start_ratio"}
"""Figures of the large world."""

IN_A_WORLD = {"serving", "batch", "nearest", "map"}
"""Those that share one."""


@dataclass(frozen=True)
class Figure:
    """A row of the table."""

    bench: str
    name: str
    """In the bench's JSON."""
    what: str
    bar: str = "\N{EN DASH}"
    spread: tuple[str, str] = ("_low", "_high")

    def asked(self, result: Mapping[str, object] | None) -> bool:
        """Whether the bench was asked for it: it may have had no large world."""
        return self.name not in AMONG_A_MILLION or (result is not None and "large" in result)


FIGURES = (
    Figure("serving", "noop_ratio", "a user's slate, over a ready-made body's requests", "≥ .30"),
    Figure("serving", "p99_ms", "its slowest hundredth, 8 connections, ms", "< 10"),
    Figure("serving", "noop_p99_ms", "that of the ready-made body, ms"),
    Figure("serving", "similar_noop_ratio", "similar items, over the same body", "≥ .45"),
    Figure("serving", "write_slowdown", "slates beside 500 events a second, over without", "≥ .8"),
    Figure("serving", "failed", "requests that failed meanwhile", "0"),
    Figure("serving", "workers_memory_ratio", "memory of 4 workers, over that of one", "≤ 1.5"),
    Figure(
        "serving",
        "start_ratio",
        "start to first slate among 1 M items, over reading the files",
        "≤ 3",
    ),
    Figure("serving", "p50_growth", "a slate among 1 M items, over one among 10,000", "≤ 2"),
    Figure(
        "batch", "batch_ratio", "slates of 50 in batch, over `implicit`'s users a second", "≥ 3"
    ),
    Figure("batch", "librec_ratio", "the same, over LibRecommender's"),
    Figure("nearest", "pgvector_ratio", "pgvector's time for 10 nearest, over our index's"),
    Figure("nearest", "pgvector_similar_ratio", "its time for 10 like an item, over our slate's"),
    Figure("nearest", "pgvector_recall@10", "its recall@10"),
    Figure("nearest", "lancedb_ratio", "LanceDB's time for 10 nearest, over our index's"),
    Figure("nearest", "lancedb_similar_ratio", "its time for 10 like an item, over our slate's"),
    Figure("nearest", "lancedb_recall@10", "its recall@10"),
    Figure("nearest", "ours_recall@10", "our index's recall@10 there", "≥ .98"),
    Figure("map", "fps", "pictures a second of a map of 100,000 items that is moved", "≥ 30"),
    Figure("map", "fps_slowest", "its slowest tenth"),
    Figure("map", "fps_2x", "the same at two device pixels for one", "≥ 30"),
    Figure("map", "fps_2x_slowest", "its slowest tenth there"),
    Figure("map", "layout_seconds", "from neighbours to places for 100,000 items, s", "≤ 180"),
    Figure("embedding", "embed_ratio", "texts a second, over sentence-transformers'", "≥ 2.2"),
    Figure("embedding", "cosine_min", "least cosine between the two", "≥ .998"),
    Figure(
        "images", "image_ratio", "pictures a second, over a plain loop of the same model", "≥ 2"
    ),
    Figure("images", "image_cosine_min", "least cosine between the two", "≥ .998"),
    Figure("rebuild", "incremental_ratio", "a night with 1 % new, over a full build", "≤ .35"),
    Figure("rebuild", "embedding_ratio", "its embedding, over that of a full build", "≤ .05"),
    Figure("index", "index_speedup", "a text query, over exact FAISS", "≥ 10", ("_p5", "_p95")),
    Figure("index", "index_recall@10", "its recall@10", "≥ .98"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write. Gives 1 if a bench failed."""
    asked = _parser().parse_args(arguments)
    names = asked.only or list(QUICK)
    with tempfile.TemporaryDirectory() as folder:
        home = asked.home
        if home is None and IN_A_WORLD & set(names):
            home = Path(folder) / "world"
            _run("make_world", ["--home", str(home), "--items", "500" if asked.quick else "100000"])
        found = {}
        for name in names:
            line = ["--json", *(QUICK[name] if asked.quick else ())]
            if name in IN_A_WORLD:
                line += ["--home", str(home)]
            if name == "serving" and asked.small and asked.large:
                line += ["--small", str(asked.small), "--large", str(asked.large)]
            found[name] = _run(name, line)
    text = asked.readme.read_text(encoding="utf-8")
    asked.readme.write_text(written(text, found), encoding="utf-8")
    return int(any(result is None for result in found.values()))


def _run(name: str, line: Sequence[str]) -> dict[str, object] | None:
    """The JSON that it ends with, if any; None if it fails."""
    print(f"{name}: {' '.join(line)}", file=sys.stderr)
    command = [sys.executable, str(HERE / f"{name}.py"), *line]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    last = (done.stdout.splitlines() or [""])[-1]
    if done.returncode:
        return None
    return json.loads(last) if last.startswith("{") else {}


def written(readme: str, found: Mapping[str, Mapping[str, object] | None]) -> str:
    """The README with the rows of these benches. Raises ValueError if the place for them is not in it."""
    place = re.compile(f"{re.escape(BEGIN)}\n(.*?){re.escape(END)}", re.DOTALL)
    known = place.search(readme)
    if known is None:
        raise ValueError(f"there is no place for the table: {BEGIN!r} and {END!r} must be in it")
    old = {_key(row): row for row in known.group(1).splitlines() if "`" in row}
    head = ["| what | measured by | to reach | measured |", "|---|---|---|---|"]
    rows = [
        _row(figure, found[figure.bench])
        if figure.bench in found and figure.asked(found[figure.bench])
        else old.get(_key(_row(figure, None)), _row(figure, None))
        for figure in FIGURES
    ]
    table = "\n".join([*head, *rows])
    return place.sub(lambda _: f"{BEGIN}\n\n{table}\n\n{END}", readme)


def _key(row: str) -> str:
    return "|".join(row.split("|")[:3])


def _row(figure: Figure, result: Mapping[str, object] | None) -> str:
    told = "not measured"
    if result is not None and result.get(figure.name) is not None:
        low, high = (result.get(figure.name + end) for end in figure.spread)
        told = f"{result[figure.name]:,}"
        told += f" [{low:,}, {high:,}]" if low is not None and high is not None else ""
    return f"| {figure.what} | `{figure.bench}.py` {figure.name} | {figure.bar} | {told} |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--home", type=Path, help="a world of make_world.py")
    parser.add_argument("--small", type=Path, help="a world of 10,000 items")
    parser.add_argument("--large", type=Path, help="a world of 1,000,000 items")
    parser.add_argument("--only", nargs="+", choices=list(QUICK))
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--readme", type=Path, default=README, help="where the table is")
    return parser


if __name__ == "__main__":
    sys.exit(main())
