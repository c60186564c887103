"""The benchmark of the index: that its last line can be read, and says what it should of each kind."""

import json
from contextlib import redirect_stdout
from io import StringIO

import pytest

pytestmark = pytest.mark.usefixtures("modules_of_the_benchmarks")


@pytest.mark.parametrize(("items", "kind", "least"), [(3_000, "exact", 1.0), (21_000, "ivf", 0.95)])
def test_the_index_benchmark_ends_with_its_figures(items: int, kind: str, least: float) -> None:
    from index import main

    out = StringIO()
    with redirect_stdout(out):
        assert main(["--items", str(items), "--queries", "20", "--runs", "2", "--json"]) == 0
    figures = json.loads(out.getvalue().splitlines()[-1])
    assert (figures["items"], figures["kind"]) == (items, kind)
    assert figures["index_recall@10"] >= least
    assert figures["index_speedup"] > 0
