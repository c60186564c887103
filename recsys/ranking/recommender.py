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
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.catalogue.item_table import ItemTable
from recsys.catalogue.times import to_us
from recsys.config import EventSettings, RankingSettings
from recsys.facts import PLACES, SOURCES, Groups
from recsys.identity import ABSENT, NOTHING, Floats, Mask, Ordinals
from recsys.index.duplicates import Duplicates
from recsys.index.space import Space
from recsys.lookup import Lookup
from recsys.ranking import kernels
from recsys.ranking.blend import LED_BY_HISTORY, NEW_ITEMS, STARTING_WEIGHTS, UNPROVEN, Weights
from recsys.ranking.block import NO_SEARCH, Block, Lists
from recsys.ranking.candidates import ANY_NUMBER, SEGMENTS, Candidates, Query, Slate
from recsys.ranking.diversity import choose
from recsys.ranking.features import Features
from recsys.ranking.filters import EVERYTHING, RULED, Allowed, Conditions, Sieve, hides, matches
from recsys.ranking.inspection import Inspection, Trace
from recsys.ranking.knowledge import (
    FINDERS,
    Held,
    Knowledge,
    held,
    knowledge_of,
    known_sources,
)
from recsys.ranking.pinning import Due, due, with_pins
from recsys.ranking.ranker import RANKER, Lift, Ranker
from recsys.ranking.reasons import FALLBACK, phrasing
from recsys.ranking.slates import Account, Retrieved, Ruled, Slates
from recsys.snapshot import Artefacts

log = logging.getLogger(__name__)

PER_SOURCE, PER_PLACE = 2, 6
"""A long slate is chosen from more: so many candidates of each source, and so many in all, for each of its places."""

WIDER = 3
"""So many times as many candidates are learned from as are served."""

CONTENT = ("text", "image")
"""Kinds of content that are searched, in the order in which `kernels.find` is told of them."""

NARROW = 1_000
"""Where no more items than this meet a condition, all of them are judged."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class Found:
    """The candidates of a block."""

    items: Lists
    said: Floats
    """(m, kernels.COLUMNS) what those sources say of each that lead somewhere."""
    silent: Mask
    """(q, sources) True where a source has nothing to say to a query."""
    retrieved: Sequence[Retrieved]
    """For each query."""
    removed: NDArray[np.int64]
    """(q, filters) how many items each filter took out."""
    widened: Sequence[Mapping[str, int]] | None
    """For each query, where more items were taken from; None: nowhere."""


@dataclass(frozen=True)
class Recommender:
    """Answers queries from one snapshot. Immutable and thread-safe: a new snapshot is a new recommender."""

    items: ItemTable
    lookup: Lookup
    """Item id -> ordinal."""
    knowledge: Knowledge
    groups: Groups
    duplicates: Duplicates
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
    support: Floats
    """(n,) people who like each item: for those who ask why; it is in what each source says."""
    ranker: Ranker | None = None
    """Adds to the blend where a history leads; None: the blend is all there is."""

    @classmethod
    def of(cls, artefacts: Artefacts, settings: RankingSettings) -> "Recommender":
        """Join what a build made."""
        facts = artefacts.facts
        return cls(
            artefacts.items,
            Lookup.over(artefacts.items.id_texts),
            knowledge_of(artefacts),
            facts.groups,
            facts.duplicates,
            known_sources(artefacts),
            Sieve(artefacts.items, Conditions(artefacts.items), facts.duplicates),
            STARTING_WEIGHTS | dict(artefacts.weights),
            artefacts.spaces,
            settings,
            artefacts.hides_seen,
            artefacts.preference.events,
            artefacts.preference.support,
            _ranker(artefacts),
        )

    def recommend(self, query: Query) -> Slate:
        """Always `query.limit` items when the catalogue has that many to show (a re-rank: of those given).

        Near-duplicates count once: a slate shows one of them, but for a re-rank.
        """
        return self.answer(Block((query,))).slate(0)

    def answer(self, block: Block) -> Slates:
        """The slates of all queries of a block, each as if it had been asked alone."""
        if block.first.pins:
            return self._with_pins(block)
        failed: list[str] = []
        voices = self._voices_of(block.first.sources)
        found = self._find(block, voices, failed)
        ranked = self._rank(block, found, voices, failed)
        if self._cut_short(block, ranked):
            found = self._everything(block, found, voices)
            ranked = self._rank(block, found, voices, failed)
        picked = Lists(ranked.chosen.starts, found.items.items[ranked.chosen.items])
        speaks, phrases = phrasing(
            ranked.names, block.first.sources or frozenset(), block.first.sought is not None
        )
        phrase, named = kernels.explain(
            self._held,
            block.asked,
            picked.starts,
            picked.items,
            found.said[ranked.chosen.items],
            ranked.parts,
            _sources_of(ranked.names),
            speaks,
            block.deeds,
            phrases,
        )
        ruled = partial(self._ruled, block, voices) if hides(block.first.ruling) else None
        account = Account(found.retrieved, found.removed, tuple(failed), found.widened, ruled)
        said = [voices.told[segment] for segment in block.segments.tolist()]
        places = (ranked.total, ranked.names, ranked.parts, said, phrase, named)
        return Slates(picked, *places, account, self.items)

    def candidates(self, block: Block) -> Candidates:
        """What `answer` would blend: the items found and kept, judged by every source."""
        failed: list[str] = []
        voices = self._voices_of(block.first.sources)
        voices = replace(voices, heard=np.tile(_mask(self.sources), (len(SEGMENTS), 1)))
        found = replace(self, settings=self._learning)._find(block, voices, failed)
        scores, own = self._judge(block, found, voices, failed)
        said = {name: scores[PLACES[name]] for name in SOURCES if name in self.sources}
        return Candidates(found.items.items, said, own, found.items.starts)

    def inspect(self, query: Query) -> Inspection:
        """What `answer` chooses the slate of a query from, every part of every score, and what filters take out.

        What is pinned is ranked like all others here: it needs no score for its place.
        """
        query = replace(query, pins=(), limit=query.limit + len(query.pins))
        block, failed = Block((query,)), list[str]()
        voices = self._voices_of(query.sources)
        found = self._find(block, voices, failed)
        if self._cut_short(block, self._rank(block, found, voices, failed)):
            found = self._everything(block, found, voices)
        items = found.items.items
        every = replace(
            query, limit=max(len(items), 1), diversity=0.0, quota=ANY_NUMBER, rerank=items
        )
        ranked = self._rank(Block((every,)), found, voices, failed)
        items = items[ranked.chosen.items]
        (segment,) = block.segments.tolist()
        traced, voice = self._trace(query, voices), self._voice(query.segment, query.sources)
        return Inspection(
            items,
            ranked.total,
            dict(zip(ranked.names, ranked.parts, strict=True)),
            traced.found_by(voices.finders[segment], items),
            self._removed(query, traced, voices),
            *voice.loud,
        )

    def _removed(self, query: Query, traced: Trace, voices: "Voices") -> dict[str, Ordinals]:
        """What each filter takes out; rules are asked last."""
        ruling = query.ruling
        if ruling is None or not hides(ruling):
            return traced.removed(self.items) | {RULED: NOTHING}
        free = self._trace(replace(query, ruling=None), voices)
        return free.removed(self.items) | {RULED: np.sort(free.kept[ruling.hidden[free.kept]])}

    def _trace(self, query: Query, voices: "Voices") -> Trace:
        block = Block((query,))
        allowed = self.sieve.allowed(block)
        sought, given = self._sought(block, allowed[0], []), [self._given(query, allowed[0])]
        question = self._question(block, voices, voices.finders, allowed, sought, given)
        _, kept, *_, trail = kernels.trace(*question)
        return Trace(query, kept, trail)

    def due(self, query: Query, shown: Ordinals = NOTHING) -> Due:
        """What is pinned to the places behind those that earlier pages show."""
        return self._dues(Block((query,)), shown)[0]

    def _dues(self, block: Block, shown: Ordinals = NOTHING) -> list[Due]:
        """What is pinned to the places of each query's slate. It may have been seen."""
        first, asked = block.first, Block([replace(each, seen=NOTHING) for each in block.queries])
        items = np.array([pin.item for pin in first.pins], dtype=np.int64)
        allowed = self.sieve.keep(asked, Lists.of([items] * len(block)))
        return [due(first.pins, some, shown, self.duplicates) for some in allowed]

    def _with_pins(self, block: Block) -> Slates:
        limit, pins = block.first.limit, len(block.first.pins)
        longer = [replace(each, pins=(), limit=limit + pins) for each in block.queries]
        return with_pins(self.answer(Block(longer)), self._dues(block), limit)

    @property
    def _learning(self) -> RankingSettings:
        """More candidates than are served: what tells them apart is then less by chance."""
        wider = {name: WIDER * getattr(self.settings, name) for name in ("candidates", "pool")}
        return self.settings.model_copy(update=wider)

    def _voices_of(self, only: frozenset[str] | None) -> "Voices":
        """Who is heard, where only these may speak (None: all). Those asked for speak even if the blend is silent."""
        voices = self._voices.get(only)
        if voices is None:
            voices = self._voices[only] = Voices.of(
                [self._voice(segment, only) for segment in SEGMENTS]
            )
        return voices

    def _voice(self, segment: str, only: frozenset[str] | None) -> "Voice":
        led = segment in LED_BY_HISTORY
        learned = segment in self.weights or not led
        known = self.weights[segment if learned else "history"]
        new = self.weights.get(NEW_ITEMS, known) if led else known
        if only is not None and not any(map(known.get, only)):
            known = new = dict.fromkeys(only, 1.0)
        ranker = self.ranker if led and only is None else None  # it was taught so
        speakers = self.sources & {name for some in (known, new) for name in some if some[name]}
        speakers &= self.sources if only is None else only
        heard = speakers.union(ranker.sources if ranker else ()) & self.sources
        return Voice(speakers, heard, known, new, ranker)

    @cached_property
    def _held(self) -> Held:
        return held(self.knowledge)

    @cached_property
    def _voices(self) -> dict[frozenset[str] | None, "Voices"]:
        return {}

    def _find(self, block: Block, voices: "Voices", failed: list[str]) -> Found:
        """The candidates: given ones, all that meet a narrow condition, or what the speakers' finders lead to."""
        allowed = self.sieve.allowed(block)
        found = self._found(block, voices, allowed, failed)
        return self._widen(block, found, voices, allowed) if block.first.rerank is None else found

    def _found(
        self, block: Block, voices: "Voices", allowed: Sequence[Allowed], failed: list[str]
    ) -> Found:
        """The same, as far as that leads."""
        given = [self._given(*each) for each in zip(block.queries, allowed, strict=True)]
        sought = self._sought(block, allowed[0], failed)
        return self._search(block, voices, voices.finders, allowed, sought, given)

    def _ruled(self, block: Block, voices: "Voices") -> Ruled:
        """What the filters take out if no rule excludes anything, and what rules take of the rest."""
        ruling = block.first.ruling
        free = Block([replace(each, ruling=None) for each in block.queries])
        found = self._found(free, voices, self.sieve.allowed(free), [])
        hidden = [int(ruling.hidden[some].sum()) if ruling else 0 for some in found.items]
        return Ruled(found.removed, hidden)

    def _given(self, query: Query, allowed: Allowed) -> "Given":
        """What is to be judged in place of what is found, and why."""
        if query.rerank is not None:
            return "given", query.rerank
        narrow = query.where and len(allowed.items) <= max(NARROW, self.settings.pool)
        return ("condition", allowed.items) if narrow else NOT_GIVEN

    def _search(
        self,
        block: Block,
        voices: "Voices",
        finders: Mask,
        allowed: Sequence[Allowed],
        sought: Lists | None,
        given: "Sequence[Given]",
    ) -> Found:
        """finders: (segments, sources). sought: what the indexes found for a search."""
        question = self._question(block, voices, finders, allowed, sought, given)
        starts, items, said, silent, retrieved, removed = kernels.find(*question)
        counted = [
            (finders[segment], counts) if why is None else {why: len(some)}
            for (why, some), segment, counts in zip(given, block.segments, retrieved, strict=True)
        ]
        return Found(Lists(starts, items), said, silent, counted, removed, None)

    def _question(
        self,
        block: Block,
        voices: "Voices",
        finders: Mask,
        allowed: Sequence[Allowed],
        sought: Lists | None,
        given: "Sequence[Given]",
    ) -> tuple[Any, ...]:
        """As `kernels.find` is asked. It holds addresses of what is allowed: keep that as long as this."""
        if sought is None:
            searched = block.first.sought is not None
            sought = Lists.of([NOTHING] * (2 * len(block))) if searched else NO_SEARCH
        lists = Lists.of([items for _, items in given])
        return (
            self._held,
            block.asked,
            self.sieve.forbidden(block, allowed),
            block.segments,
            voices.heard | finders,
            finders,
            block.first.sources is not None,
            self._per_source(block),
            max(self.settings.pool, PER_PLACE * block.first.limit),
            lists.starts,
            lists.items,
            np.array([why is not None for why, _ in given]),
            sought.starts,
            sought.items,
        )

    def _per_source(self, block: Block) -> int:
        return max(self.settings.candidates, PER_SOURCE * block.first.limit)

    def _sought(self, block: Block, allowed: Allowed, failed: list[str]) -> Lists | None:
        """What the indexes find for a search: a list of each query by texts, and then of each by pictures.

        None where nothing is searched. Empty lists of a kind in which nothing is sought, or where its index fails.
        """
        if block.first.sought is None:
            return None
        limit = self._per_source(block)
        among = None if allowed is EVERYTHING else allowed.items
        nothing = [NOTHING] * len(block)

        def nearest(kind: str) -> list[Ordinals]:
            found = self.spaces[kind].search(_vectors(block, kind), limit, among).ordinals
            return [row[row >= 0] for row in found]

        lists: list[Ordinals] = []
        for kind in CONTENT:
            asked = kind in block.first.sought
            lists += (_calmly(kind, partial(nearest, kind), failed) if asked else None) or nothing
        return Lists.of(lists)

    def _judge(
        self, block: Block, found: Found, voices: "Voices", failed: list[str]
    ) -> tuple[Floats, Floats]:
        """(sources, m) scores, NaN where a source cannot judge or is not heard; and (m,) `own`."""
        items = found.items
        scores, own = kernels.judge(
            self._held,
            block.asked,
            items.starts,
            items.items,
            found.said,
            found.silent,
            block.segments,
            voices.heard,
        )
        for kind in block.first.sought or ():
            if voices.heard[block.segments[0], PLACES[kind]]:
                compare = partial(self._cosines, kind, block, items)
                cosines = None if kind in failed else _calmly(kind, compare, failed)
                scores[PLACES[kind]] = np.nan if cosines is None else cosines
        return scores, own

    def _cosines(self, kind: str, block: Block, items: Lists) -> Floats:
        """(m,) of items to what is sought, NaN for those without such content."""
        space, every = self.spaces[kind], np.ones(len(block), dtype=bool)
        lists = (items.starts, items.items)
        return kernels.dots(space.rows, _vectors(block, kind), every, *lists, space.present)

    def _rank(self, block: Block, found: Found, voices: "Voices", failed: list[str]) -> "_Ranked":
        """The slates, and the parts of their scores."""
        scores, own = self._judge(block, found, voices, failed)
        items = found.items
        parts = kernels.blend(items.starts, scores, own, block.segments, *voices.weights)
        names: tuple[str, ...] = PARTS
        lifts = None
        rankers = [voices.rankers[segment] for segment in block.segments.tolist()]
        if any(rankers):
            heard = np.flatnonzero(voices.heard[block.segments].any(axis=0)).tolist()
            said = {SOURCES[n]: scores[n] for n in heard}
            candidates = Candidates(items.items, said, own, items.starts)
            lifts = _lifted(rankers, block, candidates, parts.sum(axis=0), failed)
        more = ({RANKER: lifts.scores} if lifts else {}) | self._boosts(block, items)
        if more:
            names, parts = (*names, *more), np.vstack([parts, *more.values()])
        query = block.first
        spread = query.diversity if self.spaces else 0.0
        groups = self.groups if query.quota else None
        near = self.knowledge.text if "text" in self.spaces else self.knowledge.image
        duplicates = self.duplicates if query.rerank is None else None
        chosen, parts, total = choose(
            items, parts, query.limit, spread, near, groups, query.quota, duplicates
        )
        ranked = _Ranked(chosen, (*names, "diversity") if spread else names, parts, total)
        return _spelled_out(ranked, lifts, failed) if lifts else ranked

    def _cut_short(self, block: Block, ranked: "_Ranked") -> bool:
        """Whether a quota left too little of what was found."""
        query = block.first
        short = query.quota and query.rerank is None
        return bool(short and (np.diff(ranked.chosen.starts) < query.limit).any())

    def _everything(self, block: Block, found: Found, voices: "Voices") -> Found:
        """All that may be shown: a quota may ask for items that nothing leads to."""
        allowed = self.sieve.allowed(block)
        every = [
            ("every", np.arange(len(self.items)) if some is EVERYTHING else some.items)
            for some in allowed
        ]
        more = self._search(block, voices, NOBODY, allowed, None, every)
        return replace(found, items=more.items, said=more.said)

    def _widen(
        self, block: Block, found: Found, voices: "Voices", allowed: Sequence[Allowed]
    ) -> Found:
        """Fill up from the whole catalogue, in the order of `FALLBACK`, where too little was left."""
        limit, there = block.first.limit, self._distinct(found.items)
        if min(there) >= limit:
            return found
        filled = [
            self._filled(query, some, its, limit - count) if count < limit else (some, {})
            for query, some, its, count in zip(
                block.queries, found.items, allowed, there, strict=True
            )
        ]
        every = [("filled", items) for items, _ in filled]
        wider = self._search(block, voices, NOBODY, allowed, None, every)
        counts = [count for _, count in filled]
        return replace(found, items=wider.items, said=wider.said, widened=counts)

    def _distinct(self, found: Lists) -> list[int]:
        """Items of each list, near-duplicates counted once."""
        if self.duplicates:
            alike = self.duplicates.group
            counts: list[int] = kernels.distinct(found.starts, found.items, alike).tolist()
            return counts
        return [found.count(n) for n in range(len(found))]

    def _filled(
        self, query: Query, kept: Ordinals, allowed: Allowed, missing: int
    ) -> tuple[Ordinals, dict[str, int]]:
        """With as many more items as are missing, and where they came from."""
        every = np.arange(len(self.items)) if allowed is EVERYTHING else allowed.items
        others = Lists.of([np.setdiff1d(every, self.duplicates.with_others(kept))])
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
        order = np.lexsort((rest, -value, origin))
        chosen = order[self.duplicates.first_of_each(rest[order])[:missing]]
        names = (*FALLBACK, "catalogue")
        counts = {name: int((origin[chosen] == place).sum()) for place, name in enumerate(names)}
        more = np.concatenate([kept, rest[chosen]])
        return more, {name: n for name, n in counts.items() if n}

    def _boosts(self, block: Block, items: Lists) -> dict[str, Floats]:
        """What the request, and what rules, add to the scores."""
        boosts, ruling = block.first.boosts, block.first.ruling
        added: dict[str, Floats] = {}
        if boosts:
            total = np.zeros(len(items.items), dtype=np.float32)
            for boost in boosts:
                total += np.float32(boost.by) * matches(self.items, boost.where, items.items)
            added["boost"] = total
        if ruling is not None and len(ruling.lift):
            added[RULED] = ruling.lift[items.items]
        return added


Given = tuple[str | None, Ordinals]
"""Why items are judged in place of any found, and which; None: they are not."""

NOT_GIVEN: Given = (None, NOTHING)

PARTS = (*SOURCES, UNPROVEN)
"""Of a score, in the order of the blend's."""


class Voice(NamedTuple):
    """Who is heard by the queries of one segment, and how loud."""

    speakers: Collection[str]
    heard: Collection[str]
    known: Weights
    new: Weights
    """The weights for known and for new items."""
    ranker: Ranker | None

    @property
    def loud(self) -> tuple[Weights, Weights]:
        """The weights of those who speak, for known and for new items."""
        known, new = (
            {name: of[name] for name in SOURCES if name in self.speakers and of.get(name)}
            for of in (self.known, self.new)
        )
        return known, new

    @property
    def proven(self) -> list[float]:
        """What it counts to be a known and a new item."""
        return [self.known.get(UNPROVEN, 0.0), self.new.get(UNPROVEN, 0.0)]


@dataclass(frozen=True, eq=False)
class Voices:
    """The same for all segments, in the order of `SEGMENTS`."""

    finders: Mask
    """(segments, sources)"""
    heard: Mask
    """(segments, sources)"""
    weights: tuple[Floats, Floats, Floats]
    """(segments, sources) for known items, and for new ones; (segments, 2) what it counts to be known or new."""
    told: Sequence[frozenset[str]]
    """Of each segment, the parts of a score that are told even if they are 0."""
    rankers: Sequence[Ranker | None]

    @classmethod
    def of(cls, voices: Sequence[Voice]) -> "Voices":
        """One of each segment."""
        known, new = (
            np.array(
                [[of.get(n, 0) * (n in v.speakers) for n in SOURCES] for v, of in each],
                dtype=np.float32,
            )
            for each in ([(v, v.known) for v in voices], [(v, v.new) for v in voices])
        )
        return cls(
            np.stack([_mask({FINDERS.get(name, name) for name in v.speakers}) for v in voices]),
            np.stack([_mask(v.heard) for v in voices]),
            (known, new, np.array([v.proven for v in voices], dtype=np.float32)),
            [frozenset(v.speakers) | ({UNPROVEN} if any(v.proven) else set()) for v in voices],
            [v.ranker for v in voices],
        )


@dataclass(frozen=True, eq=False)
class _Ranked:
    """The slates of a block."""

    chosen: Lists
    """Positions among the candidates, best first."""
    names: tuple[str, ...]
    parts: Floats
    """(names, chosen)"""
    total: Floats
    """(chosen,)"""


def _mask(names: Collection[str]) -> Mask:
    """(sources,)"""
    return np.array([name in names for name in SOURCES], dtype=bool)


NOBODY = np.stack([_mask(())] * len(SEGMENTS))
"""As finders of each segment."""


@lru_cache(maxsize=256)
def _sources_of(names: tuple[str, ...]) -> Ordinals:
    """Which sources the parts of a score are; `ABSENT`: none."""
    return np.array([PLACES.get(name, ABSENT) for name in names], dtype=np.int64)


def _vectors(block: Block, kind: str) -> Floats:
    """(q, dim) what is sought in a kind of content."""
    return np.stack([query.sought[kind] for query in block.queries if query.sought])


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

    queries: Sequence[Lift | None]
    """None: nothing."""
    starts: Ordinals

    @property
    def scores(self) -> Floats:
        """(m,)"""
        silent = [np.zeros(count, dtype=np.float32) for count in np.diff(self.starts)]
        each = zip(self.queries, silent, strict=True)
        return np.concatenate([none if lift is None else lift.scores for lift, none in each])

    def parts(self, chosen: Lists) -> dict[str, Floats]:
        """Feature -> its part of the scores of those at these positions."""
        told = [
            ({} if lift is None else lift.parts(some - start), len(some))
            for lift, some, start in zip(self.queries, chosen, self.starts, strict=False)
        ]
        names = dict.fromkeys(name for parts, _ in told for name in parts)
        silent = np.float32(0)
        return {
            name: np.concatenate([parts.get(name, np.full(n, silent)) for parts, n in told])
            for name in names
        }


def _lifted(
    rankers: Sequence[Ranker | None],
    block: Block,
    candidates: Candidates,
    blended: Floats,
    failed: list[str],
) -> _Lifts | None:
    """What each query's ranker adds to the blend; None if one raises: then the blend alone decides."""
    apart = np.split(blended, candidates.edges[1:-1])

    def judge() -> list[Lift | None]:
        asked = zip(rankers, block.queries, candidates.apart(), apart, strict=True)
        return [
            ranker.judge(query, some, scores) if ranker else None
            for ranker, query, some, scores in asked
        ]

    judged = _calmly(RANKER, judge, failed)
    return None if judged is None else _Lifts(judged, candidates.edges)


def _spelled_out(ranked: _Ranked, lifts: _Lifts, failed: list[str]) -> _Ranked:
    """The lift's part of what was chosen, feature by feature; a source's share joins its part of the blend."""
    found = _calmly(RANKER, lambda: lifts.parts(ranked.chosen), failed)
    if found is None:
        return ranked
    parts = dict(zip(ranked.names, ranked.parts, strict=True))
    del parts[RANKER]
    parts |= {name: parts.get(name, 0) + part for name, part in found.items()}
    table = np.stack(list(parts.values()))
    return replace(ranked, names=tuple(parts), parts=table, total=table.sum(axis=0))


def _ranker(artefacts: Artefacts) -> Ranker | None:
    if artefacts.ranker is None:
        return None
    return Ranker.read(
        artefacts.ranker, Features.of(artefacts.items, artefacts.preference.popularity)
    )
