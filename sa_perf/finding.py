"""A finding: what is wrong, how bad, the proof, and what to do.

A leaf that every feature room may use: plans, lazy loads, pools and disks report alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["Evidence", "Finding", "Severity"]

Severity: TypeAlias = Literal["info", "warning", "critical"]
Evidence: TypeAlias = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault, as a sentence with its place, its evidence and its remedy.

    Attributes:
        kind: stable machine-readable name, e.g. ``"full_scan"``.
        severity: ``"info"``, ``"warning"`` or ``"critical"``.
        message: one sentence in words: what happens where, with the numbers that show it.
        remedy: one sentence or statement that mends it, fit to be copied.
        place: where in the database, e.g. ``"table flights"``; None where it has no place.
        fingerprint: the statement that shows it; None for a finding about no single statement.
        evidence: the numbers behind the message, by name; units as in the names' suffixes.
    """

    kind: str
    severity: Severity
    message: str
    remedy: str
    place: str | None = None
    fingerprint: str | None = None
    evidence: Evidence = field(default_factory=dict)
