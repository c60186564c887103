"""The benchmarks of speed: that their worlds are what they say, and that their last line can be read."""

import json
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from recsys.catalogue.database import connect, reading
from recsys.catalogue.events import user_events
from recsys.config import Settings
from recsys.ranking.candidates import Query, Where
from recsys.ranking.recommender import Recommender
from recsys.snapshot import Snapshots

pytestmark = pytest.mark.usefixtures("modules_of_the_benchmarks")


def test_a_drawn_shop_is_as_large_and_as_uneven_as_it_says() -> None:
    from worldly import SHARES, draw

    shop = draw(items=2_000, users=500, events=20_000, dim=16, seed=1)
    assert shop.vectors.shape == (2_000, 16)
    assert np.linalg.norm(shop.vectors, axis=1) == pytest.approx(1)
    assert len(shop.user) == len(shop.item) == len(shop.kind) == 20_000
    assert shop.user.max() < 500
    assert shop.item.max() < 2_000
    assert (np.diff(shop.ago_us) <= 0).all()
    for name, share in SHARES.items():
        assert shop.flags[name].mean() == pytest.approx(share, abs=3 * (share / 2_000) ** 0.5)
    times = np.sort(np.bincount(shop.item, minlength=2_000))[::-1]
    assert times[:200].sum() > 0.3 * times.sum()


def test_people_keep_to_a_few_categories() -> None:
    from worldly import CATEGORIES, draw

    shop = draw(items=2_000, users=500, events=20_000, dim=16, seed=1)
    by_chance = np.random.default_rng(0).permutation(shop.item)
    shares = []
    for item in (shop.item, by_chance):
        counts = np.zeros((500, CATEGORIES))
        np.add.at(counts, (shop.user, shop.category[item]), 1)
        shares.append(np.sort(counts, axis=1)[:, -3:].sum() / counts.sum())
    assert shares[0] > 0.75
    assert shares[1] < 0.6


def test_the_same_numbers_draw_the_same_shop() -> None:
    from worldly import draw

    one, other = (draw(300, 50, 1_000, 8, seed=3) for _ in range(2))
    for name, column in vars(one).items():
        if name != "flags":
            assert np.array_equal(column, getattr(other, name)), name


def test_a_world_is_published_with_its_history_and_answers(tmp_path: Path) -> None:
    from make_world import main

    home = tmp_path / "world"
    sizes = ("--items", "400", "--users", "60", "--events", "1500")
    with redirect_stdout(StringIO()):
        assert main(["--home", str(home), *sizes]) == 0
        assert main(["--home", str(home), *sizes]) == 2  # it is not overwritten
    manifest, artefacts = Snapshots(home / "snapshots").load_current()
    assert manifest.counts["items"] == 400
    assert manifest.counts["events"] == 1_500
    engine = connect(Settings(home=home))
    with reading(engine) as connection:
        assert sum(len(user_events(connection, f"u{n}", 2_000)) for n in range(60)) == 1_500
    engine.dispose()
    recommender = Recommender.of(artefacts, Settings().ranking)
    some = Where(attributes=(("half", ("yes",)),))
    slate = recommender.recommend(Query(manifest.built_at, 10, where=some))
    assert len(slate.items) == 10
    assert not slate.failed


def test_the_batch_benchmark_ends_with_its_figures(tmp_path: Path) -> None:
    import batch
    import make_world

    home, out = tmp_path / "world", StringIO()
    sizes = ("--items", "300", "--users", "40", "--events", "900")
    with redirect_stdout(out):
        assert make_world.main(["--home", str(home), *sizes]) == 0
        assert batch.main(["--home", str(home), "--users", "30", "--runs", "2", "--json"]) == 0
    figures = json.loads(out.getvalue().splitlines()[-1])
    assert figures["users"] == 30
    assert figures["batch_ratio_low"] <= figures["batch_ratio"] <= figures["batch_ratio_high"]
    assert (figures["librec_ratio"] is None) == (find_spec("libreco") is None)
