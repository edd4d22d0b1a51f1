"""The first program in Python: wins an election, works while it leads, says why it stopped; hands over at once on SIGTERM.

    pip install ./python
    python examples/first.py [HOST:PORT]        (else LEADERSHIP_ENDPOINTS, else 127.0.0.1:2379)
"""

import signal
import sys
import threading

import leadership
from leadership import Op

stop = threading.Event()


def work(term: leadership.Term) -> None:
    """A write that etcd applies only while this very term holds the key; elsewhere, send the token along."""
    term.txn().then(Op.put("example/state", f"written under token {term.token}")).commit()


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    endpoint = sys.argv[1] if len(sys.argv) > 1 else None
    with leadership.connect(endpoint) as client, client.leadership("example/leader", purpose="example") as lead:
        client.ready(10)
        while not stop.is_set():
            try:
                term = lead.campaign("me", ttl=5)
            except leadership.NotElected as error:
                print(f"{error.holder.value.decode() if error.holder else 'another'} leads", flush=True)
                try:
                    lead.watch(error.holder.mod_revision if error.holder else 0, timeout=1)
                except leadership.Timeout:
                    pass  # still there: look at the signal, and wait on
                continue
            lead.keep()
            print(f"leads, token {term.token}", flush=True)
            try:
                while not term.lost and not stop.wait(0.2):
                    work(term)
            except leadership.NotLeader:
                pass  # etcd refused the write: the term is over
            print(f"stops: {term.lost or 'asked to'}", flush=True)
    return 0  # leaving the blocks has resigned: the next one leads at once


if __name__ == "__main__":
    sys.exit(main())
