"""The table of packages, ``packages.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.field.suites import Difference

__all__ = ["PACKAGES", "Package"]

_TABLE = Path(__file__).with_name("packages.toml")


@dataclass(frozen=True, slots=True)
class Package:
    """One release.

    Attributes:
        name, version, sha256: which release, and the digest of its archive.
        tests: where its tests are.
        requirements: what they need beside the default image, pinned.
        differences: what ends otherwise here than under plain pytest, with reasons.
    """

    name: str
    version: str
    sha256: str
    tests: str
    requirements: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()


def _package(row: dict[str, Any]) -> Package:
    known = tuple(
        Difference(**{**each, **({"policies": tuple(each["policies"])} if "policies" in each else {})})
        for each in row.pop("difference", ())
    )
    return Package(**{**row, "requirements": tuple(row.get("requirements", ()))}, differences=known)


PACKAGES = {row["name"]: _package(row) for row in tomllib.loads(_TABLE.read_text("utf-8"))["package"]}
"""Every package of the table by its name."""
