"""A small shop with a known truth: three departments, and customers who stay in one or two of them."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recsys.catalogue.database import connect, migrate
from recsys.config import PreferenceSettings, Settings
from recsys.rebuild import rebuild

WORDS = {
    "Garden": [
        "spade",
        "rake",
        "hose",
        "trowel",
        "seed tray",
        "pruning shears",
        "wheelbarrow",
        "hedge trimmer",
    ],
    "Kitchen": [
        "frying pan",
        "whisk",
        "bread knife",
        "saucepan",
        "rolling pin",
        "grater",
        "ladle",
        "colander",
    ],
    "Cycling": [
        "helmet",
        "bell",
        "saddle",
        "inner tube",
        "pedal",
        "bicycle pump",
        "chain oil",
        "handlebar tape",
    ],
}
STYLES = ["plain", "red", "classic", "professional"]
DAY = 86_400
START = 1_700_000_000


class Silent:
    """Progress that nobody watches."""

    def task(self, name: str, total: int | None = None) -> Callable[[int], None]:
        del name, total
        return lambda _: None


def write_shop(folder: Path, seed: int = 0, customers: int = 160) -> tuple[Path, Path]:
    """items.csv and events.csv: 96 items; each customer buys 10 of one department over 100 days."""
    rng = np.random.default_rng(seed)
    items = [
        {
            "id": f"{department}/{word}/{style}",
            "title": f"{style.title()} {word}",
            "category": department,
            "price": 5 + n,
        }
        for department, words in WORDS.items()
        for n, word in enumerate(words)
        for style in STYLES
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "items.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "title", "category", "price"])
        writer.writeheader()
        writer.writerows(items)
    with (folder / "events.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["user_id", "item_id", "type", "time"])
        writer.writeheader()
        for customer in range(customers):
            department = list(WORDS)[customer % 3]
            mine = [item["id"] for item in items if item["category"] == department]
            for item in rng.choice(mine, 10, replace=False):
                time = START + int(rng.integers(0, 100 * DAY))
                writer.writerow(
                    {"user_id": f"c{customer}", "item_id": item, "type": "purchase", "time": time}
                )
    return folder / "items.csv", folder / "events.csv"


@pytest.fixture(scope="session")
def built_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop imported and rebuilt once: copy it, never change it."""
    from recsys.catalogue.importing import FeedOptions, import_file

    home = tmp_path_factory.mktemp("shop") / "home"
    settings = Settings(home=home, preference=PreferenceSettings(search=False))
    items, events = write_shop(home / "feeds")
    engine = connect(settings)
    migrate(engine)
    import_file(engine, "items", items, FeedOptions(), settings)
    import_file(engine, "events", events, FeedOptions(), settings)
    rebuild(engine, settings, Silent())
    engine.dispose()
    return home


@pytest.fixture
def home(built_home: Path, tmp_path: Path) -> Path:
    """A shop of one's own."""
    return shutil.copytree(built_home, tmp_path / "shop")
