"""Four workers and a kill -9: what is merged is what was executed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

import flushing_worker
import pytest
from store_world import Store

from sa_perf.histogram import Histogram
from sa_perf.store import tables
from sa_perf.store.reading import StoreReader


class Running:
    """A worker process."""

    def __init__(self, url: str, number: int) -> None:
        program = Path(flushing_worker.__file__)
        self._process = subprocess.Popen(
            [sys.executable, str(program), url, str(number)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.flushed = self.executed = 0
        self.histograms: list = []

    def wait_until_ready(self) -> None:
        assert self._process.stdout.readline() == "ready\n"

    def round(self, *, flush: bool) -> None:
        self._process.stdin.write("flush\n" if flush else "keep\n")
        self._process.stdin.flush()
        said = json.loads(self._process.stdout.readline())
        self.executed = said["done"]
        if flush:
            assert said["stored"] is True
            self.flushed, self.histograms = said["done"], said["histograms"]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(60)
        self.close()

    def end(self) -> None:
        """As a server does that stops: what is left is flushed at exit."""
        self._process.stdin.close()
        assert self._process.wait(60) == 0
        self.flushed = self.executed
        self.close()

    def close(self) -> None:
        self._process.stdout.close()
        self._process.stdin.close()


@pytest.mark.exhaustive
def test_totals_of_four_workers_are_exact_though_one_is_killed(store: Store) -> None:
    url = store.place.url.render_as_string(hide_password=False)
    workers = [Running(url, number) for number in range(4)]
    for worker in workers:
        worker.wait_until_ready()
    for turn in range(3):
        for worker in workers:
            worker.round(flush=turn % 2 == 0)
    killed, *others = workers
    killed.round(flush=False)
    killed.kill()
    for worker in others:
        worker.round(flush=True)
        worker.end()
    now = datetime.now(timezone.utc)
    whole = StoreReader(store.engine).window(now - timedelta(hours=1), now + timedelta(hours=1))
    # All that was executed, but the last interval of the one that was killed.
    assert killed.executed > killed.flushed > 0
    assert whole.calls == sum(worker.flushed for worker in workers)
    assert whole.calls == sum(worker.executed for worker in workers) - 20
    assert (whole.processes, len(store.rows(tables.statements))) == (4, 3)
    # Percentiles of the merge are those of one histogram over all that was flushed.
    together = Histogram()
    for worker in workers:
        for items in worker.histograms:
            together.merge(Histogram.from_json_value(items))
    merged = Histogram()
    for query in whole.queries:
        merged.merge(query.histogram)
    for ratio in (0.5, 0.9, 0.95, 0.99, 1.0):
        assert merged.percentile(ratio) == together.percentile(ratio)
    assert Counter(dict(merged.items())) == Counter(dict(together.items()))
