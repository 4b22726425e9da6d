"""Reading worklogs: three forms in, entries or one precise error out."""

import json
import re
import time
import tracemalloc

import pytest

from sandbox_runner.errors import TrailCompileError
from sandbox_runner.trail import (
    TrailLimits,
    compile_file,
    compile_worklog,
    iter_worklog,
    read_worklog,
)

ENTRIES = [
    {"op": "FILE_READ", "path": "größe\n.py"},
    {"op": "TEST_RUN", "path": "t", "count": 3.5},
    {"op": "NOP", "x": None},
]
LIST = json.dumps(ENTRIES).encode()
LINES = "\n".join(json.dumps(entry, ensure_ascii=False) for entry in ENTRIES).encode()


@pytest.mark.parametrize(
    "data",
    [
        LIST,
        json.dumps({"entries": ENTRIES}, indent=2).encode(),
        LINES,
        LINES.replace(b"\n", b"\r\n\r\n") + b"\n",
        b"\xef\xbb\xbf \n" + LIST,
    ],
    ids=["list", "mapping", "lines", "lines with blank ones", "byte order mark"],
)
def test_a_list_a_mapping_and_json_lines_are_the_same_worklog(data: bytes) -> None:
    assert read_worklog(data) == ENTRIES


@pytest.mark.parametrize("data", [b"[]", b" [ ]\n", b'{"entries": []}'])
def test_an_empty_worklog_is_read_as_no_entries(data: bytes) -> None:
    assert read_worklog(data) == []


BAD = {
    b"": (None, "empty"),
    b"  \n": (None, "empty"),
    b"\xa0\x00": (None, "0xA0"),
    b"\xff\xfe[\x00]\x00": (None, "0xFF"),
    b"[1]": (0, "must be a mapping"),
    b'["op"]': (0, "must be a mapping"),
    b"[null]": (0, "must be a mapping"),
    b"[{}]": (0, "no key 'op'"),
    b'[{"op":"NOP"},{}]': (1, "no key 'op'"),
    b'[{"op":"NOP"},]': (1, "must be a mapping"),
    b'[{"op":"NOP"} {"op":"NOP"}]': (0, "neither"),
    b'[{"op":"NOP"}': (0, "neither"),
    b"[": (0, "worklog ends"),
    b'[{"op":"NOP"}] []': (None, "follow"),
    b'[{"op":"NOP",}]': (0, "no JSON object"),
    b'[{"op":"NOP"': (0, "no JSON object"),
    b'[{op:"NOP"}]': (0, "no JSON object"),
    b"[{'op':'NOP'}]": (0, "no JSON object"),
    b'[{"op":"NOP","a":[1]}]': (0, "nested"),
    b'[{"op":"NOP","a":{"b":1}}]': (0, "nested"),
    b'[{"op":"NOP","a":NaN}]': (0, "no JSON object"),
    b'[{"op":"NOP","a":-Infinity}]': (0, "no JSON object"),
    b'[{"op":"NOP","a":1e999}]': (0, "no field"),
    b'[{"op":"NOP","a":' + b"9" * 5000 + b"}]": (0, "5000 characters"),
    b'[{"op":"NOP","a":01}]': (0, "no JSON"),
    b'[{"op":"NOP","a":"\\ud800"}]': (0, "U+D800"),
    b'[{"op":"NOP","\\udfff":1}]': (0, "U+DFFF"),
    b'[{"op":"NOP","a":"\xed\xa0\x80"}]': (0, "UTF-8"),
    b'[{"op":"NOP","a":"\xff"}]': (0, "UTF-8"),
    b'[{"op":"NO\x00P"}]': (0, "no JSON object"),
    b'[{"op":"NOP","op":"NOP"}]': (0, "twice"),
    b'[{"op":"N","\\u006fp":"M"}]': (0, "twice"),
    b'[{"op":"NO\\xP"}]': (0, "at offset 10"),
    b'{"entries":[{"op":"NOP"}],"agent":"x"}': (None, "nothing but 'entries'"),
    b'{"entries":[]': (None, "nothing but 'entries'"),
    b'{"agent":"x","entries":[]}': (0, "nested"),
    b'{"op":"NOP"}{"op":"NOP"}': (0, "alone on its line"),
    b'{"op":"NOP"},\n{"op":"NOP"}': (0, "alone on its line"),
    b'[{"op":1,' + b",".join(b'"k%d":1' % i for i in range(70)) + b"}]": (0, "more than 64 keys"),
}


@pytest.mark.parametrize("data", BAD, ids=lambda data: repr(data[:40]))
def test_what_is_no_worklog_is_an_error_that_names_the_entry(data: bytes) -> None:
    entry, text = BAD[data]
    with pytest.raises(TrailCompileError) as caught:
        read_worklog(data)
    assert text in str(caught.value)
    assert caught.value.entry == entry


BOMBS = {
    "lists": b"[" * 100_000,
    "mappings": b'[{"a":' * 100_000,
    "nested value": b'[{"op":"NOP","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
    "keys": b'[{"op":1,' + b",".join(b'"k%d":1' % i for i in range(300_000)) + b"}]",
    "one key again": b'[{"op":1' + b',"k":1' * 500_000 + b"}]",
    "empty entries": b"[" + b"{}," * 1_000_000 + b"{}]",
    "digits": b'[{"op":"NOP","a":' + b"1" * 5_000_000 + b"}]",
    "escapes": b'[{"op":"' + b"\\n" * 3_000_000,
    "blanks": b"[" + b" " * 5_000_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_under_a_second_and_little_memory(name: str) -> None:
    started = time.process_time()  # not the clock on the wall: the machine may be busy with other things
    with pytest.raises(TrailCompileError):
        read_worklog(BOMBS[name])
    assert time.process_time() - started < 1
    tracemalloc.start()
    with pytest.raises(TrailCompileError):
        read_worklog(BOMBS[name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def test_each_limit_is_named_by_the_error_that_it_causes() -> None:
    line = b'{"op":"NOP"}\n'
    for limits, name in (
        (TrailLimits(worklog_bytes=20), "worklog_bytes"),
        (TrailLimits(entries=2), "entries"),
        (TrailLimits(entry_bytes=8), "entry_bytes"),
    ):
        with pytest.raises(TrailCompileError, match=f"limit {name} of"):
            read_worklog(line * 3, limits)


def test_entries_come_one_by_one_so_a_bad_end_does_not_hide_a_good_beginning() -> None:
    entries = iter_worklog(b'[{"op":"NOP"},{"op":"NOP"},oops]')
    assert next(entries) == {"op": "NOP"}
    assert next(entries) == {"op": "NOP"}
    with pytest.raises(TrailCompileError, match="entry 3, line 1: "):
        next(entries)


PLACED = ({"op": "TRAIL_BEGIN"}, {"op": "FILE_READ", "path": 5}, {"op": "TRAIL_END"})
FORMS = {
    "list": (json.dumps(PLACED).encode(), 1),
    "one to a line": (b"[\n" + b",\n".join(json.dumps(entry).encode() for entry in PLACED) + b"]", 3),
    "indented": (json.dumps({"entries": PLACED}, indent=1).encode(), 6),
    "lines": (b"\n\n" + b"\r\n\n".join(json.dumps(entry).encode() for entry in PLACED), 5),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_bad_entry_of_a_file_is_named_by_its_number_and_its_line(form: str) -> None:
    """However the file is laid out, and whether the reader or the compiler finds the fault."""
    data, line = FORMS[form]
    for broken in (data, data.replace(b"5", b"null"), data.replace(b'"FILE_READ"', b"7")):
        with pytest.raises(TrailCompileError) as caught:
            compile_file(broken)
        assert (caught.value.entry, caught.value.line) == (1, line)
        assert str(caught.value).startswith(f"entry 2, line {line}: ")
    for broken in (data.replace(b": 5", b": [5]"), data.replace(b": 5", b": '5'")):
        with pytest.raises(TrailCompileError) as caught:
            compile_file(broken)
        fault = broken[: broken.index(b"[5]") if b"[5]" in broken else broken.index(b"'5'")]
        assert (caught.value.entry, caught.value.line) == (1, fault.count(b"\n") + 1)


@pytest.mark.parametrize(
    ("data", "line", "told"),
    [
        (
            b'[{"op":"NOP"},\n]',
            2,
            "entry 2, line 2: it must be a mapping, but behind the comma the list ends",
        ),
        (b'[{"op":"NOP",\n}]', 1, "a comma may not stand before '}'"),
    ],
)
def test_a_comma_before_the_end_is_told_as_that(data: bytes, line: int, told: str) -> None:
    with pytest.raises(TrailCompileError, match=re.escape(told)) as caught:
        compile_file(data)
    assert caught.value.line == line


def test_entries_that_are_no_file_have_a_number_alone() -> None:
    with pytest.raises(TrailCompileError) as caught:
        compile_worklog(PLACED)
    assert (caught.value.entry, caught.value.line) == (1, None)
    assert str(caught.value).startswith("entry 2: path is ")
