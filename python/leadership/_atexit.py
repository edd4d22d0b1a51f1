"""Closes what is still open when the interpreter ends, before Python joins its threads: keys are released at once.

Owns the list of open clients and when they are closed; closing is the client's.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref

from ._leadership import Client, close_all

# Seconds by which the interpreter's end is held up at most, whatever etcd does: as long as one request may take.
EXIT_FLUSH = 2.0

_open: weakref.WeakSet[Client] = weakref.WeakSet()
_process = os.getpid()


def close_at_exit(client: Client) -> None:
    """Remembers a client, weakly: one that is dropped before is closed by that."""
    global _process
    if _process != os.getpid():  # a forked child: the parent's clients are the parent's to close
        _open.clear()
        _process = os.getpid()
    _open.add(client)


def _close_all() -> None:
    if _process != os.getpid():
        return
    # What is left after that goes with its lease; nobody is there to be told.
    close_all(list(_open), EXIT_FLUSH)


# Functions registered here run before the threads are joined, those of `atexit` after: a thread that waits in a watch
# would never be joined. The name is private, so its absence must not matter.
_register = getattr(threading, "_register_atexit", atexit.register)
_register(_close_all)
