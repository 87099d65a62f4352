"""What refers to expired rows goes before them, keeps them, or loses its reference."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from retention_world import NOW, SMALL, ago, fill, ids, make, values
from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
    event,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from sa_perf.errors import InvalidPolicy
from sa_perf.retention import execution
from sa_perf.retention.audit import batches_of, history
from sa_perf.retention.children import children_of, walk_down
from sa_perf.retention.holds import place
from sa_perf.retention.policy import RetentionPolicy, declare
from sa_perf.retention.results import Hooks
from sa_perf.retention.runner import run


class Shop:
    """Orders, their lines, and the notes on lines."""

    def __init__(
        self, *, line: str | None = None, note: str | None = None, nullable: bool = True
    ) -> None:
        self.metadata = MetaData()
        self.order = Table(
            "orders",
            self.metadata,
            Column("id", Integer, primary_key=True),
            Column("at", DateTime, nullable=False),
        )
        self.line = Table(
            "line",
            self.metadata,
            Column("id", Integer, primary_key=True),
            Column("at", DateTime),
            Column(
                "order_id", ForeignKey("orders.id", ondelete=line), index=True, nullable=nullable
            ),
        )
        self.note = Table(
            "note",
            self.metadata,
            Column("id", Integer, primary_key=True),
            Column("line_id", ForeignKey("line.id", ondelete=note), index=True),
        )

    def declare(self, **options: Any) -> None:
        declare(self.order, RetentionPolicy(days=30, by="at", batch=SMALL, **options))

    def fill(self, engine: Engine, *, orders: int = 8, lines: int = 2) -> None:
        """Orders of 38 days downwards, each with some lines, each with a note."""
        make(engine, self.metadata)
        numbers = range(1, orders + 1)
        fill(engine, self.order, *({"id": at, "at": ago(39 - at * 2)} for at in numbers))
        rows = [(at, line) for at in numbers for line in range(lines)]
        for number, (at, _) in enumerate(rows, 1):
            fill(engine, self.line, {"id": number, "order_id": at, "at": ago(1)})
            fill(engine, self.note, {"id": number, "line_id": number})


def _enforced(engine: Engine) -> None:
    """Have SQLite watch foreign keys, as the other databases do."""
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def connect(connection: Any, _: object) -> None:
            connection.execute("PRAGMA foreign_keys = ON")

        with engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA foreign_keys = ON")


# By action; orders 1 to 4 are older than 30 days, 5 to 8 are not.


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("rules", [(None, None), ("CASCADE", "CASCADE")])
def test_children_and_theirs_go_first(
    shared_engine: Engine, rules: tuple[str | None, str | None], watched: bool
) -> None:
    shop = Shop(line=rules[0], note=rules[1])
    shop.declare(on_children="delete_first")
    if watched:
        _enforced(shared_engine)
    shop.fill(shared_engine)
    (policy,) = run(shared_engine, shop.metadata, at=NOW).policies
    assert (policy.outcome, policy.reason) == ("done", None)
    assert ids(shared_engine, shop.order) == [5, 6, 7, 8]
    assert ids(shared_engine, shop.line) == ids(shared_engine, shop.note) == list(range(9, 17))
    assert (policy.rows_changed, policy.children_changed) == (4, 16)


@pytest.mark.parametrize("watched", [True, False])
def test_the_database_deletes_children_along(shared_engine: Engine, watched: bool) -> None:
    shop = Shop(line="CASCADE", note="CASCADE")
    shop.declare(on_children="cascade")
    if watched:
        _enforced(shared_engine)
    shop.fill(shared_engine)
    (policy,) = run(shared_engine, shop.metadata, at=NOW).policies
    assert ids(shared_engine, shop.order) == [5, 6, 7, 8]
    assert ids(shared_engine, shop.line) == ids(shared_engine, shop.note) == list(range(9, 17))
    assert (policy.rows_changed, policy.children_changed) == (4, 16)
    (record,) = history(shared_engine)
    changed: dict[str, int] = {}
    for batch in batches_of(shared_engine, record.id):
        changed[batch.table_name] = changed.get(batch.table_name, 0) + batch.rows_changed
    assert changed == {"orders": 4, "line": 8, "note": 8}


def test_rows_with_children_stay(shared_engine: Engine) -> None:
    shop = Shop()
    shop.declare(on_children="restrict")
    shop.fill(shared_engine)
    with shared_engine.begin() as connection:
        connection.execute(shop.note.delete().where(shop.note.c.line_id.in_([1, 2])))
        connection.execute(shop.line.delete().where(shop.line.c.order_id == 1))
    assert run(shared_engine, shop.metadata, at=NOW).rows_changed == 1
    assert ids(shared_engine, shop.order) == [2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("word", ["delete_first", "cascade"])
def test_a_grandchild_that_restricts_keeps_all_above_it(shared_engine: Engine, word: str) -> None:
    shop = Shop(line="CASCADE")
    shop.declare(on_children={"line": word, "note": "restrict"})
    shop.fill(shared_engine)
    with shared_engine.begin() as connection:
        connection.execute(shop.note.delete().where(shop.note.c.line_id.in_([1, 2, 3])))
    (policy,) = run(shared_engine, shop.metadata, at=NOW).policies
    assert policy.outcome == "done"
    assert ids(shared_engine, shop.order) == [2, 3, 4, 5, 6, 7, 8]
    assert ids(shared_engine, shop.line) == list(range(3, 17))


def test_children_lose_their_reference(shared_engine: Engine) -> None:
    shop = Shop()
    shop.declare(on_children="detach")
    _enforced(shared_engine)
    shop.fill(shared_engine)
    (policy,) = run(shared_engine, shop.metadata, at=NOW).policies
    assert policy.children_changed == 8
    assert ids(shared_engine, shop.line) == list(range(1, 17))
    detached = values(shared_engine, shop.line.c.order_id)
    assert detached == [None] * 8 + [5, 5, 6, 6, 7, 7, 8, 8]


def test_a_cascade_above_what_we_must_detach_is_done_by_us(shared_engine: Engine) -> None:
    shop = Shop(line="CASCADE")
    shop.declare(on_children={"line": "cascade", "note": "detach"})
    _enforced(shared_engine)
    shop.fill(shared_engine)
    (policy,) = run(shared_engine, shop.metadata, at=NOW).policies
    assert (policy.outcome, policy.rows_changed) == ("done", 4)
    assert ids(shared_engine, shop.line) == list(range(9, 17))
    assert values(shared_engine, shop.note.c.line_id) == [None] * 8 + list(range(9, 17))


def test_a_mapping_says_it_for_each_table(shared_engine: Engine) -> None:
    shop = Shop()
    mark = Table(
        "mark",
        shop.metadata,
        Column("id", Integer, primary_key=True),
        Column("order_id", ForeignKey("orders.id")),
    )
    shop.declare(on_children={"line": "delete_first", "note": "delete_first", "mark": "restrict"})
    shop.fill(shared_engine)
    fill(shared_engine, mark, {"id": 1, "order_id": 2})
    assert run(shared_engine, shop.metadata, at=NOW).rows_changed == 3
    assert ids(shared_engine, shop.order) == [2, 5, 6, 7, 8]
    assert ids(shared_engine, shop.line)[:2] == [3, 4]


def test_children_by_a_key_of_several_columns_go_too(shared_engine: Engine) -> None:
    metadata = MetaData()
    order = Table(
        "orders",
        metadata,
        Column("tenant", String(10), primary_key=True),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False),
    )
    line = Table(
        "line",
        metadata,
        Column("tenant", String(10), primary_key=True),
        Column("order_id", Integer, primary_key=True),
        Column("number", Integer, primary_key=True),
        ForeignKeyConstraint(["tenant", "order_id"], ["orders.tenant", "orders.id"]),
    )
    declare(order, RetentionPolicy(days=30, by="at", on_children="delete_first", batch=SMALL))
    _enforced(shared_engine)
    make(shared_engine, metadata)
    for tenant, id_, age in (("a", 1, 40), ("a", 2, 20), ("b", 1, 20), ("b", 2, 40)):
        fill(shared_engine, order, {"tenant": tenant, "id": id_, "at": ago(age)})
        for number in range(4):
            fill(shared_engine, line, {"tenant": tenant, "order_id": id_, "number": number})
    assert run(shared_engine, order, at=NOW).policies[0].children_changed == 8
    assert values(shared_engine, order.c.tenant) == ["a", "b"]
    assert values(shared_engine, line.c.order_id) == [2] * 4 + [1] * 4


# Trees


def _tree(how: str, *, rule: str | None = None) -> Table:
    node = Table(
        "node",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("parent_id", ForeignKey("node.id", ondelete=rule), index=True),
        Column("at", DateTime, nullable=False),
    )
    declare(node, RetentionPolicy(days=30, by="at", on_children=how, batch=SMALL))
    return node


def _plant(engine: Engine, node: Table) -> None:
    make(engine, node.metadata)
    for id_, parent, age in ((1, None, 40), (2, 1, 40), (3, 1, 20), (4, 2, 40), (5, None, 40)):
        fill(engine, node, {"id": id_, "parent_id": parent, "at": ago(age)})


def test_a_row_of_a_tree_stays_while_it_has_children(shared_engine: Engine) -> None:
    node = _tree("restrict")
    _plant(shared_engine, node)
    (policy,) = run(shared_engine, node, at=NOW).policies
    assert (policy.outcome, policy.rows_changed) == ("done", 3)
    assert ids(shared_engine, node) == [1, 3]


def test_a_chain_goes_from_its_end_in_one_run(shared_engine: Engine) -> None:
    node = _tree("restrict")
    make(shared_engine, node.metadata)
    for at in range(1, 7):
        fill(shared_engine, node, {"id": at, "parent_id": at - 1 or None, "at": ago(50 - at)})
    place(shared_engine, node, 1, reason="a case")
    (policy,) = run(shared_engine, node, at=NOW).policies
    assert (policy.outcome, policy.rows_changed) == ("done", 5)
    assert ids(shared_engine, node) == [1]


def test_a_chain_that_is_too_long_for_one_run_is_no_more_said_to_be_done(
    shared_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_ROUNDS", 2)
    node = _tree("restrict")
    make(shared_engine, node.metadata)
    for at in range(1, 8):
        fill(shared_engine, node, {"id": at, "parent_id": at - 1 or None, "at": ago(40)})
    runs = []
    while not runs or runs[-1].outcome == "limited":
        runs.append(run(shared_engine, node, at=NOW, sleep=lambda _: None).policies[0])
    assert len(runs) > 1
    assert "still set others free" in str(runs[0].reason)
    assert (runs[-1].outcome, ids(shared_engine, node)) == ("done", [])


def test_children_in_a_tree_are_detached(shared_engine: Engine) -> None:
    node = _tree("detach")
    _enforced(shared_engine)
    _plant(shared_engine, node)
    assert run(shared_engine, node, at=NOW).policies[0].outcome == "done"
    assert ids(shared_engine, node) == [3]
    assert values(shared_engine, node.c.parent_id) == [None]


@pytest.mark.parametrize("how", ["cascade", "delete_first"])
def test_a_tree_is_not_deleted_downwards(how: str) -> None:
    node = _tree(how, rule="CASCADE")
    policy = RetentionPolicy(days=30, by="at", on_children=how)
    with pytest.raises(InvalidPolicy, match="refers to 'node' in a circle"):
        children_of("node", policy, node)


def test_a_circle_of_tables_is_refused() -> None:
    metadata = MetaData()
    one = Table(
        "one",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("two_id", ForeignKey("two.id")),
    )
    Table(
        "two",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("one_id", ForeignKey("one.id")),
    )
    policy = RetentionPolicy(days=30, by="at", on_children="delete_first")
    with pytest.raises(InvalidPolicy, match="in a circle"):
        children_of("one", policy, one)
    detached = RetentionPolicy(
        days=30, by="at", on_children={"two": "delete_first", "one": "detach"}
    )
    assert [(child.table.name, child.how) for child in walk_down(children_of("1", detached, one))]


# What a policy must say


def _faults(shop: Shop, **options: Any) -> tuple[str, ...]:
    policy = RetentionPolicy(days=30, by="at", **options)
    with pytest.raises(InvalidPolicy) as caught:
        children_of("orders", policy, shop.order)
    return caught.value.problems


def test_what_becomes_of_children_is_to_be_said() -> None:
    (fault,) = _faults(Shop())
    assert fault.startswith("policy 'orders': 'line' refers to 'orders'; say what becomes")


def test_each_child_of_which_nothing_is_said_is_named() -> None:
    (fault,) = _faults(Shop(), on_children={"line": "delete_first"})
    assert "'note' refers to 'line'" in fault


def test_a_cascade_that_the_database_does_not_have_is_refused() -> None:
    fault = _faults(Shop(), on_children="cascade")[0]
    assert "no ON DELETE CASCADE" in fault


def test_a_reference_that_cannot_be_null_is_not_detached() -> None:
    (fault,) = _faults(Shop(nullable=False), on_children="detach")
    assert "sets order_id of 'line' to NULL, which it cannot be" in fault


def test_a_table_that_does_not_refer_is_not_to_be_named() -> None:
    (fault,) = _faults(Shop(), on_children={"line": "restrict", "lines": "restrict"})
    assert fault.endswith("'lines', which does not refer to its table; tables that do: line")


def test_rows_that_stay_need_no_word_on_children() -> None:
    policy = RetentionPolicy(days=30, by="at", action="anonymise", anonymise={"at": None})
    assert children_of("orders", policy, Shop().order) == ()


# While it runs


def test_a_parent_with_many_children_is_no_long_transaction(shared_engine: Engine) -> None:
    shop = Shop()
    shop.declare(on_children="delete_first")
    shop.fill(shared_engine, orders=1, lines=0)
    for at in range(1, 41):
        fill(shared_engine, shop.line, {"id": at, "order_id": 1})
    assert run(shared_engine, shop.metadata, at=NOW).ok
    (record,) = history(shared_engine)
    sizes = [
        batch.rows_changed
        for batch in batches_of(shared_engine, record.id)
        if batch.table_name == "line"
    ]
    assert sum(sizes) == 40
    assert max(sizes) <= SMALL.max_rows


def test_a_run_is_stopped_between_the_children_of_a_row(shared_engine: Engine) -> None:
    shop = Shop()
    shop.declare(on_children="delete_first")
    shop.fill(shared_engine, orders=1, lines=0)
    for at in range(1, 41):
        fill(shared_engine, shop.line, {"id": at, "order_id": 1})
    stop = threading.Event()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        stop.set()

    (policy,) = run(shared_engine, shop.metadata, at=NOW, stop=stop, sleep=sleep).policies
    if slept:  # where there is one writer, it makes way between transactions
        assert policy.outcome == "stopped"
        assert 0 < len(ids(shared_engine, shop.line)) < 40
        assert ids(shared_engine, shop.order) == [1]
        assert run(shared_engine, shop.metadata, at=NOW).ok
    assert ids(shared_engine, shop.line) == ids(shared_engine, shop.order) == []


def test_a_child_that_comes_in_between_does_not_become_an_orphan(shared_engine: Engine) -> None:
    shop = Shop()
    shop.declare(on_children="delete_first")
    _enforced(shared_engine)
    shop.fill(shared_engine, orders=4)
    late = iter(range(100, 110))

    def insert(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("DELETE FROM line") and (number := next(late, None)) is not None:
            pending.append(number)

    pending: list[int] = []
    event.listen(shared_engine, "after_cursor_execute", insert)

    def before(_: str, __: int) -> None:
        while pending:
            fill(shared_engine, shop.line, {"id": pending.pop(), "order_id": 4})

    (policy,) = run(shared_engine, shop.metadata, at=NOW, hooks=Hooks(before_batch=before)).policies
    event.remove(shared_engine, "after_cursor_execute", insert)
    assert policy.outcome == "done"
    left = set(values(shared_engine, shop.line.c.order_id))
    assert left <= set(ids(shared_engine, shop.order))


def test_a_parent_that_became_young_keeps_its_children(shared_engine: Engine) -> None:
    shop = Shop()
    shop.declare(on_children="delete_first")
    shop.fill(shared_engine, orders=2, lines=8)

    touched = _after_first_delete_of_lines(
        shared_engine,
        lambda connection: connection.execute(
            shop.order.update().where(shop.order.c.id == 1).values(at=ago(0))
        ),
    )
    assert run(shared_engine, shop.metadata, at=NOW).ok
    assert touched == [True]
    assert ids(shared_engine, shop.order) == [1]
    assert len(ids(shared_engine, shop.line)) >= 3


def _after_first_delete_of_lines(engine: Engine, function: Callable[[Any], object]) -> list[bool]:
    """Do something in the transaction that first deletes lines: as if by a trigger."""
    done: list[bool] = []

    @event.listens_for(engine, "after_cursor_execute")
    def once(connection: Any, _: object, statement: str, *__: object) -> None:
        if statement.startswith("DELETE FROM line") and not done:
            done.append(True)
            function(connection)

    return done


def test_a_child_under_hold_keeps_its_parent(shared_engine: Engine) -> None:
    shop = Shop(line="CASCADE", note="CASCADE")
    shop.declare(on_children="delete_first")
    shop.fill(shared_engine)
    place(shared_engine, shop.note, 3, reason="a case")
    assert run(shared_engine, shop.metadata, at=NOW).rows_changed == 3
    assert ids(shared_engine, shop.order) == [2, 5, 6, 7, 8]
    assert {3, 4} <= set(ids(shared_engine, shop.line))


def test_cascades_of_the_orm_are_not_followed(shared_engine: Engine) -> None:
    class Base(DeclarativeBase):
        pass

    class Order(Base):
        __tablename__ = "orders"
        __retention__ = RetentionPolicy(days=30, by="at", on_children="restrict")
        id: Mapped[int] = mapped_column(primary_key=True)
        at: Mapped[Any] = mapped_column(DateTime)
        lines: Mapped[list[Line]] = relationship(cascade="all, delete-orphan")

    class Line(Base):
        __tablename__ = "line"
        id: Mapped[int] = mapped_column(primary_key=True)
        order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))

    make(shared_engine, Base.metadata)
    order, line = Base.metadata.tables["orders"], Base.metadata.tables["line"]
    fill(shared_engine, order, {"id": 1, "at": ago(40)}, {"id": 2, "at": ago(40)})
    fill(shared_engine, line, {"id": 1, "order_id": 1})
    run(shared_engine, Base, at=NOW)
    assert ids(shared_engine, order) == [1]
    assert ids(shared_engine, line) == [1]
