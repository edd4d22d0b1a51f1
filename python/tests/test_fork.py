"""S12, case 39: what a forked child of a leader sees, and that its parent leads on. Owns the programs that fork.

Each runs in a process of its own: the tests' own process is never forked beside the library's threads.
"""

from __future__ import annotations

import leadership
import leadership.testing
import pytest
from test_process import run

# What forks ends with this: the child's status, and whether the parent still leads and writes.
PARENT = """
_, status = os.waitpid(child, 0)
term = lead.term
reply = term.txn().then(leadership.Op.put('written', 'by the parent')).commit()
print(status, lead.check() and not lead.lease.is_expired, term.valid, reply.succeeded, client.get_leader('k').value.decode())
client.close()
"""
LEADS_ON = "0 True True True a"

# One of each that an elector's user has.
ELECTOR = """
elector = client.elector('k2', ttl=60, health_check=lambda: time.sleep(0.001))
election = client.election('q'); place = election.campaign('a'); events = elector.events(); elector.on_event(lambda event: None)
owned = elector.next_term(); observer = client.observer('k2'); next(observer); next(events)
operator = client.operator('k2'); shared = client.shared_lease(60)
"""

# Every name of every class: what answers "no", what answers as ever, and what raises Forked.
EVERY = """
import leadership.testing
no = {
    lead: {'check': False},
    term: {'valid': False, 'remaining': 0.0, 'lost': leadership.Reason.FORKED, 'wait_lost': leadership.Reason.FORKED},
    lease: {'is_expired': True, 'remaining': 0.0},
    shared: {'id': None},
    elector: {'is_leader': False, 'current': None, 'state': leadership.ElectorState.STOPPED},
}
no[owned] = no[term]
ever = {
    client: {'closed'},
    lead: {'client', 'key', 'purpose', 'is_primary'},
    term: {'token', 'lease_id', 'ttl', 'key', 'value'},
    lease: {'id', 'purpose', 'ttl'},
    txn: {'when', 'then', 'or_else'},
    elector: {'key', 'client'},
    election: {'prefix', 'client'},
    observer: {'key'},
    operator: {'key'},
    shared: {'ttl'},
}
ever[owned] = ever[term]
arguments = {'get_leader': ('k',), 'lease_time_left': (1,), 'leadership': ('k',), 'campaign': ('b',), 'on_event': (print,),
             'delete_leader_key_at': (1,), 'set_lease': (None,), 'set_primary_watch': (True,), 'elector': ('e',),
             'election': ('q',), 'observer': ('o',), 'run': (print,), 'lead': ('l',),
             'put': ('x', 'y'), 'delete': ('x',), 'proclaim': ('v',),
             'operator': ('k2',)}
def look():
    wrong = []
    for thing in (client, lead, term, lease, txn, elector, owned, election, observer, events, operator, shared):
        for name in (name for name in dir(thing) if not name.startswith('_')):
            try:
                found = getattr(thing, name)
                if callable(found) and name not in ever.get(thing, ()):
                    found = found(*arguments.get(name, ()))
                expected = no.get(thing, {}).get(name, found if name in ever.get(thing, ()) else 'Forked')
                if found != expected:
                    wrong.append((type(thing).__name__, name, found))
            except leadership.Forked:
                if name in no.get(thing, {}) or name in ever.get(thing, ()):
                    wrong.append((type(thing).__name__, name, 'Forked'))
        repr(thing)
    return wrong
"""


@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)", "os.execv('/bin/true', ['true'])"])
def test_every_method_in_a_child(end: str, server: leadership.testing.Server) -> None:
    """case_39: all of what a child can call, and each way to end."""
    program = f"""
lead.on_event(lambda event: None)
term = lead.campaign('a'); lead.keep()
lease = client.lease(60); txn = lead.txn()
{ELECTOR}
{EVERY}
child = os.fork()
if child == 0:
    wrong = look()
    del lead, term, lease, txn, client, elector, owned, election, place, observer, events, operator, shared, no, ever
    print(wrong, flush=True)
    {end}
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
owned.txn().then(leadership.Op.put('x', '')).commit()
print(owned.valid, place.valid, elector.is_leader)
{PARENT}
"""
    assert run(program, server.endpoint).splitlines() == ["[]", "True True True", LEADS_ON]


def test_a_child_leaves_the_parents_blocks(server: leadership.testing.Server) -> None:
    """case_39: the end of a with block in a child releases nothing, raises nothing, and hides no SystemExit."""
    program = """
def body():
    with client, lead, client.lease(60) as lease, client.elector('k2') as elector, client.observer('k2'), \\
         elector.next_term() as owned:
        lead.campaign('a'); lead.keep()
        child = os.fork()
        if child == 0 and sys.argv[2:] == ['fall']:
            return
        if child == 0:
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        print(status, lead.check() and owned.valid, not lease.is_expired, client.get_leader('k').value.decode(), flush=True)
for sys.argv[2:] in (['fall'], ['exit']):
    me = os.getpid()
    body()
    if os.getpid() != me:
        sys.exit(0)
    client = leadership.connect(sys.argv[1]); lead = client.leadership('k')
"""
    assert run(program, server.endpoint).splitlines() == ["0 True True a"] * 2
    assert server.get("k") is None


@pytest.mark.parametrize("end", ["os._exit(0)", "return"])
def test_a_callback_forks(end: str, server: leadership.testing.Server) -> None:
    """case_39: the child is on the library's own thread, and must not go on as that."""
    program = f"""
children, told = [], []
def on_event(event):
    told.append(str(event.kind))
    if event.kind != 'elected':
        return
    child = os.fork()
    if child == 0:
        if lead.check():
            os._exit(3)
        {end}
    children.append(child)
lead.on_event(on_event)
lead.campaign('a'); lead.keep()
while not children:
    time.sleep(0.01)
child = children[0]
_, status = os.waitpid(child, 0)
print(status, lead.check(), client.get_leader('k').value.decode())
client.close()
print(*told)
"""
    assert run(program, server.endpoint).splitlines() == ["0 True a", "elected lost"]


def test_forks_beside_busy_threads(server: leadership.testing.Server) -> None:
    """case_39: threads are in the middle of calls, campaigns and waits, with what they have locked."""
    program = f"""
term = lead.campaign('a'); lead.keep()
lease = client.lease(60); txn = lead.txn()
{ELECTOR}
stop = False
def busy(work):
    while not stop:
        try:
            work()
        except leadership.LeadershipError:
            pass
other = client.leadership('k')
work = [lambda: client.get_leader('k'), lambda: other.campaign('b'), lambda: lead.watch(timeout=0.001),
        lambda: (lead.value, lead.add_campaign_times(), lead.term.wait_lost(0)),
        lambda: elector.next_term(0.001), lambda: (elector.leader(), elector.state, elector.health()),
        lambda: observer.next(0.001), lambda: client.observer('k3').next(1)]
threads = [threading.Thread(target=busy, args=(one,)) for one in work]
for thread in threads: thread.start()
{EVERY}
bad = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        import signal
        signal.alarm(20)
        os._exit(1 if look() else 0)
    _, status = os.waitpid(child, 0)
    if status: bad.append(status)
stop = True
for thread in threads: thread.join()
print(bad)
child = os.fork()
if child == 0: sys.exit(0)
{PARENT}
"""
    assert run(program, server.endpoint).splitlines() == ["[]", LEADS_ON]


def test_a_subprocess_inherits_nothing(server: leadership.testing.Server) -> None:
    """case_39: with close_fds=False even; a child that holds the connection would keep it open for ever."""
    program = """
import subprocess
lead.campaign('a'); lead.keep()
look = '''
import os
for fd in range(3, 1000):
    try:
        print(fd, os.readlink(f'/proc/self/fd/{fd}'))
    except OSError:
        pass
'''
print([subprocess.run([sys.executable, '-c', look], capture_output=True, text=True, close_fds=False).stdout])
print(lead.check())
client.close()
"""
    assert run(program, server.endpoint).splitlines() == ["['']", "True"]


def test_a_child_connects_anew_and_leads(server: leadership.testing.Server) -> None:
    """case_39: its own end, without a close, releases its own key and not the parent's."""
    program = f"""
lead.campaign('a'); lead.keep()
child = os.fork()
if child == 0:
    own = leadership.connect(sys.argv[1]).leadership('own')
    own.on_event(lambda event: None)
    print(own.campaign('child', ttl=60).valid, lead.check(), flush=True)
    sys.exit(0)
_, status = os.waitpid(child, 0)
print(status, client.get_leader('own'))
child = os.fork()
if child == 0: sys.exit(0)
{PARENT}
"""
    assert run(program, server.endpoint).splitlines() == ["True False", "0 None", LEADS_ON]
