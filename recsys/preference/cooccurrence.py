"""Normalised co-occurrence (NCO): items liked by the same people, corrected for how much everybody likes.

    W = (diag(p)^-a  X' diag(L)^-w X  diag(p)^-b)^s,  entry by entry, zero diagonal

X: people x items, p: the sum of an item's likes, L: of a person's; a, b and w are the exponents of the
settings, s is the sharpness (as in Turbo-CF, Park et al. 2024). With s = 1, cosine item-kNN (w 0, a = b = .5),
P3alpha (w 1, a 1, b 0) and RP3beta (w 1, a 1, b free) are special cases.
"""

import numpy as np

from recsys.config import PreferenceSettings
from recsys.preference.pruning import strongest_product
from recsys.preference.sparse import Sparse, power, scaled, sharpened


def fit_cooccurrence(X: Sparse, settings: PreferenceSettings) -> Sparse:
    """(n, n) weights, the row is the item come from. Cost: the sum of the squared history lengths."""
    likes = np.asarray(X.sum(axis=0), dtype=np.float64)
    length = np.asarray(X.sum(axis=1), dtype=np.float64)
    per_person = power(length, -settings.cooccurrence_user_exponent)
    come_from = scaled(X, per_person, power(likes, -settings.cooccurrence_from_exponent)).T.tocsr()
    go_to = scaled(X, np.ones_like(length), power(likes, -settings.cooccurrence_to_exponent))
    W = strongest_product(come_from, go_to, settings.cooccurrence_neighbours, hollow=True)
    return sharpened(W, settings.cooccurrence_sharpness)
