"""What a database is asked about one statement, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Answer", "Question"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A statement that may be explained, and how.

    Attributes:
        statement: as it goes to the driver.
        kind: its first keyword, in lower case.
        values: one set of bind values; None if they are not known.
        paramstyle: the driver's.
        timeout_seconds: time and lock limit for the server, > 0.
        analyze: run the statement and report what each step did.
    """

    statement: str
    kind: str
    values: Mapping[str, object] | Sequence[object] | None
    paramstyle: str
    timeout_seconds: float
    analyze: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A plan as the database gave it.

    Attributes:
        raw: what `Dialect.parse_plan` reads.
        server_version: as the server words it.
        generic: planned without the values of the parameters.
        database: SQLAlchemy's name of what answered, where it is another than was asked.
    """

    raw: object
    server_version: str
    generic: bool = False
    database: str | None = None
