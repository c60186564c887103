"""Single models that a blend has to beat: each scores every item for a history, and none of them is blended."""

from collections.abc import Callable
from functools import partial

import numpy as np

from recsys.catalogue.event_log import EventLog
from recsys.config import PreferenceSettings, Settings
from recsys.identity import Floats, Ordinals
from recsys.preference.cooccurrence import fit_cooccurrence
from recsys.preference.interactions import faded, interactions
from recsys.preference.linear import fit_linear
from recsys.preference.models import Preference
from recsys.preference.sparse import Sparse, score

Scorer = Callable[[Ordinals, Floats], Floats]
"""(history items, their signed weights) -> (n,) scores, higher is better; NaN where there is nothing to say."""


CALLED = {
    "cooccurrence": "co-occurrence",
    "transitions": "transitions",
    "linear": "linear model",
}
"""Model -> its row in a table."""


def fit_baselines(
    log: EventLog, fitted: Preference, content: Floats | None, settings: Settings
) -> dict[str, Scorer]:
    """The engine's own models, each alone, and those of textbooks: as far as the data and the settings allow.

    fitted: the models of the same log. content: (n, d) whitened unit rows, zero where an item has none.
    """
    return _own(fitted) | _of_textbooks(log, fitted, content, settings)


def _own(fitted: Preference) -> dict[str, Scorer]:
    """Models of taste as they are served: a taste fades in each of them as was found best."""
    scorers = {
        CALLED[name]: _fading(_sums_of(W), fades) for name, (W, fades) in fitted.rows.items()
    }
    if fitted.factors is not None:
        scorers["ALS"] = _fading(fitted.factors.score, fitted.settings.factors_fading)
    return scorers


def _of_textbooks(
    log: EventLog, fitted: Preference, content: Floats | None, settings: Settings
) -> dict[str, Scorer]:
    own, n_items = settings.preference, len(fitted.support)
    X = interactions(log, n_items, settings.events, own.longest_history).matrix
    scorers: dict[str, Scorer] = {"item-kNN": _sums_of(fit_cooccurrence(X, _cosine(own)))}
    ease = fit_linear(X, {}, own.model_copy(update={"linear_sharpness": 1.0}))
    if ease is not None:
        scorers["EASE"] = _sums_of(ease)
    if content is not None:
        scorers["content"] = partial(nearest_to_history, content)
    return scorers | {"popularity": lambda items, weights: fitted.popularity.popular}


def _sums_of(W: Sparse) -> Scorer:
    return partial(score, W)


def _fading(scorer: Scorer, fading: float) -> Scorer:
    """The same when every like weighs less for each newer one."""
    return lambda items, weights: scorer(items, faded(weights, fading))


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
