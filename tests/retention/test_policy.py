"""Policies are validated all at once, and said where models are."""

from __future__ import annotations

import gc
import pickle
import weakref
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from retention_world import NOW, ago, fill, ids, make
from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    Engine,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    and_,
    exists,
    func,
    select,
    true,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    column_property,
    configure_mappers,
    declared_attr,
    mapped_column,
    relationship,
)

from sa_perf.errors import InvalidPolicy, RetentionError
from sa_perf.retention import policy as room
from sa_perf.retention.planner import plan
from sa_perf.retention.policy import (
    BatchLimits,
    Declared,
    RetentionPolicy,
    declare,
    declared_in,
    retain,
)
from sa_perf.retention.reading import read
from sa_perf.retention.runner import policies_of, run


def _problems(**options: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidPolicy) as caught:
        RetentionPolicy(**{"by": "at", "days": 30, **options})
    return caught.value.problems


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"after": timedelta(1)}, "give either after=timedelta(...) or days=..., and not both"),
        ({"days": None}, "give either after=timedelta(...) or days=..., and not both"),
        ({"days": "30"}, "days is '30'; it is a number"),
        ({"days": True}, "days is True; it is a number"),
        ({"days": None, "after": 30}, "after is 30; it is a timedelta"),
        ({"days": -1}, "the age is -1 days; it is between 0 and 500 years"),
        ({"days": float("nan")}, "the age is nan days; it is between 0 and 500 years"),
        ({"days": 1e12}, "the age is 1000000000000.0 days; it is between 0 and 500 years"),
        ({"days": 0}, "an age of 0 without where= would take every row; give an age, or say"),
        ({"keep_last": 0}, "keep_last is 0; it is a whole number, at least 1"),
        ({"keep_last": 1.5}, "keep_last is 1.5; it is a whole number, at least 1"),
        ({"keep_last": 1, "per": "kind"}, "per is 'kind'; it is a sequence of names: per=('kind'"),
        ({"per": ("kind",)}, "per= groups the rows of keep_last=, which is not given"),
        ({"action": "drop"}, "action is 'drop'; it is one of delete, archive, anonymise, soft_del"),
        ({"action": "archive"}, "action='archive' needs archive=..."),
        ({"action": "anonymise"}, "action='anonymise' needs anonymise=..."),
        ({"soft_delete": "gone_at"}, "soft_delete= is given, but action is 'delete'"),
        ({"on_children": "drop"}, "on_children is 'drop'; it is one of cascade, restrict, detach,"),
        ({"on_children": {"a": "drop"}}, "on_children is 'drop'; it is one of cascade, restrict,"),
        ({"nulls": "drop"}, "nulls is 'drop'; it is 'keep' or 'expire'"),
        ({"epoch": "minutes"}, "epoch is 'minutes'; it is 'seconds' or 'milliseconds'"),
        ({"timezone": "Mars/Base"}, "timezone is 'Mars/Base', which is no zone of the IANA datab"),
        ({"order": "random"}, "order is 'random'; it is one of auto, time, key"),
        ({"name": ""}, "name is ''; it is a text of 1 to 200 characters"),
        ({"name": "x" * 201}, f"name is '{'x' * 201}'; it is a text of 1 to 200 characters"),
        ({"batch": 100}, "batch is 100; it is BatchLimits(...)"),
    ],
)
def test_what_no_model_could_make_right_is_refused(options: dict[str, Any], fault: str) -> None:
    (problem,) = _problems(**options)
    assert problem.startswith(fault)


def test_all_faults_of_a_policy_are_named_at_once() -> None:
    assert len(_problems(days=-1, action="drop", nulls="x", timezone="y", keep_last=0)) == 5


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"target_seconds": 0}, "target_seconds is 0; allowed is 0.001 to 60"),
        ({"pause_ratio": -1}, "pause_ratio is -1; allowed is 0 to 100"),
        ({"min_rows": 10, "first_rows": 5}, "min_rows, first_rows, max_rows are 10, 5, 500000"),
        ({"lock_seconds": 0}, "lock_seconds is 0; allowed is up to 15"),
        ({"retries": -1}, "retries is -1; allowed is 0 to 1,000"),
    ],
)
def test_limits_that_cannot_work_are_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidPolicy) as caught:
        BatchLimits(**options)
    assert caught.value.problems[0].startswith(fault)


# Against a table


def _event(*columns: Column[Any]) -> Table:
    return Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False),
        Column("seen_at", DateTime(timezone=True)),
        Column("day", Date, nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("kind", String(20), nullable=False),
        Column("gone_at", DateTime),
        *columns,
    )


OTHER = Table("other", MetaData(), Column("id", Integer, primary_key=True), Column("on", Integer))


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"by": "when"}, "by='when' names 'when', which is no column of 'event'; columns are: id,"),
        ({"by": 5}, "by is 5; give a column's name, a path, or a SQL expression"),
        ({"by": "order.at"}, "by='order.at' goes over 'order', which is no relationship; relation"),
        ({"by": lambda columns: columns.when}, "by cannot be read: AttributeError: when"),
        ({"by": "kind"}, "by is String(length=20); a moment is a DateTime, a Date or a number"),
        ({"by": "number"}, "by is a number; say what it counts: epoch='seconds' or 'milliseconds"),
        ({"epoch": "seconds"}, "epoch='seconds' is for numbers, but by is DateTime()"),
        ({"by": "seen_at"}, "the moment may be NULL; say what becomes of such rows: nulls='keep'"),
        (
            {"by": "seen_at", "nulls": "keep", "timezone": "Europe/Berlin"},
            "timezone='Europe/Berlin' is for columns without a zone, but by has one",
        ),
        (
            {"by": lambda c: func.coalesce(c.seen_at, c.at), "nulls": "keep"},
            "by mixes moments with a zone and without; use columns of one kind",
        ),
        ({"by": lambda c: OTHER.c.on, "nulls": "keep"}, "by reads 'other', which is not the table"),
        ({"where": lambda c: c.nothing}, "where cannot be read: AttributeError: nothing"),
        ({"where": lambda c: True}, "where gives True, which is no SQL condition"),
        ({"where": "kind = 'x'"}, "where gives \"kind = 'x'\", which is no SQL condition"),
        ({"where": lambda c: OTHER.c.on == 1}, "where refers to 'other', which is not the policy'"),
        ({"hold": lambda c: OTHER.c.on == 1}, "hold refers to 'other', which is not the policy's"),
        ({"keep_last": 1, "per": ["kin"]}, "'kin' is no column of 'event'; columns are: id, at,"),
        ({"action": "soft_delete", "soft_delete": "gone"}, "'gone' is no column of 'event'"),
        (
            {"action": "soft_delete", "soft_delete": "at"},
            "soft_delete names 'at', which cannot be NULL for rows that live",
        ),
        (
            {"action": "soft_delete", "soft_delete": "kind"},
            "soft_delete names 'kind', which cannot be NULL for rows that live",
        ),
        (
            {"action": "anonymise", "anonymise": {"kind": None}},
            "anonymise sets 'kind' to None, but it cannot be NULL",
        ),
        (
            {"action": "anonymise", "anonymise": {"id": 5}},
            "anonymise sets 'id', which is part of the primary key",
        ),
        (
            {"action": "anonymise", "anonymise": {"kind": func.lower("X")}},
            "anonymise has no constant value, so rows that are done cannot be told from others",
        ),
        (
            {"action": "anonymise", "anonymise": {"kind": func.lower("X"), "gone_at": None}},
            "anonymise tells rows that are done by its constants, which are all None",
        ),
    ],
)
def test_a_policy_that_does_not_fit_its_table_is_refused(
    options: dict[str, Any], fault: str
) -> None:
    table = _event()
    with pytest.raises(InvalidPolicy) as caught:
        declare(table, RetentionPolicy(**{"by": "at", "days": 30, **options}))
    assert caught.value.problems[0].startswith(f"policy 'event': {fault}")
    assert declared_in(table) == []


def test_a_table_without_a_primary_key_is_refused() -> None:
    table = Table("log", MetaData(), Column("at", DateTime, nullable=False))
    with pytest.raises(InvalidPolicy, match="has no primary key, so batches cannot be told apart"):
        declare(table, RetentionPolicy(days=30, by="at"))


def test_a_view_is_refused() -> None:
    table = Table(
        "log",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False),
        info={"is_view": True},
    )
    with pytest.raises(InvalidPolicy, match="it is a view; declare the policy for the table"):
        declare(table, RetentionPolicy(days=30, by="at"))


def test_what_is_a_view_in_the_database_only_is_refused_there(shared_engine: Engine) -> None:
    table = Table(
        "event_view",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False),
    )
    event = _event()
    declare(table, RetentionPolicy(days=30, by="at"))
    event.create(shared_engine)
    with shared_engine.begin() as connection:
        connection.exec_driver_sql("CREATE VIEW event_view AS SELECT id, at FROM event")
    try:
        (policy,) = run(shared_engine, table, at=NOW).policies
    finally:
        with shared_engine.begin() as connection:
            connection.exec_driver_sql("DROP VIEW event_view")
    assert policy.outcome == "failed"
    assert "'event_view' is a view" in str(policy.reason)


@pytest.mark.parametrize("wrong", [5, "event", None])
def test_what_is_no_table_has_no_policies(wrong: Any) -> None:
    with pytest.raises(RetentionError, match="policies are declared for a Table"):
        declare(wrong, RetentionPolicy(days=30, by="at"))
    with pytest.raises(RetentionError, match="policies are looked up by MetaData"):
        declared_in(wrong)


def test_a_class_that_is_not_mapped_is_refused() -> None:
    class Plain: ...

    with pytest.raises(RetentionError, match="@retain stands on Plain, which is not mapped"):
        retain(RetentionPolicy(days=30, by="at"))(Plain)


def test_what_is_no_policy_is_refused() -> None:
    with pytest.raises(RetentionError, match="5 is no RetentionPolicy"):
        declare(_event(), 5)  # type: ignore[arg-type]


# What by may be


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    left_at: Mapped[datetime | None]


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int | None] = mapped_column(ForeignKey("customer.id"))
    closed: Mapped[datetime | None] = mapped_column("closed_at")
    customer: Mapped[Customer | None] = relationship()
    lines: Mapped[list[Line]] = relationship(back_populates="order")


class Line(Base):
    __tablename__ = "line"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))
    made_at: Mapped[datetime | None] = mapped_column(DateTime)
    sent_at: Mapped[datetime | None] = mapped_column(DateTime)
    order: Mapped[Order | None] = relationship(back_populates="lines")
    latest = column_property(func.coalesce(sent_at, made_at))

    @hybrid_property
    def moment(self) -> Any:
        return self.sent_at or self.made_at

    @moment.inplace.expression
    @classmethod
    def _moment(cls) -> Any:
        return func.coalesce(cls.sent_at, cls.made_at)


def _declared(policy: RetentionPolicy, entity: Any = Line) -> Declared:
    configure_mappers()
    return Declared(policy, entity.__table__, entity, "test")


def _run(engine: Engine, monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[int]:
    """Lines that are left of 1: old; 2: young; 3: sent lately; 4: of an old order; 5: no moment."""
    metadata = MetaData()
    copies = {
        name: Base.metadata.tables[name].to_metadata(metadata)
        for name in ("customer", "orders", "line")
    }
    make(engine, metadata)
    fill(engine, copies["customer"], {"id": 1, "left_at": ago(90)}, {"id": 2, "left_at": ago(1)})
    fill(
        engine,
        copies["orders"],
        {"id": 1, "closed_at": ago(90), "customer_id": 2},
        {"id": 2, "closed_at": ago(1), "customer_id": 1},
        {"id": 3},
    )
    fill(
        engine,
        copies["line"],
        {"id": 1, "made_at": ago(90), "order_id": 3},
        {"id": 2, "made_at": ago(1), "order_id": 2},
        {"id": 3, "made_at": ago(90), "sent_at": ago(1), "order_id": 2},
        {"id": 4, "made_at": ago(1), "order_id": 1},
        {"id": 5},
    )
    declared = _declared(RetentionPolicy(**{"days": 30, "nulls": "keep", **options}))
    monkeypatch.setitem(vars(Line.__table__), room._KEPT, [declared])
    result = run(engine, Line, at=NOW)
    assert result.ok, result.policies
    return ids(engine, copies["line"])


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"by": "made_at"}, [2, 4, 5]),
        ({"by": Line.made_at}, [2, 4, 5]),
        ({"by": "moment"}, [2, 3, 4, 5]),
        ({"by": Line.moment}, [2, 3, 4, 5]),
        ({"by": "latest"}, [2, 3, 4, 5]),
        ({"by": lambda cls: func.coalesce(cls.sent_at, cls.made_at)}, [2, 3, 4, 5]),
        ({"by": "order.closed"}, [1, 2, 3, 5]),
        ({"by": "order.closed_at"}, [1, 2, 3, 5]),
        ({"by": "order.customer.left_at"}, [1, 4, 5]),
        ({"by": "order.closed", "nulls": "expire"}, [2, 3]),
        ({"by": "order.customer.left_at", "nulls": "expire"}, [4]),
        ({"by": "made_at", "nulls": "expire"}, [2, 4]),
        (
            {"by": "made_at", "where": lambda cls: cls.order.has(Order.closed < ago(0))},
            [1, 2, 4, 5],
        ),
        (
            {
                "by": "made_at",
                "where": lambda cls: exists().where(
                    Order.id == cls.order_id, Order.closed.is_(None)
                ),
            },
            [2, 3, 4, 5],
        ),
        ({"by": "made_at", "hold": lambda cls: cls.sent_at > ago(30)}, [2, 3, 4, 5]),
        ({"by": "made_at", "hold": lambda cls: and_(cls.id == 1, true())}, [1, 2, 4, 5]),
    ],
)
def test_ages_count_from_what_by_says(
    shared_engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    left: list[int],
) -> None:
    assert _run(shared_engine, monkeypatch, **options) == left


def test_a_path_goes_to_one_row() -> None:
    policy = RetentionPolicy(days=1, by="lines.made_at", nulls="keep", on_children="restrict")
    with pytest.raises(InvalidPolicy, match="'lines', which leads to many rows"):
        read(_declared(policy, Order))


def test_names_are_those_of_the_model() -> None:
    with pytest.raises(InvalidPolicy, match=r"columns are: id, customer_id, closed$"):
        read(_declared(RetentionPolicy(days=1, by="at", nulls="keep"), Order))


def test_keep_last_and_order_by_time_need_a_moment_of_the_table() -> None:
    options = {"by": "order.closed", "nulls": "keep", "keep_last": 1, "order": "time"}
    with pytest.raises(InvalidPolicy) as caught:
        read(_declared(RetentionPolicy(days=1, **options)))
    assert [one.partition(": ")[2][:20] for one in caught.value.problems] == [
        "keep_last needs a mo",
        "order='time' needs a",
    ]


# Where it is declared


def _base() -> Any:
    class Fresh(DeclarativeBase):
        pass

    return Fresh


def test_a_class_declares_by_attribute_or_decorator() -> None:
    fresh = _base()
    first = RetentionPolicy(days=1, by="at", name="first")
    second = RetentionPolicy(days=2, by="at")
    third = RetentionPolicy(days=3, by="at")

    @retain(third)
    class Event(fresh):
        __tablename__ = "event"
        __retention__: ClassVar[Any] = [first, second]
        id: Mapped[int] = mapped_column(primary_key=True)
        at: Mapped[datetime]

    found = declared_in(fresh)
    assert [(one.name, one.policy, one.entity) for one in found] == [
        ("first", first, Event),
        ("event_2", second, Event),
        ("event_3", third, Event),
    ]
    assert declared_in(Event) == declared_in(fresh.metadata) == found


def test_a_mixin_declares_for_each_class_by_itself() -> None:
    fresh = _base()

    class Aged:
        __retention__ = RetentionPolicy(days=1, by="at")
        at: Mapped[datetime]

    class One(Aged, fresh):
        __tablename__ = "one"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Two(Aged, fresh):
        __tablename__ = "two"
        id: Mapped[int] = mapped_column(primary_key=True)

    assert sorted(one.name for one in declared_in(fresh)) == ["one", "two"]


def test_a_mixin_may_make_its_policy_of_the_class() -> None:
    fresh = _base()

    class Aged:
        at: Mapped[datetime]

        @declared_attr.directive
        def __retention__(cls) -> RetentionPolicy:
            return RetentionPolicy(days=1, by="at", name=f"{cls.__name__} by age")

    class One(Aged, fresh):
        __tablename__ = "one"
        id: Mapped[int] = mapped_column(primary_key=True)

    assert [one.name for one in declared_in(fresh)] == ["One by age"]


class _Family:
    """Classes of a single table: cats and dogs are animals, kittens are cats."""

    def __init__(self, **policies: RetentionPolicy) -> None:
        self.base = _base()

        class Aged:
            at: Mapped[datetime]

        class Animal(Aged, self.base):
            __tablename__ = "animal"
            __mapper_args__: ClassVar[Any] = {
                "polymorphic_on": "kind",
                "polymorphic_identity": "animal",
            }
            id: Mapped[int] = mapped_column(primary_key=True)
            kind: Mapped[str] = mapped_column(String(20))
            if "animal" in policies:
                __retention__ = policies["animal"]

        class Cat(Animal):
            __mapper_args__: ClassVar[Any] = {"polymorphic_identity": "cat"}
            if "cat" in policies:
                __retention__ = policies["cat"]

        class Dog(Animal):
            __mapper_args__: ClassVar[Any] = {"polymorphic_identity": "dog"}

        class Kitten(Cat):
            __mapper_args__: ClassVar[Any] = {"polymorphic_identity": "kitten"}

        self.table: Any = Animal.__table__
        self.animal, self.cat, self.dog, self.kitten = Animal, Cat, Dog, Kitten

    def fill(self, engine: Engine) -> None:
        make(engine, self.base.metadata)
        kinds = ("animal", "cat", "dog", "kitten", "cat", "dog")
        rows = ({"id": at, "kind": kind, "at": ago(40 - at)} for at, kind in enumerate(kinds, 1))
        fill(engine, self.table, *rows)


def test_a_class_of_a_shared_table_takes_its_own_rows_only(shared_engine: Engine) -> None:
    family = _Family(cat=RetentionPolicy(days=30, by="at"))
    family.fill(shared_engine)
    assert [one.name for one in policies_of(family.base)] == ["animal"]
    run(shared_engine, family.base, at=NOW)
    assert ids(shared_engine, family.table) == [1, 3, 6]


def test_the_base_of_a_shared_table_takes_all_rows(shared_engine: Engine) -> None:
    family = _Family(animal=RetentionPolicy(days=30, by="at"))
    family.fill(shared_engine)
    run(shared_engine, family.base, at=NOW)
    assert ids(shared_engine, family.table) == []


def test_siblings_do_not_count_for_keep_last(shared_engine: Engine) -> None:
    family = _Family(cat=RetentionPolicy(days=30, by="at", keep_last=2))
    family.fill(shared_engine)
    run(shared_engine, family.base, at=NOW)
    assert ids(shared_engine, family.table) == [1, 3, 4, 5, 6]


def test_subclasses_do_not_inherit_the_policies_of_their_parents() -> None:
    family = _Family(animal=RetentionPolicy(days=30, by="at"))
    assert len(declared_in(family.base)) == 1


def test_a_policy_of_a_parent_is_not_run_for_a_class_that_is_but_a_part(
    shared_engine: Engine,
) -> None:
    family = _Family(animal=RetentionPolicy(days=30, by="at"))
    family.fill(shared_engine)
    for cls in (family.cat, family.kitten):
        with pytest.raises(RetentionError) as caught:
            run(shared_engine, cls, at=NOW)
        assert str(caught.value) == (
            f"{cls.__name__} has no policy of its own, and 'animal' would take rows that are no "
            f"{cls.__name__} too; declare one on {cls.__name__}, or name the class that has it"
        )
    assert len(ids(shared_engine, family.table)) == 6


def test_a_policy_of_the_table_is_not_run_for_a_class_that_shares_it() -> None:
    family = _Family(cat=RetentionPolicy(days=30, by="at"))
    declare(family.table, RetentionPolicy(days=60, by="at", name="all"))
    names = {
        cls.__name__: [one.name for one in declared_in(cls)] for cls in (family.animal, family.cat)
    }
    assert names == {"Animal": ["animal", "all"], "Cat": ["animal"]}
    with pytest.raises(RetentionError, match="Dog has no policy of its own"):
        declared_in(family.dog)


def test_a_class_with_rows_in_two_tables_is_refused_with_a_remedy() -> None:
    fresh = _base()

    class Parent(fresh):
        __tablename__ = "parent"
        id: Mapped[int] = mapped_column(primary_key=True)
        at: Mapped[datetime]

    class Child(Parent):
        __tablename__ = "child"
        __retention__ = RetentionPolicy(days=1, by="at")
        id: Mapped[int] = mapped_column(ForeignKey("parent.id"), primary_key=True)

    with pytest.raises(InvalidPolicy) as caught:
        configure_mappers()
    assert caught.value.problems[0] == (
        "policy 'child': Child has its rows in the table of Parent too (joined inheritance); "
        "declare the policy on Parent, with where= on its type column and "
        "on_children='delete_first'"
    )


def test_a_class_with_a_table_of_its_own_is_taken_though_it_inherits() -> None:
    fresh = _base()

    class Parent(fresh):
        __tablename__ = "parent"
        id: Mapped[int] = mapped_column(primary_key=True)
        at: Mapped[datetime]

    class Child(Parent):
        __tablename__ = "child"
        __mapper_args__: ClassVar[Any] = {"concrete": True}
        __retention__ = RetentionPolicy(days=1, by="at")
        id: Mapped[int] = mapped_column(primary_key=True)
        at: Mapped[datetime]

    configure_mappers()
    assert [one.table.name for one in declared_in(fresh)] == ["child"]


def test_faults_of_all_models_are_told_when_mappers_are_configured() -> None:
    fresh = _base()

    class One(fresh):
        __tablename__ = "one"
        __retention__ = RetentionPolicy(days=1, by="when")
        id: Mapped[int] = mapped_column(primary_key=True)
        score: Mapped[float] = mapped_column(Float)

    @retain(RetentionPolicy(days=1, by="score", where=lambda cls: cls.nothing))
    class Two(fresh):
        __tablename__ = "two"
        id: Mapped[int] = mapped_column(primary_key=True)
        one_id: Mapped[int] = mapped_column(ForeignKey("one.id"))
        score: Mapped[float] = mapped_column(Float)

    with pytest.raises(InvalidPolicy) as caught:
        configure_mappers()
    names = [problem.partition("; ")[0] for problem in caught.value.problems]
    assert len(names) == 4
    assert "policy 'one': by='when' names 'when', which is no column of 'one'" in names
    assert "policy 'one': 'two' refers to 'one'" in names
    assert "policy 'two': by is a number" in names
    configure_mappers()  # it is told once; a run tells it again
    select(Two)


def test_an_unfit_policy_of_another_model_does_not_keep_a_good_one(shared_engine: Engine) -> None:
    def models() -> Any:
        fresh = _base()

        class Good(fresh):
            __tablename__ = "z_good"
            __retention__ = RetentionPolicy(days=1, by="at")
            id: Mapped[int] = mapped_column(primary_key=True)
            at: Mapped[datetime]

        class Bad(fresh):
            __tablename__ = "a_bad"
            __retention__ = RetentionPolicy(days=1, by="nothing")
            id: Mapped[int] = mapped_column(primary_key=True)
            at: Mapped[datetime]

        return fresh

    fault = "by='nothing' names 'nothing', which is no column of 'a_bad'"
    fresh = models()  # whose mappers nobody has configured
    make(shared_engine, fresh.metadata)
    fill(shared_engine, fresh.metadata.tables["z_good"], {"id": 1, "at": ago(2)})
    planned = {one.policy: one.error for one in plan(shared_engine, fresh).policies}
    assert planned["z_good"] is None and fault in str(planned["a_bad"])
    done = {one.policy: one for one in run(shared_engine, models()).policies}
    assert (done["z_good"].outcome, done["z_good"].rows_changed) == ("done", 1)
    assert done["a_bad"].outcome == "failed" and fault in str(done["a_bad"].reason)


def test_one_unfit_policy_of_a_table_means_that_none_is_declared() -> None:
    table = _event()
    good = RetentionPolicy(days=2, by="at")
    with pytest.raises(InvalidPolicy) as caught:
        declare(
            table,
            RetentionPolicy(days=1, by="nothing"),
            good,
            RetentionPolicy(days=3, by="number"),
        )
    assert [one.partition(":")[0] for one in caught.value.problems] == [
        "policy 'event'",
        "policy 'event_3'",
    ]
    assert declared_in(table) == []
    declare(table, good)
    assert [one.name for one in declared_in(table)] == ["event"]


def test_a_table_goes_with_its_policies() -> None:
    table = _event()
    declare(table, RetentionPolicy(days=1, by=table.c.at, where=table.c.kind == "x"))
    gone = weakref.ref(table)
    del table
    gc.collect()
    assert gone() is None


def test_a_pickled_table_leaves_its_policies_behind() -> None:
    table = _event()
    declare(table, RetentionPolicy(days=1, by="at", where=lambda c: c.kind == "x"))
    copy = pickle.loads(pickle.dumps(table.metadata)).tables["event"]  # noqa: S301  # our own
    assert declared_in(copy) == []
    declare(copy, RetentionPolicy(days=1, by="at"))
    assert [one.name for one in declared_in(copy)] == ["event"]


def test_two_policies_of_one_name_are_refused() -> None:
    table = _event()
    policies = [RetentionPolicy(days=days, by="at", name="same") for days in (1, 2)]
    declare(table, *policies)
    with pytest.raises(RetentionError, match="two policies are called same; give each a name"):
        policies_of(table)


def test_a_policy_that_is_declared_twice_counts_once() -> None:
    table = _event()
    policy = RetentionPolicy(days=1, by="at")
    declare(table, policy)
    declare(table, policy)
    assert len(declared_in(table)) == 1
