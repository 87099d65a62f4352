"""Time zones by name; UTC needs no database of them."""

from __future__ import annotations

from datetime import timezone, tzinfo
from zoneinfo import ZoneInfo

__all__ = ["zone_named"]


def zone_named(name: str) -> tzinfo:
    """The zone of an IANA name.

    UTC is known where there is no database of zones (Windows, small containers), which is what
    most columns are written in.

    Raises:
        ZoneInfoNotFoundError: there is none of that name; a KeyError.
        ValueError: it is no name.
    """
    return timezone.utc if name == "UTC" else ZoneInfo(name)
