"""Counts sa_perf's own faults, which never reach the application."""

from __future__ import annotations

import logging

__all__ = ["Faults"]

_LOGGER = logging.getLogger("sa_perf")


class Faults:
    """Counts sa_perf's own faults; each place is logged once."""

    def __init__(self) -> None:
        self.count = 0
        self.last: str | None = None
        self._logged: set[str] = set()

    def note(self, place: str, error: BaseException) -> None:
        """Count a fault; called from ``except`` blocks."""
        self.count += 1
        self.last = f"{place}: {type(error).__name__}"
        if place not in self._logged:
            self._logged.add(place)
            _LOGGER.error(
                "sa_perf failed in %s; the application is not affected, this is logged once",
                place,
                exc_info=error,
            )
