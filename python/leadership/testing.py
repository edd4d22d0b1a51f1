"""An etcd in memory, in this process, on a loopback socket, with faults: for tests, never for production.

    with leadership.testing.server() as server, leadership.connect(server.endpoint) as client:
        term = client.lead("k")
        server.delete("k")                  # a stranger's delete ...
        assert term.wait_lost(5) == "key_deleted"    # ... ends the term at once

Owns nothing: the server is the repository's test server, held to the real etcd's behaviour by its own suite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._testing import Server
else:
    from . import _leadership

    Server = _leadership.testing.Server

__all__ = ["Server", "server"]


def server(*, members: int = 1, version: str | None = None, seed: int = 0) -> Server:
    """Starts a server with 1 or 3 members that behaves as this version of etcd ("3.4" to "3.7", default the newest).

    A context manager; `server.endpoint` is where it listens.
    """
    return Server(members=members, version=version, seed=seed)
