"""The verifier of the reference's interface: six passes over a program, with findings instead of prints.

1. framing: TRAIL_BEGIN first, TRAIL_END last and nowhere else; 2. opcodes: none is the section marker;
3. operand counts: exactly those of the operation; 4. round trip: encoding, decoding and encoding again gives
the same bytes and loses nothing; 5. fingerprint: it can be computed; 6. string table: every text belongs to
its hash and every reference of a step is there.

Pass 6 needs a table. Without one, a program whose references point nowhere passes: other tools build such
programs. So do its bytes where their table is there and is empty, as an encoder without a table writes it,
with a warning for each reference; as soon as there is one text, or no table at all, or the verifier was given
one, every reference must be there. ``load`` is stricter still and is the only door to replay; ``examine``
says what it finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

from sandbox_runner.arguments import checked
from sandbox_runner.errors import TrailError
from sandbox_runner.trail.codec import TrailDecoder, TrailEncoder
from sandbox_runner.trail.codec_v1 import scan
from sandbox_runner.trail.findings import MAX_FINDINGS, Finding, Severity, errors_in
from sandbox_runner.trail.hashes import str_to_hash, u16_pair_to_hex
from sandbox_runner.trail.limits import DEFAULT_LIMITS
from sandbox_runner.trail.operands import form_for
from sandbox_runner.trail.operations import OPERATIONS, TrailOpcodes, slots_of
from sandbox_runner.trail.program import TrailProgram
from sandbox_runner.trail.shapes import FRAME
from sandbox_runner.trail.strict_v1 import frame_findings, operand_count_finding, unresolved_finding
from sandbox_runner.trail.trail import examine

__all__ = ["TrailVerifier"]


@checked
class TrailVerifier:
    """Verifies programs and bytes.

    Attributes:
        string_table: the table that a program's references are looked up in (key to text).
        findings: of the last verification, in the order of the passes.
    """

    def __init__(self, string_table: Mapping[str, str] | None = None) -> None:
        self.string_table: dict[str, str] = dict(string_table or {})
        self.findings: tuple[Finding, ...] = ()

    @property
    def errors(self) -> list[str]:
        """What forbids replay."""
        return self._texts(Severity.ERROR)

    @property
    def warnings(self) -> list[str]:
        """What wants a look."""
        return self._texts(Severity.WARNING)

    def verify(self, program: TrailProgram) -> bool:
        """Whether a program passes; ``findings`` says why not."""
        return self._conclude(_program_findings(program, self.string_table))

    def verify_bytecode(self, data: bytes) -> bool:
        """Whether bytes are sound; where this refuses them, ``load`` does too.

        It passes one thing that ``load`` refuses: references where the bytes say that they carry no text,
        their table being empty, and the verifier was given none either. Each is a warning then.
        """
        findings = examine(data)
        if not self.string_table:
            findings = _excused(findings, data)
        return self._conclude(findings)

    def report(self) -> str:
        """The findings as text; ``PASSED`` where there are neither errors nor warnings."""
        lines = []
        for title, texts in (("warning", self.warnings), ("error", self.errors)):
            if texts:
                lines += [
                    f"{len(texts)} {title}{'s' if len(texts) > 1 else ''}:",
                    *(f"  - {text}" for text in texts),
                ]
        head = "FAILED" if self.errors else "PASSED with warnings" if lines else "PASSED"
        return "\n".join((f"Trail verification: {head}", *lines))

    def _texts(self, severity: Severity) -> list[str]:
        return [str(finding) for finding in self.findings if finding.severity is severity]

    def _conclude(self, findings: Iterable[Finding]) -> bool:
        self.findings = tuple(islice(findings, MAX_FINDINGS))
        return not errors_in(self.findings)


def _program_findings(program: TrailProgram, table: Mapping[str, str]) -> Iterator[Finding]:
    yield from frame_findings(bytes(step.opcode for step in program.steps))
    for index, step in enumerate(program.steps):
        if step.opcode is TrailOpcodes.HASHTABLE:
            yield _error("no-step", "HASHTABLE marks the string table and is no step", index)
        elif step.opcode not in FRAME and len(step.operands) not in _SLOTS[step.opcode]:
            yield operand_count_finding(index, step.opcode, len(step.operands))
    yield from _round_trip(program, table)
    if program.version == 1:
        yield from _fingerprint(program)
    if table:
        yield from _references(program, table)


def _excused(findings: Iterable[Finding], data: bytes) -> Iterator[Finding]:
    """The findings; unresolved references are warnings where the string table is there and is empty.

    The warnings come last: however many there are, none takes the place of an error.
    """
    excused: list[Finding] = []
    textless: bool | None = None
    for finding in findings:
        if finding.code == "unresolved-reference" and textless is None:
            layout = scan(data, DEFAULT_LIMITS)
            textless = layout.table_at is not None and not layout.keys
        if finding.code != "unresolved-reference" or not textless:
            yield finding
        elif len(excused) < MAX_FINDINGS:
            excused.append(replace(finding, severity=Severity.WARNING))
    yield from excused


_SLOTS = {opcode: {slots_of(form) for form in operation.forms} for opcode, operation in OPERATIONS.items()}


def _error(code: str, text: str, step: int | None = None) -> Finding:
    return Finding(Severity.ERROR, code, text, step)


def _round_trip(program: TrailProgram, table: Mapping[str, str]) -> Iterator[Finding]:
    try:
        data = TrailEncoder(table).encode(program)
        decoder = TrailDecoder()
        back = decoder.decode(data)
        again = TrailEncoder(decoder.string_table).encode(back)
    except TrailError as error:
        yield _error("round-trip", f"the program cannot be written and read back: {error}")
        return
    if again != data:
        yield _error("round-trip", "writing what was read gives other bytes")
    for index, (mine, theirs) in enumerate(zip(program.steps, back.steps, strict=True)):
        # An empty begin or end step takes its byte from the agent's name or from the default.
        kept = mine.operands == theirs.operands or (mine.opcode in FRAME and not mine.operands)
        if not kept:
            yield _error(
                "lost-operands", f"{mine.opcode.name} has operands that its record does not hold", index
            )


def _fingerprint(program: TrailProgram) -> Iterator[Finding]:
    try:
        program.fingerprint()
    except TrailError as error:
        yield Finding(Severity.WARNING, "no-fingerprint", f"the program has no fingerprint: {error}")


def _references(program: TrailProgram, table: Mapping[str, str]) -> Iterator[Finding]:
    known = {key[:8] for key in table}
    if program.version == 1:
        for key, text in table.items():
            if str_to_hash(text) != key[:8]:
                yield _error(
                    "wrong-hash", f"the text under {key[:8]} in the string table does not belong to its hash"
                )
    for index, step in enumerate(program.steps):
        at = 0
        for operand in form_for(step.opcode, len(step.operands)):
            pair = step.operands[at : at + 2]
            at += operand.slots
            if operand.is_text and len(pair) == 2 and u16_pair_to_hex(*pair) not in known:
                yield unresolved_finding(index, step.opcode, operand.name, u16_pair_to_hex(*pair))
