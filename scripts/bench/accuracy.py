"""How accurate is the product on public data? Its own import, rebuild and evaluation, beside published figures.

usage: python scripts/bench/accuracy.py --data DIR [--json] [--help]

formats.py says which folders are accepted. Figures named `refit_...` come from models that know the
validation part as well: the very models published in --home, which the API then serves. Settings are the
product's own (recsys.toml, RECSYS_...); nothing depends on the folder's name but which published figures
are printed.
"""

import argparse
import hashlib
import json
import resource
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measuring import Outcome, Wanted, measure, read
from published import FIGURES
from rich.console import Console
from rich.table import Table

from recsys.config import Settings, load_settings
from recsys.errors import InputError, RecsysError
from recsys.evaluation.result import ALL, BLEND, Estimate
from recsys.progress import Bars
from recsys.threads import limit_threads

METRICS = {
    "ndcg@10": "ndcg@10",
    "recall@10": "recall@10",
    "hr@10": "hit@10",
    "ndcg@20": "ndcg@20",
    "recall@20": "recall@20",
}
"""What is printed -> what the product calls it."""

NOT_FITTING = ("making", "asking", "measuring", "fitting baselines")
"""Steps of an evaluation that begin like this are no part of learning what is served."""

MEASURED_WITH = {"events", "embedding", "index", "preference", "ranking", "evaluation"}
"""Sections of the settings that figures depend on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Gives the exit code: 2 for data that cannot be used, 1 for other trouble."""
    asked = _parser().parse_args(arguments)
    try:
        found = read(asked.data, asked.protocol)
        settings = settings_for(asked.mask_seen)
        limit_threads(settings.threads)
        with _home(asked.home) as home, Bars(Console(), Console(stderr=True)) as bars:
            keep = bool(asked.home or asked.slates)
            wanted = Wanted(asked.data, home, keep, asked.slates)
            outcome = measure(found, wanted, settings, bars)
    except RecsysError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    _print(asked.data.resolve().name, outcome, asked.home)
    if asked.json:
        print(json.dumps(figures(outcome) | about(asked.data.resolve().name, outcome)))
    return 0


def settings_for(mask_seen: str | None) -> Settings:
    """The settings in force, but for what is masked."""
    settings = load_settings()
    if mask_seen is None:
        return settings
    told = settings.ranking.model_dump(exclude_unset=True) | {"hide_seen": mask_seen}
    return settings.model_copy(update={"ranking": type(settings.ranking)(**told)})


def figures(outcome: Outcome) -> dict[str, float]:
    """Models of the training part alone, as papers report, and `refit_...`; equal where there is no such part."""
    refit = outcome.evaluation.models[BLEND].metrics
    alone = outcome.evaluation.train_only or refit
    return _named(alone) | {f"refit_{name}": value for name, value in _named(refit).items()}


def about(dataset: str, outcome: Outcome) -> dict[str, Any]:
    """What it took, and what was measured how."""
    found, evaluation, settings = outcome.found, outcome.evaluation, outcome.settings
    measured_with = settings.model_dump_json(
        include=MEASURED_WITH, exclude={"embedding": {"image_root"}}
    )
    return {
        "fit_seconds": round(fit_seconds(evaluation.seconds), 3),
        "embed_seconds": round(outcome.embed_seconds, 3),
        "peak_mb": peak_mb(),
        "dataset": dataset,
        "protocol": found.protocol,
        "mask_seen": settings.ranking.hide_seen,
        "hides_seen": evaluation.hides_seen,
        "users": len(found.users),
        "items": outcome.catalogue,
        "events": len(found),
        "dropped": found.dropped,
        "queries": evaluation.models[BLEND].slices[ALL].n,
        "texts": outcome.texts.name if outcome.texts else None,
        "settings_digest": hashlib.sha256(measured_with.encode()).hexdigest()[:16],
        "data_digest": evaluation.data_digest,
        "weights": evaluation.weights,
        "preference": evaluation.preference,
        "seconds": {name: round(took, 3) for name, took in evaluation.seconds.items()},
    }


def fit_seconds(steps: Mapping[str, float]) -> float:
    """Finding settings and weights, fitting models for them and those that are served."""
    return sum(took for name, took in steps.items() if not name.startswith(NOT_FITTING))


def peak_mb() -> float:
    """The most memory this process ever held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


def _named(metrics: Mapping[str, Estimate]) -> dict[str, float]:
    return {name: metrics[own].value for name, own in METRICS.items()}


def _print(dataset: str, outcome: Outcome, home: Path | None) -> None:
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    told, ours = about(dataset, outcome), figures(outcome)
    out.print(
        f"{dataset}: {told['users']:,} users, {told['items']:,} items, {told['events']:,} events "
        f"({told['dropped']:,} more left out), {told['queries']:,} queries",
        markup=False,
    )
    out.print(outcome.evaluation.protocol, style="dim", markup=False)
    out.print(_table(dataset, ours))
    if any(line.recalled for line in FIGURES.get(dataset, [])):
        out.print("* recalled: not looked up in its source again", style="dim")
    out.print(
        f"fitted in {told['fit_seconds']:.1f} s, embedded in {told['embed_seconds']:.1f} s, "
        f"peak memory {told['peak_mb']:,.0f} MB; seen items are {'' if told['hides_seen'] else 'not '}hidden "
        f"(hide_seen = {told['mask_seen']})"
    )
    if outcome.refused:
        out.print(f"{outcome.refused} items count without the text that the import refused")
    if home is not None:
        out.print(f"serve it: RECSYS_HOME={home} recsys serve", markup=False, soft_wrap=True)


def _table(dataset: str, ours: Mapping[str, float]) -> Table:
    grid = Table(box=None, header_style="dim")
    grid.add_column("")
    for name in METRICS:
        grid.add_column(name, justify="right")
    rows = {f"{p.model} *" if p.recalled else p.model: p.figures for p in FIGURES.get(dataset, [])}
    rows["recsys, as papers fit"] = {name: ours[name] for name in METRICS}
    rows["recsys, refitted with validation"] = {name: ours[f"refit_{name}"] for name in METRICS}
    for model, found in rows.items():
        grid.add_row(model, *(f"{found[name]:.4f}" if name in found else "" for name in METRICS))
    return grid


@contextmanager
def _home(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of public data")
    add("--json", action="store_true", help="end with one line of JSON")
    add("--mask-seen", choices=("yes", "no", "learn"), help="the setting ranking.hide_seen")
    add("--home", type=Path, help="keep the database, the vectors and a published snapshot there")
    add("--slates", type=Path, help="write everybody's top 20 of that snapshot as JSON lines")
    add(
        "--protocol", choices=("time", "leave-one-out", "parts"), help="default: what fits the data"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
