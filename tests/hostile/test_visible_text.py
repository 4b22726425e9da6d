"""No character that nobody sees leaves by any door: screen, errors, logs, report, JSON, files of a record."""

import io
import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox_runner.cli import main
from sandbox_runner.cli.boundary import bounded
from sandbox_runner.cli.progress import watching
from sandbox_runner.cli.screen import Screen
from sandbox_runner.errors import GuestError, InputError
from sandbox_runner.guest.digest import sha256_hex
from sandbox_runner.guest.ledger import canonical
from sandbox_runner.record import people_log
from sandbox_runner.record.encoding import ascii_lines
from sandbox_runner.record.report import FileChange, render_report
from sandbox_runner.record.run_record import RunRecord
from sandbox_runner.runner.artifacts import keep_ledger
from sandbox_runner.runner.home import Home
from sandbox_runner.runner.progress import Phase, Progress
from sandbox_runner.snapshot import DirectorySource, show_path
from sandbox_runner.snapshot.text import show_line
from sandbox_runner.trail import TrailPrinter, compile_worklog
from sandbox_runner.trail.printer import quoted
from sandbox_runner.visible import ascii_json, visible
from sandbox_runner.world import Call, Outcome

UNSEEN = (
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u061c\u180e"  # no width
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"  # direction
    "\x00\x07\x08\x0b\x0c\x1b\x7f\x80\x85\x8d\x90\x9b\x9d\x9f\u2028\u2029"  # control, line ends
    "\U000e0001\U000e0041\U000e007f\ufe00\ufe0f\U000e0100\U000e01ef\u180b"  # tags, variation selectors
    "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\u2800"  # blank, though letters, marks and signs
    "\u00a0\u1680\u2000\u2003\u2009\u202f\u205f\u3000"  # blanks that are not the blank
    "\ue000\uf8ff\U000f0000\U0010fffd\ufdd0\uffff\U0010ffff\u0378\U000e0fff\ufff9\ufffb"  # no character
)
FLOOD = "Z" + "\u0300\u0489\u20dd" * 400
EVIL = f"a{UNSEEN}b\n\r\t[bold red]x[/] :smile: {FLOOD}"
ALL = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)


def unseen(text: str, keep: str = "") -> set[str]:
    """What a reader would not see, judged by the categories of Unicode: an oracle of its own."""
    bad = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    found = {char for char in set(text) - set(keep) if unicodedata.category(char) in bad}
    found |= {char for char in set(text) if unicodedata.category(char) == "Zs" and char != " "}
    found |= set(text) & set("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0\u2800")
    found |= {
        char for char in set(text) if "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
    }
    run = 0
    for char in text:
        run = run + 1 if unicodedata.category(char) in {"Mn", "Me"} else 0
        if run > 4:
            found.add("flood")
    return found


def plain_ascii(data: bytes) -> bool:
    """Lines of printable ASCII and nothing else."""
    return all(0x20 <= byte < 0x7F or byte == 0x0A for byte in data)


# -- the rule ------------------------------------------------------------------------------------------------


def test_every_character_of_unicode_is_seen_or_spelled_out() -> None:
    shown = visible(ALL)
    assert unseen(shown) == set()
    letters = "azAZ09 ~äßÆłѲдあ大한ع\u05d0ไ😀…→±"
    assert visible(letters) == letters


def test_marks_stay_with_their_letter_and_a_flood_of_them_does_not() -> None:
    assert visible("e\u0301 ṩ x\u0303\u0330") == "e\u0301 ṩ x\u0303\u0330"
    assert visible("\u0301e") == "\\u0301e"  # nothing of the stranger's stands before it
    assert visible("\n\u0301") == "\\x0a\\u0301"
    assert visible("a" + "\u0301" * 6) == "a" + "\u0301" * 4 + "\\u0301" * 2


@given(st.text(max_size=60))
def test_what_is_visible_stays_as_it_is_and_so_does_what_is_put_together_of_it(text: str) -> None:
    shown = visible(text)
    assert unseen(shown) == set()
    assert visible(shown) == shown
    assert visible(f"ok{shown}{shown}") == f"ok{shown}{shown}"


@given(st.binary(max_size=60))
def test_names_and_lines_of_any_bytes_are_visible_and_names_tell_their_bytes(data: bytes) -> None:
    assert unseen(show_path(data)) == set()
    assert unseen(show_line(data), keep="\t") == set()
    told = re.sub(
        r"\\(?:(\\)|x(..)|u(....)|U(........))",
        lambda m: "\\" if m[1] else chr(0xDC00 + int(m[2], 16)) if m[2] else chr(int(m[3] or m[4], 16)),
        show_path(data),
    )
    assert told.encode("utf-8", "surrogateescape") == data


TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
LEAF = TEXT | st.integers() | st.none()


@given(st.recursive(LEAF, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)))
def test_json_is_printable_ascii_and_loses_nothing(value: Any) -> None:
    text = ascii_json(value)
    assert plain_ascii(text.encode())
    assert json.loads(text) == value


# -- what is stored ------------------------------------------------------------------------------------------


@given(st.lists(st.dictionaries(TEXT, TEXT, max_size=4), max_size=5))
def test_lines_of_the_guest_are_stored_in_ascii_and_their_chain_is_the_same(entries: list[dict]) -> None:
    raw = b"".join(canonical(entry) + b"\n" for entry in entries)
    stored = ascii_lines(raw)
    assert plain_ascii(stored)
    read = [json.loads(line) for line in stored.splitlines()]
    assert read == entries
    assert [sha256_hex(canonical(entry)) for entry in read] == [sha256_hex(canonical(e)) for e in entries]


@pytest.mark.parametrize(
    "raw",
    [b"\xff\n", b"[]\n", b"{}", b"{}\n\n", b'{"a":1}\x1b[2J\n', b"{" * 100_000 + b"\n", b"1\n", b"{}\r{}\n"],
)
def test_what_is_no_line_of_the_guest_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        ascii_lines(raw)


class _Sandbox:
    """A guest that hands out what it likes."""

    def __init__(self, body: bytes) -> None:
        self.header = {"entries": 1, "head": "0" * 64, "blobs": {"ledger": len(body), "bottles": 0}}
        self.body = body

    def ledger(self) -> Any:
        return self


class _Directory:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def add_artifact(self, path: str, data: bytes) -> None:
        self.kept[path] = data


def test_the_ledger_of_an_honest_guest_is_kept_in_ascii_and_a_lying_guests_is_a_fault() -> None:
    directory: Any = _Directory()
    raw = canonical({"target": EVIL + "\ud800"}) + b"\n"
    keep_ledger(_Sandbox(raw), directory)  # type: ignore[arg-type]
    assert plain_ascii(directory.kept["ledger.jsonl"])
    assert json.loads(directory.kept["ledger.jsonl"]) == {"target": EVIL + "\ud800"}
    with pytest.raises(GuestError, match="not of the agreed form"):
        keep_ledger(_Sandbox(b"\x1b[2J\xff"), directory)  # type: ignore[arg-type]


# -- every door of the program -------------------------------------------------------------------------------


def steps(evil: str) -> list[dict[str, Any]]:
    """A worklog whose every text is hostile."""
    evil = evil.replace("\0", "") or "x"  # which no name may hold
    name = evil.replace("/", "") or "x"
    return [
        {"op": "TRAIL_BEGIN", "agent": evil[:60], "trail_id": evil[:60], "ts": 1},
        {"op": "LABEL", "label": evil},
        {"op": "FILE_READ", "path": name},
        {"op": "FILE_WRITE", "path": f"../{name}", "content": evil},
        {"op": "SEARCH_CODE", "pattern": evil},
        {"op": "COMMENT", "comment": evil},
        {"op": "TRAIL_END", "status": 0},
    ]


def twist(evil: str) -> Callable[[Call, Outcome], Outcome]:
    """A world that answers with hostile texts in every place."""

    def answer(call: Call, outcome: Outcome) -> Outcome:
        details = {"message": evil, evil[:40]: [evil, {evil[:20]: evil}], "outcomes": [f"failed {evil}"]}
        return Outcome(outcome.status, f"{call.method}: {evil}", details, 5, {"output": f"{evil}\n{evil}"})

    return answer


class _Text(HTMLParser):
    """All text and attributes of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [tag, *(word for pair in attrs for word in pair if word)]


@pytest.fixture
def hostile_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_record: Callable[..., Path]) -> Path:
    """A state directory with one run in which everything that a stranger may write is hostile."""
    monkeypatch.setenv("SANDBOX_RUNNER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    home, tree = Home(), tmp_path / "tree"
    tree.mkdir()
    (tree / "same.txt").write_text("same\n")
    store = home.store()
    base = store.capture(DirectorySource(tree)).digest
    named = f"n{UNSEEN}\n\t{FLOOD[:60]}.txt".replace("\0", "").encode()[:240]
    for name in (named, b"raw\xff\x9b\n"):
        Path(os.fsdecode(bytes(tree) + b"/" + name)).write_text(f"{EVIL}\nline\n")
    (tree / "same.txt").write_text(EVIL)
    (tree / "link").symlink_to(EVIL.replace("\0", "")[:200])
    end = store.capture(DirectorySource(tree), label=EVIL).digest
    path = write_record(
        home.runs(),
        worklog=steps(EVIL),
        twist=twist(EVIL),
        base_snapshot=base,
        labels={EVIL: EVIL},
        principal="ann",
        options={"fail_fast": False, "privileges": {"withheld": [EVIL]}},
        versions={"python": EVIL},
    )
    result = json.loads((path / "result.json").read_bytes())
    (path / "result.json").write_bytes(
        (path / "result.json").read_bytes().replace(result["snapshot"].encode(), end.encode())
    )
    (tmp_path / "evil.json").write_text(json.dumps(steps(EVIL)))
    return path


DOORS = (
    ("show", "last"),
    ("log", "last"),
    ("runs",),
    ("verify", "last", "--unsigned"),
    ("check", "evil.json"),
    ("trail", "show", "evil.json"),
    ("trail", "show", "evil.json", "--format", "verbose"),
    ("trail", "show", "evil.json", "--format", "hex"),
    ("trail", "compile", "evil.json", "-o", "evil.flux"),
    ("run", "evil.json", "--dry-run"),
    ("run", "evil.json", "--dry-run", "-v", "-o", "runs\u200b\x1b"),
    ("snapshot", "list"),
    ("snapshot", "diff", "last"),
    ("snapshot", "diff", "last", "--names"),
    ("snapshot", "diff", "last", "--stat"),
    ("policy", "show", "strict"),
    ("policy", "explain", "FILE_WRITE", EVIL.replace("\0", "")),
    ("keys", "show"),
    ("nosuch\u200b\x1b[31m" + EVIL,),
    ("show", EVIL),
    ("run", "no\u202efile\x9b.json"),
    ("run", "evil.json", "--label", EVIL),
    ("run", "evil.json", "--policy", "p\u2028\x85"),
    ("snapshot", "show", "x\U000e0041"),
    ("--debug", "run", "no\u202efile\x9b.json"),
)


@pytest.mark.parametrize(
    "argv", DOORS, ids=lambda argv: " ".join(argv)[:40].encode("ascii", "replace").decode()
)
def test_nothing_unseen_comes_out_of_any_command(
    hostile_run: Path, argv: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    main(list(argv))
    out, err = capfd.readouterr()
    tabs = "\t" if argv[:2] == ("snapshot", "diff") else ""
    assert unseen(out, keep="\n" + tabs) == set()
    assert unseen(err, keep="\n") == set()
    assert out or err


@pytest.mark.parametrize(
    "argv",
    [
        ("show", "last"),
        ("log", "last"),
        ("runs",),
        ("check", "evil.json"),
        ("verify", "last"),
        ("trail", "show", "evil.json"),
        ("trail", "verify", "evil.flux"),
        ("run", "evil.json", "--dry-run"),
        ("snapshot", "list"),
        ("snapshot", "diff", "last"),
    ],
    ids=" ".join,
)
def test_json_answers_are_lines_of_printable_ascii(
    hostile_run: Path, argv: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    Path("evil.flux").write_bytes(compile_worklog(steps(EVIL)))
    main([*argv, "--json"])
    out, err = capfd.readouterr()
    assert plain_ascii(out.encode())
    assert [json.loads(line) for line in out.splitlines()]
    assert unseen(err, keep="\n") == set()


def test_a_snapshot_with_hostile_names_is_shown(hostile_run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for snapshot in Home().store().list():
        assert main(["snapshot", "show", snapshot.digest]) == 0
        assert main(["snapshot", "tag", snapshot.digest, "one"]) == 0
        out, err = capfd.readouterr()
        assert unseen(out + err, keep="\n") == set()


def test_a_report_shows_everything_and_so_does_its_source(hostile_run: Path) -> None:
    assert main(["report", "last", "-o", "page.html"]) == 0
    page = Path("page.html").read_text()
    assert unseen(page, keep="\n") == set()
    reader = _Text()
    reader.feed(page)
    assert unseen("".join(reader.found), keep="\n") == set()  # entities may not bring any back
    changes = [FileChange(EVIL, "added", EVIL, [EVIL, "+" + EVIL])]
    assert unseen(render_report(RunRecord.load(hostile_run), changes=changes), keep="\n") == set()


def test_every_file_of_a_record_that_is_text_is_printable_ascii(hostile_run: Path) -> None:
    texts = [path for path in hostile_run.rglob("*.json*") if path.name != "policy.json"]
    assert {path.name for path in texts} >= {"run.json", "calls.jsonl", "result.json", "attestation.json"}
    assert all(plain_ascii(path.read_bytes()) for path in texts)


# -- pieces, over all of Unicode -----------------------------------------------------------------------------

HOSTILE = st.text(alphabet=st.characters() | st.sampled_from(UNSEEN), min_size=1, max_size=30)


@given(HOSTILE)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_line_that_is_written_is_one_visible_line(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        Screen().say(text, f"\x1b[31m{text}\x1b[0m")
        Screen().note(text)
        Screen().data({text: text})
        bounded(lambda: (_ for _ in ()).throw(InputError(text, hint=text)), debug=False)
        bounded(lambda: (_ for _ in ()).throw(OSError(5, text, text)), debug=True)
        with watching(2) as tell:
            tell(Progress(Phase.ADMITTED, text, total=3, run_id="r"))
        people_log(err).bind(who=text).warning(
            text, value=text, nested={text: [text]}, raw=text.encode("utf-8", "replace")
        )
        people_log(err, json=True).warning(text, value=text, nested={text: [text]})
    lines = out.getvalue().split("\n")
    assert len(lines) == 4
    assert unseen(out.getvalue(), keep="\n\t") == set()
    assert unseen(err.getvalue(), keep="\n\t") == set()


def test_an_exception_in_a_log_is_visible() -> None:
    for as_json in (False, True):
        stream = io.StringIO()
        try:
            {}[EVIL]
        except KeyError:
            people_log(stream, json=as_json).exception("broken")
        assert "KeyError" in stream.getvalue()
        assert unseen(stream.getvalue(), keep="\n") == set()


@given(HOSTILE)
def test_a_listing_shows_every_operand(text: str) -> None:
    assert unseen(quoted(text)) == set()
    try:
        data = compile_worklog(steps(text))
    except InputError:
        return
    for form in ("text", "verbose", "hex", "compact"):
        assert unseen(TrailPrinter().print_bytecode(data, fmt=form), keep="\n") == set()
