"""`recsys serve` in processes of its own, as people run it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from apis import until


@contextmanager
def started(
    home: Path, *options: str, program: Sequence[str] = ("-m", "recsys"), **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address, once it is ready; it has to be ended by whoever asked for it.

    program: what is given to Python.
    """
    own = {"RECSYS_HOME": str(home), "COLUMNS": "200"} | environment
    command = [sys.executable, *program, "serve", "--port", "0", *options]
    with subprocess.Popen(
        command, env=os.environ | own, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = re.findall(r"http://\S+", process.stdout.readline())[0]
            until(lambda: _ready(url))
            yield process, url
        except BaseException:
            process.kill()
            raise


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").is_success
    except httpx.TransportError:
        return False
