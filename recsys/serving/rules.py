"""Rules for merchandisers: kept, changed, forgotten, told, and previewed; and the routes by which they are asked.

One call is one transaction. The console asks the functions, everybody else the routes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Request, Response

from recsys.catalogue.database import reading, writing
from recsys.catalogue.items import unknown_items
from recsys.catalogue.rule import KeptRule, Rule, State
from recsys.catalogue.rules import add_rule, get_rule, read_rules, remove_rule, replace_rule
from recsys.errors import SnapshotError
from recsys.ranking.candidates import Query
from recsys.ranking.rules import Rules
from recsys.serving import examples
from recsys.serving.admin import ADMINS_ONLY, admitted
from recsys.serving.intake import in_turn
from recsys.serving.live import Served
from recsys.serving.paging import follow
from recsys.serving.problems import BUSY, NO_SNAPSHOT, UNKNOWN_RULE
from recsys.serving.routes import sought, wanted
from recsys.serving.schemas import (
    ListPlacement,
    PreviewBody,
    PreviewReply,
    RecommendPlacement,
    RuleList,
    RuleReply,
    SearchBody,
    SimilarPlacement,
)
from recsys.serving.slates import Services, as_json, services, told
from recsys.serving.viewers import viewer

router = APIRouter(tags=["Rules"], dependencies=[Depends(admitted)], responses=ADMINS_ONLY)

Within = Annotated[Services, Depends(services)]

RuleId = Annotated[
    int, Path(ge=1, lt=2**63, description="The rule's id, a whole number.", examples=[1])
]


@dataclass(frozen=True)
class Told:
    """A rule, and what it comes to now."""

    rule: KeptRule
    state: State
    matches: int | None
    """Items of the snapshot that it is about; None: there is no snapshot."""
    unknown: Sequence[str]
    """Those of its items that are not in the catalogue."""

    def said(self) -> dict[str, Any]:
        """As a `RuleReply`."""
        where = self.rule.where and self.rule.where.model_dump(exclude_defaults=True)
        found = {"state": self.state, "matches": self.matches, "unknown": self.unknown}
        return self.rule.model_dump() | {"where": where} | found


def all_rules(within: Services) -> list[Told]:
    """The oldest first: those in force, those to come, and those that have ended."""
    with reading(within.engine) as connection:
        kept = read_rules(connection)
    return _told(kept, within)


def one_rule(rule_id: int, within: Services) -> Told:
    """Raises UnknownRule."""
    with reading(within.engine) as connection:
        kept = get_rule(connection, rule_id)
    return _told([kept], within)[0]


def keep(rule: Rule, within: Services) -> Told:
    """Keep a new rule; the next slate of this process knows it."""
    with writing(within.engine) as connection:
        kept = add_rule(connection, rule, datetime.now(UTC))
    within.live.look_at_rules()
    return _told([kept], within)[0]


def change(rule_id: int, rule: Rule, within: Services) -> Told:
    """Put it in the place of a kept one, as soon. Raises UnknownRule."""
    with writing(within.engine) as connection:
        kept = replace_rule(connection, rule_id, rule, datetime.now(UTC))
    within.live.look_at_rules()
    return _told([kept], within)[0]


def forget(rule_id: int, within: Services) -> None:
    """Forget a rule, as soon. Raises UnknownRule."""
    with writing(within.engine) as connection:
        remove_rule(connection, rule_id)
    within.live.look_at_rules()


def previewed(ask: PreviewBody, within: Services) -> dict[str, Any]:
    """As a `PreviewReply`. Raises UnknownRule, UnknownItem, QueryError, and what stands in the way of a slate."""
    served, now = within.live.served(), datetime.now(UTC)
    with reading(within.engine) as connection:
        if ask.in_place_of is not None:
            get_rule(connection, ask.in_place_of)
        kept = read_rules(connection)
        unknown = unknown_items(connection, ask.rule.items)
    number = ask.in_place_of or max((rule.id for rule in kept), default=0) + 1
    others = [rule for rule in kept if rule.id != number]
    lasting = ask.rule.model_copy(update={"starts_at": None, "ends_at": None}).model_dump()
    tried = KeptRule(**lasting, id=number, created_at=now, updated_at=now)
    without, rules = _rules(served, others), _rules(served, [*others, tried])
    before = _slate(ask, replace(served, rules=without), within)
    after = _slate(ask, replace(served, rules=rules), within)
    said = {
        "snapshot": served.manifest.id,
        "placement": ask.placement,
        "applies": tried.holds_on(ask.placement),
        "matches": len(rules.about(tried)),
        "unknown": unknown,
        "without": before,
        "with": after,
    }
    return said | _compared(before["items"], after["items"])


@router.get("/v1/rules", response_model=RuleList)
def list_rules(within: Within) -> Response:
    """List all rules, the oldest first: those in force, those to come, and those that have ended."""
    return as_json({"rules": [told.said() for told in all_rules(within)]})


@router.post("/v1/rules", response_model=RuleReply, status_code=201, responses=BUSY)
async def keep_rule(
    rule: Annotated[Rule, Body(openapi_examples=examples.RULES)], request: Request
) -> Response:
    """Keep a new rule.

    It holds from the very next slate of this process, and of every other within `serving.poll_seconds`, without a
    restart or a rebuild; in batch scoring from the next run on.
    """
    return await in_turn(request, lambda within: as_json(keep(rule, within).said(), 201))


@router.post("/v1/rules/preview", response_model=PreviewReply, responses=UNKNOWN_RULE | NO_SNAPSHOT)
def preview_rule(
    ask: Annotated[PreviewBody, Body(openapi_examples=examples.PREVIEW)], within: Within
) -> Response:
    """Show a slate without a rule that is not kept yet, and with it, as if it were in force now.

    All kept rules hold in both, but for the one that it is to take the place of.
    """
    return as_json(previewed(ask, within))


@router.get("/v1/rules/{rule_id}", response_model=RuleReply, responses=UNKNOWN_RULE)
def read_rule(rule_id: RuleId, within: Within) -> Response:
    """Read one rule, and what it comes to now."""
    return as_json(one_rule(rule_id, within).said())


@router.put("/v1/rules/{rule_id}", response_model=RuleReply, responses=UNKNOWN_RULE | BUSY)
async def change_rule(
    rule_id: RuleId,
    rule: Annotated[Rule, Body(openapi_examples=examples.RULE)],
    request: Request,
) -> Response:
    """Replace a rule whole. It keeps its id and its age."""
    return await in_turn(request, lambda within: as_json(change(rule_id, rule, within).said()))


@router.delete("/v1/rules/{rule_id}", status_code=204, responses=UNKNOWN_RULE | BUSY)
async def forget_rule(rule_id: RuleId, request: Request) -> Response:
    """Forget a rule. It is gone from the very next slate of this process, and soon from all."""

    def write(within: Services) -> Response:
        forget(rule_id, within)
        return Response(status_code=204)

    return await in_turn(request, write)


def _told(kept: Sequence[KeptRule], within: Services) -> list[Told]:
    with reading(within.engine) as connection:
        unknown = set(unknown_items(connection, [item for rule in kept for item in rule.items]))
    try:
        served = within.live.served()
        rules = served.rules or _rules(served, kept)
    except SnapshotError:
        rules = None
    now = datetime.now(UTC)
    return [
        Told(
            rule,
            rule.state_at(now),
            None if rules is None else len(rules.about(rule)),
            [item for item in rule.items if item in unknown],
        )
        for rule in kept
    ]


def _rules(served: Served, kept: Sequence[KeptRule]) -> Rules:
    if served.rules is not None:
        return served.rules.having(kept)
    about = served.recommender
    return Rules(about.items, about.lookup, about.duplicates, kept)


def _slate(ask: PreviewBody, served: Served, within: Services) -> dict[str, Any]:
    """Raises QueryError, UnknownItem."""
    page = follow(_question(ask, served, within), (), served.recommender)
    said = told(page, explain=True, missing=None)
    return {"items": said["items"], "account": said["account"]}


def _question(ask: PreviewBody, served: Served, within: Services) -> Query:
    who = viewer(served, within.histories, (ask.user_id, None))
    common: dict[str, Any] = {"name": "preview", "limit": ask.limit}
    match ask.placement:
        case "search":
            return sought(SearchBody(text=ask.text, limit=ask.limit), who, served, within)
        case "similar":
            about = SimilarPlacement(kind="similar", item_id=ask.item_id or "", **common)
            return wanted(about, who, served, within)
        case "recommendations":
            slate = RecommendPlacement(kind="recommendations", **common)
            return wanted(slate, who, served, within)
        case kind:
            return wanted(ListPlacement(kind=kind, **common), who, served, within)


def _compared(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What came, what went, and what moved."""
    was, now = ({item["item_id"]: item["rank"] for item in some} for some in (before, after))
    return {
        "came": [key for key in now if key not in was],
        "went": [key for key in was if key not in now],
        "moved": [
            {"item_id": key, "from": was[key], "to": rank}
            for key, rank in now.items()
            if was.get(key, rank) != rank
        ],
    }
