"""A server of pictures that does all it can to be waited for, or to lead somewhere private."""

import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from photos import file_of, noise

PHOTO = file_of(noise(), "PNG")


def answer(body: bytes, status: str = "200 OK", length: int | None = None, more: str = "") -> bytes:
    length = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{more}\r\n".encode() + body


class Shop(socketserver.ThreadingTCPServer):
    """Answers by path, and counts who asked for what."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, host: str) -> None:
        super().__init__((host, 0), Visit)
        self.asked: Counter[str] = Counter()
        self.hosts: set[str] = set()
        self.elsewhere = ""
        self.closing = threading.Event()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Visit(socketserver.StreamRequestHandler):
    server: Shop

    def handle(self) -> None:
        with suppress(OSError):
            while line := self.rfile.readline():
                path = line.split()[1].decode()
                while (header := self.rfile.readline()) not in {b"\r\n", b""}:
                    if header.lower().startswith(b"host:"):
                        self.server.hosts.add(header.split()[1].decode())
                self.server.asked[path] += 1
                getattr(self, path.strip("/").partition(".")[0].partition("?")[0])(path)

    def photo(self, _: str) -> None:
        self.wfile.write(answer(PHOTO))

    def gone(self, _: str) -> None:
        self.wfile.write(answer(b"no", "404 Not Found"))

    def busy(self, path: str) -> None:
        if self.server.asked[path] < 3:
            self.wfile.write(answer(b"", "503 Unavailable", more="retry-after: 0\r\n"))
        else:
            self.photo(path)

    def down(self, _: str) -> None:
        self.wfile.write(answer(b"", "500 Oops"))

    def hang_up(self, _: str) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)

    def short(self, _: str) -> None:
        self.wfile.write(answer(PHOTO, length=len(PHOTO) + 100))
        self.connection.shutdown(socket.SHUT_RDWR)

    def endless(self, _: str) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not self.server.closing.is_set():
            self.wfile.write(bytes(65_536))

    def drip(self, _: str) -> None:
        self.wfile.write(answer(b"", length=1_000))
        self._drop_by_drop(b"a" * 1_000)

    def drip_of_headers(self, _: str) -> None:
        self._drop_by_drop(b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * 1_000)

    def silence(self, _: str) -> None:
        self.server.closing.wait()

    def packed(self, _: str) -> None:
        self.wfile.write(answer(PHOTO, more="content-encoding: gzip\r\n"))

    def empty(self, _: str) -> None:
        self.wfile.write(answer(b""))

    def moved(self, _: str) -> None:
        self._lead("/photo.png")

    def round_and_round(self, path: str) -> None:
        self._lead(path)

    def inside(self, _: str) -> None:
        self._lead(f"http://{self.server.elsewhere}/photo.png")

    def file(self, _: str) -> None:
        self._lead("file:///etc/passwd")

    def nonsense(self, _: str) -> None:
        self._lead("http://[::1")

    def _lead(self, to: str) -> None:
        self.wfile.write(answer(b"", "302 Found", more=f"location: {to}\r\n"))

    def _drop_by_drop(self, data: bytes) -> None:
        for n in range(len(data)):
            self.wfile.write(data[n : n + 1])
            if self.server.closing.wait(0.05):
                return


@contextmanager
def open_shop(host: str = "127.0.0.1") -> Iterator[Shop]:
    with Shop(host) as shop:
        threading.Thread(target=shop.serve_forever, args=(0.01,)).start()
        try:
            yield shop
        finally:
            shop.closing.set()
            shop.shutdown()
