"""How fast are slates for many users, beside libraries that multiply factors: implicit, and LibRecommender?

usage: python scripts/bench/batch.py [--home DIR] [--users 100000] [--runs 5] [--json]

DIR is a world of make_world.py; without one, 100,000 items are made first, which takes minutes. The same users are
put to both, in turns, on all cores: `implicit` multiplies their factors with those of all items and leaves out what
they had; the product makes its slates of 50, all its models blended and all its filters applied, with reasons, and
writes them into Parquet files, as `recsys batch` does. The last line is a JSON object with `batch_ratio` (our users a
second over theirs, the median of all runs), `batch_ratio_low` and `batch_ratio_high`. Then a tenth of the users is put
to the product and to LibRecommender, in turns, with the same factors and the same left out: `librec_ratio`, with `_low`
and `_high`; null where the extra `bench` is not installed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from rivals import librecommender
from scipy.sparse import csr_matrix

from recsys.batch import Run, Scorer, parts_of, written
from recsys.catalogue.database import connect, reading
from recsys.catalogue.events import read_events
from recsys.config import Settings
from recsys.identity import NOTHING, UserId
from recsys.ranking.recommender import Recommender
from recsys.snapshot import Artefacts, Snapshots
from recsys.threads import available_cores, one_blas_thread

LIMIT = 50
AT_A_TIME = 1_000
"""Users that `implicit` is asked for together."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        home = asked.home or made(Path(folder) / "world", asked.items)
        found = compare(home, asked.users, asked.runs)
    print(
        f"{found['items']:,} items: implicit {found['theirs']:,.0f} users/s, "
        f"ours {found['ours']:,.0f} users/s, {found['librec_ratio']} times LibRecommender's"
    )
    if asked.json:
        print(json.dumps(found))
    return 0


def compare(home: Path, users: int, runs: int) -> dict[str, float | None]:
    """Users a second of either side, in turns."""
    settings = Settings(home=home)
    manifest, artefacts = Snapshots(home / "snapshots").load_current()
    engine = connect(settings)
    with reading(engine) as connection:
        log = read_events(connection, artefacts.items.ids)
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
    scorer = Scorer(recommender, log, NOTHING, None, settings, run)
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(log.actors), min(users, len(log.actors)), replace=False)
    names = [UserId(log.actors[actor]) for actor in np.sort(chosen)]
    viewers = [query.history for query in scorer.queries(names)]
    model, liked = _library(artefacts, [history.items for history in viewers])
    everyone, first = np.arange(len(names)), np.arange(-(-len(names) // 10))

    def ask_implicit(users: np.ndarray) -> None:
        with one_blas_thread():  # as the library asks for: it has threads of its own
            for n in range(0, len(users), AT_A_TIME):
                some = users[n : n + AT_A_TIME]
                model.recommend(some, liked[some], N=LIMIT, filter_already_liked_items=True)

    def ask_ours(users: np.ndarray) -> None:
        asked = [names[n] for n in users]
        with tempfile.TemporaryDirectory() as folder:
            for _ in written(scorer, parts_of(Path(folder), asked), available_cores()):
                pass

    ask_ours(first)
    theirs, ours = _in_turns(ask_implicit, ask_ours, everyone, runs)
    found = _ratio("batch_ratio", theirs, ours) | {
        "ours": round(median(ours), 1),
        "theirs": round(median(theirs), 1),
        "items": len(artefacts.items),
        "users": len(names),
    }
    tastes, histories = model.user_factors[first], [viewers[n].items for n in first]
    recommend = librecommender(model.item_factors, tastes, histories)
    if recommend is None:
        return found | dict.fromkeys(("librec_ratio", "librec_ratio_low", "librec_ratio_high"))
    theirs, ours = _in_turns(lambda some: recommend(some, LIMIT), ask_ours, first, runs)
    return found | _ratio("librec_ratio", theirs, ours) | {"librec": round(median(theirs), 1)}


def _in_turns(
    one: Callable[[np.ndarray], object],
    other: Callable[[np.ndarray], object],
    users: np.ndarray,
    runs: int,
) -> tuple[list[float], list[float]]:
    """Users a second of either, in each run."""
    speeds: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for ask, speed in zip((one, other), speeds, strict=True):
            began = perf_counter()
            ask(users)
            speed.append(len(users) / (perf_counter() - began))
    return speeds


def _ratio(figure: str, theirs: Sequence[float], ours: Sequence[float]) -> dict[str, float | None]:
    """Ours over theirs, run by run: the median, the least and the greatest."""
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    return {
        figure: round(median(ratios), 3),
        f"{figure}_low": round(min(ratios), 3),
        f"{figure}_high": round(max(ratios), 3),
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


def made(home: Path, items: int) -> Path:
    """A world of so many items, made by a process of its own."""
    here = Path(__file__).parent / "make_world.py"
    subprocess.run([sys.executable, str(here), "--home", str(home), f"--items={items}"], check=True)
    return home


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--home", type=Path, help="a world of make_world.py")
    parser.add_argument("--items", type=int, default=100_000, help="of the world that is made")
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="the last line is a JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
