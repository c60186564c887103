"""What tells good new items from bad ones: asked about items that are made new, their events forgotten.

rehearsal -> some items forgotten -> models of the rest -> new items ranked among themselves -> weights
"""

from dataclasses import replace

import numpy as np

from recsys.evaluation.exam import Exam
from recsys.evaluation.past import Past, examples
from recsys.identity import Mask
from recsys.preference.models import Preference
from recsys.ranking.blend import LED_BY_HISTORY, NEW_ITEMS_START, fit_weights

FORGOTTEN = 0.2
"""Share of the known items that are made new."""

ENOUGH = 300
"""With so many questions about items that are new by themselves, none are made so, and no models are fitted for it."""

ASKED = 1_500
"""Questions at the most."""


def learn_new_items(past: Past, rehearsal: Exam, fitted: Preference) -> dict[str, float]:
    """Source -> weight for new items, among themselves: against known ones, their scale means nothing.

    fitted: the models of what the rehearsal knows. Empty where nothing is known of new items, or too little
    could be asked.
    """
    if not past.spaces:
        return {}
    if len(rehearsal.new) < ENOUGH:
        rehearsal = rehearsal.forgetting(_some_known(rehearsal, past))
        fitted = _quickly(past).fit(rehearsal.known)
    asked = [question for question in rehearsal.new if question.query.segment in LED_BY_HISTORY]
    if len(asked) < past.settings.evaluation.min_queries:
        return {}
    recommender = past.recommender(fitted, {})
    return fit_weights(examples(recommender, asked[:ASKED]), NEW_ITEMS_START)


def _quickly(past: Past) -> Past:
    """Without the models that take long to fit and were given no weight for new items."""
    own = past.settings.preference.model_copy(update={"linear_memory_gb": 0.0, "factors": 0})
    return past.having(replace(past.found, preference=own))


def _some_known(rehearsal: Exam, past: Past) -> Mask:
    """(n,) drawn by chance among the items with known events."""
    known = np.unique(rehearsal.known.item)
    rng = np.random.default_rng(past.settings.evaluation.seed)
    drawn = np.zeros(len(past.items), dtype=bool)
    drawn[rng.choice(known, round(FORGOTTEN * len(known)), replace=False)] = True
    return drawn
