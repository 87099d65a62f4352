from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sa_perf.cli.top import KINDS, ORDERS
from sa_perf.queries.statistics import OTHER
from sa_perf.snapshot import Snapshot


def rows(output: str) -> list[dict[str, object]]:
    document = json.loads(output)
    assert (document["schema"], document["command"]) == (1, "top")
    return document["rows"]


def test_where_output_is_no_terminal_it_is_json(run, shop: str) -> None:
    result = run("top", "--file", shop)
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert document["snapshot"] == {
        "service": "shop",
        "host": "web-1",
        "pid": 4711,
        "processes": 1,
        "started_at": "2026-11-23T11:59:00+00:00",
        "taken_at": "2026-11-23T12:00:00+00:00",
        "slow_seconds": 0.2,
    }
    assert document["matching"] == 3


def test_a_row_has_the_fields_of_the_snapshot_and_its_share(run, shop: str) -> None:
    first = rows(run("top", "--file", shop).stdout)[0]
    assert first["fingerprint"] == "aaaa000000000001"
    assert first["rows"] == 12_345
    assert first["total_seconds"] == pytest.approx(1.5)
    assert first["total_ratio"] == pytest.approx(1.5 / 1.756)
    assert first["p95_seconds"] == pytest.approx(0.6, rel=0.016)
    assert "histogram" not in first


@pytest.mark.parametrize("word", ORDERS)
def test_every_order_puts_the_highest_first(run, shop: str, word: str) -> None:
    values = [row[ORDERS[word]] for row in rows(run("top", "--file", shop, "--by", word).stdout)]
    assert values == sorted(values, reverse=True)


def test_an_unknown_order_is_wrong_usage(run, shop: str) -> None:
    result = run("top", "--file", shop, "--by", "colour")
    assert result.exit_code == 2
    assert "p95" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "fingerprints"),
    [
        (["--limit", "1"], ["aaaa000000000001"]),
        (["--kind", "insert"], ["bbbb000000000003"]),
        (["--kind", "INSERT, select", "--limit", "0"], None),
        (["--search", "CUSTOMERS"], ["aaaa000000000002"]),
        (["--search", "nowhere"], []),
        (["--database", "shop", "--search", "insert"], ["bbbb000000000003"]),
    ],
)
def test_what_is_shown_can_be_chosen(run, shop, arguments, fingerprints) -> None:
    found = [row["fingerprint"] for row in rows(run("top", "--file", shop, *arguments).stdout)]
    if fingerprints is None:
        assert len(found) == 3
    else:
        assert found == fingerprints


def test_the_rows_left_out_by_a_limit_are_counted(run, shop: str) -> None:
    assert json.loads(run("top", "--file", shop, "--limit", "1").stdout)["matching"] == 3
    assert "1 of 3" in run("top", "--file", shop, "--limit", "1", "--no-json").stdout


def test_an_unknown_kind_is_wrong_usage_that_names_them(run, shop: str) -> None:
    result = run("top", "--file", shop, "--kind", "select,selct")
    assert result.exit_code == 2
    assert "selct" in result.stderr
    assert all(kind in result.stderr for kind in KINDS)


def test_a_database_that_is_not_there_is_wrong_usage_that_names_those_that_are(run, shop) -> None:
    result = run("top", "--file", shop, "--database", "ledger")
    assert result.exit_code == 2
    assert "'ledger' is no database of the snapshot: sqlite:///shop.db" in " ".join(
        result.stderr.split()
    )


def test_a_part_that_several_databases_have_is_ambiguous(run, write, snapshot: Snapshot) -> None:
    (database,) = snapshot.databases
    two = replace(snapshot, databases=(database, replace(database, label="sqlite:///shop2.db")))
    result = run("top", "--file", write(two), "--database", "shop")
    assert result.exit_code == 2
    assert "is meant by several" in " ".join(result.stderr.split())
    assert run("top", "--file", write(two), "--database", "sqlite:///shop.db").exit_code == 0


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 140, 200])
def test_the_table_keeps_to_the_width(run, shop: str, columns: int) -> None:
    result = run("top", "--file", shop, "--no-json", env={"COLUMNS": str(columns)})
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= columns
    assert "aaaa0000" in result.stdout


def test_a_wide_table_has_more_columns(run, shop: str) -> None:
    wide = run("top", "--file", shop, "--no-json", env={"COLUMNS": "160"}).stdout
    assert all(word in wide for word in ("Share", "85.4 %", "p50", "Errors", "12,345", "500 ms"))


def test_the_column_that_orders_is_always_there(run, shop: str) -> None:
    result = run("top", "--file", shop, "--no-json", "--by", "p99", env={"COLUMNS": "70"})
    assert "p99" in result.stdout


def test_rows_of_two_databases_say_which(run, write, snapshot: Snapshot) -> None:
    first, second, third = snapshot.queries
    two = replace(snapshot, queries=(first, replace(second, database="sqlite:///b.db"), third))
    assert "sqlite:///b.db" in run("top", "--file", write(two), "--no-json").stdout


def test_what_was_evicted_is_named_as_such(run, write, snapshot: Snapshot) -> None:
    other = replace(snapshot.queries[0], fingerprint=OTHER, statement=OTHER, kind=OTHER)
    result = run("top", "--file", write(replace(snapshot, queries=(other,))), "--no-json")
    assert "all that were evicted" in result.stdout


def test_a_snapshot_without_queries_is_no_error(run, write, empty: Snapshot) -> None:
    path = write(empty)
    assert rows(run("top", "--file", path).stdout) == []
    result = run("top", "--file", path, "--no-json")
    assert (result.exit_code, "no queries" in result.stdout) == (0, True)


def test_what_was_really_recorded_is_shown(run, write, recorded: Snapshot) -> None:
    found = rows(run("top", "--file", write(recorded), "--limit", "0").stdout)
    assert sum(row["calls"] for row in found) == recorded.calls
    assert {"select", "insert"} <= {row["kind"] for row in found}
    assert [row["parameter_sets"] for row in found if row["kind"] == "insert"] == [50]


def test_the_heading_of_a_merged_snapshot_counts_its_processes(run, snapshot, write) -> None:
    several = write(Snapshot.merge([snapshot, snapshot]))
    assert ", 2 processes\n" in run("top", "--file", several, "--no-json").stdout
    assert ">2 processes, recorded" in run("report", "--file", several, "--format", "html").stdout
