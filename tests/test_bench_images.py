"""The benchmark of pictures: that its last line can be read, and that both sides see the same."""

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from photos import noise

pytestmark = pytest.mark.usefixtures("modules_of_the_benchmarks")


def figures(*arguments: str) -> dict[str, float]:
    from images import main

    out = StringIO()
    with redirect_stdout(out):
        assert main(["--runs", "2", "--json", *arguments]) == 0
    return json.loads(out.getvalue().splitlines()[-1])


def test_the_benchmark_of_pictures_ends_with_its_figures() -> None:
    found = figures("--images", "12")
    assert found["image_cosine_min"] >= 0.999 and found["images"] == 12
    assert 0 < found["image_ratio_low"] <= found["image_ratio"] <= found["image_ratio_high"]


def test_a_folder_of_pictures_goes_through_a_clip(tmp_path: Path, tiny_clip: Path) -> None:
    for n in range(10):
        noise(n).save(tmp_path / f"{n}.png")
    found = figures("--data", str(tmp_path), "--model", str(tiny_clip))
    assert found["image_cosine_min"] >= 0.998 and found["images"] == 10


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    from images import main

    from recsys.errors import InputError

    with pytest.raises(InputError, match="there is no"):
        main(["--data", str(tmp_path)])
