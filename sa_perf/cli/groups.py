"""What cost time, by the line of the application that asked for it.

Lines are known of slow executions and of repetitions only: finding one costs more than most
statements do.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sa_perf.call_site import CallSite
from sa_perf.queries.repeats import RepeatStats
from sa_perf.queries.slow_log import SlowExecution

__all__ = ["CallSiteStats", "by_call_site"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSiteStats:
    """What one line of the application is known to have cost.

    Attributes:
        call_site: the line.
        seconds: inside the driver, at least: the greater of the two sums below, for an execution
            may be in both.
        slow_executions: slow executions that it issued.
        slow_seconds: that these took.
        max_seconds: the longest of them.
        repeat_calls: executions that it issued one by one, where one would do.
        repeat_seconds: that these took.
        wasted_seconds: of that, what all but one execution took each time.
        fingerprints: of its statements.
        scopes: names of the scopes around it.
        remedies: what ends its repetitions.
    """

    call_site: CallSite
    seconds: float
    slow_executions: int = 0
    slow_seconds: float = 0.0
    max_seconds: float = 0.0
    repeat_calls: int = 0
    repeat_seconds: float = 0.0
    wasted_seconds: float = 0.0
    fingerprints: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()


@dataclass(slots=True)
class _Line:
    site: CallSite
    slow: list[SlowExecution] = field(default_factory=list)
    repeats: list[RepeatStats] = field(default_factory=list)


def by_call_site(
    slow: Collection[SlowExecution], repeats: Collection[RepeatStats]
) -> tuple[CallSiteStats, ...]:
    """Gather slow executions and repetitions by their line, most time first."""
    lines: dict[tuple[str, int], _Line] = {}
    for one in slow:
        if one.call_site is not None:
            site = one.call_site
            lines.setdefault((site.file, site.line), _Line(site)).slow.append(one)
    for each in repeats:
        if each.call_site is not None:
            site = each.call_site
            lines.setdefault((site.file, site.line), _Line(site)).repeats.append(each)
    found = map(_stats, lines.values())
    return tuple(sorted(found, key=lambda one: (-one.seconds, str(one.call_site))))


def _stats(line: _Line) -> CallSiteStats:
    durations = [one.duration_seconds for one in line.slow]
    slow, repeated = sum(durations), sum(one.total_seconds for one in line.repeats)
    both: list[RepeatStats | SlowExecution] = [*line.repeats, *line.slow]
    return CallSiteStats(
        call_site=line.site,
        seconds=max(slow, repeated),
        slow_executions=len(durations),
        slow_seconds=slow,
        max_seconds=max(durations, default=0.0),
        repeat_calls=sum(one.calls for one in line.repeats),
        repeat_seconds=repeated,
        wasted_seconds=sum(one.wasted_seconds for one in line.repeats),
        fingerprints=tuple(dict.fromkeys(one.fingerprint for one in both)),
        scopes=tuple(dict.fromkeys(name for one in both for name in one.scope)),
        remedies=tuple(dict.fromkeys(one.remedy for one in line.repeats)),
    )
