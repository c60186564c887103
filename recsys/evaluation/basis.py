"""Whether what an earlier build learned still holds: then the next one takes it over and only measures it anew.

world + settings -> Basis, kept with the evaluation;  Basis then + Basis now -> why to learn again, if at all

Settings and weights say how people choose here, which changes far more slowly than what they chose last night.
"""

import hashlib
import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.event_log import EventLog
from recsys.evaluation.past import MEASURED_SETTINGS, Past
from recsys.evaluation.result import Basis
from recsys.evaluation.split import Plan
from recsys.identity import Floats
from recsys.snapshot import made_by

MOST_CHANGED = 0.1
"""Share of the events, or of the items, that may be others than those learned from."""

MOST_BUILDS = 7
"""The build after so many learns again, whatever has changed."""

SAMPLE = 2_048
"""Events, and items, by which two worlds are compared: a tenth is then told to within .007."""

Hashes = NDArray[np.uint64]


def basis_of(past: Past, log: EventLog, plan: Plan) -> Basis:
    """What is going to be learned from."""
    known = plan.parts["validation"]
    return Basis(
        made_with=_made_with(past),
        events=_sample_of_events(past, log),
        items=_sample_of_items(past),
        until=int(known.time[-1]) if len(known) else None,
    )


def outdated(then: Basis | None, now: Basis, plan: Plan) -> str:
    """Why settings and weights must be learned again; empty while they hold."""
    if then is None:
        return "nothing learned earlier can be used"
    if then.made_with != now.made_with:
        return "settings, libraries or encoders changed"
    if then.builds + 1 >= MOST_BUILDS:
        return f"{MOST_BUILDS} builds have passed"
    for name in ("events", "items"):
        share = changed(getattr(then, name), getattr(now, name))
        if share > MOST_CHANGED:
            return f"{share:.0%} of the {name} are others than those learned from"
    test = plan.parts["test"]
    if plan.dated and then.until is not None and len(test) and int(test.time[0]) <= then.until:
        return "the test reaches into what was learned from"
    return ""


def changed(then: list[int], now: list[int]) -> float:
    """Share of two samples that they do not have in common."""
    return 1 - len(set(then) & set(now)) / max(1, len(then), len(now))


def _made_with(past: Past) -> str:
    """Of all but the data: a setting given by hand and one left alone differ even where they are equal."""
    settings = past.settings
    given = [*settings.preference.model_fields_set, *settings.events.given]
    cards = sorted(f"{kind} {space.fingerprint}" for kind, space in past.spaces.items())
    parts = (settings.model_dump_json(include=MEASURED_SETTINGS), *sorted(given), *cards, made_by())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _sample_of_events(past: Past, log: EventLog) -> list[int]:
    """The lowest hashes: the same events are drawn from any log that holds them."""
    if not len(log):
        return []
    mixed = log.time.astype(np.uint64)
    for names, code in (
        (log.types, log.type),
        (log.actors, log.actor),
        (past.items.ids, log.item),
    ):
        mixed = _mixed(mixed ^ _hashes(names)[code])
    return _lowest(mixed, mixed)


def _sample_of_items(past: Past) -> list[int]:
    """Items drawn by their ids, each with what its contents are."""
    drawn = _mixed(_hashes(past.items.ids))
    chosen = np.argsort(drawn, kind="stable")[:SAMPLE]
    said = drawn[chosen]
    for kind in sorted(past.priors):
        rows = past.priors[kind].rows
        if rows is not None:
            said = _mixed(said ^ _hash_rows(rows[chosen]))
    return _lowest(said, drawn[chosen])


def _lowest(values: Hashes, by: Hashes) -> list[int]:
    """At most `SAMPLE` of the values, those lowest by another; 53 bits of each, which JSON keeps everywhere."""
    if len(by) > SAMPLE:
        values = values[np.argpartition(by, SAMPLE)[:SAMPLE]]
    return sorted((values >> np.uint64(11)).tolist())


def _hashes(names: Iterable[str]) -> Hashes:
    """The same on any machine, unlike Python's own."""
    return np.fromiter((zlib.crc32(name.encode()) for name in names), dtype=np.uint64)


def _hash_rows(rows: Floats) -> Hashes:
    return np.array([zlib.crc32(row.tobytes()) for row in rows], dtype=np.uint64)


def _mixed(x: Hashes) -> Hashes:
    """Every bit of the outcome depends on every bit (the finaliser of splitmix64; Steele et al. 2014)."""
    x = (x + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
