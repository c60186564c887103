"""What a request may say and what a reply holds: the contract that /openapi.json shows.

Fields that are not known are refused, so that a typing error never passes silently.
"""

from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from recsys.catalogue.conditions import LONGEST_LIST, Condition, Names
from recsys.catalogue.events import Event
from recsys.catalogue.fields import Id, Model, Moment
from recsys.catalogue.items import Item
from recsys.catalogue.rule import KeptRule, Rule, State
from recsys.catalogue.rule import Placement as RulePlacement
from recsys.embedding.decoding import Crop
from recsys.identity import ItemId
from recsys.ranking.candidates import ANY_NUMBER, ANYTHING, Boost, Quota, Where

T = TypeVar("T")

LARGEST_BULK = 10_000
"""Items, events or candidates in one call."""

DEEPEST = 1_000
"""Items that the pages of a chain show together before it ends."""

LONGEST_CURSOR = 6_000
"""Characters: `DEEPEST` items of the largest catalogue take fewer."""

LONGEST_PICTURE = 15_000_000
"""Characters of base64: a file of 11 MB."""

MOST_PLACEMENTS = 20
"""Of one page."""


Ids = Annotated[tuple[Id, ...], Field(max_length=LONGEST_LIST)]
Limit = Annotated[int, Field(ge=1)]


class BoostBy(Model):
    """Lifts (or buries) what meets a condition."""

    where: Condition
    by: Annotated[float, Field(ge=-100, le=100)]
    """Added to the score, in standard deviations of a source's score; below 0 buries."""

    def rule(self) -> Boost:
        """The boost as ranking knows it."""
        return Boost(Where.of(self.where), self.by)


class AtMost(Model):
    """How many items of one kind a slate may hold."""

    brand: Annotated[int, Field(ge=1)] | None = None
    """At most so many of any one brand."""
    category: Annotated[int, Field(ge=1)] | None = None
    """At most so many in any one category."""


class Ask(Model):
    """What every request for a slate may say."""

    exclude: Ids = ()
    """Items not to show."""
    diversity: Annotated[float, Field(ge=0, le=1)] | None = None
    """0: by score alone; 1: keep likenesses far apart. Left out: `ranking.diversity` of the settings."""
    explain: bool = False
    """Add the parts of every score, and the account of sources and filters."""

    def condition(self) -> Where:
        """What the items must meet."""
        return ANYTHING

    def boosted(self) -> tuple[Boost, ...]:
        """What is lifted or buried."""
        return ()

    def quota(self) -> Quota:
        """How much of one kind there may be."""
        return ANY_NUMBER


class Paged(Ask):
    """What every request for a slate may say that can be gone on with."""

    cursor: Annotated[str, Field(max_length=LONGEST_CURSOR)] | None = None
    """`next` of the page before, to get the page that follows: nothing that an earlier page shows comes again. Say
    all else as before; `limit`, `explain` and `events` may differ."""


class Conditioned(Ask):
    """What a body may say of the items."""

    where: Condition = Condition()
    boosts: Annotated[tuple[BoostBy, ...], Field(max_length=50)] = ()
    at_most: AtMost = AtMost()
    """Keeps a slate from being filled by one brand or category; counts over all pages of a chain."""

    def condition(self) -> Where:
        """What the items must meet."""
        return Where.of(self.where)

    def boosted(self) -> tuple[Boost, ...]:
        """What is lifted or buried."""
        return tuple(boost.rule() for boost in self.boosts)

    def quota(self) -> Quota:
        """How much of one kind there may be."""
        return Quota(self.at_most.brand, self.at_most.category)


class ListParams(Paged):
    """Of a list that is the same for everybody."""

    limit: Limit = 10
    """Items wanted, at most `ranking.max_limit` of the settings (500)."""
    category: Names = ()
    """Only items in this category; repeat it to accept any of several."""

    def condition(self) -> Where:
        """What the items must meet."""
        return Where(categories=self.category) if self.category else ANYTHING


class UserParams(ListParams):
    """Of a user's slate."""

    session_id: Id | None = None
    """Events of this session count as the user's own."""
    hide_seen: bool | None = None
    """Leave out what the viewer saw, put in the cart, bought, judged, ... (`events.seen` of the settings). Left out:
    as people here return to things or not, which the rebuild learned (`ranking.hide_seen`)."""


class SimilarParams(UserParams):
    """Of the items similar to one."""

    user_id: Id | None = None
    """Adapts the slate to this viewer."""
    by: Literal["blend", "behaviour", "text", "image"] = "blend"
    """What makes items similar: everything, what people do, what the texts say, how the pictures look."""


class InlineEvent(Model):
    """An event that counts for this request only; it is not stored."""

    item_id: Id
    type: Id
    value: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None
    time: Moment = Field(default_factory=lambda: datetime.now(UTC))
    """Left out: now."""

    @model_validator(mode="after")
    def _says_how_good(self) -> Self:
        if self.type == "rating" and self.value is None:
            raise ValueError("a rating needs a value")
        return self


class Visit(Model):
    """Who is asking, and what is known of them."""

    user_id: Id | None = None
    session_id: Id | None = None
    events: Annotated[tuple[InlineEvent, ...], Field(max_length=LARGEST_BULK)] = ()
    """What the viewer did, beside what is stored; not stored."""


class RecommendBody(Conditioned, Paged, Visit):
    """A slate for a user, a session, a page or a basket; or a given list in the best order."""

    limit: Limit | None = None
    """Left out: 10, or all of the candidates."""
    context_items: Ids = ()
    """What is on the page or in the basket: it steers the slate and is not in it."""
    candidates: Annotated[tuple[Id, ...], Field(max_length=LARGEST_BULK)] | None = None
    """Put these items, and no others, in the best order."""
    hide_seen: bool | None = None
    """Left out: as the rebuild learned, but false when candidates are given."""


Compared = Literal["blend", "text", "image"]


class SoughtItem(Model):
    """An item that is searched by."""

    item_id: Id
    weight: Annotated[float, Field(ge=-100, le=100)] = 1.0
    """Above 0: like this one; below: less like this one. Text and a picture weigh 1 each."""


Share = Annotated[float, Field(ge=0, le=1)]


class SearchBody(Conditioned, Paged, Visit):
    """A search by words, by a picture, by items, or by any mix of them."""

    text: Annotated[str, Field(max_length=10_000, examples=["a quiet film about chess"])] = ""
    """What is wanted, in plain words."""
    picture: Annotated[str, Field(max_length=LONGEST_PICTURE)] | None = None
    """The file of a picture or a video, in base64. It is not stored."""
    crop: tuple[Share, Share, Share, Share] | None = None
    """Only this part of the picture: left, top, width and height, as shares of its own width and height."""
    items: Annotated[tuple[SoughtItem, ...], Field(max_length=LONGEST_LIST)] = ()
    """Like these, less like those. They are not shown."""
    by: Compared = "blend"
    """What is compared: everything that can be, what the texts say, how the pictures look. Words are compared with
    pictures where the image encoder reads both (the CLIP family)."""
    limit: Limit = 10
    hide_seen: bool = False
    """Leave out what the viewer saw, put in the cart, bought, judged, ..."""

    @property
    def shown(self) -> bytes | None:
        """The picture's file."""
        return None if self.picture is None else b64decode(self.picture)

    @field_validator("picture")
    @classmethod
    def _is_base64(cls, given: str | None) -> str | None:
        try:
            b64decode(given or "", validate=True)
        except ValueError:
            raise ValueError(
                "is not base64: send the file's bytes in base64, without a data: prefix"
            ) from None
        return given

    @field_validator("crop")
    @classmethod
    def _lies_within(cls, crop: Crop | None) -> Crop | None:
        if crop is not None:
            left, top, width, height = crop
            if not (width and height and left + width <= 1 + 1e-6 and top + height <= 1 + 1e-6):
                raise ValueError(
                    "left, top, width and height are shares of the picture's own: "
                    "left + width and top + height are at most 1, and there must be something between"
                )
        return crop

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.text.strip() or self.picture or self.items):
            raise ValueError("nothing is searched for: give text, a picture or items")
        if self.crop is not None and not self.picture:
            raise ValueError("crop is a part of a picture: give the picture")
        return self


class _Placement(Conditioned):
    name: Id
    """Names the placement in the reply."""
    limit: Limit = 10


class RecommendPlacement(_Placement):
    """What `POST /v1/recommendations` would say to this viewer."""

    kind: Literal["recommendations"]
    context_items: Ids = ()
    """What is on the page or in the basket: it steers the slate and is not in it."""
    hide_seen: bool | None = None
    """Left out: as the rebuild learned."""


class SimilarPlacement(_Placement):
    """What goes with an item, to this viewer's taste."""

    kind: Literal["similar"]
    item_id: Id
    by: Literal["blend", "behaviour", "text", "image"] = "blend"
    """What makes items similar: everything, what people do, what the texts say, how the pictures look."""
    hide_seen: bool | None = None
    """Left out: as the rebuild learned."""


ListKind = Literal["popular", "trending", "new"]


class ListPlacement(_Placement):
    """A list that is the same for everybody, but for what earlier placements show."""

    kind: ListKind


Placement = Annotated[
    RecommendPlacement | SimilarPlacement | ListPlacement, Field(discriminator="kind")
]


class PlacementsBody(Visit):
    """The viewer, and the placements of a page."""

    placements: Annotated[tuple[Placement, ...], Field(min_length=1, max_length=MOST_PLACEMENTS)]
    """The first one chooses first: what it shows, no later one does."""

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        names = [placement.name for placement in self.placements]
        if twice := next((name for n, name in enumerate(names) if name in names[:n]), None):
            raise ValueError(f"two placements are named {twice!r}: give each a name of its own")
        return self


class Place(Model):
    """One place of a slate."""

    item_id: str
    rank: int
    """From 1, and on over the pages of a chain."""
    score: float
    """Comparable within this slate only; 0 for an item that a rule has put into its place."""
    reason: str
    title: str
    """The id of an item without a title."""
    parts: dict[str, float] | None = None
    """With explain: source -> its part; they add up to the score."""


class Account(Model):
    """How a slate came about."""

    retrieved: dict[str, int]
    """Source -> items of it that were looked at."""
    removed: dict[str, int]
    """Filter -> items of those that it took out."""
    failed: list[str]
    """Sources that failed; the slate was made without them."""
    widened: dict[str, int]
    """Where more items were taken from when the sources found too few."""


class RegionReply(Model):
    """A thing in the picture."""

    label: str
    score: float
    """How sure the detection model is, 0 to 1."""
    crop: tuple[float, float, float, float]
    """To be sent back as `crop`: then it alone is searched by."""


class SlateReply(Model):
    """Items, best first."""

    snapshot: str
    """What was built, and is served now."""
    recommendation_id: str
    """Send it back as `context.recommendation_id` of the events that follow."""
    items: list[Place]
    next: str | None
    """Send it back as `cursor` to get the page that follows; null where nothing follows, or 1,000 items were shown."""
    unknown: list[str] | None = None
    """Given candidates and context items that are not in the snapshot."""
    account: Account | None = None
    """With explain."""
    regions: list[RegionReply] | None = None
    """Of a search by a whole picture, where `embedding.detection_model` is set: what else may be meant."""


class EventIn(Event):
    """Something a user or an anonymous session did with an item."""

    time: Moment = Field(default_factory=lambda: datetime.now(UTC))
    """Left out: now. An event sent again without its time or an event_id counts again."""


class Problem(Model):
    """What is wrong with one field."""

    field: str
    message: str


class Failure(Model):
    """Why there is no answer."""

    type: str
    """For programs: unknown_item, invalid_request, not_found, no_snapshot, ..."""
    message: str
    """For people: what was found, what was expected, what to do."""
    fields: list[Problem] | None = None
    id: str | None = None
    """Of an internal error: look for it in the log."""


class ErrorReply(Model):
    """The one shape of everything that went wrong."""

    error: Failure


class Filled(Model):
    """One placement: its items, best first; none where it could not be filled."""

    name: str
    recommendation_id: str | None = None
    """As of any slate."""
    items: list[Place]
    unknown: list[str] | None = None
    """Context items that are not in the snapshot."""
    account: Account | None = None
    """With explain."""
    error: Failure | None = None
    """Why it could not be filled; the others are."""


class PlacementsReply(Model):
    """The placements in the order asked for; no item is in two of them."""

    snapshot: str
    """What was built, and is served now."""
    placements: list[Filled]


class RuleReply(KeptRule):
    """A rule, and what it comes to."""

    state: State
    """Whether it holds now."""
    matches: int | None
    """Items of the snapshot that it is about, on offer or not; null while there is no snapshot."""
    unknown: list[str]
    """Those of its items that are not in the catalogue."""


class RuleList(Model):
    """All rules, the oldest first."""

    rules: list[RuleReply]


class PreviewBody(Model):
    """A rule that is not kept yet, and what to try it on: one of a user, an item, words, a list, or nothing."""

    rule: Rule
    """Its dates do not count."""
    in_place_of: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    """The id of a kept rule that it is to replace."""
    user_id: Id | None = None
    """For this viewer; with an item or words, to the viewer's taste."""
    item_id: Id | None = None
    """On the page of this item: what is similar to it."""
    text: Annotated[str, Field(max_length=10_000)] = ""
    """In a search for these words."""
    kind: ListKind | None = None
    """In a list that is the same for everybody."""
    limit: Limit = 10

    @property
    def placement(self) -> RulePlacement:
        """What kind of slate it is tried on."""
        if self.text.strip():
            return "search"
        return "similar" if self.item_id is not None else self.kind or "recommendations"

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        asked = {"item_id": self.item_id, "text": self.text.strip(), "kind": self.kind}
        given = [name for name, value in asked.items() if value]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are different slates: give one of them")
        return self


class Previewed(Model):
    """One of the two slates."""

    items: list[Place]
    account: Account


class Moved(Model):
    """An item of both slates at another rank."""

    item_id: str
    before: Annotated[int, Field(alias="from")]
    after: Annotated[int, Field(alias="to")]


class PreviewReply(Model):
    """The slate without the rule and with it, and what is different."""

    snapshot: str
    placement: RulePlacement
    applies: bool
    """Whether the rule is about such slates; if not, they are the same."""
    matches: int
    """As of any rule."""
    unknown: list[str]
    """As of any rule."""
    without: Previewed
    with_: Annotated[Previewed, Field(alias="with")]
    came: list[str]
    """Items that only the slate with the rule shows."""
    went: list[str]
    """Items that only the slate without it shows."""
    moved: list[Moved]


class ItemCounts(Model):
    """What became of the items."""

    added: int
    updated: int
    unchanged: int


class EventCounts(Model):
    """What became of the events."""

    added: int
    duplicates: int


class FoundItems(Model):
    """Items by id."""

    items: list[Item]
    unknown: list[str]


class EventOut(Model):
    """A stored event."""

    event_id: str
    user_id: str | None
    session_id: str | None
    item_id: ItemId
    type: str
    value: float | None
    time: datetime
    context: dict[str, Any] | None


class EventList(Model):
    """A user's events, newest first."""

    events: list[EventOut]


class Ready(Model):
    """What is being served."""

    status: Literal["ready"]
    snapshot: str
    built_at: datetime


class Alive(Model):
    """The process answers."""

    status: Literal["alive"]


def _fields(change: Callable[[Any], Any]) -> dict[str, Any]:
    fields = {name: field for name, field in Item.model_fields.items() if name != "id"}
    return {name: change(field) for name, field in fields.items()}


ItemBody = create_model(
    "ItemBody",
    __base__=Model,
    __doc__="An item without its id, which the address holds. What is left out is unknown.",
    **_fields(lambda field: (field.rebuild_annotation(), field)),
)

ItemChanges = create_model(
    "ItemChanges",
    __base__=Model,
    __doc__="Fields to change; null takes any but `available`, or one attribute, away (RFC 7396).",
    **_fields(lambda field: (field.rebuild_annotation() | None, None))
    | {"available": (bool, None)},
)


class _OneOrMany:
    """Shows a list that may be a single object as what it is."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        many = handler(schema)
        return {"anyOf": [many["items"], many]}


OneOrMany = Annotated[
    list[T],
    Field(max_length=LARGEST_BULK),
    BeforeValidator(lambda given: [given] if isinstance(given, dict) else given),
    _OneOrMany(),
]
