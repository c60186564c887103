"""What a rule would change on one slate, side by side, before it is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError
from starlette.datastructures import FormData

from recsys.catalogue.fields import explain
from recsys.catalogue.rule import PLACEMENTS, Rule
from recsys.errors import DatabaseError, InputError, RecsysError
from recsys.serving.routes import fill_placements
from recsys.serving.rules import previewed
from recsys.serving.schemas import ListPlacement, PlacementsBody, PreviewBody
from recsys.serving.slates import Services
from recsys.web.console.drafts import Draft
from recsys.web.console.site import field
from recsys.web.people import people

LENGTH = 10
"""Items of each slate."""

CALLED = {
    "recommendations": "recommendations",
    "similar": "similar items",
    "search": "search",
    "popular": "popular",
    "trending": "trending",
    "new": "new",
}
"""Placement -> what it is called."""

FOR_SOMEBODY = frozenset({"recommendations", "similar", "search"})
"""Slates that a viewer's taste has a part in."""


@dataclass(frozen=True)
class Trial:
    """The slate a rule is tried on."""

    placement: str = "recommendations"
    user: str = ""
    """"" is somebody nobody knows."""
    item: str = ""
    text: str = ""

    @classmethod
    def of_form(cls, form: FormData) -> "Trial":
        """As it was sent."""
        asked = field(form, "try_on")
        given = {name: field(form, f"try_{name}") for name in ("user", "item", "text")}
        return cls(asked if asked in PLACEMENTS else "recommendations", **given)

    def asked(self, rule: Rule, number: int | None, longest: int) -> PreviewBody:
        """number: of the rule it is to take the place of. Raises InputError."""
        said: dict[str, Any] = {"rule": rule, "in_place_of": number, "limit": min(LENGTH, longest)}
        if self.placement in FOR_SOMEBODY:
            said["user_id"] = self.user or None
        match self.placement:
            case "recommendations":
                pass
            case "similar":
                said["item_id"] = self._given(self.item, "an item's id, to see what is similar")
            case "search":
                said["text"] = self._given(self.text, "words to search for")
            case kind:
                said["kind"] = kind
        try:
            return PreviewBody(**said)
        except ValidationError as error:
            raise InputError(explain(error)) from None

    @staticmethod
    def _given(text: str, what: str) -> str:
        if not text:
            raise InputError(f"give {what}")
        return text


class Shown(NamedTuple):
    """An item of a slate."""

    item_id: str
    title: str
    rank: int
    change: str
    """`went`, on the slate without the rule; `came`, `up`, `down`, on the one with it; "": it stays."""
    other: int
    """Its rank on the other slate; 0 where it is not there."""


@dataclass(frozen=True)
class Preview:
    """Two slates, or why there are none."""

    trouble: str = ""
    placement: str = ""
    applies: bool = True
    """Whether the rule is about such slates."""
    matches: int = 0
    unknown: Sequence[str] = ()
    without: Sequence[Shown] = ()
    after: Sequence[Shown] = ()
    """With the rule."""

    @property
    def summary(self) -> str:
        """What is different, in a few words."""
        if not self.applies:
            return f"The rule does not hold on {CALLED[self.placement]}."
        came, went = (
            sum(one.change == change for one in side)
            for side, change in ((self.after, "came"), (self.without, "went"))
        )
        moved = sum(one.change in {"up", "down"} for one in self.after)
        told = [(came, "new"), (went, "gone"), (moved, "moved")]
        found = ", ".join(f"{count} {word}" for count, word in told if count)
        return f"{found}." if found else "Nothing changes here."


def suggested(rule: Rule | None, within: Services) -> Trial:
    """Something to begin with: a user of whom something is known, the most liked item, words of the rule's own."""
    try:
        known = people(within.live.served(), within)
        popular = _most_popular(within)
    except DatabaseError:
        raise
    except RecsysError:
        return Trial()
    named = rule.where.categories[:1] if rule and rule.where else ()
    item, title = popular
    user = known[0].user_id if known else ""
    on = rule.placements[0] if rule and rule.placements else "recommendations"
    return Trial(on, user, item, named[0] if named else title)


def preview(draft: Draft, trial: Trial, number: int | None, within: Services) -> Preview:
    """number: of the kept rule that the draft is to take the place of. Raises DatabaseError."""
    rule, wrong = replace(draft, name=draft.name or "preview").checked()
    if rule is None:
        return Preview(trouble="" if set(wrong) <= {"where", "items"} else "Mend the fields first.")
    try:
        ask = trial.asked(rule, number, within.settings.ranking.max_limit)
        return _preview(previewed(ask, within))
    except DatabaseError:
        raise
    except RecsysError as error:
        said = str(error)
        return Preview(trouble=f"{said[:1].upper()}{said[1:]}.")


def _most_popular(within: Services) -> tuple[str, str]:
    """Id and title; "" where no item is on offer."""
    asked = ListPlacement(name="popular", kind="popular", limit=1)
    said = orjson.loads(fill_placements(PlacementsBody(placements=(asked,)), within).body)
    items = said["placements"][0]["items"]
    return (items[0]["item_id"], items[0]["title"] or "") if items else ("", "")


def _preview(said: Mapping[str, Any]) -> Preview:
    before, after = said["without"]["items"], said["with"]["items"]
    was, now = _ranks(before), _ranks(after)
    return Preview(
        placement=said["placement"],
        applies=said["applies"],
        matches=said["matches"],
        unknown=said["unknown"],
        without=[_shown(place, now, "went", "") for place in before],
        after=[_shown(place, was, "came", _moved(place, was)) for place in after],
    )


def _ranks(places: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {place["item_id"]: place["rank"] for place in places}


def _moved(place: Mapping[str, Any], was: Mapping[str, int]) -> str:
    before, rank = was.get(place["item_id"], place["rank"]), place["rank"]
    return "" if before == rank else "up" if rank < before else "down"


def _shown(place: Mapping[str, Any], elsewhere: Mapping[str, int], alone: str, moved: str) -> Shown:
    """elsewhere: ranks on the other slate. alone: what is said of an item that is not on it."""
    key = place["item_id"]
    other = elsewhere.get(key, 0)
    change = moved if other else alone
    return Shown(key, place["title"] or key, place["rank"], change, other)
