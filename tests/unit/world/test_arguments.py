"""Arguments of the wrong type: told in words, before anything happens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runner.policy import GuardedWorld, Policy
from sandbox_runner.sandbox import ContainerWorld
from sandbox_runner.trail import METHODS
from sandbox_runner.world import Call, FileWorld, MockWorld, World
from sandbox_runner.world.call import NUMBERS, misfit
from sandbox_runner.world.dispatch import _PARAMETERS

WRONG = [None, b"x", 5, 0.5, True, [], {}, object(), "\ud800", 10**5000, float("nan")]


class Name(str):
    """Text of a kind of its own."""

    __slots__ = ()


class Silent(World):
    """A world that must not be reached."""

    def perform_all(self, calls: object, *, stop_on_failure: bool = False) -> object:
        raise AssertionError("a call got through")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: str(type(value).__name__))
def test_no_method_passes_on_an_argument_of_the_wrong_type(method: str, wrong: object) -> None:
    fine = {name: 1 if name in NUMBERS else "x" for name in _PARAMETERS[method]}
    mock = MockWorld()
    for name in fine:
        if type(wrong) in NUMBERS.get(name, ()) and misfit({name: wrong}) is None:
            continue
        for world in (Silent(), GuardedWorld(Silent(), Policy.load("default")), mock):
            text = getattr(world, method)(**{**fine, name: wrong})
            assert text.startswith(f"{method}: ERROR {name} ")
    assert mock.calls == []


@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: str(type(value).__name__))
def test_a_call_made_by_hand_fails_where_its_arguments_are_of_the_wrong_type(
    wrong: object, tmp_path: object
) -> None:
    call = Call(METHODS["file_read"].opcode, "file_read", {"path": wrong})  # type: ignore[dict-item]
    with FileWorld(tmp_path) as world:  # type: ignore[arg-type]
        assert world.perform(call).text.startswith("file_read: ERROR path ")
        assert world.file_write("a", "b") == "file_write: a (1 chars)"


def test_text_of_a_kind_of_its_own_is_text(tmp_path: object) -> None:
    with FileWorld(tmp_path) as world:  # type: ignore[arg-type]
        assert world.file_write(Name("a"), Name("b")) == "file_write: a (1 chars)"


@given(st.dictionaries(st.sampled_from(["path", "delta", "level"]), st.from_type(object) | st.integers()))
def test_whether_arguments_fit_can_always_be_told(arguments: dict[str, object]) -> None:
    reason = misfit(arguments)
    assert reason is None or reason.split()[0] in arguments


def test_the_container_is_a_world_whose_methods_are_the_checked_ones() -> None:
    assert all(getattr(ContainerWorld, name) is getattr(World, name) for name in METHODS)
    assert ContainerWorld._text is World._text
