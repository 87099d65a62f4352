"""What is recorded of a retention policy."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta

import pytest
from sqlalchemy import (
    Column,
    DateTime,
    Enum,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    func,
)

from sa_perf.errors import InvalidPolicy
from sa_perf.migration.policies import PolicyChange, changes, definition_of
from sa_perf.retention import BatchLimits, RetentionPolicy, TableArchive
from sa_perf.retention.rules import Declared


class Kind(enum.Enum):
    A = 1


metadata = MetaData()
event = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", DateTime),
    Column("kind", Enum(Kind)),
    Column("owner", String(20)),
    Column("gone_at", DateTime),
)
line = Table("line", metadata, Column("event_id", ForeignKey("event.id"), primary_key=True))


def declared(**options: object) -> Declared:
    given = {"by": "at", "days": 9, "nulls": "keep", "on_children": "delete_first", **options}
    policy = RetentionPolicy(**given)  # type: ignore[arg-type]  # of many types
    return Declared(policy, event, None, "event")


@pytest.mark.parametrize(
    ("options", "recorded"),
    [
        ({}, {}),
        ({"days": None, "after": timedelta(hours=36)}, {"seconds": 129_600.0, "days": None}),
        ({"days": 0.5}, {"seconds": 43_200.0, "days": None}),
        (
            {"by": func.coalesce(event.c.at, event.c.gone_at)},
            {"by": "coalesce(event.at, event.gone_at)"},
        ),
        ({"where": event.c.kind == Kind.A}, {"where": "event.kind = 'A'"}),
        ({"where": event.c.owner.in_(["a", "b"])}, {"where": "event.owner IN ('a', 'b')"}),
        ({"hold": lambda c: c.owner.is_(None)}, {"hold": "event.owner IS NULL"}),
        (
            {"action": "archive", "archive": TableArchive(url="x://u:secret@h/d")},
            {"action": "archive", "archive": "TableArchive"},
        ),
        (
            {"action": "soft_delete", "soft_delete": "gone_at"},
            {"action": "soft_delete", "soft_delete": "gone_at"},
        ),
        (
            {
                "action": "anonymise",
                "anonymise": {"owner": "nobody", "kind": None, "gone_at": func.now()},
            },
            {
                "action": "anonymise",
                "anonymise": {"owner": "nobody", "kind": None, "gone_at": "now()"},
            },
        ),
        ({"keep_last": 3, "per": ["owner"]}, {"keep_last": 3, "per": ["owner"]}),
        (
            {"timezone": "Europe/Oslo", "nulls": "expire"},
            {"timezone": "Europe/Oslo", "nulls": "expire"},
        ),
        ({"on_children": {"line": "cascade"}}, {"on_children": {"line": "cascade"}}),
        ({"batch": BatchLimits(first_rows=900), "order": "key"}, {}),
    ],
)
def test_what_a_policy_says_is_recorded(options: dict, recorded: dict) -> None:
    plain = {"table": "event", "by": "at", "days": 9, "action": "delete", "nulls": "keep"}
    wanted = {**plain, "on_children": "delete_first", **recorded}
    found = definition_of(declared(**options))
    assert found == {name: value for name, value in wanted.items() if value is not None}


@pytest.mark.parametrize(
    "where",
    [
        lambda c: c.gone_at < datetime.now(),
        lambda c: c.owner == bindparam("who", callable_=lambda: str(datetime.now())),
    ],
)
def test_a_value_that_differs_each_time_is_no_change(where) -> None:
    first, second = declared(where=where), declared(where=where)
    (change,) = changes([first], {})
    assert change.definition is not None
    assert list(changes([second], {"event": change.definition})) == []


def test_added_changed_and_removed_policies_are_told_by_name() -> None:
    one = declared()
    assert list(changes([one], {"event": {"days": 8}, "old": {"days": 1}})) == [
        PolicyChange("event", definition_of(one), {"days": 8}),
        PolicyChange("old", None, {"days": 1}),
    ]


def test_a_policy_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidPolicy, match="'made'"):
        definition_of(declared(by="made"))
