"""Pictures are fetched from the addresses that a catalogue gives: by anybody who may write an item, so with care.

    address --scheme?--> name --resolved--> addresses, all public? --> a connection to the very one that was looked at
        --> answer: another address (the same again) | bytes, counted --> Fetched

Whoever names an address must not reach by it what only this machine can reach: what a name resolves to is checked
each time it is resolved, and connected to without asking again. Time, size and redirects are limited; nothing that
goes wrong with one picture holds up another.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import SOCK_STREAM, getaddrinfo
from typing import IO, Self

import httpx

from recsys.catalogue.images import is_address
from recsys.config import FetchingSettings
from recsys.embedding.pictures import Fetched, Pictures

REDIRECTS = 5
"""Followed at the most."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds before another try: doubled each time, and drawn from half of that to all; at most what a server asks for."""

PORTS = {"http": 80, "https": 443}

TRANSLATED = IPv6Network("64:ff9b::/96")
"""An IPv4 address stands in the last 32 bits (RFC 6052)."""

NOT_FOR_ALL = tuple(
    IPv6Network(network) for network in ("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "fec0::/10")
)
"""Addresses of IPv6 that lead to others within a network, or were meant for one; to Python all are public."""

HEADERS = {"accept": "image/*, video/*;q=0.9, */*;q=0.1", "accept-encoding": "identity"}
"""Packed, a small answer could be a large picture."""

Address = IPv4Address | IPv6Address


class _Refused(Exception):
    """It is not fetched, and trying again would not help."""


class _NoPlace(Exception):
    """There is no place for what comes: nothing can be fetched any more."""


class _Failed(Exception):
    """It could not be fetched now."""

    def __init__(self, problem: str, pause: float | None = None) -> None:
        super().__init__(problem)
        self.pause = pause
        """Seconds that the server asks us to wait."""


def fetch(
    locations: Iterable[str],
    pictures: Pictures,
    settings: FetchingSettings,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Fetch what is at those of the locations that are addresses, and is not here yet.

    Raises nothing for what cannot be had: `Pictures.read` says why. progress: told how many are done.
    """
    missing = wanted(locations, pictures)
    if missing:
        pictures.fetched.tidy()
        asyncio.run(_fetch_all(missing, pictures.fetched, settings, progress))


def wanted(locations: Iterable[str], pictures: Pictures) -> list[str]:
    """Addresses among these that are to be fetched, each once."""
    addresses = dict.fromkeys(filter(is_address, locations))
    return [address for address in addresses if address not in pictures.fetched]


async def _fetch_all(
    addresses: Collection[str],
    fetched: Fetched,
    settings: FetchingSettings,
    progress: Callable[[int], None] | None,
) -> None:
    waiting, done = iter(addresses), 0

    async def worker(web: "_Web") -> None:
        nonlocal done
        for address in waiting:  # all workers share it
            await _fetch_one(address, web, fetched, settings)
            done += 1
            if progress:
                progress(done)

    async with _Web(settings) as web, asyncio.TaskGroup() as workers:
        for _ in range(min(settings.at_once, len(addresses))):
            workers.create_task(worker(web))


async def _fetch_one(
    address: str, web: "_Web", fetched: Fetched, settings: FetchingSettings
) -> None:
    for tried in range(1, settings.tries + 1):
        try:
            with fetched.draft() as draft:
                try:
                    async with asyncio.timeout(settings.seconds):
                        await _download(address, draft, web, settings)
                except TimeoutError:
                    raise _Failed(f"not done after {settings.seconds:g} seconds") from None
                fetched.keep(address, draft)
                return
        except _Refused as error:
            fetched.miss(address, str(error))
            return
        except _Failed as error:
            fetched.miss(address, f"{error} (tried {tried} times)")
            if tried < settings.tries:
                pause = FIRST_PAUSE * 2 ** (tried - 1) * random.uniform(0.5, 1)  # noqa: S311
                await asyncio.sleep(min(max(pause, error.pause or 0), LONGEST_PAUSE))
        except (OSError, _NoPlace):
            raise
        except Exception as error:  # what a library stumbles over is not for the others to bear
            fetched.miss(address, f"it cannot be fetched: {error or repr(error)}")
            return


async def _download(
    address: str, draft: IO[bytes], web: "_Web", settings: FetchingSettings
) -> None:
    """Write what is at an address into a draft. Raises _Refused, _Failed."""
    for _ in range(REDIRECTS + 1):
        try:
            url = httpx.URL(address)
        except (httpx.InvalidURL, ValueError) as error:
            raise _Refused(f"{address!r} is no address: {error}") from None
        async with web.answer(url) as answer:
            if not answer.has_redirect_location:
                await _receive(answer, draft, settings)
                return
            address = str(url.join(answer.headers["location"]))
    raise _Refused(f"more than {REDIRECTS} redirects")


async def _receive(answer: httpx.Response, draft: IO[bytes], settings: FetchingSettings) -> None:
    if answer.status_code in {408, 429} or answer.status_code >= 500:
        raise _Failed(f"the server answers {answer.status_code}", _asked_to_wait(answer))
    if answer.status_code != 200:
        raise _Refused(f"the server answers {answer.status_code}")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise _Refused("the server packs what was asked for unpacked")
    most = settings.megabytes * 1_000_000
    received = 0
    async for piece in answer.aiter_raw():
        received += len(piece)
        if received > most:
            raise _Refused(f"it has more than {settings.megabytes:g} MB (fetching.megabytes)")
        try:
            draft.write(piece)
        except OSError as error:
            raise _NoPlace(f"{draft.name}: {error.strerror or error}") from error
    if not received:
        raise _Refused("the server sends nothing")


def _asked_to_wait(answer: httpx.Response) -> float | None:
    said = answer.headers.get("retry-after", "")
    return float(said) if said.isascii() and said.isdigit() else None


class _Web:
    """Connections to where names lead. None is used twice: who is at an address was checked under one name."""

    def __init__(self, settings: FetchingSettings) -> None:
        self._settings = settings
        self._own = {name.lower() for name in settings.private_hosts}
        self._resolvers = ThreadPoolExecutor(settings.at_once, "recsys-names")
        self._client = httpx.AsyncClient(
            headers=HEADERS,
            trust_env=False,  # a proxy would look names up by itself
            timeout=settings.seconds,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def __aenter__(self) -> Self:
        """To be closed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Those who still look up a name are not waited for."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)
        await self._client.aclose()

    @asynccontextmanager
    async def answer(self, url: httpx.URL) -> AsyncIterator[httpx.Response]:
        """What the server says, its body not yet read. Raises _Refused, _Failed."""
        if url.scheme not in PORTS or not url.raw_host:
            raise _Refused(f"only http:// and https:// are fetched: found {str(url)[:100]!r}")
        host, port = url.raw_host.decode("ascii"), url.port or PORTS[url.scheme]
        place = await self._checked(host, port)
        request = self._client.build_request(
            "GET",
            url.copy_with(host=str(place), username=None, password=None, fragment=None),
            headers={"host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": host},
        )
        try:
            answer = await self._client.send(request, stream=True)
            try:
                yield answer
            finally:
                await answer.aclose()
        except (httpx.HTTPError, OSError) as error:  # TLS that breaks later is no error of httpx
            raise _Failed(str(error) or type(error).__name__) from None

    async def _checked(self, host: str, port: int) -> Address:
        """Where to connect to. Raises _Refused for what is not for everybody, _Failed for a name that nobody knows."""
        look_up = partial(getaddrinfo, host, port, type=SOCK_STREAM)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._resolvers, look_up)
        except (OSError, UnicodeError) as error:
            raise _Failed(f"the name {host!r} cannot be resolved: {error}") from None
        places = [ip_address(str(place[0]).partition("%")[0]) for *_, place in found]
        if self._own.isdisjoint((host.lower(), f"{host}:{port}".lower())):
            for place in places:
                _check_public(host, place)
        return places[0]


def _check_public(host: str, place: Address) -> None:
    every = (place, *_meant(place))
    if any(place in network for network in NOT_FOR_ALL) or not all(map(_is_public, every)):
        raise _Refused(
            f"{host} is at {place}, which is not a public address; if pictures are to be fetched from there, "
            "name it in fetching.private_hosts"
        )


def _is_public(place: Address) -> bool:
    return place.is_global and not place.is_multicast


def _meant(place: Address) -> Collection[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to by one of the ways to translate them."""
    if isinstance(place, IPv4Address):
        return ()
    found = [place.ipv4_mapped, place.sixtofour, *(place.teredo or ())]
    if place in TRANSLATED:
        found.append(IPv4Address(int(place) & 0xFFFFFFFF))
    return [one for one in found if one is not None]
