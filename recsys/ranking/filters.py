"""What must not be shown: availability, exclusions, seen items, the caller's condition.

Filters run in the order given by `standard_filters`; an item is counted at the first one that refuses it.
"""

from datetime import datetime

import numpy as np

from recsys.catalogue.item_table import ItemTable
from recsys.identity import Mask, Ordinals
from recsys.ranking.candidates import Filter, Query, Where


def standard_filters(items: ItemTable) -> tuple[Filter, ...]:
    """The filters of every request, the cheapest and most final first."""
    return (
        Filter("unavailable", lambda query, found: _offered(items, query, found)),
        Filter(
            "excluded",
            lambda query, found: ~np.isin(found, np.concatenate([query.exclude, query.context])),
        ),
        Filter("seen", lambda query, found: ~np.isin(found, query.seen)),
        Filter("where", lambda query, found: matches(items, query.where, found)),
    )


def _offered(items: ItemTable, query: Query, found: Ordinals) -> Mask:
    """On sale, and not withdrawn since the build."""
    return on_sale(items, query.at, found) & ~np.isin(found, query.withdrawn)


def on_sale(items: ItemTable, at: datetime, found: Ordinals) -> Mask:
    """(len(found),) True for what is available, published and not expired at this moment."""
    now = int(at.timestamp() * 1e6)
    shown = (items.shown_from[found] <= now) & (items.expires_at[found] > now)
    return items.available[found] & shown


def matches(items: ItemTable, where: Where, found: Ordinals) -> Mask:
    """(len(found),) True where every given part of the condition holds."""
    keep = np.ones(len(found), dtype=bool)
    if not where:
        return keep
    if where.categories:
        keep &= _in_any(found, [items.with_category(name) for name in where.categories])
    if where.without_categories:
        keep &= ~_in_any(found, [items.with_category(name) for name in where.without_categories])
    if where.brands:
        keep &= np.isin(items.brand_codes[found], items.brands.ordinals(where.brands)) & (
            items.brand_codes[found] >= 0
        )
    if where.without_brands:
        banned = items.brands.ordinals(where.without_brands)
        keep &= ~np.isin(items.brand_codes[found], banned[banned >= 0])
    for key, values in where.attributes:
        keep &= _in_any(found, [items.with_attribute(key, value) for value in values])
    return keep & _price_between(items, where, found)


def _in_any(found: Ordinals, postings: list[Ordinals]) -> Mask:
    return np.isin(found, np.concatenate(postings))


def _price_between(items: ItemTable, where: Where, found: Ordinals) -> Mask:
    """An item without a price fails any bound: NaN compares false."""
    keep = np.ones(len(found), dtype=bool)
    if where.price_min is not None:
        keep &= items.price[found] >= where.price_min
    if where.price_max is not None:
        keep &= items.price[found] <= where.price_max
    return keep
