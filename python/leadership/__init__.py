"""Leader election with provable authority, on etcd.

A service learns that it leads, checks it in nanoseconds (`term.valid`), proves it on every write (`term.txn()`,
`term.token`) and stops in time when it no longer does (`term.lost`):

    import leadership

    with leadership.connect("127.0.0.1:2379") as client:
        with client.elector("billing/leader", value="host-a:8080", ttl=5) as elector:
            for term in elector:                            # waits; taking the next term ends the one before
                while not term.lost:                        # tens of nanoseconds, no I/O
                    step(fencing_token=term.token)

`client.leadership(key)` gives every step into your hands; `client.election(prefix)` is an election of the queue kind, and
`client.observer(key)` sees one from outside.

Everything that waits releases the interpreter lock, and Ctrl-C ends it within 100 ms; what it had begun is undone.
Keys and values are `str` (as UTF-8) or `bytes` on the way in, `bytes` on the way out; times are seconds (or a
`timedelta`). All objects are safe to use from any thread; none can be pickled. After `os.fork()` the child's objects say
"not leader" and raise `Forked`: connect anew there.

What the library logs goes to the logger `leadership` of `logging`, on a thread of its own; the logger's level is taken
over with each client that is made.

What it does not promise: that a process that believes it leads is still leading when its packet arrives elsewhere. That
is what the token and the guarded transaction are for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta

from . import _atexit
from ._errors import (
    Cancelled,
    Closed,
    ClusterChanged,
    CompareFailed,
    Forked,
    Internal,
    InvalidArgument,
    LeadershipError,
    NotElected,
    NotLeader,
    OutcomeUnknown,
    PermissionDenied,
    Timeout,
    Unavailable,
)
from ._leadership import (
    Client,
    Compare,
    Election,
    Elector,
    Event,
    Events,
    KeyValue,
    Leader,
    Leadership,
    Lease,
    Observed,
    Observer,
    Op,
    Operator,
    OpReply,
    OwnedTerm,
    Participant,
    SharedLease,
    Term,
    Txn,
    TxnReply,
    WatchEnd,
)
from ._types import ElectorState, EventKind, Reason, Successor, WatchEnded

__all__ = [
    "Cancelled",
    "Client",
    "Closed",
    "ClusterChanged",
    "Compare",
    "CompareFailed",
    "Election",
    "Elector",
    "ElectorState",
    "Event",
    "EventKind",
    "Events",
    "Forked",
    "Internal",
    "InvalidArgument",
    "KeyValue",
    "Leader",
    "Leadership",
    "LeadershipError",
    "Lease",
    "NotElected",
    "NotLeader",
    "Observed",
    "Observer",
    "Op",
    "OpReply",
    "Operator",
    "OutcomeUnknown",
    "OwnedTerm",
    "Participant",
    "PermissionDenied",
    "Reason",
    "SharedLease",
    "Successor",
    "Term",
    "Timeout",
    "Txn",
    "TxnReply",
    "Unavailable",
    "WatchEnd",
    "WatchEnded",
    "connect",
]


def connect(
    endpoints: str | Iterable[str] | None = None,
    *,
    user: str | None = None,
    password: str | None = None,
    tls_ca: str | os.PathLike[str] | bytes | None = None,
    tls_cert: str | os.PathLike[str] | bytes | None = None,
    tls_key: str | os.PathLike[str] | bytes | None = None,
    namespace: str | bytes | None = None,
    request_timeout: float | timedelta | None = None,
    drift: float | None = None,
    reread_interval: float | timedelta | None = None,
    endpoint_sync: float | timedelta | None = None,
) -> Client:
    """A client of one etcd cluster; returns at once, `client.ready()` waits for a member.

    `endpoints`: "host:port", several of them with commas between or as a list; "https://host:port" encrypts.
    None: endpoints, user and certificates come from the environment where they are not said here (`LEADERSHIP_ENDPOINTS`,
    else 127.0.0.1:2379; `_USER`, `_PASSWORD`, `_TLS_CA`, `_TLS_CERT`, `_TLS_KEY`; and etcdctl's `ETCDCTL_...`).
    `tls_*`: a file's path, or PEM as bytes; files are read again for each new connection. `namespace`: put in front of
    every key. `request_timeout`: of a call in all (2 s). `drift`: by what share clock rates may differ (0.01).
    `reread_interval`: how often watched keys are read again (15 s). `endpoint_sync`: how often etcd's member list is
    followed (never).

    Raises `InvalidArgument`, which names the argument.
    """
    if isinstance(endpoints, str):
        endpoints = [part.strip() for part in endpoints.split(",")]
    client = Client(
        None if endpoints is None else list(endpoints),
        user=user,
        password=password,
        tls_ca=tls_ca,
        tls_cert=tls_cert,
        tls_key=tls_key,
        namespace=namespace,
        request_timeout=request_timeout,
        drift=drift,
        reread_interval=reread_interval,
        endpoint_sync=endpoint_sync,
    )
    _atexit.close_at_exit(client)
    return client
