"""Files of an archive agree with the audit, whatever happened in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, delete, func, select

from sa_perf.errors import ArchiveError, LeaseLost, RetentionError
from sa_perf.retention.archive import FileArchive, restore
from sa_perf.retention.archive.naming import file_name, readings_of
from sa_perf.retention.archive.storage import LocalStorage
from sa_perf.retention.tables import batches, runs


@pytest.fixture
def sqlite(sqlite_database) -> Engine:
    """One database will do: files are the same for all."""
    made: Engine = sqlite_database.engine()
    return made


@pytest.fixture
def run(sqlite, archiving, plain, tmp_path) -> Any:
    """A run over ten rows."""
    archiving.fill(sqlite, plain)
    return archiving.Run(sqlite, plain, FileArchive(tmp_path / "archive", compression=None)).open()


def _files(path: Path) -> list[str]:
    return sorted(one.name for one in path.rglob("*") if one.is_file())


def _uncommitted(run) -> None:
    """Write a batch and let its transaction be rolled back."""
    run.number += 1
    with run.engine.connect() as connection:
        run.write(connection, run.table, run.table.c.id < 4)


def test_a_file_is_named_by_policy_run_number_and_table(run, tmp_path) -> None:
    file = run.batch(run.table.c.id < 4)
    assert file.name == "note/run-1-000001-note.jsonl"
    assert _files(tmp_path / "archive") == ["manifest.jsonl", "run-1-000001-note.jsonl"]
    assert file.bytes == (tmp_path / "archive" / file.name).stat().st_size
    assert (tmp_path / "archive" / file.name).read_text().startswith('{"id":1,"words":"text 1"}\n')


def test_the_manifest_says_what_a_file_holds(run, tmp_path) -> None:
    file = run.batch(run.table.c.id < 4)
    manifest = (tmp_path / "archive" / "note" / "manifest.jsonl").read_text().splitlines()
    origin, entry = map(json.loads, manifest)
    assert (origin["run"], origin["tables"]) == ("run-1", {"note": entry["columns"]})
    assert entry["columns"] == [
        {"name": "id", "type": "INTEGER"},
        {"name": "words", "type": "TEXT"},
    ]
    assert (entry["name"], entry["rows"], entry["sha256"]) == (file.name, 3, file.sha256)
    assert (entry["run"], entry["policy"], entry["table"]) == ("run-1", "note", "note")


def test_a_file_without_a_committed_batch_is_removed(run, tmp_path) -> None:
    kept = run.batch(run.table.c.id > 8)
    _uncommitted(run)
    (tmp_path / "archive" / "note" / ".run-1-000003-note.jsonl.tmp").write_bytes(b"half")
    run.end().reconcile()
    assert _files(tmp_path / "archive") == ["manifest.jsonl", Path(kept.name).name]


def test_a_committed_file_that_the_manifest_lacks_is_listed_again(run, tmp_path) -> None:
    manifest = tmp_path / "archive" / "note" / "manifest.jsonl"
    run.batch(run.table.c.id > 8)
    origin, entry = manifest.read_bytes().splitlines(keepends=True)
    for left in (origin, origin + entry[:40]):
        manifest.write_bytes(left)
        run.reconcile()
        kept, again = manifest.read_bytes().splitlines(keepends=True)
        before, after = json.loads(entry), json.loads(again)
        assert kept == origin
        assert {**after, "written_at": ""} == {**before, "written_at": ""}


def test_a_file_is_listed_again_as_its_own_run_would_have_listed_it(
    run, archiving, tmp_path
) -> None:
    manifest = tmp_path / "archive" / "note" / "manifest.jsonl"
    run.batch(run.table.c.id > 8)
    origin = manifest.read_bytes().splitlines()[0]
    told = json.loads(origin)
    told["session"] = {"TimeZone": "Asia/Kathmandu"}
    told["tables"]["note"][1]["type"] = "VARCHAR"
    manifest.write_text(json.dumps(told) + "\n")
    archiving.Run(run.engine, run.table, run.archive, run="run-2").open()
    again = json.loads(manifest.read_bytes().splitlines()[-1])
    assert (again["run"], again["session"]) == ("run-1", told["session"])
    assert (again["columns"], again["table"]) == (told["tables"]["note"], "note")


def test_files_of_other_databases_and_of_nobody_stay(run, archiving, tmp_path) -> None:
    folder = tmp_path / "archive" / "note"
    run.batch(run.table.c.id > 8)
    strangers = [
        "thesis.txt",
        "report-202411-final.csv",
        "20240101T000000Z-00000000-000001-note.jsonl",
        ".20240101T000000Z-00000000-000002-note.jsonl.tmp",
    ]
    for name in strangers:
        (folder / name).write_text("x")
    run.end()
    archiving.Run(run.engine, run.table, run.archive, run="run-2").open()
    assert set(strangers) <= set(_files(folder))


def test_files_that_the_audit_does_not_know_are_told(run, tmp_path, caplog) -> None:
    run.batch(run.table.c.id > 8)
    name = "20240101T000000Z-00000000-000001-note.jsonl"
    (tmp_path / "archive" / "note" / name).write_text("x")
    run.reconcile()
    assert f"does not know are left alone, 'note/{name}' and 0 more" in caplog.text


def test_a_file_of_a_run_that_goes_on_stays(run, archiving, tmp_path) -> None:
    """A runner that woke up too late meets the file that its successor is about to commit."""
    late = archiving.Run(run.engine, run.table, run.archive, run="run-0").open()
    _uncommitted(run)
    late.reconcile()
    assert "run-1-000001-note.jsonl" in _files(tmp_path / "archive")


def test_the_lease_is_asked_for_before_anything_is_removed(run, tmp_path) -> None:
    _uncommitted(run)

    def keep() -> None:
        raise LeaseLost("it is another's")

    with pytest.raises(LeaseLost):
        run.end().reconcile(keep=keep)
    assert "run-1-000001-note.jsonl" in _files(tmp_path / "archive")


def test_only_runs_of_the_policy_are_cleared_up_behind(run, archiving, tmp_path) -> None:
    _uncommitted(run)
    run.end().reconcile(policy="other")
    assert "run-1-000001-note.jsonl" in _files(tmp_path / "archive")


def test_an_archive_that_is_not_mounted_ends_the_run(run, archiving, tmp_path) -> None:
    run.batch(run.table.c.id > 8)
    (tmp_path / "archive").rename(tmp_path / "elsewhere")
    with pytest.raises(ArchiveError, match=r"lacks 1 of 1 files that policy 'note' archived there"):
        archiving.Run(run.engine, run.table, run.archive, run="run-2").open()
    assert not (tmp_path / "archive").exists()
    archive = FileArchive(tmp_path / "elsewhere", compression=None)
    archiving.Run(run.engine, run.table, archive, run="run-3").open()
    fresh = FileArchive(tmp_path / "fresh", compression=None)
    archiving.Run(run.engine, run.table, fresh, run="run-4").open()


def test_files_of_forgotten_runs_may_be_removed(run, archiving, tmp_path) -> None:
    file = run.batch(run.table.c.id > 8)
    with run.engine.begin() as connection:
        connection.execute(delete(batches))
        connection.execute(delete(runs))
    (tmp_path / "archive" / file.name).unlink()
    archiving.Run(run.engine, run.table, run.archive, run="run-2").open()


@pytest.mark.parametrize(
    ("run_id", "table"),
    [
        ("20240101T000000Z-12345678", "note"),
        ("20240101T000000Z-abcdef01", "a-202401-b"),
        ("20240101T000000Z-12345678", "a-202401-000001-b"),
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".csv.gz", ".parquet", ".jsonl.zst"])
def test_a_name_says_which_run_and_table_a_file_may_be_of(run_id, table, suffix) -> None:
    name = file_name("policy", run_id, 7, table, suffix=suffix)
    assert (run_id, table) in readings_of(name)
    half = f"policy/.{name.rpartition('/')[2]}.tmp"
    assert readings_of(half) == readings_of(name)


def test_a_url_of_the_local_disk_is_a_folder_of_it(run, archiving, tmp_path) -> None:
    run.batch(run.table.c.id > 8)
    archive = FileArchive(f"file://{tmp_path}/archive", compression=None)
    assert isinstance(archive.storage(), LocalStorage)
    restore(run.engine, archive=archive, metadata=run.table.metadata, run="run-1")


def test_a_file_that_cannot_be_listed_is_archived_nevertheless(run, tmp_path) -> None:
    manifest = tmp_path / "archive" / "note" / "manifest.jsonl"
    run.batch(run.table.c.id > 8)
    manifest.unlink()
    manifest.mkdir()
    with pytest.raises(ArchiveError, match="its rows are archived, and the next run lists it"):
        run.batch(run.table.c.id < 3)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize(
    ("damage", "words"),
    [(_flip, "has SHA-256"), (_truncate, "has"), (Path.unlink, "is missing")],
)
def test_a_damaged_file_is_noticed_before_a_row_is_touched(run, tmp_path, damage, words) -> None:
    run.batch(run.table.c.id < 4)
    file = run.batch(run.table.c.id > 8)
    damage(tmp_path / "archive" / file.name)
    with pytest.raises(ArchiveError, match=f"{file.name}' {words}"):
        restore(run.engine, archive=run.archive, metadata=run.table.metadata, run="run-1")
    with run.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(run.table)).scalar() == 5


@pytest.mark.parametrize("damage", [_truncate, Path.unlink])
def test_a_missing_or_cut_file_ends_the_next_run_at_its_start(run, tmp_path, damage) -> None:
    file = run.batch(run.table.c.id > 8)
    damage(tmp_path / "archive" / file.name)
    with pytest.raises(ArchiveError):
        run.reconcile()


def test_the_same_batch_may_be_written_again_until_it_is_committed(run) -> None:
    name = run.sink.file_name(1, run.table)
    columns = run.sink.columns(run.table)
    run.sink.write(run.table, columns, [(1, "a")], name)
    file = run.sink.write(run.table, columns, [(1, "a"), (2, "b")], name)
    assert file.rows == 2
    run.sink.committed(file)
    with pytest.raises(ArchiveError, match="committed batch"):
        run.sink.write(run.table, columns, [(1, "a")], name)


def test_a_value_that_cannot_be_held_leaves_no_file(run, tmp_path) -> None:
    name = run.sink.file_name(1, run.table)
    with pytest.raises(ArchiveError, match="column 'words' of table 'note'"):
        run.sink.write(run.table, ["id", "words"], [(1, "a"), (2, object())], name)
    assert _files(tmp_path / "archive") == ["manifest.jsonl"]


@pytest.mark.parametrize("name", ["../x.jsonl", "note/x.csv", "note/.x.jsonl", "other/x.jsonl"])
def test_a_name_outside_the_archive_is_refused(run, name) -> None:
    with pytest.raises(ArchiveError, match="is no name of this archive"):
        run.sink.write(run.table, ["id", "words"], [], name)


def test_rows_of_other_columns_are_refused(run) -> None:
    with pytest.raises(ArchiveError, match="are not those of table 'note'"):
        run.sink.write(run.table, ["id"], [(1,)], run.sink.file_name(1, run.table))


def test_a_folder_that_cannot_be_is_said_at_the_start(sqlite, archiving, plain, tmp_path) -> None:
    archiving.fill(sqlite, plain)
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveError, match="cannot be used: Not a directory"):
        archiving.Run(sqlite, plain, FileArchive(tmp_path / "file" / "archive")).open()


def test_a_manifest_of_something_else_is_said(run, tmp_path) -> None:
    run.batch(run.table.c.id < 4)
    (tmp_path / "archive" / "note" / "manifest.jsonl").write_text("{}\n")
    with pytest.raises(ArchiveError, match="holds a line that is none"):
        run.reconcile()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"path": ""}, "path is ''"),
        ({"path": 7}, "path is 7"),
        ({"path": "x", "format": "xml"}, "format is 'xml'"),
        ({"path": "x", "compression": "rar"}, "compression is 'rar'"),
    ],
)
def test_an_archive_that_cannot_work_is_refused(arguments, words) -> None:
    with pytest.raises(RetentionError, match=words):
        FileArchive(**arguments)


def test_an_archive_in_words_holds_no_password() -> None:
    assert str(FileArchive("sftp://me:secret@host/x")) == "sftp://host/x (jsonl, gzip)"


# Killed between any two steps

KILLED = """
import os, signal, sys
from sqlalchemy import create_engine, MetaData, Table, delete, insert, select
from sa_perf.retention.archive import FileArchive
from sa_perf.retention.tables import batches
url, path, moment, run_id = sys.argv[1:]
engine = create_engine(url)
table = Table("note", MetaData(), autoload_with=engine)
sink = FileArchive(path).open(engine, table, policy="note", run="run-1")
def at(name):
    if name == moment:
        os.kill(os.getpid(), signal.SIGKILL)
with engine.begin() as connection:
    rows = connection.execute(select(*sink.columns(table)).where(table.c.id < 6)).all()
    def some():
        for number, row in enumerate(rows):
            if number == 3:
                at("writing")
            yield row
    file = sink.write(table, sink.columns(table), some(), sink.file_name(1, table))
    at("written")
    connection.execute(delete(table).where(table.c.id < 6))
    from datetime import datetime, timezone
    connection.execute(insert(batches).values(
        run_id=int(run_id), number=1, table_name="note", rows_scanned=5, rows_archived=5,
        rows_changed=5, target_rows=5, seconds=0.0, pause_seconds=0.0, archive_file=file.name,
        archive_sha256=file.sha256, finished_at=datetime.now(timezone.utc)))
    at("deleted")
at("committed")
sink.committed(file)
at("listed")
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize("moment", ["writing", "written", "deleted", "committed", "listed"])
def test_a_row_is_in_the_table_or_in_the_archive_after_kill_9(
    sqlite_url, archiving, plain, tmp_path, moment
) -> None:
    engine = create_engine(sqlite_url)
    archiving.fill(engine, plain)
    before = archiving.stored_rows(engine, plain)
    archive = FileArchive(tmp_path / "archive")
    run = archiving.Run(engine, plain, archive).open()
    command = [
        sys.executable, "-c", KILLED, sqlite_url, str(archive.path), moment, str(run.run_id),
    ]  # fmt: skip
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    is_committed = moment in ("committed", "listed")
    left = 5 if is_committed else 10
    assert len(archiving.stored_rows(engine, plain)) == left
    run.end().reconcile()
    manifest = tmp_path / "archive" / "note" / "manifest.jsonl"
    expected = ["manifest.jsonl", *(["run-1-000001-note.jsonl.gz"] if is_committed else [])]
    assert _files(tmp_path / "archive") == expected
    assert len(manifest.read_text().splitlines()) == len(expected)
    if is_committed:
        with engine.begin() as connection:
            assert connection.execute(delete(plain).where(plain.c.id < 6)).rowcount == 0
        restore(engine, archive=archive, metadata=plain.metadata, run="run-1")
    assert archiving.stored_rows(engine, plain) == before
    engine.dispose()
