from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sa_perf.dialects import Plan, PlanNode, dialect_for
from sa_perf.dialects.facts import ColumnFacts, IndexFacts, TableFacts
from sa_perf.dialects.index_trials import IndexDefinition, IndexKey, TrialPlan
from sa_perf.plans.index_advice import WorkloadQuery
from sa_perf.plans.index_advice.cases import Case
from sa_perf.plans.index_advice.choice import Helped, Settled, Withheld
from sa_perf.plans.index_advice.words import Words
from sa_perf.plans.index_advice.writes import Write

POSTGRESQL = dialect_for("postgresql")
ORDERS = TableFacts(
    name="orders",
    rows_estimate=50_000,
    columns=tuple(
        ColumnFacts(name=one, type="integer", nullable=True) for one in ("id", "a", "b", "c")
    ),
    indexes=(IndexFacts(name="orders_pkey", columns=("id",), unique=True, primary=True),),
)
PLAN = Plan(
    database="postgresql",
    server_version="15",
    statement="",
    root=PlanNode(operation="query", label="Query"),
    raw="",
)


def index(*columns: str, **rest: Any) -> IndexDefinition:
    keys = tuple(IndexKey(column=column) for column in columns)
    return IndexDefinition(table="orders", keys=keys, **rest)


def helped(statement: str = "SELECT 1", *, after=10.0, notes=(), calls: int = 10) -> Helped:
    query = WorkloadQuery(fingerprint="f", statement=statement, calls=calls, mean_seconds=1.0)
    case = Case(query=query, accesses=(), before=TrialPlan(plan=PLAN, cost=100.0))
    plan = None if after is None else TrialPlan(plan=PLAN, cost=after, notes=notes)
    return Helped(case=case, after=plan)


def settled(one: IndexDefinition, *all_helped: Helped) -> Settled:
    return Settled(index=one, helped=all_helped or (helped(),), size_bytes=1_000)


def words(*indexes: IndexFacts, writes=(), keep_literals=False) -> Words:
    facts = {"orders": replace(ORDERS, indexes=(*ORDERS.indexes, *indexes))}
    return Words(POSTGRESQL, facts, writes, keep_literals=keep_literals)


def test_what_saves_most_time_comes_first() -> None:
    few = settled(index("a"), helped(calls=1))
    many = settled(index("b"), helped(calls=100), helped(calls=1))
    advice = words().advice([few, many], None)
    assert [one.definition.columns for one in advice] == [("b",), ("a",)]
    assert [gain.calls for gain in advice[0].gains] == [100, 1]
    assert [one.saved_seconds for one in advice] == [90.0 + 0.9, 0.9]


def test_sql_model_and_migration_bear_one_name() -> None:
    (one,) = words().advice([settled(index("a"))], None)
    assert one.create_sql == "CREATE INDEX CONCURRENTLY ix_orders_a ON orders (a)"
    for code in (one.index, one.alembic_upgrade, one.alembic_downgrade):
        assert '"ix_orders_a"' in code


def test_a_name_that_is_taken_gets_a_number() -> None:
    existing = IndexFacts(name="IX_orders_a", columns=("b",))
    first, second = words(existing).advice(
        [settled(index("a")), settled(index("a", schema="x"))], None
    )
    assert '"ix_orders_a_2"' in first.index
    assert '"ix_orders_a_3"' in second.index


def test_a_long_name_with_a_number_still_fits() -> None:
    long = index("ä" * 60)
    taken = IndexFacts(name=long.name, columns=("b",))
    (one,) = words(taken).advice([settled(long)], None)
    name = one.create_sql.split('"')[1]
    assert name.endswith("_2")
    assert len(name.encode()) <= 63


@pytest.mark.parametrize(
    ("existing", "new", "redundant"),
    [
        (IndexFacts(name="old", columns=("a",)), index("a", "b"), ("old",)),
        (IndexFacts(name="old", columns=("A",)), index("a", "b"), ("old",)),
        (IndexFacts(name="old", columns=("b",)), index("a", "b"), ()),
        (IndexFacts(name="old", columns=("a", "b")), index("a", "b"), ()),
        (IndexFacts(name="old", columns=("a",), unique=True), index("a", "b"), ()),
        (IndexFacts(name="old", columns=("a",), predicate="b > 1"), index("a", "b"), ()),
        (IndexFacts(name="old", columns=("a",), method="hash"), index("a", "b"), ()),
        (IndexFacts(name="old", columns=(None,), expressions=("x",)), index("a", "b"), ()),
        (IndexFacts(name="old", columns=("a",)), index("a", "b", predicate="c > 1"), ()),
        (IndexFacts(name="old", columns=("a",)), index("a", include=("b",)), ()),
    ],
)
def test_an_index_that_begins_the_new_one_is_redundant(existing, new, redundant) -> None:
    (one,) = words(existing).advice([settled(new)], None)
    assert one.makes_redundant == redundant


def test_an_index_of_another_order_is_not_redundant() -> None:
    new = IndexDefinition(
        table="orders",
        keys=(IndexKey(column="a"), IndexKey(column="b", descending=True), IndexKey(column="c")),
    )
    one_key = IndexFacts(name="one_key", columns=("a",))
    two_keys = IndexFacts(name="two_keys", columns=("a", "b"))
    (one,) = words(one_key, two_keys).advice([settled(new)], None)
    assert one.makes_redundant == ("one_key",)


def test_literals_are_shown_only_where_that_is_asked_for() -> None:
    case = settled(index("a"), helped("SELECT * FROM orders WHERE a = 'secret' AND b = 4711"))
    (hidden,) = words().advice([case], None)
    (shown,) = words(keep_literals=True).advice([case], None)
    assert hidden.gains[0].statement == "SELECT * FROM orders WHERE a = ? AND b = ?"
    assert "secret" in shown.gains[0].statement


def test_what_was_not_tried_is_unverified_with_the_reason() -> None:
    (one,) = words().advice([settled(index("a"), helped(after=None))], "No HypoPG.")
    assert (one.verified, one.unverified_because) == (False, "No HypoPG.")
    assert one.gains[0].plan_after is None
    assert one.gains[0].speedup_ratio is None
    assert one.saved_seconds is None


def test_each_note_is_told_once() -> None:
    noted = [helped(notes=("After ANALYZE.",)), helped(notes=("After ANALYZE.", "More."))]
    (one,) = words().advice([settled(index("a"), *noted)], None)
    assert one.notes == ("After ANALYZE.", "More.")


def test_writes_of_the_table_are_counted() -> None:
    writes = (
        Write(table="orders", columns=None, calls=5),
        Write(table="orders", columns=frozenset({"b"}), calls=7),
        Write(table="customers", columns=None, calls=9),
    )
    on_a, on_b = words(writes=writes).advice([settled(index("a")), settled(index("b"))], None)
    assert {on_a.writes, on_b.writes} == {5, 12}


def of(fingerprint: str, statement: str) -> Helped:
    one = helped(statement)
    query = replace(one.case.query, fingerprint=fingerprint)
    return replace(one, case=replace(one.case, query=query))


def test_an_index_that_harms_is_named_for_what_nothing_else_helps() -> None:
    first, second = of("first", "SELECT * FROM orders WHERE a = 'x'"), of("second", "SELECT 2")
    harmed = of("harmed", "SELECT sum(c) FROM orders WHERE a > 'secret'")
    withheld = Withheld(index=index("a"), helped=(first, second), harmed=(harmed,))
    advice = words().advice([settled(index("b"), second)], None)
    (one,) = words().withheld([withheld, withheld], advice)
    assert (one.fingerprint, one.statement) == ("first", "SELECT * FROM orders WHERE a = ?")
    assert one.because == (
        "CREATE INDEX ix_orders_a ON orders (a) would help it, but the planner would take it for "
        "harmed too (SELECT sum(c) FROM orders WHERE a > ?), and lose more by that than is saved."
    )
