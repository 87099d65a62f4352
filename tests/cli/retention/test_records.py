"""``sa-perf retention status`` and ``history``."""

from __future__ import annotations

import json

import pytest


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_before_the_first_run_there_is_nothing_to_show(shop) -> None:
    for command in ("status", "history"):
        result = shop.run(command, "--no-json")
        assert (result.exit_code, result.stdout) == (0, "no policy has been run yet\n")
    assert json.loads(shop.run("status").stdout)["policies"] == []
    assert json.loads(shop.run("history").stdout)["runs"] == []


def test_status_says_how_each_policy_ended(shop) -> None:
    shop.run("run")
    result = shop.run("status", "--no-json")
    assert result.exit_code == 0
    found = [line.split()[0:2] for line in lines(result.stdout)[2:]]
    assert found == [["alert", "idle"], ["entry", "idle"]]


def test_status_says_that_a_run_is_unfinished(shop) -> None:
    shop.run("run", "--policy", "entry", "--max-rows", "20")
    assert "unfinished; the next run goes on" in " ".join(
        shop.run("status", "--no-json").stdout.split()
    )
    (policy,) = json.loads(shop.run("status").stdout)["policies"]
    assert policy["lease"]["position"] is not None
    assert policy["last_run"]["outcome"] == "limited"


def test_status_says_who_runs_a_policy(shop) -> None:
    from sa_perf.dialects.purging import purging_of
    from sa_perf.retention.lease import acquire, owner_name

    purging = purging_of(shop.engine)
    with purging.connection(shop.engine) as connection:
        acquire(connection, purging, policy="entry", run="another")
        said = " ".join(shop.run("status", "--no-json", env={"COLUMNS": "200"}).stdout.split())
    assert f"run by {owner_name()}" in said
    assert "its lease ends at" in said


def test_history_shows_the_newest_first(shop) -> None:
    shop.run("run", "--policy", "entry", "--max-rows", "20")
    shop.run("run", "--policy", "entry")
    result = shop.run("history", "--no-json")
    assert result.exit_code == 0
    assert [line.split()[0] for line in lines(result.stdout)[2:4]] == ["2", "1"]
    assert "1 entry: max_rows=20 rows were changed" in result.stdout
    runs = json.loads(shop.run("history").stdout)["runs"]
    assert [(one["id"], one["outcome"]) for one in runs] == [(2, "done"), (1, "limited")]
    assert "entry.at <" in runs[0]["predicate"]


def test_history_of_one_policy_and_of_a_few_runs(shop) -> None:
    shop.run("run")
    runs = json.loads(shop.run("history", "--policy", "alert").stdout)["runs"]
    assert [one["policy"] for one in runs] == ["alert"]
    assert len(json.loads(shop.run("history", "--limit", "1").stdout)["runs"]) == 1


def test_the_batches_of_a_run(shop) -> None:
    shop.run("run", "--policy", "entry")
    batches = json.loads(shop.run("history", "--batches", "1").stdout)["batches"]
    assert [one["number"] for one in batches] == list(range(1, len(batches) + 1))
    assert sum(one["rows_changed"] for one in batches) == 50
    shown = shop.run("history", "--batches", "1", "--no-json").stdout.splitlines()
    assert len(shown) == 2 + len(batches)


def test_the_file_of_an_archived_batch_is_named(shop) -> None:
    shop.run("run", "--policy", "alert")
    batches = json.loads(shop.run("history", "--batches", "1").stdout)["batches"]
    files = [one["archive_file"] for one in batches]
    assert all((shop.archive / file).is_file() for file in files)
    assert {one["table_name"] for one in batches} == {"alert", "note"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--policy", "nope"), "the audit has no run of policy 'nope'"),
        (("--batches", "99"), "the audit has no batches with run id 99"),
    ],
)
def test_what_the_audit_does_not_have(shop, arguments: tuple[str, str], words: str) -> None:
    result = shop.run("history", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"Error: {words}\n")


def test_batches_belong_to_one_policy_already(shop) -> None:
    result = shop.run("history", "--batches", "1", "--policy", "entry")
    assert (result.exit_code, "leave --policy out" in result.stderr) == (2, True)


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_tables_keep_to_the_terminal(shop, columns: int) -> None:
    shop.run("run")
    for arguments in (("status",), ("history",), ("history", "--batches", "1")):
        shown = shop.run(*arguments, "--no-json", env={"COLUMNS": str(columns)}).stdout
        assert max(map(len, shown.splitlines())) <= columns
        assert "…" not in shown


def test_forget_deletes_old_records_but_those_of_archives(shop) -> None:
    shop.run("run")
    assert json.loads(shop.run("forget", "--days", "1").stdout)["runs"] == 0
    soon = ("forget", "--days", "0.0000001")
    assert json.loads(shop.run(*soon).stdout)["runs"] == 1
    runs = json.loads(shop.run("history").stdout)["runs"]
    assert [one["policy"] for one in runs] == ["alert"]
    assert json.loads(shop.run(*soon, "--archived").stdout)["runs"] == 1
    assert json.loads(shop.run("history").stdout)["runs"] == []
