"""Findings that make a command fail, for use in continuous integration."""

from __future__ import annotations

from collections.abc import Iterable

import click

from sa_perf.cli.failures import FOUND
from sa_perf.finding import Finding

__all__ = ["exit_when_found", "fail_on_option"]

_FAILING = {"never": (), "warning": ("warning", "critical"), "critical": ("critical",)}

fail_on_option = click.option(
    "--fail-on",
    type=click.Choice(tuple(_FAILING)),
    default="never",
    show_default=True,
    help="Exit with 1 where a finding is at least this severe.",
)


def exit_when_found(findings: Iterable[Finding], fail_on: str) -> None:
    """End the command with exit code 1 where a finding is as severe as ``fail_on`` says.

    Args:
        findings: to look at.
        fail_on: word of the option.
    """
    if any(finding.severity in _FAILING[fail_on] for finding in findings):
        raise click.exceptions.Exit(FOUND)
