"""One job at a time in a folder. The operating system frees the lock of a job that dies."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only_one(folder: Path, refusal: Exception | None = None) -> Iterator[None]:
    """Hold `folder/.lock`; makes the folder. While another job holds it: raises `refusal`, or waits if None."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if refusal is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            raise (refusal or held) from None
        try:
            yield
        finally:
            # to close it is not enough where a forked process has it open too
            fcntl.flock(lock, fcntl.LOCK_UN)
