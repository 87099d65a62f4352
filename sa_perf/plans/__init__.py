"""How the database ran it: plans, and what is wrong with them.

`sa_perf.plans.sampler` explains slow statements beside the application; `sa_perf.plans.explain` is
for a person at a prompt; `sa_perf.plans.findings` turns a plan into words.
"""

from __future__ import annotations
