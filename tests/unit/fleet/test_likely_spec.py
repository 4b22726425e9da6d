"""What a warm pool prepares, judged by the trails that will come."""

import json
from pathlib import Path

from sandbox_runner.fleet import likely_spec
from sandbox_runner.policy import Policy
from sandbox_runner.runner.home import Home
from sandbox_runner.runner.runner import Runner

EXAMPLES = Path(__file__).parents[2] / "data" / "examples"
BUGFIX = EXAMPLES / "bugfix" / "worklog.json"
HANDOFF = EXAMPLES / "handoff" / "worklog.jsonl"
HOSTILE = EXAMPLES / "hostile" / "worklog.json"


def runner(home: Path) -> Runner:
    return Runner(policy=Policy.load("default"), home=Home(home), runtime="runc")


def test_the_pool_is_like_what_most_trails_ask_for(tmp_path: Path) -> None:
    like = likely_spec(runner(tmp_path), [HANDOFF, BUGFIX, BUGFIX])
    assert like is not None
    assert like.resources == Policy.load("default").resources
    quiet = likely_spec(runner(tmp_path), [HANDOFF, BUGFIX, HANDOFF])
    assert quiet is not None
    assert quiet.resources.tmp < like.resources.tmp


def test_trails_that_will_not_run_prepare_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps([{"op": "NONSENSE"}]))
    assert likely_spec(runner(tmp_path), [HOSTILE, broken, BUGFIX]) is None


def test_the_pool_has_the_runners_image_and_runtime(tmp_path: Path) -> None:
    chosen = Runner(policy=Policy.load("default"), home=Home(tmp_path), runtime="runsc", image="other:1")
    like = likely_spec(chosen, [BUGFIX, BUGFIX])
    assert like is not None
    assert (like.image, like.runtime, like.bind) == ("other:1", "runsc", None)
