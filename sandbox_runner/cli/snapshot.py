"""``sandbox-runner snapshot``: what runs left behind: look, compare, take out, hand on, thin out."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sandbox_runner.cli.commands import CommandGroup
from sandbox_runner.cli.locate import find_run
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.session import settings
from sandbox_runner.cli.text import columns, pairs, plural, printable, size
from sandbox_runner.cli.usage import UsageError
from sandbox_runner.errors import ExitCode, SnapshotError, VerificationError
from sandbox_runner.record import RunRecord, list_runs
from sandbox_runner.runner.home import Home
from sandbox_runner.snapshot import Snapshot, SnapshotStore, TreeDiff, json_path, show_path

__all__ = ["app"]

app = typer.Typer(cls=CommandGroup, rich_markup_mode=None, no_args_is_help=True)

_DIGITS = 12  # of a digest in a list; any unambiguous beginning is accepted

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
Name = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="A digest, the beginning of one, or a tag.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run id, its beginning, `last`, or a directory.")]


@app.command("list")
def list_(context: typer.Context, json: Json = False) -> None:
    """List snapshots, the newest first."""
    snapshots = _store(context).list()
    screen = Screen(json=json)
    if json:
        screen.data([_facts(snapshot) for snapshot in snapshots])
    elif snapshots:
        header = ("SNAPSHOT", "CAPTURED", "FILES", "SIZE", "STORED", "TAGS", "")
        screen.say(*columns(map(_row, snapshots), header=header, right={2, 3, 4}))
    else:
        screen.note("there is no snapshot yet; every run leaves one")


@app.command()
def show(context: typer.Context, snapshot: Name, json: Json = False) -> None:
    """Show what is in a snapshot, and what could not be captured."""
    store, screen = _store(context), Screen(json=json)
    found = store.show(snapshot)
    entries = store.entries(found.digest)
    if json:
        listed = [
            {
                **json_path(entry.path),
                "type": entry.type,
                "mode": f"{entry.mode:04o}",
                "size": entry.size,
                "digest": entry.digest.hex(),
            }
            for entry in entries
        ]
        screen.data({**_facts(found), "entries": listed})
        return
    screen.say(*pairs(_portrait(found), indent=""), "")
    screen.say(*(f"{e.mode:04o}  {e.type:<9}  {e.size:>12,}  {show_path(e.path)}" for e in entries))
    screen.note(*(f"left out: {show_path(item.path)}: {item.text}" for item in found.omissions))
    screen.note(
        *(
            f"normalised: {note.text}, {note.count:,} times, first {show_path(note.path)}"
            for note in found.notes
        )
    )


@app.command()
def diff(
    context: typer.Context,
    old: Annotated[
        str, typer.Argument(metavar="A", help="A snapshot; without B, a run: its base against its end.")
    ],
    new: Annotated[str | None, typer.Argument(metavar="[B]", help="Another snapshot.")] = None,
    *,
    stat: Annotated[bool, typer.Option("--stat", help="Lines added and removed per file.")] = False,
    names: Annotated[bool, typer.Option("--names", help="Only the paths.")] = False,
    json: Json = False,
) -> None:
    """Compare two snapshots, or what a run started from with what it left."""
    store, screen = _store(context), Screen(json=json)
    before, after = (old, new) if new is not None else _ends(_run(context, old))
    found = store.diff(before, after)
    if json:
        screen.data(found.as_json())
    elif names:
        screen.say(*_names(screen, found))
    elif stat:
        for line in store.line_counts(found):
            counts = "binary" if line.added is None else f"+{line.added} -{line.removed}"
            screen.say(f"{counts:>14}  {show_path(line.change.path)}")
    else:
        screen.say(*(_coloured(screen, line) for line in store.unified(found)))
    if not json:
        total = f"{len(found.added)} added, {len(found.removed)} removed, {len(found.changed)} changed"
        screen.note(f"{total}, {found.byte_change:+,} bytes")


@app.command()
def restore(
    context: typer.Context,
    snapshot: Name,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty directory.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Into a directory that holds something.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a snapshot into a directory; a link in the way is never followed."""
    restored = _store(context).restore(snapshot, directory, overwrite=overwrite)
    screen = Screen(json=json)
    if json:
        screen.data({"snapshot": restored.digest, "directory": str(directory), "files": restored.files})
    else:
        screen.say(
            f"restored {plural(restored.files, 'file')}, {size(restored.size)}, into {_shown(directory)}"
        )
    if restored.partial:
        screen.note(f"the snapshot is partial: {len(restored.omissions):,} of its entries were not captured")


@app.command()
def apply(
    context: typer.Context,
    run: Run,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory the run began with.")],
    *,
    git: Annotated[
        bool, typer.Option("--git", help="Also changes below .git, which can be commands.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    json: Json = False,
) -> None:
    """Bring what a run changed into a directory: all of it, or nothing where anything is in the way."""
    before, after = _ends(_run(context, run))
    report = _store(context).apply(before, after, directory, git=git, dry_run=dry_run)
    screen = Screen(json=json)
    if json:
        parts = ("written", "removed", "already", "withheld", "kept")
        screen.data(
            {name: [show_path(path) for path in getattr(report, name)] for name in parts}
            | {"dry_run": dry_run}
        )
        return
    would = "would be " if dry_run else ""
    screen.say(*(f"{would}written  {show_path(path)}" for path in report.written))
    screen.say(*(f"{would}removed  {show_path(path)}" for path in report.removed))
    screen.say(*(f"kept     {show_path(path)}: it holds files of yours" for path in report.kept))
    if report.withheld:
        screen.note(f"withheld {plural(len(report.withheld), 'change')} below .git; --git brings them too")
    if not (report.written or report.removed):
        screen.say("nothing to do")


@app.command()
def tag(
    context: typer.Context,
    snapshot: Name,
    name: Annotated[str | None, typer.Argument(metavar="TAG", help="The name to give.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the tag SNAPSHOT away instead.")] = False,
) -> None:
    """Give a snapshot a name, which also keeps it from gc."""
    if remove == (name is not None):
        raise UsageError("sandbox-runner snapshot tag takes SNAPSHOT and TAG, or --remove and a tag")
    store, screen = _store(context), Screen()
    if name is None:
        store.untag(snapshot)
        screen.say(f"{printable(snapshot)} is no tag any more")
    else:
        screen.say(f"{printable(name)} is {store.tag(snapshot, name).digest}")


@app.command()
def export(
    context: typer.Context,
    snapshot: Name,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to.")],
    form: Annotated[
        Literal["tar.zst", "oci"], typer.Option("--format", help="An archive, or an OCI image layout.")
    ] = "tar.zst",
    json: Json = False,
) -> None:
    """Write a snapshot for others: a compressed tar archive, or an image that Docker and skopeo load."""
    exported = _store(context).export(snapshot, output, form=form)
    screen = Screen(json=json)
    if json:
        screen.data({"snapshot": exported.digest, "output": str(output), "format": form})
    else:
        screen.say(f"exported {exported.digest} to {_shown(output)}")


@app.command("import")
def import_(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What `export` wrote, in either format.")],
    json: Json = False,
) -> None:
    """Take a snapshot in that was exported, here or elsewhere."""
    imported = _store(context).import_archive(source)
    screen = Screen(json=json)
    if json:
        screen.data(_facts(imported))
    else:
        screen.say(f"imported {imported.digest}, {plural(imported.files, 'file')}, {size(imported.size)}")


@app.command()
def gc(
    context: typer.Context,
    keep_last: Annotated[
        int, typer.Option("--keep-last", metavar="N", min=0, help="Keep the newest N.")
    ] = 10,
    runs: Annotated[
        bool, typer.Option("--keep-runs/--forget-runs", help="Keep what run records name.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    json: Json = False,
) -> None:
    """Remove snapshots that nobody wants: neither new, nor tagged, nor named by a run record."""
    chosen = settings(context)
    home = Home(chosen.home)
    keep = _named_by_runs(home.runs(chosen.tenant)) if runs else set()
    report = home.store(chosen.tenant).gc(keep_last=keep_last, referenced=keep, dry_run=dry_run)
    screen = Screen(json=json)
    if json:
        screen.data(
            {"kept": report.kept, "removed": report.removed, "freed": report.freed, "dry_run": dry_run}
        )
        return
    would = "would remove" if dry_run else "removed"
    gone = plural(len(report.removed), "snapshot")
    screen.say(f"{would} {gone}, {size(report.freed)}; {plural(len(report.kept), 'snapshot')} kept")


@app.command(epilog="Exit: 0 the store is whole, 4 something is lost or in doubt.")
def fsck(
    context: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Rebuild the index from what is good.")] = False,
    json: Json = False,
) -> int:
    """Check every byte of the store."""
    report = _store(context).fsck(repair=repair)
    screen = Screen(json=json)
    if json:
        screen.data({"ok": report.ok, **asdict(report)})
    else:
        screen.say(
            *(f"{screen.paint('problem', 'failed')}  {printable(problem)}" for problem in report.problems)
        )
        screen.say(*(f"{screen.paint('lost', 'failed')}     snapshot {digest}" for digest in report.lost))
        screen.say(*(f"remark   {printable(remark)}" for remark in report.remarks))
        verdict = screen.paint("whole", "success") if report.ok else screen.paint("NOT WHOLE", "failed")
        looked = f"{plural(report.packs, 'pack')}, {plural(report.objects, 'object')}"
        screen.say(f"{verdict}: {looked}, {plural(report.snapshots, 'snapshot')}")
    return ExitCode.OK if report.ok else ExitCode.SANDBOX_FAILED


def _store(context: typer.Context) -> SnapshotStore:
    chosen = settings(context)
    return Home(chosen.home).store(chosen.tenant)


def _run(context: typer.Context, reference: str) -> RunRecord:
    chosen = settings(context)
    return find_run(reference, Home(chosen.home).runs(chosen.tenant))


def _shown(path: Path) -> str:
    return printable(str(path))


def _ends(record: RunRecord) -> tuple[str, str]:
    """The snapshots a run began with and left."""
    base, end = record.info.base_snapshot, record.result.snapshot if record.result else None
    if base is None or end is None:
        missing = "began with no snapshot" if base is None else "left no snapshot"
        raise SnapshotError(f"the run {record.run_id} {missing}, so there is nothing to compare")
    return base, end


def _named_by_runs(runs: Path) -> set[str]:
    """Digests that run records name. A record that cannot be read could name any: nothing is collected."""
    named = set()
    for record in list_runs(runs):
        if isinstance(record, VerificationError):
            raise VerificationError(
                f"it is unknown which snapshots this record names: {record}",
                hint="remove the damaged record, or let go of all that runs name with --forget-runs",
            )
        named |= {record.info.base_snapshot, record.result.snapshot if record.result else None}
    return {digest for digest in named if digest is not None}


def _facts(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "digest": snapshot.digest,
        "root": snapshot.root,
        "captured_at": _when(snapshot),
        "label": snapshot.label,
        "files": snapshot.files,
        "directories": snapshot.directories,
        "links": snapshot.links,
        "size": snapshot.size,
        "stored": snapshot.stored,
        "partial": snapshot.partial,
        "omissions": [{**json_path(item.path), "reason": item.text} for item in snapshot.omissions],
        "tags": list(snapshot.tags),
    }


def _row(snapshot: Snapshot) -> tuple[str, ...]:
    return (
        snapshot.digest[:_DIGITS],
        _when(snapshot)[:19],
        f"{snapshot.files:,}",
        size(snapshot.size),
        size(snapshot.stored),
        ",".join(snapshot.tags),
        "partial" if snapshot.partial else snapshot.label,
    )


def _portrait(snapshot: Snapshot) -> list[tuple[str, str]]:
    counted = [plural(snapshot.files, "file"), plural(snapshot.directories, "directory", "directories")]
    return [
        ("snapshot", snapshot.digest),
        ("captured", _when(snapshot)),
        ("label", snapshot.label),
        ("tags", ", ".join(snapshot.tags)),
        ("holds", ", ".join([*counted, plural(snapshot.links, "link"), size(snapshot.size)])),
        ("partial", f"{len(snapshot.omissions):,} left out" if snapshot.partial else ""),
    ]


def _when(snapshot: Snapshot) -> str:
    return datetime.fromtimestamp(snapshot.captured_ns / 1e9, UTC).isoformat(timespec="seconds")


def _names(screen: Screen, found: TreeDiff) -> list[str]:
    marks = {id(c): "A" for c in found.added} | {id(c): "D" for c in found.removed}
    looks = {"A": "ok", "D": "failed", "M": "heading"}
    lines = []
    for change in found.changes:
        mark = marks.get(id(change), "M")
        lines.append(f"{screen.paint(mark, looks[mark])}  {show_path(change.path)}")
    return lines


def _coloured(screen: Screen, line: str) -> str:
    look = {"+": "ok", "-": "failed", "@": "dry-run"}.get(line[:1])
    return screen.paint(line, look) if look else line
