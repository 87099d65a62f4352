"""SQLAlchemy's suite for dialects, all of it; run by test_compliance.py in processes of its own."""

from __future__ import annotations

from sqlalchemy.testing.suite import *  # noqa: F403
