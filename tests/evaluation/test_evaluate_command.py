"""`recsys evaluate` on the small world, without vectors."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import worlds
from command_line import Ended, Recsys

from recsys.catalogue.database import connect, migrate
from recsys.config import Settings

FAST = {
    "RECSYS_HOME": "home",
    "RECSYS_EMBEDDING__TEXT_MODEL": "none",
    "RECSYS_EMBEDDING__IMAGE_MODEL": "none",
    "RECSYS_EVALUATION__BOOTSTRAP": "50",
    "RECSYS_PREFERENCE__FACTORS": "8",
    "RECSYS_PREFERENCE__SEARCH": "false",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the small world, and its likes as lists: the first 5 of each person, then 1, then 2."""
    folder = tmp_path_factory.mktemp("evaluate")
    engine = connect(Settings(home=folder / "home"))
    migrate(engine)
    worlds.fill(engine)
    engine.dispose()
    liked: dict[str, list[str]] = {}
    for event in worlds.events():
        liked.setdefault(str(event.user_id), []).append(event.item_id)
    parts = {"train": slice(0, 5), "valid": slice(5, 6), "test": slice(6, 8)}
    for name, part in parts.items():
        lines = "".join(f"{user} {' '.join(items[part])}\n" for user, items in liked.items())
        (folder / f"{name}.txt").write_text(lines)
    (folder / "test.txt.gz").write_bytes(gzip.compress((folder / "test.txt").read_bytes()))
    (folder / "latin.txt").write_bytes("1 café\n".encode("latin-1"))
    (folder / "new.txt").write_text("1 never-heard-of\n2 nor-of-this\n")
    return folder


def found(ended: Ended) -> dict[str, Any]:
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


def test_leave_one_out_can_be_asked_for_once(recsys: Recsys, folder: Path) -> None:
    told = found(recsys("evaluate", "--protocol", "leave-one-out", "--json", cwd=folder, **FAST))
    assert told["protocol"].startswith("Leave one out")
    assert told["settings"]["evaluation"]["protocol"] == "leave-one-out"
    assert told["models"]["blend"]["slices"]["all"]["n"] == 60
    assert told["train_only"]


def test_the_option_goes_before_the_setting(recsys: Recsys, folder: Path) -> None:
    setting = {"RECSYS_EVALUATION__PROTOCOL": "leave-one-out"}
    told = found(recsys("evaluate", "--protocol", "time", "--json", cwd=folder, **FAST, **setting))
    assert told["protocol"].startswith("Global time split")
    told = found(recsys("evaluate", "--json", cwd=folder, **FAST, **setting))
    assert told["protocol"].startswith("Leave one out")


@pytest.mark.parametrize(
    "files", [("train.txt", "test.txt.gz"), ("train.txt", "valid.txt", "test.txt")]
)
def test_a_given_split_is_measured_instead_of_the_events(
    recsys: Recsys, folder: Path, files: tuple[str, ...]
) -> None:
    told = found(recsys("evaluate", "--split", *files, "--json", cwd=folder, **FAST))
    assert told["protocol"].startswith("A given split")
    held_back = len(files) == 2
    assert told["windows"]["test"]["events"] == told["windows"]["test"]["queries"] * 2 == 120
    assert told["windows"]["validation"]["queries"] == 60
    assert told["windows"]["validation"]["events"] == 60
    assert told["windows"]["training"]["events"] == (240 if held_back else 300)
    assert bool(told["train_only"]) is not held_back
    blend, popularity = (
        told["models"][m]["slices"]["all"]["metrics"] for m in ("blend", "popularity")
    )
    assert blend["ndcg@10"][0] > popularity["ndcg@10"][0], "people keep to a genre"


def test_the_table_and_the_page_tell_of_the_given_split(recsys: Recsys, folder: Path) -> None:
    done = recsys("evaluate", "--split", "train.txt", "valid.txt", "test.txt", cwd=folder, **FAST)
    assert "A given split in training, validation and test" in " ".join(done.stdout.split())
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "as papers report" in page
    assert "window" not in page.partition("<script>")[0].partition("</style>")[2]


def test_items_that_the_catalogue_lacks_are_measured_too(recsys: Recsys, folder: Path) -> None:
    told = found(
        recsys("evaluate", "--split", "train.txt", "new.txt", "--json", cwd=folder, **FAST)
    )
    assert told["windows"]["test"]["events"] == told["windows"]["test"]["queries"] == 2


def test_an_unusable_file_is_one_clear_message(recsys: Recsys, folder: Path) -> None:
    failed = recsys("evaluate", "--split", "train.txt", "latin.txt", cwd=folder, **FAST)
    assert failed.returncode == 1
    assert "latin.txt is not UTF-8 text" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_items_are_made_new_on_request(recsys: Recsys, folder: Path) -> None:
    told = found(recsys("evaluate", "--cold-items", "0.3", "--json", cwd=folder, **FAST))
    assert told["settings"]["evaluation"]["cold_items"] == 0.3
    assert "30% of the items were made new" in told["protocol"]
    assert told["models"]["blend"]["slices"]["cold items among themselves"]["n"] > 0
