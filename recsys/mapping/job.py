"""The process that makes one layout: niced, on one core, one at a time.

usage: python -m recsys.mapping.job HOME ORIGIN KIND; ends as soon as nothing holds its standard input open

Each worker of a server starts its own, and all but one of them wait: what takes memory is imported when its turn comes.
"""

# ruff: noqa: PLC0415

import os
import sys
import threading
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, cast

from recsys.locks import only_one
from recsys.mapping import FOLDER
from recsys.threads import limit_threads

if TYPE_CHECKING:
    from recsys.mapping.ground import Kind

NICENESS = 10


def make(home: Path, origin: str, kind: "Kind") -> None:
    """Make the layout and keep it, unless it is there. Waits for its turn.

    Raises SnapshotCorrupt for a snapshot that cannot be read, ValueError where it knows nothing of this kind.
    """
    with only_one(home / FOLDER):
        _make(home, origin, kind)


def _make(home: Path, origin: str, kind: "Kind") -> None:
    from recsys.mapping.ground import ground_of, rows_of
    from recsys.mapping.keeping import Kept, Layout
    from recsys.mapping.layout import laid_out
    from recsys.snapshot import Artefacts

    kept = Kept(home)
    if kept.path(origin, kind).is_file():
        return
    started = perf_counter()
    found = Artefacts.read(home / "snapshots" / origin)
    factors = found.preference.factors
    rows = rows_of(kind, found.spaces, None if factors is None else factors.items)
    if rows is None:
        raise ValueError(f"snapshot {origin} knows nothing of {kind}")
    places = rows.spread(laid_out(ground_of(kind, rows, found.spaces)))
    kept.write(origin, kind, Layout(places, perf_counter() - started))


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing is written: it comes back at the end
    os._exit(1)


if __name__ == "__main__":
    os.nice(NICENESS)
    limit_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder, snapshot, what = sys.argv[1:]
    make(Path(folder), snapshot, cast("Kind", what))
