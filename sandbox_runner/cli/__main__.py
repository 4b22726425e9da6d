"""``python -m sandbox_runner.cli`` is ``sandbox-runner``."""

from __future__ import annotations

import sys

from sandbox_runner.cli.app import main

sys.exit(main())
