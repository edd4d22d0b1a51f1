"""Hand-overs from Python: by the holder, by its elector's other threads, by operators. What may go wrong in the middle is
tested in the core (case 36)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import leadership
import leadership.testing
import pytest
from conftest import until
from leadership import Successor
from test_elector import Background


class Candidate:
    """A process of its own in all but name: a client, an elector, a thread that wants a term and works under it."""

    def __init__(self, endpoint: str, key: str, value: str, priority: int = 0) -> None:
        self.client = leadership.connect(endpoint)
        self.elector = self.client.elector(key, value, priority=priority, cool_down=0.2, drain_timeout=30)
        self.tokens: list[int] = []
        self.losses: list[str] = []
        self.work = Background(self.run)

    def run(self) -> None:
        for term in self.elector:
            self.tokens.append(term.token)
            self.losses.append(str(term.wait_lost()))

    def close(self) -> None:
        self.elector.close()
        self.work.result()
        self.client.close()


@pytest.fixture
def three(server: leadership.testing.Server) -> Iterator[list[Candidate]]:
    """The first leads, the others stand, the last with the highest priority."""
    candidates = []
    for value, priority in (("a", 0), ("b", 0), ("c", 5)):
        candidates.append(Candidate(server.endpoint, "k", value, priority))
        stand = len(candidates)
        until(lambda: len(candidates[0].elector.participants()) == stand and candidates[0].elector.is_leader, "it stands")
    yield candidates
    for candidate in candidates:
        candidate.close()


def test_participants_and_hand_overs(three: list[Candidate], server: leadership.testing.Server) -> None:
    a, b, c = three
    with leadership.connect(server.endpoint) as outside:
        observer, operator = outside.observer("k"), outside.operator("k")
        news = [next(observer)]
        who = a.elector.participants()
        assert [(one.value, one.leads, one.priority) for one in who] == [(b"a", True, 0), (b"c", False, 5), (b"b", False, 0)]
        assert operator.participants() == who
        with pytest.raises(leadership.InvalidArgument, match='"zoe".*"c" "b"') as unknown:
            a.elector.transfer("zoe")
        assert unknown.value.argument == "to" and a.elector.is_leader
        assert a.elector.transfer("a").value == b"a" and a.elector.is_leader and a.losses == []
        with pytest.raises(leadership.NotLeader):
            b.elector.transfer()

        handed = a.elector.transfer("b")
        assert handed.leads and handed.value == b"b"
        until(lambda: b.tokens, "b leads")
        assert a.losses == ["handed_over"] and b.tokens[0] > a.tokens[0]
        assert operator.transfer(Successor.HIGHEST).value == b"c"
        until(lambda: c.tokens, "c leads")
        handed = c.elector.transfer(Successor.RANDOM)
        assert handed.value in (b"a", b"b")
        until(lambda: len(a.tokens) + len(b.tokens) == 3, "one of them leads, again")
        assert c.losses == ["handed_over"]
        while (news[-1].leader and news[-1].leader.token) != max(a.tokens + b.tokens):
            news.append(next(observer))
        assert all(seen.leader for seen in news), "there was no instant without a leader"


def test_a_leader_yields_to_its_betters(server: leadership.testing.Server) -> None:
    """`take_back`, by the periodic read of who stands."""
    with leadership.connect(server.endpoint, reread_interval=1) as client:
        with client.elector("k", "a", priority=1, take_back=True) as elector:
            term = elector.next_term()
            assert term is not None
            same = Candidate(server.endpoint, "k", "b", priority=1)
            better = Candidate(server.endpoint, "k", "c", priority=2)
            assert term.wait_lost(10) == "handed_over"
            term.resign()
            until(lambda: better.tokens, "the better one leads")
            assert same.tokens == []
            same.close()
            better.close()


def test_a_holder_hands_over_what_it_holds_itself(client: leadership.Client, server: leadership.testing.Server) -> None:
    """It waits for the hand-over, so it has done with the term: no drain, and the successor leads at once."""
    with client.elector("k", "a", drain_timeout=20) as elector:
        term = elector.next_term()
        assert term is not None
        assert elector.transfer().value == b"a" and term.valid, "nobody else stands"
        other = Candidate(server.endpoint, "k", "b")
        until(lambda: len(elector.participants()) == 2, "it stands")
        before = time.monotonic()
        handed = elector.transfer("b")
        assert handed.value == b"b" and term.lost == "handed_over" and not term.valid
        until(lambda: other.tokens, "it leads")
        assert time.monotonic() - before < 5 and other.tokens[0] > term.token
        other.close()
