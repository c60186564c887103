"""What is embedded of an item: its text, and where its pictures lie."""

from collections.abc import Sequence

from recsys.catalogue.item_table import ItemTable
from recsys.embedding.text import item_text

Embeddable = str | tuple[str, ...] | None
"""A text, or the locations of pictures; None or () where there is nothing."""


def contents(items: ItemTable, text_fields: Sequence[str]) -> dict[str, Sequence[Embeddable]]:
    """Kind of content ("text", "image") -> that of each item. text_fields: as `embedding.text_fields`."""
    columns = dict.fromkeys(name.partition(".")[0] for name in text_fields)
    rows = items.data.select(list(columns)).to_pylist()
    images = items.data["images"].to_pylist()
    return {
        "text": [item_text(row, text_fields) for row in rows],
        "image": [tuple(locations or ()) for locations in images],
    }
