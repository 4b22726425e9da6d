"""Source releases of the table: fetched by pip, pinned by digest, unpacked; nothing of them is run.

To say what it downloaded pip asks the release's build backend for metadata, and that would be code of the
release, or a backend in its newest version. So pip runs with ``--no-build-isolation``, and what it finds by
the names of the usual backends is the few lines below: they hand it the ``PKG-INFO`` that every release
carries. Of a release with a backend of its own (``backend-path``) code would run; the table has none.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.field.packages import Package

__all__ = ["FetchError", "fetch"]

_LONGEST_S = 300
_BACKENDS = ("flit_core.buildapi", "hatchling.build", "poetry.core.masonry.api", "setuptools.build_meta")
_METADATA = """\
import email, os, shutil, sys
__legacy__ = sys.modules[__name__]
def get_requires_for_build_wheel(config_settings=None):
    return []
def prepare_metadata_for_build_wheel(directory, config_settings=None):
    with open("PKG-INFO", encoding="utf-8") as file:
        fields = email.message_from_file(file)
    name = fields["Name"].replace("-", "_") + "-" + fields["Version"] + ".dist-info"
    os.mkdir(os.path.join(directory, name))
    shutil.copy("PKG-INFO", os.path.join(directory, name, "METADATA"))
    return name
"""


class FetchError(Exception):
    """A release cannot be had, or is not the one that is pinned."""


def fetch(package: Package, place: Path) -> Path:
    """Download a release into a directory and unpack it there; returns its tree.

    Raises:
        FetchError: pip does not get it, its digest is another one, or it holds more than one directory.
    """
    wanted = place / "wanted.txt"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    backends = _lay_backends(place / "backends")
    downloads = place / "downloads"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--use-pep517", "--no-binary", ":all:", "--require-hashes", "-r", wanted, "--dest", downloads]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(backends)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST_S,
    )
    if done.returncode:
        raise FetchError(f"pip does not fetch {package.name} {package.version}: {done.stderr.strip()[-600:]}")
    (archive,) = downloads.iterdir()
    tree = place / "tree"
    with tarfile.open(archive) as file:
        file.extractall(tree, filter="data")
    found = list(tree.iterdir())
    if len(found) != 1 or not found[0].is_dir():
        raise FetchError(f"{archive.name} holds more than one directory")
    return found[0]


def _lay_backends(place: Path) -> Path:
    for name in _BACKENDS:
        *folders, module = name.split(".")
        folder = place.joinpath(*folders)
        folder.mkdir(parents=True)
        for depth in range(len(folders)):
            place.joinpath(*folders[: depth + 1], "__init__.py").touch()
        (folder / f"{module}.py").write_text(_METADATA)
    return place
