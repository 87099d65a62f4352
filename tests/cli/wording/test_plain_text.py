from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa_perf.cli.wording.plain_text import clauses, one_line, shortened, summary_of, visible

HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b2J", r"\x9b2J"),
        ("a\x00b\x07", r"a\x00b\x07"),
        ("\u202eetirw", r"\u202eetirw"),
        ("a\u2028b", r"a\u2028b"),
        ("\ud800", r"\ud800"),
        ("\U000e0001", r"\U000e0001"),
        ("a\tb", "a    b"),
        ("grün, 表, 🙂", "grün, 表, 🙂"),
    ],
)
def test_what_would_act_is_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters()))
def test_no_text_keeps_a_character_that_acts(text: str) -> None:
    kept = {unicodedata.category(character) for character in visible(text) if character != "\n"}
    assert not kept & HARMFUL
    assert "\n" not in one_line(text)


@given(st.text(), st.integers(1, 120))
def test_a_shortened_text_is_never_too_long(text: str, width: int) -> None:
    assert len(shortened(text, width)) <= width


def test_a_long_list_of_columns_goes_first() -> None:
    statement = f"SELECT a.id, {', '.join(f'a.c{at}' for at in range(40))} FROM a WHERE a.id = ?"
    assert shortened(statement, 60) == "SELECT a.id, a.c0, a.c1, a.c2, … FROM a WHERE a.id = ?"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (54, "SELECT … FROM a JOIN b ON b.a = a.id WHERE b.x = ? …"),
        (70, "SELECT … FROM a JOIN b ON b.a = a.id WHERE b.x = ? ORDER BY a.c1"),
    ],
)
def test_tables_and_conditions_stay_longer_than_columns_and_order(width: int, shown: str) -> None:
    columns = ", ".join(f"a.column_{at}" for at in range(9))
    statement = f"SELECT {columns} FROM a JOIN b ON b.a = a.id WHERE b.x = ? ORDER BY a.c1"
    assert shortened(statement, width) == shown


def test_a_subquery_among_the_columns_is_not_taken_for_the_table() -> None:
    columns = "(SELECT max(b.x) FROM b WHERE b.a = a.id) AS x, a.some, a.others"
    assert shortened(f"SELECT {columns} FROM a WHERE a.id = ?", 70).endswith(
        "FROM a WHERE a.id = ?"
    )


def test_what_does_not_fit_is_left_out_between_words_of_the_middle() -> None:
    statement = (
        "UPDATE flights SET departure_delay = ? WHERE carrier = ? AND number = ? AND day = ?"
    )
    short = shortened(statement, 50)
    head, gap, tail = short.partition(" … ")
    assert gap
    assert statement.startswith(f"{head} ")
    assert statement.endswith(f" {tail}")


def test_each_clause_stands_on_a_line_of_its_own() -> None:
    statement = (
        "SELECT a FROM t LEFT OUTER JOIN u ON t.i = u.i WHERE a = ? AND b = ? ORDER BY a LIMIT ?"
    )
    assert clauses(statement).splitlines() == [
        "SELECT a",
        "FROM t",
        "LEFT OUTER JOIN u ON t.i = u.i",
        "WHERE a = ?",
        "  AND b = ?",
        "ORDER BY a",
        "LIMIT ?",
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT (SELECT max(a) FROM t WHERE b = ?)",
        "SELECT 'FROM here WHERE there'",
        'SELECT "from where"',
        "SELECT from_where, selected",
    ],
)
def test_words_in_parentheses_strings_and_names_start_no_line(statement: str) -> None:
    assert clauses(statement) == statement


def test_the_and_of_between_starts_no_line() -> None:
    assert clauses("SELECT a WHERE b BETWEEN ? AND ? AND c").splitlines() == [
        "SELECT a",
        "WHERE b BETWEEN ? AND ?",
        "  AND c",
    ]


@given(st.text(st.sampled_from("SELECT from WHERE and ()'\"` ?=,\n")))
def test_lines_change_nothing_but_white_space(statement: str) -> None:
    assert "".join(clauses(statement).split()) == "".join(statement.split())


@pytest.mark.parametrize(
    ("statement", "summary"),
    [
        ("SELECT a.id FROM a JOIN b", "SELECT a"),
        ("INSERT INTO t (a) VALUES (?)", "INSERT t"),
        ("UPDATE shop.t SET a = ?", "UPDATE shop.t"),
        ("PRAGMA table_info(t)", "PRAGMA table_info(t)"),
        ("SELECT " + "x" * 100, "SELECT xxxxxxxxxxxx…"),
    ],
)
def test_a_summary_names_verb_and_table(statement: str, summary: str) -> None:
    assert summary_of(statement, 20) == summary
