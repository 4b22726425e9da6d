"""The order of the packages, read from the imports themselves."""

import ast
import sys
from pathlib import Path

import pytest

import sandbox_runner

ROOT = Path(sandbox_runner.__file__).parent
ORDER = (
    "errors",
    "arguments",
    "guest",  # knows nothing of ours, so its rules are for every layer
    "private",
    "visible",
    "resources",
    "bounded_json",
    "trail",
    "world",
    "policy",
    "replay",
    "sandbox",
    "snapshot",
    "record",
    "runner",
    "fleet",
    "cli",
)
FILES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem in ORDER)


def layer_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "sandbox_runner" and len(parts) > 1 else None


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """Every imported module's dotted name, and whether the import stands inside a function."""
    tree = ast.parse(path.read_text())
    nested = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    found: list[tuple[str, bool]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in nested) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module]
            if node.module == "sandbox_runner":
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name, id(node) in nested) for name in names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_lower_layers(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for module, nested in imports_of(path):
        layer = layer_of(module)
        if layer is not None:
            assert not nested, f"{module} is imported inside a function"
            assert ORDER.index(layer) <= ORDER.index(own), f"{own} may not know {layer}"
        assert not (module.split(".")[0] == "docker" and own != "sandbox"), "only sandbox/ imports docker"


@pytest.mark.parametrize("path", sorted((ROOT / "guest").glob("*.py")), ids=lambda path: path.name)
def test_the_guest_imports_only_the_standard_library_and_itself(path: Path) -> None:
    for module, _ in imports_of(path):
        top = module.split(".")[0]
        assert top in sys.stdlib_module_names or module.startswith("sandbox_runner.guest"), module
