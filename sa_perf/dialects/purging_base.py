"""What each database needs said to take rows out of it gently.

Transactions that yield to the application, locks that a killed process does not leave behind, the
server's clock, errors that a second try mends. Which forms of DELETE are used and why is measured,
see docs/explanation/retention.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import (
    DateTime,
    Table,
    TypeDecorator,
    func,
    inspect,
    literal,
    select,
)

from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Engine
    from sqlalchemy.engine.interfaces import Dialect as SQLAlchemyDialect
    from sqlalchemy.types import TypeEngine

__all__ = ["Purging", "utc"]


class Purging:
    """A database of which nothing special is known.

    Args:
        dialect: SQLAlchemy's.
    """

    #: A column may keep its value's time zone.
    keeps_zones: ClassVar[bool] = False
    #: A batch's transaction should take so long.
    target_seconds: ClassVar[float] = 0.1
    #: Pause after each batch at least, as a share of its time.
    least_pause_ratio: ClassVar[float] = 0.0
    #: The same in seconds, behind batches that took longer than that.
    least_pause_seconds: ClassVar[float] = 0.0
    #: Share of the target that batches aim at, so that somewhat slower ones still meet it.
    margin: ClassVar[float] = 0.85
    #: Rows lie in the order of the primary key, so ranges of it are the cheapest to delete.
    clustered: ClassVar[bool] = False
    #: DELETE can give what it deleted.
    returning: ClassVar[bool] = True
    #: `lock` takes a lock that ends with its connection.
    locks_end_with_connections: ClassVar[bool] = False
    #: An index does not hold the primary key: reading both means a look at the table, row by row.
    keys_apart: ClassVar[bool] = False
    #: A subquery of DELETE or UPDATE may read the table itself.
    reads_own_table: ClassVar[bool] = True

    def __init__(self, dialect: SQLAlchemyDialect) -> None:
        self._dialect = dialect

    @property
    def dialect(self) -> SQLAlchemyDialect:
        """SQLAlchemy's."""
        return self._dialect

    @contextmanager
    def connection(self, engine: Engine) -> Iterator[Connection]:
        """A connection for a run, whose statements the recorder leaves out.

        It goes back to the pool as it came: the application gets it next.
        """
        with engine.connect() as connection:
            yield connection.execution_options(**UNRECORDED)

    @contextmanager
    def transaction(self, connection: Connection, *, lock_seconds: float) -> Iterator[None]:
        """A transaction that waits for a lock only so long."""
        with connection.begin():
            yield

    @contextmanager
    def reading(self, connection: Connection) -> Iterator[None]:
        """A short transaction that only reads; it is rolled back."""
        with connection.begin() as transaction:
            yield
            transaction.rollback()

    def utc_now(self, connection: Connection) -> datetime:
        """The database's clock."""
        found: Any = connection.execute(select(func.current_timestamp(type_=DateTime))).scalar_one()
        return utc(found)

    def clock(self, connection: Connection, *, ahead: float = 0.0) -> Any:  # noqa: ANN401
        """The database's clock as a value to write; SQL, where that saves a question.

        Args:
            connection: in the transaction that writes it.
            ahead: seconds from now.
        """
        return self.utc_now(connection) + timedelta(seconds=ahead)

    def lock(self, connection: Connection, name: str) -> bool:
        """Take a lock that ends with the connection; False where somebody has it."""
        return True

    def unlock(self, connection: Connection, name: str) -> None:
        """Give it back."""

    def is_transient(self, error: BaseException) -> bool:
        """Whether a second try may do: a deadlock, a lock that was not to be had in time."""
        return False

    def enforces_foreign_keys(self, connection: Connection) -> bool:
        """Whether foreign keys are watched, and their ON DELETE carried out."""
        return True

    def may_refuse(self, connection: Connection, table: Table) -> bool:
        """Whether a trigger or a rule may keep rows that a DELETE names."""
        return False

    def lock_table(self, connection: Connection, table: Table) -> None:
        """Keep others from changing a table until the transaction ends."""

    def is_view(self, connection: Connection, table: Table) -> bool:
        """Whether a name of the MetaData is a view's in the database."""
        return table.name in inspect(connection).get_view_names(schema=table.schema)

    def stored_type(self, type_: TypeEngine[Any]) -> TypeEngine[Any]:
        """What this database keeps of a type, below an application's decorators and variants."""
        found: TypeEngine[Any] = type_.dialect_impl(self._dialect)
        while isinstance(found, TypeDecorator):
            found = found.impl_instance
        return found

    def zone_of(self, type_: TypeEngine[Any], declared: str) -> str:
        """The zone in which values of a type without one are read and written by a run.

        Args:
            type_: from `stored_type`.
            declared: by the policy.
        """
        return declared

    def compared(self, value: object, type_: TypeEngine[Any]) -> ColumnElement[Any]:
        """A moment to compare stored ones with.

        Args:
            value: of the type.
            type_: from `stored_type`.
        """
        return literal(value, type_)

    def sound_moment(self, moment: ColumnElement[Any]) -> ColumnElement[bool] | None:
        """Whether a stored moment compares with others as time; None: they all do."""
        return None

    def odd_moments(
        self, connection: Connection, moment: ColumnElement[Any], table: Table, near: datetime
    ) -> str | None:
        """A stored moment that does not compare with others as time; None: none was found.

        Args:
            connection: in a reading transaction.
            moment: a column or an expression of the table.
            table: that holds it.
            near: where it would matter most.
        """
        return None

    def size(self, connection: Connection, table: Table) -> tuple[float | None, int | None]:
        """Rows and bytes (indexes included) of a table by statistics; None where unknown."""
        return None, None

    def estimates_well(self, connection: Connection, table: Table) -> bool:
        """Whether the planner knows a table of late, so that its rows need not be counted."""
        return True

    def replica_lag_seconds(self, connection: Connection) -> float | None:
        """How far the slowest replica is behind, or this one itself; None: there is none.

        Infinite where one is there that does not replicate, or how far it is behind is not known.

        Raises:
            RetentionError: the role may not see it.
        """
        return None


def utc(moment: datetime) -> datetime:
    """A moment of the database's clock, aware."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc)
