"""The benchmark of the pages: that its last line can be read."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from storefronts import Shop

BENCH = Path(__file__).parents[2] / "scripts" / "bench" / "pages.py"

NEEDS_CHROMIUM = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="chromium is not installed; see the README"
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCH), *arguments], capture_output=True, text=True, check=False
    )


@NEEDS_CHROMIUM
def test_the_benchmark_of_the_pages_ends_with_its_figures(shop: Shop) -> None:
    done = run("--home", str(shop.settings.home), "--user", "42", "--runs", "1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for page in ("home", "item", "search", "console"):
        assert 0 < found[f"{page}_fcp_ms_low"] <= found[f"{page}_fcp_ms"]
        assert found[f"{page}_html_ms"] > 0 and found[f"{page}_shift"] < 0.01
        assert found[f"{page}_kb"] > 20
        assert page == "console" or found[f"{page}_kb"] < 300  # Plotly is 4,816 kB


@NEEDS_CHROMIUM
def test_a_home_without_a_snapshot_is_told(tmp_path: Path) -> None:
    done = run("--home", str(tmp_path))
    assert done.returncode != 0
    assert "there is no snapshot in it" in done.stderr
