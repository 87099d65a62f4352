from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sa_perf.snapshot import Snapshot


def test_a_beginning_is_enough(run, shop: str) -> None:
    for beginning in ("bbbb", "BBBB0000", "bbbb000000000003"):
        (row,) = json.loads(run("explain", "--file", shop, beginning).stdout)["rows"]
        assert row["fingerprint"] == "bbbb000000000003"


def test_the_row_holds_all_that_is_known(run, shop: str) -> None:
    document = json.loads(run("explain", "--file", shop, "aaaa000000000001").stdout)
    assert (document["schema"], document["command"]) == (1, "explain")
    (row,) = document["rows"]
    assert [query["calls"] for query in row["queries"]] == [3]
    assert row["plans"][0]["plan"]["root"]["children"][0]["operation"] == "full_scan"
    assert [finding["kind"] for finding in row["findings"]] == ["full_scan"]
    assert len(row["slow"]) == 3


def test_a_person_reads_statement_figures_plan_and_remedy(run, shop: str) -> None:
    result = run("explain", "--file", shop, "--no-json", "aaaa000000000001")
    assert result.exit_code == 0
    for words in (
        "WHERE orders.customer_id = ?",
        "1.5 s (85.4 % of all), fetching 300 ms of it",
        "SCAN orders",
        "warning  full scan, table orders",
        "Remedy: CREATE INDEX ix_orders_customer_id ON orders (customer_id)",
        "shop/views.py:42 in orders",
    ):
        assert words in result.stdout


def test_a_query_that_a_scope_repeats_says_so(run, shop: str) -> None:
    text = run("explain", "--file", shop, "--no-json", "aaaa000000000002").stdout
    assert "GET /orders: 250 calls in 5 runs, up to 50 in one" in text
    assert "none: no execution took 200 ms" in text


def test_batches_and_errors_are_told(run, shop: str) -> None:
    text = run("explain", "--file", shop, "--no-json", "bbbb").stdout
    assert "200 parameter sets in 2 executions" in text
    assert "1, the last IntegrityError" in text


def test_an_ambiguous_beginning_lists_what_it_may_mean(run, shop: str) -> None:
    result = run("explain", "--file", shop, "aaaa")
    listed = " ".join(result.stderr.split())
    assert result.exit_code == 2
    assert "aaaa000000000001" in listed
    assert "aaaa000000000002" in listed
    assert "bbbb" not in listed


def test_a_long_list_of_ambiguous_ones_is_cut(run, write, snapshot: Snapshot) -> None:
    many = tuple(replace(snapshot.queries[0], fingerprint=f"cccc{at:012x}") for at in range(25))
    result = run("explain", "--file", write(replace(snapshot, queries=many)), "cccc")
    assert "is the beginning of 25" in " ".join(result.stderr.split())
    assert "and 15 more" in " ".join(result.stderr.split())


@pytest.mark.parametrize("unknown", ["dddd", "", "aaaa0000000000010"])
def test_an_unknown_fingerprint_is_one_line_and_exit_code_1(run, shop: str, unknown: str) -> None:
    result = run("explain", "--file", shop, unknown)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: no query has a fingerprint")
    assert result.stderr.count("\n") == 1


def test_one_fingerprint_on_two_databases_is_one_query(run, write, snapshot: Snapshot) -> None:
    (database,) = snapshot.databases
    first = snapshot.queries[0]
    elsewhere = replace(first, database="sqlite:///b.db")
    (plan,) = snapshot.plans
    plans = (replace(plan, database=database.label), replace(plan, database="sqlite:///b.db"))
    path = write(
        replace(
            snapshot,
            databases=(database, replace(database, label="sqlite:///b.db")),
            queries=(first, elsewhere),
            plans=plans,
        )
    )
    (row,) = json.loads(run("explain", "--file", path, "aaaa").stdout)["rows"]
    assert len(row["queries"]) == 2
    (row,) = json.loads(run("explain", "--file", path, "aaaa", "--database", "b.db").stdout)["rows"]
    for part in ("queries", "plans"):
        assert [one["database"] for one in row[part]] == ["sqlite:///b.db"], part
    assert row["slow"] == []


def test_a_query_that_was_evicted_is_found_by_its_slow_executions(run, write, snapshot) -> None:
    path = write(replace(snapshot, queries=()))
    result = run("explain", "--file", path, "--no-json", "aaaa")
    assert result.exit_code == 0
    assert "its figures were evicted" in result.stdout


def test_a_plan_that_could_not_be_got_gives_its_reason(run, write, snapshot: Snapshot) -> None:
    (explained,) = snapshot.plans
    failed = replace(explained, plan=None, findings=(), error="it took longer than 2 s")
    path = write(replace(snapshot, plans=(failed,), findings=()))
    result = run("explain", "--file", path, "--no-json", "aaaa000000000001")
    assert "none: it took longer than 2 s" in result.stdout


@pytest.mark.parametrize(
    ("severity", "fail_on", "exit_code"),
    [
        ("critical", "never", 0),
        ("critical", "critical", 1),
        ("critical", "warning", 1),
        ("warning", "warning", 1),
        ("warning", "critical", 0),
        ("info", "warning", 0),
    ],
)
def test_findings_fail_the_command_where_asked(
    run, write, snapshot: Snapshot, severity: str, fail_on: str, exit_code: int
) -> None:
    (finding,) = snapshot.findings
    path = write(replace(snapshot, findings=(replace(finding, severity=severity),)))
    asked = ("--file", path, "--fail-on", fail_on)
    assert run("explain", *asked, "aaaa000000000001").exit_code == exit_code
    assert run("report", *asked).exit_code == exit_code
    assert run("explain", *asked, "bbbb").exit_code == 0, "the finding is about another query"


def test_what_was_really_recorded_can_be_explained(run, write, recorded: Snapshot) -> None:
    path = write(recorded)
    for query in recorded.queries:
        result = run("explain", "--file", path, "--no-json", query.fingerprint)
        assert result.exit_code == 0
        assert "Calls" in result.stdout


def test_a_database_narrows_figures_plans_and_findings(run, write, snapshot: Snapshot) -> None:
    (first,) = snapshot.databases
    (plan,) = snapshot.plans
    (finding,) = snapshot.findings
    cached = replace(finding, kind="sort", severity="critical", message="On the other one.")
    other = "sqlite:///other.db"
    path = write(
        replace(
            snapshot,
            databases=(first, replace(first, label=other)),
            queries=(*snapshot.queries, replace(snapshot.queries[0], database=other)),
            plans=(
                replace(plan, database=first.label),
                replace(plan, database=other, findings=(cached,)),
            ),
            findings=(cached, finding),
        )
    )
    asked = ("explain", "--file", path, "aaaa000000000001", "--database")
    for part, kind in (("shop", "full_scan"), ("other", "sort")):
        (row,) = json.loads(run(*asked, part).stdout)["rows"]
        assert [len(row[name]) for name in ("queries", "plans")] == [1, 1]
        assert [one["kind"] for one in row["findings"]] == [kind]
    assert run(*asked, "shop", "--fail-on", "critical").exit_code == 0
    assert run(*asked, "other", "--fail-on", "critical").exit_code == 1


def test_a_plan_that_does_not_say_its_database_counts_for_each(run, shop: str) -> None:
    asked = ("explain", "--file", shop, "aaaa000000000001", "--database", "shop")
    (row,) = json.loads(run(*asked).stdout)["rows"]
    assert (len(row["plans"]), len(row["findings"])) == (1, 1)
