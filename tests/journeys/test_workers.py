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

ALL = WORKERS + 1
"""With the process that encodes."""


@pytest.fixture(scope="module")
def server(built_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """Process and address of `recsys serve --workers 3` over a shop, with its text encoder."""
    home = shutil.copytree(built_home, tmp_path_factory.mktemp("workers") / "home")
    workers = ("--workers", str(WORKERS))
    with started(home, *workers, RECSYS_SERVING__REFRESH_SECONDS="0") as (process, url):
        yield process.pid, url
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


def children_of(pid: int) -> set[int]:
    return {int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def with_torch(pids: set[int]) -> set[int]:
    return {pid for pid in pids if "libtorch" in Path(f"/proc/{pid}/maps").read_text()}


def search(url: str, text: str) -> list[str]:
    reply = httpx.post(f"{url}/v1/search", json={"text": text, "limit": 3}, timeout=90)
    return [place["item_id"] for place in reply.raise_for_status().json()["items"]]


def slate(url: str) -> list[tuple[str, float]]:
    """Of one request on a connection of its own, so that any worker may take it."""
    reply = httpx.get(f"{url}/v1/users/c4/recommendations?limit=5").raise_for_status().json()
    return [(place["item_id"], place["score"]) for place in reply["items"]]


def requests_counted(url: str) -> float:
    line = r'^recsys_requests_total\{method="GET",route="/v1/users/.*\} (\S+)$'
    return sum(map(float, re.findall(line, httpx.get(f"{url}/metrics").text, re.MULTILINE)))


def test_every_worker_gives_the_same_answer_and_all_are_counted(server: tuple[int, str]) -> None:
    pid, url = server
    assert len(children_of(pid)) == ALL
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
    """The first search waits for the encoder."""
    _, url = server
    for n in range(12):
        found = search(url, f"something to dig in the garden, {n}")
        assert any(item.startswith("Garden/") for item in found)


def test_only_the_process_that_encodes_has_loaded_torch(server: tuple[int, str]) -> None:
    pid, url = server
    search(url, "a frying pan")
    everyone = {pid} | children_of(pid)
    assert len(with_torch(everyone)) == 1
    assert pid not in with_torch(everyone)


def test_a_search_waits_while_the_process_that_encodes_is_replaced(
    server: tuple[int, str],
) -> None:
    pid, url = server
    found = search(url, "a frying pan")
    (encoder,) = with_torch(children_of(pid))
    os.kill(encoder, signal.SIGKILL)
    until(lambda: encoder not in children_of(pid))
    assert len(slate(url)) == 5
    assert search(url, "a pan for frying")[0].startswith("Kitchen/")
    assert search(url, "a frying pan") == found
    assert len(with_torch(children_of(pid))) == 1
    assert len(children_of(pid)) == ALL


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
    search(url, "a bell")
    before = children_of(pid)
    victim = min(before - with_torch(before))
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(children_of(pid) - {victim}) == ALL)
    assert children_of(pid) & before == before - {victim}
    assert len(slate(url)) == 5
