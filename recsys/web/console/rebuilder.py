"""A rebuild as a process of its own: its settings come by pickle from the server that started it, on standard input.

python -m recsys.web.console.rebuilder < settings, full, force
"""

import os
import pickle
import sys
from collections.abc import Callable

from recsys.catalogue.database import connect
from recsys.config import Settings
from recsys.errors import RecsysError
from recsys.rebuild import rebuild
from recsys.threads import limit_threads

NICENESS = 10
"""Those who answer come first."""


class Unwatched:
    """Progress that is only written down."""

    def task(self, _name: str, _total: int | None = None) -> Callable[[int], None]:
        """Begin a step."""
        return lambda _: None


def run(settings: Settings, full: bool, force: bool) -> None:
    """Rebuild, politely. Raises what `rebuild` raises."""
    os.nice(NICENESS)
    limit_threads(settings.threads)  # the environment is the server's, with a thread for each slate
    engine = connect(settings)
    try:
        rebuild(engine, settings, Unwatched(), force=force, full=full)
    finally:
        engine.dispose()


if __name__ == "__main__":
    try:
        run(*pickle.load(sys.stdin.buffer))  # noqa: S301  from the server, which is this program as well
    except RecsysError as error:
        sys.exit(str(error))
