"""The benchmark of the map: that its last line can be read."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from storefronts import Shop

BENCH = Path(__file__).parents[3] / "scripts" / "bench" / "map.py"


@pytest.mark.skipif(
    shutil.which("chromium") is None, reason="chromium is not installed; see the README"
)
def test_the_benchmark_of_the_map_ends_with_its_figures(shop: Shop) -> None:
    home = str(shop.settings.home)
    done = subprocess.run(
        [sys.executable, str(BENCH), "--home", home, "--seconds", ".3", "--no-layout", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["items"] == 63
    assert 0 < found["fps_slowest"] <= found["fps"] and found["fps_2x_slowest"] > 0
    assert 0 < found["pca_seconds"] < found["sketch_ms"]
    assert found["payload_kb"] > 0 and "layout_seconds" not in found
