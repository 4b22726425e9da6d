"""Snapshots of a workspace: a content-addressed store, and everything that is done with what is in it."""

from sandbox_runner.snapshot.directory import DirectorySource
from sandbox_runner.snapshot.facts import Note, Snapshot
from sandbox_runner.snapshot.manifest import Entry, Omission
from sandbox_runner.snapshot.store import SnapshotStore
from sandbox_runner.snapshot.text import json_path, show_path
from sandbox_runner.snapshot.transfer import Limits, TreeSink, TreeSource

__all__ = [
    "DirectorySource",
    "Entry",
    "Limits",
    "Note",
    "Omission",
    "Snapshot",
    "SnapshotStore",
    "TreeSink",
    "TreeSource",
    "json_path",
    "show_path",
]
