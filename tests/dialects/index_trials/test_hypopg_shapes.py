"""Shapes become statements that PostgreSQL can plan for any values."""

from __future__ import annotations

import pytest

from sa_perf.dialects.index_trials.postgresql_shapes import numbered
from sa_perf.dialects.postgresql import PostgreSQL
from sa_perf.errors import ExplainRefused

LIST_OF_TEN = "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10"


@pytest.mark.parametrize(
    ("style", "statement", "text", "parameters"),
    [
        ("pyformat", "a = ? AND b = %(b_1)s AND c = %(b_1)s", "a = $1 AND b = $2 AND c = $2", 2),
        ("pyformat", "a = %s AND b %% 2 = ?", "a = $1 AND b % 2 = $2", 2),
        ("numeric_dollar", "a = $2::INT AND b = $1 OR ?", "a = $1::INT AND b = $2 OR $3", 3),
        ("pyformat", "a IN (?)", f"a IN ({LIST_OF_TEN})", 10),
        ("pyformat", "a IN (%(a_1)s, %(a_2)s)", "a IN ($1, $2)", 2),
        ("pyformat", "a = ANY(?) OR b = '?'", "a = ANY($1) OR b = '?'", 1),
        ("pyformat", "data ? ? AND data ?| array[?]", "data ? $1 AND data ?| array[$2]", 2),
        ("pyformat", "a::jsonb ? ?", "a::jsonb ? $1", 1),
        ("pyformat", "at > now() - interval ?", "at > now() - $1::interval", 1),
        ("pyformat", "at > timestamp with time zone ?", "at > $1::timestamp with time zone", 1),
        ("pyformat", "at AT TIME ZONE ? > date ?", "at AT TIME ZONE $1 > $2::date", 2),
        ("pyformat", "CASE WHEN a THEN ? ELSE ? END", "CASE WHEN a THEN $1 ELSE $2 END", 2),
        ("pyformat", "a LIKE ? ESCAPE ?", "a LIKE $1 ESCAPE $2", 2),
    ],
)  # fmt: skip
def test_every_literal_becomes_a_parameter(
    style: str, statement: str, text: str, parameters: int
) -> None:
    start = "SELECT b FROM t WHERE "
    given = numbered(PostgreSQL().lexer, start + statement, style)
    assert (given.text, given.parameters) == (start + text, parameters)


@pytest.mark.parametrize(
    ("statement", "rows", "text", "limit"),
    [
        ("LIMIT ?", None, "LIMIT 20", 20),
        ("LIMIT %(param_1)s OFFSET %(param_2)s", 49.2, "LIMIT 50 OFFSET 0", 50),
        ("LIMIT $1::BIGINT", 0.0, "LIMIT 20::BIGINT", 20),
        ("OFFSET ? ROWS FETCH NEXT ? ROWS ONLY", None, "OFFSET 0 ROWS FETCH NEXT 20 ROWS ONLY", 20),
        ("LIMIT CAST(? AS INTEGER)", None, "LIMIT CAST(20 AS INTEGER)", 20),
        ("JOIN (SELECT a FROM u LIMIT ?) v", 3, "JOIN (SELECT a FROM u LIMIT 20) v", None),
    ],
)  # fmt: skip
def test_a_limit_is_a_number(statement: str, rows: float | None, text: str, limit: int) -> None:
    style = "numeric_dollar" if "$" in statement else "pyformat"
    given = numbered(PostgreSQL().lexer, f"SELECT * FROM t {statement}", style, rows_returned=rows)
    assert (given.text, given.limit) == (f"SELECT * FROM t {text}", limit)
    assert given.parameters == 0


@pytest.mark.parametrize("clause", ["ORDER BY ?", "ORDER BY a DESC, ? LIMIT ?", "GROUP BY ?, ?"])
def test_a_column_s_number_that_is_gone_is_refused(clause: str) -> None:
    with pytest.raises(ExplainRefused, match="does not say by which column"):
        numbered(PostgreSQL().lexer, f"SELECT a, b FROM t {clause}", "pyformat")


def test_what_case_gives_can_be_taken_for_a_number() -> None:
    statement = "SELECT sum(CASE WHEN a = ? THEN ? ELSE %(b)s END) FROM t"
    given = numbered(PostgreSQL().lexer, statement, "pyformat", numeric_cases=True)
    assert given.text == (
        "SELECT sum(CASE WHEN a = $1 THEN $2::numeric ELSE $3::numeric END) FROM t"
    )
