"""What is said of a schema, on inventories built by hand; the rules by tables and by chance."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql, postgresql, sqlite

from sa_perf.dialects.inventory import (
    Counter,
    ForeignKey,
    IndexPart,
    Inventory,
    SchemaColumn,
    SchemaIndex,
    SchemaTable,
    Unknown,
    ddl_for,
)
from sa_perf.finding import Finding
from sa_perf.plans.schema import Limits
from sa_perf.plans.schema.coverage import serves_key, unneeded_indexes
from sa_perf.plans.schema.examination import schema_findings

DDL = ddl_for(postgresql.dialect())
DAY = 86_400.0


def part(text: str) -> IndexPart:
    """``a``, ``a desc``, ``lower(a)``, ``a collate x``; NULLs stand as is usual on PostgreSQL."""
    name, _, rest = text.partition(" ")
    down = rest == "desc"
    is_column = "(" not in name
    return IndexPart(
        column=name if is_column else None,
        expression=None if is_column else name,
        kind="" if down else rest,
        descending=down,
        nulls_first=down,
    )


def index(name: str, keys: str, **fields: Any) -> SchemaIndex:
    return SchemaIndex(name=name, parts=tuple(map(part, keys.split(", "))), **fields)


def table(*indexes: SchemaIndex, name: str = "t", **fields: Any) -> SchemaTable:
    columns = tuple(SchemaColumn(name=one, type="integer") for one in "abcdx")
    fields.setdefault("columns", columns)
    fields.setdefault("schema", "public")
    return SchemaTable(name=name, indexes=indexes, **fields)


def gone(*indexes: SchemaIndex, keys: tuple[ForeignKey, ...] = (), **fields: Any) -> set[str]:
    """What may go, as ``"a<b"`` where b does more, ``"a=b"`` where it does the same."""
    found = unneeded_indexes(table(*indexes, **fields), keys)
    return {f"{one.index.name}{'=' if one.duplicate else '<'}{one.instead.name}" for one in found}


def key(columns: str, to: str = "p", referred: str = "id", **fields: Any) -> ForeignKey:
    return ForeignKey(
        name=f"fk_{columns}",
        schema="public",
        table=fields.pop("table", "t"),
        columns=tuple(columns.split(",")),
        referred_schema="public",
        referred_table=to,
        referred_columns=tuple(referred.split(",")),
        **fields,
    )


U: dict[str, Any] = {"unique": True}
PK: dict[str, Any] = {"unique": True, "primary": True, "constraint": "t_pkey"}
HASH: dict[str, Any] = {"method": "hash", "ordered": False}


@pytest.mark.parametrize(
    ("indexes", "expected"),
    [
        ([index("i", "a"), index("j", "a")], {"j=i"}),
        ([index("long_name", "a"), index("i", "a")], {"long_name=i"}),
        ([index("i", "a"), index("j", "b")], set()),
        ([index("i", "a"), index("j", "a, b")], {"i<j"}),
        ([index("i", "b"), index("j", "a, b")], set()),
        ([index("i", "a, b"), index("j", "b, a")], set()),
        ([index("i", "a"), index("j", "a, b"), index("k", "a, b, c")], {"i<k", "j<k"}),
        ([index("i", "a, b, c"), index("j", "a, b")], {"j<i"}),
        # direction: an index is read from either end
        ([index("i", "a"), index("j", "a desc")], {"j=i"}),
        ([index("i", "a desc"), index("j", "a, b")], {"i<j"}),
        ([index("i", "a desc, b desc"), index("j", "a, b")], {"j=i"}),
        ([index("i", "a, b desc"), index("j", "a, b")], set()),
        ([index("i", "a, b desc"), index("j", "a desc, b")], {"j=i"}),
        ([index("i", "a, b desc"), index("j", "a desc, b, c")], {"i<j"}),
        ([index("i", "a, b desc"), index("j", "a desc, b desc, c")], set()),
        # expressions, collations, operator classes, lengths
        ([index("i", "lower(a)"), index("j", "lower(a)")], {"j=i"}),
        ([index("i", "lower(a)"), index("j", "a")], set()),
        ([index("i", "a"), index("j", "a text_pattern_ops")], set()),
        ([index("i", "a text_pattern_ops"), index("j", "a text_pattern_ops, b")], {"i<j"}),
        ([index("i", "a (10)"), index("j", "a (20)")], set()),
        ([index("i", "a (10)"), index("j", "a")], set()),
        # predicates
        ([index("i", "a", predicate="x > 1"), index("j", "a", predicate="x > 1")], {"j=i"}),
        ([index("i", "a", predicate="x > 1"), index("j", "a, b", predicate="x > 1")], {"i<j"}),
        ([index("i", "a", predicate="x > 1"), index("j", "a")], set()),
        ([index("i", "a"), index("j", "a, b", predicate="x > 1")], set()),
        # columns carried along
        ([index("i", "a", include=("x",)), index("j", "a")], {"j<i"}),
        ([index("i", "a", include=("x",)), index("j", "a", include=("x",))], {"j=i"}),
        ([index("i", "a", include=("x",)), index("j", "a", include=("c",))], set()),
        ([index("i", "a", include=("x",)), index("j", "a, x")], {"i<j"}),
        ([index("i", "a", include=("x",)), index("j", "a, b")], set()),
        # methods
        ([index("i", "a", **HASH), index("j", "a")], set()),
        ([index("i", "a", **HASH), index("j", "a", **HASH)], {"j=i"}),
        (
            [index("i", "a", method="gin", ordered=False),
             index("j", "a, b", method="gin", ordered=False)],
            set(),
        ),
        (
            [index("i", "a", method="brin (pages_per_range=8)", ordered=False),
             index("j", "a", method="brin", ordered=False)],
            set(),
        ),
        # uniqueness
        ([index("i", "a"), index("u", "a", **U)], {"i=u"}),
        ([index("i", "a"), index("u", "a, b", **U)], {"i<u"}),
        ([index("u", "a", **U), index("j", "a, b")], set()),
        ([index("u", "a", **U), index("v", "a", **U)], {"v=u"}),
        ([index("u", "a", **U), index("p", "a", **PK)], {"u=p"}),
        ([index("u", "a", **U, constraint="c"), index("v", "a", **U)], {"v=u"}),
        ([index("u", "a", **U, constraint="c"), index("p", "a", **PK)], {"u=p"}),
        ([index("p", "a", **PK), index("j", "a, b")], set()),
        ([index("u", "a, b", **U), index("p", "a", **PK), index("j", "a, b, c")], {"u<j"}),
        ([index("u", "a, b", **U), index("p", "a", **PK)], set()),
        ([index("u", "a, b", **U), index("v", "b, a", **U)], set()),
        ([index("u", "a", **U, nulls_distinct=False), index("v", "a", **U)], {"v=u"}),
        ([index("u", "a", **U, deferrable=True), index("v", "a", **U)], {"u=v"}),
        (
            [index("u", "a", **U, deferrable=True, constraint="c"), index("v", "a", **U)],
            {"u=v"},
        ),
        ([index("u", "a", **U, predicate="x > 1"), index("i", "a", predicate="x > 1")], {"i=u"}),
        # what must stay
        ([index("i", "a", pinned="it is the replica identity"), index("j", "a")], {"j=i"}),
        ([index("i", "a", pinned="so"), index("j", "a, b")], set()),
        ([index("i", "a", pinned="so"), index("j", "a", pinned="so")], set()),
        ([index("i", "a"), index("j", "a", usable=False, invalid="it is not whole")], set()),
        ([index("i", "a"), index("j", "a, b", usable=False)], set()),
        ([index("u", "a", **U), index("v", "a", **U, usable=False, invalid="so")], set()),
    ],
)  # fmt: skip
def test_what_may_go_beside_what(indexes: list[SchemaIndex], expected: set[str]) -> None:
    assert gone(*indexes) == expected
    assert gone(*reversed(indexes)) == expected


@pytest.mark.parametrize(
    ("indexes", "expected"),
    [
        ([index("i", "a"), index("j", "a, id")], {"j=i"}),
        ([index("i", "a, b"), index("j", "a")], {"j<i"}),
        ([index("j", "a, id")], set()),
        ([index("i", "a"), index("j", "a desc, id desc")], {"j=i"}),
        ([index("i", "a"), index("j", "a, id desc")], {"i<j"}),
        ([index("u", "a", **U), index("j", "a, id")], {"j=u"}),
        ([index("p", "id", **PK), index("i", "id")], {"i=p"}),
        ([index("p", "id", **PK), index("i", "id, a")], set()),
    ],
)
def test_indexes_that_end_in_the_key_of_the_row(
    indexes: list[SchemaIndex], expected: set[str]
) -> None:
    usual = tuple(
        replace(
            one,
            parts=tuple(replace(part, nulls_first=not part.descending) for part in one.parts),
        )
        for one in indexes
    )
    assert gone(*usual, row_key=("id",), clustered=True) == expected


def test_a_foreign_key_keeps_the_index_that_names_its_columns() -> None:
    both = (index("i", "a"), index("j", "a, id"))
    usual = tuple(replace(one, parts=tuple(replace(p, nulls_first=True) for p in one.parts)) for one in both)  # fmt: skip  # noqa: E501
    assert gone(*usual, row_key=("id",), keys=(key("a,id"),)) == {"i=j"}
    incoming = key("y,z", table="child", to="t", referred="a,id")
    assert gone(*usual, row_key=("id",), keys=(incoming,)) == {"i=j"}
    assert gone(*usual, row_key=("id",), keys=(key("a"),)) == {"j=i"}


def test_null_counts_where_uniqueness_is_another_indexs_matter() -> None:
    strict = index("u", "a, b", **U, nulls_distinct=False)
    others = (index("v", "a", **U), index("j", "a, b, c"))
    assert gone(strict, *others) == set()
    never = (SchemaColumn(name="a", type="integer", nullable=False),)
    assert gone(strict, *others, columns=never) == {"u<j"}


PARTS = st.lists(st.sampled_from(["a", "b", "c", "a desc", "b desc"]), min_size=1, max_size=3)


@st.composite
def some_indexes(draw: st.DrawFn) -> list[SchemaIndex]:
    found = []
    for at in range(draw(st.integers(1, 6))):
        keys = list({one.partition(" ")[0]: one for one in draw(PARTS)}.values())
        found.append(
            index(
                f"i{at}",
                ", ".join(keys),
                unique=draw(st.booleans()),
                include=draw(st.sampled_from([(), ("x",)])),
                predicate=draw(st.sampled_from([None, "x > 1"])),
                pinned=draw(st.sampled_from([None, None, "so"])),
                scans=draw(st.sampled_from([None, 0, 5])),
            )
        )
    return found


@given(some_indexes(), st.lists(st.sampled_from(["a", "b", "a,b", "b,a"]), max_size=2))
def test_without_what_may_go_everything_is_still_found_and_unique(
    indexes: list[SchemaIndex], columns: list[str]
) -> None:
    keys = tuple(map(key, columns))
    found = unneeded_indexes(table(*indexes), keys)
    names = {one.index.name for one in found}
    left = [one for one in indexes if one.name not in names]
    assert {one.instead.name for one in found} <= {one.name for one in left}
    assert not any(one.index.pinned for one in found)
    for dropped in (one for one in indexes if one.name in names):
        order = [(one.column, one.descending) for one in dropped.parts]
        flipped = [(name, not down) for name, down in order]
        assert any(
            [(one.column, one.descending) for one in other.parts][: len(order)] in (order, flipped)
            and other.predicate == dropped.predicate
            and set(dropped.include) <= {*other.include, *(one.column for one in other.parts)}
            for other in left
        )
        if dropped.unique:
            own = {one.column for one in dropped.parts}
            assert any(
                other.unique
                and {one.column for one in other.parts} <= own
                and other.predicate in (None, dropped.predicate)
                for other in left
            )
    for one in keys:
        before = any(serves_key(other, one.columns) for other in indexes)
        assert before == any(serves_key(other, one.columns) for other in left)
    assert unneeded_indexes(table(*left), keys) == []


@pytest.mark.parametrize(
    ("one", "columns", "expected"),
    [
        (index("i", "a"), "a", True),
        (index("i", "a, b"), "a", True),
        (index("i", "b, a"), "a", False),
        (index("i", "a, b"), "b,a", True),
        (index("i", "a, b, c"), "b,a", True),
        (index("i", "a, c, b"), "a,b", False),
        (index("i", "a"), "a,b", False),
        (index("i", "a", **U), "a,b", True),
        (index("i", "a, c", **U), "a,b", False),
        (index("i", "a", **U, predicate="b > 1"), "a,b", False),
        (index("i", "a desc"), "a", True),
        (index("i", "lower(a)"), "a", False),
        (index("i", "a", predicate="(a IS NOT NULL)"), "a", True),
        (index("i", "a", predicate='"a" is not null'), "a", False),
        (index("i", "a", predicate="(b IS NOT NULL)"), "a", False),
        (index("i", "a", predicate="x > 1"), "a", False),
        (index("i", "a", **HASH), "a", True),
        (index("i", "a, b", **HASH), "a,b", False),
        (index("i", "a", method="gin", ordered=False), "a", False),
        (index("i", "a", usable=False), "a", False),
    ],
)
def test_which_index_serves_a_foreign_key(one: SchemaIndex, columns: str, expected: bool) -> None:
    assert serves_key(one, columns.split(",")) is expected


def findings(
    *tables: SchemaTable, limits: Limits | None = None, ddl: Any = DDL, **fields: Any
) -> list[Finding]:
    inventory = Inventory(schemas=("public",), tables=tables, **fields)
    return list(schema_findings(inventory, ddl, limits or Limits())[0])


def test_a_finding_holds_what_to_copy_and_what_it_frees() -> None:
    big = table(
        index("p", "id", **PK),
        index("ix_a", "a", bytes=1_000, scans=7),
        index("ix_a_b", "a, b", bytes=3_000),
        rows_estimate=1e6,
    )
    (found,) = findings(big)
    assert found == Finding(
        kind="redundant_index",
        severity="warning",
        message="ix_a (a) is the beginning of ix_a_b (a, b): each write keeps both.",
        remedy="DROP INDEX CONCURRENTLY ix_a",
        place="table t",
        evidence={
            "index": "ix_a",
            "freed_bytes": 1_000,
            "scans": 7,
            "table_rows": 1_000_000,
            "instead": "ix_a_b",
            "alembic": "with op.get_context().autocommit_block(): "
            'op.drop_index("ix_a", table_name="t", postgresql_concurrently=True)',
        },
    )


def test_a_unique_constraint_is_dropped_as_one() -> None:
    (found,) = findings(
        table(index("p", "a", **PK), index("u", "a", **U, constraint="u"), rows_estimate=1e6)
    )
    assert found.remedy == "ALTER TABLE t DROP CONSTRAINT u"
    assert found.evidence["alembic"] == 'op.drop_constraint("u", "t", type_="unique")'


@pytest.mark.parametrize(
    ("dialect", "sql", "alembic"),
    [
        (sqlite, 'DROP INDEX "Ix 1"', 'op.drop_index("Ix 1", table_name="order")'),
        (mysql, "DROP INDEX `Ix 1` ON `order`", 'op.drop_index("Ix 1", table_name="order")'),
        (
            postgresql,
            'DROP INDEX CONCURRENTLY "Ix 1"',
            "with op.get_context().autocommit_block(): "
            'op.drop_index("Ix 1", table_name="order", postgresql_concurrently=True)',
        ),
    ],
)
def test_names_are_quoted_where_they_must_be(dialect: Any, sql: str, alembic: str) -> None:
    twice = table(
        index("p", "id", **PK), index("i", "a"), index("Ix 1", "a"), name="order", rows_estimate=9e9
    )
    (found,) = findings(twice, ddl=ddl_for(dialect.dialect()))
    assert (found.remedy, found.evidence["alembic"]) == (sql, alembic)


def test_another_schema_is_named_everywhere() -> None:
    other = table(
        index("p", "id", **PK), index("i", "a"), index("ii", "a"),
        schema="other", is_default_schema=False,
    )  # fmt: skip
    (found,) = findings(other)
    assert (found.place, found.remedy) == ("table other.t", "DROP INDEX CONCURRENTLY other.ii")
    assert 'schema="other"' in str(found.evidence["alembic"])
    assert "ON other.t" in findings(
        replace(other, indexes=other.indexes[:2], name="t"),
        foreign_keys=(replace(key("b"), schema="other"),),
    )[0].remedy  # fmt: skip


def test_a_name_with_a_percent_sign_or_a_quote_is_kept() -> None:
    odd = table(index("p", "id", **PK), index("i", "a"), index('50%"x', "a"))
    (found,) = findings(odd)
    assert found.remedy == 'DROP INDEX CONCURRENTLY "50%""x"'
    assert "'50%\"x'" in str(found.evidence["alembic"])


def test_small_tables_are_told_but_warn_of_nothing() -> None:
    twice = table(index("p", "id", **PK), index("i", "a"), index("j", "a"))
    rows: list[float | None] = [0.0, 999.0, 1_000.0, None]
    told = [findings(replace(twice, rows_estimate=each))[0].severity for each in rows]
    assert told == ["info", "info", "warning", "warning"]
    empty = replace(twice, rows_estimate=0.0)
    assert findings(empty, limits=Limits(small_rows=0))[0].severity == "warning"


def test_an_index_on_the_key_that_the_rows_lie_in_is_a_matter_of_taste() -> None:
    primary = index("PRIMARY KEY", "id", **PK)
    own = table(primary, index("i", "id"), row_key=("id",), clustered=True, rows_estimate=1e9)
    (found,) = findings(own)
    assert (found.severity, "smaller than the table" in found.message) == ("info", True)


# Never used


def counted(days: float, *tables: SchemaTable, **fields: Any) -> list[Finding]:
    return findings(
        *tables,
        counted_since=datetime(2026, 10, 1, tzinfo=timezone.utc),
        counted_seconds=days * DAY,
        **fields,
    )


NEVER = table(
    index("p", "id", **PK, scans=0),
    index("u", "b", **U, scans=0),
    index("ix_c", "c", scans=0, bytes=500),
    index("ix_d", "d", scans=3),
    index("ix_x", "x", scans=None),
    rows_estimate=1e6,
)


def test_a_never_used_index_is_told_since_when() -> None:
    (found,) = counted(60, NEVER)
    assert (found.kind, found.severity) == ("unused_index", "warning")
    assert "was not used once in the 60 days since this server began to count (2026-10-01)" in (
        found.message
    )
    assert found.evidence["freed_bytes"] == 500
    assert found.remedy == "DROP INDEX CONCURRENTLY ix_c"


def test_a_month_makes_it_a_warning_and_replicas_never_do() -> None:
    assert [one.severity for one in counted(29, NEVER)] == ["info"]
    (found,) = counted(60, NEVER, elsewhere=True)
    assert (found.severity, "Replicas count for themselves" in found.message) == ("info", True)


def test_young_or_missing_counts_say_nothing() -> None:
    assert counted(0.9, NEVER) == []
    assert findings(NEVER) == []
    inventory = Inventory(schemas=("public",), tables=(NEVER,), counted_seconds=3_600.0)
    _, unknowns = schema_findings(inventory, DDL, Limits())
    assert [(one.question, "1.0 hours only" in one.because) for one in unknowns] == [
        ("never used indexes", True)
    ]
    assert counted(0.5, NEVER, limits=Limits(unused_days=0.5)) != []


def test_an_index_that_alone_serves_a_foreign_key_stays() -> None:
    assert counted(60, NEVER, foreign_keys=(key("c"),)) == []
    both = replace(NEVER, indexes=(*NEVER.indexes, index("ix_c_d", "c, d", scans=9)))
    told = counted(60, both, foreign_keys=(key("c"),))
    assert [(one.kind, one.evidence["index"]) for one in told] == [("redundant_index", "ix_c")]


def test_of_two_unused_ones_that_serve_a_key_one_stays() -> None:
    two = table(
        index("p", "id", **PK),
        index("i", "a, b", scans=0, bytes=10),
        index("j", "a, c", scans=0, bytes=20),
    )
    told = counted(60, two, foreign_keys=(key("a"),))
    assert [one.evidence["index"] for one in told] == ["j"]


def test_an_index_that_takes_over_anothers_uses_is_not_unused() -> None:
    pair = table(index("p", "id", **PK), index("i", "a", scans=9), index("j", "a, b", scans=0))
    assert [one.kind for one in counted(60, pair)] == ["redundant_index"]


# Keys


def test_a_foreign_key_without_an_index_gets_one_to_copy() -> None:
    child = table(index("p", "id", **PK), rows_estimate=5e6)
    (found,) = findings(child, foreign_keys=(key("b,a"),))
    assert found.remedy == "CREATE INDEX CONCURRENTLY ix_t_b_a ON t (b, a)"
    assert found.evidence["sqlalchemy"] == 'sa.Index("ix_t_b_a", "b", "a")'
    assert 'op.create_index("ix_t_b_a", "t", ["b", "a"]' in str(found.evidence["alembic"])
    assert "No index begins with (b, a), which refer to public.p" in found.message


def test_a_name_that_is_taken_gets_another() -> None:
    child = table(index("p", "id", **PK), index("IX_t_b", "x"))
    (found,) = findings(child, foreign_keys=(key("b"),))
    assert "ix_t_b_2 ON" in found.remedy


def test_two_keys_on_the_same_columns_want_one_index() -> None:
    child = table(index("p", "id", **PK))
    keys = (key("a,b"), key("b,a", to="q"), key("a"))
    assert [one.evidence["columns"] for one in findings(child, foreign_keys=keys)] == ["a, b", "a"]


def test_indexes_of_every_partition_serve_the_whole() -> None:
    served, other = (index("i", "a"),), (index("i", "b"),)
    whole = table(index("p", "id", **PK), partitioned=True, partition_indexes=(served, served))
    assert findings(whole, foreign_keys=(key("a"),)) == []
    (found,) = findings(replace(whole, partition_indexes=(served, other)), foreign_keys=(key("a"),))
    assert found.remedy == "CREATE INDEX ix_t_a ON t (a)"
    assert "CONCURRENTLY" in str(found.evidence["caution"])


def test_a_key_on_a_narrower_column_is_told() -> None:
    parent = table(
        index("q", "id", **PK), name="p", columns=(SchemaColumn(name="id", type="bigint"),)
    )
    child = table(index("p", "id", **PK), index("i", "a"))
    (found,) = findings(child, parent, foreign_keys=(key("a"),))
    assert (found.kind, found.severity) == ("narrow_foreign_key", "warning")
    assert found.remedy == "Change the type of t.a to bigint"
    counter = Counter(schema="public", table="p", column="id", last=2**30, limit=2**63 - 1)
    for last, severity in ((2**30, "warning"), (2**30 - 1, "info")):
        used = (replace(counter, last=last),)
        (found,) = findings(child, parent, foreign_keys=(key("a"),), counters=used)
        assert found.severity == severity


def test_a_foreign_key_that_was_not_validated_is_told() -> None:
    child = table(index("p", "id", **PK), index("i", "a"))
    (found,) = findings(child, foreign_keys=(key("a", validated=False),))
    assert found.remedy == "ALTER TABLE t VALIDATE CONSTRAINT fk_a"


def test_tables_without_a_primary_key_are_told_apart() -> None:
    bare = table(name="bare")
    columns = (SchemaColumn(name="a", type="text", nullable=False),)
    keyed = table(index("u", "a", **U), name="keyed", columns=columns)
    loose = table(index("u", "a", **U), name="loose")
    view = table(name="mv", materialized=True)
    version = table(name="alembic_version")
    told = {one.place: (one.severity, one.remedy) for one in findings(bare, keyed, loose, view, version)}  # fmt: skip  # noqa: E501
    assert set(told) == {"table bare", "table keyed", "table loose"}
    assert told["table keyed"] == ("info", "ALTER TABLE keyed ADD PRIMARY KEY USING INDEX u")
    assert told["table bare"][0] == told["table loose"][0] == "warning"


@pytest.mark.parametrize("dialect", [sqlite, mysql, postgresql])
def test_every_remedy_can_be_written_for_every_database(dialect: Any) -> None:
    ddl = ddl_for(dialect.dialect())
    counter = Counter(
        schema="s", sequence="q", sequence_schema="s", table="t", column="id",
        column_type="integer", last=2**31 - 1, limit=2**31 - 1, limited_by_column=True,
    )  # fmt: skip
    one = index("i", "a", unique=True)
    for partitioned, default in product((False, True), repeat=2):
        of = table(one, partitioned=partitioned, is_default_schema=default)
        for counters in (counter, replace(counter, table=None, limited_by_column=False)):
            remedies = [
                ddl.drop_index(of, one), ddl.rebuild_index(of, one), ddl.add_key(of),
                ddl.key_from_index(of, one), ddl.create_index(of, "n", ["a"]), ddl.widen(counters),
            ]  # fmt: skip
            assert all(each.sql for each in remedies)


# Counters


@pytest.mark.parametrize(
    ("fields", "severity", "words"),
    [
        ({"last": None}, None, ""),
        ({"last": 1_000_000_000}, None, ""),
        ({"last": 1_100_000_000}, "info", "51.2 %"),
        ({"last": 1_700_000_000}, "warning", "79.2 %"),
        ({"last": 2_000_000_000}, "critical", "147,483,647 are left"),
        ({"last": 2**31 - 1}, "critical", "INSERTs fail."),
        ({"last": 2**32}, "critical", "INSERTs fail."),
        ({"last": 2**63 - 8, "limit": 2**63 - 1}, "critical", "7 are left"),
        ({"last": 2_000_000_000, "cycles": True}, "critical", "INSERTs fail then"),
        (
            {"last": 95, "limit": 100, "cycles": True, "limited_by_sequence": True,
             "limited_by_column": False},
            "info",
            "It begins again then",
        ),
        ({"last": -80, "first": -1, "limit": -101, "increment": -1}, "warning", "21 are left"),
        ({"last": 90, "first": 0, "limit": 100, "increment": 5}, "critical", "2 are left"),
        ({"last": 0, "first": -(2**31), "increment": 1}, "info", "50.0 %"),
    ],
)  # fmt: skip
def test_how_near_the_end_a_counter_is(
    fields: dict[str, Any], severity: str | None, words: str
) -> None:
    values: dict[str, Any] = {
        "schema": "public", "sequence": "s", "sequence_schema": "public", "table": "t",
        "column": "id", "column_type": "integer", "limit": 2**31 - 1, "limited_by_column": True,
    }  # fmt: skip
    found = findings(counters=(Counter(**{**values, **fields}),))
    assert [one.severity for one in found] == ([severity] if severity else [])
    assert all(words in one.message for one in found)


def test_the_narrower_of_column_and_sequence_is_widened() -> None:
    values: dict[str, Any] = {
        "schema": "public", "sequence": "s", "sequence_schema": "public", "table": "t",
        "column": "id", "column_type": "integer", "limit": 2**31 - 1, "last": 2**31 - 2,
    }  # fmt: skip
    told = [
        findings(counters=(Counter(**values, limited_by_column=by_column, limited_by_sequence=by_sequence),))[0].remedy  # noqa: E501
        for by_column, by_sequence in ((True, False), (False, True), (True, True))
    ]  # fmt: skip
    widen, more = "ALTER TABLE t ALTER COLUMN id TYPE bigint", "ALTER SEQUENCE s AS bigint NO MAXVALUE"  # noqa: E501  # fmt: skip
    assert told == [widen, more, f"{widen}; {more}"]


# The whole


def test_broken_indexes_are_told_and_cover_nothing() -> None:
    broken = index("j", "a, b", usable=False, invalid="it was cut short", unique=True)
    (found,) = findings(table(index("p", "id", **PK), index("i", "a"), broken))
    assert (found.kind, found.remedy) == ("invalid_index", "REINDEX INDEX CONCURRENTLY j")
    assert found.message == "No query uses j (a, b): it was cut short. It keeps nothing unique."
    left_over = replace(broken, name="i_ccnew1")
    (found,) = findings(table(index("p", "id", **PK), left_over))
    assert found.remedy == "DROP INDEX CONCURRENTLY i_ccnew1"


def test_findings_stand_worst_first_and_big_ones_before_small() -> None:
    small, big = (
        table(index("p", "id", **PK), index("i", "a", bytes=size), index("jj", "a", bytes=size), name=name)  # noqa: E501
        for name, size in (("s", 1), ("b", 100))
    )  # fmt: skip
    counter = Counter(schema="public", table="t", column="id", last=99, limit=100)
    told = findings(small, big, table(name="z", rows_estimate=5.0), counters=(counter,))
    assert [one.place for one in told] == ["table t", "table b", "table s", "table z"]


def test_what_is_missing_of_the_catalog_takes_no_wrong_advice_with_it() -> None:
    child = table(index("i", "a"), index("j", "a"))
    everything = {"foreign_keys": (key("b"),), "counted_seconds": 60 * DAY}
    kinds = {
        missing: {
            one.kind for one in findings(child, unanswered=frozenset([missing]), **everything)
        }
        for missing in ("columns", "indexes", "foreign keys")
    }
    assert kinds == {
        "columns": {"foreign_key_without_index", "table_without_primary_key"},
        "indexes": set(),
        "foreign keys": {"table_without_primary_key"},
    }


def test_own_tables_are_left_their_indexes() -> None:
    own = table(index("p", "id", **PK), index("i", "a"), index("j", "a"), name="sa_perf_x")
    assert findings(own) == []


def test_unknowns_of_the_catalog_are_handed_on() -> None:
    unknown = Unknown(question="views", place="v", because="so")
    inventory = Inventory(schemas=(), tables=(), unknowns=(unknown,))
    assert schema_findings(inventory, DDL, Limits()) == ((), (unknown,))
