"""How fast are slates for many users, beside the matrix factorisation library that they are partly made with?

usage: python scripts/bench/batch.py [--home DIR] [--users 4000] [--runs 5] [--json]

DIR is a world of make_world.py; without one, 100,000 items are made first, which takes minutes. The same users are
put to both, in turns, on all cores: `implicit` multiplies their factors with those of all items and leaves out what
they had; the product makes its slates of 50, all its models blended and all its filters applied, with reasons, as
`recsys batch` writes them. The last line is a JSON object with `batch_ratio` (our users a second over theirs, the
median of all runs), `batch_ratio_low` and `batch_ratio_high`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from recsys.batch import Run, Scorer
from recsys.catalogue.database import connect, reading
from recsys.catalogue.events import read_events
from recsys.config import Settings
from recsys.identity import NOTHING, UserId
from recsys.ranking.recommender import Recommender
from recsys.snapshot import Artefacts, Snapshots
from recsys.threads import limit_threads, one_blas_thread

LIMIT = 50
PART = 1_000
"""Users at a time, on either side."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        home = asked.home or _made(Path(folder) / "world", asked.items)
        found = compare(home, asked.users, asked.runs)
    print(
        f"{found['items']:,} items: implicit {found['theirs']:,.0f} users/s, "
        f"ours {found['ours']:,.0f} users/s"
    )
    if asked.json:
        print(json.dumps(found))
    return 0


def compare(home: Path, users: int, runs: int) -> dict[str, float]:
    """Users a second of either side, in turns."""
    cores = limit_threads(0)
    settings = Settings(home=home)
    manifest, artefacts = Snapshots(home / "snapshots").load_current()
    engine = connect(settings)
    with reading(engine) as session:
        log = read_events(session, artefacts.items.ids)
    engine.dispose()
    run = Run(
        snapshot=manifest.id,
        at=datetime.now(UTC),
        limit=LIMIT,
        settings="",
        everyone=False,
        users=(),
    )
    recommender = Recommender.of(artefacts, settings.ranking)
    scorer = Scorer(recommender, log, NOTHING, settings, run)
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(log.actors), min(users, len(log.actors)), replace=False)
    names = [UserId(log.actors[actor]) for actor in np.sort(chosen)]
    viewers = [query.history for query in scorer.queries(names)]
    model, liked = _library(artefacts, [history.items for history in viewers])
    ratios, ours, theirs = [], [], []
    scorer.table(names[:PART], cores)
    for _ in range(runs):
        began = perf_counter()
        with one_blas_thread():  # as the library asks for: it has threads of its own
            for some in _parts(len(names)):
                model.recommend(some, liked[some], N=LIMIT, filter_already_liked_items=True)
        between = perf_counter()
        for some in _parts(len(names)):
            scorer.table([names[n] for n in some], cores)
        ended = perf_counter()
        theirs.append(len(names) / (between - began))
        ours.append(len(names) / (ended - between))
        ratios.append(ours[-1] / theirs[-1])
    return {
        "batch_ratio": round(median(ratios), 3),
        "batch_ratio_low": round(min(ratios), 3),
        "batch_ratio_high": round(max(ratios), 3),
        "ours": round(median(ours), 1),
        "theirs": round(median(theirs), 1),
        "items": len(artefacts.items),
        "users": len(names),
    }


def _library(
    artefacts: Artefacts, histories: Sequence[np.ndarray]
) -> tuple[AlternatingLeastSquares, csr_matrix]:
    """Its own model with the same factors, and who had what."""
    factors = artefacts.preference.factors
    assert factors is not None
    starts = np.concatenate([[0], np.cumsum([len(items) for items in histories])])
    items = np.concatenate(histories)
    ones = np.ones(len(items), dtype=np.float32)
    model = AlternatingLeastSquares(factors=factors.items.shape[1], num_threads=0)
    model.item_factors = np.nan_to_num(factors.items)
    model.user_factors = np.stack([factors.fold_in(some, np.ones(len(some))) for some in histories])
    return model, csr_matrix((ones, items, starts), (len(histories), len(artefacts.items)))


def _parts(count: int) -> list[np.ndarray]:
    return [np.arange(n, min(n + PART, count)) for n in range(0, count, PART)]


def _made(home: Path, items: int) -> Path:
    here = Path(__file__).parent / "make_world.py"
    subprocess.run([sys.executable, str(here), "--home", str(home), f"--items={items}"], check=True)
    return home


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--home", type=Path, help="a world of make_world.py")
    parser.add_argument("--items", type=int, default=100_000, help="of the world that is made")
    parser.add_argument("--users", type=int, default=4_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="the last line is a JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
