"""Statistics that outlive the process and merge across processes."""

from __future__ import annotations
