"""What the tests share: a test server, a client of it, a real etcd. Owns their life; no test waits by sleeping."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator

import leadership
import leadership.testing
import pytest

ROOT = pathlib.Path(__file__).parents[2]
ETCD = pathlib.Path(os.environ.get("LEADERSHIP_ETCD_3_7", ROOT / ".cache/etcd/3.7.3/etcd"))


@pytest.fixture
def server() -> Iterator[leadership.testing.Server]:
    with leadership.testing.server() as server:
        yield server


@pytest.fixture
def client(server: leadership.testing.Server) -> Iterator[leadership.Client]:
    with leadership.connect(server.endpoint) as client:
        yield client


def until(condition: Callable[[], object], what: str, within: float = 10.0) -> None:
    """Waits for a condition with a deadline."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"not within {within} s: {what}"
        time.sleep(0.005)


@pytest.fixture(scope="session")
def etcd() -> Iterator[str]:
    """The endpoint of a real etcd of one member. Its folder and process end with the tests."""
    with running_etcd() as (endpoint, _):
        yield endpoint


@contextlib.contextmanager
def running_etcd() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    if not ETCD.exists():
        pytest.fail(f"no etcd at {ETCD}: `make etcd` builds it")
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    client, peer = (f"http://127.0.0.1:{port}" for port in ports)
    with tempfile.TemporaryDirectory() as folder:
        command = [str(ETCD), "--name=m0", f"--data-dir={folder}", "--log-level=error", "--unsafe-no-fsync"]
        command += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
        command += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
        command += [f"--initial-cluster=m0={peer}"]
        process = subprocess.Popen(command)
        try:
            endpoint = f"127.0.0.1:{ports[0]}"
            with leadership.connect(endpoint) as connection:
                connection.ready(20)
            yield endpoint, process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.fixture(params=["server", "etcd"])
def endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    """A store of its own kind: the test server, then the real etcd (shared: use keys of your own)."""
    if request.param == "etcd":
        yield request.getfixturevalue("etcd")
    else:
        yield request.getfixturevalue("server").endpoint
