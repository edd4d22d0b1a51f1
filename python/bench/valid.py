"""`term.valid` beside an empty property of the same extension that reads the clock: the goal is at most 1.5 times it.

Needs a release build (`maturin develop --release`). Owns the measurement: the best of interleaved rounds, so that what
else the machine does hits both alike. Exit code 1 above the goal.
"""

import sys
import timeit

import leadership
import leadership.testing
from leadership._leadership import testing

GOAL = 1.5
ROUNDS, READS = 25, 100_000


def main() -> int:
    with leadership.testing.server() as server, leadership.connect(server.endpoint) as client:
        lead = client.leadership("k")
        term = lead.campaign("bench", ttl=60)
        baseline = testing.Baseline()
        statements = {"term.valid": "t.valid", "term.lost": "t.lost", "clock": "b.clock", "empty": "b.empty", "lead.check()": "c()"}
        best = dict.fromkeys(statements, float("inf"))
        names = {"t": term, "b": baseline, "c": lead.check}
        for _ in range(ROUNDS):
            for name, statement in statements.items():
                took = timeit.timeit(statement, globals=names, number=READS) / READS * 1e9
                best[name] = min(best[name], took)
        assert term.valid
    for name, nanoseconds in best.items():
        print(f"{name:14} {nanoseconds:7.1f} ns")
    ratio = best["term.valid"] / best["clock"]
    print(f"term.valid / (empty property + clock read) = {ratio:.2f} (goal: at most {GOAL})")
    return int(ratio > GOAL)


if __name__ == "__main__":
    sys.exit(main())
