"""The elector from Python: terms by iteration, scopes, drains, health, events. The loop's own cases are the core's tests;
here it is what scopes, threads and the interpreter lock can get wrong."""

from __future__ import annotations

import gc
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import leadership
import leadership.testing
import pytest
from conftest import until
from leadership import Op


class Background:
    """A thread whose result or exception is asked for."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.outcome: Any = None
        self.thread = threading.Thread(target=self.run, args=(work,), daemon=True)
        self.thread.start()

    def run(self, work: Callable[[], Any]) -> None:
        try:
            self.outcome = work()
        except BaseException as error:
            self.outcome = error

    def result(self, within: float = 10) -> Any:
        self.thread.join(within)
        assert not self.thread.is_alive(), "has not returned"
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def test_a_loop_over_terms(endpoint: str) -> None:
    """Taking the next term ends the one before, each has a larger token, and leaving the block leaves nothing."""
    Background(lambda: loop_over_terms(endpoint)).result(30)


def loop_over_terms(endpoint: str) -> None:
    key = f"loop/{uuid.uuid4()}"
    with leadership.connect(endpoint) as client, leadership.connect(endpoint) as other:
        with client.elector(key, value=b"a\xff", ttl=5, cool_down=0) as elector:
            assert not elector.is_leader and elector.current() is None and elector.state == "follower"
            assert elector.key == key.encode() and elector.client is client and other.get_leader(key) is None
            terms: list[leadership.OwnedTerm] = []
            for term in elector:
                assert term.valid and term.lost is None and elector.is_leader and elector.state == "leading"
                assert isinstance(term, leadership.Term) and term.value == b"a\xff" and 0 < term.remaining <= 5
                assert all(before.lost == "resigned" and before.token < term.token for before in terms)
                view = elector.current()
                assert view is not None and view.token == term.token and type(view) is leadership.Term
                leader = other.get_leader(key)
                assert leader is not None and leader.token == term.token
                assert term.txn().then(Op.put(key + ".x", str(term.token))).commit().succeeded
                terms.append(term)
                if len(terms) == 3:
                    break
        assert terms[-1].lost == "resigned" and not terms[-1].valid and other.get_leader(key) is None
        assert elector.state == "stopped" and elector.next_term() is None and list(elector) == []
        elector.close()


def test_scopes_and_drops_resign(client: leadership.Client, server: leadership.testing.Server) -> None:
    with client.elector("k", "a", cool_down=0) as elector:
        for number, term in enumerate(elector):
            with term as entered:
                assert entered is term and term.valid
            assert term.lost == "resigned" and server.get("k") is None, "the end of the block has waited for it"
            term.resign()
            if number == 1:
                break
        with pytest.raises(KeyError):
            for term in elector:
                with term:
                    raise KeyError
        assert term.lost == "resigned" and server.get("k") is None
        kept = elector.next_term()
        assert kept is not None and elector.is_leader
        view = elector.current()
        assert view is not None
        del kept
        gc.collect()
        assert view.lost == "resigned"
        until(lambda: (now := elector.current()) is None or now.token > view.token, "a dropped term lets the key go")


def test_next_term_waits_has_a_timeout_and_ends_with_close(
    client: leadership.Client, server: leadership.testing.Server
) -> None:
    """case_35: closed during a blocked campaign, and twice."""
    first, second = client.elector("k", "one"), client.elector("k", "two")
    term = first.next_term(5)
    assert term is not None
    with pytest.raises(leadership.Timeout, match='"k"'):
        second.next_term(0.05)
    with pytest.raises(leadership.Timeout):
        second.next_term(0)
    leader = second.leader()
    assert leader is not None and leader.value == b"one"
    waits = Background(second.next_term)
    waits_too = Background(lambda: list(second))
    second.close()
    assert waits.result() is None and waits_too.result() == []
    second.close()
    assert term.valid, "another elector's"
    first.close()
    assert term.lost == "resigned" and server.get("k") is None
    until(lambda: server.leases() == [], "nothing is left")


def test_each_term_goes_to_one_thread(client: leadership.Client) -> None:
    """A thread's term is not ended by another that asks for the next one; it comes when the first has let go."""
    with client.elector("k", cool_down=0) as elector:
        term = elector.next_term()
        assert term is not None
        with pytest.raises(leadership.Timeout):
            Background(lambda: elector.next_term(0.1)).result()
        waits = Background(elector.next_term)
        assert term.valid
        term.resign()
        taken = waits.result()
        assert taken.valid and taken.token > term.token
        with taken:  # whose thread has ended: from now on it is this one's
            before = time.monotonic()
            elector.close()
            assert time.monotonic() - before < 5 and not taken.valid


def test_work_of_another_thread_is_drained(client: leadership.Client, server: leadership.testing.Server) -> None:
    """case_34: lost at once, valid until its holder lets go; then the key goes."""
    elector = client.elector("k", "one")
    leads, finish = threading.Event(), threading.Event()
    seen: list[object] = []

    def work() -> None:
        for term in elector:
            leads.set()
            reason = term.wait_lost(10)
            finish.wait(10)
            written = term.txn().then(Op.put("written", "while it drains")).commit().succeeded
            seen.append((str(reason), term.valid, elector.state, written))

    worker = Background(work)
    assert leads.wait(10)
    closes = Background(elector.close)
    until(lambda: elector.state == "draining", "the drain has begun")
    assert server.get("k") == b"one" and closes.thread.is_alive()
    finish.set()
    closes.result()
    worker.result()
    assert seen == [("closed", True, "draining", True)] and server.get("k") is None


@pytest.mark.parametrize("way", ["resign", "close", "client", "with"])
def test_a_thread_does_not_drain_its_own_term(
    way: str, client: leadership.Client, server: leadership.testing.Server
) -> None:
    """Nobody but itself could end the work that would be waited for, so it would wait for the whole drain timeout."""
    elector = client.elector("k", drain_timeout=20)
    term = elector.next_term()
    assert term is not None
    before = time.monotonic()
    match way:
        case "resign":
            elector.resign()
            assert elector.state != "stopped"
        case "close":
            elector.close()
        case "client":
            client.close()
        case "with":
            with elector:
                pass
    assert time.monotonic() - before < 5 and term.lost == "resigned" and server.get("k") is None


def test_resign_goes_on_campaigning(client: leadership.Client) -> None:
    with client.elector("k", cool_down=0) as elector:
        tokens = Background(lambda: [term.token for term, _ in zip(iter(elector), range(2)) if term.wait_lost(10)])
        until(lambda: elector.is_leader, "the first")
        first = elector.current()
        elector.resign()
        until(lambda: (now := elector.current()) and first and now.token > first.token, "the second")
        elector.close()
        assert len(tokens.result()) == 2


def test_one_shot(client: leadership.Client, server: leadership.testing.Server) -> None:
    with client.lead("k", "a", ttl=5, purpose="once") as term:
        assert term.valid and server.get("k") == b"a"
        with pytest.raises(leadership.Timeout):
            client.lead("k", "b", timeout=0.1)
        term.put("x", "1")
        assert server.get("x") == b"1" and term.delete("x") and not term.delete("x")
        term.proclaim(b"a2")
        assert term.valid and term.value == b"a2" and server.get("k") == b"a2"
    assert term.lost == "resigned" and server.get("k") is None
    until(lambda: server.leases() == [], "neither of them has left anything")
    with pytest.raises(leadership.NotLeader):
        term.put("x", "2")
    with pytest.raises(leadership.InvalidArgument) as refused:
        client.lead("k", ttl=0)
    assert refused.value.argument == "ttl"
    with client.lead("k", drain_timeout=20) as term:
        before = time.monotonic()
        client.close()
        assert time.monotonic() - before < 5
        assert server.get("k") is None and not term.valid


def test_proclaim(client: leadership.Client, server: leadership.testing.Server) -> None:
    with client.elector("k", "a", cool_down=0) as elector:
        elector.proclaim("b")
        term = elector.next_term()
        assert term is not None and term.value == b"b"
        elector.proclaim("c")
        assert term.valid and term.value == b"c" and server.get("k") == b"c"
        term.resign()
        term = elector.next_term()
        assert term is not None and server.get("k") == b"c"
        with pytest.raises(leadership.InvalidArgument) as refused:
            term.proclaim(b"x" * 2_000_000)
        assert refused.value.argument == "value" and term.valid


def test_run(client: leadership.Client, server: leadership.testing.Server) -> None:
    with client.elector("k", "a", cool_down=0) as elector:
        seen: list[int] = []

        def body(term: leadership.Term) -> str | None:
            assert elector.is_leader and type(term) is leadership.Term
            seen.append(term.token)
            if len(seen) < 3:
                server.delete("k")
                assert term.wait_lost(5) == "key_deleted"
            if len(seen) == 2:
                term.txn().then(Op.put("x", "")).commit()  # NotLeader after a loss is the loss
            return "done"

        assert elector.run(body) == "done" and len(seen) == 3 and seen == sorted(seen)
        assert not elector.is_leader and server.get("k") is None

        def fails(term: leadership.Term) -> None:
            raise KeyError(term.token)

        with pytest.raises(KeyError):
            elector.run(fails)
        assert not elector.is_leader and server.get("k") is None
        until(lambda: not elector.is_leader, "resigned")
        runs = Background(lambda: elector.run(lambda term: term.wait_lost()))
        until(lambda: elector.is_leader, "leads")
        elector.close()
        assert runs.result() is None
        with pytest.raises(TypeError):
            elector.run(None)  # type: ignore[arg-type]


def test_events_pulled_and_called(client: leadership.Client, server: leadership.testing.Server) -> None:
    """case_37: each loss is told once, and of terms that were told of; the last event is that it stopped."""
    elector = client.elector("k", "a", cool_down=0)
    called: list[leadership.Event] = []
    elector.on_event(called.append)
    events = elector.events()
    server.put("k", "stranger")
    seen = [event := next(events)]
    while event.kind != "leader":
        seen.append(event := next(events))
    assert event.leader is not None and event.leader.value == b"stranger" and "stranger" in repr(event)
    with pytest.raises(leadership.Timeout):
        events.next(0.01)
    server.delete("k")
    for lost in ("key_deleted", "resigned"):
        term = elector.next_term(10)
        assert term is not None
        while event.kind != "elected":
            seen.append(event := next(events))
        assert event.term is not None and event.term.token == term.token and type(event.term) is leadership.Term
        if lost == "resigned":
            term.resign()
        else:
            server.delete("k")
            term.wait_lost(5)
        while event.kind != "lost":
            seen.append(event := next(events))
        assert event.reason == lost and lost in repr(event)
    elector.close()
    told = [str(event.kind) for event in called]
    assert told[-1] == "stopped" and called[-1].error is None, "close returns after the last callback"
    pulled = [str(event.kind) for event in [*seen, *events]]
    for kinds, terms in ((told, told.count("elected")), (pulled, 2)):  # a slow thread may not have seen them all
        assert [kind for kind in kinds if kind in ("elected", "lost")] == ["elected", "lost"] * terms
        assert kinds[-1] == "stopped" and kinds.count("stopped") == 1
    assert events.next() is None and list(events) == []


def test_closing_from_a_callback_is_an_error_and_begins_without_waiting(client: leadership.Client) -> None:
    """case_35"""
    elector = client.elector("k")
    said: list[object] = []
    taken = threading.Event()

    def callback(event: leadership.Event) -> None:
        if event.kind != "elected":
            return
        taken.wait(10)
        for call in (elector.close, client.close):
            try:
                call()
            except leadership.InvalidArgument as error:
                said.append(error.argument)
        said.append(elector.close(wait=False))

    elector.on_event(callback)
    assert [term.wait_lost(10) for term in elector if taken.set() is None] == ["closed"]
    assert said == ["close", "close", None]
    elector.close()


def test_a_reader_of_events_ends(client: leadership.Client) -> None:
    elector = client.elector("k")
    events, more = elector.events(), elector.events()
    events.next(5)
    more.next(5)
    waits = Background(lambda: list(events))
    events.close()
    assert waits.result() == [] and events.next() is None
    waits = Background(lambda: [event.kind for event in more])
    client.close()
    assert waits.result()[-1:] == ["stopped"]
    with pytest.raises(leadership.Closed):
        elector.health()


def test_a_health_check_written_in_python(client: leadership.Client) -> None:
    """case_21: False and an exception fail; a check that hangs does not succeed; who fails does not lead."""
    answer: list[object] = [True]
    hangs = threading.Event()

    def check() -> object:
        if isinstance(answer[0], Exception):
            raise answer[0]
        if answer[0] == "hangs":
            hangs.clear()
            hangs.wait(10)
        return answer[0]

    with client.elector("k", ttl=2, health_check=check, health_age=0.4, cool_down=0, campaign_limit=99) as elector:
        for wrong, says in ((False, "returned False"), (OSError("no disk"), "OSError: no disk"), ("hangs", "in time")):
            term = elector.next_term(10)
            assert term is not None and elector.health() is None  # type: ignore[func-returns-value]
            answer[0] = wrong
            assert term.wait_lost(10) == "unhealthy"
            with pytest.raises(leadership.Unavailable, match=says):
                elector.health()
            with pytest.raises(leadership.Timeout):
                elector.next_term(0.05)
            hangs.set()
            answer[0] = None


def test_jeopardy_shows_in_probes(server: leadership.testing.Server) -> None:
    with leadership.connect(server.endpoint) as client, client.elector("k", ttl=2) as elector:
        term = elector.next_term()
        assert term is not None and elector.health() is None  # type: ignore[func-returns-value]
        server.hang()
        until(lambda: elector.state == "jeopardy", "no renewals")
        with pytest.raises(leadership.Unavailable, match="without confirmed renewals"):
            elector.health()
        assert term.wait_lost(10) == "expired"
        server.heal()


def test_electors_share_a_lease(client: leadership.Client, server: leadership.testing.Server) -> None:
    shared = client.shared_lease(5)
    assert shared.id is None and shared.ttl == 5 and "not granted" in repr(shared)
    with client.elector("one", lease=shared) as one, client.elector("two", lease=shared) as two:
        terms = [elector.next_term() for elector in (one, two)]
        assert [term and term.lease_id for term in terms] == [shared.id] * 2 and server.leases() == [shared.id]
        with pytest.raises(leadership.InvalidArgument) as refused:
            client.elector("one", lease=shared)
        assert refused.value.argument == "lease"
        one.resign()
        assert terms[1] is not None and terms[1].valid and server.get("one") is None
        assert shared.id and server.revoke(shared.id)
        assert terms[1].wait_lost(10) in ("revoked", "key_deleted")


def test_an_operator_deposes_and_pauses(client: leadership.Client, server: leadership.testing.Server) -> None:
    operator = client.operator("k")
    assert operator.key == b"k" and operator.depose() is None and operator.leader() is None
    with client.elector("k", "a", cool_down=0) as elector:
        term = elector.next_term()
        assert term is not None and (leader := operator.leader()) is not None and leader.token == term.token
        assert [(one.value, one.leads) for one in operator.participants()] == [(b"a", True)]
        deposed = operator.depose()
        assert deposed == leader and term.wait_lost(5) == "key_deleted"
        term = elector.next_term()
        assert term is not None and term.valid and not operator.is_paused()
        operator.pause()
        assert operator.is_paused()
        until(lambda: elector.state == "draining", "the leader stops")
        with pytest.raises(leadership.Timeout):
            elector.next_term(0.2)
        assert term.lost == "paused" and elector.state == "paused" and server.get("k") is None
        operator.unpause()
        assert elector.next_term(10) is not None
        before = time.monotonic()
        server.put("k2", "a stranger's")
        assert (deposed := client.operator("k2").depose(wait=True)) is not None and deposed.value == b"a stranger's"
        assert server.get("k2") is None and time.monotonic() - before < 5, "nobody believes in a key without a lease"


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("ttl", {"ttl": 0}),
        ("ttl", {"ttl": float("inf")}),
        ("step_down_margin", {"ttl": 2, "step_down_margin": 2}),
        ("drain_timeout", {"drain_timeout": 10**6}),
        ("cool_down", {"cool_down": -1}),
        ("health_age", {"health_check": print, "health_age": 3}),
        ("key", {"key": ""}),
        ("key", {"key": "k.candidates/x"}),
        ("key", {"key": "q/", "mode": "queue"}),
        ("mode", {"mode": "raft"}),
        ("prefix", {"prefix": "q/"}),
        ("takeover_delay", {"prefix": "q", "takeover_delay": -1}),
    ],
)
def test_bad_input_names_the_argument(argument: str, options: dict[str, Any], client: leadership.Client) -> None:
    with pytest.raises(leadership.InvalidArgument) as refused:
        if "prefix" in options:
            client.election(**options)
        else:
            client.elector(**{"key": "k", **options})
    assert refused.value.argument == argument


@pytest.mark.parametrize(
    "options",
    [{"tll": 5}, {"ttl": "5"}, {"purpose": 5}, {"health_check": 5}, {"lease": 5}, {"mode": 5}, {"campaign_limit": -1}, {"value": 5}],
)
def test_wrong_options_are_type_errors(options: dict[str, Any], client: leadership.Client) -> None:
    with pytest.raises(TypeError, match=next(iter(options))):
        client.elector("k", **options)
    assert client.elector("k", **{name: None for name in options if name != "tll"})
