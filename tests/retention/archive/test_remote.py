"""Archives in a store of fsspec's: what is listed there, and what it may raise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from sa_perf.errors import ArchiveError
from sa_perf.retention.archive import FileArchive, restore

fsspec = pytest.importorskip("fsspec")
memory = pytest.importorskip("fsspec.implementations.memory")


class Refused(Exception):
    """As packages of stores have them: no OSError."""


class MoodyStore(memory.MemoryFileSystem):
    """A store that takes what it is given until it is in a bad mood."""

    protocol = "moody"
    mood: ClassVar[set[str]] = set()

    def _may(self, what: str) -> None:
        if what in self.mood:
            raise Refused("the token has expired")

    def put_file(self, *args: Any, **options: Any) -> Any:
        self._may("put")
        return super().put_file(*args, **options)

    def pipe_file(self, *args: Any, **options: Any) -> Any:
        self._may("pipe")
        return super().pipe_file(*args, **options)

    def ls(self, *args: Any, **options: Any) -> Any:
        self._may("ls")
        return super().ls(*args, **options)

    def cat_file(self, *args: Any, **options: Any) -> Any:
        self._may("cat")
        return super().cat_file(*args, **options)

    def open(self, *args: Any, **options: Any) -> Any:
        self._may("open")
        return super().open(*args, **options)


@pytest.fixture
def mood() -> Iterator[set[str]]:
    fsspec.register_implementation("moody", MoodyStore, clobber=True)
    yield MoodyStore.mood
    MoodyStore.mood.clear()


@pytest.fixture
def run(mood, sqlite_database, archiving, plain, tmp_path) -> Any:
    engine = sqlite_database.engine()
    archiving.fill(engine, plain)
    archive = FileArchive(f"moody://{tmp_path}[1]/archive", compression=None)
    return archiving.Run(engine, plain, archive).open()


def test_files_that_are_listed_are_found_again(run, archiving) -> None:
    for number in (1, 2, 3):
        run.batch(run.table.c.id == number)
    run.end()
    later = archiving.Run(run.engine, run.table, run.archive, run="run-2").open()
    later.batch(later.table.c.id > 3)
    result = restore(run.engine, archive=run.archive, metadata=run.table.metadata, policy="note")
    assert (result.rows, result.files) == (10, 4)


def test_a_file_that_its_run_could_not_list_is_listed_by_the_next(run, archiving, mood) -> None:
    run.batch(run.table.c.id == 1)
    mood.add("pipe")
    with pytest.raises(ArchiveError, match="Refused: the token has expired; its rows are archived"):
        run.batch(run.table.c.id == 2)
    mood.clear()
    run.end()
    archiving.Run(run.engine, run.table, run.archive, run="run-2").open()
    listed = run.archive.storage().manifest("note")
    assert len([line for line in listed if b'"sha256"' in line]) == 2


@pytest.mark.parametrize("what", ["put", "open"])
def test_a_batch_that_a_store_refuses_is_told(run, mood, what) -> None:
    mood.add(what)
    with pytest.raises(ArchiveError, match="Refused: the token has expired"):
        run.batch(run.table.c.id == 1)


@pytest.mark.parametrize("what", ["ls", "cat"])
def test_a_store_that_cannot_be_read_ends_the_run_at_its_start(run, mood, what) -> None:
    run.batch(run.table.c.id == 1)
    mood.add(what)
    with pytest.raises(ArchiveError, match="cannot be used: Refused: the token has expired"):
        run.reconcile()


@pytest.mark.parametrize("what", ["cat", "open"])
def test_a_store_that_cannot_be_read_ends_a_restore_at_its_start(run, mood, what) -> None:
    run.batch(run.table.c.id == 1)
    mood.add(what)
    with pytest.raises(ArchiveError, match="Refused: the token has expired; no row was changed"):
        restore(run.engine, archive=run.archive, metadata=run.table.metadata, run="run-1")
