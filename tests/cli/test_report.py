from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from sa_perf.snapshot import Health, Snapshot


def test_as_json_it_has_every_part(run, shop: str) -> None:
    document = json.loads(run("report", "--file", shop).stdout)
    assert (document["schema"], document["command"]) == (1, "report")
    report = document["report"]
    assert report["totals"] == {
        "queries": 3,
        "calls": 255,
        "errors": 1,
        "rows": 12_597,
        "total_seconds": pytest.approx(1.756),
    }
    assert [finding["kind"] for finding in report["findings"]] == ["full_scan"]
    assert report["scopes"][0]["repeats"][0]["max_calls"] == 50
    assert report["transactions"]["commits"] == 3
    assert report["plans"] == {"explained": 1, "failed": 0}
    assert set(report) == {
        "totals", "databases", "findings", "queries", "scopes", "transactions", "slow", "plans",
        "health",
    }  # fmt: skip


def test_as_text_findings_come_first(run, shop: str) -> None:
    text = run("report", "--file", shop, "--format", "text").stdout
    headings = (
        "shop on web-1, process 4711", "Findings (1)", "Queries that took most time", "Scopes",
        "Transactions", "Slow executions (3)", "Health of the recording",
    )  # fmt: skip
    places = [text.index(heading) for heading in headings]
    assert places == sorted(places)


def test_as_text_it_tells_repeats_transactions_and_health(run, shop: str) -> None:
    wide = {"COLUMNS": "140"}
    text = run("report", "--file", shop, "--format", "text", env=wide).stdout
    assert "50.6" in text, "statements a run"
    assert "up to 50 in one run: SELECT customers.name FROM customers" in text
    assert "3 committed, 1 rolled back; open for 5.0 ms on average" in text
    assert "1 explained, 2 dropped, the queue was full" in text


def test_a_finding_says_which_query_what_it_costs_and_which_line_issues_it(run, shop: str) -> None:
    wide = {"COLUMNS": "140"}
    text = run("report", "--file", shop, "--format", "text", env=wide).stdout
    found = text[text.index("Findings (1)") : text.index("Queries that took most time")]
    assert "FROM orders WHERE orders.customer_id = ?" in found
    assert "85.4 % of the time, 3 calls, p95 596 ms; shop/views.py:42 in orders" in found
    assert "in GET /orders < worker" in found


@pytest.mark.parametrize("style", ["text", "json", "html"])
def test_of_equally_severe_findings_the_costliest_comes_first(
    run, write, snapshot: Snapshot, style: str
) -> None:
    (costly,) = snapshot.findings
    critical = replace(costly, severity="critical", message="Third by time.", fingerprint=None)
    cheap = replace(costly, message="Costs less.", fingerprint=snapshot.queries[1].fingerprint)
    path = write(replace(snapshot, findings=(cheap, costly, critical)))
    text = run("report", "--file", path, "--format", style).stdout
    places = [text.index(one.message) for one in (critical, costly, cheap)]
    assert places == sorted(places)


def test_a_finding_about_no_query_stands_alone(run, write, snapshot: Snapshot) -> None:
    (finding,) = snapshot.findings
    path = write(replace(snapshot, findings=(replace(finding, fingerprint=None),)))
    text = run("report", "--file", path, "--format", "text").stdout
    found = text[text.index("Findings (1)") : text.index("Queries that took most time")]
    assert found.rstrip().endswith("(customer_id)")


def test_scopes_keep_their_names_whole_on_a_narrow_terminal(run, shop: str) -> None:
    narrow = {"COLUMNS": "60"}
    text = run("report", "--file", shop, "--format", "text", env=narrow).stdout
    assert "  GET /orders\n" in text
    assert "Total/run" not in text


def test_faults_of_the_recording_are_told(run, write, snapshot: Snapshot) -> None:
    health = Health(faults=2, last_fault="fold: KeyError", evicted_fingerprints=7, write_failures=1)
    text = run(
        "report", "--file", write(replace(snapshot, health=health)), "--format", "text"
    ).stdout
    assert "2 faults in sa_perf, the last: fold: KeyError" in text
    assert "7 queries were moved into 'other'" in text
    assert "1 snapshots could not be written" in text


@pytest.mark.parametrize("style", ["text", "json", "html"])
def test_an_empty_snapshot_can_be_reported(run, write, empty: Snapshot, style: str) -> None:
    result = run("report", "--file", write(empty), "--format", style)
    assert (result.exit_code, bool(result.stdout)) == (0, True)


def test_a_limit_cuts_every_list(run, shop: str) -> None:
    report = json.loads(run("report", "--file", shop, "--limit", "1").stdout)["report"]
    assert [len(report[name]) for name in ("queries", "slow", "scopes")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "beginning"), [("r.html", "<!doctype"), ("r.json", "{"), ("r.txt", "shop on web-1")]
)
def test_the_ending_of_the_file_says_the_format(run, shop, tmp_path, name, beginning) -> None:
    target = tmp_path / name
    result = run("report", "--file", shop, "--output", str(target))
    assert (result.exit_code, result.stdout) == (0, "")
    assert target.read_text(encoding="utf-8").startswith(beginning)
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


@pytest.mark.parametrize("name", ["r.pdf", "r.HTML5"])
def test_an_ending_that_names_no_format_is_wrong_usage(run, shop, tmp_path, name: str) -> None:
    target = tmp_path / name
    result = run("report", "--file", shop, "--output", str(target))
    assert result.exit_code == 2
    assert "or give --format" in " ".join(result.stderr.split())
    assert not target.exists()
    assert run("report", "--file", shop, "--output", str(target), "--format", "text").exit_code == 0


def test_a_file_is_replaced_whole(run, shop: str, tmp_path: Path) -> None:
    target = tmp_path / "r.txt"
    target.write_text("x" * 100_000)
    run("report", "--file", shop, "--output", str(target))
    assert "xxx" not in target.read_text(encoding="utf-8")


@pytest.mark.parametrize("environment", [{}, {"SA_PERF_FILE": "snapshot.json"}])
def test_the_snapshot_is_not_overwritten(run, shop: str, monkeypatch, environment) -> None:
    before = Path(shop).read_bytes()
    monkeypatch.chdir(Path(shop).parent)
    source = () if environment else ("--file", shop)
    result = run("report", *source, "--output", "snapshot.json", env=environment)
    assert result.exit_code == 2
    assert Path(shop).read_bytes() == before


def test_no_snapshot_of_several_is_overwritten(run, shop: str, tmp_path: Path) -> None:
    before = Path(shop).read_bytes()
    result = run("report", "--file", str(tmp_path / "*.json"), "--output", shop)
    assert (result.exit_code, Path(shop).read_bytes()) == (2, before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_device_is_written_to_and_stays(run, shop: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run("report", "--file", shop, "--output", str(pipe)).exit_code == 0
        assert os.read(reader, 4) == b"{\n  "
        assert stat.S_ISFIFO(pipe.stat().st_mode)
    finally:
        os.close(reader)


def test_a_file_that_cannot_be_written_is_one_line_and_exit_code_2(run, shop, tmp_path) -> None:
    result = run("report", "--file", shop, "--output", str(tmp_path / "nowhere" / "r.html"))
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: cannot write ")
    assert result.stderr.count("\n") == 1


def test_findings_fail_the_report_after_it_is_written(run, shop: str, tmp_path: Path) -> None:
    target = tmp_path / "r.html"
    asked = ("--output", str(target), "--fail-on", "warning")
    assert run("report", "--file", shop, *asked).exit_code == 1
    assert target.exists()


def test_what_was_really_recorded_can_be_reported(run, write, recorded: Snapshot) -> None:
    path = write(recorded)
    assert "recorded on" in run("report", "--file", path, "--format", "text").stdout
    report = json.loads(run("report", "--file", path).stdout)["report"]
    assert report["totals"]["calls"] == recorded.calls
    assert report["totals"]["errors"] == 1
