"""Elections of the queue kind from Python. The queue's own cases are the core's tests."""

from __future__ import annotations

import uuid

import leadership
import leadership.testing
import pytest
from conftest import until
from test_elector import Background


def test_candidates_lead_in_the_order_in_which_they_came(endpoint: str) -> None:
    prefix = f"queue/{uuid.uuid4()}"
    with leadership.connect(endpoint) as client:
        election = client.election(prefix)
        assert election.prefix == prefix.encode() and election.leader() is None and election.client is client
        first = election.campaign("one", ttl=5)
        assert first.valid and first.key == f"{prefix}/{first.lease_id:x}".encode()
        second = Background(lambda: election.campaign("two"))
        leader = election.leader()
        assert leader is not None and (leader.value, leader.token) == (b"one", first.token)
        until(lambda: len(election.participants()) == 2, "it stands in line")
        leads, waits = election.participants()
        assert (leads.value, leads.leads, leads.lease_id, leads.priority) == (b"one", True, first.lease_id, 0)
        assert (waits.value, waits.leads) == (b"two", False) and waits.revision > leads.revision and "two" in repr(waits)
        observer = election.observe()
        assert (seen := next(observer).leader) is not None and seen.value == b"one"
        election.proclaim("one, still")
        assert first.value == b"one, still"
        assert (seen := next(observer).leader) is not None and seen.value == b"one, still"
        with first:
            assert second.thread.is_alive()
        term = second.result()
        assert first.lost == "resigned" and term.valid and term.token > first.token and term.value == b"two"
        assert (seen := next(observer).leader) is not None and (seen.value, seen.token) == (b"two", term.token)
        election.resign()
        assert term.lost == "resigned" and election.leader() is None and next(observer).leader is None


def test_who_gives_up_leaves_the_queue(client: leadership.Client, server: leadership.testing.Server) -> None:
    """case_06, case_35: by a timeout, and by the client's end."""
    election = client.election("q")
    held = election.campaign("one")
    with pytest.raises(leadership.Timeout, match='"q"'):
        election.campaign("two", timeout=0.2)
    until(lambda: len(server.keys()) == 1, "its key has gone")
    with leadership.connect(server.endpoint) as other:
        waits = Background(lambda: other.election("q").campaign("three"))
        until(lambda: len(server.keys()) == 2, "it stands in line")
    with pytest.raises(leadership.Closed):
        waits.result()
    assert len(server.keys()) == 1 and held.valid


def test_a_place_that_was_lost_fails_at_once(client: leadership.Client, server: leadership.testing.Server) -> None:
    """case_05"""
    election = client.election("q")
    held = election.campaign("one")
    waits = Background(lambda: election.campaign("two"))
    until(lambda: len(server.keys()) == 2, "it stands in line")
    server.delete(next(key for key in server.keys() if key != held.key))
    with pytest.raises(leadership.NotElected):
        waits.result()


def test_an_elector_in_a_queue(client: leadership.Client, server: leadership.testing.Server) -> None:
    """The everyday loop stands in line beside candidates that campaign by hand."""
    election = client.election("q")
    held = election.campaign("one")
    with client.elector("q", "two", mode="queue") as elector:
        waits = Background(elector.next_term)
        until(lambda: len(election.participants()) == 2, "it stands in line")
        assert (leader := elector.leader()) is not None and leader.value == b"one" and not elector.is_leader
        held.resign()
        with waits.result() as term:
            assert term.token > held.token and elector.is_leader
            assert server.get(f"q/{term.lease_id:x}") == b"two"
            waits = Background(lambda: election.campaign("three"))
            until(lambda: len(elector.participants()) == 2, "it stands in line")
            with pytest.raises(leadership.InvalidArgument) as refused:
                elector.transfer("nobody")
            assert refused.value.argument == "to" and elector.is_leader
            elector.transfer()
        with waits.result() as next_in_line:
            assert next_in_line.valid and not elector.is_leader
    until(lambda: election.participants() == [], "it has left")
