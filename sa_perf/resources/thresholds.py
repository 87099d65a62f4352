"""When a resource is nearly used up: levels that do not flap, alerts.

Pure: values and times come in, an `Alert` comes out at each change of a level. Not thread-safe; one
thread samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from math import isnan
from typing import Literal, TypeAlias

from sa_perf.errors import InvalidSettings

__all__ = ["LEVELS", "Alert", "Level", "Levels", "Threshold"]

Level: TypeAlias = Literal["ok", "warning", "critical"]
#: The best first.
LEVELS: tuple[Level, ...] = ("ok", "warning", "critical")


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """From where on a resource is short.

    A level rises at once and falls later: when the value is ``clear_ratio`` below the threshold
    that it had passed, and the level has stood for ``hold_seconds``.

    Attributes:
        warning_ratio: 0 to 1, not above ``critical_ratio``.
        critical_ratio: 0 to 1.
        clear_ratio: 0 to 1; 0.05 is five points of a percentage.
        hold_seconds: >= 0.

    Raises:
        InvalidSettings: a number is out of its range.
    """

    warning_ratio: float = 0.85
    critical_ratio: float = 0.95
    clear_ratio: float = 0.05
    hold_seconds: float = 60.0

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)!r}; allowed is a number from 0 to 1"
            for name in ("warning_ratio", "critical_ratio", "clear_ratio")
            if not 0 <= getattr(self, name) <= 1
        ]
        if not problems and self.warning_ratio > self.critical_ratio:
            problems.append(
                f"warning_ratio {self.warning_ratio!r} is above critical_ratio "
                f"{self.critical_ratio!r}; change them, or set both to the same"
            )
        if not self.hold_seconds >= 0:
            problems.append(f"hold_seconds is {self.hold_seconds!r}; allowed is a number from 0 on")
        if problems:
            raise InvalidSettings(tuple(problems))

    def level(self, ratio: float) -> Level:
        """The level of a value by itself, without what was before."""
        if ratio >= self.critical_ratio:
            return "critical"
        return "warning" if ratio >= self.warning_ratio else "ok"

    def limit_ratio(self, level: Level) -> float:
        """What has to be passed for a level; 0.0 for ``"ok"``."""
        return {"critical": self.critical_ratio, "warning": self.warning_ratio, "ok": 0.0}[level]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A resource has changed its level.

    Attributes:
        resource: kind and name, e.g. ``"disk database"``.
        level: since now.
        previous: until now.
        value_ratio: used of what there is; above 1 where more is used than allowed.
        limit_ratio: threshold that was passed, upwards or downwards.
        since: when the level began (UTC).
        message: one sentence.
    """

    resource: str
    level: Level
    previous: Level
    value_ratio: float
    limit_ratio: float
    since: datetime
    message: str


@dataclass(slots=True)
class _Standing:
    level: Level
    changed: float
    since: datetime


class Levels:
    """The level of each resource, from one value to the next.

    Args:
        threshold: of every resource that has none of its own.
        by_resource: thresholds by the name of a resource, or a pattern: ``"disk *"``. The exact
            name wins, then the first pattern that fits.

    Example:
        >>> from datetime import datetime, timezone
        >>> levels = Levels()
        >>> noon = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
        >>> levels.observe("disk database", 0.9, now=0.0, at=noon).message
        'disk database: warning, 90.0 % used, limit 85.0 %'
        >>> levels.observe("disk database", 0.91, now=10.0, at=noon) is None
        True
    """

    def __init__(
        self,
        threshold: Threshold | None = None,
        *,
        by_resource: Mapping[str, Threshold] | None = None,
    ) -> None:
        self._threshold = threshold or Threshold()
        self._by_resource = dict(by_resource or {})
        self._standing: dict[str, _Standing] = {}

    def threshold(self, resource: str) -> Threshold:
        """What holds for a resource."""
        exact = self._by_resource.get(resource)
        if exact is not None:
            return exact
        for pattern, one in self._by_resource.items():
            if fnmatchcase(resource, pattern):
                return one
        return self._threshold

    def level(self, resource: str) -> Level:
        """The level that stands; ``"ok"`` of a resource that was never seen."""
        standing = self._standing.get(resource)
        return "ok" if standing is None else standing.level

    def since(self, resource: str) -> datetime | None:
        """When the level that stands began (UTC); None of a resource that was never seen."""
        standing = self._standing.get(resource)
        return None if standing is None else standing.since

    def observe(
        self, resource: str, ratio: float | None, *, now: float, at: datetime, detail: str = ""
    ) -> Alert | None:
        """Take a new value.

        Args:
            resource: kind and name.
            ratio: used of what there is; None: unknown, which changes nothing.
            now: monotonic seconds.
            at: the same moment as UTC.
            detail: for the message, e.g. ``"1.2 GB free of /var"``.

        Returns:
            What is to be told; None where the level stays.
        """
        if ratio is None or isnan(ratio):
            return None
        threshold = self.threshold(resource)
        standing = self._standing.get(resource)
        if standing is None:
            standing = self._standing[resource] = _Standing("ok", now, at)
            level = threshold.level(ratio)
        else:
            level = _next(threshold, standing, ratio, now)
        previous = standing.level
        if level == previous:
            return None
        standing.level, standing.changed, standing.since = level, now, at
        worse = LEVELS.index(level) > LEVELS.index(previous)
        limit = threshold.limit_ratio(level if worse else previous)
        return Alert(
            resource=resource,
            level=level,
            previous=previous,
            value_ratio=ratio,
            limit_ratio=limit,
            since=at,
            message=_message(resource, level, ratio, limit, detail),
        )

    def forget(self, resource: str) -> None:
        """Drop a resource that is gone; seen again, it begins at ``"ok"``."""
        self._standing.pop(resource, None)


def _next(threshold: Threshold, standing: _Standing, ratio: float, now: float) -> Level:
    level = threshold.level(ratio)
    if LEVELS.index(level) >= LEVELS.index(standing.level):
        return level
    if now - standing.changed < threshold.hold_seconds:
        return standing.level
    # Each level above the value stands until the value is well below where it began.
    for held in reversed(LEVELS[: LEVELS.index(standing.level) + 1]):
        # Rounded: 0.85 - 0.05 is a little less than 0.8.
        clear = round(threshold.limit_ratio(held) - threshold.clear_ratio, 9)
        if held == "ok" or ratio > clear:
            return held
    return "ok"


def _message(resource: str, level: Level, ratio: float, limit: float, detail: str) -> str:
    words = "ok again" if level == "ok" else level
    tail = f"; {detail}" if detail else ""
    return f"{resource}: {words}, {100 * ratio:.1f} % used, limit {100 * limit:.1f} %{tail}"
