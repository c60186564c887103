"""Forked processes share what their parent has in memory, and end when it does, even if it is killed."""

import os
import signal
import threading


class Lifeline:
    """A pipe that nobody writes into: it can be read once the last process that could has gone."""

    def __init__(self) -> None:
        """To be made before the fork."""
        self._end, self._held = os.pipe()

    def hang_on(self) -> None:
        """In a forked process: end with SIGTERM, whatever the parent would do then, once the parent has ended."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.close(self._held)
        threading.Thread(target=self._wait, daemon=True).start()

    def close(self) -> None:
        """In the parent, when it has no children left."""
        os.close(self._end)
        os.close(self._held)

    def _wait(self) -> None:
        os.read(self._end, 1)
        os.kill(os.getpid(), signal.SIGTERM)
