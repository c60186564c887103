"""One source of the blend by itself: what it finds, what it thinks, and why."""

from dataclasses import dataclass

import numpy as np

from recsys.facts import PLACES, SOURCES
from recsys.identity import NOTHING, Floats, Mask, Ordinals
from recsys.ranking import kernels
from recsys.ranking.block import NO_SEARCH, Block, Lists
from recsys.ranking.filters import nothing_forbidden
from recsys.ranking.knowledge import Knowledge, held
from recsys.ranking.reasons import DEEDS


@dataclass(frozen=True, eq=False)
class Alone:
    """A source that is asked about a block."""

    source: str
    knowledge: Knowledge
    block: Block

    def best(self, limit: int) -> Lists:
        """Up to `limit` distinct items for each query, best first, without what is not on offer."""
        return self._find(limit, None)[0]

    def scores(self, items: Lists) -> Floats:
        """(m,) higher is better; NaN where it cannot judge."""
        _, said, silent = self._find(0, items)
        parts = (held(self.knowledge), self.block.asked, items.starts, items.items, said, silent)
        scores: Floats = kernels.judge(*parts, self._nobody_else, self._mask)[0]
        return np.asarray(scores[PLACES[self.source]])

    def because(self, items: Lists) -> Ordinals:
        """(m,) the item among its query's seeds that speaks most for each; `ABSENT` where none does."""
        _, said, _ = self._find(0, items)
        parts = (held(self.knowledge), self.block.asked, items.starts, items.items, said)
        loud = np.ones((1, len(items.items)), dtype=np.float32)
        place, no = np.array([PLACES[self.source]]), np.zeros(1, dtype=bool)
        phrases = np.zeros((2, 1 + len(DEEDS)), dtype=np.int64)
        return kernels.explain(*parts, loud, place, no, self.block.deeds, phrases)[1]

    @property
    def _mask(self) -> Mask:
        return np.array([[name == self.source for name in SOURCES]])

    @property
    def _nobody_else(self) -> Ordinals:
        return np.zeros(len(self.block), dtype=np.int64)

    def _find(self, limit: int, given: Lists | None) -> tuple[Lists, Floats, Mask]:
        free = nothing_forbidden(self.block)
        named = self.block.first.sources is not None
        lists = Lists.of([NOTHING] * len(self.block)) if given is None else given
        starts, items, said, silent, _, _ = kernels.find(
            held(self.knowledge),
            self.block.asked,
            free,
            self._nobody_else,
            self._mask,
            self._mask & (given is None),
            named,
            limit,
            limit,
            lists.starts,
            lists.items,
            np.full(len(self.block), given is not None),
            NO_SEARCH.starts,
            NO_SEARCH.items,
        )
        return Lists(starts, items), said, silent
