"""The exceptions: one class for each error of the core, also deriving from Python's own where it is one of them.

Owns classes and bases; codes, messages and attribute values are the core's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._leadership import Leader
    from ._types import Reason


class LeadershipError(Exception):
    """The base of all: `code` is the error's stable number, `is_retriable` whether the same call may simply be repeated."""

    code: int = 0
    is_retriable: bool = False


class InvalidArgument(LeadershipError, ValueError):
    """An argument is unusable; nothing was sent. `argument` names it."""

    code = 1
    argument: str = ""


class Unavailable(LeadershipError, ConnectionError):
    """No member could serve the call; it was not applied."""

    code = 2
    is_retriable = True


class Timeout(LeadershipError, TimeoutError):
    """The call's time was up; it was not applied."""

    code = 3
    is_retriable = True


class Cancelled(LeadershipError):
    """The call was cancelled, by a reset for instance."""

    code = 4


class NotElected(LeadershipError):
    """Another holds the key: `holder`, when it was seen."""

    code = 5
    key: str = ""
    holder: Leader | None = None


class CompareFailed(LeadershipError):
    """A compare that was added to a campaign did not hold."""

    code = 6
    key: str = ""


class NotLeader(LeadershipError):
    """A call on a term that has ended (`reason`), or without a term (None)."""

    code = 7
    key: str = ""
    reason: Reason | None = None


class OutcomeUnknown(LeadershipError):
    """A write may or may not have been applied; `read` says what to read to find out."""

    code = 8
    read: str = ""


class PermissionDenied(LeadershipError, PermissionError):
    """etcd's roles do not allow it, or user and password are wrong."""

    code = 9


class ClusterChanged(LeadershipError):
    """A member of another cluster answered, or the cluster was wiped or restored: `member` is the endpoint that did."""

    code = 10
    member: str = ""


class Closed(LeadershipError):
    """The client was closed."""

    code = 11


class Forked(LeadershipError):
    """The process was forked: handles of the parent are dead in the child. Connect anew."""

    code = 12


class Internal(LeadershipError):
    """A bug in this library."""

    code = 13


# What a traceback shows, and what is pickled: the name that people catch.
for _error in (LeadershipError, *LeadershipError.__subclasses__()):
    _error.__module__ = "leadership"
