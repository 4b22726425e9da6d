"""``sandbox-runner snapshot``: what runs left behind: look, compare, take out, hand on, thin out."""

from __future__ import annotations

from typing import Annotated

import typer

from sandbox_runner.cli.commands import CommandGroup
from sandbox_runner.cli.omissions import left_out_of_snapshot
from sandbox_runner.cli.screen import Screen
from sandbox_runner.cli.snapshot_facts import Json, Name, captured_at, ends_of, facts_of, run_of, store_of
from sandbox_runner.cli.snapshot_moves import apply, export, import_, restore
from sandbox_runner.cli.snapshot_upkeep import fsck, gc
from sandbox_runner.cli.text import columns, pairs, plural, printable, size
from sandbox_runner.cli.usage import UsageError
from sandbox_runner.snapshot import Snapshot, TreeDiff, json_path, show_path

__all__ = ["app"]

app = typer.Typer(cls=CommandGroup, add_completion=False, rich_markup_mode=None, no_args_is_help=True)

_GIVE_WAY = ((6, 24), (4, 0), (2, 0), (6, 0), (5, 12), (3, 0))  # on a narrow terminal: digest and time stay
_DIGITS = 12  # of a digest in a list; any unambiguous beginning is accepted
_UNSEEN = 20  # paths that could not be compared, a line each


@app.command("list")
def list_(context: typer.Context, json: Json = False) -> None:
    """List snapshots, the newest first."""
    snapshots = store_of(context).list()
    screen = Screen(json=json)
    if json:
        screen.data([facts_of(snapshot) for snapshot in snapshots])
    elif snapshots:
        header = ("SNAPSHOT", "CAPTURED", "FILES", "SIZE", "STORED", "TAGS", "")
        screen.say(
            *columns(
                map(_row, snapshots), header=header, right={2, 3, 4}, width=screen.width, give_way=_GIVE_WAY
            )
        )
    else:
        screen.note("there is no snapshot yet; every run leaves one")


@app.command()
def show(context: typer.Context, snapshot: Name, json: Json = False) -> None:
    """Show what is in a snapshot, and what could not be captured."""
    store, screen = store_of(context), Screen(json=json)
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
        screen.data({**facts_of(found), "entries": listed})
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
    new: Annotated[str | None, typer.Argument(metavar="B", help="Another snapshot.")] = None,
    *,
    stat: Annotated[bool, typer.Option("--stat", help="Lines added and removed per file.")] = False,
    names: Annotated[bool, typer.Option("--names", help="Only the paths.")] = False,
    json: Json = False,
) -> None:
    """Compare two snapshots, or what a run started from with what it left."""
    store, screen = store_of(context), Screen(json=json)
    before, after = (old, new) if new is not None else ends_of(run_of(context, old))
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
        screen.note(
            *(
                f"not compared, one side left it out: {show_path(change.path)}"
                for change in found.unseen[:_UNSEEN]
            )
        )
        if len(found.unseen) > _UNSEEN:
            screen.note(f"and {len(found.unseen) - _UNSEEN:,} more; --json names all of them")


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
    store, screen = store_of(context), Screen()
    if name is None:
        store.untag(snapshot)
        screen.say(f"{printable(snapshot)} is no tag any more")
    else:
        screen.say(f"{printable(name)} is {store.tag(snapshot, name).digest}")


for _command in (restore, apply, export, gc):
    app.command()(_command)
app.command("import")(import_)
app.command(epilog="Exit: 0 the store is whole, 4 something is lost or in doubt.")(fsck)


def _row(snapshot: Snapshot) -> tuple[str, ...]:
    return (
        snapshot.digest[:_DIGITS],
        captured_at(snapshot)[:19],
        f"{snapshot.files:,}",
        size(snapshot.size),
        size(snapshot.stored),
        ",".join(snapshot.tags),
        " ".join(filter(None, (snapshot.label, "(partial)" if snapshot.partial else ""))),
    )


def _portrait(snapshot: Snapshot) -> list[tuple[str, str]]:
    counted = [plural(snapshot.files, "file"), plural(snapshot.directories, "directory", "directories")]
    return [
        ("snapshot", snapshot.digest),
        ("captured", captured_at(snapshot)),
        ("label", snapshot.label),
        ("tags", ", ".join(snapshot.tags)),
        ("holds", ", ".join([*counted, plural(snapshot.links, "link"), size(snapshot.size)])),
        *left_out_of_snapshot(snapshot),
    ]


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
