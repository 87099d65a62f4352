"""Moments as options say them: ``24h``, ``deploy``, an ISO time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import click

__all__ = ["DEPLOY", "Moment", "MomentType", "Stretch", "StretchType"]

DEPLOY = "deploy"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: From so long ago on, moments are whole hours.
_BY_HOURS = timedelta(days=1)
_AGO = re.compile(r"(\d{1,6})([smhdw])")
_HOW = (
    "give how long ago (90m, 24h, 7d, 2w), an ISO time (2026-11-23T12:00, in UTC unless it says "
    "another zone), or deploy"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A moment that may hang on when it is asked for.

    Attributes:
        ago: before now; None where it is none of these.
        at: aware; None likewise.
    """

    ago: timedelta | None = None
    at: datetime | None = None

    def resolved(self, now: datetime, last_deploy: Callable[[], datetime]) -> datetime:
        """The moment itself; ``last_deploy`` is asked where it is meant.

        Of a deploy it is the begin of its minute, so that all that its processes ran comes after.
        A day ago or longer it is the begin of that hour: rows of minutes, of which an hour has
        hundreds of thousands, would say nothing more.
        """
        if self.at is not None:
            return self.at
        if self.ago is None:
            return last_deploy().replace(second=0, microsecond=0)
        moment = now - self.ago
        if self.ago >= _BY_HOURS:
            moment = moment.replace(minute=0, second=0, microsecond=0)
        return moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """From one moment to another.

    Attributes:
        since: None is from the first on.
        until: None is up to now.
    """

    since: Moment | None
    until: Moment | None


class MomentType(click.ParamType):  # type: ignore[type-arg]  # click before 8.3 has none
    """``24h`` (so long ago), ``deploy`` or an ISO time."""

    name = "moment"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Moment:
        """Read one, or say how they are written."""
        return value if isinstance(value, Moment) else self.read(str(value), param, ctx)

    def read(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> Moment:
        """Read a text."""
        text = text.strip()
        if text == DEPLOY:
            return Moment()
        found = _AGO.fullmatch(text)
        if found:
            return Moment(ago=timedelta(**{_UNITS[found[2]]: int(found[1])}))
        try:
            # Python 3.10 reads no "Z".
            at = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
            at = at.replace(tzinfo=at.tzinfo or timezone.utc).astimezone(timezone.utc)
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is no moment; {_HOW}", param, ctx)
        return Moment(at=at)


class StretchType(click.ParamType):  # type: ignore[type-arg]  # likewise
    """``A..B``, each a moment; without B it is up to now."""

    name = "stretch"
    _moment = MomentType()

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Stretch:
        """Read one, or say how they are written."""
        if isinstance(value, Stretch):
            return value
        begin, dots, end = str(value).partition("..")
        if not dots:
            self.fail(f"{value!r} is no window A..B, such as 48h..24h or 24h..", param, ctx)
        since, until = (
            self._moment.read(one, param, ctx) if one.strip() else None for one in (begin, end)
        )
        return Stretch(since=since, until=until)
