"""The categories of a catalogue's items, as models of taste use them."""

import numpy as np

from recsys.catalogue.item_table import ItemTable
from recsys.preference.sparse import Sparse, assemble


def categories_of(items: ItemTable) -> Sparse:
    """(n, categories) how much an item is in each: a row adds up to 1, or is empty. At least one column."""
    rows, codes, count = items.category_codes
    counts = np.bincount(rows, minlength=len(items))
    ends = np.concatenate([[0], np.cumsum(counts)])
    return assemble(1 / counts[rows], codes, ends, (len(items), max(1, count)))
