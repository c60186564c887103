"""Does teaching an encoder what belongs together help, on public data? The product's own `recsys adapt`.

usage: python scripts/bench/adaptation.py --data DIR [--kind text] [--json]

Suggestions by likeness alone (NDCG@10) with vectors as the encoder gives them, whitened, and taught, on the held-out
part of the data: the newest events, or everybody's last like where papers do so. The last line with --json has
every figure, and what the next rebuild would serve over the raw vectors as `adapted_ratio`.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from measuring import whole_world
from rich.console import Console

from recsys.adapting import GAIN, RAW, TAUGHT, WHITENED, Figures, Lesson, adapt, told
from recsys.errors import InputError, RecsysError
from recsys.progress import Bars


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Gives the exit code: 2 for data that cannot be used, 1 for other trouble."""
    asked = _parser().parse_args(arguments)
    try:
        with (
            Bars(Console(), Console(stderr=True)) as bars,
            whole_world(asked.data, asked.home, {}, bars) as (engine, settings),
        ):
            lesson = adapt(engine, settings, asked.kind, {}, bars)
    except RecsysError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    Console(highlight=False, width=None if sys.stdout.isatty() else 110).print(told(lesson))
    if asked.json:
        print(json.dumps({part: _figures(each, lesson) for part, each in lesson.figures.items()}))
    return 0


def _figures(figures: Figures, lesson: Lesson) -> Mapping[str, object]:
    served = TAUGHT if lesson.kept else WHITENED
    ratio = figures[served].value / max(figures[RAW].value, 1e-9)
    values = {name: figures[name].value for name in (RAW, WHITENED, TAUGHT)}
    low, high = figures[GAIN].low, figures[GAIN].high
    return {**values, GAIN: [low, high], "adapted_ratio": ratio, "kept": lesson.kept}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of public data")
    add("--kind", choices=("text", "image"), default="text", help="which encoder (default: text)")
    add("--home", type=Path, help="keep the database, the vectors and the adapter there")
    add("--json", action="store_true", help="end with one line of JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
