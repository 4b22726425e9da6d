"""Fills the page's template: everything is escaped, and its own policy lets nothing in but its style."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sandbox_runner.record.report import view
from sandbox_runner.record.report.view import FileChange, Pair
from sandbox_runner.record.run_record import RunRecord
from sandbox_runner.record.verify import Check
from sandbox_runner.trail import step_number
from sandbox_runner.visible import visible

__all__ = ["render_report"]

_FOLDER: Final = Path(__file__).parent
_SIZES: Final = frozenset({"memory", "tmp", "workspace"})
_HEADLINES: Final = {
    "success": "Every step succeeded",
    "failed": "Some steps failed",
    "refused": "Refused by policy",
    "error": "The sandbox failed",
    "interrupted": "Interrupted",
    "dry-run": "Dry run: nothing was executed",
    "running": "Still running",
}


def render_report(
    record: RunRecord,
    *,
    checks: Sequence[Check] = (),
    changes: Iterable[FileChange] | None = None,
) -> str:
    """The report of a run as one HTML document.

    Args:
        record: sealed or not.
        checks: the answer of ``verify_record``, if it was asked.
        changes: what the run changed in the workspace; None where that is not known.

    Raises:
        VerificationError: the record is damaged.
    """
    environment = _environment()
    style = environment.get_template("style.css").render()
    steps = view.Shown(view.steps_of(record))
    return environment.get_template("page.html.j2").render(
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        record=record,
        info=record.info,
        result=record.result,
        status=_status(record),
        headline=_HEADLINES[_status(record)],
        took=view.duration_text(record.result.duration_s * 1e9) if record.result else "",
        **_rows(steps),
        counts=_counts(record),
        changes=None if changes is None else list(islice(changes, view.ROW_LIMIT)),
        needs=_needs(record),
        policy=view.pairs_of(record.policy()),
        limits=_limits(record),
        proof=[*_proof(record), *_left_out(record)],
        cleanup=view.pairs_of(record.result.cleanup or {}) if record.result else (),
        in_doubt=record.in_doubt(),
        checks=checks,
        verified=bool(checks) and all(check.ok for check in checks),
    )


def _rows(shown: view.Shown) -> dict[str, Any]:
    return {
        "loud": shown.loud,
        "test_runs": view.runs_of_tests(shown.tests),
        "steps": shown.steps,
        "left_out": shown.count - len(shown.steps),
    }


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters["step_number"] = step_number
    return environment


def _printable(value: Any) -> Any:
    """Whatever reaches the page: nothing in it that is not seen."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _status(record: RunRecord) -> str:
    return record.result.status.value if record.result else record.state.value


def _counts(record: RunRecord) -> list[tuple[str, int]]:
    if record.result is None:
        return []
    steps = record.result.steps
    named = {"ok": steps.ok, "failed": steps.failed, "refused": steps.refused, "skipped": steps.skipped}
    named["not reached"] = steps.total - sum(named.values())
    return [(name, count) for name, count in named.items() if count > 0 or name == "ok"]


def _needs(record: RunRecord) -> tuple[Pair, ...]:
    needs = dict(record.result.facts.get("needs", {})) if record.result else {}
    opcodes = needs.pop("opcodes", {})
    steps = [f"{count} {name}" for name, count in opcodes.items()] if isinstance(opcodes, dict) else []
    return view.pairs_of({"steps": steps, **needs})


def _limits(record: RunRecord) -> list[Pair]:
    return [
        Pair(name, view.size_text(value) if name in _SIZES and isinstance(value, int) else str(value))
        for name, value in record.info.limits.items()
    ]


def _left_out(record: RunRecord) -> list[Pair]:
    """What was there when the run began and is not in its base."""
    return [
        Pair("left out", f"{group.count} {group.reason}: {', '.join(group.first)}")
        for group in record.info.left_out
    ]


def _proof(record: RunRecord) -> list[Pair]:
    info, result = record.info, record.result
    named = {
        "trail": info.trail.sha256,
        "policy": info.policy.sha256,
        "image": info.image.id if info.image else None,
        "seccomp profile": info.seccomp_sha256,
        "base snapshot": info.base_snapshot,
        "log": f"{result.chain_head} ({result.chain_length} calls)" if result else None,
        "meta-trail": result.meta_trail_sha256 if result else None,
        "snapshot": result.snapshot if result else None,
    }
    return [Pair(name, digest.removeprefix("sha256:")) for name, digest in named.items() if digest]
