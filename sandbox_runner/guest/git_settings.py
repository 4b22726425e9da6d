"""What a repository's own configuration says of commits, read without git.

Git is never shown the file (see ``repository``). A handful of settings change what is committed and start
nothing: those are carried over, whatever form they are written in. Some others change what is committed and
cannot be carried over: an included file, ignore rules and attributes that lie elsewhere, an extension that
nobody here knows. They are ``withheld``, and a commit that they could concern is refused in words. Every
other setting is harmless here: it names programs that do not run, or concerns what a commit does not. What is
carried over stands behind ``OURS``, which git is shown instead.

Format: git's ``git-config(1)``, CONFIGURATION FILE.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Setting = tuple[bytes, bytes, bytes, "bytes | None"]

__all__ = ["OURS", "Settings", "parse"]

# Objects are renamed into place: by a link, old gVisor's file server keeps a descriptor for each for ever.
# A filter that is required and has no command ends what would run it: these two have the names by which git
# says that there is none.
OURS = b"""\
[core]
\tbare = false
\tlogAllRefUpdates = true
\thooksPath = /dev/null
\tfsmonitor = false
\tuntrackedCache = false
\tattributesFile = /dev/null
\texcludesFile = /dev/null
\tfsync = none
\tcreateObject = rename
\tsplitIndex = false
\tcommitGraph = false
\tmultiPackIndex = false
\tpreloadIndex = false
[advice]
\taddEmbeddedRepo = false
[commit]
\tgpgSign = false
[diff]
\tignoreSubmodules = dirty
[filter "unset"]
\trequired = true
[filter "unspecified"]
\trequired = true
[gc]
\tauto = 0
[index]
\tthreads = 1
[maintenance]
\tauto = false
[pack]
\tthreads = 1
[protocol]
\tallow = never
[submodule]
\trecurse = false
"""
"""The configuration that git is shown here, before what is carried over into it."""

# Every value of theirs is one plain word.
_CARRIED = {
    b"core": (
        b"autocrlf",
        b"bigfilethreshold",
        b"checkroundtripencoding",
        b"eol",
        b"filemode",
        b"ignorecase",
        b"protecthfs",
        b"protectntfs",
        b"repositoryformatversion",
        b"safecrlf",
        b"symlinks",
    ),
    b"extensions": (b"objectformat",),
}
_EXTENSIONS = (
    b"noop",
    b"noop-v1",
    b"objectformat",
    b"preciousobjects",
    b"refstorage",
    b"relativeworktrees",
)
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_FALSE = (b"false", b"no", b"off", b"0", b"")
_ESCAPES = {ord("n"): b"\n", ord("t"): b"\t", ord("b"): b"\b", ord("\\"): b"\\", ord('"'): b'"'}
_NAME = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_BLANKS = frozenset(b" \t\r\n")
_END = -1


class Settings:
    """The settings of a repository that count here.

    Attributes:
        carried: them, as a configuration of its own.
        withheld: why no commit can be made that equals git's own, in words; empty where one can.
        excludes: whether ignore rules lie where ``core.excludesFile`` says.
        ignores_case: ``core.ignoreCase``.
        partial: whether objects are left with a remote until they are asked for.
        per_worktree: whether ``config.worktree`` counts as well.
        sparse: ``core.sparseCheckout``.
        sparse_cone: ``core.sparseCheckoutCone``.
        wide: whether objects have names of SHA-256.
    """

    __slots__ = (
        "carried",
        "excludes",
        "ignores_case",
        "partial",
        "per_worktree",
        "sparse",
        "sparse_cone",
        "wide",
        "withheld",
    )

    def __init__(self) -> None:
        self.carried = b""
        self.withheld: list[str] = []
        self.excludes = self.ignores_case = self.partial = self.per_worktree = self.wide = False
        self.sparse = self.sparse_cone = False

    def take(self, text: bytes, name: str) -> None:
        """Take in a file of settings; those of a later one go before.

        Args:
            text: its contents.
            name: its name below ``.git``, for a sentence.
        """
        try:
            for setting in parse(text):
                self._take(*setting)
        except ValueError as error:
            self.withheld.append(f".git/{name} cannot be read: {error}")

    def _take(self, section: bytes, within: bytes, key: bytes, value: bytes | None) -> None:
        shown = (section + b"." + key).decode("ascii")  # what stands in quotes may be a path of some machine
        if section in {b"include", b"includeif"} and key == b"path" and value:
            self.withheld.append(f"{shown} names settings that this run does not see")
        elif section == b"remote" and key in {b"promisor", b"partialclonefilter"}:
            self.partial = self.partial or not _is_false(value)
        elif within:
            return
        elif key in _CARRIED.get(section, ()):
            self._carry(section, key, value, shown)
        elif section == b"core":
            self._of_core(key, value)
        elif section == b"extensions":
            self._of_extensions(key, value, shown)
        elif section == b"attr" and key == b"tree" and value:
            self.withheld.append("attr.tree names attributes that this run does not see")

    def _of_extensions(self, key: bytes, value: bytes | None, shown: str) -> None:
        if key == b"worktreeconfig":
            self.per_worktree = not _is_false(value)
        elif key == b"partialclone":
            self.partial = True
        elif key not in _EXTENSIONS:
            self.withheld.append(f"{shown[:80]} is an extension that is not supported")

    def _of_core(self, key: bytes, value: bytes | None) -> None:
        if key == b"excludesfile":
            self.excludes = bool(value) and value != b"/dev/null"
        elif key == b"attributesfile" and value not in {None, b"", b"/dev/null"}:
            self.withheld.append("core.attributesFile names attributes that this run does not see")
        elif key == b"sparsecheckout":
            self.sparse = not _is_false(value)
        elif key == b"sparsecheckoutcone":
            self.sparse_cone = not _is_false(value)
        elif key == b"worktree":
            self.withheld.append("core.worktree says that its files are elsewhere")
        elif key == b"bare" and not _is_false(value):
            self.withheld.append("core.bare says that it has no working tree")

    def _carry(self, section: bytes, key: bytes, value: bytes | None, shown: str) -> None:
        if value is not None and not _PLAIN.issuperset(value):
            self.withheld.append(f"{shown} has a value that is not supported")
            return
        said = b"" if value is None else b' = "%s"' % value
        self.carried += b"[%s]\n\t%s%s\n" % (section, key, said)
        if key == b"ignorecase":
            self.ignores_case = not _is_false(value)
        elif key == b"objectformat":
            self.wide = value == b"sha256"


def _is_false(value: bytes | None) -> bool:
    return value is not None and value.lower() in _FALSE


def parse(text: bytes) -> Iterator[Setting]:
    """Section, what stands in quotes beside it, key and value of every setting, in order.

    Section and key are in lower case. The value is ``None`` for a key that stands alone, which means true.

    Raises:
        ValueError: git would not read it either; says in which line.
    """
    reader = _Reader(text)
    try:
        yield from reader.settings()
    except _MalformedError:
        raise ValueError(f"bad line {reader.line}") from None


class _MalformedError(Exception):
    pass


class _Reader:
    """Character by character, as git reads."""

    def __init__(self, text: bytes) -> None:
        self.line = 1
        self._text = text[3:] if text.startswith(b"\xef\xbb\xbf") else text
        self._at = 0

    def settings(self) -> Iterator[Setting]:
        section = within = b""
        while True:
            c = self._next()
            if c == _END:
                return
            if c in _BLANKS:
                continue
            if c in b"#;":
                self._comment()
            elif c == ord("["):
                section, within = self._section()
            elif chr(c).isalpha() and c in _NAME:
                key, value = self._setting(c)
                yield section, within, key, value
            else:
                raise _MalformedError

    def _next(self) -> int:
        if self._at >= len(self._text):
            return _END
        c = self._text[self._at]
        if c == ord("\r") and self._text[self._at + 1 : self._at + 2] == b"\n":
            self._at += 1
            c = ord("\n")
        self._at += 1
        self.line += c == ord("\n")
        return c

    def _comment(self) -> None:
        end = self._text.find(b"\n", self._at)
        self._at = len(self._text) if end < 0 else end

    def _section(self) -> tuple[bytes, bytes]:
        name = bytearray()
        while True:
            c = self._next()
            if c == ord("]"):
                section, _, within = bytes(name).lower().partition(b".")
                return section, within
            if c in {ord(" "), ord("\t")}:
                return bytes(name).lower(), self._quoted()
            if c not in _NAME and c != ord("."):
                raise _MalformedError
            name.append(c)

    def _quoted(self) -> bytes:
        c = self._next()
        while c in {ord(" "), ord("\t")}:
            c = self._next()
        if c != ord('"'):
            raise _MalformedError
        name = bytearray()
        while True:
            c = self._next()
            if c == ord('"'):
                break
            if c == ord("\\"):
                c = self._next()
            if c in {_END, ord("\n")}:
                raise _MalformedError
            name.append(c)
        if self._next() != ord("]"):
            raise _MalformedError
        return bytes(name)

    def _setting(self, first: int) -> tuple[bytes, bytes | None]:
        name = bytearray((first,))
        c = self._next()
        while c in _NAME:
            name.append(c)
            c = self._next()
        while c in {ord(" "), ord("\t")}:
            c = self._next()
        key = bytes(name).lower()
        if c in {_END, ord("\n")}:
            return key, None
        if c != ord("="):
            raise _MalformedError
        return key, self._value()

    def _value(self) -> bytes:
        value, kept, quoted = bytearray(), 0, False  # kept: without the blanks at its end
        while True:
            c = self._next()
            if c in {_END, ord("\n")}:
                if quoted:
                    raise _MalformedError
                return bytes(value[:kept])
            if not quoted and c in b"#;":
                self._comment()
                continue
            if not quoted and c in _BLANKS:
                value += bytes((c,)) if value else b""
                continue
            if c == ord('"'):
                quoted = not quoted
            elif c == ord("\\"):
                value += self._escaped()
            else:
                value.append(c)
            kept = len(value)

    def _escaped(self) -> bytes:
        c = self._next()
        if c == ord("\n"):
            return b""
        if c not in _ESCAPES:
            raise _MalformedError
        return _ESCAPES[c]
