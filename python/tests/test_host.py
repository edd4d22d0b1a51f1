"""A busy interpreter, and an etcd that stops answering: renewals go on, or the user is told in time that they do not."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import leadership
import leadership.testing
import pytest
from conftest import running_etcd, until
from test_process import run


@pytest.mark.parametrize(
    "busy",
    [
        # PyDLL keeps the interpreter lock for the time of the call: nothing of Python's runs.
        "import ctypes; call = ctypes.PyDLL(None).usleep; [call(900_000) for _ in range(7)]",
        # Four threads that compute, and hand the lock to each other only.
        """
def spin():
    while time.monotonic() < end: sum(range(1000))
end = time.monotonic() + 6.3
threads = [threading.Thread(target=spin) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
""",
    ],
    ids=["the lock is held", "four threads compute"],
)
def test_a_busy_interpreter_loses_no_term(busy: str, server: leadership.testing.Server) -> None:
    """case_20: three TTLs without a moment for anybody else. The server is in another process."""
    program = f"""
told = []
term = lead.campaign('a', ttl=2); lead.keep()
begun = time.monotonic()
{busy}
print(time.monotonic() - begun >= 6, term.valid, term.lost, lead.check())
client.close()
"""
    assert run(program, server.endpoint) == "True True None True"


class Place:
    """Where etcd is, and how it stops answering."""

    def __init__(self, endpoint: str, hang: Callable[[], object], go_on: Callable[[], object]) -> None:
        self.endpoint, self.hang, self.go_on = endpoint, hang, go_on


@pytest.fixture(params=["server", "etcd"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "server":
        server: leadership.testing.Server = request.getfixturevalue("server")
        yield Place(server.endpoint, server.hang, server.heal)
        return
    with running_etcd() as (endpoint, process):
        yield Place(
            endpoint, lambda: process.send_signal(signal.SIGSTOP), lambda: process.send_signal(signal.SIGCONT)
        )


def test_jeopardy_is_told_before_the_deadline(place: Place) -> None:
    """By an event, by what remains, and taken back when renewals are confirmed again."""
    with leadership.connect(place.endpoint) as client:
        lead = client.leadership("jeopardy")
        told: list[leadership.Event] = []
        lead.on_event(told.append)
        term = lead.campaign("a")
        lead.keep()

        def kinds() -> list[str]:
            return [str(event.kind) for event in told]

        place.hang()
        until(lambda: "jeopardy" in kinds(), "jeopardy while etcd hangs")
        left = term.remaining
        remaining = told[-1].remaining
        assert term.valid and term.lost is None
        assert remaining is not None and 0 < left <= remaining < term.ttl
        place.go_on()
        until(lambda: "secured" in kinds(), "secured when etcd goes on")
        assert term.remaining > left and term.lost is None
        place.hang()
        until(lambda: "lost" in kinds(), "the loss")
        place.go_on()
        assert term.wait_lost(0) == "expired"
        assert kinds()[0] == "elected" and kinds()[-2:] == ["jeopardy", "lost"]
