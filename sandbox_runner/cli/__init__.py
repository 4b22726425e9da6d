"""The command line: thin commands over the packages below; see ``app`` for the program."""

from __future__ import annotations

from sandbox_runner.cli.app import app, main

__all__ = ["app", "main"]
