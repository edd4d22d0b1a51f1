"""The full control of an election from Python, on the test server and on a real etcd. The cases themselves are the
core's tests; here it is what a conversion can get wrong."""

from __future__ import annotations

import datetime
import gc
import os
import threading
import time
import uuid
import weakref

import leadership
import leadership.testing
import pytest
from conftest import until
from leadership import Compare, Op


def test_win_check_write_lose(endpoint: str) -> None:
    key = f"win/{uuid.uuid4()}"
    with leadership.connect(endpoint) as client, leadership.connect(endpoint) as other:
        client.ready(5)
        lead, rival = client.leadership(key, purpose="test"), other.leadership(key)
        assert not lead.check() and lead.term is None
        term = lead.campaign(b"a\xff", ttl=datetime.timedelta(seconds=5))
        lead.keep()
        assert lead.check() and term.valid and term.lost is None
        assert 0 < term.remaining <= 5 and term.ttl == 5 and term.key == key.encode() and term.value == b"a\xff"
        leader = other.get_leader(key)
        assert leader and (leader.value, leader.token, leader.lease_id) == (b"a\xff", term.token, term.lease_id)
        with pytest.raises(leadership.NotElected) as lost:
            rival.campaign("b")
        assert lost.value.holder == leader and lost.value.code == 5 and not lost.value.is_retriable
        reply = lead.txn().then(Op.put(key + ".x", "1"), Op.get(key + ".x")).commit()
        assert reply.succeeded and [reply.replies[0].kind, reply.replies[1].count] == ["put", 1]
        assert [kv.value for kv in reply.kvs(1)] == [b"1"] and reply.kvs(0) == [] and reply.kvs(99) == []
        txn = lead.txn().when(Compare.value(key + ".x", "==", "2")).or_else(Op.delete(key + ".x"))
        reply = txn.commit()
        assert not reply.succeeded and reply.replies[0].deleted == 1
        told: list[leadership.WatchEnd] = []
        watcher = threading.Thread(target=lambda: told.append(rival.watch(leader.mod_revision, timeout=10)))
        watcher.start()
        other.leadership(key).delete_leader_key_at(leader.mod_revision)
        assert term.wait_lost(5) == leadership.Reason.KEY_DELETED and not term.valid and not lead.check()
        watcher.join()
        assert told[0].why == leadership.WatchEnded.DELETED and (told[0].revision or 0) > leader.mod_revision
        with pytest.raises(leadership.NotLeader) as ended:
            term.txn().then(Op.put("never", "")).commit()
        assert ended.value.reason is leadership.Reason.KEY_DELETED and ended.value.key == key


def test_contexts_release(endpoint: str) -> None:
    key = f"contexts/{uuid.uuid4()}"
    with leadership.connect(endpoint) as observer:
        with leadership.connect(endpoint) as client:
            with client.leadership(key) as lead:
                term = lead.campaign("a")
            assert term.lost == "resigned" and observer.get_leader(key) is None
            with pytest.raises(KeyError), client.leadership(key) as lead:
                lead.campaign("b")
                raise KeyError
            assert observer.get_leader(key) is None
            with client.lease(5, purpose="l") as lease:
                assert not lease.is_expired and lease.purpose == "l" and observer.lease_time_left(lease.id)
            assert lease.is_expired and observer.lease_time_left(lease.id) is None
            held = client.leadership(key).campaign  # its leadership is dropped with it
            term = held("c")
            del held
            gc.collect()
            until(lambda: observer.get_leader(key) is None, "a dropped leadership lets its key go")
            term = lead.campaign("d")
        assert client.closed and term.lost in ("closed", "resigned") and observer.get_leader(key) is None
        client.close()
        with pytest.raises(leadership.Closed):
            client.get_leader(key)


def test_events_come_in_order_on_a_thread_of_the_library(server: leadership.testing.Server) -> None:
    seen: list[leadership.Event] = []
    threads: set[int] = set()

    def heard(event: leadership.Event) -> None:
        seen.append(event)
        threads.add(threading.get_ident())

    with leadership.connect(server.endpoint) as client:
        lead = client.leadership("k")
        lead.on_event(heard)
        term = lead.campaign("a")
        until(lambda: len(seen) == 1, "elected")
        server.delete("k")
        until(lambda: len(seen) == 2, "lost")
        second = lead.campaign("b")
        # A term that is over before it could be told of is not told of; its loss is told before the client is closed.
        until(lambda: len(seen) == 3, "elected again")
    kinds = [(str(event.kind), event.reason) for event in seen]
    assert kinds == [("elected", None), ("lost", "key_deleted"), ("elected", None), ("lost", "closed")]
    assert seen[0].term and seen[0].term.token == term.token and second.token > term.token
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_closing_from_a_callback_is_an_error_and_its_exception_stops_nothing(
    server: leadership.testing.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    unraisable: list[BaseException | None] = []
    monkeypatch.setattr("sys.unraisablehook", lambda info: unraisable.append(info.exc_value))
    with leadership.connect(server.endpoint) as client:
        lead = client.leadership("k")
        lead.on_event(lambda event: client.close())
        lead.campaign("a")
        until(lambda: len(unraisable) == 1, "the callback's error")
        assert isinstance(unraisable[0], leadership.InvalidArgument) and lead.check()
        lead.reset()
        until(lambda: len(unraisable) == 2, "the next event is told all the same")


def test_s14_case_35_everything_but_closing_the_client_may_be_done_in_a_callback(server: leadership.testing.Server) -> None:
    done: list[str] = []
    with leadership.connect(server.endpoint) as client:
        lead, lease = client.leadership("k"), client.lease(5)

        def heard(event: leadership.Event) -> None:
            if event.kind != "elected":
                return
            try:
                client.close()
            except leadership.InvalidArgument:
                done.append("refused")
            lease.close()
            lead.reset()
            client.leadership("other").campaign("b")  # dropped at once
            done.append(str(lease.is_expired))

        lead.on_event(heard)
        try:
            lead.campaign("a")
        except leadership.Cancelled:
            pass  # the callback was faster
        until(lambda: done == ["refused", "True"], f"the callback's end: {done}")
        until(lambda: server.keys() == [] or all(b"resigned" in key for key in server.keys()), "all let go")


def test_case_35_two_threads_close_one_client(server: leadership.testing.Server) -> None:
    """Each returns after the last callback, whoever was first; then the callback is let go of."""
    client = leadership.connect(server.endpoint)
    inside = [0]
    lost: list[str] = []

    def slow(event: leadership.Event) -> None:
        inside[0] += 1
        time.sleep(0.05)  # long enough to be caught inside
        if event.kind == "lost":
            lost.append(str(event.reason))
        inside[0] -= 1

    terms = []
    leads = [client.leadership(f"k{number}") for number in range(4)]
    for lead in leads:
        lead.on_event(slow)
        terms.append(lead.campaign("a"))
    watcher = threading.Thread(target=leads[0].watch)
    watcher.start()
    after: list[tuple[int, int]] = []

    def close() -> None:
        client.close()
        after.append((inside[0], len(lost)))

    closers = [threading.Thread(target=close) for _ in range(3)]
    for closer in closers:
        closer.start()
    for thread in [*closers, watcher]:
        thread.join(20)
        assert not thread.is_alive()
    elected = len(lost)
    assert after == [(0, elected)] * 3 and set(lost) <= {"closed"}, (after, lost)
    assert all(term.lost == "closed" and not term.valid for term in terms)
    gone = weakref.ref(slow)
    del slow
    until(lambda: gone() is None, "the callback is let go of", 2)


def test_what_is_logged_goes_to_logging(server: leadership.testing.Server, caplog: pytest.LogCaptureFixture) -> None:
    def heard(level: int) -> list[str]:
        return [line.getMessage() for line in caplog.records if line.name == "leadership" and line.levelno == level]

    with caplog.at_level("WARNING", logger="leadership"):
        with leadership.connect(server.endpoint, user="nobody", password="x") as client:
            client.ready()
            until(lambda: any("authentication is not enabled" in line for line in heard(30)), "a warning")
            assert not heard(10)
    with caplog.at_level(1, logger="leadership"):
        with leadership.connect(server.endpoint) as client:
            lead = client.leadership("k")
            lead.campaign("a", ttl=2)
            lead.keep()
            until(lambda: heard(5), "what it does in detail, when that is wanted")


def test_connect_without_endpoints_takes_the_environment(
    server: leadership.testing.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.startswith(("LEADERSHIP_", "ETCDCTL_")):
            monkeypatch.delenv(name)
    assert "127.0.0.1:2379" in repr(leadership.connect())
    monkeypatch.setenv("ETCDCTL_ENDPOINTS", "127.0.0.1:1")
    monkeypatch.setenv("LEADERSHIP_ENDPOINTS", f"{server.endpoint}, {server.endpoint}")
    with leadership.connect() as client:
        client.ready(10)
    monkeypatch.setenv("LEADERSHIP_USER", "me")
    with pytest.raises(leadership.InvalidArgument) as refused:
        leadership.connect()
    assert refused.value.argument == "user"
    monkeypatch.setenv("LEADERSHIP_PASSWORD", "secret")
    leadership.connect().close()
    leadership.connect(user="another").close()
    monkeypatch.setenv("LEADERSHIP_TLS_CA", "/no/such/file")
    with pytest.raises(leadership.InvalidArgument) as refused:
        leadership.connect()
    assert refused.value.argument == "ca" and "/no/such/file" in str(refused.value)
    with leadership.connect(server.endpoint) as given:  # then nothing of the environment counts
        given.ready(10)


def test_a_wiped_cluster_names_the_member(server: leadership.testing.Server) -> None:
    with leadership.connect(server.endpoint) as client:
        client.leadership("k").campaign("a")
        server.wipe()
        with pytest.raises(leadership.ClusterChanged) as changed:
            client.get_leader("k")
        assert changed.value.member == server.endpoint and server.endpoint in str(changed.value)


def test_a_lease_of_ones_own_carries_two_elections(client: leadership.Client) -> None:
    lease = client.lease(5)
    lease.keep_alive()
    first, second = client.leadership("one"), client.leadership("two")
    for lead in (first, second):
        lead.set_lease(lease)
        assert lead.campaign("a").lease_id == lease.id
    first.reset()
    assert second.check() and not lease.is_expired
    lease.close()
    assert not second.check()


def test_a_lost_reply_is_an_unknown_outcome(server: leadership.testing.Server, client: leadership.Client) -> None:
    lead = client.leadership("k")
    lead.campaign("a")
    server.lose_next_txn_reply()
    with pytest.raises(leadership.OutcomeUnknown) as unknown:
        lead.txn().then(Op.put("x", "1")).commit()
    assert "k" in unknown.value.read and server.get("x") == b"1"


def test_jeopardy_and_expiry_when_the_server_hangs(server: leadership.testing.Server) -> None:
    seen: list[str] = []
    with leadership.connect(server.endpoint) as client:
        lead = client.leadership("k")
        lead.on_event(lambda event: seen.append(str(event.kind)))
        term = lead.campaign("a", ttl=2)
        lead.keep()
        server.hang()
        assert term.wait_lost(0) is None and term.wait_lost(10) in ("expired", "suspended")
        until(lambda: seen == ["elected", "jeopardy", "lost"], f"the events: {seen}")
        server.heal()
