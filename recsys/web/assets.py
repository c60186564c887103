"""Style sheets, scripts and drawings: read once, and served at an address that changes with any of them."""

import mimetypes
from hashlib import blake2b
from importlib.resources import files
from typing import NamedTuple

KINDS = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


class Asset(NamedTuple):
    """A file as it is sent."""

    content: bytes
    kind: str


class Assets:
    """What is in the folder `static/` of a package, at addresses below a path."""

    def __init__(self, package: str, path: str) -> None:
        found = sorted(files(package).joinpath("static").iterdir(), key=lambda file: file.name)
        self._files = {file.name: Asset(file.read_bytes(), _kind(file.name)) for file in found}
        self._path = path
        digest = blake2b(digest_size=8)
        for name, asset in self._files.items():
            digest.update(name.encode() + b"\0" + asset.content)
        self.version = digest.hexdigest()

    def get(self, name: str) -> Asset | None:
        """The file of this name, if there is one."""
        return self._files.get(name)

    def address(self, name: str) -> str:
        """Where it is served. Raises KeyError for one that is not there."""
        assert name in self._files, name
        return f"{self._path}/{self.version}/{name}"


def _kind(name: str) -> str:
    suffix = name[name.rindex(".") :]
    return KINDS.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
