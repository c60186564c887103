"""What tells good new items from bad ones: asked about items that are made new, their events forgotten.

rehearsal -> some items forgotten -> models of the rest -> new items ranked among themselves -> weights
"""

import numpy as np

from recsys.evaluation.exam import Exam
from recsys.evaluation.past import Past, examples
from recsys.identity import Mask
from recsys.ranking.blend import LED_BY_HISTORY, NEW_ITEMS_START, fit_weights

FORGOTTEN = 0.2
"""Share of the known items that are made new."""

ENOUGH = 300
"""With so many questions about items that are new by themselves, none are made so, and no models are fitted for it."""

ASKED = 1_500
"""Questions at the most."""


def learn_new_items(past: Past, rehearsal: Exam) -> dict[str, float]:
    """Source -> weight for new items, among themselves: against known ones, their scale means nothing.

    Empty where nothing is known of new items, or too little could be asked.
    """
    if not past.spaces:
        return {}
    if len(rehearsal.new) < ENOUGH:
        rehearsal = rehearsal.forgetting(_some_known(rehearsal, past))
    asked = [question for question in rehearsal.new if question.query.segment in LED_BY_HISTORY]
    if len(asked) < past.settings.evaluation.min_queries:
        return {}
    recommender = past.recommender(past.fit(rehearsal.known), {})
    return fit_weights(examples(recommender, asked[:ASKED]), NEW_ITEMS_START)


def _some_known(rehearsal: Exam, past: Past) -> Mask:
    """(n,) drawn by chance among the items with known events."""
    known = np.unique(rehearsal.known.item)
    rng = np.random.default_rng(past.settings.evaluation.seed)
    drawn = np.zeros(len(past.items), dtype=bool)
    drawn[rng.choice(known, round(FORGOTTEN * len(known)), replace=False)] = True
    return drawn
