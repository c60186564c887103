"""Pictures from addresses, whatever stands there."""

import os
import re
import resource
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from shops import PHOTO, Shop, open_shop

from recsys.config import FetchingSettings
from recsys.embedding.fetching import fetch
from recsys.embedding.pictures import Fetched, Pictures
from recsys.errors import ContentError

SHORT = {"seconds": 0.6}
"""What one picture may take where it takes for ever."""


@pytest.fixture
def shop() -> Iterator[Shop]:
    with open_shop() as shop:
        yield shop


@pytest.fixture
def elsewhere(shop: Shop) -> Iterator[Shop]:
    """Another server on this machine, that nobody may be led to."""
    with open_shop() as other:
        shop.elsewhere = other.place
        yield other


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path, Fetched(tmp_path / "pictures"))


def settings(shop: Shop | None = None, **more: object) -> FetchingSettings:
    hosts = (shop.place,) if shop else ()
    given = {"seconds": 20, "tries": 1, "megabytes": 1, "private_hosts": hosts}
    return FetchingSettings(**(given | more))


def problem(pictures: Pictures, address: str) -> str:
    with pytest.raises(ContentError) as caught:
        pictures.read(address)
    return str(caught.value)


def test_what_is_fetched_is_kept_and_not_asked_for_again(shop: Shop, pictures: Pictures) -> None:
    address, told = f"http://{shop.place}/photo.png", list[int]()
    fetch([address, "a/path.png", address], pictures, settings(shop), told.append)
    assert pictures.read(address) == PHOTO and told == [1]
    assert shop.hosts == {shop.place}
    fetch([address], pictures, settings(shop))
    assert shop.asked["/photo.png"] == 1


def test_a_draft_that_was_left_behind_goes(shop: Shop, pictures: Pictures) -> None:
    folder = pictures.root / "pictures"
    folder.mkdir()
    left, current = folder / "left.part", folder / "current.part"
    for draft, age in ((left, 7_200), (current, 60)):
        draft.write_bytes(b"half")
        os.utime(draft, (time.time() - age,) * 2)
    fetch([f"http://{shop.place}/photo.png"], pictures, settings(shop))
    assert current.exists() and not left.exists()


def test_a_redirect_is_followed(shop: Shop, pictures: Pictures) -> None:
    address = f"http://{shop.place}/moved.png"
    fetch([address], pictures, settings(shop))
    assert pictures.read(address) == PHOTO


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("gone.png", "the server answers 404"),
        ("down.png", "the server answers 500"),
        ("hang_up.png", "disconnected"),
        ("short.png", "peer closed connection without sending complete message body"),
        ("endless.png", r"more than 1 MB \(fetching.megabytes\)"),
        ("drip.png", "not done after 0.6 seconds"),
        ("drip_of_headers.png", "not done after 0.6 seconds"),
        ("silence.png", "not done after 0.6 seconds"),
        ("packed.png", "packs what was asked for unpacked"),
        ("empty.png", "sends nothing"),
        ("round_and_round.png", "more than 5 redirects"),
        ("inside.png", "is not a public address"),
        ("file.png", "only http:// and https:// are fetched"),
        ("nonsense.png", "Invalid URL"),
    ],
)
def test_whatever_a_server_does_it_is_over_in_time_and_told(
    shop: Shop, elsewhere: Shop, pictures: Pictures, path: str, told: str
) -> None:
    address = f"http://{shop.place}/{path}"
    began = time.monotonic()
    fetch([address], pictures, settings(shop, **SHORT))
    assert time.monotonic() - began < 5
    assert re.search(told, problem(pictures, address))
    assert address in problem(pictures, address)
    assert not elsewhere.asked and not list((pictures.root / "pictures").glob("*.part"))


def test_those_that_are_slow_hold_up_no_others(shop: Shop, pictures: Pictures) -> None:
    slow = [f"http://{shop.place}/silence.png?{n}" for n in range(8)]
    good = [f"http://{shop.place}/photo.png?{n}" for n in range(40)]
    began = time.monotonic()
    fetch([*slow, *good], pictures, settings(shop, seconds=2))
    assert time.monotonic() - began < 10
    assert all(pictures.read(address) == PHOTO for address in good)


def test_a_busy_server_is_asked_again(shop: Shop, pictures: Pictures) -> None:
    address = f"http://{shop.place}/busy.png"
    fetch([address], pictures, settings(shop, tries=3, seconds=5))
    assert pictures.read(address) == PHOTO and shop.asked["/busy.png"] == 3


def test_what_failed_is_tried_again_the_next_time(shop: Shop, pictures: Pictures) -> None:
    address = f"http://{shop.place}/busy.png"
    for _ in range(2):
        fetch([address], pictures, settings(shop))
        assert "503 (tried 1 times)" in problem(pictures, address)
    fetch([address], pictures, settings(shop))
    assert pictures.read(address) == PHOTO


def test_many_hosts_leave_no_connection_open(pictures: Pictures) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(list(Path("/proc/self/fd").iterdir()))
    with open_shop("0.0.0.0") as everywhere:  # each 127.x.y.z is this machine
        hosts = [f"127.0.{n // 200}.{n % 200 + 1}" for n in range(300)]
        port = everywhere.server_address[1]
        addresses = [f"http://{host}:{port}/photo.png" for host in hosts]
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 120, hard))
        try:
            fetch(addresses, pictures, settings(private_hosts=tuple(hosts)))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert all(pictures.read(address) == PHOTO for address in addresses)


def test_names_are_compared_without_case(shop: Shop, pictures: Pictures) -> None:
    address = f"http://LocalHost:{shop.server_address[1]}/photo.png"
    fetch([address], pictures, settings(private_hosts=("LOCALHOST",)))
    assert pictures.read(address) == PHOTO


def test_slow_names_hold_up_no_others(
    shop: Shop, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, over = socket.getaddrinfo, threading.Event()

    def slow(host: str, *rest: object, **more: object) -> object:
        if host.endswith(".example"):
            over.wait(20)
        return resolve(host, *rest, **more)

    monkeypatch.setattr("recsys.embedding.fetching.getaddrinfo", slow)
    good = f"http://{shop.place}/photo.png"
    names = [f"http://{n}.example/1.png" for n in range(15)]
    began = time.monotonic()
    fetch([*names, good], pictures, settings(shop, seconds=1.5))
    over.set()
    assert time.monotonic() - began < 10
    assert pictures.read(good) == PHOTO
    assert "not done after" in problem(pictures, names[0])


def test_tls_that_breaks_off_later_is_told(
    shop: Shop, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """httpx does not wrap what goes wrong behind the handshake; simulated where it reads a body."""

    async def broken(_: httpx.Response) -> AsyncIterator[bytes]:
        yield b"beginning"
        raise ssl.SSLError("DECRYPTION_FAILED_OR_BAD_RECORD_MAC")

    monkeypatch.setattr(httpx.Response, "aiter_raw", broken)
    address = f"http://{shop.place}/photo.png"
    fetch([address], pictures, settings(shop))
    assert "DECRYPTION_FAILED" in problem(pictures, address)


def test_a_full_disk_is_no_fault_of_an_address(
    shop: Shop, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Fetched, "keep", full)
    with pytest.raises(ExceptionGroup) as caught:
        fetch([f"http://{shop.place}/photo.png"], pictures, settings(shop))
    assert caught.group_contains(OSError, match="No space left")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "100.64.0.1",
        "[fe80::1]",
        "[fc00::1]",
        "[fec0::1]",
        "[::127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b:1::7f00:1]",
        "224.0.0.1",
    ],
)
def test_nobody_reaches_what_only_this_machine_can(
    shop: Shop, pictures: Pictures, host: str
) -> None:
    address = f"http://{host}:{shop.server_address[1]}/photo.png"
    fetch([address], pictures, settings())
    told = problem(pictures, address)
    assert "is not a public address" in told or "cannot be resolved" in told
    assert not shop.asked


@pytest.mark.parametrize(
    "address",
    ["ftp://a.example/1.png", "file:///etc/passwd", "://", "http://", "gopher://a"],
)
def test_only_the_web_is_fetched(pictures: Pictures, address: str) -> None:
    fetch([address], pictures, settings())
    assert "only http:// and https:// are fetched" in problem(
        pictures, address
    ) or "is no address" in problem(pictures, address)


@pytest.mark.parametrize(
    "address",
    [
        "http://a:99999/",
        "http://[::1",
        "http://xn--a/",
        "http://a\0b/",
        f"http://{'a' * 300}.example/",
        f"http://a.example/{'a' * 70_000}",
        "http://a\\b/",
    ],
)
def test_an_address_that_is_none_is_told_and_holds_up_no_other(
    shop: Shop, pictures: Pictures, address: str
) -> None:
    good = f"http://{shop.place}/photo.png"
    fetch([address, good], pictures, settings(shop))
    assert problem(pictures, address) and pictures.read(good) == PHOTO


def test_a_name_that_answers_otherwise_the_second_time_leads_nowhere_else(
    shop: Shop, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it is checked, this machine when it is connected to."""
    resolve, asked = socket.getaddrinfo, list[str]()

    def changing(host: object, *rest: object, **more: object) -> object:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name != "rebound.example":
            return resolve(host, *rest, **more)
        asked.append(name)
        place = "127.0.0.1" if len(asked) > 1 else "93.184.215.14"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, shop.server_address[1]))]

    monkeypatch.setattr("recsys.embedding.fetching.getaddrinfo", changing)
    address = f"http://rebound.example:{shop.server_address[1]}/photo.png"
    fetch([address], pictures, settings(tries=3, **SHORT))
    assert len(asked) >= 1 and not shop.asked
    assert problem(pictures, address)


def test_one_private_address_among_public_ones_is_one_too_many(
    shop: Shop, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(*_: object, **__: object) -> object:
        places = ("93.184.215.14", "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, 80)) for place in places]

    monkeypatch.setattr("recsys.embedding.fetching.getaddrinfo", both)
    fetch(["http://two.example/photo.png"], pictures, settings())
    assert "two.example is at 127.0.0.1" in problem(pictures, "http://two.example/photo.png")


def test_a_server_of_your_own_is_allowed_by_name_or_by_name_and_port(
    shop: Shop, pictures: Pictures
) -> None:
    address = f"http://{shop.place}/photo.png"
    for hosts in (("127.0.0.1:1",), ("localhost",), ("127.0.0.1:80",)):
        fetch([address], pictures, settings(private_hosts=hosts))
        assert "is not a public address" in problem(pictures, address)
    fetch([address], pictures, settings(private_hosts=("127.0.0.1",)))
    assert pictures.read(address) == PHOTO
