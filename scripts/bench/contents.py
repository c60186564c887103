"""Do pictures and texts together find new items better than either alone?

usage: python scripts/bench/contents.py --data DIR [--draws 3] [--share 0.2] [--json]

A share of the items is made new: drawn by chance, their events hidden. The product learns and is asked thrice: with
texts and pictures, with texts alone, with pictures alone. NDCG@20 of who then liked new items, ranked among new items;
and the differences, question by question, with 95 % intervals. Every draw hides other items.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from measuring import measured_by, whole_world
from rich.console import Console
from rich.table import Table

from recsys.config import Settings
from recsys.errors import FeedError, InputError, RecsysError
from recsys.evaluation.backtest import sit
from recsys.evaluation.judge import groups
from recsys.evaluation.metrics import Vector, accuracy, estimates
from recsys.evaluation.result import BLEND, COLD_ALONE, Estimate
from recsys.evaluation.split import make_plan
from recsys.evaluation.words import interval
from recsys.progress import Bars
from recsys.rebuild import Content, Progress, World, arrange, embed, read_world

KINDS = {"both": ("text", "image"), "text": ("text",), "image": ("image",)}
"""What there is to go by."""

METRIC = "ndcg@20"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Gives the exit code: 2 for data that cannot be used, 1 for other trouble."""
    asked = _parser().parse_args(arguments)
    try:
        share = {"cold_items": asked.share}
        with (
            Bars(Console(), Console(stderr=True)) as bars,
            whole_world(asked.data, asked.home, share, bars) as (engine, settings),
        ):
            world = read_world(engine, bars)
            content = arrange(world.items, embed(world.items, settings, bars), settings, bars)
            if set(content.spaces) != {"text", "image"}:
                raise FeedError(
                    f"{asked.data}: found {set(content.spaces)}, texts and pictures are needed"
                )
            draws = [
                asked_thrice(world, content, measured_by(settings, {"seed": seed}), bars)
                for seed in range(asked.draws)
            ]
    except RecsysError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    figures = together(draws, settings)
    _print(figures, sum(len(draw["both"]) for draw in draws))
    if asked.json:
        told = {name: estimate._asdict() for name, estimate in figures.items()}
        print(json.dumps(told | {"queries": [len(draw["both"]) for draw in draws]}))
    return 0


def asked_thrice(
    world: World, content: Content, settings: Settings, progress: Progress
) -> dict[str, Vector]:
    """What there is to go by -> (q,) NDCG@20 among new items."""
    plan = make_plan(world.log, world.items, settings)
    found = {}
    for name, kinds in KINDS.items():
        spaces = {kind: content.spaces[kind] for kind in kinds}
        priors = {kind: content.priors[kind] for kind in kinds}

        def begin(step: str, name: str = name) -> None:
            progress.task(f"{name}: {step}")

        sitting = sit(world.items, spaces, priors, world.log, settings, begin, plan, beside=False)
        if not sitting.evaluation.measured:
            raise FeedError(f"too little to measure: {sitting.evaluation.reason}")
        known = np.bincount(sitting.exam.known.item, minlength=len(world.items)) > 0
        group = groups(sitting.exam, known)[COLD_ALONE]
        found[name] = accuracy(sitting.slates[BLEND][group.rows], group.targets)[METRIC]
    return found


def together(draws: Sequence[dict[str, Vector]], settings: Settings) -> dict[str, Estimate]:
    """Means and differences over the questions of all draws."""
    vectors = {name: np.concatenate([draw[name] for draw in draws]) for name in KINDS}
    differences = {f"both - {name}": vectors["both"] - vectors[name] for name in ("text", "image")}
    own = settings.evaluation
    return estimates({**vectors, **differences}, own.bootstrap, own.seed)


def _print(figures: dict[str, Estimate], queries: int) -> None:
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    grid = Table(box=None, header_style="dim")
    grid.add_column(f"{queries:,} questions")
    grid.add_column("NDCG@20 among new items", justify="right")
    for name, estimate in figures.items():
        grid.add_row(name, interval(estimate, ".4f"))
    out.print(grid)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of public data with texts and pictures")
    add("--draws", type=int, default=1, help="how often other items are made new (default: 1)")
    add("--share", type=float, default=0.2, help="of the items that are made new (default: 0.2)")
    add("--home", type=Path, help="keep the database and the vectors there")
    add("--json", action="store_true", help="end with one line of JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
