"""The same SELECT again and again in one scope."""

from __future__ import annotations

from n_plus_one.corpus import Fault, program
from n_plus_one.library import Author, Book, Note, Reader
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.orm import Session

SAME = Fault(kind="same_select", remedy="keep the result of the first", needs_scope=True)


@program(SAME)
def same_select(session: Session) -> None:
    for _ in range(10):
        assert session.scalar(select(func.count(Author.id))) == 10


@same_select.mended
def _kept(session: Session) -> None:
    assert session.scalar(select(func.count(Author.id))) == 10


@program(SAME)
def same_select_with_parameters(session: Session) -> None:
    for _ in range(10):
        assert session.scalars(select(Reader).where(Reader.name == "reader 1")).one()


@same_select_with_parameters.mended
def _kept_reader(session: Session) -> None:
    reader = session.scalars(select(Reader).where(Reader.name == "reader 1")).one()
    assert [reader for _ in range(10)]


@program(SAME)
def same_raw_text(session: Session) -> None:
    for _ in range(10):
        session.execute(text("SELECT name FROM author WHERE id = :key"), {"key": 1}).all()


@same_raw_text.mended
def _kept_text(session: Session) -> None:
    session.execute(text("SELECT name FROM author WHERE id = :key"), {"key": 1}).all()


@program(SAME)
def same_row_for_many_sessions(session: Session) -> None:
    for _ in range(10):
        with Session(session.get_bind()) as other:
            assert other.get(Author, 1)


@same_row_for_many_sessions.mended
def _one_session(session: Session) -> None:
    author = session.get(Author, 1)
    assert [session.get(Author, 1) for _ in range(10)] == [author] * 10


@program(SAME)
def same_row_that_nobody_holds(session: Session) -> None:
    """A session forgets objects that the application has let go."""
    for _ in range(10):
        assert session.get(Author, 1)


@same_row_that_nobody_holds.mended
def _held(session: Session) -> None:
    author = session.get(Author, 1)
    assert [session.get(Author, 1) for _ in range(10)] == [author] * 10


@program(
    Fault(
        kind="same_select",
        remedy="keep the result of the first",
        needs_scope=True,
        function="setting",
    )
)
def same_select_behind_a_function(session: Session) -> None:
    for _ in range(10):
        assert setting(session)


@same_select_behind_a_function.mended
def _asked_once(session: Session) -> None:
    assert setting(session)


def setting(session: Session) -> int | None:
    return session.scalar(select(Author.id).where(Author.name == "author 1"))


@program()
def same_select_with_an_insert_between(session: Session) -> None:
    for n in range(10):
        session.execute(insert(Note).values(text=str(n)))
        session.scalar(select(func.count(Note.id)))


@program()
def same_select_with_many_inserts_between(session: Session) -> None:
    for n in range(10):
        session.execute(insert(Note), [{"text": f"{n} {m}"} for m in range(3)])
        session.scalar(select(func.count(Note.id)))


@program()
def same_select_with_a_flush_between(session: Session) -> None:
    for n in range(10):
        session.add_all(Note(text=f"{n} {m}") for m in range(3))
        session.scalar(select(func.count(Note.id)))


@program()
def same_select_with_an_update_between(session: Session) -> None:
    session.add(Note(text="first"))
    for n in range(10):
        session.execute(update(Note).values(text=str(n)))
        session.scalars(select(Note.text)).all()


@program()
def same_select_with_updates_of_many_between(session: Session) -> None:
    notes = [Note(text="first") for _ in range(3)]
    session.add_all(notes)
    for n in range(10):
        for note in notes:
            note.text = str(n)
        session.flush()
        session.scalars(select(Note.text)).all()


@program()
def same_select_with_a_write_as_text_between(session: Session) -> None:
    for n in range(10):
        session.execute(text("UPDATE note SET text = :text"), {"text": str(n)})
        session.scalars(select(Note.text)).all()


@program()
def same_select_with_another_write_as_text_between(session: Session) -> None:
    writes = (
        "/* by hand */ UPDATE note SET text = 'x'",
        "-- by hand\n DELETE FROM note WHERE id < 0",
        "WITH one (n) AS (SELECT 'x') INSERT INTO note (text) SELECT n FROM one",
    )
    for write in (*writes, *writes):
        session.execute(text(write))
        session.scalars(select(Note.text)).all()


@program()
def same_text_to_lock(session: Session) -> None:
    if session.get_bind().dialect.name == "sqlite":
        return
    for clause in ("FOR UPDATE", "FOR NO KEY UPDATE", "FOR SHARE", "FOR KEY SHARE"):
        for _ in range(10):
            session.execute(text(f"SELECT id FROM author WHERE id = 1 {clause}")).all()


@program(SAME)
def same_cte(session: Session) -> None:
    authors = select(Author.id).cte()
    for _ in range(10):
        assert session.scalar(select(func.count()).select_from(authors)) == 10


@same_cte.mended
def _cte_once(session: Session) -> None:
    assert session.scalar(select(func.count()).select_from(select(Author.id).cte())) == 10


@program(SAME)
def same_text_behind_a_comment(session: Session) -> None:
    for _ in range(10):
        session.execute(text("/* authors */ SELECT name FROM author")).all()


@same_text_behind_a_comment.mended
def _commented_once(session: Session) -> None:
    session.execute(text("/* authors */ SELECT name FROM author")).all()


@program()
def same_select_with_other_values(session: Session) -> None:
    for n in range(10):
        session.scalars(select(Book).where(Book.pages > n)).all()


@program()
def same_select_with_other_limits(session: Session) -> None:
    for n in range(1, 11):
        assert session.scalars(select(Book).limit(n)).all()


@program()
def same_select_with_other_lists(session: Session) -> None:
    for n in range(1, 11):
        session.scalars(select(Book).where(Book.id.in_([n, n + 1]))).all()


@program()
def same_select_to_lock(session: Session) -> None:
    for _ in range(10):
        session.scalars(select(Author).where(Author.id == 1).with_for_update()).all()


@program()
def questions_without_a_table(session: Session) -> None:
    for _ in range(10):
        assert session.scalar(select(1)) == 1
        session.execute(text("SELECT 1")).all()


@program()
def same_select_a_few_times(session: Session) -> None:
    for _ in range(4):
        session.scalar(select(func.count(Author.id)))
