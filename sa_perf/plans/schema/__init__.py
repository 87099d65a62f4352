"""What is wrong with a schema, by its catalog alone."""

from __future__ import annotations

from sa_perf.plans.schema.examination import SchemaReport, examine
from sa_perf.plans.schema.limits import Limits

__all__ = ["Limits", "SchemaReport", "examine"]
