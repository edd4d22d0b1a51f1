"""What a check of a term costs a Python program: `term.valid` beside an empty property of the same extension that reads
the clock, in interleaved pairs.

Owns the loops; `make bench` builds the package in release form, runs this, and makes medians of the pairs.

usage: valid.py ENDPOINT ROUNDS READS       One line a pair: CALL OURS_NS BASE_NS.
"""

import sys
import timeit

import leadership
from leadership._leadership import testing

# Long enough that no renewal falls into the measurement.
TTL = 3600

CALLS = {"term.valid": "t.valid", "term.lost": "t.lost", "lead.check()": "c()"}


def main(endpoint: str, rounds: int, reads: int) -> int:
    with leadership.connect(endpoint) as client, client.leadership("bench/python") as lead:
        term = lead.campaign("bench", ttl=TTL)
        names = {"t": term, "b": testing.Baseline(), "c": lead.check}

        def nanoseconds(statement: str) -> float:
            return timeit.timeit(statement, globals=names, number=reads) / reads * 1e9

        for name, statement in CALLS.items():
            nanoseconds(statement)
            for number in range(rounds):
                # Which half comes first alternates, so that a drift of the machine's speed favours neither.
                if number % 2:
                    ours, base = nanoseconds(statement), nanoseconds("b.clock")
                else:
                    base, ours = nanoseconds("b.clock"), nanoseconds(statement)
                print(f"{name} {ours:.3f} {base:.3f}")
        return 0 if term.valid else 3  # an ended term is cheaper to check: such figures would be worth nothing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
