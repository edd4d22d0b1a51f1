"""The first program in Python: leads when it can, works while it leads, stops when it must; hands over at once on SIGTERM.

    pip install ./python
    python examples/first.py [HOST:PORT]        (else LEADERSHIP_ENDPOINTS, else 127.0.0.1:2379)
"""

import signal
import sys

import leadership
from leadership import Op


def work(term: leadership.Term) -> None:
    """A write that etcd applies only while this very term holds the key; elsewhere, send the token along."""
    term.txn().then(Op.put("example/state", f"written under token {term.token}")).commit()


def tell(event: leadership.Event) -> None:
    """Called on a thread of the library; it returns quickly."""
    if event.leader:
        print(f"{event.leader.value.decode()} leads", flush=True)


def main() -> int:
    endpoint = sys.argv[1] if len(sys.argv) > 1 else None
    with leadership.connect(endpoint) as client, client.elector("example/leader", value="me", ttl=5) as elector:
        # A handler interrupts the work, so it must not wait for it: the term is lost, the loop sees that and ends.
        signal.signal(signal.SIGTERM, lambda *_: elector.close(wait=False))
        elector.on_event(tell)
        for term in elector:  # waits for its turn; after a loss, for the next one
            print(f"leads, token {term.token}", flush=True)
            try:
                while not term.wait_lost(0.2):
                    work(term)
            except leadership.NotLeader:
                pass  # etcd refused the write: the term is over
            print(f"stops: {term.lost}", flush=True)
    return 0  # leaving the blocks has released the key: the next one leads at once


if __name__ == "__main__":
    sys.exit(main())
