"""Pages of a Select: keyset and offset, with signed cursors."""

from __future__ import annotations

from sa_perf.pagination.cursors.signer import CursorSigner
from sa_perf.pagination.declared_order import declare_order
from sa_perf.pagination.keyset import KeysetPager, keyset
from sa_perf.pagination.model import PaginatedModel
from sa_perf.pagination.offset import OffsetPager, offset
from sa_perf.pagination.offset_page import OffsetPage
from sa_perf.pagination.page import Page
from sa_perf.pagination.select import PaginatedQuery, PaginationMixin, Select, select

__all__ = [
    "CursorSigner",
    "KeysetPager",
    "OffsetPage",
    "OffsetPager",
    "Page",
    "PaginatedModel",
    "PaginatedQuery",
    "PaginationMixin",
    "Select",
    "declare_order",
    "keyset",
    "offset",
    "select",
]
