"""A rule of a merchandiser: which items are boosted, buried, pinned or excluded, on which slates, and how long.

It holds from its start to its end without anybody doing anything, and as long as it is kept where it has none.
"""

from datetime import datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from recsys.catalogue.conditions import LONGEST_LIST, Condition
from recsys.catalogue.fields import Id, Model, Moment, distinct, storable_json

LAST_PLACE = 1_000
"""Of a slate, that an item may be pinned to."""

Action = Literal["boost", "bury", "pin", "exclude"]

Placement = Literal["recommendations", "similar", "search", "popular", "trending", "new"]
"""Kinds of slates."""

PLACEMENTS: tuple[Placement, ...] = get_args(Placement)

State = Literal["scheduled", "in force", "ended"]


def _storable(where: Condition | None) -> Condition | None:
    if where is not None:
        storable_json(where.model_dump(mode="json"))
    return where


class Rule(Model):
    """What a merchandiser says of some items: of those named in `items`, or of all for which `where` holds."""

    name: Id
    """For people."""
    action: Action
    """boost, bury: adds to the score, or takes from it. pin: shown at a place. exclude: not shown."""
    items: Annotated[tuple[Id, ...], Field(max_length=LONGEST_LIST), AfterValidator(distinct)] = ()
    """Items by id; one, where it is pinned. Excluded items take their near-duplicates with them."""
    where: Annotated[Condition | None, AfterValidator(_storable)] = None
    """Items by what they are, also such as come later. Not for pins."""
    by: Annotated[float, Field(gt=0, le=100)] | None = None
    """Of a boost and a bury: how much, in standard deviations of a source's score."""
    place: Annotated[int, Field(ge=1, le=LAST_PLACE)] | None = None
    """Of a pin: from 1, and on over the pages of a chain. Where several rules want one, it goes to the oldest of them,
    and the others to the next that are free."""
    placements: Annotated[tuple[Placement, ...], AfterValidator(distinct)] = ()
    """The slates on which it holds. None: on all, a pin on all but searches."""
    starts_at: Moment | None = None
    """None: it holds at once."""
    ends_at: Moment | None = None
    """The first moment at which it holds no more; None: it has no end."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.where is not None and self.where == Condition():
            raise ValueError(
                "where: it holds for every item: name a category, a brand, a price, ..."
            )
        if bool(self.items) == (self.where is not None):
            found = "both" if self.items else "neither"
            raise ValueError(
                f"give items or where, which of them the rule is about (found {found})"
            )
        scored, pins = self.action in {"boost", "bury"}, self.action == "pin"
        if scored != (self.by is not None):
            only = "only a boost or a bury takes it"
            raise ValueError(f"by: {f'a {self.action} needs it, above 0' if scored else only}")
        if pins != (self.place is not None):
            only = "only a pin takes it"
            raise ValueError(f"place: {'a pin needs it, from 1' if pins else only}")
        if pins and len(self.items) != 1:
            raise ValueError(
                f"items: a pin is about one item by its id (found {len(self.items)}): "
                "write a rule for each"
            )
        if self.starts_at and self.ends_at and self.starts_at >= self.ends_at:
            raise ValueError(f"ends_at {self.ends_at} is not after starts_at {self.starts_at}")
        return self

    def state_at(self, now: datetime) -> State:
        """Whether it holds at this moment."""
        if self.ends_at is not None and self.ends_at <= now:
            return "ended"
        return "scheduled" if self.starts_at is not None and self.starts_at > now else "in force"

    def holds_on(self, placement: Placement) -> bool:
        """Whether it is about such slates."""
        everywhere = not self.placements and (self.action != "pin" or placement != "search")
        return everywhere or placement in self.placements


class KeptRule(Rule):
    """A rule in the database."""

    id: int
    """Counts up: the older of two rules has the lower one."""
    created_at: datetime
    updated_at: datetime
