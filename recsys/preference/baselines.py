"""Simple recommenders to beat: each scores every item for a history, and none of them is blended."""

from collections.abc import Callable
from functools import partial

import numpy as np

from recsys.catalogue.event_log import EventLog
from recsys.config import PreferenceSettings, Settings
from recsys.identity import Floats, Ordinals
from recsys.preference.cooccurrence import fit_cooccurrence
from recsys.preference.interactions import interactions
from recsys.preference.linear import fit_linear
from recsys.preference.models import Preference
from recsys.preference.sparse import score

Scorer = Callable[[Ordinals, Floats], Floats]
"""(history items, their signed weights) -> (n,) scores, higher is better; NaN where there is nothing to say."""


def fit_baselines(
    log: EventLog, fitted: Preference, content: Floats | None, settings: Settings
) -> dict[str, Scorer]:
    """popularity, item-kNN, ALS, EASE and content: those that the data and the settings allow.

    fitted: the models of the same log. content: (n, d) whitened unit rows, zero where an item has none.
    """
    own = settings.preference
    n_items = len(fitted.support)
    X = interactions(log, n_items, settings.events, own.longest_history).matrix
    ease = fit_linear(X, {}, own.model_copy(update={"linear_sharpness": 1.0}))
    scorers: dict[str, Scorer] = {
        "popularity": lambda items, weights: fitted.popularity.popular,
        "item-kNN": partial(score, fit_cooccurrence(X, _cosine(own))),
    }
    if fitted.factors is not None:
        scorers["ALS"] = fitted.factors.score
    if ease is not None:
        scorers["EASE"] = partial(score, ease)
    if content is not None:
        scorers["content"] = partial(nearest_to_history, content)
    return scorers


def nearest_to_history(rows: Floats, items: Ordinals, weights: Floats) -> Floats:
    """(n,) the largest similarity to anything liked in the history; NaN without content on either side."""
    liked = rows[items[weights > 0]]
    liked = liked[liked.any(axis=1)]
    if not len(liked):
        return np.full(len(rows), np.nan, dtype=np.float32)
    closest = (rows @ liked.T).max(axis=1)
    return np.where(rows.any(axis=1), closest, np.nan).astype(np.float32)


def _cosine(settings: PreferenceSettings) -> PreferenceSettings:
    """Cosine item-kNN as a case of co-occurrence."""
    return settings.model_copy(
        update={
            "cooccurrence_user_exponent": 0.0,
            "cooccurrence_from_exponent": 0.5,
            "cooccurrence_to_exponent": 0.5,
            "cooccurrence_sharpness": 1.0,
            "cooccurrence_neighbours": 100,
        }
    )
