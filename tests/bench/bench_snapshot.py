"""Snapshots beside restic, borg and tar, in one run on one machine: read the ratios.

    python tests/bench/bench_snapshot.py [--files 10000] [--megabytes 100] [--tree DIR] [--rounds 3]
    python tests/bench/bench_snapshot.py --memory

Without ``--tree`` the tree is made up: source-like text in many small files. ``--memory`` instead tells the
peak memory of a first capture and a restore of 50,000 files. Programs that are not installed are left out;
the last part needs Docker.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sandbox_runner.policy import Resources
from sandbox_runner.sandbox import Sandbox, SandboxSpec
from sandbox_runner.snapshot import DirectorySource, SnapshotStore

WORDS = [
    f"{stem}_{number}"
    for stem in ("value", "index", "def", "return", "self", "path")
    for number in range(200)
]
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def make_tree(root: Path, files: int, megabytes: int) -> None:
    chosen = random.Random(1)
    each = megabytes * 1_000_000 // files
    for number in range(files):
        path = root / f"package_{number % 97}" / f"module_{number % 11}" / f"file_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = " ".join(chosen.choices(WORDS, k=each // 8))
        path.write_text(text[: chosen.randrange(each // 2, each * 3 // 2)])


def change(root: Path, share: float) -> None:
    chosen = random.Random(2)
    paths = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    for path in chosen.sample(paths, max(1, int(len(paths) * share))):
        path.write_bytes(path.read_bytes() + b"\n# changed\n")


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def run(*command: str | Path, **environment: str) -> None:
    subprocess.run(command, check=True, env={**os.environ, **environment}, **QUIET)


class Restic:
    name = "restic"

    def __init__(self, place: Path) -> None:
        self.environment = {"RESTIC_REPOSITORY": str(place / "restic"), "RESTIC_PASSWORD": "x"}
        run("restic", "init", "--no-cache", **self.environment)

    def capture(self, tree: Path) -> None:
        run("restic", "backup", "--no-cache", "--force", tree, **self.environment)

    def again(self, tree: Path) -> None:
        run("restic", "backup", "--no-cache", tree, **self.environment)

    def restore(self, target: Path) -> None:
        run("restic", "restore", "latest", "--no-cache", "--target", target, **self.environment)


class Borg:
    name = "borg"

    def __init__(self, place: Path) -> None:
        self.place = place / "borg"
        self.environment = {
            "BORG_BASE_DIR": str(place / "borg-home"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }
        run("borg", "init", "-e", "none", self.place, **self.environment)

    def capture(self, tree: Path) -> None:
        run("borg", "create", f"{self.place}::first", tree, **self.environment)

    def again(self, tree: Path) -> None:
        run("borg", "create", f"{self.place}::second", tree, **self.environment)

    def restore(self, target: Path) -> None:
        target.mkdir()
        subprocess.run(
            ["borg", "extract", f"{self.place}::second"],
            check=True,
            cwd=target,
            env={**os.environ, **self.environment},
            **QUIET,
        )


class Ours:
    name = "ours"

    def __init__(self, place: Path) -> None:
        self.store = SnapshotStore(place / "ours")

    def capture(self, tree: Path) -> None:
        self.digest = self.store.capture(DirectorySource(tree)).digest

    again = capture

    def restore(self, target: Path) -> None:
        self.store.restore(self.digest, target)


def compare(tree: Path, rounds: int) -> dict[tuple[str, str], float]:
    """Median seconds of every step of every program; the programs take turns."""
    programs = [program for program in (Ours, Restic, Borg) if program is Ours or shutil.which(program.name)]
    taken: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            copy = place / "tree"
            shutil.copytree(tree, copy, symlinks=True)
            ready = [program(place) for program in programs]
            for program in ready:
                taken[program.name, "first"].append(timed(partial(program.capture, copy)))
            change(copy, 0.01)
            for program in ready:
                taken[program.name, "second"].append(timed(partial(program.again, copy)))
            for program in ready:
                out = place / f"{program.name}-out"
                taken[program.name, "restore"].append(timed(partial(program.restore, out)))
    return {key: statistics.median(values) for key, values in taken.items()}


def through_the_container(tree: Path, rounds: int, runtime: str) -> dict[str, float]:
    """Median seconds to fill a sandbox and to capture it, and of what they are measured against."""
    taken: defaultdict[str, list[float]] = defaultdict(list)
    resources = Resources(workspace="1GiB", workspace_inodes=200_000, memory="2GiB")
    for _ in range(rounds):
        spec = SandboxSpec(runtime=runtime, resources=resources)
        with tempfile.TemporaryDirectory() as name, Sandbox.start(spec) as sandbox:
            place = Path(name)
            (place / "out").mkdir()
            stores = [SnapshotStore(place / f"store{number}") for number in range(3)]
            source = DirectorySource(tree)
            base = stores[0].capture(source)
            pipe = f"tar -C '{tree}' -c . | tar -C '{place / 'out'}' -x"
            taken["tar | tar"].append(timed(partial(run, "sh", "-c", pipe)))
            taken["fill"].append(timed(partial(stores[0].fill, base.digest, sandbox)))
            taken["capture directory"].append(timed(partial(stores[1].capture, source)))
            taken["capture container"].append(timed(partial(stores[2].capture, sandbox)))
    return {key: statistics.median(values) for key, values in taken.items()}


MEMORY = """
import resource, sys
from sandbox_runner.snapshot import DirectorySource, SnapshotStore
store = SnapshotStore(sys.argv[2])
if sys.argv[1] == "capture":
    store.capture(DirectorySource(sys.argv[3]))
else:
    store.restore(store.list()[0].digest, sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def memory() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        make_tree(place / "tree", 50_000, 500)
        for work, target in (("capture", "tree"), ("restore", "out")):
            command = [sys.executable, "-c", MEMORY, work, place / "store", place / target]
            seconds = time.perf_counter()
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            tell(f"{work} of 50,000 files: peak {said} MiB, {time.perf_counter() - seconds:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--tree", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runtime", default="runc")
    parser.add_argument("--memory", action="store_true")
    chosen = parser.parse_args()
    if chosen.memory:
        memory()
        return
    with tempfile.TemporaryDirectory() as name:
        tree = chosen.tree or Path(name) / "tree"
        if not chosen.tree:
            make_tree(tree, chosen.files, chosen.megabytes)
        found = compare(tree, chosen.rounds)
        for step in ("first", "second", "restore"):
            ours = found["ours", step]
            others = [
                (other, found[other, step]) for other, known in found if known == step and other != "ours"
            ]
            ratios = "".join(f"   {ours / taken:.2f}x {other} ({taken:.2f} s)" for other, taken in others)
            tell(f"{step:8} {ours:6.2f} s{ratios}")
        inside = through_the_container(tree, chosen.rounds, chosen.runtime)
        for ours, against in (("fill", "tar | tar"), ("capture container", "capture directory")):
            tell(f"{ours:18} {inside[ours]:6.2f} s   {inside[ours] / inside[against]:.2f}x {against}")


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
