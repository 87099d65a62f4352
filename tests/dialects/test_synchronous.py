from __future__ import annotations

import pytest
from sqlalchemy import MetaData

from sa_perf.errors import RetentionError
from sa_perf.retention import plan, run
from sa_perf.retention.audit import history
from sa_perf.retention.space import estimate


@pytest.mark.parametrize(
    "call",
    [
        lambda engine: plan(engine, MetaData()),
        lambda engine: run(engine, MetaData()),
        history,
        estimate,
    ],
    ids=["plan", "run", "history", "estimate"],
)
def test_an_asynchronous_engine_is_refused_with_what_to_write(async_db, call) -> None:
    async def refused() -> None:
        with pytest.raises(RetentionError, match=r"is asynchronous, .*run_sync\(lambda inner"):
            call(async_db.async_engine())

    async_db.run(refused())
