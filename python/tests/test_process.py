"""Signals, forks and the interpreter's end, each in a process of its own. Owns those programs and what they must say."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

import leadership
import leadership.testing
import pytest
from conftest import ROOT, until
from leadership import Op
from leadership._atexit import EXIT_FLUSH

# What every program begins with: the endpoint is its argument.
# A shell's background job, and what it starts, ignores Ctrl-C: these programs do not, whoever runs the tests.
BEGIN = """
import os, signal, sys, time, threading, leadership
signal.signal(signal.SIGINT, signal.default_int_handler)
client = leadership.connect(sys.argv[1])
lead = client.leadership('k')
"""


def start(program: str, endpoint: str) -> subprocess.Popen[str]:
    # From 3.12 on Python itself warns of a fork beside threads; that such a child is safe is what is tested here.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", BEGIN + program, endpoint]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def run(program: str, endpoint: str) -> str:
    process = start(program, endpoint)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0 and err == "", (process.returncode, out, err)
    return out.strip()


WAITS = {
    "watch": "lead.campaign('a'); wait = lead.watch",
    "wait_lost": "term = lead.campaign('a'); lead.keep(); wait = term.wait_lost",
    "watch_with_timeout": "lead.campaign('a'); wait = lambda: lead.watch(timeout=60)",
    "ready": "client = leadership.connect('127.0.0.1:1'); wait = lambda: client.ready(60)",
    "campaign": "lead = client.leadership('k', takeover_delay=60); wait = lambda: lead.campaign('a', ttl=100)",
    "next_term": "lead.campaign('b', ttl=60); elector = client.elector('k'); wait = elector.next_term",
    "loop": """
def wait():
    with client.elector('k', ttl=60) as elector:
        for term in elector:
            term.wait_lost()
""",
    "taking": "elector = client.elector('k', takeover_delay=60, ttl=100); wait = elector.next_term",
    "queue": "held = client.election('k').campaign('a'); wait = lambda: client.election('k').campaign('b')",
    "observer": "observer = client.observer('k'); next(observer); wait = observer.next",
    "events": "elector = client.elector('k'); events = elector.events(); next(events); wait = events.next",
}


def interrupt(name: str, server: leadership.testing.Server) -> float:
    """Seconds from Ctrl-C to the exception."""
    program = f"""
{WAITS[name]}
try:
    print("waiting", flush=True)
    wait()
except KeyboardInterrupt:
    print(time.clock_gettime(time.CLOCK_MONOTONIC), flush=True)
client.close(); lead.client.close()
"""
    process = start(program, server.endpoint)
    assert process.stdout and process.stdout.readline() == "waiting\n"
    if name in ("campaign", "taking", "loop"):
        until(lambda: server.get("k") is not None, "the campaign has taken the key and waits its delay")
    # Its main thread sleeps: it waits. "S" follows the name, which is in parentheses.
    until(lambda: pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S", "asleep")
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0 and err == "", (out, err)
    assert server.get("k") is None and server.leases() == [] and [key for key in server.keys() if b"resigned" not in key] == []
    return float(out) - before


@pytest.mark.parametrize("name", WAITS)
def test_ctrl_c_ends_a_wait_within_100_ms_and_leaves_nothing(name: str, server: leadership.testing.Server) -> None:
    # A machine that runs other things may be late once; a library that looks too seldom is so each time.
    took = []
    while len(took) < 5 and (not took or min(took) >= 0.1):
        took.append(interrupt(name, server))
    assert min(took) < 0.1 and max(took) < 1, took


def test_other_threads_run_while_one_waits(client: leadership.Client) -> None:
    import threading

    lead = client.leadership("k")
    term = lead.campaign("a")
    waiter = threading.Thread(target=term.wait_lost)
    waiter.start()
    assert sum(range(1000)) == 499500  # a wait that held the interpreter lock would never come here
    lead.reset()
    waiter.join(10)
    assert not waiter.is_alive()


def test_a_forked_child_is_not_the_leader_and_harms_nothing(server: leadership.testing.Server) -> None:
    """case_39"""
    out = run(
        """
lead.on_event(lambda event: None)
term = lead.campaign('a'); lead.keep()
lease = client.lease()
child = os.fork()
if child == 0:
    said = [lead.check(), term.valid, str(term.lost), str(term.wait_lost()), lease.is_expired]
    for call in (lead.keep, lead.txn, lead.reset, client.close, lambda: client.get_leader('k'), lambda: lead.campaign('b')):
        try:
            call(); said.append('returned')
        except leadership.Forked:
            said.append('Forked')
    print(*said, flush=True)
    with leadership.connect(sys.argv[1]) as anew:
        print(anew.get_leader('k').value.decode(), flush=True)
    sys.exit(0)
_, status = os.waitpid(child, 0)
print(status, lead.check(), client.get_leader('k').value.decode())
client.close()
""",
        server.endpoint,
    ).splitlines()
    assert out == ["False False forked forked True" + " Forked" * 6, "a", "0 True a"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str, server: leadership.testing.Server) -> None:
    """case_39: a worker beside a leader, with each way to start one."""
    out = run(
        f"""
import multiprocessing
lead.campaign('a'); lead.keep()
worker = multiprocessing.get_context('{method}').Process(target=abs, args=(-1,))
worker.start(); worker.join()
print(worker.exitcode, lead.check())
client.close()
""",
        server.endpoint,
    )
    assert out == "0 True"


# Begun before the end of the interpreter, it ends with it; begun a moment later, it says so.
WATCHES = """
def watches():
    try:
        lead.watch()
    except leadership.Closed:
        pass
"""


# An elector that leads: its term is the main thread's, or that of a thread which works on until it is told to stop.
LEADS = "elector = client.elector('k2', ttl=60); term = elector.next_term()\n"
# Health checks that compute nearly all of the time, and so they do when the interpreter ends: a thread that were in the
# middle of one then would end the process with a fatal error.
CHECKED = """
check = lambda: all(number >= 0 for number in range(1_000_000))
many = [client.elector(f'many{number}', ttl=60, health_check=check, health_age=0.1) for number in range(4)]
for one in many:
    try:
        one.next_term(0.1)
    except leadership.Timeout:
        pass
"""
LOOPS = """
leads = threading.Event()
def loops():
    for term in client.elector('k2', ttl=60):
        leads.set()
        while not term.lost:
            time.sleep(0.001)
"""


@pytest.mark.parametrize(
    "end",
    [
        "",
        "sys.exit(0)",
        WATCHES + "threading.Thread(target=watches).start()",
        WATCHES + "threading.Thread(target=watches, daemon=True).start()",
        "lead.on_event(lambda event: None)",
        "del lead, client",
        "sys.modules['keep'] = lead",
        LEADS,
        CHECKED,
        LEADS + "del elector, term",
        LEADS + "sys.modules['keep'] = term",
        LOOPS + "threading.Thread(target=loops).start(); leads.wait()",
        LOOPS + "threading.Thread(target=loops, daemon=True).start(); leads.wait()",
        "place = client.election('k2').campaign('a'); sys.modules['keep'] = place",
    ],
)
def test_the_interpreters_end_releases_the_key(end: str, server: leadership.testing.Server) -> None:
    """case_40"""
    assert run(f"term = lead.campaign('a', ttl=60); lead.keep()\nprint(term.valid)\n{end}\n", server.endpoint) == "True"
    until(lambda: server.get("k") is None and server.leases() == [], "the key goes with the process, not after a TTL", 2)


def test_sys_exit_in_a_thread_ends_that_thread_alone(server: leadership.testing.Server) -> None:
    """case_40"""
    program = """
lead.campaign('a'); lead.keep()
thread = threading.Thread(target=sys.exit); thread.start(); thread.join()
print(lead.check())
"""
    assert run(program, server.endpoint) == "True"
    until(lambda: server.get("k") is None, "the key goes with the process", 2)


# Threads that wait in the library when the interpreter ends; each would wait for ever.
AT_EXIT = {
    "watch": "lead.campaign('a'); wait = lead.watch",
    "wait_lost": "wait = lead.campaign('a').wait_lost; lead.keep()",
    "campaign": "other = client.leadership('k2', takeover_delay=60); wait = lambda: other.campaign('a', ttl=100)",
    "calls": "wait = lambda: [client.get_leader('k') for _ in iter(int, 1)]",
    "callback": "lead.on_event(lambda event: time.sleep(60)); wait = lead.campaign",
    "elector": "lead.campaign('a'); elector = client.elector('k'); wait = elector.next_term",
    "health": "elector = client.elector('k', health_check=lambda: time.sleep(60)); wait = elector.next_term",
    "term": "elector = client.elector('k', drain_timeout=60); term = elector.next_term(); wait = elector.next_term",
}
QUIET = """
def quiet():
    try:
        wait()
    except leadership.LeadershipError:
        pass
thread = threading.Thread(target=quiet, daemon=DAEMON); thread.start()
"""


# An elector's waits are those of the others, so not in every combination.
ELECTORS = ("elector", "health", "term")
COMBINED = [(name, *more) for name in AT_EXIT for more in ((False, True), (False, False), (True, True), (True, False))]


@pytest.mark.parametrize(("name", "hangs", "daemon"), [one for one in COMBINED if one[0] not in ELECTORS or one[1] != one[2]])
def test_the_interpreter_ends_within_the_bound(
    name: str, hangs: bool, daemon: bool, server: leadership.testing.Server
) -> None:
    """case_40: whatever threads wait in the library, and whether or not etcd answers; nothing is said on stderr."""
    program = AT_EXIT[name] + QUIET.replace("DAEMON", str(daemon))
    program += "print('ready', flush=True); sys.stdin.readline()\nprint('ends')"
    process = start(program, server.endpoint)
    assert process.stdout and process.stdout.readline() == "ready\n"
    # The thread sleeps: it waits, or is in the middle of a call.
    tasks = pathlib.Path(f"/proc/{process.pid}/task")
    until(lambda: len(list(tasks.iterdir())) >= 3, "the main thread, the one that waits, the library's")
    if hangs:
        server.hang()
    before = time.monotonic()
    out, err = process.communicate("\n", timeout=30)
    took = time.monotonic() - before
    assert (process.returncode, out, err) == (0, "ends\n", "")
    bound = EXIT_FLUSH + 1 if hangs or name in ("callback", "health") else 1.5
    assert took < bound, f"{took:.3f} s: the library's part and an interpreter's own end"
    if not hangs:
        until(lambda: server.get("k") is None, "the key goes with the process", 1)


def test_many_clients_end_within_one_bound(server: leadership.testing.Server) -> None:
    """case_40: the bound is for all of them together."""
    program = """
others = [leadership.connect(sys.argv[1]) for _ in range(5)]
leads = [one.leadership(f'k{n}') for n, one in enumerate(others)]
for one in leads:
    one.campaign('a', ttl=60)
print('ready', flush=True); sys.stdin.readline()
"""
    process = start(program, server.endpoint)
    assert process.stdout and process.stdout.readline() == "ready\n"
    server.hang()
    before = time.monotonic()
    out, err = process.communicate("\n", timeout=30)
    assert (process.returncode, err) == (0, "") and time.monotonic() - before < EXIT_FLUSH + 1


def test_a_killed_process_is_followed_after_its_lease(server: leadership.testing.Server) -> None:
    process = start("lead.campaign('a', ttl=60); lead.keep(); print('leads', flush=True); time.sleep(60)", server.endpoint)
    assert process.stdout and process.stdout.readline() == "leads\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with leadership.connect(server.endpoint) as client:
        lead = client.leadership("k", takeover_delay=0)
        with pytest.raises(leadership.NotElected):
            lead.campaign("b")
        assert server.expire("k")
        assert lead.watch(timeout=5).why == "deleted" and lead.campaign("b").valid


def test_the_first_program_leads_waits_and_hands_over(endpoint: str) -> None:
    program = [sys.executable, str(ROOT / "examples/first.py"), endpoint]
    first = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert first.stdout and first.stdout.readline().startswith("leads, token ")
    second = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert second.stdout and second.stdout.readline() == "me leads\n"
    with leadership.connect(endpoint) as client, client.leadership("probe") as probe:
        read = probe.campaign("p").txn().then(Op.get("example/state"))
        until(lambda: read.commit().kvs(0), "its work")
    first.send_signal(signal.SIGTERM)
    out, err = first.communicate(timeout=20)
    assert (first.returncode, out, err) == (0, "stops: closed\n", "")
    lines = iter(second.stdout.readline, "")
    assert any(line.startswith("leads, token ") for line in lines)
    second.send_signal(signal.SIGTERM)
    out, err = second.communicate(timeout=20)
    assert (second.returncode, out, err) == (0, "stops: closed\n", "")
