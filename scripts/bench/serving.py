"""How fast does the API answer, beside an endpoint of the same framework that returns a ready-made body?

usage: python scripts/bench/serving.py [--home DIR] [--small DIR --large DIR] [--runs 5] [--seconds 4] [--json]

Needs wrk (Debian: `apt-get install wrk`). DIR is a world of make_world.py; without one, 100,000 items are made
first, which takes minutes. Both servers run at once, and are asked in turns, 8 connections at a time, by a client
on another core: slates of known users, half of them under a condition, with diversity; then similar items; then
slates again while events are posted. The last line is a JSON object:

    noop_ratio, similar_noop_ratio   our requests a second over those of the ready-made body
    p99_ms, noop_p99_ms              of users' slates, all 8 connections busy, and of the ready-made body
    write_slowdown                   requests a second while 500 events a second are posted, over those without
    failed                           answers that were not 200, of all
    workers_memory_ratio             memory of 4 workers over that of one (PSS: what is shared counts once)
    start_ratio                      from start to the first slate, over reading the snapshot's files with cat; of the
                                     --large world if there is one: in a small one the libraries take most of it
    p50_growth                       median time of the --large world over that of the --small one, one connection

Each ratio is the median of all runs, with `_low` and `_high`.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import httpx

from recsys.snapshot import Snapshots

CONNECTIONS = 8
EVENTS_PER_SECOND = 500
EVENTS_PER_POST = 10

NOOP = """
import sys, uvicorn
from fastapi import FastAPI, Response

app, body = FastAPI(), sys.stdin.buffer.read()

@app.get("/v1/{kind}/{key}/{what}")
async def ready_made(kind: str, key: str, what: str) -> Response:
    return Response(body, media_type="application/json")

uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""

USERS = """
local n = 0
request = function()
  n = n + 1
  local user = math.random(0, %d - 1)
  local where = ""
  if n %% 2 == 0 then where = "&category=category%%20" .. (user %% 20) end
  return wrk.format("GET", "/v1/users/u" .. user .. "/recommendations?limit=10&diversity=0.3" .. where)
end
"""

ITEMS = """
request = function()
  return wrk.format("GET", string.format("/v1/items/i%%07d/similar?limit=10", math.random(0, %d - 1)))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run of wrk found."""

    per_second: float
    p50_ms: float
    p99_ms: float
    failed: int


@dataclass(frozen=True)
class Bench:
    """A world, and how long to ask about it."""

    home: Path
    items: int
    users: int
    runs: int
    seconds: int
    scripts: Path

    @classmethod
    def of(cls, home: Path, runs: int, seconds: int, scripts: Path) -> "Bench":
        """Read the sizes from the published snapshot."""
        snapshots = Snapshots(home / "snapshots")
        counts = snapshots.manifest(snapshots.current_id()).counts
        bench = cls(home, counts["items"], counts["actors"], runs, seconds, scripts)
        (scripts / "users.lua").write_text(USERS % bench.users)
        (scripts / "items.lua").write_text(ITEMS % bench.items)
        return bench

    def ask(self, port: int, script: str, connections: int = CONNECTIONS) -> Load:
        """Load a server for a while, after a second that does not count: it was idle while the other was asked."""
        self._load(port, script, connections, 1)
        found = self._load(port, script, connections, self.seconds)
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", found)
        return Load(
            float(re.findall(r"Requests/sec:\s+([\d.]+)", found)[0]),
            _milliseconds(re.findall(r"\n\s+50%\s+(\S+)", found)[0]),
            _milliseconds(re.findall(r"\n\s+99%\s+(\S+)", found)[0]),
            int(bad.group(1)) if bad else 0,
        )

    def _load(self, port: int, script: str, connections: int, seconds: int) -> str:
        """What wrk says."""
        return subprocess.run(
            [
                *("wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency"),
                *("-s", str(self.scripts / f"{script}.lua"), f"http://127.0.0.1:{port}"),
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = _parser().parse_args(arguments)
    if shutil.which("wrk") is None:
        print("error: wrk is not installed (Debian: apt-get install wrk)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        home = asked.home or _made(Path(folder) / "world", asked.items)
        bench = Bench.of(home, asked.runs, asked.seconds, Path(folder))
        found: dict[str, float] = {"items": bench.items, "users": bench.users}
        found |= answering(bench)
        found |= memory(bench)
        if asked.small and asked.large:
            small, large = (
                Bench.of(one, asked.runs, asked.seconds, _folder(Path(folder) / one.name))
                for one in (asked.small, asked.large)
            )
            found |= start(large) | growth(small, large)
        else:
            found |= start(bench)
    for name, value in found.items():
        print(f"{name:28} {value:,}")
    if asked.json:
        print(json.dumps(found))
    return 0


def answering(bench: Bench) -> dict[str, float]:
    """Requests a second, beside the ready-made body and beside writes."""
    with serving(bench.home, 8301) as (url, _):
        body = httpx.get(f"{url}/v1/users/u0/recommendations?limit=10&diversity=0.3").content
        with noop(body, 8302):
            found: dict[str, float] = {}
            failed = 0
            for script, name in (("users", "noop_ratio"), ("items", "similar_noop_ratio")):
                bench.ask(8301, script)
                ratios, slowest, its = [], [], []
                for _ in range(bench.runs):
                    most, ours = bench.ask(8302, script), bench.ask(8301, script)
                    ratios.append(ours.per_second / most.per_second)
                    slowest.append(ours.p99_ms)
                    its.append(most.p99_ms)
                    failed += ours.failed
                found |= spread(name, ratios)
                if script == "users":
                    found |= spread("p99_ms", slowest) | spread("noop_p99_ms", its)
        kept = []
        for _ in range(bench.runs):
            without = bench.ask(8301, "users")
            with writing(url, bench) as refused:
                beside = bench.ask(8301, "users")
            kept.append(beside.per_second / without.per_second)
            failed += beside.failed + len(refused)
    return found | spread("write_slowdown", kept) | {"failed": failed}


def memory(bench: Bench) -> dict[str, float]:
    """What several workers hold, over what one does, each after it was asked for a while."""
    held = {}
    for workers in (1, 4):
        with serving(bench.home, 8303, workers) as (_, server):
            for script in ("users", "items"):
                bench.ask(8303, script)
            held[workers] = sum(map(pss, family(server.pid)))
    return {"workers_memory_ratio": round(held[4] / held[1], 2), "one_worker_mb": held[1] // 1024}


def start(bench: Bench) -> dict[str, float]:
    """From starting a worker to its first slate, over reading what it reads."""
    snapshots = Snapshots(bench.home / "snapshots")
    folder = snapshots.folder / snapshots.current_id()
    files = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    ratios = []
    for _ in range(bench.runs):
        began = time.perf_counter()
        subprocess.run(["cat", *files], stdout=subprocess.DEVNULL, check=True)
        read = time.perf_counter() - began
        began = time.perf_counter()
        with serving(bench.home, 8304) as (url, _):
            httpx.get(f"{url}/v1/users/u0/recommendations").raise_for_status()
            ratios.append((time.perf_counter() - began) / read)
    return spread("start_ratio", ratios)


def growth(small: Bench, large: Bench) -> dict[str, float]:
    """How much longer a single request takes in the large world, the servers asked in turns."""
    with serving(small.home, 8305), serving(large.home, 8306):
        for bench, port in ((small, 8305), (large, 8306)):
            bench.ask(port, "users")
        ratios = []
        for _ in range(small.runs):
            before, after = small.ask(8305, "users", 1), large.ask(8306, "users", 1)
            ratios.append(after.p50_ms / before.p50_ms)
    return spread("p50_growth", ratios) | {"small": small.items, "large": large.items}


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """The median, the lowest and the highest."""
    return {
        name: round(median(values), 3),
        f"{name}_low": round(min(values), 3),
        f"{name}_high": round(max(values), 3),
    }


@contextmanager
def serving(
    home: Path, port: int, workers: int = 1
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """`recsys serve` over a world, once it is ready."""
    command = [sys.executable, "-m", "recsys", "serve", "--port", str(port)]
    with _running([*command, "--workers", str(workers)], home) as server:
        url = f"http://127.0.0.1:{port}"
        _wait_for(f"{url}/health/ready", server)
        yield url, server


@contextmanager
def noop(body: bytes, port: int) -> Iterator[None]:
    """The endpoint that returns this body."""
    with _running([sys.executable, "-c", NOOP, str(port)], None, body) as server:
        _wait_for(f"http://127.0.0.1:{port}/v1/users/u0/recommendations", server)
        yield


@contextmanager
def writing(url: str, bench: Bench) -> Iterator[list[int]]:
    """Post `EVENTS_PER_SECOND` meanwhile. Gives a list that is filled with the answers that are no success."""
    refused: list[int] = []
    done = threading.Event()

    def post() -> None:
        began, sent = time.perf_counter(), 0
        with httpx.Client(timeout=10) as client:
            while not done.is_set():
                now = datetime.now(UTC).isoformat()
                events = [
                    {
                        "user_id": f"u{(sent + n) % bench.users}",
                        "item_id": f"i{(7 * (sent + n)) % bench.items:07d}",
                        "type": "view",
                        "time": now,
                    }
                    for n in range(EVENTS_PER_POST)
                ]
                answer = client.post(f"{url}/v1/events", json=events)
                if answer.status_code != httpx.codes.OK:
                    refused.append(answer.status_code)
                sent += EVENTS_PER_POST
                done.wait(max(0.0, began + sent / EVENTS_PER_SECOND - time.perf_counter()))

    poster = threading.Thread(target=post)
    poster.start()
    try:
        yield refused
    finally:
        done.set()
        poster.join()


@contextmanager
def _running(
    command: Sequence[str], home: Path | None, given: bytes = b""
) -> Iterator["subprocess.Popen[bytes]"]:
    own = {"RECSYS_SERVING__REFRESH_SECONDS": "0"}  # nothing changes, and no process waits for it
    environment = os.environ | own | ({} if home is None else {"RECSYS_HOME": str(home)})
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as server:
        assert server.stdin is not None
        server.stdin.write(given)
        server.stdin.close()
        try:
            yield server
        finally:
            server.send_signal(signal.SIGTERM)


def _wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    while server.poll() is None:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.005)
    raise RuntimeError(f"the server ended with code {server.returncode}")


def family(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in family(int(child)))]


def pss(pid: int) -> int:
    """KiB that a process holds; what several share is divided among them."""
    told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.findall(r"^Pss:\s+(\d+)", told, re.MULTILINE)[0])


def _milliseconds(text: str) -> float:
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    number, name = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * unit[name]


def _made(home: Path, items: int) -> Path:
    here = Path(__file__).parent / "make_world.py"
    subprocess.run([sys.executable, str(here), "--home", str(home), f"--items={items}"], check=True)
    return home


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--home", type=Path, help="a world of make_world.py")
    parser.add_argument("--items", type=int, default=100_000, help="of the world that is made")
    parser.add_argument("--small", type=Path, help="a small world, to be compared with --large")
    parser.add_argument("--large", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each run")
    parser.add_argument("--json", action="store_true", help="the last line is a JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
