"""What is recorded of policies, and how it differs from those declared.

Recorded is which rows go and what becomes of them; not how gently a run does it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Any, TypeAlias

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BindParameter

from sa_perf.retention.expressions import is_sql
from sa_perf.retention.reading import read
from sa_perf.retention.rules import Declared, RetentionPolicy

__all__ = ["Definition", "PolicyChange", "as_text", "changes", "definition_of"]

#: Of a policy, in JSON's values.
Definition: TypeAlias = "Mapping[str, Any]"

#: Values that may differ each time the application is loaded.
_MOMENTS = (date, time, timedelta)
#: What JSON has.
_PLAIN = (str, int, float, type(None))


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A policy that was added, changed or removed.

    Attributes:
        name: of the policy.
        definition: as it is declared; None: it is no more.
        former: as it is recorded; None: it was not.
    """

    name: str
    definition: Definition | None
    former: Definition | None


def definition_of(declared: Declared) -> dict[str, Any]:
    """A policy as it is recorded, without what is left at its default.

    Raises:
        InvalidPolicy: it does not fit its table.
    """
    policy, target = declared.policy, read(declared)
    found = {
        "table": declared.table.fullname,
        "by": policy.by if isinstance(policy.by, str) else _sql(target.time),
        **_age(policy),
        "action": policy.action,
        "where": None if target.where is None else _sql(target.where),
        "hold": None if target.hold is None else _sql(target.hold),
        "archive": None if policy.archive is None else type(policy.archive).__name__,
        "anonymise": {column.key: _value(one) for column, one in target.anonymise.items()},
        "soft_delete": policy.soft_delete,
        "keep_last": policy.keep_last,
        "per": list(policy.per),
        "nulls": policy.nulls,
        "timezone": None if policy.timezone == "UTC" else policy.timezone,
        "epoch": policy.epoch,
        "on_children": dict(policy.on_children)
        if isinstance(policy.on_children, Mapping)
        else policy.on_children,
    }
    # As it is read again from the database.
    return {name: found[name] for name in sorted(found) if found[name] not in (None, [], {})}


def changes(
    declared: Iterable[Declared], recorded: Mapping[str, Definition]
) -> Iterator[PolicyChange]:
    """What is to be recorded for a database to know the policies that are declared, by name.

    Args:
        declared: all of the application.
        recorded: by name; what is not declared is removed.
    """
    wanted = {one.name: definition_of(one) for one in declared}
    for name in sorted({*wanted, *recorded}):
        one, other = wanted.get(name), recorded.get(name)
        if one is None or other is None or as_text(one) != as_text(other):
            yield PolicyChange(name, one, other)


def as_text(definition: Definition) -> str:
    """JSON, the same for the same policy."""
    return json.dumps(definition, sort_keys=True, ensure_ascii=False, separators=(", ", ": "))


def _age(policy: RetentionPolicy) -> dict[str, float]:
    days = policy.age / timedelta(days=1)
    if days.is_integer():
        return {"days": int(days)}
    return {"seconds": policy.age.total_seconds()}


def _value(given: object) -> object:
    if is_sql(given):
        return _sql(given)
    return given if isinstance(given, _PLAIN) else f"a {type(given).__name__}"


def _sql(expression: Any) -> str:  # noqa: ANN401  # any clause
    """In words of SQL; with its values where none may differ with the moment."""
    binds = [one for one in visitors.iterate(expression) if isinstance(one, BindParameter)]
    try:
        if not any(map(_may_differ, binds)):
            text = expression.compile(compile_kwargs={"literal_binds": True})
            return " ".join(str(text).split())
    except (SQLAlchemyError, NotImplementedError, TypeError, ValueError, AttributeError):
        pass  # of a type that has no literals
    return " ".join(str(expression).split())


def _may_differ(bind: BindParameter[Any]) -> bool:
    values = bind.value if isinstance(bind.value, (list, tuple)) else [bind.value]
    return bind.callable is not None or any(isinstance(value, _MOMENTS) for value in values)
