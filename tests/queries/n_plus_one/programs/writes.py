"""Rows that are inserted one by one, and at once."""

from __future__ import annotations

from n_plus_one.corpus import Fault, program
from n_plus_one.library import Note, Tag
from sqlalchemy import insert, literal, select, text
from sqlalchemy.orm import Session

MANY = 30
ONE_BY_ONE = Fault(
    kind="single_inserts", remedy="collect the rows and send them at once", times=MANY
)


@program(ONE_BY_ONE)
def a_flush_for_each(session: Session) -> None:
    for n in range(MANY):
        session.add(Note(text=str(n)))
        session.flush()


@a_flush_for_each.mended
def _one_flush(session: Session) -> None:
    session.add_all(Note(text=str(n)) for n in range(MANY))
    session.flush()


@program(
    Fault(
        kind="single_inserts",
        remedy="collect the rows and send them at once",
        times=MANY,
        needs_scope=True,
    )
)
def a_commit_for_each(session: Session) -> None:
    for n in range(MANY):
        session.add(Note(text=str(n)))
        session.commit()


@a_commit_for_each.mended
def _one_commit(session: Session) -> None:
    session.add_all(Note(text=str(n)) for n in range(MANY))
    session.commit()


@program(ONE_BY_ONE)
def a_core_statement_for_each(session: Session) -> None:
    for n in range(MANY):
        session.execute(insert(Note.__table__).values(text=str(n)))


@a_core_statement_for_each.mended
def _one_statement(session: Session) -> None:
    session.execute(insert(Note.__table__), [{"text": str(n)} for n in range(MANY)])


@program(ONE_BY_ONE)
def an_orm_statement_for_each(session: Session) -> None:
    for n in range(MANY):
        session.execute(insert(Note), {"text": str(n)})


@an_orm_statement_for_each.mended
def _one_orm_statement(session: Session) -> None:
    session.execute(insert(Note), [{"text": str(n)} for n in range(MANY)])


@program(ONE_BY_ONE)
def a_text_for_each(session: Session) -> None:
    for n in range(MANY):
        session.execute(text("INSERT INTO note (text) VALUES (:text)"), {"text": str(n)})


@a_text_for_each.mended
def _one_text(session: Session) -> None:
    rows = [{"text": str(n)} for n in range(MANY)]
    session.execute(text("INSERT INTO note (text) VALUES (:text)"), rows)


@program(ONE_BY_ONE)
def one_with_its_key_for_each(session: Session) -> None:
    for n in range(MANY):
        assert session.scalar(insert(Note).values(text=str(n)).returning(Note.id))


@one_with_its_key_for_each.mended
def _keys_at_once(session: Session) -> None:
    rows = [{"text": str(n)} for n in range(MANY)]
    assert len(session.scalars(insert(Note).returning(Note.id), rows).all()) == MANY


@program()
def add_all_and_one_flush(session: Session) -> None:
    session.add_all(Note(text=str(n)) for n in range(100))
    session.flush()


@program()
def one_flush_of_parents_and_children(session: Session) -> None:
    session.add_all(Note(text=str(n), tags=[Tag(), Tag()]) for n in range(100))
    session.commit()


@program()
def one_flush_of_rows_that_differ(session: Session) -> None:
    """One column or none: no two neighbours make one statement."""
    session.add_all(Note(text=str(n)) if n % 2 else Note() for n in range(100))
    session.flush()


@program()
def a_list_of_rows(session: Session) -> None:
    session.execute(insert(Note), [{"text": str(n)} for n in range(100)])


@program()
def bulk_save_objects(session: Session) -> None:
    session.bulk_save_objects([Note(text=str(n)) for n in range(100)])


@program()
def insertmanyvalues_in_batches(session: Session) -> None:
    for _ in range(25):
        rows = [{"text": str(n)} for n in range(40)]
        assert session.scalars(insert(Note).returning(Note.id), rows).all()


@program()
def executemany_in_batches(session: Session) -> None:
    for _ in range(25):
        session.execute(insert(Note.__table__), [{"text": str(n)} for n in range(40)])


@program()
def rows_in_the_statement_in_batches(session: Session) -> None:
    for _ in range(25):
        session.execute(insert(Note).values([{"text": str(n)} for n in range(40)]))


@program()
def rows_in_the_text_in_batches(session: Session) -> None:
    for n in range(25):
        values = {"one": str(n), "two": str(n)}
        session.execute(text("INSERT INTO note (text) VALUES (:one), (:two)"), values)


@program()
def flushes_of_many_each(session: Session) -> None:
    for n in range(25):
        session.add_all(Note(text=f"{n} {m}") for m in range(40))
        session.flush()


@program()
def insert_from_select(session: Session) -> None:
    for n in range(25):
        rows = select(literal(f"copy {n}")).where(literal(1) == 1)
        more = rows.union_all(rows)
        session.execute(insert(Note).from_select(["text"], more))


@program()
def a_few_of_any_request(session: Session) -> None:
    for n in range(10):
        session.add(Note(text=str(n)))
        session.flush()
