"""``sa-perf retention``: plan, run and look at retention policies.

`application` finds the models and their database; `work` plans and runs; `records` shows what runs
did; `holds` holds rows; `recovery` brings rows and space back;
`partitions` sees to time partitions.
"""

from __future__ import annotations

import click

from sa_perf.cli.retention.holds import hold, holds, release
from sa_perf.cli.retention.partitions import partitions
from sa_perf.cli.retention.records import forget, history, status
from sa_perf.cli.retention.recovery import restore, vacuum
from sa_perf.cli.retention.work import plan, run

__all__ = ["retention"]


@click.group()
def retention() -> None:
    """Delete, archive or anonymise rows that have lived long enough.

    Policies stand on the application's models, which --app names. Begin with: plan, which touches
    nothing. Exit codes: 0 fine; 1 a policy failed or cannot be run; 2 wrong usage, or a database
    that cannot be reached.
    """


for _command in (
    plan,
    run,
    status,
    history,
    forget,
    hold,
    holds,
    release,
    restore,
    vacuum,
    partitions,
):
    retention.add_command(_command)
