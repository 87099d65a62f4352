from __future__ import annotations

import pytest

from sa_perf.dialects import dialect_for
from sa_perf.dialects.index_trials.values import Row, Shape
from sa_perf.errors import ExplainError

SQLITE, POSTGRESQL, MARIADB = map(dialect_for, ("sqlite", "postgresql", "mariadb"))
ROWS: dict[str, list[Row]] = {
    "orders": [
        {"id": 7, "status": None, "placed_at": 30},
        {"id": 8, "status": "done", "placed_at": 20},
    ],
    "shop.customers": [{"id": 1, "name": "Ann"}],
}


def rows(table: str) -> list[Row]:
    return ROWS.get(table, [])


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("SELECT * FROM orders WHERE id = ?", (7,)),
        ("SELECT * FROM orders WHERE status = ?", ("done",)),
        ("SELECT * FROM orders WHERE ? < id", (7,)),
        ("SELECT * FROM orders WHERE placed_at BETWEEN ? AND ?", (20, 30)),
        ("SELECT * FROM orders WHERE placed_at > ? AND placed_at <= ?", (20, 30)),
        ("SELECT * FROM orders o WHERE o.id IN (?, ?)", (7, 7)),
        ("SELECT * FROM orders WHERE lower(status) LIKE ?", ("done",)),
        ("SELECT * FROM orders LIMIT ? OFFSET ?", (20, 0)),
        ("SELECT * FROM shop.customers c JOIN orders o ON o.id = c.id WHERE c.name = ?", ("Ann",)),
        ("SELECT * FROM (SELECT * FROM orders WHERE id = ?) x WHERE x.placed_at > ?", (7, None)),
        ("UPDATE orders SET status = ? WHERE id = ?", ("done", 7)),
        ("DELETE FROM orders WHERE id = ?", (7,)),
        ("SELECT * FROM nowhere WHERE id = ?", (None,)),
        ("SELECT ? FROM orders", (None,)),
        ("SELECT * FROM orders WHERE id = 4 AND '?' = status", ()),
    ],
)
def test_each_placeholder_gets_a_value_of_its_column(statement: str, values: tuple) -> None:
    assert Shape(statement, SQLITE, mark="?").values(rows) == values


def test_a_limit_takes_the_page_that_was_observed() -> None:
    shape = Shape("SELECT * FROM orders LIMIT ?", SQLITE, mark="?", page_rows=49.6)
    assert shape.values(rows) == (50,)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM orders WHERE id = %(id_1)s AND status = %(s)s",
        "SELECT * FROM orders WHERE id = %s AND status = ?",
        "SELECT * FROM orders WHERE id = ? AND status = ?",
    ],
)
def test_a_driver_gets_its_own_marks(statement: str) -> None:
    shape = Shape(statement, POSTGRESQL, mark="%s")
    assert shape.text == "SELECT * FROM orders WHERE id = %s AND status = %s"
    assert shape.values(rows) == (7, "done")


@pytest.mark.parametrize(
    ("dialect", "mark", "statement", "text"),
    [
        (MARIADB, "%s", "SELECT id %% 2 FROM orders WHERE id = %s",
         "SELECT id %% 2 FROM orders WHERE id = %s"),
        (MARIADB, "%s", "SELECT * FROM orders WHERE status LIKE 'a%%'",
         "SELECT * FROM orders WHERE status LIKE 'a%%'"),
        (SQLITE, "?", "SELECT id % 2 FROM orders WHERE id = ?",
         "SELECT id % 2 FROM orders WHERE id = ?"),
    ],
)  # fmt: skip
def test_a_percent_sign_stays_one(dialect, mark: str, statement: str, text: str) -> None:
    assert Shape(statement, dialect, mark=mark).text == text


def test_the_tables_whose_rows_are_needed_are_told() -> None:
    shape = Shape(
        "SELECT * FROM orders o, shop.customers c WHERE o.id = ? AND c.id = ? LIMIT ?",
        SQLITE,
        mark="?",
    )
    assert shape.tables == ("orders", "shop.customers")


def test_columns_without_a_value_are_told() -> None:
    empty: list[Row] = [{"id": 1, "status": None}]
    shape = Shape("SELECT * FROM orders WHERE status = ? AND id = ? LIMIT ?", SQLITE, mark="?")
    assert shape.unknown(lambda table: empty) == ("status",)
    assert shape.unknown(lambda table: []) == ()
    assert shape.unknown(rows) == ()


@pytest.mark.parametrize(
    "statement",
    ["SELECT FROM (", "SELECT 1; SELECT 2", "", "SELECT " + "(" * 3_000, "SELECT" + " " * 30_000],
)
def test_what_cannot_be_read_is_refused_without_its_text(statement: str) -> None:
    with pytest.raises(ExplainError, match="its values are not known"):
        Shape(statement, SQLITE, mark="?")
