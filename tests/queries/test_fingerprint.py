"""Shapes and their ids: what counts as the same statement, everywhere."""

from __future__ import annotations

import os
import string
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa_perf.dialects import dialect_for
from sa_perf.queries.fingerprint import MAX_READ, Fingerprinter, fingerprint_of, kind_of

DATABASES = ("sqlite", "postgresql", "mysql", "mariadb")
FINGERPRINTERS = {name: Fingerprinter(dialect_for(name)) for name in DATABASES}


def shape(text: str, database: str = "postgresql", *, raw: bool = True) -> str:
    return FINGERPRINTERS[database].shape_of(text, raw=raw)


def canonical(text: str, database: str = "postgresql") -> str:
    fingerprinter = FINGERPRINTERS[database]
    return fingerprinter.canonical_shape(fingerprinter.shape_of(text, raw=True))


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1", "SELECT ?"),
        ("SELECT 1.5, .5, 1e10, 1.5E-3, 0x1F", "SELECT ?, ?, ?, ?, ?"),
        ("SELECT 'a', 'it''s', ''", "SELECT ?, ?, ?"),
        ("SELECT x'ff', N'a'", "SELECT ?, ?"),
        ("SELECT 'a' -- it's\nFROM t", "SELECT ? FROM t"),
        ("SELECT /* a 'b' */ 1", "SELECT ?"),
        ("SELECT\n\t1\r\n  FROM   t  ", "SELECT ? FROM t"),
        ("SELECT t1.c2, x1y FROM t1 AS t2", "SELECT t1.c2, x1y FROM t1 AS t2"),
        ('SELECT `a 1`, `b`` 2` FROM "t"', None),
        ("WHERE a = -5 AND b = - 5 AND c = +5", "WHERE a = ? AND b = ? AND c = ?"),
        ("SELECT a - 5, a-5", "SELECT a - ?, a-?"),
        ("BETWEEN -1 AND -2 LIMIT -1", "BETWEEN ? AND ? LIMIT ?"),
        ("WHERE a IN (1)", "WHERE a IN (?)"),
        ("WHERE a IN (1, 2,3)", "WHERE a IN (?)"),
        ("WHERE a in ( 'x' ,'y' )", "WHERE a IN (?)"),
        ("WHERE (a, b) IN ((1, 2), (3, 4))", "WHERE (a, b) IN ((?, ?))"),
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b')", "INSERT INTO t VALUES (?, ?)"),
        ("WHERE a = :name AND b = :b_1", "WHERE a = ? AND b = ?"),
        ("WHERE a = %s AND b = %(name)s", "WHERE a = ? AND b = ?"),
        ("WHERE a = ? AND b = ?1 AND c = $1", "WHERE a = ? AND b = ? AND c = ?"),
        ("SELECT a % size FROM t", "SELECT a % size FROM t"),
        ("SELECT 'never closed", "SELECT ?"),
        ("SELECT 1 /* never closed", "SELECT ?"),
        ("SELECT ä, 'ö' FROM tÜ1", "SELECT ä, ? FROM tÜ1"),
        ("", ""),
        ("  \n ", ""),
    ],
)
def test_literals_and_comments_leave_the_shape(database: str, text: str, expected) -> None:
    found = " ".join(shape(text, database).split())
    if expected is not None:
        assert found == expected
    else:
        assert "`a 1`, `b`` 2`" in found


@pytest.mark.parametrize(
    ("database", "text", "expected"),
    [
        ("postgresql", "SELECT E'it\\'s', 2", "SELECT ?, ?"),
        ("postgresql", "SELECT 'back\\', 'x'", "SELECT ?, ?"),
        ("postgresql", "SELECT $$it's$$, $a$ $$ $b$ $a$, $1", "SELECT ?, ?, ?"),
        ("postgresql", "SELECT a$b$c, 'x' FROM d$e$", "SELECT a$b$c, ? FROM d$e$"),
        ("postgresql", "SELECT a::int, '1'::jsonb->>'k'", "SELECT a::int, ?::jsonb->>?"),
        ("postgresql", "SELECT /* a /* b ' */ c */ 1", "SELECT ?"),
        ("postgresql", "SELECT U&'d!0061' , B'01', 1_000, 0b101, 0o17", "SELECT ? , ?, ?, ?, ?"),
        ("postgresql", "SELECT \"it's 5\", 'x'", 'SELECT "it\'s 5", ?'),
        ("sqlite", "SELECT 'back\\', 'x'", "SELECT ?, ?"),
        ("sqlite", "SELECT /* a /* b */ 1", "SELECT ?"),
        ("sqlite", 'SELECT "it\'s 5", [a]', 'SELECT "it\'s 5", [a]'),
        ("mysql", 'SELECT \'it\\\'s\', "say \\"5\\"", 1', "SELECT ?, ?, ?"),
        ("mysql", "SELECT 1 # it's\nFROM t", "SELECT ? FROM t"),
        ("mysql", "SELECT a$b$c, `it's 5` FROM t", "SELECT a$b$c, `it's 5` FROM t"),
        ("mariadb", "SELECT 'a\\\\', 'b'", "SELECT ?, ?"),
    ],
)
def test_each_database_has_its_own_quoting(database: str, text: str, expected: str) -> None:
    assert " ".join(shape(text, database).split()) == expected


def test_a_compiled_text_keeps_the_names_of_its_parameters() -> None:
    text = "SELECT t.a FROM t WHERE t.b = %(b_1)s AND t.c IN (__[POSTCOMPILE_c_1]) LIMIT 5"
    assert shape(text, raw=False) == "SELECT t.a FROM t WHERE t.b = %(b_1)s AND t.c IN (?) LIMIT ?"


def test_an_expanded_list_of_parameters_has_the_shape_of_one() -> None:
    one = shape("SELECT a FROM t WHERE b IN (%(b_1)s)", raw=False)
    assert shape("SELECT a FROM t WHERE b IN (%(b_1)s, %(b_2)s)", raw=False) == one


def test_ten_thousand_values_of_a_list_have_the_shape_of_their_beginning() -> None:
    long = "SELECT a FROM t WHERE b IN (" + ", ".join(map(str, range(10_000))) + ") AND c = 1"
    longer = "SELECT a FROM t WHERE b IN (" + ", ".join(map(str, range(50_000))) + ") AND c = 1"
    assert shape(long) == shape(longer) == "SELECT a FROM t WHERE b IN (?) ..."


def test_a_multi_row_insert_of_ten_megabytes_has_the_shape_of_its_beginning() -> None:
    row = "(1, 'abc'), "
    text = "INSERT INTO t (a, b) VALUES " + row * (10_000_000 // len(row))
    assert shape(text) == "INSERT INTO t (a, b) VALUES (?, ?) ..."


class _Counting(str):
    """Counts the characters that are asked for."""

    __slots__ = ("read",)

    def __getitem__(self, key) -> str:
        part = str.__getitem__(self, key)
        self.read = getattr(self, "read", 0) + len(part)
        return part


def test_no_more_than_the_beginning_of_a_long_text_is_read() -> None:
    text = _Counting("SELECT '" + "x" * 10_000_000 + "'")
    assert shape(text) == "SELECT ? ..."
    assert text.read == MAX_READ


@pytest.mark.parametrize("filler", ["x", "(", "/*", "'", '"', "$a$", "?,", "IN (", " -- ", "\\"])
@pytest.mark.parametrize("database", DATABASES)
def test_no_long_text_takes_long(database: str, filler: str) -> None:
    text = "SELECT " + filler * (10_000_000 // len(filler))
    assert len(shape(text, database)) <= MAX_READ


def test_the_literals_of_a_long_text_may_differ_in_length() -> None:
    tail = " ".join(f"AND column_{number} = {number}" for number in range(2_000))
    short, long = (f"SELECT a FROM t WHERE b = '{'x' * n}' {tail}" for n in (1, 5_000))
    assert shape(short) == shape(long)


@pytest.mark.parametrize("text", ["SELECT '\x00'", "SELECT \x00", "SELECT '\ud800'", "\udcff"])
@pytest.mark.parametrize("database", DATABASES)
def test_nul_and_lone_surrogates_have_a_shape_and_an_id(database: str, text: str) -> None:
    found = shape(text, database)
    assert len(fingerprint_of(found)) == 16
    assert FINGERPRINTERS[database].canonical_shape(found)


# Properties

numbers = st.one_of(
    st.integers(min_value=-(10**9), max_value=10**9).map(str),
    st.floats(min_value=0, max_value=10**9, allow_nan=False).map(repr),
)
# No backslash: whether it escapes depends on the database.
letters = string.ascii_letters + string.digits + " -/*'\"?:$%()#,\n;äß"
texts = st.text(letters, max_size=30).map(lambda value: "'" + value.replace("'", "''") + "'")
literals = st.one_of(numbers, texts)
TEMPLATES = (
    "SELECT a, {} FROM t WHERE b = {} AND c > {} ORDER BY d LIMIT 5",
    "UPDATE t SET a = {}, b = lower({}) WHERE c IN ({}, {})",
    "INSERT INTO t (a, b) VALUES ({}, {})",
    "SELECT CASE WHEN a = {} THEN {} ELSE {} END FROM t -- {}",
    "DELETE FROM t WHERE a BETWEEN {} AND {}",
)


@given(st.data(), st.sampled_from(TEMPLATES), st.sampled_from(DATABASES))
def test_replacing_literals_does_not_change_the_shape(data, template: str, database: str) -> None:
    count = template.count("{}")
    if "--" in template:  # a comment ends with its line
        values = data.draw(st.lists(literals, min_size=count, max_size=count))
        values[-1] = values[-1].replace("\n", " ")
    else:
        values = data.draw(st.lists(literals, min_size=count, max_size=count))
    plain = shape(template.format(*("1" for _ in range(count))), database)
    assert shape(template.format(*values), database) == plain


@given(st.text(max_size=200), st.sampled_from(DATABASES), st.booleans())
def test_any_text_has_a_shape_on_one_line(text: str, database: str, raw: bool) -> None:
    found = shape(text, database, raw=raw)
    assert found == found.strip()
    assert len(fingerprint_of(found)) == 16


@given(st.text(letters, max_size=100), st.sampled_from(DATABASES))
def test_a_text_gets_the_same_shape_each_time(text: str, database: str) -> None:
    again = Fingerprinter(dialect_for(database))
    assert again.shape_of(text, raw=True) == shape(text, database)


# What sqlglot makes of it


@pytest.mark.parametrize("database", DATABASES)
def test_spelling_does_not_change_the_canonical_shape(database: str) -> None:
    spellings = (
        "select a,b from t where c=1 and d in (1,2)",
        "SELECT a, b\nFROM t\nWHERE c = 'x' AND d IN (3) -- why",
        "Select a , b From t Where c = 5 and d IN(1, 2, 3)",
    )
    assert len({canonical(text, database) for text in spellings}) == 1


def test_other_columns_make_another_shape() -> None:
    assert canonical("SELECT a FROM t") != canonical("SELECT b FROM t")


@pytest.mark.parametrize(
    "text",
    ["SELECT FROM WHERE (((", "THIS IS NO SQL AT ALL ^^", "VACUUM FULL x", "(" * 3_000, "]]]"],
)
def test_a_text_that_sqlglot_cannot_read_keeps_its_token_shape(text: str) -> None:
    assert canonical(text) == shape(text)


def test_a_long_shape_is_not_given_to_sqlglot() -> None:
    text = "select " + ", ".join(f"column_{number}" for number in range(1_000)) + " from t"
    assert canonical(text) == shape(text)


def test_reading_a_statement_logs_nothing_above_debug(caplog) -> None:
    canonical("ALTER TABLE t DO SOMETHING STRANGE")
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []


# Ids


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "e4a6a0577479b2b4"),
        ("SELECT ?", "c148796e1220075a"),
        ("SELECT users.id FROM users WHERE users.name = ?", "c56c0562f90e4f77"),
    ],
)
def test_ids_are_the_same_for_ever(text: str, expected: str) -> None:
    assert fingerprint_of(text) == expected


def test_ids_are_the_same_in_every_process() -> None:
    program = (
        "from sa_perf.dialects import dialect_for\n"
        "from sa_perf.queries.fingerprint import Fingerprinter, fingerprint_of\n"
        "reader = Fingerprinter(dialect_for('postgresql'))\n"
        "shape = reader.shape_of('select a from t where b in (1)', raw=True)\n"
        "print(fingerprint_of(reader.canonical_shape(shape)))"
    )
    ids = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "77")
    }
    assert ids == {fingerprint_of(canonical("SELECT a FROM t WHERE b IN (5, 6)"))}


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ("SELECT ?", "select"),
        (" ( select ? )", "select"),
        ("WITH a AS (SELECT ?) SELECT * FROM a", "select"),
        ("Insert INTO t", "insert"),
        ("UPDATE t", "update"),
        ("delete from t", "delete"),
        ("CREATE TABLE t", "ddl"),
        ("SAVEPOINT a", "transaction"),
        ("CALL f()", "call"),
        ("PRAGMA x", "utility"),
        ("", "utility"),
        ("?", "utility"),
    ],
)
def test_the_kind_is_told_by_the_first_word(shape: str, kind: str) -> None:
    assert kind_of(shape) == kind
