"""What Python people expect of objects: exceptions with bases, frozen classes, reprs, no pickling, bad input refused."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys
from typing import Any

import leadership
import leadership.testing
import pytest
from conftest import ROOT
from leadership import Compare, Op
from leadership._leadership import REASONS

BASES: dict[str, tuple[int, type[BaseException], bool]] = {
    "InvalidArgument": (1, ValueError, False),
    "Unavailable": (2, ConnectionError, True),
    "Timeout": (3, TimeoutError, True),
    "Cancelled": (4, Exception, False),
    "NotElected": (5, Exception, False),
    "CompareFailed": (6, Exception, False),
    "NotLeader": (7, Exception, False),
    "OutcomeUnknown": (8, Exception, False),
    "PermissionDenied": (9, PermissionError, False),
    "ClusterChanged": (10, Exception, False),
    "Closed": (11, Exception, False),
    "Forked": (12, Exception, False),
    "Internal": (13, Exception, False),
}


@pytest.mark.parametrize("name", BASES)
def test_exceptions_mirror_the_error_list(name: str) -> None:
    code, base, retriable = BASES[name]
    kind = getattr(leadership, name)
    assert issubclass(kind, leadership.LeadershipError) and issubclass(kind, base)
    assert (kind.code, kind.is_retriable, str(kind("why"))) == (code, retriable, "why")
    assert str(pickle.loads(pickle.dumps(kind("why")))) == "why"


def test_reasons_are_the_cores() -> None:
    assert [str(reason) for reason in leadership.Reason] == [name for _, name in REASONS]


def test_errors_carry_what_the_core_says(client: leadership.Client, server: leadership.testing.Server) -> None:
    lead = client.leadership("k")
    with pytest.raises(leadership.NotLeader) as never:
        lead.txn()
    assert never.value.reason is None and never.value.key == "k"
    with pytest.raises(leadership.CompareFailed):
        lead.campaign("a", compares=[Compare.version("x", ">", 0)])
    with pytest.raises(TimeoutError):
        other = client.leadership("k2")
        other.campaign("a")
        client.leadership("k2").watch(timeout=0.01)
    server.kill()
    with leadership.connect(server.endpoint, request_timeout=0.3) as dead:
        with pytest.raises(ConnectionError) as refused:
            dead.ready(0.3)
        with pytest.raises(ConnectionError):
            dead.get_leader("k")
    assert isinstance(refused.value, leadership.Unavailable) and refused.value.is_retriable
    server.heal()


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("endpoints", lambda client: leadership.connect("")),
        ("endpoints", lambda client: leadership.connect([])),
        ("password", lambda client: leadership.connect("h:1", password="x")),
        ("tls_cert", lambda client: leadership.connect("h:1", tls_cert=b"x")),
        ("ca", lambda client: leadership.connect("h:1", tls_ca=b"junk")),
        ("drift", lambda client: leadership.connect("h:1", drift=-1)),
        ("drift", lambda client: leadership.connect("h:1", drift=math.nan)),
        ("request_timeout", lambda client: leadership.connect("h:1", request_timeout=-1)),
        ("key", lambda client: client.leadership("")),
        ("key", lambda client: client.leadership("\ud800")),
        ("key", lambda client: client.get_leader(b"")),
        ("ttl", lambda client: client.leadership("k").campaign("a", ttl=math.inf)),
        ("ttl", lambda client: client.leadership("k").campaign("a", ttl=math.nan)),
        ("ttl", lambda client: client.lease(0)),
        ("timeout", lambda client: client.leadership("k").watch(timeout=-1)),
        ("revision", lambda client: client.leadership("k").watch(-1)),
        ("step_down_margin", lambda client: client.leadership("k", step_down_margin=4).campaign("a", ttl=5)),
        ("op", lambda client: Compare.version("k", "=", 1)),
    ],
)
def test_bad_input_names_the_argument(argument: str, call: Any, client: leadership.Client) -> None:
    with pytest.raises(leadership.InvalidArgument) as refused:
        call(client)
    assert refused.value.argument == argument and argument in str(refused.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.leadership(None),
        lambda client: client.leadership(7),
        lambda client: client.leadership("k").campaign([1, 2]),
        lambda client: client.leadership("k").campaign("a", ttl="5"),
        lambda client: client.leadership("k").campaign("a", compares=["x"]),
        lambda client: client.leadership("k").set_lease("x"),
        lambda client: client.leadership("k").on_event(None),
        lambda client: client.leadership("k").watch(2**70),
        lambda client: leadership.connect(7),
        lambda client: Op.put("k", None),
        lambda client: leadership.Leadership(),
        lambda client: leadership.Term(),
        lambda client: leadership.OwnedTerm(),
        lambda client: leadership.Elector(),
        lambda client: client.elector("k").on_event(None),
        lambda client: client.elector("k").run(7),
        lambda client: client.lead("k", timeout="x"),
    ],
)
def test_wrong_types_are_type_errors(call: Any, client: leadership.Client) -> None:
    with pytest.raises((TypeError, OverflowError)):
        call(client)


def test_objects_are_frozen_have_reprs_and_refuse_pickling(client: leadership.Client) -> None:
    lead = client.leadership("k")
    term = lead.campaign("a")
    txn = lead.txn()
    elector, observer, election = client.elector("e"), client.observer("k"), client.election("q")
    owned = election.campaign("a")
    things: list[Any] = [client, lead, term, client.lease(), client.get_leader("k"), txn, txn.commit(), elector, elector.events()]
    things += [observer, next(observer), election, owned, *election.participants()]
    for thing in [*things, Compare.value("k", "==", b"\xff"), Op.put("k", "v")]:
        assert repr(thing).startswith("<leadership."), repr(thing)
        with pytest.raises(AttributeError):
            thing.value2 = 1
        with pytest.raises(TypeError):
            pickle.dumps(thing)
        with pytest.raises(TypeError):
            copy.deepcopy(thing)
        assert type(thing).__doc__
    assert "token=" in repr(term) and "leading" in repr(lead)


def test_the_types_hold(tmp_path: Any) -> None:
    """`mypy --strict` on a program that uses the surface, on the package itself, and on a program that is wrong."""
    good = tmp_path / "good.py"
    good.write_text(
        """
import leadership, leadership.testing
with leadership.testing.server() as server, leadership.connect(server.endpoint) as client:
    lead = client.leadership("k", purpose="p")
    lead.on_event(lambda event: print(event.kind))
    term: leadership.Term = lead.campaign(b"v", ttl=5, compares=[leadership.Compare.version("x", "==", 0)])
    reason: leadership.Reason | None = term.wait_lost(0)
    ok: bool = lead.txn().then(leadership.Op.put("x", "y")).commit().succeeded
    with client.elector("e", "a", ttl=5, health_check=lambda: True) as elector:
        for owned in elector:
            view: leadership.Term | None = elector.current()
            state: leadership.ElectorState = elector.state
            owned.put("x", "z")
            break
        owned.resign()
        token: int | None = elector.run(lambda term: term.token)
    with client.election("q").campaign("a", timeout=5) as place, client.observer("e") as observer:
        seen: leadership.Leader | None = next(observer).leader
    with client.lead("e", ttl=5, timeout=5) as once:
        own: leadership.OwnedTerm = once
"""
    )
    bad = tmp_path / "bad.py"
    bad.write_text(
        """
import leadership
leadership.Compare.version('x', '=', 0)
leadership.connect(7)
leadership.connect("h:1").elector("k", tll=5)
leadership.connect("h:1").elector("k").current().resign()
"""
    )
    mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache")]
    package = str(ROOT / "python/leadership")
    checked = subprocess.run([*mypy, package, str(good)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    refused = subprocess.run([*mypy, str(bad)], capture_output=True, text=True, cwd=ROOT / "python")
    assert refused.stdout.count("error:") == 5, refused.stdout + refused.stderr
    subprocess.run([sys.executable, str(good)], check=True, timeout=30)


def test_the_stubs_are_those_of_the_extension(tmp_path: Any) -> None:
    """`stubtest`: every name, parameter and default that a stub says, and none that it does not."""
    allowed = str(ROOT / "python/tests/stubtest-allowlist.txt")
    stubtest = [sys.executable, "-m", "mypy.stubtest", "leadership", "--concise", "--allowlist", allowed]
    checked = subprocess.run(stubtest, capture_output=True, text=True, cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_public_name_in_the_stub_exists(client: leadership.Client) -> None:
    import ast

    stub = ast.parse((ROOT / "python/leadership/_leadership.pyi").read_text())
    for node in stub.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            real = getattr(leadership, node.name)
            stubbed = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            public = {name for name in vars(real) if not name.startswith("_")}
            assert public <= stubbed <= public | {"__new__", "__enter__", "__exit__", "__iter__", "__next__"}, node.name
