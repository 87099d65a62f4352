from __future__ import annotations

import pytest
import sqlalchemy as sa

import sa_perf


@pytest.mark.parametrize("capture", ["dialect_events", "cursor_events"])
def test_a_sequence_before_an_insert_is_a_statement_of_its_own(
    postgresql_database, capture: str
) -> None:
    engine = postgresql_database.engine()
    metadata = sa.MetaData()
    numbers = sa.Sequence("numbers", metadata=metadata)
    label = sa.Column("label", sa.Integer, default=sa.select(sa.func.abs(-7)))
    table = sa.Table(
        "numbered",
        metadata,
        sa.Column("id", sa.Integer, numbers, primary_key=True),
        label,
        implicit_returning=False,
    )
    metadata.create_all(engine)
    perf = sa_perf.install(engine, capture=capture, slow_seconds=0, log_slow=False, explain=False)

    with engine.begin() as connection:
        inserted = connection.execute(table.insert())
        assert inserted.inserted_primary_key == (1,)
        assert connection.scalar(numbers) == 2

    snapshot = perf.snapshot()
    assert snapshot.health.faults == 0
    calls = {query.statement.partition(" ")[0]: query.calls for query in snapshot.queries}
    assert calls == {"INSERT": 1, "SELECT": 2}
