"""``sa-perf retention hold``, ``holds`` and ``release``."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from sa_perf.retention.holds import list_holds


def ids(shop) -> set[int]:
    with shop.engine.connect() as connection:
        return set(connection.execute(text("SELECT id FROM alert")).scalars())


def test_a_held_row_stays_until_it_is_released(shop) -> None:
    held = shop.run("hold", "alert", "3", "--reason", "case 17", "--by", "legal")
    assert held.exit_code == 0
    number = json.loads(held.stdout)["hold"]["id"]
    assert shop.run("run").exit_code == 0
    assert 3 in ids(shop)
    assert 5 not in ids(shop)
    assert shop.run("release", str(number), "--by", "legal").exit_code == 0
    assert shop.run("run").exit_code == 0
    assert 3 not in ids(shop)


def test_a_held_child_keeps_its_parent(shop) -> None:
    assert shop.run("hold", "note", "3", "--reason", "case 17").exit_code == 0
    shop.run("run")
    assert 3 in ids(shop)
    assert shop.count("note") == 12


def test_holds_are_listed_newest_first(shop) -> None:
    for key in ("3", "5"):
        shop.run("hold", "alert", key, "--reason", f"case {key}", "--by", "legal")
    result = shop.run("holds", "--no-json")
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()[2:]]
    assert result.exit_code == 0
    assert [row.startswith(f"{n} alert {key} case {key}") for row, n, key in
            zip(rows, (2, 1), (5, 3), strict=True)] == [True, True]  # fmt: skip
    assert "Released" not in result.stdout


def test_released_holds_are_kept_and_shown_when_asked_for(shop) -> None:
    shop.run("hold", "alert", "3", "--reason", "case 17", "--by", "legal")
    released = shop.run("release", "1", "--by", "court", "--no-json")
    assert (released.exit_code, released.stdout) == (0, "hold 1 is released\n")
    assert shop.run("holds", "--no-json").stdout == "no row is held\n"
    shown = shop.run("holds", "--released", "--no-json", env={"COLUMNS": "140"}).stdout
    assert "Released (UTC)" in shown
    assert "court" in shown
    (hold,) = json.loads(shop.run("holds", "--released").stdout)["holds"]
    assert (hold["placed_by"], hold["released_by"]) == ("legal", "court")


def test_holds_of_one_table(shop) -> None:
    shop.run("hold", "alert", "3", "--reason", "case 17")
    assert json.loads(shop.run("holds", "--table", "entry").stdout)["holds"] == []
    assert len(json.loads(shop.run("holds", "--table", "alert").stdout)["holds"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("alert", "999"), "'alert' has no row with key (999,) to hold"),
        (("alert", "x"), "is no key of 'alert'"),
        (("alert", "3", "4"), "the key of 'alert' is id; 2 values are given"),
        (("alrt", "3"), "no table 'alrt'; it has: alert, entry, note"),
    ],
)
def test_a_row_that_cannot_be_held(shop, arguments: tuple[str, ...], words: str) -> None:
    result = shop.run("hold", *arguments, "--reason", "case 17")
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert list_holds(shop.engine) == []


def test_a_hold_needs_a_reason(shop) -> None:
    assert shop.run("hold", "alert", "3").exit_code == 2
    result = shop.run("hold", "alert", "3", "--reason", " ")
    assert (result.exit_code, result.stderr) == (2, "Error: a hold needs a reason\n")


def test_a_hold_that_is_not_there_cannot_be_released(shop) -> None:
    result = shop.run("release", "7")
    assert (result.exit_code, "there is no hold 7" in result.stderr) == (2, True)
    assert shop.run("release", "x").exit_code == 2
