"""Pages of a Select: keyset and offset, with signed cursors."""

from __future__ import annotations

from sa_perf.pagination.cursor import CursorSigner
from sa_perf.pagination.keyset import KeysetPager, keyset
from sa_perf.pagination.page import Page

__all__ = ["CursorSigner", "KeysetPager", "Page", "keyset"]
