"""Everything that is learned from behaviour, fitted in one go and kept as plain arrays.

EventLog -> Interactions -> co-occurrence, linear model, factors -> lent to cold items -> Preference
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from recsys.catalogue.event_log import EventLog
from recsys.config import Settings
from recsys.identity import Floats
from recsys.preference.cold import ContentPrior, lend
from recsys.preference.cooccurrence import fit_cooccurrence
from recsys.preference.factors import Factors, fit_factors
from recsys.preference.interactions import interactions
from recsys.preference.linear import fit_linear
from recsys.preference.popularity import Popularity, fit_popularity
from recsys.preference.sparse import Sparse, read_array, read_sparse, write_array, write_sparse

__all__ = ["ContentPrior", "Preference", "fit_preference"]

KINDS = ("text", "image")
"""Kinds of content, the more telling first."""


@dataclass(frozen=True)
class Preference:
    """The models of taste over n items. In a matrix the row is the item come from."""

    cooccurrence: Sparse
    """(n, n), behaviour lent to cold items included."""
    linear: Sparse | None
    """(n, n); None when switched off or when there are too many items."""
    factors: Factors | None
    """None when switched off or when nobody has liked anything."""
    popularity: Popularity
    support: Floats
    """(n,) people who like each item."""

    def write(self, folder: Path) -> None:
        """Write .npy files into a folder, which is made; it should hold none from before."""
        folder.mkdir(parents=True, exist_ok=True)
        write_sparse(self.cooccurrence, folder, "cooccurrence")
        write_array(self.support, folder / "support.npy")
        write_array(self.popularity.popular, folder / "popular.npy")
        write_array(self.popularity.trending, folder / "trending.npy")
        if self.linear is not None:
            write_sparse(self.linear, folder, "linear")
        if self.factors is not None:
            self.factors.write(folder)

    @classmethod
    def load(cls, folder: Path) -> "Preference":
        """Read what `write` wrote; large arrays stay in their files until they are touched."""
        return cls(
            cooccurrence=read_sparse(folder, "cooccurrence"),
            linear=read_sparse(folder, "linear")
            if (folder / "linear.shape.npy").exists()
            else None,
            factors=Factors.load(folder) if (folder / "factors.npy").exists() else None,
            popularity=Popularity(
                popular=read_array(folder / "popular.npy"),
                trending=read_array(folder / "trending.npy"),
            ),
            support=read_array(folder / "support.npy"),
        )


def fit_preference(
    log: EventLog,
    n_items: int,
    spaces: Mapping[str, ContentPrior],
    settings: Settings,
    progress: Callable[[str], None] | None = None,
) -> Preference:
    """Fit every model to a log. spaces: kind of content ("text", "image") -> what it says of the items.

    progress is called with the name of each step as it starts. The same log and settings give the same models.
    """
    tell = progress or (lambda step: None)
    own = settings.preference
    priors = [spaces[kind] for kind in KINDS if kind in spaces]
    content = next((prior.rows for prior in priors if prior.rows is not None), None)
    tell("interactions")
    found = interactions(log, n_items, settings.events, own.longest_history)
    tell("co-occurrence")
    cooccurrence = fit_cooccurrence(found.matrix, own)
    tell("lending to cold items")
    lent = lend(cooccurrence, found.support, priors, own) if priors else cooccurrence
    tell("linear model")
    linear = fit_linear(found.matrix, content, own)
    tell("factors")
    factors = fit_factors(found.matrix, own, settings.evaluation.seed)
    tell("popularity")
    return Preference(lent, linear, factors, fit_popularity(log, n_items, settings), found.support)
