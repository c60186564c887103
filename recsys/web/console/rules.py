"""The rules of merchandisers: all of them, and the form in which one is written, tried and kept."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from recsys.catalogue.conditions import Condition
from recsys.catalogue.database import reading
from recsys.catalogue.items import get_items
from recsys.catalogue.rule import PLACEMENTS, KeptRule
from recsys.errors import SnapshotError, UnknownRule
from recsys.identity import NOTHING, Ordinals
from recsys.ranking.recommender import Recommender
from recsys.serving.rules import Told, all_rules, change, forget, keep, one_rule
from recsys.serving.slates import Services
from recsys.web.console.drafts import Draft, read_ids, write_ids
from recsys.web.console.previews import CALLED, Trial, preview, suggested
from recsys.web.console.site import Console, Making, field
from recsys.web.console.words import moment
from recsys.web.people import people

HOME = "/console/rules"

NAMED = 3
"""Values of a list that are named; of more, how many there are."""

OFFERED = 500
"""Categories and brands that a form offers: the most common ones."""

FOUND, LOOKED_AT = 8, 500
"""Items that a search in the form shows, and those of which it chooses them."""

PART = "recsys-part"
"""Header of a request that wants the preview alone, for a page that is there already."""

ACTIONS = {
    "boost": ("Boost", "Ranks higher"),
    "bury": ("Bury", "Ranks lower"),
    "pin": ("Pin", "One item stands at one place"),
    "exclude": ("Exclude", "Is not shown"),
}

STATES = {"in force": "In force", "scheduled": "To come", "ended": "Ended"}

LABELS = {
    "name": "Name",
    "action": "What to do",
    "by": "How much",
    "place": "Place",
    "where": "Which items",
    "items": "Items",
    "categories": "Categories",
    "brands": "Brands",
    "price_min": "Lowest price",
    "price_max": "Highest price",
    "attributes": "Attributes",
    "without_categories": "Without categories",
    "without_brands": "Without brands",
    "placements": "Slates",
    "starts_at": "Starts",
    "ends_at": "Ends",
}
"""Field of the form, in order -> its label."""


class Entry(NamedTuple):
    """A rule of the list, in words."""

    rule: KeptRule
    about: str
    """What its items are; "" where they are named."""
    named: Sequence[tuple[str, str]]
    """Id and title of the first of those that are named; "" where the catalogue has no such item."""
    effect: str
    where: str
    dates: str
    matches: int | None
    """None: there is no snapshot to count in."""
    unknown: Sequence[str]


def show_all(console: Console, request: Request, _: FormData) -> Response:
    """Those in force, those to come and those that have ended."""
    told = all_rules(console.services)
    titles = _titles([key for one in told for key in one.rule.items[:NAMED]], console.services)
    groups = [
        (name, [_entry(one, titles) for one in told if one.state == state])
        for state, name in STATES.items()
    ]
    return console.page(request, "rules.html", groups=groups, actions=ACTIONS, count=len(told))


def write_new(console: Console, request: Request, _: FormData) -> Response:
    """The form for a new rule: empty, like another one, or about an item."""
    like, item = (request.query_params.get(name, "") for name in ("like", "item"))
    draft = Draft(about="items", items=write_ids([item])) if item else Draft()
    if like:
        draft = Draft.of_rule(one_rule(_number(like), console.services).rule)
        draft = replace(draft, name=f"{draft.name} (copy)")
    return _form(console, request, draft, None)


def write(console: Console, request: Request, _: FormData) -> Response:
    """The form that changes a rule."""
    told = one_rule(_asked(request), console.services)
    return _form(console, request, Draft.of_rule(told.rule), told.rule.id)


def save_new(console: Console, request: Request, form: FormData) -> Response:
    """Keep a new rule, or say what is wrong with it."""
    return _saved(console, request, form, None)


def save(console: Console, request: Request, form: FormData) -> Response:
    """Change a rule, or say what is wrong."""
    return _saved(console, request, form, _asked(request))


def remove(console: Console, request: Request, _: FormData) -> Response:
    """Forget a rule."""
    number = _asked(request)
    name = one_rule(number, console.services).rule.name
    forget(number, console.services)
    return console.back(HOME, f"“{name}” is removed.")


def try_out(console: Console, request: Request, form: FormData) -> Response:
    """The form as it was sent, with what the rule would change; the latter alone where a script asks."""
    draft, trial, number = Draft.of_form(form), Trial.of_form(form), _replaced(form)
    if request.headers.get(PART) != "preview":
        return _form(console, request, draft, number, trial)
    found = preview(draft, trial, number, console.services)
    return console.part(request, "rule_preview.html", preview=found, called=CALLED)


def find_items(console: Console, request: Request, _: FormData) -> Response:
    """Items by their id or a part of their title, as JSON: `[{"id": "296", "title": "Pulp Fiction (1994)"}]`."""
    words = request.query_params.get("q", "").strip()
    try:
        recommender = console.services.live.served().recommender
    except SnapshotError:
        return JSONResponse([])
    items = recommender.items
    rows = _with_words(words, recommender) if words else NOTHING
    named = zip(items.id_texts.of(rows), items.titles(rows), strict=True)
    return JSONResponse([{"id": key, "title": title} for key, title in named])


def _of_kept(make: Making) -> Making:
    """A page of a rule: where there is no such rule (any more) it says so."""

    def made(console: Console, request: Request, form: FormData) -> Response:
        try:
            return make(console, request, form)
        except UnknownRule:
            return console.page(request, "rule_missing.html", 404)

    return made


ROUTES: Sequence[tuple[str, Making, Sequence[str]]] = (
    (HOME, show_all, ("GET",)),
    (f"{HOME}/new", _of_kept(write_new), ("GET",)),
    (f"{HOME}/new", save_new, ("POST",)),
    (f"{HOME}/preview", _of_kept(try_out), ("POST",)),
    (f"{HOME}/items", find_items, ("GET",)),
    (f"{HOME}/{{rule_id}}", _of_kept(write), ("GET",)),
    (f"{HOME}/{{rule_id}}", _of_kept(save), ("POST",)),
    (f"{HOME}/{{rule_id}}/remove", _of_kept(remove), ("POST",)),
)


def _saved(console: Console, request: Request, form: FormData, number: int | None) -> Response:
    draft = Draft.of_form(form)
    rule, wrong = draft.checked()
    if rule is None:
        return _form(console, request, draft, number, Trial.of_form(form), wrong)
    within = console.services
    told = keep(rule, within) if number is None else change(number, rule, within)
    begins = {
        "in force": "it holds from now on",
        "scheduled": f"it holds from {moment(rule.starts_at)}",
        "ended": "it has ended already",
    }
    return console.back(HOME, f"“{rule.name}” is kept: {begins[told.state]}.")


def _form(
    console: Console,
    request: Request,
    draft: Draft,
    number: int | None,
    trial: Trial | None = None,
    wrong: dict[str, str] | None = None,
) -> Response:
    """number: of the rule that is changed. wrong: field -> what is wrong with it."""
    within = console.services
    trial = trial or suggested(draft.checked()[0], within)
    return console.page(
        request,
        "rule.html",
        422 if wrong else 200,
        draft=draft,
        number=number,
        trial=trial,
        wrong={name: wrong[name] for name in LABELS if name in wrong} if wrong else {},
        labels=LABELS,
        actions=ACTIONS,
        placements=PLACEMENTS,
        called=CALLED,
        titles=_titles(read_ids(draft.items), within),
        preview=preview(draft, trial, number, within),
        **_offered(within),
    )


def _offered(within: Services) -> dict[str, list[str]]:
    """What there is to choose from."""
    try:
        served = within.live.served()
    except SnapshotError:
        return {"categories": [], "brands": [], "users": []}
    items = served.recommender.items
    users = [person.user_id for person in people(served, within)]
    return {
        "categories": _common(pc.list_flatten(items.data["categories"])),
        "brands": _common(items.data["brand"]),
        "users": users,
    }


def _common(names: Any) -> list[str]:  # noqa: ANN401  an Arrow column
    """The most common names in a column, in alphabetical order."""
    counted = names.drop_null().value_counts()
    counts = counted.field("counts").to_numpy(zero_copy_only=False)
    most = np.argsort(-counts, kind="stable")[:OFFERED]
    return sorted(map(str, counted.field("values").take(most).to_pylist()))


def _with_words(words: str, recommender: Recommender) -> Ordinals:
    """Rows of the item with this id, and of those with these words in their titles: the shortest ones first."""
    items, same = recommender.items, recommender.lookup.ordinals([words])
    titled = pc.match_substring(items.data["title"], words, ignore_case=True)
    rows = pc.indices_nonzero(titled)[:LOOKED_AT].to_numpy().astype(np.int64)
    titles = items.titles(rows)
    short = sorted(range(len(rows)), key=lambda n: (len(titles[n]), titles[n]))
    found = np.concatenate([same[same >= 0], rows[short]])
    return np.array(list(dict.fromkeys(found.tolist()))[:FOUND], dtype=np.int64)


def _entry(told: Told, titles: dict[str, str]) -> Entry:
    rule = told.rule
    about = "" if rule.where is None else in_words(rule.where)
    named = [(key, titles.get(key, "")) for key in rule.items[:NAMED]]
    how = _effect(rule), _slates(rule), _dates(rule)
    return Entry(rule, about, named, *how, told.matches, told.unknown)


def in_words(where: Condition) -> str:
    """`Drama or Crime, by Studio 1, from 5 to 20, without Horror`."""
    low, high = (None if one is None else f"{one:g}" for one in (where.price_min, where.price_max))
    parts = [
        _some(where.categories) or "Anything",
        where.brands and f"by {_some(where.brands)}",
        low and high and f"from {low} to {high}",
        low and not high and f"from {low}",
        high and not low and f"up to {high}",
        *(f"{name} {_some(values)}" for name, values in where.attributes.items()),
        where.without_categories and f"without {_some(where.without_categories)}",
        where.without_brands and f"nothing by {_some(where.without_brands)}",
    ]
    return ", ".join(part for part in parts if part)


def _some(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED:,} more"
    return " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _effect(rule: KeptRule) -> str:
    if rule.by is not None:
        return f"by {rule.by:g}"
    return "" if rule.place is None else f"at place {rule.place}"


def _slates(rule: KeptRule) -> str:
    if rule.placements:
        return ", ".join(CALLED[one] for one in rule.placements)
    return "all slates but search" if rule.action == "pin" else "all slates"


def _dates(rule: KeptRule) -> str:
    first, last = moment(rule.starts_at), moment(rule.ends_at)
    if rule.starts_at and rule.ends_at:
        return f"{first.removesuffix(' UTC')} to {last}"
    return f"from {first}" if rule.starts_at else f"until {last}" if rule.ends_at else "no end"


def _titles(ids: Iterable[str], within: Services) -> dict[str, str]:
    """Id -> title, of those that are in the catalogue."""
    storable = [key for key in ids if "\0" not in key]  # PostgreSQL refuses to be asked for others
    with reading(within.engine) as connection:
        found = get_items(connection, storable)
    return {key: item.title or key for key, item in found.items()}


def _asked(request: Request) -> int:
    return _number(request.path_params["rule_id"])


def _replaced(form: FormData) -> int | None:
    """The rule that the one in a form is to take the place of."""
    sent = field(form, "number")
    return _number(sent) if sent else None


def _number(text: str) -> int:
    """Raises UnknownRule."""
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) > 0):
        raise UnknownRule(f"there is no rule {text!r}: its id would be a whole number")
    return int(text)
