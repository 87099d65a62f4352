"""Every error and warning of sa_perf; each is also the fitting builtin.

A message says what happened, shows the offending value and says what to do. It never holds a
password or a bind value.
"""

from __future__ import annotations

__all__ = [
    "ArchiveError",
    "ExpiredCursor",
    "ExplainError",
    "ExplainRefused",
    "InvalidCursor",
    "InvalidDatabaseURL",
    "InvalidHistogram",
    "InvalidPageRequest",
    "InvalidPolicy",
    "InvalidSettings",
    "InvalidSnapshot",
    "InventoryError",
    "LeaseLost",
    "MigrationError",
    "MissingExtra",
    "MissingTables",
    "NotInstalled",
    "PaginationError",
    "PartitionError",
    "PartitionStays",
    "PolicyBusy",
    "RetentionError",
    "SaPerfError",
    "SaPerfWarning",
    "SpaceRefused",
    "StoreError",
    "UnindexedPageWarning",
    "UnsupportedDatabase",
]


class SaPerfError(Exception):
    """Root of every error that sa_perf raises on purpose."""


class InvalidSettings(SaPerfError, ValueError):
    """One or more settings cannot be used; the message names each of them.

    Attributes:
        problems: one sentence a setting, in the order of the settings' names.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class NotInstalled(SaPerfError, LookupError):
    """No instrumentation stands on the engine that was asked about."""


class InvalidSnapshot(SaPerfError, ValueError):
    """A file or an answer is no snapshot of a schema that this version reads."""


class InvalidHistogram(SaPerfError, ValueError):
    """Stored bytes are no histogram: damaged, cut, or of a newer version."""


class UnsupportedDatabase(SaPerfError, ValueError):
    """sa_perf knows no SQL for this database; statements are recorded, plans are not."""


class ExplainRefused(SaPerfError, ValueError):
    """The statement may not be explained in the way that was asked for."""


class ExplainError(SaPerfError, RuntimeError):
    """The database did not give a plan; the message holds its reason, never bind values."""


class InventoryError(SaPerfError, ValueError):
    """A schema cannot be examined as it was asked for; the message says what would be possible."""


class PaginationError(SaPerfError, ValueError):
    """A statement or an argument cannot be paginated; the message says what would be possible.

    It is the application's fault, never that of whoever sent a cursor.
    """


class InvalidCursor(SaPerfError, ValueError):
    """A cursor was tampered with, cut, made for another list or by another key.

    The message tells nothing of the reason, of a key or of a value: it may be shown to a client.
    """

    def __init__(
        self, message: str = "the cursor is not valid for this list; begin again without one"
    ) -> None:
        super().__init__(message)


class ExpiredCursor(InvalidCursor):
    """A cursor is genuine but older than the signer accepts; it may be shown to a client."""

    def __init__(self, message: str = "the cursor has expired; begin again without one") -> None:
        super().__init__(message)


class InvalidPageRequest(SaPerfError, ValueError):
    """A request asks for a page in a way that no list allows; it may be shown to a client."""


class RetentionError(SaPerfError, ValueError):
    """A policy or a run of policies cannot be carried out as it was asked for."""


class InvalidPolicy(RetentionError):
    """One or more retention policies do not fit their models; the message names each fault.

    Attributes:
        problems: one sentence a fault, in the order of the models.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class PolicyBusy(RetentionError):
    """Somebody else runs the policy now; the message says who and until when.

    Attributes:
        owner: host and process of the runner.
    """

    def __init__(self, message: str, *, owner: str | None) -> None:
        self.owner = owner
        super().__init__(message)


class LeaseLost(RetentionError):
    """Another runner has taken the policy over; the batch under way was rolled back."""


class ArchiveError(SaPerfError, OSError):
    """Rows could not be archived, or what was archived is not what was written."""


class SpaceRefused(SaPerfError, RuntimeError):
    """Space is not reclaimed, since that would not fit or block too long; the message says what."""


class PartitionError(SaPerfError, ValueError):
    """Partitions cannot be made, attached or dropped as asked for; nothing was changed."""


class PartitionStays(PartitionError):
    """One partition cannot be taken out, others perhaps can; `maintain` tells it as one kept."""


class MissingTables(SaPerfError, LookupError):
    """The database lacks tables of sa_perf's own, or has old ones; says how to make them."""


class MigrationError(SaPerfError, RuntimeError):
    """sa_perf's own tables cannot be brought to the revision that was asked for."""


class StoreError(SaPerfError, RuntimeError):
    """The store cannot be reached, read or written as asked."""


class InvalidDatabaseURL(MigrationError, StoreError):
    """A database URL cannot be read, or not be connected to from here."""


class SaPerfWarning(UserWarning):
    """Root of every warning that sa_perf gives."""


class UnindexedPageWarning(SaPerfWarning):
    """No index serves the order of a list's pages; the message holds the one that would."""


class MissingExtra(SaPerfError, ModuleNotFoundError):
    """An optional dependency is not installed; the message names the extra to install."""

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(
            f'{package!r} is not installed; run: pip install "sa-perf[{extra}]"', name=package
        )
