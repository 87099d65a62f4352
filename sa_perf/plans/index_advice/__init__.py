"""Which indexes would help a workload, each tried before it is named."""

from __future__ import annotations

from sa_perf.plans.index_advice.advising import advise
from sa_perf.plans.index_advice.results import (
    AdviceReport,
    Gain,
    IndexAdvice,
    Unadvised,
    WorkloadQuery,
)

__all__ = ["AdviceReport", "Gain", "IndexAdvice", "Unadvised", "WorkloadQuery", "advise"]
