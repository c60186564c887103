"""The benchmark of the server, and the table that all benchmarks are written into."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("modules_of_the_benchmarks")

BENCH = Path(__file__).parent.parent / "scripts" / "bench"


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed; see the README")
def test_the_serving_benchmark_ends_with_its_figures(tmp_path: Path) -> None:
    import speed

    home = tmp_path / "world"
    world = ["--home", str(home), "--items", "300", "--users", "200", "--events", "2000"]
    subprocess.run([sys.executable, str(BENCH / "make_world.py"), *world], check=True)
    line = ["--home", str(home), "--runs", "1", "--seconds", "1", "--json"]
    line += ["--small", str(home), "--large", str(home)]
    done = subprocess.run(
        [sys.executable, str(BENCH / "serving.py"), *line],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    wanted = {figure.name for figure in speed.FIGURES if figure.bench == "serving"}
    assert wanted <= set(found)
    assert found["failed"] == 0
    assert found["noop_ratio"] > 0
    assert 0 < found["workers_memory_ratio"] < 4


def test_a_bench_that_was_run_replaces_its_rows_and_no_others() -> None:
    import speed

    readme = f"Before.\n\n{speed.BEGIN}\n{speed.END}\n\nAfter.\n"
    once = speed.written(readme, {"index": {"index_speedup": 104.0}, "batch": {"batch_ratio": 2}})
    index = {"index_speedup": 90.5, "index_speedup_p5": 80.0, "index_speedup_p95": 99.0}
    again = speed.written(once, {"index": index, "embedding": None})
    rows = {line.split("|")[2].split()[1]: line for line in again.splitlines() if "`" in line}
    assert list(rows) == [figure.name for figure in speed.FIGURES]
    assert rows["index_speedup"].endswith("| 90.5 [80.0, 99.0] |")
    assert rows["batch_ratio"].endswith("| 2 |")
    assert rows["embed_ratio"].endswith("| not measured |")
    assert again.startswith("Before.\n")
    assert again.endswith("After.\n")


def test_what_was_not_asked_for_keeps_its_row() -> None:
    import speed

    readme = f"{speed.BEGIN}\n{speed.END}"
    among_a_million = {"p50_growth": 1.4, "start_ratio": 2.5, "large": 1_000_000}
    once = speed.written(readme, {"serving": among_a_million | {"failed": 0}})
    again = speed.written(once, {"serving": {"start_ratio": 15.0, "failed": 2}})
    assert "p50_growth | ≤ 2 | 1.4 |" in again
    assert "start_ratio | ≤ 3 | 2.5 |" in again
    assert "failed | 0 | 2 |" in again


def test_a_readme_without_a_place_for_the_table_is_left_alone() -> None:
    import speed

    with pytest.raises(ValueError, match="no place"):
        speed.written("# A README", {})
