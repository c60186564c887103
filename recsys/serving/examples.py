"""Example requests for /openapi.json. Each one works against the demo's catalogue; a test sends them all."""

from fastapi.openapi.models import Example

Examples = dict[str, Example]


def _example(summary: str, value: object) -> Example:
    return {"summary": summary, "value": value}


RECOMMEND: Examples = {
    "user": _example("A known user", {"user_id": "42", "limit": 5, "explain": True}),
    "session": _example(
        "An anonymous visitor, by what just happened",
        {"events": [{"item_id": "296", "type": "view"}, {"item_id": "50", "type": "like"}]},
    ),
    "basket": _example(
        "What goes with a basket, under conditions",
        {
            "user_id": "42",
            "context_items": ["296", "50"],
            "where": {"categories": ["Drama", "Crime"], "without_categories": ["Horror"]},
            "boosts": [{"where": {"categories": ["Drama"]}, "by": 0.5}],
            "exclude": ["318"],
            "diversity": 0.3,
        },
    ),
    "rerank": _example(
        "A given list in the best order", {"user_id": "42", "candidates": ["296", "50", "318"]}
    ),
}

SEARCH: Examples = {
    "plain": _example("In plain words", {"text": "a film about toys that come alive"}),
    "personal": _example(
        "To a user's taste, in one category",
        {"text": "robbery", "user_id": "42", "where": {"categories": ["Crime"]}, "limit": 5},
    ),
    "items": _example(
        "Like one item, less like another, and about something",
        {
            "items": [{"item_id": "296"}, {"item_id": "50", "weight": -0.5}],
            "text": "gangsters",
            "limit": 5,
        },
    ),
}

PLACEMENTS: Examples = {
    "home": _example(
        "A home page: the first placement chooses first",
        {
            "user_id": "42",
            "placements": [
                {"name": "for you", "kind": "recommendations", "limit": 6, "diversity": 0.3},
                {"name": "trending", "kind": "trending", "limit": 6},
                {"name": "new", "kind": "new", "limit": 6, "where": {"categories": ["Drama"]}},
            ],
        },
    ),
    "item": _example(
        "An item's page, for an anonymous visitor",
        {
            "session_id": "s-81",
            "events": [{"item_id": "296", "type": "view"}],
            "placements": [
                {"name": "similar", "kind": "similar", "item_id": "296", "by": "text"},
                {"name": "more", "kind": "recommendations", "context_items": ["296"]},
                {"name": "popular", "kind": "popular", "limit": 5, "exclude": ["296"]},
            ],
        },
    ),
}

ITEM: Examples = {
    "film": _example(
        "An item",
        {
            "title": "Heat (1995)",
            "description": "A thief and a detective in Los Angeles.",
            "categories": ["Crime", "Drama"],
            "price": 9.99,
            "currency": "EUR",
            "attributes": {"year": 1995, "languages": ["en", "es"]},
            "published_at": "1995-12-15T00:00:00Z",
        },
    )
}

CHANGES: Examples = {
    "hide": _example("Sold out: gone from the very next slate", {"available": False}),
    "edit": _example(
        "Another price, and one attribute less", {"price": 7.5, "attributes": {"year": None}}
    ),
    "show": _example("On sale again", {"available": True}),
}

ITEMS: Examples = {
    "two": _example(
        "Two items",
        [
            {"id": "sku-1", "title": "Teapot", "categories": ["Kitchen"], "price": 24.5},
            {"id": "sku-2", "title": "Tea cosy", "categories": ["Kitchen"]},
        ],
    )
}

EVENTS: Examples = {
    "one": _example("One event, now", {"user_id": "42", "item_id": "296", "type": "view"}),
    "many": _example(
        "Several",
        [
            {"user_id": "42", "item_id": "50", "type": "rating", "value": 4.5},
            {
                "event_id": "order-1001-1",
                "session_id": "s-81",
                "item_id": "318",
                "type": "purchase",
                "time": "2026-01-31T12:00:00Z",
                "context": {"placement": "home", "position": 3},
            },
        ],
    ),
}

RULE: Examples = {
    "boost": _example(
        "More of a category for two weeks",
        {
            "name": "Crime weeks",
            "action": "boost",
            "by": 1.5,
            "where": {"categories": ["Crime"], "price_max": 20},
            "starts_at": "2026-11-01T00:00:00Z",
            "ends_at": "2026-11-15T00:00:00Z",
        },
    )
}

RULES: Examples = RULE | {
    "bury": _example(
        "Less of a brand in recommendations",
        {
            "name": "Overstocked elsewhere",
            "action": "bury",
            "by": 1,
            "where": {"brands": ["Studio 1"]},
            "placements": ["recommendations", "similar"],
        },
    ),
    "pin": _example(
        "One item on top of what is popular",
        {
            "name": "Film of the week",
            "action": "pin",
            "items": ["296"],
            "place": 1,
            "placements": ["popular"],
        },
    ),
    "exclude": _example(
        "Recalled: shown nowhere", {"name": "Recall", "action": "exclude", "items": ["sku-1"]}
    ),
}

PREVIEW: Examples = {
    "user": _example(
        "What a boost does to a user's recommendations",
        {"rule": RULE["boost"]["value"], "user_id": "42", "limit": 5},
    ),
    "item": _example(
        "What a pin does to an item's page",
        {
            "rule": {"name": "With it", "action": "pin", "items": ["50"], "place": 1},
            "item_id": "296",
        },
    ),
    "search": _example(
        "What a boost does to a search",
        {"rule": RULE["boost"]["value"], "text": "robbery", "user_id": "42", "limit": 5},
    ),
    "list": _example(
        "What is popular without a category",
        {
            "rule": {
                "name": "Nothing sad",
                "action": "exclude",
                "where": {"categories": ["Drama"]},
            },
            "kind": "popular",
        },
    ),
}
