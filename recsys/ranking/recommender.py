"""The one place where the stages are joined: a query in, an explained slate out."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from recsys.catalogue.item_table import ItemTable
from recsys.config import EventSettings, RankingSettings
from recsys.identity import NOTHING, Floats, Mask, Ordinals
from recsys.index.space import Space
from recsys.preference.interactions import DAY
from recsys.preference.sparse import Sparse
from recsys.ranking.blend import LED_BY_HISTORY, NEW_ITEMS, STARTING_WEIGHTS, Weights, blend
from recsys.ranking.candidates import (
    CONTEXT,
    Candidates,
    Filter,
    Opinion,
    Query,
    Slate,
    Source,
    Suggestion,
)
from recsys.ranking.diversity import diversify
from recsys.ranking.features import Features
from recsys.ranking.filters import matches, standard_filters
from recsys.ranking.ranker import RANKER, Lift, Ranker
from recsys.ranking.sources import (
    AgainSource,
    FactorSource,
    RowSource,
    SpaceSource,
    TasteSource,
    newest,
    standing,
    trending,
)
from recsys.snapshot import Artefacts

log = logging.getLogger(__name__)

FALLBACK = ("popular", "trending", "new")
"""Where more items come from, in this order, when the sources cannot fill a slate; then the whole catalogue."""

NEW_HALF_LIFE_DAYS = 14.0
"""A new item's newness halves in this time."""

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

_DONE = {
    "purchase": "bought",
    "view": "viewed",
    "click": "clicked",
    "like": "liked",
    "rating": "liked",
    "add_to_cart": "put {} in the cart",
}
_STANDING_REASONS = {
    "popular": "popular right now",
    "trending": "trending right now",
    "new": "a new arrival",
    "factors": "matches your taste",
    "text_taste": "matches your taste",
    "image_taste": "matches your taste",
    "text": "matches your search",
    "boost": "promoted",
}
_PAGE_REASONS = {"text": "reads like *{}*", "image": "looks like *{}*"}


@dataclass(frozen=True)
class Recommender:
    """Answers queries from one snapshot. Immutable and thread-safe: a new snapshot is a new recommender."""

    items: ItemTable
    sources: tuple[Source, ...]
    filters: tuple[Filter, ...]
    weights: Mapping[str, Weights]
    """Segment -> weights of the blend."""
    own: Floats
    """(n,) what each item's own behaviour counts against what is lent to it: 0 for a new item, towards 1."""
    spaces: Mapping[str, Space]
    settings: RankingSettings
    hides_seen: bool
    """Whether what a viewer has seen is to be left out, where a request does not say."""
    events: EventSettings
    """What events weigh in a viewer's history, where the settings do not say."""
    ranker: Ranker | None = None
    """Adds to the blend where a history leads; None: the blend is all there is."""

    @classmethod
    def of(cls, artefacts: Artefacts, settings: RankingSettings) -> "Recommender":
        """Join what a build made."""
        return cls(
            artefacts.items,
            _sources(artefacts),
            standard_filters(artefacts.items),
            STARTING_WEIGHTS | dict(artefacts.weights),
            artefacts.preference.own,
            artefacts.spaces,
            settings,
            artefacts.hides_seen,
            artefacts.preference.events,
            _ranker(artefacts),
        )

    def recommend(self, query: Query) -> Slate:
        """Always `query.limit` items when the catalogue has that many to show (a re-rank: of those given)."""
        failed: list[str] = []
        ranker = self._ranker_for(query)
        heard = self._speakers(query).union(ranker.sources if ranker else ())
        opinions = self._consider(query, failed, heard)
        retrieved = self._retrieve(query, opinions, failed)
        kept, removed = self._filter(query, self._pool(retrieved))
        kept, widened = self._widen(query, kept)
        candidates = self._judge(opinions, kept, failed)
        parts = blend(candidates, *self._weights(query))
        lift = _lift(ranker, query, candidates, parts, failed) if ranker else None
        parts |= ({RANKER: lift.scores} if lift else {}) | self._boosts(query, kept)
        order, parts = self._choose(query, kept, parts)
        parts = _spelled_out(parts, lift, order, failed) if lift else parts
        counts = {name: len(found) for name, found in retrieved.items()}
        items = self._explain(query, opinions, kept[order], parts, failed)
        return Slate(items, counts, removed, tuple(failed), widened)

    def candidates(self, query: Query) -> Candidates:
        """What `recommend` would blend: the items found and kept, judged by every source."""
        failed: list[str] = []
        opinions = self._consider(query, failed, {source.name for source in self.sources})
        kept, _ = self._filter(query, self._pool(self._retrieve(query, opinions, failed)))
        return self._judge(opinions, self._widen(query, kept)[0], failed)

    def _judge(
        self, opinions: Mapping[str, Opinion], items: Ordinals, failed: list[str]
    ) -> Candidates:
        scores = _heard(opinions, lambda opinion: opinion.scores(items), failed)
        return Candidates(items, scores, self.own[items])

    def _consider(
        self, query: Query, failed: list[str], names: Collection[str]
    ) -> dict[str, Opinion]:
        allowed = names if query.sources is None else query.sources & set(names)
        wanted = {source.name: source for source in self.sources if source.name in allowed}
        return _heard(wanted, lambda source: source.consider(query), failed)

    def _retrieve(
        self, query: Query, opinions: Mapping[str, Opinion], failed: list[str]
    ) -> dict[str, Ordinals]:
        if query.rerank is not None:
            return {"given": query.rerank}
        speakers = self._speakers(query)
        asked = {name: opinion for name, opinion in opinions.items() if name in speakers}
        return _heard(asked, lambda opinion: opinion.best(self.settings.candidates), failed)

    def _weights(self, query: Query) -> tuple[Weights, Weights]:
        """For known and for new items. Sources asked for by name speak even if the blend has switched them off."""
        led = query.segment in LED_BY_HISTORY
        learned = query.segment in self.weights or not led
        weights = self.weights[query.segment if learned else "history"]
        if query.sources is not None and not any(map(weights.get, query.sources)):
            weights = dict.fromkeys(query.sources, 1.0)
            return weights, weights
        return weights, self.weights.get(NEW_ITEMS, weights) if led else weights

    def _speakers(self, query: Query) -> set[str]:
        """The sources that are heard on known or on new items."""
        return {name for weights in self._weights(query) for name in weights if weights[name]}

    def _ranker_for(self, query: Query) -> Ranker | None:
        """It was taught with histories and all sources, so it has no say elsewhere."""
        taught = query.segment in LED_BY_HISTORY and query.sources is None
        return self.ranker if taught else None

    def _pool(self, retrieved: Mapping[str, Ordinals]) -> Ordinals:
        """The union: at most `pool` items, each source giving its best first."""
        found = [*retrieved.values(), NOTHING]
        item = np.concatenate(found)
        rank = np.concatenate([np.arange(len(ordinals)) for ordinals in found])
        by_rank = item[np.argsort(rank, kind="stable")]
        distinct, first = np.unique(by_rank, return_index=True)
        return distinct[np.argsort(first)][
            : max(self.settings.pool, len(retrieved.get("given", NOTHING)))
        ]

    def _filter(self, query: Query, items: Ordinals) -> tuple[Ordinals, dict[str, int]]:
        """What every filter keeps, and how many each took out."""
        removed = {}
        for filter_ in self.filters:
            mask = filter_.keep(query, items)
            removed[filter_.name] = int(len(items) - mask.sum())
            items = items[mask]
        return items, removed

    def _widen(self, query: Query, kept: Ordinals) -> tuple[Ordinals, dict[str, int]]:
        """Fill up from the whole catalogue, in the order of `FALLBACK`, when too little was left.

        A condition (`where`) leaves little of what the sources found although much may be allowed, so then
        the pool is filled: the best of a narrow part of the catalogue is found exactly.
        """
        wanted = self.settings.pool if query.where else query.limit
        if query.rerank is not None or len(kept) >= wanted:
            return kept, {}
        rest, _ = self._filter(query, np.setdiff1d(np.arange(len(self.items)), kept))
        origin = np.full(len(rest), len(FALLBACK))
        value = np.zeros(len(rest), dtype=np.float32)
        for place, name in reversed(list(enumerate(FALLBACK))):
            scores = self._standing(name).consider(query).scores(rest)
            known = scores > 0
            origin[known], value[known] = place, scores[known]
        chosen = np.lexsort((rest, -value, origin))[: wanted - len(kept)]
        names = (*FALLBACK, "catalogue")
        counts = {name: int((origin[chosen] == place).sum()) for place, name in enumerate(names)}
        return np.concatenate([kept, rest[chosen]]), {name: n for name, n in counts.items() if n}

    def _standing(self, name: str) -> Source:
        return next(source for source in self.sources if source.name == name)

    def _boosts(self, query: Query, items: Ordinals) -> dict[str, Floats]:
        if not query.boosts:
            return {}
        total = np.zeros(len(items), dtype=np.float32)
        for boost in query.boosts:
            total += np.float32(boost.by) * matches(self.items, boost.where, items)
        return {"boost": total}

    def _choose(
        self, query: Query, items: Ordinals, parts: dict[str, Floats]
    ) -> tuple[Ordinals, dict[str, Floats]]:
        """Positions of the slate in `items`, best first, and the parts of those."""
        total = _total(parts, len(items))
        order = np.lexsort((items, -total))
        if not query.diversity or not self.spaces:
            order = order[: query.limit]
            return order, {name: part[order] for name, part in parts.items()}
        order = order[: max(50, 3 * query.limit)]
        space = self.spaces.get("text") or next(iter(self.spaces.values()))
        picks, penalties = diversify(
            total[order], space.rows[items[order]], query.limit, query.diversity
        )
        order = order[picks]
        return order, {name: part[order] for name, part in parts.items()} | {"diversity": penalties}

    def _explain(
        self,
        query: Query,
        opinions: Mapping[str, Opinion],
        items: Ordinals,
        parts: Mapping[str, Floats],
        failed: list[str],
    ) -> tuple[Suggestion, ...]:
        spoken = {name: opinion for name, opinion in opinions.items() if name in parts}
        because = _heard(spoken, lambda opinion: opinion.because(items), failed)
        suggestions = []
        for n, item in enumerate(self.items.ids.external(items)):
            mine = {name: float(part[n]) for name, part in parts.items()}
            seeds = {name: int(positions[n]) for name, positions in because.items()}
            reason = self._reason(query, mine, seeds)
            suggestions.append(Suggestion(item, sum(mine.values()), mine, reason))
        return tuple(suggestions)

    def _reason(self, query: Query, parts: Mapping[str, float], seeds: Mapping[str, int]) -> str:
        """In words, the largest part that has something to say."""
        for name in sorted(parts, key=lambda name: -parts[name]):
            if parts[name] <= 0:
                break
            if seeds.get(name, -1) >= 0:
                return self._because(query, name, seeds[name])
            if name in _STANDING_REASONS and (name != "text" or query.words is not None):
                return _STANDING_REASONS[name]
        asked = query.sources or ()
        return next(
            (_STANDING_REASONS[name] for name in FALLBACK if name in asked), "from the catalogue"
        )

    def _because(self, query: Query, source: str, seed: int) -> str:
        title = self.items.title(int(query.seeds.items[seed]))
        event = query.seeds.types[seed]
        if event == CONTEXT:
            return _PAGE_REASONS.get(source, "goes with *{}*").format(title)
        done = _DONE.get(event)
        if done is None:
            return f"because of *{title}*"
        return (
            f"because you {done.format(f'*{title}*')}"
            if "{}" in done
            else f"because you {done} *{title}*"
        )


def _heard(
    asked: Mapping[str, Asked], question: Callable[[Asked], Answer], failed: list[str]
) -> dict[str, Answer]:
    """Each one's answer. One that raises is named in `failed` and left out: a slate with a gap beats none."""
    answers = {}
    for name, one in asked.items():
        if name in failed:
            continue
        try:
            answers[name] = question(one)
        except Exception:
            log.exception("source %s failed; the slate is made without it", name)
            failed.append(name)
    return answers


def _lift(
    ranker: Ranker,
    query: Query,
    candidates: Candidates,
    parts: Mapping[str, Floats],
    failed: list[str],
) -> Lift | None:
    """What the ranker adds to the blend; None if it raises: then the blend alone decides."""
    blended = _total(parts, len(candidates.items))
    judged = _heard({RANKER: ranker}, lambda one: one.judge(query, candidates, blended), failed)
    return judged.get(RANKER)


def _spelled_out(
    parts: dict[str, Floats], lift: Lift, order: Ordinals, failed: list[str]
) -> dict[str, Floats]:
    """The lift's part of what was chosen, feature by feature; a source's share joins its part of the blend."""
    found = _heard({RANKER: lift}, lambda one: one.parts(order), failed).get(RANKER)
    if found is None:
        return parts
    others = {name: part for name, part in parts.items() if name != RANKER}
    return others | {name: others.get(name, 0) + part for name, part in found.items()}


def _total(parts: Mapping[str, Floats], n: int) -> Floats:
    """(n,) the sum of the parts."""
    return np.sum(list(parts.values()), axis=0) if parts else np.zeros(n, dtype=np.float32)


def _ranker(artefacts: Artefacts) -> Ranker | None:
    if artefacts.ranker is None:
        return None
    return Ranker.read(
        artefacts.ranker, Features.of(artefacts.items, artefacts.preference.popularity)
    )


def _sources(artefacts: Artefacts) -> tuple[Source, ...]:
    preference, fading = artefacts.preference, artefacts.preference.settings
    sources: list[Source] = [
        RowSource(name, W, _known(W), fades) for name, (W, fades) in preference.rows.items()
    ]
    if preference.factors is not None:
        sources.append(FactorSource("factors", preference.factors, fading.factors_fading))
    sources.append(
        AgainSource("again", preference.returns, fading.again_fading, fading.again_power)
    )
    fades_in = {"text": fading.text_fading, "image": fading.image_fading}
    sources += [
        SpaceSource(name, space, understands_words=name == "text", fading=fades_in[name])
        for name, space in artefacts.spaces.items()
    ]
    sources += [
        TasteSource(f"{name}_taste", space, fades_in[name])
        for name, space in artefacts.spaces.items()
    ]
    popularity = preference.popularity
    sources.append(
        standing("popular", np.nan_to_num(popularity.popular))
    )  # nobody's choice: 0, not unknown
    lasting = round(fading.trending_days * DAY)
    sources.append(trending(np.nan_to_num(popularity.trending), popularity.as_of + lasting))
    sources.append(newest(artefacts.items.published_at, NEW_HALF_LIFE_DAYS))
    return tuple(sources)


def _known(weights: Sparse) -> Mask:
    known = np.zeros(weights.shape[0], dtype=bool)
    known[weights.indices] = True
    return known
