"""The settings in force: what was set, by whom, and what the served snapshot found on validation in its place."""

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from recsys.config import Section, Settings, documented
from recsys.errors import SnapshotError
from recsys.evaluation.result import Evaluation
from recsys.evaluation.words import SEGMENTS
from recsys.serving.live import Served
from recsys.snapshot import library_versions
from recsys.web.console.site import Console, Making

SERVING = ("fastapi", "pydantic", "sqlalchemy", "uvicorn")
"""Libraries that no snapshot is made with, but that answer."""

SHADES = 8
"""Of a cell of the table of weights, from none to the most."""


class Setting(NamedTuple):
    """One setting, in words."""

    name: str
    """Without its section."""
    value: str
    default: str | None
    """None: the value is the default."""
    source: str
    """What set it; "" where nothing did."""
    found: str
    """What the served snapshot goes by in its place; "" where that is the value itself."""
    about: str


class Group(NamedTuple):
    """A section of the settings."""

    name: str
    about: str
    settings: Sequence[Setting]


class Cell(NamedTuple):
    """A weight of the blend."""

    weight: float | None
    """None: the segment does not know this source."""
    shade: int
    """0 to `SHADES`, beside the largest one of its segment."""


class Library(NamedTuple):
    """A library and its versions."""

    name: str
    here: str
    made_with: str
    """Where the served snapshot was made with another one."""


def show(console: Console, request: Request, _: FormData) -> Response:
    """All of them, the libraries, and what was found."""
    within = console.services
    try:
        served = within.live.served()
    except SnapshotError:
        served = None
    folder = within.snapshots.folder
    evaluation = Evaluation.beside(folder / served.manifest.id) if served else None
    names, rows = _weights(evaluation.weights if evaluation else {})
    return console.page(
        request,
        "settings.html",
        groups=_groups(within.settings, evaluation),
        libraries=_libraries(served),
        served=served,
        evaluation=evaluation,
        segments=names,
        weights=rows,
    )


ROUTES: Sequence[tuple[str, Making, Sequence[str]]] = (("/console/settings", show, ("GET",)),)


def _groups(settings: Settings, evaluation: Evaluation | None) -> list[Group]:
    about, found = dict(documented()), _found(evaluation)
    plain = [
        name for name in Settings.model_fields if not isinstance(getattr(settings, name), Section)
    ]
    first = [_setting(name, "", settings, found, about) for name in plain]
    groups = [Group("general", "", first)]
    for name in Settings.model_fields:
        section = getattr(settings, name)
        if isinstance(section, Section):
            inner = [
                _setting(key, name, settings, found, about) for key in type(section).model_fields
            ]
            groups.append(Group(name, type(section).__doc__ or "", inner))
    return groups


def _setting(
    key: str, section: str, settings: Settings, found: Mapping[str, Any], about: Mapping[str, str]
) -> Setting:
    """found, about: by the dotted name."""
    holder: Any = getattr(settings, section) if section else settings
    name = f"{section}.{key}" if section else key
    value, default = getattr(holder, key), type(holder).model_fields[key].default
    shown = found.get(name)
    differs = shown is not None and _plainly(shown) != _plainly(value)
    return Setting(
        key,
        _told(name, value, settings),
        _told(name, default, settings) if value != default else None,
        _source(name, key in holder.model_fields_set),
        _plainly(shown) if differs else "",
        about[name],
    )


def _told(name: str, value: object, settings: Settings) -> str:
    """A value in words; a secret is never shown."""
    if not isinstance(value, SecretStr):
        return _plainly(value)
    if not value.get_secret_value():
        return f"SQLite in {settings.home / 'recsys.db'}" if name == "database.url" else "not set"
    return (
        _without_password(value.get_secret_value()) if name == "database.url" else "set, not shown"
    )


def _without_password(url: str) -> str:
    """Nor what stands behind the question mark, where drivers take passwords as well."""
    try:
        plain = make_url(url).set(query={})
    except ArgumentError:
        return "set, not shown"
    return plain.render_as_string(hide_password=True)


def _plainly(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case dict():
            return ", ".join(f"{key} {_plainly(one)}" for key, one in value.items())
        case list() | tuple():
            return ", ".join(map(_plainly, value)) or "none"
        case Path() | str() | int():
            return str(value)
        case _:
            return repr(value)


def _source(name: str, is_set: bool) -> str:
    """The environment variable of a setting, or of its section in JSON; else where it may come from."""
    section, _, key = name.partition(".")
    variable = f"RECSYS_{name.upper().replace('.', '__')}"
    if any(one == variable or one.startswith(f"{variable}__") for one in os.environ):
        return variable
    whole = f"RECSYS_{section.upper()}"
    if key and f'"{key}"' in os.environ.get(whole, ""):
        return whole
    return "file or command line" if is_set else ""


def _found(evaluation: Evaluation | None) -> dict[str, Any]:
    """Dotted name -> what was found on validation, in the place of what is not set."""
    if evaluation is None or not evaluation.measured:
        return {}
    found = {f"preference.{name}": value for name, value in evaluation.preference.items()}
    found |= {
        f"events.{name}": value
        for name, value in evaluation.events.items()
        if name in {"weights", "half_life_days"}
    }
    return found | {"ranking.hide_seen": "yes" if evaluation.hides_seen else "no"}


def _weights(
    weights: Mapping[str, Mapping[str, float]],
) -> tuple[list[str], list[tuple[str, list[Cell]]]]:
    """Names of the segments, and for each source that is heard at all its weights in them; the loudest first."""
    fitted = [weights[segment] for segment in SEGMENTS if segment in weights]
    heard = {name for some in fitted for name, weight in some.items() if weight}
    names = sorted(heard, key=lambda name: (*(-some.get(name, 0) for some in fitted), name))
    most = [max(map(abs, some.values()), default=0) or 1 for some in fitted]
    rows = [
        (name, [_cell(some.get(name), top) for some, top in zip(fitted, most, strict=True)])
        for name in names
    ]
    return [SEGMENTS[segment] for segment in SEGMENTS if segment in weights], rows


def _cell(weight: float | None, most: float) -> Cell:
    return Cell(weight, round(abs(weight or 0) / most * SHADES))


def _libraries(served: Served | None) -> list[Library]:
    here = library_versions() | {name: version(name) for name in SERVING}
    made_with = served.manifest.libraries if served else {}
    return [
        Library(name, number, made_with[name] if made_with.get(name, number) != number else "")
        for name, number in here.items()
    ]
