"""The command line in this process: what `main` prints, and how it ends."""

from collections.abc import Callable
from typing import NamedTuple


class Ended(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Recsys = Callable[..., Ended]
"""`recsys("import", "items", "a.csv", cwd=folder, RECSYS_HOME="shop")`."""
