"""Listings: true offsets, operands by signature, and nothing that a trail could forge."""

import pytest

from sandbox_runner.errors import TrailError
from sandbox_runner.trail import (
    TrailDecoder,
    TrailPrinter,
    TrailProgram,
    TrailStep,
    compile_worklog,
    hex_dump,
)

ENTRIES = [
    {"op": "TRAIL_BEGIN", "agent": "ada", "trail_id": "watch-12", "ts": 1_750_000_000},
    {"op": "NOP"},
    {"op": "FILE_WRITE", "path": "", "content": 'a"\n  NOP\x1b[2J\u202e\x9bé'},
    {"op": "TRUST_UPDATE", "target": "bob", "delta": -5},
    {"op": "GIT_PUSH", "repo": 3},
    {"op": "TRAIL_END", "status": 2},
]
V1, V2 = compile_worklog(ENTRIES, format="1"), compile_worklog(ENTRIES, format="2")


@pytest.mark.parametrize("data", [V1, V2], ids=["version 1", "version 2"])
def test_the_text_listing_resolves_operands_by_signature(data: bytes) -> None:
    title, begin, nop, write, trust, push, end, closing = TrailPrinter().print_bytecode(data).splitlines()
    assert "TRAIL-FLUX DISASSEMBLY" in title
    assert closing
    assert 'id="watch-12" id_hash=cf60b54f' in begin
    assert "time=1750000000" in begin
    assert nop.strip() == "NOP"
    assert 'path=""' in write
    assert 'target="bob" delta=-5' in trust
    assert push.split() == ["GIT_PUSH", "repo=3"]
    assert "total=6 status=2 (partial)" in end


@pytest.mark.parametrize("fmt", ["text", "hex", "verbose", "compact"])
def test_no_listing_holds_what_a_terminal_would_act_on(fmt: str) -> None:
    listing = TrailPrinter().print_bytecode(V1, fmt=fmt)
    assert all(line.isprintable() for line in listing.splitlines())
    if fmt in {"text", "hex"}:
        assert r'content="a\"\n  NOP\u001b[2J\u202e\u009bé"' in listing
        assert len(listing.splitlines()) == len(ENTRIES) + 2


@pytest.mark.parametrize("data", [V1, V2], ids=["version 1", "version 2"])
def test_the_hex_listing_shows_true_offsets(data: bytes) -> None:
    lines = TrailPrinter().print_bytecode(data, fmt="hex").splitlines()
    assert "TRAIL-FLUX HEX DUMP" in lines[0]
    for line, opcode in zip(lines[1:-1], (0xA0, 0x9F, 0x93, 0x9C, 0x91, 0xA1), strict=True):
        assert data[int(line.split(":")[0], 16)] == opcode
    if data is V1:
        assert lines[1].startswith("0000:")
        assert lines[2].startswith("000A:")


def test_the_verbose_listing_shows_the_raw_operands_and_the_string_table() -> None:
    listing = TrailPrinter().print_bytecode(V1, fmt="verbose")
    assert "TRAIL-FLUX VERBOSE" in listing
    assert "opcode: 0x9C" in listing
    assert "operands: [3]" in listing
    assert "timestamp: 1750000000" in listing
    assert '  cf60b54f: "watch-12"' in listing[listing.index("STRING TABLE") :]


def test_the_compact_listing_is_one_line_per_step() -> None:
    lines = TrailPrinter().print_bytecode(V1, fmt="compact").splitlines()
    assert [line.split()[0] for line in lines] == [entry["op"] for entry in ENTRIES]
    assert lines[1] == "NOP"
    assert lines[4] == "GIT_PUSH 3"


def test_a_program_is_listed_with_the_table_it_is_given() -> None:
    decoder = TrailDecoder()
    program = decoder.decode(V1)
    assert 'target="bob"' in TrailPrinter(decoder.string_table).print_program(program)
    assert 'target="<unresolved:81b637d8>"' in TrailPrinter().print_program(program, fmt="text")


def test_dummy_steps_are_listed_without_an_error() -> None:
    program = TrailProgram([TrailStep(opcode, [1]) for opcode in (0xA0, 0x92, 0x93, 0x9F, 0xA1)])
    listing = TrailPrinter().print_program(program)
    assert "<missing_string_arg>" in listing
    assert "TRAIL_BEGIN" in listing


def test_a_description_is_shown_and_escaped() -> None:
    program = TrailProgram([TrailStep(0x9F, description="say\x07 this")])
    assert "; say\\u0007 this" in TrailPrinter().print_program(program)


def test_an_unknown_format_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(TrailError, match="text, hex, verbose, compact") as caught:
        TrailPrinter().print_bytecode(V1, fmt="html")
    assert isinstance(caught.value, ValueError)


def test_a_hex_dump_has_sixteen_bytes_to_the_line() -> None:
    assert hex_dump(b"") == ""
    first, second = hex_dump(bytes(range(0x3C, 0x4D))).splitlines()
    assert first == "0000: 3C 3D 3E 3F 40 41 42 43 44 45 46 47 48 49 4A 4B  <=>?@ABCDEFGHIJK"
    assert second.split() == ["0010:", "4C", "L"]
