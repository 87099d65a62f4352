"""Assertions for an application's own tests; needs no test framework."""

from __future__ import annotations

from sa_perf.testing.keyset_index import assert_keyset_indexed

__all__ = ["assert_keyset_indexed"]
