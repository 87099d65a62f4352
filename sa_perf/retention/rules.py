"""What a policy says: when rows expire, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from zoneinfo import ZoneInfoNotFoundError

from sqlalchemy import ColumnElement, Table

from sa_perf.errors import InvalidPolicy
from sa_perf.retention.zones import zone_named

if TYPE_CHECKING:
    from sa_perf.retention.archive import FileArchive, TableArchive

    Archive: TypeAlias = FileArchive | TableArchive

__all__ = ["Action", "BatchLimits", "Declared", "OnChildren", "Order", "RetentionPolicy"]

Action: TypeAlias = Literal["delete", "archive", "anonymise", "soft_delete"]
OnChildren: TypeAlias = Literal["cascade", "restrict", "detach", "delete_first"]
#: An expression, or what makes one of the model or the table's columns.
Criterion: TypeAlias = "ColumnElement[bool] | Callable[[Any], ColumnElement[bool]]"
Order: TypeAlias = Literal["auto", "time", "key"]

ACTIONS = ("delete", "archive", "anonymise", "soft_delete")
ON_CHILDREN = ("cascade", "restrict", "detach", "delete_first")
ORDERS = ("auto", "time", "key")
#: Older than anything that a database of today holds; dates before year 1 cannot be told.
_OLDEST = timedelta(days=366 * 500)
#: Seconds that a batch may wait for a lock: of a lease, see `lease.LEASE_SECONDS`, a quarter.
_LONGEST_LOCK = 15.0
#: Of a policy's name: what the audit's column holds.
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How large a batch may be and how long it may take.

    Attributes:
        target_seconds: that a batch's transaction should take, 0.001 to 60; None: the database's
            own default, 0.1 or, where there is one writer at a time, 0.05.
        pause_ratio: pause after a batch, as a share of its time, 0 to 100; None: the database's
            own default, 0 or, where there is one writer, 0.25.
        first_rows: rows that the first batch scans.
        min_rows: fewest rows of a batch.
        max_rows: most rows of a batch.
        lock_seconds: how long a batch waits for a lock before it lets the application go first,
            up to 15.
        retries: of a batch that met a deadlock or a lock.
    """

    target_seconds: float | None = None
    pause_ratio: float | None = None
    first_rows: int = 2_000
    min_rows: int = 500
    max_rows: int = 500_000
    lock_seconds: float = 1.0
    retries: int = 10

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        faults = []
        if self.target_seconds is not None and not 0.001 <= self.target_seconds <= 60:
            faults.append(f"target_seconds is {self.target_seconds!r}; allowed is 0.001 to 60")
        if self.pause_ratio is not None and not 0 <= self.pause_ratio <= 100:
            faults.append(f"pause_ratio is {self.pause_ratio!r}; allowed is 0 to 100")
        if not 1 <= self.min_rows <= self.first_rows <= self.max_rows <= 1_000_000:
            faults.append(
                f"min_rows, first_rows, max_rows are {self.min_rows!r}, {self.first_rows!r}, "
                f"{self.max_rows!r}; they must grow, from 1 to 1,000,000"
            )
        if not 0 < self.lock_seconds <= _LONGEST_LOCK:
            faults.append(
                f"lock_seconds is {self.lock_seconds!r}; allowed is up to {_LONGEST_LOCK:g}, since "
                "the run holds its policy by a lease, which is to outlast the wait"
            )
        if not 0 <= self.retries <= 1_000:
            faults.append(f"retries is {self.retries!r}; allowed is 0 to 1,000")
        if faults:
            raise InvalidPolicy(tuple(faults))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RetentionPolicy:
    """When rows of a table have lived long enough, and what becomes of them.

    Example:
        >>> @retain(RetentionPolicy(days=90, by="created_at"))
        ... class Event(Base): ...

    Attributes:
        by: the moment that a row's age is counted from: a column's or hybrid's name, a path over
            many-to-one relationships (``"order.closed_at"``), an expression, or a function that
            makes one of the model. DateTime, Date, or, with ``epoch``, a number.
        after: the age; or give ``days``.
        days: the age in days.
        where: of the old rows only these; an expression, or a function that makes one.
        action: ``"delete"``; ``"archive"``: delete what stands in the archive; ``"anonymise"``:
            overwrite columns; ``"soft_delete"``: set a column to the moment of the run.
        archive: where to, for ``action="archive"``.
        anonymise: new values by column, for ``action="anonymise"``: constants, None or SQL.
        soft_delete: the column to set, for ``action="soft_delete"``.
        keep_last: so many of the youngest rows stay however old they are, of each group, whatever
            ``where`` says of them; rows that are softly deleted already do not count.
        per: columns that make the groups of ``keep_last``; none: the whole table is one.
        nulls: of rows whose moment is NULL: ``"keep"`` or ``"expire"``; to be said where NULL is
            possible.
        timezone: IANA name of the zone in which columns without a zone are written.
        epoch: of a column of numbers: ``"seconds"`` or ``"milliseconds"`` since 1970 UTC.
        on_children: of rows in tables that refer to this one: ``"cascade"``: the database deletes
            them by ON DELETE CASCADE; ``"delete_first"``: they are deleted before, by themselves;
            ``"detach"``: their reference is set to NULL; ``"restrict"``: rows that have any stay.
            One word for all, or a mapping by table name; to be said where there are such tables.
        hold: rows that this policy never takes, whatever else holds; an expression or function.
            For rows that no policy may take see `sa_perf.retention.holds.place`.
        batch: sizes and times of batches.
        order: in which rows are gone through: ``"time"``: along the index on the moment;
            ``"key"``: along the primary key; ``"auto"``: what the database at hand does fastest.
        name: unique among all policies; by default the table's name, numbered from the second on.
    """

    by: Any
    after: timedelta | None = None
    days: float | None = None
    where: Criterion | None = None
    action: Action = "delete"
    archive: Archive | None = None
    anonymise: Mapping[str, object] | None = None
    soft_delete: str | None = None
    keep_last: int | None = None
    per: Sequence[str] = ()
    nulls: Literal["keep", "expire"] | None = None
    timezone: str = "UTC"
    epoch: Literal["seconds", "milliseconds"] | None = None
    on_children: OnChildren | Mapping[str, OnChildren] | None = None
    hold: Criterion | None = None
    batch: BatchLimits = field(default_factory=BatchLimits)
    order: Order = "auto"
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse, all faults at once, what no model could make right.

        Raises:
            InvalidPolicy: names each fault.
        """
        faults = [
            *self._faults_of_age(),
            *self._faults_of_keep_last(),
            *self._faults_of_action(),
            *self._faults_of_words(),
            *self._faults_of_names(),
        ]
        if faults:
            raise InvalidPolicy(tuple(faults))

    @property
    def age(self) -> timedelta:
        """How long rows are kept."""
        return self.after if self.after is not None else timedelta(days=self.days or 0)

    def of_child(self, table_name: str) -> OnChildren | None:
        """What becomes of the rows of a table that refers to this one; None: not said."""
        if isinstance(self.on_children, Mapping):
            return self.on_children.get(table_name)
        return self.on_children

    def _faults_of_age(self) -> Iterator[str]:
        if (self.after is None) == (self.days is None):
            yield "give either after=timedelta(...) or days=..., and not both"
            return
        if self.after is not None and not isinstance(self.after, timedelta):
            yield f"after is {self.after!r}; it is a timedelta"
            return
        if self.days is not None and not _is_number(self.days):
            yield f"days is {self.days!r}; it is a number"
            return
        try:
            age = self.age
        except (OverflowError, ValueError):
            age = timedelta.max
        if not timedelta(0) <= age <= _OLDEST:
            given = self.after if self.after is not None else f"{self.days!r} days"
            yield f"the age is {given}; it is between 0 and 500 years"
        if not age and self.where is None and self.keep_last is None:
            yield "an age of 0 without where= would take every row; give an age, or say which rows"

    def _faults_of_keep_last(self) -> Iterator[str]:
        kept = self.keep_last
        if kept is not None and (not isinstance(kept, int) or isinstance(kept, bool) or kept < 1):
            yield f"keep_last is {kept!r}; it is a whole number, at least 1"
        if isinstance(self.per, str):
            yield f"per is {self.per!r}; it is a sequence of names: per=({self.per!r},)"
        if self.per and kept is None:
            yield "per= groups the rows of keep_last=, which is not given"

    def _faults_of_action(self) -> Iterator[str]:
        if self.action not in ACTIONS:
            yield f"action is {self.action!r}; it is one of {', '.join(ACTIONS)}"
        for action, argument in (
            ("archive", self.archive),
            ("anonymise", self.anonymise),
            ("soft_delete", self.soft_delete),
        ):
            if self.action == action and not argument:
                yield f"action={action!r} needs {action}=..."
            if self.action != action and argument:
                yield f"{action}= is given, but action is {self.action!r}"

    def _faults_of_words(self) -> Iterator[str]:
        words = (
            self.on_children.values()
            if isinstance(self.on_children, Mapping)
            else ()
            if self.on_children is None
            else (self.on_children,)
        )
        for word in words:
            if word not in ON_CHILDREN:
                yield f"on_children is {word!r}; it is one of {', '.join(ON_CHILDREN)}"
        if self.order not in ORDERS:
            yield f"order is {self.order!r}; it is one of {', '.join(ORDERS)}"
        if self.nulls not in (None, "keep", "expire"):
            yield f"nulls is {self.nulls!r}; it is 'keep' or 'expire'"
        if self.epoch not in (None, "seconds", "milliseconds"):
            yield f"epoch is {self.epoch!r}; it is 'seconds' or 'milliseconds'"
        try:
            zone_named(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield f"timezone is {self.timezone!r}, which is no zone of the IANA database"

    def _faults_of_names(self) -> Iterator[str]:
        if not isinstance(self.batch, BatchLimits):
            yield f"batch is {self.batch!r}; it is BatchLimits(...)"
        if self.anonymise is not None and not isinstance(self.anonymise, Mapping):
            yield f"anonymise is {self.anonymise!r}; it is a mapping of columns to values"
        name = self.name
        if name is not None and not (isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME):
            yield f"name is {name!r}; it is a text of 1 to {_LONGEST_NAME} characters"


@dataclass(frozen=True, slots=True, eq=False)
class Declared:
    """A policy at its place.

    Attributes:
        policy: as it was given.
        table: whose rows it is about.
        entity: the mapped class that declared it; None for a Core table.
        name: unique among the policies of its MetaData.
    """

    policy: RetentionPolicy
    table: Table
    entity: type[Any] | None
    name: str


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
