"""Plans that change: what is told of them, on real databases and by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from sqlalchemy import text

import sa_perf
from sa_perf.dialects import Plan, PlanNode
from sa_perf.plans import history as history_module
from sa_perf.plans.history import PlanHistory, differences, finding_of_change
from sa_perf.plans.results import ExplainedStatement
from sa_perf.snapshot import Snapshot

PATIENCE = 20.0


def plan(*nodes: PlanNode) -> Plan:
    root = PlanNode(operation="query", label="Query", children=nodes)
    return Plan(database="sqlite", server_version="3", statement="SELECT", root=root, raw="")


SCAN = PlanNode(operation="full_scan", label="SCAN flights", relation="flights")
SEARCH = PlanNode(
    operation="index_scan", label="SEARCH", relation="flights", index="ix_tail", alias=None
)
SORT = PlanNode(operation="sort", label="USE TEMP B-TREE FOR ORDER BY", children=(SCAN,))
OTHER = PlanNode(operation="key_lookup", label="SEARCH planes", relation="planes", alias="p")


def result(of: Plan, seconds: float = 1.0, fingerprint: str = "f") -> ExplainedStatement:
    return ExplainedStatement(
        fingerprint=fingerprint,
        plan=of,
        findings=(),
        explained_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
        error=None,
        duration_seconds=seconds,
        database="d",
    )


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ((SEARCH,), (SCAN,), ["flights is read whole, and was found by an index ix_tail"]),
        ((SCAN,), (SORT,), ["there is a sort now"]),
        ((SORT,), (SCAN,), ["there is no sort any more"]),
        ((SCAN,), (SCAN, OTHER), ["planes (p) is found by its key, and was not read before"]),
        ((SCAN, OTHER), (SCAN,), ["planes (p) is not read any more"]),
        ((SORT,), (SORT, SORT), ["there are 2 steps of sort instead of 1"]),
        ((SCAN, OTHER), (OTHER, SCAN), ["the same steps in another order"]),
    ],
)
def test_differences_are_told_table_by_table_and_step_by_step(before, after, words) -> None:
    assert list(differences(plan(*before), plan(*after))) == words


def test_the_same_shape_with_other_numbers_is_no_change() -> None:
    history = PlanHistory()
    history.explained(result(plan(SCAN)))
    history.explained(result(plan(PlanNode(**{**_fields(SCAN), "estimated_rows": 7.0}))))
    assert history.changes() == ()


def test_slow_executions_count_for_the_plan_that_ran_them() -> None:
    history = PlanHistory()
    history.explained(result(plan(SEARCH), 0.1))
    for seconds in (0.1, 0.3, 2.0):
        history.ran("f", seconds)
    history.explained(result(plan(SCAN), 2.0))
    history.ran("f", 4.0)

    (change,) = history.changes()
    assert (change.slow_calls_before, change.slow_calls_after) == (3, 2)
    assert change.mean_seconds_before == pytest.approx(0.5 / 3)
    assert change.mean_seconds_after == pytest.approx(3.0)
    finding = finding_of_change(change)
    assert (finding.kind, finding.severity) == ("plan_changed", "critical")
    assert "slower (3 s instead of 0.167 s" in finding.message


def test_a_change_for_the_better_is_told_as_one() -> None:
    history = PlanHistory()
    history.explained(result(plan(SCAN), 3.0))
    history.explained(result(plan(SEARCH), 1.0))
    (change,) = history.changes()
    assert finding_of_change(change).severity == "info"
    assert "faster" in finding_of_change(change).message


def test_changes_are_bounded_and_the_newest_stand_first() -> None:
    history = PlanHistory()
    for number in range(300):
        history.explained(result(plan(SCAN), fingerprint=f"{number}"))
        history.explained(result(plan(SEARCH), fingerprint=f"{number}"))
    names = [one.fingerprint for one in history.changes()]
    assert names[0] == "299"
    assert len(names) == 200


def test_what_is_explained_again_is_not_the_oldest(monkeypatch) -> None:
    monkeypatch.setattr(history_module, "_MAX_FINGERPRINTS", 2)
    history = PlanHistory()
    for name in ("a", "b", "a", "c"):
        history.explained(result(plan(SEARCH), fingerprint=name))
    history.explained(result(plan(SCAN), fingerprint="a"))
    assert [one.fingerprint for one in history.changes()] == ["a"]


def test_plans_are_bounded_by_their_texts(monkeypatch) -> None:
    monkeypatch.setattr(history_module, "_MAX_CHARACTERS", 1_000)
    history = PlanHistory()
    for number in range(100):
        for nodes in ((SCAN,), (SEARCH,), (SCAN,)):
            long = replace(plan(*nodes), raw="x" * 94)
            history.explained(result(long, fingerprint=f"{number % 7}"))
    held = [one.plan for one in history._current.values()]
    held += [one.before for one in history._changes.values()]
    assert sum(len(one.raw) + len(one.statement) for one in held) == history._characters <= 1_000
    assert len(history._current) > 1

    history.explained(result(replace(plan(SCAN), raw="x" * 5_000), fingerprint="huge"))
    assert list(history._current) == ["huge"]


def test_an_index_that_is_dropped_under_a_statement_is_found(db) -> None:
    engine = db.engine(plugins=["sa_perf"], sa_perf_slow_seconds=3_600)
    perf = sa_perf.instrumentation(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE flights (id INTEGER PRIMARY KEY, tail VARCHAR(20))"))
        connection.execute(
            text("INSERT INTO flights VALUES (:id, :tail)"),
            [{"id": n, "tail": f"N{n % 3000}"} for n in range(12_000)],
        )
        connection.execute(text("CREATE INDEX ix_tail ON flights (tail)"))
    analyse(engine)

    def ran_for(seconds: float) -> tuple[Any, ...]:
        with engine.connect() as connection:
            taken = engine.dialect._sa_perf.sampler.offer(
                fingerprint="f",
                statement="SELECT id FROM flights WHERE tail = 'N7'",
                parameters=(),
                duration_seconds=seconds,
                rows=4,
                dbapi_connection=connection.connection.dbapi_connection,
            )
        assert taken
        assert perf.wait_for_plans(PATIENCE)
        return perf.snapshot().plan_changes

    assert ran_for(0.1) == ()
    on = " ON flights" if db.backend in ("mysql", "mariadb") else ""
    with engine.begin() as connection:
        connection.execute(text(f"DROP INDEX ix_tail{on}"))
    (change,) = ran_for(1.0)
    assert any("flights is read whole" in one for one in change.differences)
    assert change.before.shape_hash != change.after.shape_hash
    snapshot = perf.snapshot()
    assert "plan_changed" in {one.kind for one in snapshot.findings}
    assert Snapshot.from_dict(snapshot.to_dict()).plan_changes == snapshot.plan_changes


def analyse(engine) -> None:
    command = "ANALYZE TABLE flights" if engine.dialect.name in ("mysql", "mariadb") else "ANALYZE"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(command)


def _fields(node: PlanNode) -> dict[str, Any]:
    return {name: getattr(node, name) for name in node.__dataclass_fields__}
