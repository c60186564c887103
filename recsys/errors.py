"""Every error a caller can meet, as one tree.

    RecsysError
    ├── ConfigError          a setting is unknown, malformed or contradictory
    ├── InputError           what the caller gave cannot be used
    │   ├── FeedError        a file to import is missing, unreadable or lacks a needed column
    │   ├── ContentError     a text or a picture cannot be embedded
    │   ├── QueryError       a request contradicts itself or asks what this build cannot do
    │   ├── UnknownItem      an item id that is not in the catalogue
    │   └── UnknownRule      the id of a rule that is not kept
    ├── DatabaseError        the database is unreachable or its schema is not this version's
    ├── EncoderError         a model is missing, or cannot encode this kind of content
    │   └── EncoderLoading   a model is still being loaded
    ├── BatchError           a batch cannot go on
    ├── BuildError           a rebuild cannot go on
    │   ├── RebuildRunning   another rebuild holds the lock
    │   └── GateRefused      the new snapshot is worse than what it would replace
    └── SnapshotError        a snapshot cannot be used
        ├── NoSnapshot       nothing has been published yet
        ├── Superseded       another snapshot has been published meanwhile
        └── SnapshotCorrupt  a file is missing or differs from its manifest

A message says what was found, what was expected and what to do. Only `serving.app` turns these
into status codes, and only `cli` turns them into exit codes.
"""


class RecsysError(Exception):
    """The root of the tree: `except RecsysError` catches what a user can cause and mend."""


class ConfigError(RecsysError):
    """A setting is unknown, malformed or contradictory."""


class InputError(RecsysError):
    """What the caller gave cannot be used."""


class FeedError(InputError):
    """A file to import is missing, unreadable or lacks a needed column."""


class ContentError(InputError):
    """A text or a picture cannot be embedded: it is empty, broken, too large or not there."""


class QueryError(InputError):
    """A request contradicts itself or asks for what this build cannot do."""


class UnknownItem(InputError):
    """An item id that is not in the catalogue."""


class UnknownRule(InputError):
    """The id of a rule that is not kept."""


class DatabaseError(RecsysError):
    """The database is unreachable, or its schema is not this version's."""


class EncoderError(RecsysError):
    """A model is missing or broken, or cannot encode this kind of content."""


class EncoderLoading(EncoderError):
    """A model is still being loaded, or has too much to do."""


class BatchError(RecsysError):
    """A batch cannot go on."""


class BuildError(RecsysError):
    """A rebuild cannot go on."""


class RebuildRunning(BuildError):
    """Another rebuild holds the lock."""


class GateRefused(BuildError):
    """The new snapshot is worse than what it would replace."""


class SnapshotError(RecsysError):
    """A snapshot cannot be used."""


class NoSnapshot(SnapshotError):
    """Nothing has been published yet."""


class Superseded(SnapshotError):
    """Another snapshot has been published meanwhile."""


class SnapshotCorrupt(SnapshotError):
    """A file of a snapshot is missing or differs from its manifest."""
