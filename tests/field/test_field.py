"""Each package of the table: git's trees and plain pytest's outcomes, but for what the table explains."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox_runner.runner.home import Home
from sandbox_runner.sandbox import Image
from tests.field.packages import PACKAGES
from tests.field.page import screen
from tests.field.trying import COMMITS, try_package

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_release_is_replayed_as_git_has_it_and_tested_as_plain_pytest_tests_it(
    name: str, image: Image, tmp_path: Path
) -> None:
    assert image.id
    found = try_package(PACKAGES[name], Home(tmp_path / "home"), runtime="runc")
    print("\n".join(screen(found)))
    assert not found.all_problems()
    assert [replay.equal for replay in found.replays] == [COMMITS]
