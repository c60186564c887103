"""Everything that is learned from behaviour, fitted in one go and kept as plain arrays.

EventLog -> Interactions -> co-occurrence, linear model, factors ┐
EventLog -> Sequences -> transitions ─────────────────────────────┴-> lent to cold items -> Preference
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recsys.catalogue.event_log import EventLog
from recsys.config import EventSettings, PreferenceSettings, Settings
from recsys.identity import Floats, Ordinals
from recsys.preference.cold import (
    ContentPrior,
    fit_shares,
    lend,
    lend_to,
    with_new_shares,
)
from recsys.preference.cooccurrence import fit_cooccurrence
from recsys.preference.factors import Factors, fit_factors
from recsys.preference.interactions import interactions
from recsys.preference.linear import fit_linear, reaches_new
from recsys.preference.popularity import Popularity, fit_popularity
from recsys.preference.pruning import loudest_first
from recsys.preference.returns import fit_returns
from recsys.preference.sparse import (
    Sparse,
    grown,
    read_array,
    read_sparse,
    write_array,
    write_sparse,
)
from recsys.preference.transitions import fit_transitions, sequences

__all__ = ["ContentPrior", "Preference", "fit_preference"]

KINDS = ("text", "image")
"""Kinds of content, the more telling first."""


@dataclass(frozen=True)
class Preference:
    """The models of taste over n items. In a matrix the row is the item come from; its largest weight comes first."""

    cooccurrence: Sparse
    """(n, n), behaviour lent to cold items included."""
    transitions: Sparse | None
    """(n, n), behaviour lent to cold items included; None when switched off or when likes have no order."""
    linear: Sparse | None
    """(n, n); None when switched off."""
    factors: Factors | None
    """None when switched off or when nobody has liked anything."""
    returns: Floats
    """(n,) how much people come back to each item."""
    popularity: Popularity
    support: Floats
    """(n,) people who like each item."""
    shares: Floats
    """(n, kinds of content) how much is lent to each item by each of `KINDS` that there is, adding up to 1."""
    settings: PreferenceSettings
    """What all this was fitted with, and how a taste fades when it is asked."""
    events: EventSettings
    """What events weighed when it was fitted."""

    @property
    def own(self) -> Floats:
        """(n,) what each item's own behaviour counts against what is lent to it: 0 for a new item, towards 1."""
        return self.support / (self.support + np.float32(self.settings.lend_until))

    @property
    def rows(self) -> dict[str, tuple[Sparse, float]]:
        """The matrices there are, and how fast a taste fades when each is asked."""
        found = {
            "cooccurrence": (self.cooccurrence, self.settings.cooccurrence_fading),
            "transitions": (self.transitions, self.settings.transitions_fading),
            "linear": (self.linear, self.settings.linear_fading),
        }
        return {name: (W, fading) for name, (W, fading) in found.items() if W is not None}

    @property
    def reach(self) -> dict[str, dict[str, int | str]]:
        """The models there are, how many of the catalogue's items each can recommend, and its size."""
        found: dict[str, dict[str, int | str]] = {
            name: {"items": _columns_of(W), "of": W.shape[1], "weights": W.nnz}
            for name, (W, _) in self.rows.items()
        }
        if "linear" in found:
            found["linear"]["solve"] = "dense"
        if self.factors is not None:
            known = int(self.factors.present.sum())
            n, dimensions = self.factors.items.shape
            found["factors"] = {"items": known, "of": n, "dimensions": dimensions}
        return found

    def with_new(
        self, count: int, items: Ordinals, spaces: Mapping[str, ContentPrior]
    ) -> "Preference":
        """The same over `count` items, those behind the known ones among them without behaviour.

        items: those, ascending, whose behaviour is to be lent anew: new ones, and others that nobody has liked.
        """
        n = len(self.support)
        support = np.append(self.support, np.zeros(count - n, dtype=np.float32))
        priors = [spaces[kind] for kind in KINDS if kind in spaces]

        shares = with_new_shares(self.shares, support, priors, self.settings)
        own, k = self.settings, self.settings.cooccurrence_neighbours
        growth, onward = _growths(own)
        lends = {"cooccurrence": (growth, k), "transitions": (onward, k)}
        if reaches_new(own, list(spaces), count):
            lends["linear"] = (0.0, own.linear_neighbours)
        models: dict[str, Any] = {name: grown(W, count) for name, (W, _) in self.rows.items()}
        for name in models.keys() & lends.keys() if priors else ():
            models[name] = lend_to(models[name], items, support, priors, shares, own, *lends[name])
        return replace(
            self,
            **models,
            factors=None if self.factors is None else self.factors.grown(count),
            returns=np.append(self.returns, np.full(count - n, self._usual_returns)),
            popularity=self.popularity.grown(count),
            support=support,
            shares=shares,
        )

    @property
    def _usual_returns(self) -> np.float32:
        """How much people come back to an item that nobody has liked yet."""
        without = self.returns[self.support == 0]
        usual = without[0] if len(without) else np.average(self.returns, weights=self.support)
        return np.float32(usual)

    def write(self, folder: Path) -> None:
        """Write .npy files into a folder, which is made; it should hold none from before."""
        folder.mkdir(parents=True, exist_ok=True)
        write_sparse(self.cooccurrence, folder, "cooccurrence")
        write_array(self.returns, folder / "returns.npy")
        write_array(self.support, folder / "support.npy")
        write_array(self.shares, folder / "shares.npy")
        write_array(self.popularity.popular, folder / "popular.npy")
        write_array(self.popularity.trending, folder / "trending.npy")
        write_array(np.array(self.popularity.as_of), folder / "as_of.npy")
        for name, W in (("transitions", self.transitions), ("linear", self.linear)):
            if W is not None:
                write_sparse(W, folder, name)
        (folder / "settings.json").write_text(self.settings.model_dump_json(), encoding="utf-8")
        (folder / "events.json").write_text(self.events.model_dump_json(), encoding="utf-8")
        if self.factors is not None:
            self.factors.write(folder)

    @classmethod
    def load(cls, folder: Path) -> "Preference":
        """Read what `write` wrote; large arrays stay in their files until they are touched."""
        return cls(
            cooccurrence=read_sparse(folder, "cooccurrence"),
            transitions=_read_if_there(folder, "transitions"),
            linear=_read_if_there(folder, "linear"),
            factors=Factors.load(folder) if (folder / "factors.npy").exists() else None,
            returns=read_array(folder / "returns.npy"),
            popularity=Popularity(
                popular=read_array(folder / "popular.npy"),
                trending=read_array(folder / "trending.npy"),
                as_of=int(read_array(folder / "as_of.npy")),
            ),
            support=read_array(folder / "support.npy"),
            shares=read_array(folder / "shares.npy"),
            settings=PreferenceSettings.model_validate_json(
                (folder / "settings.json").read_text(encoding="utf-8")
            ),
            events=EventSettings.model_validate_json(
                (folder / "events.json").read_text(encoding="utf-8")
            ),
        )


def _columns_of(W: Sparse) -> int:
    """How many columns hold something."""
    held = np.zeros(W.shape[1], dtype=bool)
    held[W.indices] = True
    return int(held.sum())


def _growths(settings: PreferenceSettings) -> tuple[float, float]:
    """Power of popularity that is in a column of co-occurrence and of transitions."""
    return (
        settings.cooccurrence_sharpness * (1 - settings.cooccurrence_to_exponent),
        settings.transitions_sharpness * (1 - settings.transitions_to_exponent),
    )


def _read_if_there(folder: Path, name: str) -> Sparse | None:
    return read_sparse(folder, name) if (folder / f"{name}.shape.npy").exists() else None


def fit_preference(
    log: EventLog,
    n_items: int,
    spaces: Mapping[str, ContentPrior],
    settings: Settings,
    progress: Callable[[str], None] | None = None,
    categories: Sparse | None = None,
) -> Preference:
    """Fit every model to a log. spaces: kind of content ("text", "image") -> what it says of the items.

    categories: (n, categories) what may differ in which kind of content tells more; None: nothing does.
    progress is called with the name of each step as it starts. The same log and settings give the same models.
    """
    tell = progress or (lambda step: None)
    own = settings.preference
    priors = [spaces[kind] for kind in KINDS if kind in spaces]
    contents = {kind: prior.rows for kind, prior in spaces.items() if prior.rows is not None}
    tell("interactions")
    found = interactions(log, n_items, settings.events, own.longest_history)
    tell("co-occurrence")
    cooccurrence = fit_cooccurrence(found.matrix, own)
    tell("transitions")
    order = sequences(log, n_items, settings.events, own.longest_history)
    transitions = fit_transitions(order, own)
    shares = fit_shares(cooccurrence, found.support, priors, categories, own)
    if priors:
        tell("lending to cold items")
        growth, onward = _growths(own)
        cooccurrence = lend(cooccurrence, found.support, priors, shares, own, growth)
        if transitions is not None:
            transitions = lend(transitions, found.support, priors, shares, own, onward)
    tell("linear model")
    linear = fit_linear(found.matrix, contents, own)
    tell("factors")
    factors = fit_factors(found.matrix, own, settings.evaluation.seed)
    tell("popularity")
    popularity = fit_popularity(log, n_items, settings)
    return Preference(
        loudest_first(cooccurrence),
        None if transitions is None else loudest_first(transitions),
        None if linear is None else loudest_first(linear),
        factors,
        fit_returns(order),
        popularity,
        found.support,
        shares,
        settings=own,
        events=settings.events,
    )
