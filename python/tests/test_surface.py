"""Plays tests/surface/surface.txt, as the runners in Rust and C do. The table's README explains its lines.

Owns the verbs in Python; a line whose answer differs is a difference between two languages.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from urllib.parse import quote_from_bytes, unquote_to_bytes

import leadership
import leadership.testing
import pytest

TABLE = pathlib.Path(__file__).parents[2] / "tests" / "surface" / "surface.txt"
KEY = "k"


def cases() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in TABLE.read_text().splitlines():
        if line.startswith("case "):
            lines = found.setdefault(line.removeprefix("case "), [])
        elif line.strip() and not line.startswith("#"):
            lines.append(line)
    return found


CASES = cases()


def text(value: bytes) -> str:
    """Bytes as the table writes them."""
    return quote_from_bytes(value, safe="/:.,;+-_!\"#$&'()*<>?@[]^`{|}~\\")


def compare(spec: bytes) -> leadership.Compare:
    target, key, op, operand = spec.split(b":", 3)
    if target == b"value":
        return leadership.Compare.value(key, op.decode(), operand)  # type: ignore[arg-type]
    name = {b"create": "create_revision", b"mod": "mod_revision"}.get(target, target.decode())
    made = getattr(leadership.Compare, name)(key, op.decode(), int(operand))
    assert isinstance(made, leadership.Compare)
    return made


class Contender:
    def __init__(self, server: leadership.testing.Server) -> None:
        self.server = server
        self.client = leadership.connect(server.endpoint)
        self.lead = self.client.leadership(KEY, purpose="surface")
        self.lease: leadership.Lease | None = None

    def play(self, verb: str, args: list[tuple[str, bytes]]) -> object:
        one = dict(args)
        lead = self.lead
        match verb:
            case "campaign":
                compares = [compare(value) for name, value in args if name == "compare"]
                lead.campaign(one["value"], ttl=int(one["ttl"]), compares=compares)
            case "keep" | "reset" | "delete_leader_key":
                getattr(lead, verb)()
            case "delete_at":
                lead.delete_leader_key_at(self.revision(one["revision"]))
            case "check":
                return lead.check()
            case "lost":
                return lead.term.lost if lead.term else None
            case "await_lost":
                assert lead.term
                return lead.term.wait_lost(5)
            case "token_is_create":
                stat = self.server.stat(KEY)
                return bool(lead.term and stat and lead.term.token == stat[0])
            case "put":
                txn = lead.txn().then(leadership.Op.put(one["key"], one["value"]))
                if "when" in one:
                    txn = txn.when(compare(one["when"]))
                if "else_key" in one:
                    txn = txn.or_else(leadership.Op.put(one["else_key"], one["else_value"]))
                return txn.commit().succeeded
            case "watch":
                return lead.watch(self.revision(one["revision"]), timeout=5).why
            case "primary":
                lead.set_primary_watch(one["on"] == b"true")
            case "is_primary":
                return lead.is_primary
            case "leader":
                leader = self.client.get_leader(KEY)
                return leader and leader.value
            case "add_campaign":
                lead.add_campaign_times()
            case "reset_campaigns":
                lead.reset_campaign_times()
            case "campaigns":
                return lead.campaign_times_num
            case "value" | "purpose" | "key":
                return getattr(lead, verb)
            case "new":
                self.client.leadership(one["key"])
            case "grant":
                self.lease = self.client.lease(int(one["ttl"]))
            case "ttl_granted":
                assert self.lease
                return int(self.lease.ttl)
            case "expired":
                assert self.lease
                return self.lease.is_expired
            case "close_lease":
                assert self.lease
                self.lease.close()
            case "keep_alive":
                assert self.lease
                self.lease.keep_alive()
            case "set_lease":
                lead.set_lease(self.lease)
            case "close":
                self.client.close()
            case _:
                raise AssertionError(f"the table has a verb that this runner does not know: {verb}")
        return "ok"

    def revision(self, given: bytes) -> int:
        if given != b"seen":
            return int(given)
        stat = self.server.stat(KEY)
        assert stat
        return stat[1]


def stranger(
    server: leadership.testing.Server, contenders: dict[str, Contender], verb: str, one: dict[str, bytes]
) -> object:
    match verb:
        case "put":
            server.put(one["key"], one["value"])
        case "delete":
            assert server.delete(one["key"])
        case "revoke":
            term = contenders[one["who"].decode()].lead.term
            assert term and server.revoke(term.lease_id)
        case "get":
            return server.get(one["key"])
        case _:
            raise AssertionError(f"the table has a verb that this runner does not know: stranger {verb}")
    return "ok"


def answer(play: Callable[[], object], details: int) -> str:
    """What a step answers, as the table writes it; an error's detail only where the table names one."""
    try:
        got = play()
    except leadership.LeadershipError as error:
        words = ["error", type(error).__name__]
        detail: object = None
        if isinstance(error, leadership.InvalidArgument):
            detail = error.argument
        elif isinstance(error, leadership.NotElected):
            detail = error.holder and text(error.holder.value)
        elif isinstance(error, leadership.NotLeader):
            detail = error.reason
        if details > 2:
            words.append(str(detail))
        return " ".join(words)
    if got is None:
        return "none"
    if isinstance(got, bool):
        return str(got).lower()
    return text(got) if isinstance(got, bytes) else str(got)


@pytest.mark.parametrize("name", CASES)
def test_surface(name: str, server: leadership.testing.Server) -> None:
    contenders: dict[str, Contender] = {}
    try:
        for line in CASES[name]:
            step, expected = (part.strip() for part in line.split("->"))
            who, verb, *rest = step.split()
            args = [(key, unquote_to_bytes(value)) for key, value in (word.split("=", 1) for word in rest)]

            def play() -> object:
                if who == "stranger":
                    return stranger(server, contenders, verb, dict(args))
                if who not in contenders:
                    contenders[who] = Contender(server)
                return contenders[who].play(verb, args)

            assert answer(play, len(expected.split())) == expected, line
    finally:
        for contender in contenders.values():
            contender.client.close()


def test_the_table_is_read() -> None:
    assert len(CASES) >= 10 and all(CASES.values())
