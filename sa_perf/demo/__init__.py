"""The real data set and the workload behind ``sa-perf demo``."""

from __future__ import annotations

__all__: list[str] = []
