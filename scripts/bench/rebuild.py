"""How long does a night's rebuild take when 1 % of the items and of the events are new, beside a full one?

usage: python scripts/bench/rebuild.py [--items 1000] [--events N] [--nights 5] [--queries 20000] [--json]

A made-up shop (worldly.py) with texts of words that its clusters share is built in full, then night by night after
1 % more items (half of them new, half with another text) and 1 % more events; then the last world is built in full
in another home, without vectors and without a snapshot. Each build is a process of its own, as a nightly job is: its
start, libraries and encoder count. The last line is a JSON object with `incremental_ratio`, the median night over
the mean of the two full builds, and `embedding_ratio`, the same of the embedding alone: the step in which the build
waits for it, not what loads in another process while the catalogue is read. `peak_mb` is the build's own memory,
`encoder_mb` that of the process which encodes and ends before the step after. A night whose build the gate refuses
counts as any other does, with the learning anew that comes before a refusal.

The default is small so that it ends. What does not grow with the catalogue, such as loading the encoder, weighs more
there, so that its ratios say nothing sure of 100,000 items: give `--items 100000` and hours.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any

import numpy as np
from worldly import TYPES, Drawn, draw

from recsys.catalogue.database import connect, migrate, writing
from recsys.catalogue.events import Event, append_events
from recsys.catalogue.items import Item, upsert_items
from recsys.config import EvaluationSettings, Settings
from recsys.errors import GateRefused
from recsys.rebuild import rebuild
from recsys.threads import limit_threads

CHANGED = 0.01
"""Share of the items, and of the events, that a night brings."""

SYLLABLES = tuple(a + b for a in "bcdfglmnprstv" for b in ("a", "e", "i", "o", "an", "er"))

AT_ONCE = 20_000
"""Rows of one transaction."""

STAGES = ("reading", "embedding", "finding neighbours", "evaluating", "fitting on all", "sealing")
"""Beginnings of the names of steps."""


@dataclass
class Watch:
    """Progress that keeps how long each step took, and the peak of memory at its end."""

    seconds: dict[str, float] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    _step: str = ""
    _since: float = 0.0

    def task(self, name: str, total: int | None = None) -> Callable[[int], None]:
        del total
        now = perf_counter()
        if self._step:
            self.seconds[self._step] = round(now - self._since, 3)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            self.peak_mb[self._step] = round(peak / 1024)
        self._step, self._since = name, now
        return lambda _: None

    def of(self, stage: str) -> float:
        return sum(took for step, took in self.seconds.items() if step.startswith(stage))


@dataclass(frozen=True)
class Shop:
    """What is going to happen, of which a night shows a little more."""

    drawn: Drawn
    texts: list[str]
    now: datetime

    @classmethod
    def of(cls, items: int, events: int, seed: int) -> "Shop":
        rng = np.random.default_rng(seed)
        drawn = draw(items, items, events, 16, seed)
        words = np.array(["".join(rng.choice(SYLLABLES, rng.integers(2, 4))) for _ in range(3_000)])
        of_category = rng.integers(len(words), size=(int(drawn.category.max()) + 1, 60))
        common = words[rng.integers(len(words), size=(items, 4))]
        own = words[
            np.take_along_axis(of_category[drawn.category], rng.integers(60, size=(items, 8)), 1)
        ]
        texts = [" ".join(row) for row in np.concatenate([own, common], axis=1)]
        return cls(drawn, texts, datetime.now(UTC))

    def item(self, n: int, edition: int = 0) -> Item:
        words = self.texts[n].split()
        words[-1] = f"{words[-1]}{'' if not edition else SYLLABLES[edition]}"
        return Item(
            id=f"i{n:07d}",
            title=" ".join(words[:4]).title(),
            description=" ".join(words[4:]),
            categories=(f"category {self.drawn.category[n]}",),
            price=float(self.drawn.price[n]),
            published_at=self.now - timedelta(days=float(self.drawn.age_days[n])),
        )

    def event(self, n: int) -> Event:
        return Event(
            event_id=f"e{n}",
            user_id=f"u{self.drawn.user[n]}",
            item_id=f"i{self.drawn.item[n]:07d}",
            type=TYPES[self.drawn.kind[n]],
            time=self.now - timedelta(microseconds=int(self.drawn.ago_us[n])),
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = _parser().parse_args(arguments)
    if asked.build is not None:
        print(json.dumps(build(asked.build, asked.queries)))
        return 0
    events = asked.events or 10 * asked.items
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), asked.items, events, asked.nights, asked.queries, asked.seed)
    for name, took in found["full_seconds"].items():
        night, peak = found["night_seconds"][name], found["peak_mb"].get(name, "")
        print(f"{name:20} full {took:8.1f} s  night {night:8.1f} s  peak {peak} MB")
    if asked.json:
        print(json.dumps(found))
    return 0


def measure(
    folder: Path, items: int, events: int, nights: int, queries: int, seed: int
) -> dict[str, Any]:
    """Full, night by night, full again."""
    shop = Shop.of(items, events, seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(items)
    late = max(1, round(CHANGED * items / 2))
    known = order[: items - nights * late]
    first = events - nights * max(1, round(CHANGED * events))
    home, other = folder / "home", folder / "other"
    _store(home, [shop.item(n) for n in known], [shop.event(n) for n in range(first)])
    fulls, built = [_apart(home, queries)], []
    for night in range(nights):
        new = order[items - (nights - night) * late :][:late]
        edited = rng.choice(known, late, replace=False)
        begin = events - (nights - night) * max(1, round(CHANGED * events))
        end = begin + max(1, round(CHANGED * events))
        changed = [shop.item(n) for n in new] + [shop.item(n, night + 1) for n in edited]
        _store(home, changed, [shop.event(n) for n in range(begin, end)])
        built.append(_apart(home, queries))
    other.mkdir()
    shutil.copy(home / "recsys.db", other / "recsys.db")
    fulls.append(_apart(other, queries))
    return _compared(fulls, built) | {"items": items, "events": events, "queries": queries}


def build(home: Path, queries: int) -> dict[str, Any]:
    """One rebuild in this process."""
    watch = Watch()
    settings = Settings(home=home, evaluation=EvaluationSettings(max_queries=queries))
    limit_threads(settings.threads)
    engine = connect(settings)
    try:
        outcome, refused = rebuild(engine, settings, watch), None
    except GateRefused as refusal:
        outcome, refused = None, str(refusal)
    watch.task("done")
    engine.dispose()
    seconds = {stage: watch.of(stage) for stage in STAGES}
    peak = {
        stage: max((mb for step, mb in watch.peak_mb.items() if step.startswith(stage)), default=0)
        for stage in STAGES
    }
    encoder = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    ndcg = outcome.manifest.metrics.get("blend.ndcg@10") if outcome else None
    basis = outcome.evaluation.basis if outcome else None
    about = {"ndcg@10": ndcg, "takes_over": basis.builds if basis else None, "refused": refused}
    peaks = {"peak_mb": peak, "encoder_mb": round(encoder / 1024)}
    return {"seconds": seconds, **peaks, "steps": watch.seconds, **about}


def _apart(home: Path, queries: int) -> dict[str, Any]:
    """The same in a process of its own, with the time that the whole took."""
    began = perf_counter()
    line = [sys.executable, __file__, "--build", str(home), "--queries", str(queries)]
    done = subprocess.run(line, check=True, stdout=subprocess.PIPE, env=os.environ)
    found = json.loads(done.stdout.splitlines()[-1])
    found["seconds"]["whole"] = took = perf_counter() - began
    said = found["refused"] or f"NDCG@10 {found['ndcg@10']}"
    print(f"a build took {took:.0f} s: {said}", file=sys.stderr, flush=True)
    return found


def _compared(fulls: Sequence[dict[str, Any]], nights: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Nights over the mean of the full builds."""
    names = list(fulls[0]["seconds"])
    full = {name: mean(each["seconds"][name] for each in fulls) for name in names}
    whole = [each["seconds"]["whole"] / full["whole"] for each in nights]
    embedding = [each["seconds"]["embedding"] / full["embedding"] for each in nights]
    return {
        "incremental_ratio": round(median(whole), 4),
        "incremental_ratio_low": round(min(whole), 4),
        "incremental_ratio_high": round(max(whole), 4),
        "embedding_ratio": round(median(embedding), 4),
        "embedding_ratio_low": round(min(embedding), 4),
        "embedding_ratio_high": round(max(embedding), 4),
        "full_seconds": {name: round(took, 2) for name, took in full.items()},
        "night_seconds": {
            name: round(median(each["seconds"][name] for each in nights), 2) for name in names
        },
        "peak_mb": fulls[-1]["peak_mb"],
        "night_peak_mb": nights[-1]["peak_mb"],
        "encoder_mb": fulls[-1]["encoder_mb"],
        "ndcg@10": {"full": fulls[-1]["ndcg@10"], "night": nights[-1]["ndcg@10"]},
        "took_over": [each["takes_over"] for each in nights],
        "refused": [each["refused"] for each in nights],
    }


def _store(home: Path, items: Sequence[Item], events: Sequence[Event]) -> None:
    engine = connect(Settings(home=home))
    migrate(engine)
    now = datetime.now(UTC)
    for start in range(0, len(items), AT_ONCE):
        with writing(engine) as connection:
            upsert_items(connection, items[start : start + AT_ONCE], now)
    for start in range(0, len(events), AT_ONCE):
        with writing(engine) as connection:
            append_events(connection, events[start : start + AT_ONCE])
    engine.dispose()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--items", type=int, default=1_000)
    parser.add_argument("--events", type=int, help="ten for each item, if left out")
    parser.add_argument("--nights", type=int, default=5, help="at most 6: the seventh learns again")
    parser.add_argument("--queries", type=int, default=20_000, help="evaluation.max_queries")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="the last line is a JSON object")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
