"""Several workers are one server: the same answers, one count of requests, and none missed when one dies."""

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from apis import until
from servers import started

WORKERS = 3


@pytest.fixture(scope="module")
def server(built_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """Process and address of `recsys serve --workers 3` over a shop, with its text encoder."""
    home = shutil.copytree(built_home, tmp_path_factory.mktemp("workers") / "home")
    workers = ("--workers", str(WORKERS))
    with started(home, *workers, RECSYS_SERVING__REFRESH_SECONDS="0") as (process, url):
        yield process.pid, url
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


def workers_of(pid: int) -> set[int]:
    return {int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def slate(url: str) -> list[tuple[str, float]]:
    """Of one request on a connection of its own, so that any worker may take it."""
    reply = httpx.get(f"{url}/v1/users/c4/recommendations?limit=5").raise_for_status().json()
    return [(place["item_id"], place["score"]) for place in reply["items"]]


def requests_counted(url: str) -> float:
    line = r'^recsys_requests_total\{method="GET",route="/v1/users/.*\} (\S+)$'
    return sum(map(float, re.findall(line, httpx.get(f"{url}/metrics").text, re.MULTILINE)))


def test_every_worker_gives_the_same_answer_and_all_are_counted(server: tuple[int, str]) -> None:
    pid, url = server
    assert len(workers_of(pid)) == WORKERS
    before = requests_counted(url)
    slates = [slate(url) for _ in range(40)]
    assert all(found == slates[0] for found in slates)
    assert len(slates[0]) == 5
    assert requests_counted(url) - before == 40


def test_an_event_told_to_one_worker_counts_for_all_of_them(server: tuple[int, str]) -> None:
    _, url = server
    first = slate(url)[0][0]
    event = {"user_id": "c4", "item_id": first, "type": "purchase"}
    httpx.post(f"{url}/v1/events", json=event).raise_for_status()
    assert all(first not in dict(slate(url)) for _ in range(20))


def test_an_item_deleted_at_one_worker_is_gone_from_all(server: tuple[int, str]) -> None:
    _, url = server
    first = slate(url)[0][0]
    httpx.delete(f"{url}/v1/items/{quote(first, safe='')}").raise_for_status()
    time.sleep(1)
    assert all(first not in dict(slate(url)) for _ in range(20))


def test_every_worker_understands_words(server: tuple[int, str]) -> None:
    """The encoder was loaded before the workers were."""
    _, url = server
    for n in range(12):
        asked = {"text": f"something to dig in the garden, {n}", "limit": 3}
        reply = httpx.post(f"{url}/v1/search", json=asked, timeout=30).raise_for_status().json()
        assert any(place["item_id"].startswith("Garden/") for place in reply["items"])


def test_any_worker_goes_on_with_a_chain_of_pages(server: tuple[int, str]) -> None:
    _, url = server
    said: dict[str, str | int] = {"limit": 3}
    shown: list[str] = []
    for _ in range(20):
        asked = httpx.get(f"{url}/v1/users/c4/recommendations", params=said)
        page = asked.raise_for_status().json()
        shown += [place["item_id"] for place in page["items"]]
        said["cursor"] = page["next"]
    assert len(shown) == len(set(shown)) == 60


def test_a_worker_that_dies_is_replaced(server: tuple[int, str]) -> None:
    pid, url = server
    before = workers_of(pid)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(workers_of(pid) - {victim}) == WORKERS)
    assert workers_of(pid) & before == before - {victim}
    assert len(slate(url)) == 5
