"""Reads policies against their tables; says what is wrong. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Column, ColumnElement
from sqlalchemy import types as sqltypes
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper
from sqlalchemy.sql import visitors

from sa_perf.errors import InvalidPolicy
from sa_perf.retention.children import children_of
from sa_perf.retention.cutoff import plain_type
from sa_perf.retention.expressions import as_core, columns_of, is_sql, strangers
from sa_perf.retention.paths import time_of
from sa_perf.retention.target import Target

if TYPE_CHECKING:
    from sa_perf.retention.rules import Declared

__all__ = ["faults_of", "read"]

Expression: TypeAlias = ColumnElement[Any]
Condition: TypeAlias = ColumnElement[bool]
#: What a criterion of an application raises when it does not fit the model.
_ODD = (AttributeError, KeyError, TypeError, ValueError, SQLAlchemyError)


def faults_of(declared: Sequence[Declared]) -> tuple[str, ...]:
    """What is wrong with some policies, in their order; nothing where all of them fit.

    Those of models whose mappers are configured.
    """
    faults: list[str] = []
    for one in declared:
        reading = _Reading(one)
        reading.target()
        faults += reading.faults
        if one.entity is not None:  # tables that refer to a Core table may yet come
            try:
                children_of(one.name, one.policy, one.table)
            except InvalidPolicy as error:
                faults += error.problems
    return tuple(faults)


def read(declared: Declared) -> Target:
    """Read a policy against its table.

    Raises:
        InvalidPolicy: it does not fit; names each fault.
    """
    reading = _Reading(declared)
    target = reading.target()
    if reading.faults or target is None:
        raise InvalidPolicy(tuple(reading.faults))
    return target


class _Reading:
    """Reads one policy and gathers what is wrong with it."""

    def __init__(self, declared: Declared) -> None:
        self.faults: list[str] = []
        self._declared = declared
        self._policy = declared.policy
        self._table = declared.table
        self._mapper: Mapper[Any] | None = (
            None if declared.entity is None else declared.entity.__mapper__
        )

    def target(self) -> Target | None:
        """The policy's rows; None where too much is wrong to tell."""
        key = tuple(self._table.primary_key.columns)
        if not key:
            self._fault("the table has no primary key, so batches cannot be told apart; add one")
        if self._table.info.get("is_view"):
            self._fault("it is a view; declare the policy for the table behind it")
        self._check_inheritance()
        where = self._criterion("where", self._policy.where)
        hold = self._criterion("hold", self._policy.hold)
        given = (self._declared.entity, self._table, self._policy.by, self._subject())
        time, hops, fault = time_of(*given)
        if fault is not None:
            self._fault(fault)
        if time is None or not key:
            self._columns(None)
            return None
        target = Target(
            name=self._declared.name,
            policy=self._policy,
            table=self._table,
            key=key,
            time=time,
            hops=hops,
            own=self._own_rows(),
            where=where,
            hold=hold,
        )
        self._check_time(target)
        return self._columns(target)

    def _fault(self, text: str) -> None:
        self.faults.append(f"policy {self._declared.name!r}: {text}")

    def _check_inheritance(self) -> None:
        """Only joined inheritance spreads a row over tables."""
        mapper = self._mapper
        if mapper is None or mapper.inherits is None or mapper.concrete:
            return
        base = mapper.base_mapper
        if mapper.local_table is not base.local_table:
            parent = base.class_.__name__
            self._fault(
                f"{mapper.class_.__name__} has its rows in the table of {parent} too (joined "
                f"inheritance); declare the policy on {parent}, with where= on its type column "
                "and on_children='delete_first'"
            )

    def _own_rows(self) -> Condition | None:
        """Of a table that several classes share, those of the class."""
        if self._mapper is None or not self._mapper.single:
            return None
        criterion: Any = self._mapper._single_table_criterion
        return None if criterion is None else as_core(criterion)

    def _check_time(self, target: Target) -> None:
        policy, time = self._policy, target.time
        type_ = plain_type(time.type)
        number = isinstance(type_, (sqltypes.Integer, sqltypes.Numeric, sqltypes.Float))
        if number and policy.epoch is None:
            self._fault("by is a number; say what it counts: epoch='seconds' or 'milliseconds'")
        elif not number and policy.epoch is not None and policy.soft_delete is None:
            self._fault(f"epoch={policy.epoch!r} is for numbers, but by is {type_!r}")
        elif not number and not isinstance(type_, (sqltypes.DateTime, sqltypes.Date)):
            self._fault(f"by is {type_!r}; a moment is a DateTime, a Date or a number")
        if getattr(type_, "timezone", False) and policy.timezone != "UTC":
            self._fault(
                f"timezone={policy.timezone!r} is for columns without a zone, but by has one"
            )
        zones = {plain.timezone for plain in _moments_in(time)}
        if len(zones) > 1:
            self._fault("by mixes moments with a zone and without; use columns of one kind")
        nullable = not isinstance(time, Column) or bool(time.nullable) or bool(target.hops)
        if nullable and policy.nulls is None:
            self._fault(
                "the moment may be NULL; say what becomes of such rows: nulls='keep' or 'expire'"
            )
        if policy.keep_last is not None and target.hops:
            self._fault("keep_last needs a moment of the table's own, not of a path")
        if policy.order == "time" and target.time_column is None:
            self._fault("order='time' needs a moment that is a column of the table itself")

    def _columns(self, target: Target | None) -> Target | None:
        """Read what names columns: ``per``, ``anonymise``, ``soft_delete``."""
        policy = self._policy
        per = [self._named(name) for name in policy.per] if not isinstance(policy.per, str) else []
        given = {name: self._named(name) for name in policy.anonymise or {}}
        values = dict(self._new_values(given))
        soft = None if policy.soft_delete is None else self._named(policy.soft_delete)
        if soft is not None:
            self._check_soft_delete(soft)
        if target is None:
            return None
        return replace(
            target,
            per=tuple(column for column in per if column is not None),
            anonymise=values,
            soft_delete=soft,
        )

    def _named(self, name: str) -> Column[Any] | None:
        """A column by the model's name for it, or the table's."""
        found: Any = None
        if self._mapper is not None and name in self._mapper.columns:
            found = self._mapper.columns[name]
        if isinstance(found, Column) and found.table is self._table:
            return found
        if name in self._table.c:
            return self._table.c[name]
        self._fault(
            f"{name!r} is no column of {self._table.fullname!r}; columns are: "
            f"{', '.join(columns_of(self._mapper, self._table))}"
        )
        return None

    def _new_values(
        self, columns: dict[str, Column[Any] | None]
    ) -> Iterator[tuple[Column[Any], object]]:
        """New values by column, and what is wrong with them."""
        given = self._policy.anonymise or {}
        constants = [value for value in given.values() if not is_sql(value)]
        if given and not constants:
            self._fault(
                "anonymise has no constant value, so rows that are done cannot be told from others"
            )
        elif len(constants) < len(given) and all(one is None for one in constants):
            self._fault(
                "anonymise tells rows that are done by its constants, which are all None, as live "
                "rows may have it; add a constant that no live row has"
            )
        for name, column in columns.items():
            if column is None:
                continue
            value: Any = given[name]
            if value is None and not column.nullable:
                self._fault(f"anonymise sets {name!r} to None, but it cannot be NULL")
            if column.primary_key:
                self._fault(f"anonymise sets {name!r}, which is part of the primary key")
            if is_sql(value):
                value = as_core(value)
                self._check_tables(f"anonymise[{name!r}]", value)
            yield column, value

    def _check_soft_delete(self, column: Column[Any]) -> None:
        type_ = plain_type(column.type)
        if not column.nullable:
            self._fault(
                f"soft_delete names {column.key!r}, which cannot be NULL for rows that live"
            )
        if isinstance(type_, (sqltypes.Integer, sqltypes.Numeric)):
            if self._policy.epoch is None:
                self._fault(f"soft_delete names {column.key!r}, a number; say epoch= for it")
        elif not isinstance(type_, (sqltypes.DateTime, sqltypes.Date)):
            self._fault(
                f"soft_delete names {column.key!r}, which is {type_!r}; it gets the moment of the "
                "run, so it is a DateTime, a Date or a number"
            )

    def _criterion(self, name: str, given: Any) -> Condition | None:  # noqa: ANN401
        if given is None:
            return None
        element = given
        if callable(given) and not isinstance(given, ColumnElement):
            try:
                element = given(self._subject())
            except _ODD as error:
                self._fault(f"{name} cannot be read: {type(error).__name__}: {error}")
                return None
        if not is_sql(element):
            self._fault(f"{name} gives {element!r}, which is no SQL condition")
            return None
        found: Condition = as_core(element)
        self._check_tables(name, found)
        return found

    def _check_tables(self, name: str, expression: Expression) -> None:
        """Refuse other tables: a DELETE would match each row with all of theirs."""
        others = strangers(expression, [self._table])
        if others:
            self._fault(
                f"{name} refers to {', '.join(others)}, which is not the policy's table; put it "
                "into a subquery: exists().where(...), or relationship.has(...)"
            )

    def _subject(self) -> Any:  # noqa: ANN401  # the mapped class, or the table's columns
        return self._table.c if self._declared.entity is None else self._declared.entity


def _moments_in(expression: Expression) -> Iterator[sqltypes.DateTime]:
    for element in visitors.iterate(expression):
        if isinstance(element, Column) and isinstance(plain_type(element.type), sqltypes.DateTime):
            yield plain_type(element.type)  # type: ignore[misc]  # just asked
