"""bottle_drop and bottle_read: messages between agents. Names are never paths; nothing is executed."""

from __future__ import annotations

from sandbox_runner.guest.config import Section, check_text
from sandbox_runner.guest.digest import sha256_hex
from sandbox_runner.guest.ledger import canonical
from sandbox_runner.guest.outcome import FAILED, OK, SKIPPED, Outcome, StepError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

    from sandbox_runner.guest.config import Rules
    from sandbox_runner.guest.context import Guest

__all__ = ["Inbound", "bottle_drop", "bottle_read", "file_name"]

_SLUG_LIMIT = 40
_TOTAL_LIMIT = 16 << 20


class Inbound(Section):
    """A message that waited for this run, as the host gave it."""

    source: str
    content: str
    RULES: ClassVar[Rules] = {"source": (check_text, None), "content": (check_text, "")}


def file_name(name: str) -> str:
    """A name of any kind as a safe file name: a readable part, and 8 hex digits that keep names apart."""
    letters = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    slug = "-".join(part for part in letters.split("-") if part)[:_SLUG_LIMIT].strip("-")
    return (slug + "-" if slug else "") + _digest(name)[:8]


def bottle_drop(guest: Guest, target: str, content: str) -> Outcome:
    """Leave a message; it is never overwritten and leaves the sandbox with the ledger."""
    limits, ledger = guest.config.bottles, guest.ledger
    size = len(content.encode("utf-8", "surrogatepass"))
    if size > limits.max_bytes:
        raise StepError(f"bottle of {size} bytes is over the limit of {limits.max_bytes}")
    if len(ledger.bottles) >= limits.max_count:
        raise StepError(f"{limits.max_count} bottles are dropped already, the limit of this run")
    seq = len(ledger.bottles)
    digest = _digest(content)
    bottle = {
        "content": content,
        "from": guest.config.principal,
        "id": sha256_hex(canonical([ledger.run_id, seq, target, content]))[:12],
        "path": f"bottles/out/{file_name(target)}/{seq:06d}.json",
        "seq": seq,
        "sha256": digest,
        "step": ledger.step,
        "to": target,
    }
    line = canonical(bottle) + b"\n"
    if sum(map(len, ledger.bottles)) + len(line) > _TOTAL_LIMIT:
        raise StepError(f"the bottles of this run are over {_TOTAL_LIMIT} bytes")
    facts = {"bytes": size, "id": bottle["id"], "path": bottle["path"], "sha256": digest}
    ledger.record("bottle_drop", {"target": target}, facts)
    ledger.bottles.append(line)
    return Outcome(f"bottle_drop: \u2192{target} ({len(content)} chars)", facts)


def bottle_read(guest: Guest, source: str) -> Outcome:
    """Take the oldest unread message from a source; asking for one's own name lists what waits."""
    ledger, text = guest.ledger, f"bottle_read: \u2190{source}"
    unread = _unread(guest)
    if source == guest.config.principal:
        inbox = [{"from": bottle["from"], "id": bottle["id"]} for bottle in unread]
        return Outcome(text, {"inbox": inbox, "remaining": len(inbox)})
    waiting = [bottle for bottle in unread if bottle["from"] == source]
    if not waiting:
        strict = guest.config.fleet.empty_bottle == "strict"
        if strict:
            raise StepError("no bottle from " + source, {"empty": True}, FAILED)
        return Outcome(text, {"empty": True, "remaining": 0}, SKIPPED)
    bottle = waiting[0]
    ledger.record("bottle_read", {"source": source}, {"id": bottle["id"], "sha256": bottle["sha256"]})
    unread.remove(bottle)
    return Outcome(
        text,
        {
            "content": bottle["content"],
            "id": bottle["id"],
            "remaining": len(waiting) - 1,
            "sha256": bottle["sha256"],
        },
        OK,
    )


def _unread(guest: Guest) -> list[dict[str, Any]]:
    ledger = guest.ledger
    if ledger.unread is None:
        ledger.unread = []
        for index, item in enumerate(guest.config.bottles.inbound):
            given = Inbound(item, f"config.bottles.in[{index}]")
            ledger.unread.append(
                {
                    "content": given.content,
                    "from": given.source,
                    "id": sha256_hex(canonical([ledger.run_id, "in", index, given.source, given.content]))[
                        :12
                    ],
                    "sha256": _digest(given.content),
                }
            )
    return ledger.unread


def _digest(text: str) -> str:
    return sha256_hex(text.encode("utf-8", "surrogatepass"))
