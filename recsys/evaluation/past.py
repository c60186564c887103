"""A world as it was known at some moment: what would have been fitted then, and what it would have answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recsys.catalogue.event_log import EventLog
from recsys.catalogue.items import ItemTable
from recsys.config import EventSettings, PreferenceSettings, Settings
from recsys.evaluation.exam import Question
from recsys.identity import Floats
from recsys.index.space import Space
from recsys.preference.categories import categories_of
from recsys.preference.cold import ContentPrior
from recsys.preference.models import Preference, fit_preference
from recsys.ranking.blend import Example
from recsys.ranking.block import Block, alike
from recsys.ranking.candidates import Candidates
from recsys.ranking.recommender import Recommender
from recsys.snapshot import Artefacts
from recsys.threads import one_blas_thread

MEASURED_SETTINGS = {"events", "embedding", "index", "preference", "ranking", "evaluation"}
"""Sections of the settings that figures depend on; no other is copied, least of all the database's."""

Weights = dict[str, dict[str, float]]
"""Segment -> source -> weight."""


@dataclass(frozen=True)
class Found:
    """Settings found on validation."""

    preference: PreferenceSettings
    events: EventSettings


@dataclass(frozen=True)
class Past:
    """A world of which models know only a part of the events."""

    items: ItemTable
    spaces: Mapping[str, Space]
    priors: Mapping[str, ContentPrior]
    settings: Settings

    @property
    def content(self) -> Floats | None:
        """(n, d) unit vectors of the text, else of the images; zero where an item has none."""
        space = self.spaces.get("text") or self.spaces.get("image")
        return None if space is None else space.rows

    def fit(self, known: EventLog) -> Preference:
        """The models that a rebuild would have made, had these been all events."""
        return fit_preference(
            known, len(self.items), self.priors, self.settings, categories=categories_of(self.items)
        )

    def recommender(
        self, preference: Preference, weights: Weights, ranker: str | None = None
    ) -> Recommender:
        """What would have been served. ranker: LightGBM's text."""
        artefacts = Artefacts(self.items, self.spaces, preference, weights, ranker=ranker)
        return Recommender.of(artefacts, self.settings.ranking)

    def having(self, found: Found) -> "Past":
        """The same with other settings of the models and of what events weigh."""
        update = {"preference": found.preference, "events": found.events}
        return replace(self, settings=self.settings.model_copy(update=update))

    @property
    def found(self) -> Found:
        """The settings in force."""
        return Found(self.settings.preference, self.settings.events)


def examples(recommender: Recommender, asked: Sequence[Question]) -> list[Example]:
    """What each source says to each question, and what was then liked."""
    found: dict[int, Candidates] = {}
    with one_blas_thread():  # the products are too small to share
        for places in alike([question.query for question in asked]):
            block = Block([asked[place].query for place in places])
            found |= zip(places, recommender.candidates(block).apart(), strict=True)
    return [
        Example(
            found[place],
            np.isin(found[place].items, question.targets),
            len(question.targets),
        )
        for place, question in enumerate(asked)
    ]
