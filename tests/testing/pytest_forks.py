"""Runs pytest in a fork for each line on standard input; started by test_plugin.py.

A line holds the folder, the arguments and the environment as JSON; the answer is the exit code, and
the folder then has the files ``stdout`` and ``stderr``. Python's start and all imports, which take
ten times as long as most of these runs, are shared.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import traceback
from contextlib import redirect_stdout

import pytest

#: What nearly each run imports. Not sa_perf.testing.measuring: that it is loaded late is tested.
MODULES = ("sqlalchemy.orm", "sqlalchemy.pool", "sqlalchemy.dialects.sqlite", "sa_perf")


def prepare() -> None:
    """Import the plugins, as pytest does it with assertions rewritten, and what they measure."""
    with (
        tempfile.TemporaryDirectory() as nothing,
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
    ):
        pytest.main(["-p", "no:cacheprovider", f"--rootdir={nothing}", nothing])
    for name in MODULES:
        importlib.import_module(name)


def run(folder: str, arguments: list[str], environment: dict[str, str]) -> int:
    """Run pytest in this process, which is a child of its own."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[0] = folder
    for name, stream in (("stdout", 1), ("stderr", 2)):
        file = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
        os.close(file)
    try:
        code = int(pytest.main(arguments))
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def main() -> None:
    """Answer each line."""
    prepare()
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            os._exit(run(**json.loads(line)))
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
