"""What the package offers by its own name."""

import subprocess
import sys
from importlib.metadata import version

import sandbox_runner
from sandbox_runner import errors


def test_every_name_is_there_and_every_error_is_among_them() -> None:
    assert all(getattr(sandbox_runner, name) is not None for name in sandbox_runner.__all__)
    assert set(errors.__all__) <= set(sandbox_runner.__all__)
    assert sandbox_runner.__version__ == version("sandbox-runner")


def test_importing_the_package_loads_none_of_it() -> None:
    code = "import sys, sandbox_runner; print(*(n for n in sys.modules if n.startswith('sandbox_runner')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["sandbox_runner"]
