from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import sa_perf
from sa_perf.cli.terminal.demonstration import parts
from sa_perf.demo import run as module
from sa_perf.demo.report import Comparison, Report
from sa_perf.demo.run import Options, run

# January is big enough for findings. Every statement counts as slow, so that what is explained
# does not depend on the machine.
JANUARY = {"days": 31, "slow_seconds": 0.0}
SILENT = Console(quiet=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def report(folder: Path) -> Iterator[Report]:
    place = folder / "databases"
    place.mkdir()
    options = Options(directory=place, snapshot=folder / "snapshot.json", **JANUARY)  # type: ignore[arg-type]
    yield run(options, console=SILENT)


def printed(report: Report) -> str:
    console = Console(file=StringIO(), record=True, width=160)
    console.print(*parts(report), sep="\n")
    return console.export_text()


def comparison(report: Report, route: str) -> Comparison:
    (found,) = (one for one in report.comparisons if one.route == route)
    return found


def test_database_is_removed_after_the_run(report: Report, folder: Path) -> None:
    assert report.directory is None
    assert list((folder / "databases").iterdir()) == []


def test_all_rows_of_january_were_loaded(report: Report) -> None:
    assert report.tables["flights"] == 27_004
    assert report.database_bytes > 1_000_000


def test_deepest_page_is_told_by_both_methods(report: Report) -> None:
    assert [times.method for times in report.paging] == ["keyset", "offset"]
    text = printed(report)
    assert "Page 541" in text
    told = " ".join(text.split())
    assert "Medians of a warm call, Python included" in told
    assert "sa_perf.pagination.keyset" in told
    assert "no cursor is made" in told
    assert "different rows" not in text
    assert "different rows" in printed(
        replace(report, paging=tuple(replace(one, same_rows=False) for one in report.paging))
    )


def test_old_flights_are_purged_by_the_plan(report: Report) -> None:
    found = report.retention
    assert found is not None
    assert found.days == 28
    assert found.plan.rows == found.run.rows_changed == found.audit.rows_changed > 1_000
    assert found.run.rows_archived == found.run.rows_changed + found.run.children_changed
    assert found.space is not None
    assert found.space.freed_bytes > 100_000
    text = " ".join(printed(report).split())
    assert "Retention: flights older than 28 days, archived and deleted" in text
    assert f"Plan: {found.plan.rows:,} flights before 2013-01-04" in text
    assert f"run {found.audit.run}, done" in text
    assert "MB freed" in text


def test_space_that_is_refused_is_told_with_the_reason(report: Report) -> None:
    assert report.retention is not None
    refused = replace(report.retention, space=None, refusal="the disk is full")
    assert "not given back: the disk is full" in printed(replace(report, retention=refused))
    assert "Retention" not in printed(replace(report, retention=None))


def test_repeated_lazy_load_is_told_by_scope_and_statement(report: Report) -> None:
    worst = report.repeated[0]

    assert worst.scope == "GET /flights"
    assert "FROM planes" in worst.statement
    assert worst.statements_per_run > worst.repeats_per_run > 100


def test_loader_option_leaves_one_statement(report: Report) -> None:
    flights = comparison(report, "GET /flights")

    assert flights.before_statements == report.repeated[0].statements_per_run
    assert flights.after_statements == 1
    assert flights.same_rows


def test_missing_index_is_tried_before_it_is_made(report: Report) -> None:
    (index,) = (one for one in report.indexes if "(tail_number" in one.statement)
    name = index.statement.split()[2]

    assert "WHERE flights.tail_number = ?" in index.query
    assert any(step.startswith("SCAN flights") for step in index.before)
    assert any(step.startswith("SEARCH flights") and name in step for step in index.after)
    assert index.estimated_ratio is not None and index.estimated_ratio >= 2
    assert f'op.create_index("{name}", "flights", ["tail_number"' in index.alembic
    assert index.statement in comparison(report, "GET /aircraft/{tail}").remedies


def test_finding_of_the_statement_names_the_same_column(report: Report) -> None:
    (index,) = (one for one in report.indexes if "(tail_number" in one.statement)
    asking = [one for one in report.findings if one.fingerprint in index.fingerprints]

    assert any("(tail_number" in finding.remedy for finding in asking)


def test_every_slow_statement_was_explained(report: Report) -> None:
    assert report.all_explained


def test_deep_offset_is_replaced_by_a_keyset(report: Report) -> None:
    pages = comparison(report, "GET /flights/pages/{page}")

    assert any("keyset" in remedy for remedy in pages.remedies)
    assert pages.same_rows


def test_null_in_not_in_is_the_only_remedy_that_changes_rows(report: Report) -> None:
    changed = [one for one in report.comparisons if not one.same_rows]

    assert [one.route for one in changed] == ["GET /aircraft/idle"]
    assert changed[0].before_rows == 0
    assert changed[0].after_rows > 0


def test_call_sites_are_lines_of_the_application(report: Report) -> None:
    sites = [query.call_site or "" for query in report.top]

    assert any("demo/application.py" in site.replace("\\", "/") for site in sites)


def test_snapshot_is_the_one_before_the_remedies(report: Report) -> None:
    assert report.snapshot is not None
    snapshot = sa_perf.Snapshot.read(report.snapshot)

    assert snapshot.calls == report.statements
    assert snapshot.findings == report.findings


def test_report_is_json(report: Report) -> None:
    data = json.loads(json.dumps(report.to_dict()))

    assert data["tables"]["flights"] == 27_004
    assert len(data["findings"]) == len(report.findings)
    ratios = {one["route"]: one["speedup_ratio"] for one in data["comparisons"]}
    assert ratios == {one.route: one.speedup_ratio for one in report.comparisons}
    assert report.retention is not None
    assert data["retention"]["run"]["rows_changed"] == report.retention.run.rows_changed
    assert data["retention"]["audit"]["outcome"] == "done"
    assert data["retention"]["space"]["freed_bytes"] == report.retention.space.freed_bytes


def test_printed_report_has_every_part(report: Report) -> None:
    text = printed(report)

    assert "27,004 flights" in text
    assert "GET /flights: " in text
    assert "statements a request" in text
    assert report.indexes[0].alembic in text
    assert report.indexes[0].model in text
    assert report.indexes[0].after[0] in text
    assert "The same requests before and after" in text
    assert f"sa-perf top --file {report.snapshot}" in text


def test_printed_report_says_what_is_missing(report: Report) -> None:
    empty = replace(report, findings=(), all_explained=False, indexes=(), comparisons=())

    assert "none: no statement on a big table was slow enough" in printed(empty)
    assert "not all: there was no time to explain" in printed(empty)


def test_database_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    report = run(Options(days=1, directory=tmp_path, keep=True), console=SILENT)

    assert report.directory is not None
    assert (Path(report.directory) / "flights.db").stat().st_size == report.database_bytes
    assert Path(report.directory).parent == tmp_path


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_interrupted_run_removes_its_database(
    interruption: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: object, **options: object) -> None:
        assert any(tmp_path.rglob("flights.db"))
        raise interruption

    monkeypatch.setattr(module, "routes", stop)

    with pytest.raises(interruption):
        run(Options(days=1, directory=tmp_path), console=SILENT)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.exhaustive
def test_whole_year_finds_and_mends_every_fault(tmp_path: Path) -> None:
    report = run(Options(directory=tmp_path, slow_seconds=0.0), console=SILENT)

    assert report.tables["flights"] == 336_776
    assert {one.route for one in report.comparisons} >= {
        *("GET /aircraft/{tail}", "GET /aircraft/idle", "GET /delays/{month}"),
        *("GET /flights", "GET /flights/pages/{page}"),
    }
    assert [one.route for one in report.comparisons if not one.same_rows] == ["GET /aircraft/idle"]
