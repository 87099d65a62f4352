"""What counts together as one repetition: units, lines, settings, bounds."""

from __future__ import annotations

import contextvars
import gc
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest
from n_plus_one.library import Author, Book, Note, Reader, Sensor
from n_plus_one.recording import Library
from sqlalchemy import Connection, create_engine, insert, make_url, select, text
from sqlalchemy.orm import Session, selectinload

import sa_perf
from sa_perf.queries import over_eager, tally
from sa_perf.queries.n_plus_one import allow_repeats
from sa_perf.queries.repeats import RepeatStats


@pytest.fixture
def install(library, capture: str) -> Iterator[Callable[..., sa_perf.Instrumentation]]:
    """Install sa_perf on the library's engine; what it says of itself is checked in the end."""
    installed: list[sa_perf.Instrumentation] = []

    def make(**settings: object) -> sa_perf.Instrumentation:
        chosen = {"explain": False, "capture": capture, **settings}
        installed.append(sa_perf.install(library.engine, **chosen))
        return installed[-1]

    yield make
    for perf in installed:
        health = perf.snapshot().health
        perf.uninstall()
        assert (health.faults, health.last_fault) == (0, None)


@pytest.fixture
def session(library) -> Iterator[Session]:
    with Session(library.engine) as session:
        yield session


def read_books(session: Session, authors: int = 10) -> None:
    for author in session.scalars(select(Author).order_by(Author.id).limit(authors)):
        assert author.books


def repeats(perf: sa_perf.Instrumentation) -> list[tuple[str, int, int]]:
    """Kind, occurrences and calls of what was found."""
    return sorted((one.kind, one.occurrences, one.calls) for one in perf.snapshot().repeats)


def one_repeat(perf: sa_perf.Instrumentation) -> RepeatStats:
    (found,) = perf.snapshot().repeats
    return found


# Threshold and settings


@pytest.mark.parametrize(("loads", "found"), [(4, []), (5, [("lazy_load", 1, 5)])])
def test_five_from_one_line_are_a_repetition(install, session, loads: int, found) -> None:
    perf = install()
    read_books(session, loads)
    assert repeats(perf) == found


@pytest.mark.parametrize(("threshold", "found"), [(2, 1), (10, 1), (11, 0)])
def test_the_threshold_is_a_setting(install, session, threshold: int, found: int) -> None:
    perf = install(n_plus_one_threshold=threshold)
    read_books(session)
    assert len(repeats(perf)) == found


@pytest.mark.parametrize(("rows", "found"), [(19, 0), (20, 1)])
def test_inserts_are_one_from_four_times_the_threshold_on(
    install, session, rows: int, found: int
) -> None:
    perf = install()
    for n in range(rows):
        session.execute(insert(Note).values(text=str(n)))
    assert len(repeats(perf)) == found


@pytest.mark.parametrize(
    "pattern",
    [
        "Author.books", "Author.*", "*.books", "n_plus_one/*, Author.books", "*test_n_plus_one.py",
        "*test_n_plus_one.py:*", "GET /authors", "GET *", "nothing, GET /a*",
    ],
)  # fmt: skip
def test_what_is_ignored_is_none(install, session, pattern: str) -> None:
    perf = install(n_plus_one_ignore=pattern)
    with sa_perf.scope("GET /authors"):
        read_books(session)
    assert repeats(perf) == []


@pytest.mark.parametrize("pattern", ["Author", "books", "author.books", "Book.author", "POST *"])
def test_what_is_not_ignored_is_found(install, session, pattern: str) -> None:
    perf = install(n_plus_one_ignore=pattern)
    with sa_perf.scope("GET /authors"):
        read_books(session)
    assert len(repeats(perf)) == 1


def test_a_line_is_ignored_by_its_number(install, session) -> None:
    perf = install()
    read_books(session)
    site = one_repeat(perf).call_site
    perf.uninstall()
    perf = install(n_plus_one_ignore=f"{site.file}:{site.line}")
    session.expire_all()
    read_books(session)
    assert "lazy_load" not in [kind for kind, _, _ in repeats(perf)]


def test_a_scope_is_ignored_where_it_is_not_for_all_that_share_its_line(install, session) -> None:
    perf = install(n_plus_one_ignore="nightly *")
    for name in ("nightly report", "GET /authors", "nightly report"):
        with sa_perf.scope(name):
            read_books(session)
        session.expunge_all()
    assert repeats(perf) == [("lazy_load", 1, 10)]
    assert one_repeat(perf).scope == ("GET /authors",)


def test_a_scope_around_is_ignored_too(install, session) -> None:
    perf = install(n_plus_one_ignore="nightly *")
    with sa_perf.scope("nightly report"), sa_perf.scope("one author"):
        read_books(session)
    assert repeats(perf) == []


def test_repeats_that_are_allowed_are_counted_but_no_finding(install, session) -> None:
    perf = install()
    with sa_perf.scope("GET /authors"):
        with allow_repeats():
            read_books(session)
            for n in range(30):
                session.execute(insert(Note).values(text=str(n)))
                session.execute(text("SELECT id FROM author")).all()
        session.execute(text("SELECT id FROM author")).all()
    assert repeats(perf) == []
    assert perf.snapshot().calls == 72


def test_after_the_block_repeats_are_found_again(install, session) -> None:
    perf = install()
    with allow_repeats():
        read_books(session)
    session.expunge_all()
    read_books(session)
    assert repeats(perf) == [("lazy_load", 1, 10)]


def test_nothing_is_looked_for_where_it_is_switched_off(install, session) -> None:
    perf = install(n_plus_one=False)
    with sa_perf.scope("GET /authors"):
        read_books(session)
        for _ in range(30):
            session.execute(insert(Note).values(text="x"))
            session.execute(text("SELECT id FROM author")).all()
    assert repeats(perf) == []
    assert perf.snapshot().calls == 71


# Units


def test_a_transaction_is_a_unit(install, session) -> None:
    perf = install(n_plus_one_threshold=3)
    for _ in range(3):
        read_books(session, 2)
        session.commit()
        session.expunge_all()
    assert repeats(perf) == []


def test_a_transaction_of_a_connection_that_lives_on_is_a_unit(install, library) -> None:
    perf = install()

    def job(connection: Connection, n: int) -> None:
        connection.execute(insert(Note.__table__).values(text=str(n)))

    with library.engine.connect() as connection:
        for n in range(30):
            with connection.begin():
                job(connection, n)
        assert repeats(perf) == []
        with connection.begin():
            for n in range(30):
                job(connection, n)
    assert repeats(perf) == [("single_insert", 1, 30)]


def test_a_connection_that_is_let_go_is_collected(install, library) -> None:
    install()
    gc.disable()
    try:
        connection = library.engine.connect()
        connection.execute(insert(Note.__table__).values(text="x"))
        connection.commit()
        gone = weakref.ref(connection)
        connection.close()
        del connection
        assert gone() is None
    finally:
        gc.enable()


def test_the_outermost_scope_is_the_unit(install, session) -> None:
    perf = install()
    with sa_perf.scope("GET /authors"):
        for author in session.scalars(select(Author)):
            with sa_perf.scope("one author"):
                assert author.books
    assert repeats(perf) == [("lazy_load", 1, 10)]
    assert one_repeat(perf).scope == ("one author", "GET /authors")


def test_it_is_told_of_the_outermost_scope(install, session) -> None:
    perf = install()
    with sa_perf.scope("GET /authors"):
        for author in session.scalars(select(Author)):
            with sa_perf.scope("one author"):
                assert author.books
    (finding,) = perf.snapshot().findings
    assert " in one run of 'GET /authors', at " in finding.message
    assert finding.evidence["scope"] == "one author"


def test_scopes_one_after_another_are_units_of_their_own(install, session) -> None:
    perf = install()
    for author in session.scalars(select(Author)).all():
        with sa_perf.scope("one author"):
            assert author.books
    assert repeats(perf) == []


def test_a_scope_spans_transactions(install, session) -> None:
    perf = install()
    with sa_perf.scope("job"):
        for key in range(1, 11):
            assert session.get_one(Author, key).books
            session.commit()
    assert repeats(perf) == [("lazy_load", 1, 10)]


def test_a_scope_that_has_ended_is_no_unit_any_more(install, library) -> None:
    """A task that was made in a request goes on naming its scope."""
    perf = install()
    with sa_perf.scope("GET /authors"):
        context = contextvars.copy_context()

    def later(key: int) -> None:
        with sa_perf.scope(f"job {key}"), Session(library.engine) as session:
            assert session.get_one(Author, key).books

    for key in range(1, 11):
        context.run(later, key)
    assert repeats(perf) == []


def test_two_lines_are_two_repetitions(install, session) -> None:
    perf = install()
    for author in session.scalars(select(Author)):
        assert author.books
    session.expunge_all()
    for author in session.scalars(select(Author)):
        assert author.books
    assert repeats(perf) == [("lazy_load", 1, 10)] * 2


def test_selects_from_several_lines_are_one_repetition(install, session) -> None:
    perf = install()
    stmt = select(Author.id).where(Author.name == "author 1")
    with sa_perf.scope("GET /"):
        session.execute(stmt).all()
        session.execute(stmt).all()
        session.execute(stmt).all()
        session.execute(stmt).all()
        session.execute(stmt).all()
    assert repeats(perf) == [("same_select", 1, 5)]


def test_a_select_outside_of_scopes_is_never_the_same(install, session) -> None:
    perf = install()
    for _ in range(10):
        session.execute(select(Author.id)).all()
    assert repeats(perf) == []


def test_values_that_cannot_be_hashed_are_let_pass(postgresql_database, capture: str) -> None:
    engine = postgresql_database.engine()
    perf = sa_perf.install(engine, explain=False, capture=capture)
    with sa_perf.scope("GET /"), engine.connect() as connection:
        for _ in range(10):
            stmt = text("SELECT oid FROM pg_class WHERE oid = ANY(:keys)")
            connection.execute(stmt, {"keys": [1, 2]}).all()
    assert (repeats(perf), perf.snapshot().health.faults) == ([], 0)
    perf.uninstall()


# Threads, and many scopes at once


def test_threads_of_one_scope_count_together(install, library) -> None:
    perf = install()

    def work(key: int) -> None:
        with Session(library.engine) as session:
            assert session.get_one(Author, key).books

    with sa_perf.scope("GET /authors"):
        run_in_threads(work, range(1, 9))
    assert repeats(perf) == [("lazy_load", 1, 8)]


def test_threads_with_scopes_of_their_own_count_apart(install, library) -> None:
    perf = install(n_plus_one_threshold=2)

    def work(key: int) -> None:
        with sa_perf.scope("job"), Session(library.engine) as session:
            assert session.get_one(Author, key).books

    run_in_threads(work, range(1, 9))
    assert repeats(perf) == []


def test_thousands_of_open_scopes_are_kept_apart(install, session) -> None:
    perf = install()
    authors = session.scalars(select(Author)).all()
    contexts = [contextvars.copy_context() for _ in range(2_000)]
    scopes = [sa_perf.scope("request") for _ in contexts]
    for scope, context in zip(scopes, contexts, strict=True):
        context.run(scope.__enter__)
    for context in contexts[:20]:
        for author in authors:
            session.expire(author, ["books"])
        context.run(read_all, authors)
    for context in contexts[20:]:
        context.run(session.execute, text("SELECT id FROM author")).close()
    for scope, context in zip(scopes, contexts, strict=True):
        context.run(scope.__exit__, None, None, None)
    assert repeats(perf) == [("lazy_load", 20, 200)]


def read_all(authors: list[Author]) -> None:
    for author in authors:
        assert author.books


def run_in_threads(work: Callable[[int], None], numbers: range) -> None:
    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(work, n)) for n in numbers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_flushes_of_threads_in_one_scope_are_flushes_of_their_own(install, library) -> None:
    perf = install()

    def work(key: int) -> None:
        with Session(library.engine) as session:
            for _ in range(2):
                session.add(Note(text=str(key)))
                session.flush()
            session.rollback()

    with sa_perf.scope("GET /"):
        for key in range(10):
            run_in_threads(work, range(key, key + 1))
    assert repeats(perf) == [("single_insert", 1, 20)]


# Other installations


def test_installations_that_share_a_scope_find_each_its_own(library, tmp_path, capture) -> None:
    other = Library.at(make_url(f"sqlite:///{tmp_path / 'other.db'}"), library.async_url)
    both = [sa_perf.install(one.engine, explain=False, capture=capture) for one in (library, other)]
    with sa_perf.scope("GET /authors"):
        for one in (library, other):
            with Session(one.engine) as session:
                read_books(session)
    assert [repeats(perf) for perf in both] == [[("lazy_load", 1, 10)]] * 2
    for perf in both:
        perf.uninstall()
    other.engine.dispose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_finds_what_it_repeats_though_locks_were_held(tmp_path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'forked.db'}")
    Library.at(engine.url, engine.url).engine.dispose()
    perf = sa_perf.install(engine, explain=False, over_eager=True)
    watch = engine.dialect._sa_perf.recorder.watch
    with watch._flushes._lock, watch.loads._lock, over_eager._lock[0]:
        child = os.fork()
    if not child:
        with sa_perf.scope("job"), Session(engine) as session:
            read_books(session)
            session.scalars(select(Author).options(selectinload(Author.books))).all()
            session.add(Note(text="x"))
            session.flush()
        found = repeats(perf), len(perf.snapshot().eager_loads)
        os._exit(found != ([("lazy_load", 1, 10)], 1))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    perf.uninstall()
    engine.dispose()


# Bounds


def test_selects_that_come_once_make_room_for_lazy_loads(install, session, monkeypatch) -> None:
    monkeypatch.setattr(tally, "_MAX_SELECTS", 50)
    perf = install()
    with sa_perf.scope("import"):
        for n in range(500):
            session.execute(text("SELECT id FROM author WHERE id = :key"), {"key": n}).all()
        read_books(session)
        for _ in range(5):
            session.execute(text("SELECT id FROM book")).all()
        unit = sa_perf.queries.scopes.current_scope().unit
        assert len(unit.selects) <= 50
    assert repeats(perf) == [("lazy_load", 1, 10), ("same_select", 1, 5)]


def test_selects_that_come_again_are_kept_when_there_is_no_room(
    install, session, monkeypatch
) -> None:
    monkeypatch.setattr(tally, "_MAX_SELECTS", 50)
    perf = install()
    with sa_perf.scope("import"):
        for n in range(300):
            session.execute(text("SELECT id FROM author WHERE id = :key"), {"key": n}).all()
            if n % 20 == 0:
                session.execute(text("SELECT id FROM book")).all()
    assert repeats(perf) == [("same_select", 1, 15)]


def test_a_unit_holds_so_many_lines(install, session, monkeypatch) -> None:
    monkeypatch.setattr(tally, "_MAX_TALLIES", 1)
    perf = install()
    for reader in session.scalars(select(Reader)):
        assert reader.reviews
    read_books(session)
    assert [one.attribute for one in perf.snapshot().repeats] == ["reviews"]


def test_a_unit_goes_with_its_scope(install, session) -> None:
    install()
    with sa_perf.scope("GET /"):
        read_books(session)
        unit = sa_perf.queries.scopes.current_scope().unit
        kept = sys.getrefcount(unit)
        assert kept < 20
        tallies = list(unit.tallies.values())
    assert len(tallies) == 1
    assert len(tallies[0].parents) == 10


def test_no_object_of_the_application_is_kept(install, session) -> None:
    install()
    with sa_perf.scope("GET /"):
        read_books(session)
        session.expunge_all()
        gone = weakref.ref(session.get_one(Author, 1))
        gc.collect()
        assert gone() is None


# What is told


def test_the_figures_add_up(install, session) -> None:
    perf = install()
    for limit in (10, 7, 4):
        with sa_perf.scope("GET /authors"):
            read_books(session, limit)
        session.expunge_all()
    found = one_repeat(perf)
    (query,) = [one for one in perf.snapshot().queries if one.fingerprint == found.fingerprint]
    assert (found.occurrences, found.calls, found.max_calls) == (2, 17, 10)
    assert found.max_parents == 10
    assert query.calls == 21
    assert 0 < found.wasted_seconds < found.total_seconds < query.total_seconds
    share = found.wasted_seconds / found.total_seconds
    assert share == pytest.approx(15 / 17)


def test_parents_are_counted_once_though_they_load_again(install, session) -> None:
    perf = install()
    author = session.get_one(Author, 1)
    for _ in range(10):
        session.expire(author, ["books"])
        assert author.books
    assert (one_repeat(perf).max_calls, one_repeat(perf).max_parents) == (10, 1)


def test_a_finding_says_what_where_and_how_it_ends(install, session) -> None:
    perf = install()
    with sa_perf.scope("GET /authors"):
        read_books(session)
    (finding,) = perf.snapshot().findings
    assert finding.kind == "n_plus_one"
    assert finding.severity == "warning"
    assert finding.message.startswith(
        "Author.books is loaded one by one: 10 SELECTs in one run of 'GET /authors', at "
    )
    assert finding.message.endswith(" in read_books")
    assert finding.remedy == "select(Author).options(selectinload(Author.books))"
    assert finding.place == "relationship Author.books"
    assert finding.evidence["parents"] == 10


def test_a_hundred_of_them_are_critical(install, session) -> None:
    perf = install()
    for sensor in session.scalars(select(Sensor).limit(100)):
        assert sensor.readings
    (finding,) = perf.snapshot().findings
    assert finding.severity == "critical"
    assert "100 SELECTs in one transaction, at " in finding.message


def test_no_value_of_the_application_is_told(install, session) -> None:
    perf = install()
    with sa_perf.scope("GET /"):
        for _ in range(10):
            stmt = text("SELECT id FROM author WHERE name = :name")
            session.execute(stmt, {"name": "secret"}).all()
    assert "secret" not in perf.snapshot().to_json()


def test_a_repetition_survives_the_json_form(install, session) -> None:
    perf = install()
    with sa_perf.scope("GET /"):
        read_books(session)
        for _ in range(5):
            session.execute(text("SELECT id FROM author")).all()
        for book in session.scalars(select(Book)):
            session.expire(book)
            assert book.title
    snapshot = perf.snapshot()
    again = sa_perf.Snapshot.from_json(snapshot.to_json())
    assert {one.kind for one in again.repeats} == {"lazy_load", "same_select", "expired_reload"}
    assert again.repeats == snapshot.repeats
    assert again.findings == snapshot.findings


def test_all_is_forgotten_when_it_is_reset(install, session) -> None:
    perf = install()
    with sa_perf.scope("GET /"):
        read_books(session)
        perf.snapshot()
        perf.reset()
        assert repeats(perf) == []
        session.expunge_all()
    with sa_perf.scope("GET /"):
        read_books(session)
    assert repeats(perf) == [("lazy_load", 1, 10)]


def test_nothing_is_left_on_sessions(install, session) -> None:
    before = len(session.dispatch.before_flush), len(session.dispatch.do_orm_execute)
    perf = install()
    session.add(Note(text="x"))
    session.flush()
    assert len(session.dispatch.before_flush) == before[0] + 1
    perf.uninstall()
    after = len(session.dispatch.before_flush), len(session.dispatch.do_orm_execute)
    assert after == before
