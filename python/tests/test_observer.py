"""An election seen from outside, from Python. What is news is decided, and tested, in the core."""

from __future__ import annotations

import time
import uuid

import leadership
import leadership.testing
import pytest
from conftest import until
from test_elector import Background


def test_leaders_and_vacancies(endpoint: str) -> None:
    """case_31"""
    key = f"seen/{uuid.uuid4()}"
    with leadership.connect(endpoint) as client, leadership.connect(endpoint) as other:
        observer = other.observer(key)
        assert observer.key == key.encode()
        news = next(observer)
        assert news.leader is None and news.since is None and (news.revision or 0) > 0 and "vacant" in repr(news)
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        with client.elector(key, "a") as elector:
            term = elector.next_term()
            assert term is not None
            seen = observer.next(10)
            assert seen is not None and seen.leader is not None and seen.leader.token == term.token
            assert seen.revision is None and seen.since is not None
            assert before < seen.since < time.clock_gettime(time.CLOCK_BOOTTIME)
            latest, late = observer.latest(), other.observer(key)
            assert latest is not None and latest.leader == seen.leader
            assert next(late).since is None, "it was there before"
            with pytest.raises(leadership.Timeout):
                observer.next(0.01)
        vacant = next(observer)
        assert vacant.leader is None
    assert list(observer) == [] and observer.next() is None and observer.latest() is None


def test_a_slow_reader_is_told_the_latest(client: leadership.Client, server: leadership.testing.Server) -> None:
    observer = client.observer("k")
    for number in range(100):
        server.put("k", str(number))
    until(lambda: (seen := observer.latest()) and seen.leader and seen.leader.value == b"99", "the last one")
    seen = observer.next(5)
    assert seen is not None and seen.leader is not None and seen.leader.value == b"99"


def test_a_reader_ends(client: leadership.Client) -> None:
    """case_31: by its own close, by the end of a block, by the client's end."""
    with client.observer("k") as observer:
        observer.next(5)
        waits = Background(lambda: list(observer))
    assert waits.result() == []
    again = client.observer("k")
    again.next(5)
    waits = Background(lambda: list(again))
    client.close()
    assert waits.result() == []
    with pytest.raises(leadership.Closed):
        client.observer("k")


def test_why_it_stopped(client: leadership.Client) -> None:
    with pytest.raises(leadership.InvalidArgument) as refused:
        client.observer("")
    assert refused.value.argument == "key"
