"""Keep near-duplicates apart: maximal marginal relevance (Carbonell & Goldstein 1998) over item vectors."""

import numpy as np

from recsys.identity import Floats, Ordinals


def diversify(
    scores: Floats, vectors: Floats, limit: int, strength: float
) -> tuple[Ordinals, Floats]:
    """Choose `limit` of n candidates one by one, each time the best after its penalty.

    `scores` (n,) sorted best first, `vectors` (n, dim) unit rows (zero: no vector, no penalty). The penalty
    is strength * (best score - worst score) * largest cosine to what was chosen before, never negative.
    Returns the chosen positions, and their penalties (<= 0). A candidate's value only falls as others are
    chosen, so score + penalty never rises along the slate.
    """
    scale = np.float32(strength * (scores[0] - scores[-1])) if len(scores) else np.float32(0)
    nearest = np.zeros(len(scores), dtype=np.float32)
    open_ = np.ones(len(scores), dtype=bool)
    chosen, penalties = [], []
    for _ in range(min(limit, len(scores))):
        values = np.where(open_, scores - scale * nearest, -np.inf)
        pick = int(values.argmax())
        chosen.append(pick)
        penalties.append(-scale * nearest[pick])
        open_[pick] = False
        np.maximum(nearest, vectors @ vectors[pick], out=nearest)
    return np.array(chosen, dtype=np.int64), np.array(penalties, dtype=np.float32)
