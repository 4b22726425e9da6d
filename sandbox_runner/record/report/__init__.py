"""The report of a run: one self-contained HTML page without scripts, for a screen, a phone and paper."""

from __future__ import annotations

from sandbox_runner.record.report.page import render_report
from sandbox_runner.record.report.view import FileChange

__all__ = ["FileChange", "render_report"]
