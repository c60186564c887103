"""The one place where the stages are joined: a query in, an explained slate out."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from recsys.catalogue.item_table import ItemTable
from recsys.config import EventSettings, RankingSettings
from recsys.identity import ABSENT, NOTHING, Floats, Mask, Ordinals
from recsys.index.space import Space
from recsys.preference.interactions import DAY
from recsys.preference.sparse import Sparse
from recsys.ranking import kernels
from recsys.ranking.blend import LED_BY_HISTORY, NEW_ITEMS, STARTING_WEIGHTS, Weights, blend
from recsys.ranking.block import Block, Lists, Opinion, Source
from recsys.ranking.candidates import Candidates, Query, Slate
from recsys.ranking.diversity import Groups, diversify
from recsys.ranking.features import Features
from recsys.ranking.filters import Allowed, Conditions, Sieve, matches
from recsys.ranking.ranker import RANKER, Lift, Ranker
from recsys.ranking.slates import FALLBACK, Account, Slates, speaks_for_itself
from recsys.ranking.sources import (
    AgainSource,
    FactorSource,
    NewSource,
    RowSource,
    SpaceSource,
    StandingSource,
    TasteSource,
)
from recsys.snapshot import Artefacts

log = logging.getLogger(__name__)

NEW_HALF_LIFE_DAYS = 14.0
"""A new item's newness halves in this time."""

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Recommender:
    """Answers queries from one snapshot. Immutable and thread-safe: a new snapshot is a new recommender."""

    items: ItemTable
    sources: tuple[Source, ...]
    sieve: Sieve
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
            Sieve(artefacts.items, Conditions(artefacts.items)),
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
        return self.answer(Block((query,))).slate(0, self.items)

    def answer(self, block: Block) -> Slates:
        """The slates of all queries of a block, each as if it had been asked alone."""
        failed: list[str] = []
        ranker = self._ranker_for(block)
        heard = self._speakers(block).union(ranker.sources if ranker else ())
        opinions = self._consider(block, failed, heard)
        allowed = self.sieve.conditions.of(block.first.where)
        retrieved = self._retrieve(block, opinions, allowed, failed)
        kept, removed = self.sieve.keep(block, self._pool(block, retrieved))
        kept, widened = self._widen(block, kept, allowed)
        chosen, parts = self._rank(block, opinions, heard, kept, failed, ranker)
        if self._cut_short(block, chosen):
            kept = self._everything(block, allowed)
            chosen, parts = self._rank(block, opinions, heard, kept, failed, ranker)
        picked = Lists(chosen.starts, kept.items[chosen.items])
        reasons = self._reasons(block, opinions, picked, parts, failed)
        account = Account(retrieved, removed, tuple(failed), widened)
        total = _total(parts, len(picked.items))
        return Slates(block, picked, total, parts, *reasons, account)

    def _rank(
        self,
        block: Block,
        opinions: Mapping[str, Opinion],
        heard: Collection[str],
        kept: Lists,
        failed: list[str],
        ranker: Ranker | None,
    ) -> tuple[Lists, dict[str, Floats]]:
        """Positions of the slates in `kept`, and the parts of their scores."""
        candidates = self._judge(opinions, heard, kept, failed)
        parts = blend(candidates, *self._weights(block))
        lifts = _lifted(ranker, block, candidates, parts, failed) if ranker else None
        parts |= ({RANKER: lifts.scores} if lifts else {}) | self._boosts(block, kept)
        chosen, parts = self._choose(block, kept, parts)
        return chosen, _spelled_out(parts, lifts, chosen, failed) if lifts else parts

    def _cut_short(self, block: Block, chosen: Lists) -> bool:
        """Whether a quota left too little of what was found."""
        query = block.first
        short = query.quota and query.rerank is None
        return bool(short and (np.diff(chosen.starts) < query.limit).any())

    def _everything(self, block: Block, allowed: Allowed) -> Lists:
        """All that may be shown: a quota may ask for items that nothing leads to."""
        every = allowed.items if block.first.where else np.arange(len(self.items))
        return self.sieve.keep(block, Lists.of([every] * len(block)))[0]

    def candidates(self, block: Block) -> Candidates:
        """What `answer` would blend: the items found and kept, judged by every source."""
        failed: list[str] = []
        every = {source.name for source in self.sources}
        opinions = self._consider(block, failed, every)
        allowed = self.sieve.conditions.of(block.first.where)
        found = self._pool(block, self._retrieve(block, opinions, allowed, failed))
        kept, _ = self.sieve.keep(block, found)
        return self._judge(opinions, every, self._widen(block, kept, allowed)[0], failed)

    def _judge(
        self,
        opinions: Mapping[str, Opinion],
        heard: Collection[str],
        items: Lists,
        failed: list[str],
    ) -> Candidates:
        asked = {name: opinion for name, opinion in opinions.items() if name in heard}
        scores = _heard(asked, lambda opinion: opinion.scores(items), failed)
        return Candidates(items.items, scores, self.own[items.items], items.starts)

    def _consider(
        self, block: Block, failed: list[str], names: Collection[str]
    ) -> dict[str, Opinion]:
        """The opinions that are heard, and those that find for them."""
        only = block.first.sources
        allowed = set(names) if only is None else only & set(names)
        allowed |= {source.finder for source in self.sources if source.name in allowed}
        wanted = {source.name: source for source in self.sources if source.name in allowed}
        return _heard(wanted, lambda source: source.consider(block), failed)

    def _retrieve(
        self, block: Block, opinions: Mapping[str, Opinion], allowed: Allowed, failed: list[str]
    ) -> dict[str, Lists]:
        """Source -> what it finds. Given items, and all that meets a narrow condition, need not be found."""
        if block.first.rerank is not None:
            given = [NOTHING if q.rerank is None else q.rerank for q in block.queries]
            return {"given": Lists.of(given)}
        if block.first.where and len(allowed.items) <= self.settings.pool:
            return {"condition": Lists.of([allowed.items] * len(block))}
        speakers = self._speakers(block)
        finders = {source.finder for source in self.sources if source.name in speakers}
        asked = {name: opinion for name, opinion in opinions.items() if name in finders}
        limit = self.settings.candidates
        return _heard(asked, lambda opinion: opinion.best(limit, allowed.mask), failed)

    def _weights(self, block: Block) -> tuple[Weights, Weights]:
        """For known and for new items. Sources asked for by name speak even if the blend has switched them off."""
        segment, sources = block.first.segment, block.first.sources
        led = segment in LED_BY_HISTORY
        learned = segment in self.weights or not led
        weights = self.weights[segment if learned else "history"]
        if sources is not None and not any(map(weights.get, sources)):
            weights = dict.fromkeys(sources, 1.0)
            return weights, weights
        return weights, self.weights.get(NEW_ITEMS, weights) if led else weights

    def _speakers(self, block: Block) -> set[str]:
        """The sources that are heard on known or on new items."""
        heard = {name for weights in self._weights(block) for name in weights if weights[name]}
        only = block.first.sources
        return heard if only is None else heard & only

    def _ranker_for(self, block: Block) -> Ranker | None:
        """It was taught with histories and all sources, so it has no say elsewhere."""
        taught = block.first.segment in LED_BY_HISTORY and block.first.sources is None
        return self.ranker if taught else None

    def _pool(self, block: Block, retrieved: Mapping[str, Lists]) -> Lists:
        """The union: at most `pool` items, each source giving its best first; of given ones, all."""
        found = list(retrieved.values())
        if not found:
            return Lists.of([NOTHING] * len(block))
        if len(found) == 1:
            return found[0]
        starts = np.empty((len(found), len(block) + 1), dtype=np.int64)
        end = 0
        for row, one in enumerate(found):
            starts[row] = one.starts + end
            end += len(one.items)
        items = np.concatenate([one.items for one in found])
        return Lists(*kernels.merge(starts, items, self.settings.pool))

    def _widen(
        self, block: Block, kept: Lists, allowed: Allowed
    ) -> tuple[Lists, Sequence[Mapping[str, int]]]:
        """Fill up from the whole catalogue, in the order of `FALLBACK`, where too little was left."""
        limit = block.first.limit
        if block.first.rerank is not None or (np.diff(kept.starts) >= limit).all():
            return kept, [{}] * len(block)
        filled = [
            self._filled(query, found, allowed) if len(found) < limit else (found, {})
            for query, found in zip(block.queries, kept, strict=True)
        ]
        return Lists.of([items for items, _ in filled]), [counts for _, counts in filled]

    def _filled(
        self, query: Query, kept: Ordinals, allowed: Allowed
    ) -> tuple[Ordinals, dict[str, int]]:
        """With as many more items as are wanted, and where they came from."""
        alone = Block((query,))
        every = allowed.items if query.where else np.arange(len(self.items))
        rest, _ = self.sieve.keep(alone, Lists.of([np.setdiff1d(every, kept)]))
        origin = np.full(len(rest.items), len(FALLBACK))
        value = np.zeros(len(rest.items), dtype=np.float32)
        for place, name in reversed(list(enumerate(FALLBACK))):
            scores = self._standing(name).consider(alone).scores(rest)
            known = scores > 0
            origin[known], value[known] = place, scores[known]
        chosen = np.lexsort((rest.items, -value, origin))[: query.limit - len(kept)]
        names = (*FALLBACK, "catalogue")
        counts = {name: int((origin[chosen] == place).sum()) for place, name in enumerate(names)}
        more = np.concatenate([kept, rest.items[chosen]])
        return more, {name: n for name, n in counts.items() if n}

    def _standing(self, name: str) -> Source:
        return next(source for source in self.sources if source.name == name)

    def _boosts(self, block: Block, items: Lists) -> dict[str, Floats]:
        boosts = block.first.boosts
        if not boosts:
            return {}
        total = np.zeros(len(items.items), dtype=np.float32)
        for boost in boosts:
            total += np.float32(boost.by) * matches(self.items, boost.where, items.items)
        return {"boost": total}

    def _choose(
        self, block: Block, items: Lists, parts: dict[str, Floats]
    ) -> tuple[Lists, dict[str, Floats]]:
        """Positions of each slate in `items`, best first, and the parts of those."""
        total, query = _total(parts, len(items.items)), block.first
        spread, limit = bool(query.diversity and self.spaces), query.limit
        most = len(items.items) if query.quota else max(50, 3 * limit) if spread else limit
        chosen = Lists(*kernels.best_of_lists(items.starts, items.items, total, most))
        if not spread and not query.quota:
            return chosen, {name: part[chosen.items] for name, part in parts.items()}
        chosen, penalties = diversify(
            chosen,
            items.items,
            total,
            self._rows,
            query.diversity if spread else 0.0,
            limit,
            self._groups if query.quota else None,
            query.quota,
        )
        own = {name: part[chosen.items] for name, part in parts.items()}
        return chosen, own | ({"diversity": penalties} if spread else {})

    @property
    def _rows(self) -> Floats:
        """Where likenesses are seen."""
        space = self.spaces.get("text") or next(iter(self.spaces.values()), None)
        return np.zeros((0, 0), dtype=np.float32) if space is None else space.rows

    @cached_property
    def _groups(self) -> Groups:
        return Groups.of(self.items)

    def _reasons(
        self,
        block: Block,
        opinions: Mapping[str, Opinion],
        items: Lists,
        parts: Mapping[str, Floats],
        failed: list[str],
    ) -> tuple[Ordinals, Ordinals]:
        """For each place, the largest part that has something to say, and the seed that it names."""
        nobody = np.full(len(items.items), ABSENT)
        if not parts:
            return nobody, nobody
        names = list(parts)
        table = np.stack(list(parts.values()))
        searched = block.first.words is not None
        speaks = np.array([speaks_for_itself(name, searched) for name in names], dtype=bool)
        said = table[speaks].max(axis=0, initial=0)
        louder = table > said  # only these can be the reason instead
        asked = {
            name: (opinions[name], wanted)
            for name, wanted in zip(names, louder, strict=True)
            if name in opinions and wanted.any()
        }
        because = _heard(asked, lambda one: one[0].because(items, one[1]), failed)
        seeds = np.stack([nobody if (at := because.get(n)) is None else at for n in names])
        return kernels.reasons(table, seeds, speaks)


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


@dataclass(frozen=True, eq=False)
class _Lifts:
    """What a ranker adds to the blend's scores of a block's candidates."""

    queries: Sequence[Lift]
    starts: Ordinals

    @property
    def scores(self) -> Floats:
        """(m,)"""
        return np.concatenate([lift.scores for lift in self.queries])

    def parts(self, chosen: Lists) -> dict[str, Floats]:
        """Feature -> its part of the scores of those at these positions."""
        told = [
            (lift.parts(some - start), len(some))
            for lift, some, start in zip(self.queries, chosen, self.starts, strict=False)
        ]
        names = dict.fromkeys(name for parts, _ in told for name in parts)
        silent = np.float32(0)
        return {
            name: np.concatenate([parts.get(name, np.full(n, silent)) for parts, n in told])
            for name in names
        }


def _lifted(
    ranker: Ranker,
    block: Block,
    candidates: Candidates,
    parts: Mapping[str, Floats],
    failed: list[str],
) -> _Lifts | None:
    """What the ranker adds to the blend; None if it raises: then the blend alone decides."""
    blended = np.split(_total(parts, len(candidates.items)), candidates.edges[1:-1])

    def judge(one: Ranker) -> list[Lift]:
        asked = zip(block.queries, candidates.apart(), blended, strict=True)
        return [one.judge(query, some, scores) for query, some, scores in asked]

    judged = _heard({RANKER: ranker}, judge, failed).get(RANKER)
    return None if judged is None else _Lifts(judged, candidates.edges)


def _spelled_out(
    parts: dict[str, Floats], lifts: _Lifts, chosen: Lists, failed: list[str]
) -> dict[str, Floats]:
    """The lift's part of what was chosen, feature by feature; a source's share joins its part of the blend."""
    found = _heard({RANKER: lifts}, lambda one: one.parts(chosen), failed).get(RANKER)
    if found is None:
        return parts
    others = {name: part for name, part in parts.items() if name != RANKER}
    return others | {name: others.get(name, 0) + part for name, part in found.items()}


def _total(parts: Mapping[str, Floats], n: int) -> Floats:
    """(n,) the sum of the parts."""
    total = np.zeros(n, dtype=np.float32)
    for part in parts.values():
        total += part
    return total


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
        TasteSource(f"{name}_taste", space, name, fades_in[name])
        for name, space in artefacts.spaces.items()
    ]
    popularity, lasting = preference.popularity, round(fading.trending_days * DAY)
    popular, trend = np.nan_to_num(popularity.popular), np.nan_to_num(popularity.trending)
    sources += [
        StandingSource("popular", popular),  # nobody's choice: 0, not unknown
        StandingSource("trending", trend, popularity.as_of + lasting),
        NewSource("new", artefacts.items.published_at, NEW_HALF_LIFE_DAYS),
    ]
    return tuple(sources)


def _known(weights: Sparse) -> Mask:
    known = np.zeros(weights.shape[0], dtype=bool)
    known[weights.indices] = True
    return known
