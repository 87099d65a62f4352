"""Every error that sa_perf raises; each is also the fitting builtin.

A message says what happened, shows the offending value and says what to do. It never holds a
password or a bind value.
"""

from __future__ import annotations

__all__ = [
    "ExplainError",
    "ExplainRefused",
    "InvalidSettings",
    "InvalidSnapshot",
    "MissingExtra",
    "NotInstalled",
    "SaPerfError",
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


class UnsupportedDatabase(SaPerfError, ValueError):
    """sa_perf knows no SQL for this database; statements are recorded, plans are not."""


class ExplainRefused(SaPerfError, ValueError):
    """The statement may not be explained in the way that was asked for."""


class ExplainError(SaPerfError, RuntimeError):
    """The database did not give a plan; the message holds its reason, never bind values."""


class MissingExtra(SaPerfError, ModuleNotFoundError):
    """An optional dependency is not installed; the message names the extra to install."""

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(
            f'{package!r} is not installed; run: pip install "sa-perf[{extra}]"', name=package
        )
