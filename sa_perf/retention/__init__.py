"""Retention policies on models, run in gentle bounded batches."""
