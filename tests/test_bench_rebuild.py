"""The benchmark of the nightly rebuild: that its nights are nights, and that its last line can be read."""

import json
from contextlib import redirect_stdout
from io import StringIO

import pytest

pytestmark = pytest.mark.usefixtures("modules_of_the_benchmarks")


def test_the_rebuild_benchmark_ends_with_its_figures() -> None:
    from rebuild import main

    out = StringIO()
    sizes = ("--items", "120", "--events", "2000", "--nights", "1", "--queries", "60")
    with redirect_stdout(out):
        assert main([*sizes, "--json"]) == 0
    figures = json.loads(out.getvalue().splitlines()[-1])
    assert figures["took_over"] == [1]
    assert 0 < figures["incremental_ratio"] < 2
    assert figures["embedding_ratio"] > 0
    assert figures["peak_mb"]["evaluating"] > 0
    for build in ("full_seconds", "night_seconds"):
        assert all(took > 0 for took in figures[build].values())
