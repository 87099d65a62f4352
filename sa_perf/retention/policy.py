"""How models and tables declare policies, and where those are kept.

A policy belongs to one table and is kept with it, so that both go together: not in ``Table.info``,
which Alembic would render into migrations, nor in a dictionary of this module, whose values would
keep its keys. Policies of models are validated when mappers are configured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import MetaData, Table, event
from sqlalchemy import inspect as inspection
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import Mapper

from sa_perf.errors import InvalidPolicy, RetentionError
from sa_perf.retention.rules import (
    Action,
    BatchLimits,
    Declared,
    OnChildren,
    Order,
    RetentionPolicy,
)

__all__ = [
    "Action",
    "BatchLimits",
    "Declared",
    "OnChildren",
    "Order",
    "RetentionPolicy",
    "Source",
    "declare",
    "declare_mapped",
    "declared_in",
    "retain",
]

#: MetaData, a declarative base, a mapped class or a table.
Source: TypeAlias = "MetaData | Table | type[Any]"
C = TypeVar("C", bound=type)

#: What a class or mixin may have instead of `retain` above it.
_ATTRIBUTE = "__retention__"

#: What a Table has its policies by, beside SQLAlchemy's own attributes.
_KEPT = "_sa_perf_retention"
#: Policies of models since mappers were configured last.
_unread: list[Declared] = []


def declare(table: Table, *policies: RetentionPolicy) -> None:
    """Declare policies for a Core table.

    Raises:
        InvalidPolicy: they do not fit the table; names each fault, and declares none of them.
        RetentionError: it is no table.
    """
    if not isinstance(table, Table):
        raise RetentionError(
            f"policies are declared for a Table, not {type(table).__name__}; for a mapped class "
            "use @retain(policy)"
        )
    found = _new(table, None, policies)
    faults = _faults_of(found)
    if faults:
        raise InvalidPolicy(faults)
    _keep(table, found)


def retain(*policies: RetentionPolicy) -> Callable[[C], C]:
    """Declare policies for a mapped class; the same as ``__retention__ = [policy, ...]`` in it.

    Example:
        >>> @retain(RetentionPolicy(days=30, by="taken_at"))
        ... class Snapshot(Base): ...
    """

    def decorate(cls: C) -> C:
        try:
            mapper: Mapper[Any] = inspection(cls)
        except NoInspectionAvailable:
            raise RetentionError(
                f"@retain stands on {cls.__name__}, which is not mapped; put it above a mapped "
                "class, or use __retention__ in a mixin"
            ) from None
        declare_mapped(mapper, policies)
        return cls

    return decorate


def declare_mapped(mapper: Mapper[Any], policies: Sequence[RetentionPolicy]) -> None:
    """Declare policies for a mapped class; they are validated when mappers are configured."""
    table = mapper.local_table
    if not isinstance(table, Table):
        raise RetentionError(
            f"{mapper.class_.__name__} is mapped to {type(table).__name__}, which is no table; "
            "rows are deleted from tables only"
        )
    found = _new(table, mapper.class_, policies)
    _keep(table, found)
    _unread.extend(found)


def declared_in(source: Source) -> list[Declared]:
    """The policies of a MetaData, a declarative base, a mapped class or a table.

    Those of a class take its rows only: its own, its subclasses' in the same table, and where all
    rows of that table are its own, the table's.

    Raises:
        RetentionError: it is none of these, or a class whose table only has policies that would
            take rows of other classes too.
    """
    if isinstance(source, Table):
        return list(_kept(source))
    if isinstance(source, MetaData):
        return [one for table in source.tables.values() for one in _kept(table)]
    mapper = getattr(source, "__mapper__", None)
    if mapper is not None:
        return _declared_for(mapper)
    metadata = getattr(source, "metadata", None)
    if isinstance(metadata, MetaData):
        return declared_in(metadata)
    raise RetentionError(
        f"policies are looked up by MetaData, declarative base, mapped class or Table, not "
        f"{type(source).__name__}"
    )


def _declared_for(mapper: Mapper[Any]) -> list[Declared]:
    cls = mapper.class_
    every = [one for table in mapper.tables for one in _kept(table)]
    whole = None if mapper.single else mapper.local_table
    found = [
        one
        for one in every
        if (one.table is whole if one.entity is None else issubclass(one.entity, cls))
    ]
    if every and not found:
        names = ", ".join(sorted(repr(one.name) for one in every))
        raise RetentionError(
            f"{cls.__name__} has no policy of its own, and {names} would take rows that are no "
            f"{cls.__name__} too; declare one on {cls.__name__}, or name the class that has it"
        )
    return found


class _Policies(list[Declared]):
    """Of one table. A copy or pickle of the table has none: they may hold lambdas."""

    def __reduce__(self) -> tuple[type[list[Declared]], tuple[()]]:
        return list, ()


def _kept(table: Any) -> Sequence[Declared]:  # noqa: ANN401  # of a mapper: any selectable
    found: Sequence[Declared] = vars(table).get(_KEPT, ())
    return found


def _keep(table: Table, added: Sequence[Declared]) -> None:
    vars(table)[_KEPT] = _Policies([*_kept(table), *added])


def _new(
    table: Table, entity: type[Any] | None, policies: Sequence[RetentionPolicy]
) -> list[Declared]:
    """Those that the table does not have yet, with their names."""
    known = list(_kept(table))
    added = []
    for policy in policies:
        if not isinstance(policy, RetentionPolicy):
            raise RetentionError(f"{policy!r} is no RetentionPolicy")
        if any(one.policy is policy and one.entity is entity for one in known):
            continue
        number = len(known) + 1
        name = policy.name or (table.fullname if number == 1 else f"{table.fullname}_{number}")
        found = Declared(policy, table, entity, name)
        known.append(found)
        added.append(found)
    return added


def _faults_of(declared: Sequence[Declared]) -> tuple[str, ...]:
    from sa_perf.retention.reading import faults_of  # much, for a module that models import

    return faults_of(declared)


@event.listens_for(Mapper, "after_mapper_constructed")
def _take_attribute(mapper: Mapper[Any], cls: type[Any]) -> None:
    """Declare what ``__retention__`` of a class says, or of a mixin that is its own.

    What a mapped parent has, or has from its mixins, is about the parent's rows.
    """
    inherited = () if mapper.inherits is None else mapper.inherits.class_.__mro__
    own = [one for one in cls.__mro__ if one not in inherited and _ATTRIBUTE in vars(one)]
    if not own:
        return
    given = vars(own[0])[_ATTRIBUTE]
    if hasattr(given, "__get__"):  # made for each class, as by declared_attr
        given = given.__get__(None, cls)
    declare_mapped(mapper, [given] if isinstance(given, RetentionPolicy) else list(given))


@event.listens_for(Mapper, "after_configured")
def _validate() -> None:
    """Raise what is wrong with the policies of models, all of it at once, and once.

    A plan has it as the policy's error, and a run as the reason why it failed, from then on.
    """
    declared, _unread[:] = list(_unread), []
    faults = _faults_of(declared) if declared else ()
    if faults:
        raise InvalidPolicy(faults)
