"""Adds up invoice lines in cents."""

from invoice.totals import Line, total_cents

__all__ = ["Line", "total_cents"]
