"""What the ORM says of its statements: by private names, and by public ones in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from n_plus_one.corpus import Program
from n_plus_one.library import Author, Book, Engineer, Note
from n_plus_one.programs import PROGRAMS
from n_plus_one.recording import Library, described, expected, recorded
from sqlalchemy import Engine, __version__, delete, event, insert, make_url, select, update
from sqlalchemy.orm import Session, selectinload, undefer

import sa_perf
from sa_perf.queries import orm_loads
from sa_perf.queries.orm_loads import Loaded, Loads, readable

VERSION = tuple(int(part) for part in __version__.split(".")[:3] if part.isdigit())

#: What the public names tell: that a relationship is loaded lazily.
LAZY = [
    one
    for one in PROGRAMS
    if not one.is_async
    and "dynamic" not in one.name
    and "write_only" not in one.name
    and any(fault.kind == "n_plus_one" for fault in one.faults)
]
SOUND = [one for one in PROGRAMS if not one.is_async and not one.faults]


@pytest.fixture
def loads(library) -> Iterator[list[Loaded]]:
    """What is read of each execution of the engine."""
    found: list[Loaded] = []
    reader = Loads()

    def after_cursor_execute(conn, cursor, statement, parameters, context, executemany) -> None:
        load = reader.of(context.compiled)
        loaded = None if load is None else load.read(context)
        if loaded is not None:
            found.append(loaded)

    event.listen(library.engine, "after_cursor_execute", after_cursor_execute)
    yield found
    event.remove(library.engine, "after_cursor_execute", after_cursor_execute)
    reader.close()


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of SQLAlchemy in which a private name has gone."""
    monkeypatch.setattr(orm_loads, "_EXECUTING", ("_a_name_of_the_past",))


@pytest.fixture
def install() -> Iterator[Callable[[Engine], sa_perf.Instrumentation]]:
    """Install sa_perf, and take it away though a test fails."""
    installed: list[sa_perf.Instrumentation] = []

    def make(engine: Engine) -> sa_perf.Instrumentation:
        installed.append(sa_perf.install(engine, explain=False))
        return installed[-1]

    yield make
    for perf in installed:
        perf.uninstall()


def listeners() -> int:
    return len(Session().dispatch.do_orm_execute)


def test_this_version_has_the_private_names() -> None:
    assert readable()


@pytest.mark.parametrize("names", ["_EXECUTING", "_COMPILING"])
def test_a_name_that_has_gone_is_noticed(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orm_loads, names, (*getattr(orm_loads, names), "_a_name_of_the_past"))
    assert not readable()


def test_a_lazy_load_has_its_parent_and_its_relationship(library, loads) -> None:
    with Session(library.engine) as session:
        author = session.get_one(Author, 1)
        assert author.books
        (loaded,) = loads
        assert loaded.kind == "lazy_load"
        assert loaded.parent is author._sa_instance_state
        assert loaded.relationship is Author.books.property
        assert loaded.keys is None


def test_deferred_columns_have_their_names(library, loads) -> None:
    with Session(library.engine) as session:
        author = session.get_one(Author, 1)
        assert author.photo
    assert [(one.kind, one.keys) for one in loads] == [("deferred_columns", ("photo", "voice"))]


def test_an_expired_object_is_read_again(library, loads) -> None:
    with Session(library.engine) as session:
        book = session.get_one(Book, 1)
        session.expire(book)
        assert book.title
    assert [(one.kind, one.keys) for one in loads] == [("expired_reload", None)]


def test_a_refresh_is_the_applications(library, loads) -> None:
    with Session(library.engine) as session:
        session.refresh(session.get_one(Book, 1))
    assert [one.kind for one in loads] == ["refresh"]


@pytest.mark.parametrize("kind", ["dynamic", "write_only"])
def test_a_collection_that_is_asked_has_its_relationship(library, loads, kind: str) -> None:
    with Session(library.engine) as session:
        author = session.get_one(Author, 1)
        if kind == "dynamic":
            assert author.letters.all()
        else:
            assert session.scalars(author.awards.select()).all()
    (loaded,) = loads
    wanted = Author.letters if kind == "dynamic" else Author.awards
    assert (loaded.kind, loaded.parent) == ("own_query", None)
    assert loaded.relationship is wanted.property


def test_what_is_for_no_single_object_is_no_load(library, loads) -> None:
    with Session(library.engine) as session:
        author = session.scalars(select(Author).options(selectinload(Author.books))).first()
        session.get_one(Author, 2)
        session.scalars(select(Engineer).options(undefer(Engineer.diploma))).all()
        session.scalars(select(Book).where(Book.author == author)).all()
    assert loads == []


@pytest.mark.parametrize("program", LAZY, ids=lambda one: one.name)
def test_lazy_loads_are_found_by_public_names_too(program: Program, library, unreadable) -> None:
    before = listeners()
    assert not readable()
    found = recorded(library.engine, program.function, scope=program.name)
    wanted = [one for one in expected(program, scoped=True) if one.startswith("n_plus_one")]
    assert [one for one in described(found) if one.startswith("n_plus_one")] == wanted
    assert listeners() == before


@pytest.mark.parametrize("program", SOUND, ids=lambda one: one.name)
def test_nothing_sound_is_found_by_public_names(program: Program, library, unreadable) -> None:
    if program.name == "batches.yield_per_with_an_eager_load" and VERSION < (2, 0, 50):
        pytest.skip("SQLAlchemy before 2.0.50 fails at this with any listener to do_orm_execute")
    assert described(recorded(library.engine, program.function, scope=program.name)) == []


def test_no_session_is_listened_to_where_the_names_are_private(install, library) -> None:
    before = listeners()
    perf = install(library.engine)
    with Session(library.engine) as session:
        assert session.get_one(Author, 1).books
        assert listeners() == before
    perf.uninstall()


def test_the_listener_on_sessions_goes_with_the_installation(install, library, unreadable) -> None:
    before = listeners()
    perf = install(library.engine)
    assert listeners() == before
    with Session(library.engine) as session:
        assert session.get_one(Author, 1).books
        assert listeners() == before + 1
    perf.uninstall()
    assert listeners() == before


def test_the_listener_stays_for_another_installation(
    install, library, unreadable, tmp_path
) -> None:
    other = Library.at(make_url(f"sqlite:///{tmp_path / 'other.db'}"), library.async_url)
    before = listeners()
    perfs = [install(one.engine) for one in (library, other)]
    for one in (library, other):
        with Session(one.engine) as session:
            assert session.get_one(Author, 1).books
    perfs[1].uninstall()
    assert listeners() == before + 1
    with Session(library.engine) as session:
        for author in session.scalars(select(Author)):
            assert author.books
    assert [one.calls for one in perfs[0].snapshot().repeats] == [10]
    perfs[0].uninstall()
    other.engine.dispose()
    assert listeners() == before


def test_writes_have_no_loader_and_are_left_alone(install, library, unreadable) -> None:
    perf = install(library.engine)
    with Session(library.engine) as session:
        session.execute(insert(Note), [{"text": "one"}, {"text": "two"}])
        session.execute(update(Note).where(Note.id < 0).values(text="three"))
        session.execute(delete(Note).where(Note.id < 0))
    health = perf.snapshot().health
    perf.uninstall()
    assert (health.faults, health.last_fault) == (0, None)
