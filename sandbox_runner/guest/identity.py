"""Wearing the sandbox uid: effective ids change, real and saved stay 0, root's things are out of reach."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["HOME", "USER", "Identity"]

USER = "sandbox"
"""What the sandbox uid is called; the host writes it into the files where programs look it up."""
HOME = "/tmp"


class Identity:
    """The sandbox uid (and the gid of the same number), as a context to be worn.

        with identity:
            os.open(...)      # as the sandbox uid, without capabilities

    Not reentrant: wearing twice would take it off too early, so it is an error. File operations only ``wear``
    it and leave it on for the next one; whatever else comes begins with ``take_off``.
    """

    __slots__ = ("uid", "worn")

    def __init__(self, uid: int) -> None:
        self.uid = uid
        self.worn = False

    def __enter__(self) -> None:
        if self.worn:
            raise RuntimeError("the sandbox uid is already worn")
        self.wear()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.take_off()

    def wear(self) -> None:
        """Put it on, unless it is worn."""
        if not self.worn:
            os.setegid(self.uid)
            os.seteuid(self.uid)
            self.worn = True

    def take_off(self) -> None:
        """Be root again, with its few capabilities."""
        if self.worn:
            os.seteuid(0)
            os.setegid(0)
            self.worn = False

    def become(self) -> None:
        """Turn into the sandbox uid for good; for a child, just before it runs something foreign."""
        os.setgroups([])
        os.setresgid(self.uid, self.uid, self.uid)
        os.setresuid(self.uid, self.uid, self.uid)
