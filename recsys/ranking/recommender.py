"""The one place where the stages are joined: a query in, an explained slate out.

find      items that any source leads to, without what must not be shown
judge     what *every* source thinks of each, whichever way it came in
blend     one score, in parts
pick      the best, kept apart from one another
explain   the reason of each
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.item_table import ItemTable
from recsys.catalogue.times import to_us
from recsys.config import EventSettings, RankingSettings
from recsys.identity import ABSENT, NOTHING, Floats, Mask, Ordinals
from recsys.index.space import Space
from recsys.ranking import kernels
from recsys.ranking.blend import LED_BY_HISTORY, NEW_ITEMS, STARTING_WEIGHTS, Weights, blend
from recsys.ranking.block import NOWHERE, Block, Lists
from recsys.ranking.candidates import Candidates, Query, Slate
from recsys.ranking.diversity import Groups, diversify
from recsys.ranking.features import Features
from recsys.ranking.filters import Allowed, Conditions, Sieve, matches
from recsys.ranking.knowledge import (
    FINDERS,
    PLACES,
    SOURCES,
    TEXT,
    Knowledge,
    Near,
    knowledge_of,
    known_sources,
)
from recsys.ranking.ranker import RANKER, Lift, Ranker
from recsys.ranking.slates import FALLBACK, Account, Slates, speaks_for_itself
from recsys.snapshot import Artefacts

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class Found:
    """The candidates of a block."""

    items: Lists
    said: Floats
    """(m, kernels.COLUMNS) what those sources say of each that lead somewhere."""
    silent: Mask
    """(q, sources) True where a source has nothing to say to a query."""
    retrieved: Mapping[str, Ordinals]
    """Source -> (q,) how many items it found."""
    removed: NDArray[np.int64]
    """(q, filters) how many items each filter took out."""
    widened: Sequence[Mapping[str, int]]
    """For each query, where more items were taken from."""


@dataclass(frozen=True)
class Recommender:
    """Answers queries from one snapshot. Immutable and thread-safe: a new snapshot is a new recommender."""

    items: ItemTable
    knowledge: Knowledge
    sources: frozenset[str]
    """Those of which the snapshot knows something."""
    sieve: Sieve
    weights: Mapping[str, Weights]
    """Segment -> weights of the blend."""
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
            knowledge_of(artefacts),
            known_sources(artefacts),
            Sieve(artefacts.items, Conditions(artefacts.items)),
            STARTING_WEIGHTS | dict(artefacts.weights),
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
        weights, ranker = self._weights(block), self._ranker_for(block)
        speakers = self._speakers(block, weights)
        heard = speakers.union(ranker.sources if ranker else ()) & self.sources
        found = self._find(block, heard, speakers, failed)
        chosen, parts = self._rank(block, found, heard, weights, failed, ranker)
        if self._cut_short(block, chosen):
            found = self._everything(block, found, heard)
            chosen, parts = self._rank(block, found, heard, weights, failed, ranker)
        picked = Lists(chosen.starts, found.items.items[chosen.items])
        reasons = self._reasons(block, picked, found.said[chosen.items], parts)
        account = Account(found.retrieved, found.removed, tuple(failed), found.widened)
        total = _total(parts, len(picked.items))
        return Slates(block, picked, total, parts, *reasons, account)

    def candidates(self, block: Block) -> Candidates:
        """What `answer` would blend: the items found and kept, judged by every source."""
        failed: list[str] = []
        speakers = self._speakers(block, self._weights(block))
        found = self._find(block, self.sources, speakers, failed)
        scores, own = self._judge(block, found, self.sources, failed)
        said = {name: scores[SOURCES.index(name)] for name in SOURCES if name in self.sources}
        return Candidates(found.items.items, said, own, found.items.starts)

    def _find(
        self, block: Block, heard: Collection[str], speakers: Collection[str], failed: list[str]
    ) -> Found:
        """The candidates: given ones, all that meet a narrow condition, or what the speakers' finders lead to."""
        allowed = self.sieve.conditions.of(block.first.where)
        if block.first.rerank is not None:
            given = [NOTHING if q.rerank is None else q.rerank for q in block.queries]
            return self._judged(block, Lists.of(given), heard, "given")
        if block.first.where and len(allowed.items) <= self.settings.pool:
            found = self._judged(block, Lists.of([allowed.items] * len(block)), heard, "condition")
        else:
            finders = {FINDERS.get(name, name) for name in speakers}
            words = self._by_words(block, allowed, failed) if "text" in finders else None
            found = self._search(block, heard, finders, words)
        return self._widen(block, found, heard, allowed)

    def _judged(self, block: Block, given: Lists, heard: Collection[str], name: str) -> Found:
        """Given items, to be judged in place of what is found."""
        found = self._search(block, heard, (), None, given)
        return replace(found, retrieved={name: np.diff(given.starts)})

    def _search(
        self,
        block: Block,
        heard: Collection[str],
        finders: Collection[str],
        words: Lists | None,
        given: Lists = NOWHERE,
    ) -> Found:
        """words: what was found for the words of a search."""
        if words is None:
            searched = block.first.words is not None
            words = Lists.of([NOTHING] * len(block)) if searched else NOWHERE
        starts, items, said, silent, retrieved, removed = kernels.find(
            self.knowledge,
            block.asked,
            self.sieve.forbidden(block),
            _mask({*heard, *finders}),
            _mask(finders),
            block.first.sources is not None,
            self.settings.candidates,
            self.settings.pool,
            given.starts,
            given.items,
            words.starts,
            words.items,
        )
        told = {name: retrieved[:, n] for n, name in enumerate(SOURCES) if name in finders}
        return Found(Lists(starts, items), said, silent, told, removed, [{}] * len(block))

    def _by_words(self, block: Block, allowed: Allowed, failed: list[str]) -> Lists | None:
        """What the index finds for the words of a search; None where there are none, or it fails."""
        words = _words(block)
        if words is None:
            return None
        limit = self.settings.candidates
        among = allowed.items if block.first.where else None

        def search() -> Lists:
            found = self.spaces["text"].search(words, limit, among).ordinals
            return Lists.of([row[row >= 0] for row in found])

        return _calmly("text", search, failed)

    def _judge(
        self, block: Block, found: Found, heard: Collection[str], failed: list[str]
    ) -> tuple[Floats, Floats]:
        """(sources, m) scores, NaN where a source cannot judge or is not heard; and (m,) `own`."""
        items = found.items
        scores, own = kernels.judge(
            self.knowledge,
            block.asked,
            items.starts,
            items.items,
            found.said,
            found.silent,
            _mask(heard),
        )
        words = _words(block)
        if words is not None and "text" in heard:
            space, every = self.spaces["text"], np.ones(len(block), dtype=bool)

            def compare() -> Floats:
                lists = (items.starts, items.items)
                return kernels.dots(space.rows, words, every, *lists, space.present)

            cosines = None if "text" in failed else _calmly("text", compare, failed)
            scores[TEXT] = np.nan if cosines is None else cosines
        return scores, own

    def _rank(
        self,
        block: Block,
        found: Found,
        heard: Collection[str],
        weights: tuple[Weights, Weights],
        failed: list[str],
        ranker: Ranker | None,
    ) -> tuple[Lists, dict[str, Floats]]:
        """Positions of the slates among the candidates, and the parts of their scores."""
        scores, own = self._judge(block, found, heard, failed)
        said = {name: scores[n] for n, name in enumerate(SOURCES) if name in heard}
        for name in failed:
            said.pop(name, None)
        candidates = Candidates(found.items.items, said, own, found.items.starts)
        parts = blend(candidates, *weights)
        lifts = _lifted(ranker, block, candidates, parts, failed) if ranker else None
        parts |= ({RANKER: lifts.scores} if lifts else {}) | self._boosts(block, found.items)
        chosen, parts = self._choose(block, found.items, parts)
        return chosen, _spelled_out(parts, lifts, chosen, failed) if lifts else parts

    def _cut_short(self, block: Block, chosen: Lists) -> bool:
        """Whether a quota left too little of what was found."""
        query = block.first
        short = query.quota and query.rerank is None
        return bool(short and (np.diff(chosen.starts) < query.limit).any())

    def _everything(self, block: Block, found: Found, heard: Collection[str]) -> Found:
        """All that may be shown: a quota may ask for items that nothing leads to."""
        allowed = self.sieve.conditions.of(block.first.where)
        every = allowed.items if block.first.where else np.arange(len(self.items))
        more = self._search(block, heard, (), None, Lists.of([every] * len(block)))
        return replace(found, items=more.items, said=more.said)

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

    def _speakers(self, block: Block, weights: tuple[Weights, Weights]) -> frozenset[str]:
        """The sources that are heard on known or on new items."""
        heard = {name for some in weights for name in some if some[name]}
        only = block.first.sources
        return self.sources & heard if only is None else self.sources & heard & only

    def _ranker_for(self, block: Block) -> Ranker | None:
        """It was taught with histories and all sources, so it has no say elsewhere."""
        taught = block.first.segment in LED_BY_HISTORY and block.first.sources is None
        return self.ranker if taught else None

    def _widen(self, block: Block, found: Found, heard: Collection[str], allowed: Allowed) -> Found:
        """Fill up from the whole catalogue, in the order of `FALLBACK`, where too little was left."""
        limit = block.first.limit
        if (np.diff(found.items.starts) >= limit).all():
            return found
        filled = [
            self._filled(query, some, allowed) if len(some) < limit else (some, {})
            for query, some in zip(block.queries, found.items, strict=True)
        ]
        every, counts = zip(*filled, strict=True)
        wider = self._search(block, heard, (), None, Lists.of(every))
        return replace(found, items=wider.items, said=wider.said, widened=counts)

    def _filled(
        self, query: Query, kept: Ordinals, allowed: Allowed
    ) -> tuple[Ordinals, dict[str, int]]:
        """With as many more items as are wanted, and where they came from."""
        every = allowed.items if query.where else np.arange(len(self.items))
        others = Lists.of([np.setdiff1d(every, kept)])
        rest = self.sieve.keep(Block((query,)), others).items
        facts, at = self.knowledge.facts[rest], to_us(query.at)
        trusted = at <= self.knowledge.trending.until or query.sources is not None
        values = {
            "popular": facts["popular"],
            "trending": facts["trending"] * trusted,
            "new": 1.0 / (1 + np.maximum(at - facts["published_at"], 0)),
        }
        origin = np.full(len(rest), len(FALLBACK))
        value = np.zeros(len(rest))
        for place, name in reversed(list(enumerate(FALLBACK))):
            known = values[name] > 0
            origin[known], value[known] = place, values[name][known]
        chosen = np.lexsort((rest, -value, origin))[: query.limit - len(kept)]
        names = (*FALLBACK, "catalogue")
        counts = {name: int((origin[chosen] == place).sum()) for place, name in enumerate(names)}
        more = np.concatenate([kept, rest[chosen]])
        return more, {name: n for name, n in counts.items() if n}

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
            self._likeness.codes,
            self._likeness.scale,
            query.diversity if spread else 0.0,
            limit,
            self._groups if query.quota else None,
            query.quota,
        )
        own = {name: part[chosen.items] for name, part in parts.items()}
        return chosen, own | ({"diversity": penalties} if spread else {})

    @property
    def _likeness(self) -> Near:
        """Where likenesses are seen."""
        return self.knowledge.text if "text" in self.spaces else self.knowledge.image

    @cached_property
    def _groups(self) -> Groups:
        return Groups.of(self.items)

    def _reasons(
        self, block: Block, items: Lists, said: Floats, parts: Mapping[str, Floats]
    ) -> tuple[Ordinals, Ordinals]:
        """For each place, the largest part that has something to say, and the seed that it names."""
        if not parts:
            nobody = np.full(len(items.items), ABSENT)
            return nobody, nobody
        searched = block.first.words is not None
        return kernels.explain(
            self.knowledge,
            block.asked,
            items.starts,
            items.items,
            said,
            np.stack(list(parts.values())),
            np.array([PLACES.get(name, ABSENT) for name in parts]),
            np.array([speaks_for_itself(name, searched) for name in parts], dtype=bool),
        )


def _mask(names: Collection[str]) -> Mask:
    """(sources,)"""
    return np.array([name in names for name in SOURCES], dtype=bool)


def _words(block: Block) -> Floats | None:
    """(q, dim) of a search for words."""
    words = [query.words for query in block.queries if query.words is not None]
    return np.stack(words) if words else None


def _calmly(name: str, question: Callable[[], Answer], failed: list[str]) -> Answer | None:
    """The answer. Where it raises, the name is put down as failed: a slate with a gap beats none."""
    try:
        return question()
    except Exception:
        log.exception("source %s failed; the slate is made without it", name)
        failed.append(name)
        return None


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

    def judge() -> list[Lift]:
        asked = zip(block.queries, candidates.apart(), blended, strict=True)
        return [ranker.judge(query, some, scores) for query, some, scores in asked]

    judged = _calmly(RANKER, judge, failed)
    return None if judged is None else _Lifts(judged, candidates.edges)


def _spelled_out(
    parts: dict[str, Floats], lifts: _Lifts, chosen: Lists, failed: list[str]
) -> dict[str, Floats]:
    """The lift's part of what was chosen, feature by feature; a source's share joins its part of the blend."""
    found = _calmly(RANKER, lambda: lifts.parts(chosen), failed)
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
