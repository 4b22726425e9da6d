from sandbox_runner.snapshot.lines import MAX_EDITS, Block, changed_blocks, hunks


def test_equal_texts_have_no_blocks():
    assert changed_blocks([b"a", b"b"], [b"a", b"b"]) == []


def test_a_changed_line_is_one_block():
    assert changed_blocks([b"a", b"b", b"c"], [b"a", b"x", b"c"]) == [Block(1, 2, 1, 2)]


def test_insertions_and_removals_are_found_apart():
    old = [b"%d" % number for number in range(30)]
    new = [*old[:5], b"new", *old[5:20], *old[22:]]
    assert changed_blocks(old, new) == [Block(5, 5, 5, 6), Block(20, 22, 21, 21)]


def test_beyond_the_limit_all_that_differs_counts_as_replaced():
    old = [b"same", *(b"old %d" % number for number in range(MAX_EDITS)), b"end"]
    new = [b"same", *(b"new %d" % number for number in range(MAX_EDITS)), b"end"]
    assert changed_blocks(old, new) == [Block(1, MAX_EDITS + 1, 1, MAX_EDITS + 1)]


def test_blocks_that_stand_close_share_a_hunk_with_three_lines_around():
    blocks = [Block(10, 11, 10, 11), Block(17, 18, 17, 17), Block(40, 41, 39, 40)]
    first, second = hunks(blocks, 42)
    assert first.span == Block(7, 21, 7, 20)
    assert second.span == Block(37, 42, 36, 41)
