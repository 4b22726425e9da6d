import pytest

from sandbox_runner.world import MockWorld


def world_after(*calls):
    world = MockWorld()
    for method, *arguments in calls:
        getattr(world, method)(*arguments)
    return world


USED = (("file_read", "a"), ("file_write", "b", "2"), ("file_read", "c"))


def test_it_answers_what_it_was_told_to():
    world = MockWorld(call_results={"file_read": "42"})
    assert (world.file_read("a"), world.git_push("0")) == ("42", "git_push: ok")


def test_a_failing_method_raises_after_the_call_is_recorded():
    world = MockWorld(fail_on=["git_push"])
    with pytest.raises(RuntimeError, match="Simulated failure: git_push"):
        world.git_push("0")
    assert world.calls == [{"method": "git_push", "args": {"repo": "0"}}]


def test_earlier_calls_can_be_given():
    assert MockWorld(calls=[{"method": "file_read", "args": {}}]).calls == [
        {"method": "file_read", "args": {}}
    ]


def test_two_worlds_share_nothing():
    one, other = MockWorld(), MockWorld()
    one.file_read("a")
    one.fail_on.add("file_read")
    assert (other.calls, other.fail_on) == ([], set())


def test_reset_forgets_calls_results_and_failures():  # D77
    world = MockWorld(call_results={"file_read": "42"}, fail_on=["file_write"])
    world.file_read("a")
    world.reset()
    assert (world.calls, world.call_results, world.fail_on) == ([], {}, set())
    assert world.file_write("a", "b") == "file_write: ok"


def test_the_count_of_calls_can_be_asserted():
    world = world_after(*USED)
    world.assert_call_count("file_read", 2)
    world.assert_call_count("git_push", 0)
    world.assert_call_count(3)
    world.assert_call_count("file_write")
    with pytest.raises(AssertionError, match="expected 1 calls of file_read, there were 2"):
        world.assert_call_count("file_read")
    with pytest.raises(AssertionError, match="expected 2 calls, there were 3"):
        world.assert_call_count(2)


@pytest.mark.parametrize("order", [["file_read", "file_write", "file_read"], ["file_read", "file_write"], []])
def test_the_order_of_calls_can_be_asserted(order):
    world_after(*USED).assert_call_order(order)
    world_after(*USED).assert_call_order(*order)


@pytest.mark.parametrize(
    "order", [["file_write", "file_write"], ["file_write", "file_read", "file_read"], ["git_push"]]
)
def test_a_wrong_order_of_calls_is_noticed(order):
    with pytest.raises(AssertionError, match="missing or too early"):
        world_after(*USED).assert_call_order(order)


def test_the_arguments_of_a_call_can_be_asserted():
    world = world_after(*USED)
    world.assert_called_with("file_write", path="b", content="2")
    world.assert_called_with("file_read", {"path": "c"})
    for arguments in ({"path": "b"}, {"path": "b", "content": "3"}):
        with pytest.raises(AssertionError, match="it was called with"):
            world.assert_called_with("file_write", **arguments)
