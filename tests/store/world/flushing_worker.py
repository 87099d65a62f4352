"""A worker process of a server: runs statements, flushes, says what it has done.

Arguments: URL of the store, number of the worker. Reads a line from standard input for each round:
``"flush"`` after the round, ``"keep"`` nothing. Prints the number of statements so far, and their
durations in nanoseconds, as it counted them.
"""

from __future__ import annotations

import json
import sys

from sqlalchemy import create_engine, text

import sa_perf

SHAPES = ("SELECT 1", "SELECT 2, 3", "SELECT 'a', 'b', 4")


def main(store: str, number: int) -> None:
    engine = create_engine("sqlite://")
    perf = sa_perf.install(engine, store=store, store_seconds=3_600, service=f"worker {number}")
    done = 0
    print("ready", flush=True)
    for line in sys.stdin:
        with engine.connect() as connection:
            for turn in range(20 + number):
                connection.execute(text(SHAPES[turn % len(SHAPES)])).all()
                done += 1
        stored = perf.flush() if line.strip() == "flush" else None
        items = [query.histogram.to_json_value() for query in perf.snapshot().queries]
        print(json.dumps({"done": done, "stored": stored, "histograms": items}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
