"""``python -m sa_perf``: the same as ``sa-perf``."""

from __future__ import annotations

from sa_perf.cli import main

if __name__ == "__main__":
    main(prog_name="sa-perf")
