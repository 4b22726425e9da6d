"""Every class of attack that is tried by a probe, under each runtime: what got through is named.

The same probes and the same judgement as ``python -m tests.hostile``, which prints them as a table. Classes
that tests carry are those tests' business.
"""

from pathlib import Path

import pytest

from sandbox_runner.sandbox import Engine, Image
from tests.hostile.attempts import lay_bait, try_classes, try_unconfined
from tests.hostile.classes import Answer, AttackClass, Verdict, judge, load

pytestmark = [pytest.mark.docker, pytest.mark.long]

CLASSES = {attack.id: attack for attack in load() if attack.probe is not None}


@pytest.fixture(scope="module")
def answers(
    engine: Engine, image: Image, runtime: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Answer]]:
    """What all probes got under a runtime; they share sandboxes, so they run together."""
    place = tmp_path_factory.mktemp("hostile")
    with lay_bait(place) as bait:
        return try_classes(
            list(CLASSES.values()), runtime=runtime, scratch=place, bait=bait, engine=engine, tell=print
        )


@pytest.mark.parametrize("attack", CLASSES.values(), ids=CLASSES)
def test_a_class_of_attack_comes_to_what_is_written_beside_it(
    answers: dict[str, list[Answer]], attack: AttackClass, runtime: str
) -> None:
    if runtime not in attack.expected:
        return  # it is about the other one
    assert judge(attack, runtime, answers[attack.id]).against == ()


# What may be tried on the machine of a developer without harm, and succeeds there.
OPEN_ON_THE_HOST = (
    *(
        "facts-of-the-host",
        "files-of-the-host",
        "leaked-descriptors",
        "network",
        "page-cache",
        "sockets-of-the-host",
    ),
    *("processes-of-the-host", "host-wide-sync", "aio-contexts"),
)


@pytest.mark.parametrize("name", OPEN_ON_THE_HOST)
def test_a_probe_gets_through_where_nothing_is_shut(name: str, tmp_path: Path) -> None:
    attack = CLASSES[name]
    with lay_bait(tmp_path) as bait:
        answers = try_unconfined(attack, bait)
    assert judge(attack, "runc", answers).verdict is Verdict.NOT_HELD, answers
    assert bool(bait.arrivals) == (name in {"network", "sockets-of-the-host"})
