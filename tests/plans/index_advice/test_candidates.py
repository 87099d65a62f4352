from __future__ import annotations

import pytest

from sa_perf.dialects import ColumnFacts, IndexFacts, TableFacts, dialect_for
from sa_perf.plans.index_advice.accesses import Tables, accesses
from sa_perf.plans.index_advice.candidates import candidates, popularity
from sa_perf.plans.predicates import read

TYPES = {"id": "integer", "email": "text", "status": "text", "flag": "boolean", "data": "json"}


def table(name: str, columns: str, *indexes: IndexFacts) -> TableFacts:
    return TableFacts(
        name=name,
        rows_estimate=50_000,
        columns=tuple(
            ColumnFacts(name=one, type=TYPES.get(one, "integer"), nullable=True)
            for one in columns.split()
        ),
        indexes=(IndexFacts(name="pk", columns=("id",), unique=True, primary=True), *indexes),
    )


def tables_with(*indexes: IndexFacts) -> Tables:
    return Tables.of(
        {
            "orders": table(
                "orders", "id customer_id placed_at total status flag deleted_at data", *indexes
            ),
            "customers": table("customers", "id email country"),
        }
    )


def named(sql: str, database: str, *indexes: IndexFacts, keep_literals: bool = False) -> list[str]:
    """The candidates for a statement: its table, keys, what is carried, its condition."""
    dialect = dialect_for(database)
    tables = tables_with(*indexes)
    reading = read(
        sql, dialect=dialect, facts=tables.facts, shape=True, keep_literals=keep_literals
    )
    found = tuple(accesses(reading, dialect=dialect, tables=tables))
    popular = popularity(found)
    made = [one for access in found for one in candidates(access, dialect, popular)]
    return [one.create_sql(dialect, name="x").removeprefix("CREATE INDEX x ON ") for one in made]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM orders WHERE customer_id = ?", "orders (customer_id)"),
        ("SELECT * FROM orders WHERE customer_id IN (?, ?)", "orders (customer_id)"),
        ("SELECT * FROM orders WHERE placed_at > ?", "orders (placed_at)"),
        ("SELECT * FROM orders WHERE placed_at BETWEEN ? AND ?", "orders (placed_at)"),
        ("SELECT * FROM orders WHERE placed_at > ? AND customer_id = ?",
         "orders (customer_id, placed_at)"),
        ("SELECT * FROM orders ORDER BY placed_at LIMIT 9", "orders (placed_at)"),
        ("SELECT * FROM orders WHERE customer_id = ? ORDER BY placed_at DESC LIMIT 9",
         "orders (customer_id, placed_at)"),
        ("SELECT * FROM orders WHERE customer_id = ? ORDER BY placed_at DESC, total LIMIT 9",
         "orders (customer_id, placed_at DESC, total)"),
        ("SELECT * FROM orders ORDER BY placed_at DESC, total DESC LIMIT 9",
         "orders (placed_at, total)"),
        ("SELECT * FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.country = ?",
         "orders (customer_id)"),
        ("SELECT * FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.country = ?",
         "customers (country)"),
        ("SELECT * FROM orders WHERE customer_id = ? OR total = ?", "orders (customer_id)"),
        ("SELECT * FROM orders WHERE customer_id = ? OR total = ?", "orders (total)"),
        ("SELECT customer_id, count(*) FROM orders GROUP BY customer_id", "orders (customer_id)"),
        ("SELECT DISTINCT customer_id FROM orders", "orders (customer_id)"),
        ("SELECT * FROM orders WHERE customer_id = ? AND deleted_at IS NULL",
         "orders (customer_id) WHERE deleted_at IS NULL"),
        ("SELECT * FROM customers WHERE lower(email) = ?", "customers ((LOWER(email)))"),
        ("UPDATE orders SET total = ? WHERE customer_id = ?", "orders (customer_id)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_rule_of_keys_names_an_index(database: str, sql: str, expected: str) -> None:
    assert expected in named(sql, database)


def test_what_a_database_has_no_words_for_is_not_named() -> None:
    for sql in (
        "SELECT * FROM orders WHERE customer_id = ? AND deleted_at IS NULL",
        "SELECT * FROM customers WHERE lower(email) = ?",
        "SELECT customer_id FROM orders WHERE total = ?",
    ):
        found = " ".join(named(sql, "mariadb"))
        assert "WHERE" not in found
        assert "INCLUDE" not in found
        assert "LOWER" not in found


def test_few_columns_are_carried_along() -> None:
    sql = "SELECT placed_at FROM orders WHERE customer_id = ?"
    assert "orders (customer_id) INCLUDE (placed_at)" in named(sql, "postgresql")
    assert "orders (customer_id, placed_at)" in named(sql, "sqlite")
    everything = named("SELECT * FROM orders WHERE customer_id = ?", "postgresql")
    assert not any("INCLUDE" in one for one in everything)


def test_a_literal_makes_a_partial_index_where_literals_are_kept() -> None:
    sql = "SELECT * FROM orders WHERE customer_id = ? AND status = 'open'"
    partial = "orders (customer_id) WHERE status = 'open'"
    assert partial in named(sql, "sqlite", keep_literals=True)
    assert partial not in named(sql, "sqlite")
    assert not any("open" in one for one in named(sql, "sqlite"))


def index(*columns: str | None, **rest: object) -> IndexFacts:
    return IndexFacts(name="ix", columns=columns, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("existing", "new"),
    [
        (index("customer_id"), False),
        (index("CUSTOMER_ID"), False),
        (index("customer_id", "total"), False),
        (index("customer_id", unique=True), False),
        (index("total", "customer_id"), True),
        (index("customer_id", predicate="total > 5"), True),
        (index(None, expressions=("customer_id + 1",)), True),
        (index("customer_id", method="brin"), True),
        (index("customer_id", method="gin"), True),
    ],
)
def test_what_exists_is_not_named_again(existing: IndexFacts, new: bool) -> None:
    found = named("SELECT * FROM orders WHERE customer_id = ?", "postgresql", existing)
    assert ("orders (customer_id)" in found) == new


def test_an_index_is_none_for_mixed_directions() -> None:
    sql = "SELECT * FROM orders ORDER BY placed_at DESC, total LIMIT 9"
    found = named(sql, "postgresql", index("placed_at", "total"))
    assert "orders (placed_at DESC, total)" in found


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM orders",
        "SELECT * FROM orders WHERE flag = ?",
        "SELECT * FROM orders WHERE data = ?",
        "SELECT * FROM orders WHERE total <> ?",
        "SELECT * FROM orders WHERE id = ?",
        "SELECT * FROM orders WHERE customer_id = ? OR total <> ?",
        "SELECT * FROM nowhere WHERE a = ?",
        "SELECT * FROM customers WHERE email LIKE ?",
        "INSERT INTO orders (total) VALUES (?)",
    ],
)
def test_nothing_is_named_where_no_index_could_serve(sql: str) -> None:
    assert named(sql, "postgresql") == []


def test_what_most_statements_hold_equal_comes_first() -> None:
    dialect, tables = dialect_for("sqlite"), tables_with()
    texts = (
        "SELECT * FROM orders WHERE total = ? AND customer_id = ?",
        "SELECT * FROM orders WHERE customer_id = ?",
    )
    found = [
        access
        for sql in texts
        for access in accesses(
            read(sql, dialect=dialect, facts=tables.facts), dialect=dialect, tables=tables
        )
    ]
    first = candidates(found[0], dialect, popularity(found))[0]
    assert first.columns == ("customer_id", "total")


def test_one_name_in_two_schemas_is_no_table_that_is_known() -> None:
    one = table("t", "id a")
    assert Tables.of({"one.t": one, "two.t": one}).facts == {}
    assert Tables.of({"One.T": one}).schemas == {"t": "One"}
