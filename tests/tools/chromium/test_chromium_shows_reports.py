"""A report full of markup, opened by a real browser."""

import shutil
import subprocess
from pathlib import Path


def test_a_real_browser_runs_and_loads_nothing(hostile_page: str, tmp_path: Path) -> None:
    program = shutil.which("chromium")
    assert program, "this test needs Chromium on this machine (Debian: apt-get install chromium)"
    (tmp_path / "page.html").write_text(hostile_page)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--dump-dom"]
    seen = subprocess.run(
        [program, *flags, f"--user-data-dir={tmp_path / 'profile'}", str(tmp_path / "page.html")],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "<title>owned" not in seen.stdout
    assert "Look here first" in seen.stdout
    assert "Content Security Policy" not in seen.stderr
    assert "CONSOLE" not in seen.stderr
