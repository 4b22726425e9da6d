"""Snapshots of a workspace: a content-addressed store, and everything that is done with what is in it."""

from sandbox_runner.snapshot.applying import ApplyConflictError, ApplyReport
from sandbox_runner.snapshot.collect import GcReport
from sandbox_runner.snapshot.diff import Change, TreeDiff
from sandbox_runner.snapshot.directory import DirectorySource
from sandbox_runner.snapshot.facts import Note, Snapshot
from sandbox_runner.snapshot.fsck import FsckReport
from sandbox_runner.snapshot.left_out import LeftOut, groups_of, uncounted
from sandbox_runner.snapshot.linked import LayoutError, Linked
from sandbox_runner.snapshot.manifest import Entry, Omission
from sandbox_runner.snapshot.store import SnapshotStore
from sandbox_runner.snapshot.text import json_path, show_path
from sandbox_runner.snapshot.transfer import Limits, TreeSink, TreeSource
from sandbox_runner.snapshot.unified import LineCount

__all__ = [
    "ApplyConflictError",
    "ApplyReport",
    "Change",
    "DirectorySource",
    "Entry",
    "FsckReport",
    "GcReport",
    "LayoutError",
    "LeftOut",
    "Limits",
    "LineCount",
    "Linked",
    "Note",
    "Omission",
    "Snapshot",
    "SnapshotStore",
    "TreeDiff",
    "TreeSink",
    "TreeSource",
    "groups_of",
    "json_path",
    "show_path",
    "uncounted",
]
