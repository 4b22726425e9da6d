"""Writes ``vectors/trail_v2.json``: version 2 trails made from the specification alone, without the package.

    python tests/data/make_trail_v2.py

It shares no code with the codec, so that a mistake in one does not hide in the other.
"""

import json
import struct
from hashlib import sha256
from pathlib import Path

NONE = 0xFFFF_FFFF
MAGIC = bytes.fromhex("89464c5558320d0a")


def digest(text):
    return sha256(text.encode()).digest()


def head(strings, steps):
    return MAGIC + struct.pack("<II", strings, steps)


def string(text):
    raw = text.encode()
    return digest(text) + struct.pack("<I", len(raw)) + raw


def trail(texts, *steps):
    """The bytes; a step is an opcode and its operands: ("s", text), ("n", number), ("h", number) or bytes."""
    order = sorted(set(texts), key=digest)
    out = head(len(order), len(steps)) + b"".join(map(string, order))
    for opcode, *operands in steps:
        out += bytes([opcode])
        for operand in operands:
            if isinstance(operand, bytes):
                out += operand
            else:
                kind, value = operand
                code = {"s": "<I", "n": "<H", "h": "<h"}[kind]
                out += struct.pack(code, order.index(value) if kind == "s" else value)
    return out


def begin(texts, *, agent=None, agent_id=0, trail_id=None, id_hash=None, time=0):
    order = sorted(set(texts), key=digest)
    reference = [NONE if text is None else order.index(text) for text in (agent, trail_id)]
    known = id_hash if id_hash is not None else digest(trail_id)[:4] if trail_id is not None else bytes(4)
    return [0xA0, struct.pack("<BII4sQ", agent_id, *reference, known, time)]


def end(status=0):
    return [0xA1, bytes([status])]


def s(text):
    return ("s", text)


def n(number):
    return ("n", number)


ENTRIES = [
    {"op": "TRAIL_BEGIN", "agent": "ada", "trail_id": "all", "ts": 1_750_000_000},
    {"op": "GIT_COMMIT", "repo": 3, "message": "fix: größe"},
    {"op": "GIT_PUSH", "repo": 65535},
    {"op": "FILE_READ", "path": "src/app.py"},
    {"op": "FILE_WRITE", "path": "big.txt", "content": "line\n" * 100},
    {"op": "FILE_EDIT", "path": "src/app.py", "old": "a\0b", "new": ""},
    {"op": "TEST_RUN", "test_path": "tests", "count": 17},
    {"op": "SEARCH_CODE", "pattern": "def "},
    {"op": "BOTTLE_DROP", "target": "bob", "content": "hello"},
    {"op": "BOTTLE_READ", "source": "bob"},
    {"op": "LEVEL_UP", "level": 4},
    {"op": "SPELL_CAST", "spell": "look"},
    {"op": "ROOM_ENTER", "room": "dojo"},
    {"op": "TRUST_UPDATE", "target": "bob", "delta": -5},
    {"op": "CAP_ISSUE", "action": "file_write", "holder": "bob"},
    {"op": "BRANCH", "reg": 2},
    {"op": "NOP"},
    {"op": "COMMENT", "comment": "🚀 done"},
    {"op": "LABEL", "label": "end"},
    {"op": "TRAIL_END", "status": 2},
]
TEXTS = [
    *("ada", "all", "fix: größe", "src/app.py", "big.txt", "line\n" * 100, "a\0b", "", "tests", "def "),
    *("bob", "hello", "look", "dojo", "file_write", "🚀 done", "end"),
]


def every_operation():
    data = trail(
        TEXTS,
        begin(TEXTS, agent="ada", agent_id=digest("ada")[0], trail_id="all", time=1_750_000_000),
        [0x90, n(3), s("fix: größe")],
        [0x91, n(65535)],
        [0x92, s("src/app.py")],
        [0x93, s("big.txt"), s("line\n" * 100)],
        [0x94, s("src/app.py"), s("a\0b"), s("")],
        [0x95, s("tests"), n(17)],
        [0x96, s("def ")],
        [0x97, s("bob"), s("hello")],
        [0x98, s("bob")],
        [0x99, n(4)],
        [0x9A, s("look")],
        [0x9B, s("dojo")],
        [0x9C, s("bob"), ("h", -5)],
        [0x9D, s("file_write"), s("bob")],
        [0x9E, n(2)],
        [0x9F],
        [0xA2, s("🚀 done")],
        [0xA3, s("end")],
        end(2),
    )
    known = {"agent_id": digest("ada")[0], "trail_id": "all", "trail_id_hash": digest("all")[:4].hex()}
    arguments = [["TRAIL_BEGIN", {**known, "timestamp": 1_750_000_000, "agent": "ada"}]]
    names = {"reg": "register", "count": "expected"}
    arguments += [
        [entry["op"], {names.get(key, key): value for key, value in entry.items() if key != "op"}]
        for entry in ENTRIES[1:-1]
    ]
    arguments.append(["TRAIL_END", {"status": 2, "total_steps": 20}])
    return {
        "id": "every operation",
        "entries": ENTRIES,
        "strings": TEXTS,
        "arguments": arguments,
        "hex": data.hex(),
    }


def framed(name, texts, steps, arguments, **fields):
    data = trail(texts, begin(texts, **fields), *steps, end())
    known = {
        "agent_id": fields.get("agent_id", 0),
        "trail_id": fields.get("trail_id") or "",
        "trail_id_hash": data[data.index(b"\xa0", 16 + sum(36 + len(t.encode()) for t in set(texts))) + 10 :][
            :4
        ].hex(),
        "timestamp": fields.get("time", 0),
    }
    if fields.get("agent") is not None:
        known["agent"] = fields["agent"]
    tail = ["TRAIL_END", {"status": 0, "total_steps": len(steps) + 2}]
    return {
        "id": name,
        "strings": sorted(set(texts)),
        "arguments": [["TRAIL_BEGIN", known], *arguments, tail],
        "hex": data.hex(),
    }


def sound():
    colliding = ["src/mod_21071.py", "src/mod_28115.py"]
    inner = [0xA0, struct.pack("<BII4sQ", 1, NONE, NONE, bytes(4), 0)]
    shown = {"agent_id": 1, "trail_id": "", "trail_id_hash": "00000000", "timestamp": 0}
    return [
        every_operation(),
        framed("empty", [], [], []),
        framed("time at its end", [], [], [], time=2**53 - 1, agent_id=255),
        framed("an id whose text is not known", ["x"], [], [], id_hash=b"\xde\xad\xbe\xef"),
        framed("an empty agent and an empty id", [""], [], [], agent="", trail_id=""),
        framed(
            "agent, id and operand are one text",
            ["z"],
            [[0xA2, s("z")]],
            [["COMMENT", {"comment": "z"}]],
            agent="z",
            trail_id="z",
        ),
        framed("a string that nothing refers to", ["a", "b"], [], [], agent="a"),
        framed(
            "strings with one 32-bit hash",
            colliding,
            [[0x92, s(t)] for t in colliding],
            [["FILE_READ", {"path": t}] for t in colliding],
        ),
        framed("a repository by name", ["lib"], [[0x11, s("lib")]], [["GIT_PUSH", {"repo": "lib"}]]),
        framed("a second begin", [], [inner], [["TRAIL_BEGIN", shown]]),
    ]


def broken():
    texts = ["a", "b"]
    good = trail(texts, begin(texts, agent="a", trail_id="b"), [0x92, s("a")], end())
    first = 16
    steps_at = first + 2 * 37

    def put(offset, raw):
        return (good[:offset] + raw + good[offset + len(raw) :]).hex()

    order = sorted(texts, key=digest)
    swapped = head(2, 2) + string(order[1]) + string(order[0])
    twice = head(2, 2) + string("a") + string("a")
    long = struct.pack("<I", 100)
    known_text = trail(texts, begin(texts, id_hash=digest("a")[:4]), end())
    latin = b"\xe9"
    not_utf8 = head(1, 0) + sha256(latin).digest() + struct.pack("<I", 1) + latin
    return [
        {"id": "another magic", "offset": 0, "hex": put(7, b"\r")},
        {"id": "magic alone", "offset": 8, "hex": MAGIC.hex()},
        {"id": "one byte", "offset": 1, "hex": "89"},
        {"id": "strings out of order", "offset": 16 + 37, "hex": swapped.hex()},
        {"id": "a string twice", "offset": 16 + 37, "hex": twice.hex()},
        {"id": "a digest of another text", "offset": first, "hex": put(first, b"\0")},
        {"id": "another text", "offset": first, "hex": put(first + 36, b"c")},
        {"id": "text past the end", "offset": len(not_utf8), "hex": (not_utf8[:48] + long + latin).hex()},
        {"id": "text that is not UTF-8", "offset": len(not_utf8) - 1, "hex": not_utf8.hex()},
        {"id": "a reference past the last string", "offset": steps_at + 23, "hex": put(steps_at + 23, b"\2")},
        {"id": "no operand may be none", "offset": steps_at + 23, "hex": put(steps_at + 23, b"\xff" * 4)},
        {"id": "an agent past the last string", "offset": steps_at + 2, "hex": put(steps_at + 2, b"\2")},
        {"id": "an id past the last string", "offset": steps_at + 6, "hex": put(steps_at + 6, b"\2")},
        {"id": "the hash of another id", "offset": steps_at + 10, "hex": put(steps_at + 10, b"\0")},
        {"id": "an id whose text is known after all", "offset": steps_at + 6, "hex": known_text.hex()},
        {
            "id": "a time that JSON cannot hold",
            "offset": steps_at + 14,
            "hex": put(steps_at + 14, struct.pack("<Q", 2**53)),
        },
        {"id": "the table marker as a step", "offset": steps_at + 22, "hex": put(steps_at + 22, b"\xb0")},
        {"id": "an unknown operation", "offset": steps_at + 22, "hex": put(steps_at + 22, b"\x12")},
        {"id": "bytes after the last step", "offset": len(good), "hex": (good + b"\0").hex()},
        {"id": "a step too few", "offset": len(good), "hex": put(12, b"\4")},
        {"id": "a string too few", "offset": first + 37, "hex": put(8, b"\1")} | {"offset": first + 37},
    ]


def unframed():
    start = begin([])
    return [
        {"id": "no end", "hex": trail([], start, [0x9F]).hex()},
        {"id": "no begin", "hex": trail([], [0x9F], end()).hex()},
        {"id": "steps after the end", "hex": trail([], start, end(), [0x9F], end()).hex()},
        {"id": "no steps", "hex": trail([]).hex()},
    ]


if __name__ == "__main__":
    target = Path(__file__).parent / "vectors" / "trail_v2.json"
    content = {
        "note": "version 2 trails: those with arguments load, those with an offset are malformed there",
        "vectors": [*sound(), *broken(), *unframed()],
    }
    target.write_text(json.dumps(content, indent=1) + "\n")
