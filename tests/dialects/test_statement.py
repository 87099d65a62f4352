from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sa_perf.dialects.relations import tables_by_alias
from sa_perf.dialects.statement import Lexer, first_parameters
from sa_perf.errors import ExplainRefused

PLAIN = Lexer(bracketed_names=True)
DOLLARS = Lexer(dollar_strings=True)
NESTED = Lexer(dollar_strings=True, nested_comments=True)
BACKSLASHES = Lexer(backslash_escapes=True, hash_comments=True, double_quoted_strings=True)


@pytest.mark.parametrize(
    ("lexer", "text", "redacted"),
    [
        (PLAIN, "a = 'x''y' AND b1 = 12.5e3", "a = ? AND b1 = ?"),
        (PLAIN, 'SELECT "t 1".c2 FROM [t 3]', 'SELECT "t 1".c2 FROM [t 3]'),
        (PLAIN, "a = 1 -- 'secret'\n AND b = .5", "a = ?  \n AND b = ?"),
        (PLAIN, "a = ?1 AND b = :name", "a = ?1 AND b = :name"),
        (DOLLARS, "$tag$it's$tag$ || E'\\'' || $1", "? || ? || $1"),
        (
            DOLLARS,
            "(x ~~ '%q%'::text) AND y = '{1,2}'::integer[]",
            "(x ~~ ?::text) AND y = ?::integer[]",
        ),
        (BACKSLASHES, "a = \"it\\\"s\" AND `b` = '\\'' # 5", "a = ? AND `b` = ?  "),
        (BACKSLASHES, "x = 0xFF AND y = -5", "x = ? AND y = -?"),
        (PLAIN, "a = 'never closed", "a = ?"),
    ],
)
def test_literals_and_comments_are_taken_out(lexer: Lexer, text: str, redacted: str) -> None:
    assert lexer.redact(text) == redacted


@given(value=st.text(max_size=30))
def test_a_quoted_value_never_survives(value: str) -> None:
    quoted = "'" + value.replace("'", "''") + "'"
    assert PLAIN.redact(f"SELECT {quoted}") == "SELECT ?"


@given(text=st.text(max_size=200))
@example(text=":²")
def test_any_text_can_be_read(text: str) -> None:
    for lexer in (PLAIN, DOLLARS, BACKSLASHES):
        lexer.redact(text)
        lexer.words(text)
        tables_by_alias(lexer.names_and_marks(text))
        for style in ("qmark", "named", "format", "pyformat", "numeric_dollar"):
            lexer.placeholders(text, style)


@pytest.mark.parametrize(
    ("style", "statement", "keys"),
    [
        ("qmark", "a = ? AND b = '?' AND c = ?", [0, 1]),
        ("named", "a = :x::int AND b = ':y' AND c = :x", ["x", "x"]),
        ("pyformat", "a = %(x)s AND b LIKE 'q%%' AND c = %(y)s", ["x", "y"]),
        ("format", "a = %s AND b %% 2 = %s", [0, 1]),
        ("numeric_dollar", "a = $2 AND b = '$3' AND c = $1", [1, 0]),
    ],
)
def test_placeholders_are_found_with_their_keys(style: str, statement: str, keys: list) -> None:
    assert [place.key for place in DOLLARS.placeholders(statement, style)] == keys


def test_rewriting_undoes_the_doubling_of_percent_signs() -> None:
    text = DOLLARS.rewrite("a = %(x)s AND b LIKE 'q%%'", "pyformat", lambda key: "$1")
    assert text == "a = $1 AND b LIKE 'q%'"


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT 1;", "select"),
        ("  -- why\n (SELECT 1) UNION (SELECT 2)", "select"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "with"),
        ("WITH a AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM a", "with"),
        ("insert into t select 1", "insert"),
        ("SELECT ';' AS x /* ; */", "select"),
        ("SELECT /*+ hint */ 1", "select"),
        ("VALUES (1)", "values"),
    ],
)
def test_a_statement_with_a_plan_is_let_through(statement: str, kind: str) -> None:
    assert BACKSLASHES.require_explainable(statement) == kind


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("", "nothing"),
        ("DROP TABLE t", "DROP"),
        ("CREATE TABLE t AS SELECT 1", "CREATE"),
        ("CALL p()", "CALL"),
        ("SET x = 1", "SET"),
        ("PRAGMA user_version", "PRAGMA"),
        ("EXPLAIN SELECT 1", "EXPLAIN"),
        ("EXPLAIN ANALYZE DELETE FROM t", "EXPLAIN"),
        ("SELECT 1; DELETE FROM t", "more than one"),
        ("SELECT * INTO copy FROM t", "INTO"),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", "INTO"),
        ("SELECT 1 /*! INTO OUTFILE '/tmp/x' */", "executable comment"),
        ("SELECT 1 /*M!100100 , sleep(5) */", "executable comment"),
    ],
)
def test_everything_else_is_refused_with_the_reason(statement: str, message: str) -> None:
    with pytest.raises(ExplainRefused, match=message):
        BACKSLASHES.require_explainable(statement)


def test_two_dashes_begin_a_comment_of_mysql_only_before_a_space() -> None:
    with pytest.raises(ExplainRefused, match="more than one"):
        BACKSLASHES.require_explainable("SELECT 5--1; DELETE FROM t")
    assert BACKSLASHES.require_explainable("SELECT 5 -- 1; DELETE FROM t") == "select"
    assert BACKSLASHES.require_explainable("SELECT 5 --") == "select"
    assert PLAIN.require_explainable("SELECT 5--1; DELETE FROM t") == "select"


def test_a_comment_within_a_comment_hides_no_second_statement() -> None:
    with pytest.raises(ExplainRefused, match="comment within a comment"):
        NESTED.require_explainable("SELECT 1 /* /* */ ' */; COMMIT; DELETE FROM t; -- '")
    assert PLAIN.require_explainable("SELECT 1 /* /* */") == "select"


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("SELECT * FROM flights", {"flights": "flights"}),
        ("SELECT * FROM flights AS f, planes p", {"f": "flights", "p": "planes"}),
        (
            "SELECT f.x AS y FROM s.flights f JOIN planes ON 1=1",
            {"f": "s.flights", "planes": "planes"},
        ),
        ("SELECT * FROM (SELECT * FROM a) AS x JOIN b ON 1=1", {"a": "a", "b": "b"}),
        ('SELECT * FROM "My Table" AS m', {"m": "My Table"}),
        ("UPDATE flights SET a = 1, b = 2 WHERE c = 3", {"flights": "flights"}),
        (
            "DELETE FROM flights WHERE c IN (SELECT d FROM planes)",
            {"flights": "flights", "planes": "planes"},
        ),
        ("INSERT INTO a (x, y) SELECT p, q FROM b", {"a": "a", "b": "b"}),
        ("SELECT * FROM a t WHERE EXISTS (SELECT 1 FROM b t)", {}),
        ("SELECT * FROM generate_series(1, 5) AS g", {}),
        ("SELECT * FROM a WHERE x IN (1, 2) ORDER BY y, z", {"a": "a"}),
        ("SELECT *\r\n\tFROM\tflights\tAS f,\r\n\tplanes\tp", {"f": "flights", "p": "planes"}),
        ("SELECT * FROM flights f FOR UPDATE OF f SKIP LOCKED", {"f": "flights"}),
        ("SELECT * FROM flights f FOR NO KEY UPDATE NOWAIT", {"f": "flights"}),
    ],
)
def test_tables_are_found_by_their_aliases(statement: str, tables: dict) -> None:
    assert tables_by_alias(PLAIN.names_and_marks(statement)) == tables


@pytest.mark.parametrize(
    ("parameters", "first"),
    [
        (None, None),
        ((), ()),
        ({"a": 1}, {"a": 1}),
        ((1, 2), (1, 2)),
        ([{"a": 1}, {"a": 2}], {"a": 1}),
        ([(1, 2), (3, 4)], (1, 2)),
        ([1, 2], [1, 2]),
        ("text", None),
        (7, None),
    ],
)
def test_the_first_set_of_many_parameters_is_taken(parameters: object, first: object) -> None:
    assert first_parameters(parameters) == first


@pytest.mark.parametrize(
    ("lexer", "text", "statements"),
    [
        (PLAIN, "SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        (PLAIN, "", []),
        (PLAIN, " ;;\n; -- nothing\n", []),
        (PLAIN, "-- first;\n/* ; */ SELECT 1 -- ;\n;", ["SELECT 1 -- ;"]),
        (PLAIN, "SELECT ';', \";\", [;] ; SELECT 2", ["SELECT ';', \";\", [;]", "SELECT 2"]),
        (PLAIN, "SELECT 'never; closed", ["SELECT 'never; closed"]),
        (DOLLARS, "SELECT $x$;$x$; SELECT E'\\';'", ["SELECT $x$;$x$", "SELECT E'\\';'"]),
        (BACKSLASHES, "SELECT '\\';'; # ;\nSELECT 2", ["SELECT '\\';'", "SELECT 2"]),
        (PLAIN, "SELECT :a;SELECT ?1", ["SELECT :a", "SELECT ?1"]),
    ],
)
def test_a_text_falls_into_statements(lexer: Lexer, text: str, statements: list[str]) -> None:
    assert list(lexer.statements(text)) == statements


@given(text=st.text(alphabet=st.sampled_from("a1;'\"-/*\n $?:%"), max_size=60))
def test_statements_hold_no_end_outside_of_literals(text: str) -> None:
    for lexer in (PLAIN, DOLLARS, BACKSLASHES):
        for statement in lexer.statements(text):
            assert statement == statement.strip() != ""
            assert list(lexer.statements(statement)) == [statement]


def test_a_thousand_statements_of_one_text_are_read_in_one_pass() -> None:
    text = "SELECT 'x;' /* ; */ FROM t WHERE a = ?;\n" * 1_000
    assert len(list(PLAIN.statements(text))) == 1_000


@pytest.mark.parametrize(
    ("lexer", "text", "marked"),
    [
        (PLAIN, "a = :x AND b = ?2 AND c = ':y'", "a = ? AND b = ? AND c = ':y'"),
        (DOLLARS, "a = $1::int AND %(b)s = b || '%s'", "a = ?::int AND ? = b || '%s'"),
        (BACKSLASHES, "a = %s AND b = \"%s\" # %s", "a = ? AND b = \"%s\" # %s"),
    ],
)  # fmt: skip
def test_every_placeholder_becomes_a_mark(lexer: Lexer, text: str, marked: str) -> None:
    assert lexer.with_marks(text) == marked
