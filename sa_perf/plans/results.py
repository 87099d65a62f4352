"""What the sampler found out, and how it fares; frozen readings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sa_perf.dialects import Plan
from sa_perf.finding import Finding

__all__ = ["ExplainedStatement", "SamplerHealth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedStatement:
    """What explaining one slow statement gave; the latest for its fingerprint.

    Attributes:
        fingerprint: id of the statement's shape.
        database: ``Database.label`` of where it ran; None in what older versions wrote.
        plan: None where the database gave none.
        findings: the most costly first.
        explained_at: aware UTC.
        error: why there is no plan, in words without bind values; None where there is one.
        duration_seconds: how long the statement had taken when it was offered.
    """

    fingerprint: str
    plan: Plan | None
    findings: tuple[Finding, ...]
    explained_at: datetime
    error: str | None
    duration_seconds: float
    database: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerHealth:
    """How the sampler fares.

    Attributes:
        queued: statements that wait.
        explained: plans that were got.
        failed: statements for which the database gave no plan.
        dropped: offers that found the queue full.
        timeouts: of the failed ones, those that ran into the time limit.
        abandoned: workers that hung and were left behind.
        alive: offers are taken; a thread runs only while there is work.
    """

    queued: int
    explained: int
    failed: int
    dropped: int
    timeouts: int
    abandoned: int
    alive: bool
