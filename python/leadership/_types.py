"""The enumerations of the package: members of what is told are strings, equal to the names in every language and in
`--json`; those of what is asked for are not, where a string means something else.

Owns their Python form; the core owns the lists (a test compares them).
"""

import enum


class Reason(enum.StrEnum):
    """Why a term was lost."""

    EXPIRED = "expired"
    REVOKED = "revoked"
    KEY_DELETED = "key_deleted"
    OVERWRITTEN = "overwritten"
    HANDED_OVER = "handed_over"
    RESIGNED = "resigned"
    UNHEALTHY = "unhealthy"
    PAUSED = "paused"
    CLOSED = "closed"
    FORKED = "forked"
    SUSPENDED = "suspended"
    CLUSTER_CHANGED = "cluster_changed"
    GUARD_FAILED = "guard_failed"


class EventKind(enum.StrEnum):
    """What happened to a term or an elector."""

    CAMPAIGNING = "campaigning"
    ELECTED = "elected"
    JEOPARDY = "jeopardy"
    SECURED = "secured"
    LOST = "lost"
    LEADER = "leader"
    VACANT = "vacant"
    PAUSED = "paused"
    STOPPED = "stopped"


class ElectorState(enum.StrEnum):
    """Where an elector's loop stands."""

    FOLLOWER = "follower"
    CAMPAIGNING = "campaigning"
    DELAYED = "delayed"
    LEADING = "leading"
    JEOPARDY = "jeopardy"
    DRAINING = "draining"
    PAUSED = "paused"
    STOPPED = "stopped"


class WatchEnded(enum.StrEnum):
    """Why a watch of the leader ended."""

    DELETED = "deleted"
    OVERWRITTEN = "overwritten"
    CANCELLED = "cancelled"
    CLOSED = "closed"


class Successor(enum.Enum):
    """Who shall lead next, where no candidate is named."""

    RANDOM = "random"
    HIGHEST = "highest"
