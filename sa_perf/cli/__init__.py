"""``sa-perf``: see what a snapshot holds, without the application.

One file a command; most read a snapshot, for it runs in another process.
`options`, `source` and `download` get it, `single_query` picks one query of it; `wording` says it
in words, `terminal` and `html` show it, `output` and `rows` print it as JSON. Exit codes: 0 fine, 1
findings (where asked for) or nothing found, 2 wrong usage, unreadable input, no database.
"""

from __future__ import annotations

import click

from sa_perf.cli.advise import advise
from sa_perf.cli.compare import compare
from sa_perf.cli.db import db
from sa_perf.cli.demo import demo
from sa_perf.cli.doctor import doctor
from sa_perf.cli.explain import explain
from sa_perf.cli.report import report
from sa_perf.cli.resources import resources
from sa_perf.cli.retention import retention
from sa_perf.cli.slow import slow
from sa_perf.cli.top import top

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sa-perf", prog_name="sa-perf")
def main() -> None:
    """Find slow queries, why they are slow and what to do.

    top, slow, explain and report read a snapshot: from a file that the application writes
    (snapshot.write(path), or the setting snapshot_path), from a URL that serves one, or from a
    store, to which all processes flush.

    compare says what got slower between two windows of a store, such as since the last deploy.

    advise says which indexes would help those statements; it asks their database and leaves it
    as it is.

    doctor looks for faults in a database's schema: its indexes, keys and sequences. resources
    shows memory, disks and a database against their limits.

    retention deletes, archives or anonymises rows that have lived long enough; db makes the tables
    that it keeps its records in.

    To see all of it on real data first, run: sa-perf demo
    """


for _command in (
    demo,
    top,
    slow,
    explain,
    report,
    compare,
    advise,
    doctor,
    resources,
    db,
    retention,
):
    main.add_command(_command)
