import contextlib
import os
import threading
from pathlib import Path

import pytest

from sandbox_runner.errors import ConfigurationError
from sandbox_runner.sandbox.requirements import chosen, read_demands

MARKERS = {"python_version": "3.11", "python_full_version": "3.11.2", "sys_platform": "linux"}


@pytest.mark.parametrize(
    "line",
    [
        "evil @ git+https://example.org/x",
        "evil @ file:///tmp/x.tar.gz",
        "git+https://example.org/x",
        "-e .",
        "--editable=.",
        "./here",
        "/etc/passwd",
        "-r ../up.txt",
        "-c /etc/hosts",
        "--index-url https://example.org",
        "-ihttps://example.org",
        "--extra-index-url https://example.org",
        "--find-links /tmp",
        "--no-binary :all:",
        "--config-settings x=y",
        "a==1 --global-option=x",
        "a==1 --hash=md5:00",
        "a==${SECRET}",
        "a \\\n  -e .",
    ],
)
def test_a_line_that_is_no_plain_requirement_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(f"# first\nok==1\n{line}\n")
    with pytest.raises(ConfigurationError, match="line 3"):
        read_demands(path)


def test_files_beside_it_are_included_once_and_constraints_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "requirements.txt").write_text("-r sub/more.txt\n-c limits.txt\na>=1  # why\n")
    (tmp_path / "sub" / "more.txt").write_text("-r ../requirements.txt\nb==2 ; python_version < '3'\n")
    (tmp_path / "limits.txt").write_text("c<3 ; python_version >= '3'\nd<4 ; python_version < '3'\n")
    demands = read_demands(tmp_path / "requirements.txt")
    wanted, limits = chosen(demands, MARKERS)
    assert [*map(str, wanted)] == ["a>=1"]
    assert [*map(str, limits)] == ["c<3"], "judged by the image's Python, as what is wanted"


def test_comments_and_order_do_not_change_what_is_asked(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("a==1\nb==2\n")
    two.write_text("# x\nb==2\n\na==1 # y\n")
    assert read_demands(one).canonical() == read_demands(two).canonical()


def test_a_project_gives_its_dependencies_extras_and_groups(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "me"\ndependencies = ["a"]\n[project.optional-dependencies]\n'
        'test = ["me[more]", "b"]\nmore = ["c"]\n[dependency-groups]\n'
        'dev = ["d", {include-group = "x"}]\nx = ["e"]\n'
    )
    found = read_demands(tmp_path, extras=("test",), groups=("dev",))
    assert {demand.requirement.name for demand in found.wanted} == set("abcde")
    with pytest.raises(ConfigurationError, match="no extra"):
        read_demands(tmp_path, extras=("none",))


def test_a_lock_file_gives_pins_with_hashes_and_leaves_the_project_out(tmp_path: Path) -> None:
    (tmp_path / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "a"\nversion = "1"\nwheels = [{name = '
        f'"a-1-py3-none-any.whl", url = "https://example.org/a-1.whl", hashes = '
        f'{{sha256 = "{"1" * 64}"}}}}]\n'
        '[[packages]]\nname = "me"\ndirectory = {path = ".", editable = true}\n'
    )
    ((found,), _) = chosen(read_demands(tmp_path / "pylock.toml"), MARKERS)
    assert str(found) == f"a==1 --hash=sha256:{'1' * 64}"


@pytest.mark.parametrize("name", ["uv.lock", "poetry.lock", "Pipfile.lock"])
def test_a_lock_of_one_program_is_refused_with_the_way_to_export_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_demands(tmp_path / name)
    assert "export" in str(caught.value.hint)


LOCKED = 'lock-version = "1.0"\ncreated-by = "x"\n'
PACKAGE = (
    '[[packages]]\nname = "a"\nversion = "1"\n{more}\n[[packages.wheels]]\n'
    f'url = "https://example.org/a-1-py3-none-any.whl"\nhashes = {{{{sha256 = "{"1" * 64}"}}}}\n'
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", "a ; 'x' ~= 'y'"),
        ("requirements.txt", "a ; python_version ~= 'x'"),
        ("requirements.txt", "a ; 'x' in extras"),
        ("requirements.txt", "-c limits.txt"),
        ("requirements.txt", "-r a\0b"),
        ("requirements.txt", "-r circle.txt"),
        ("requirements.txt", "--require-hashes\na==1"),
        ("pylock.toml", LOCKED + PACKAGE.format(more="marker = \"'x' ~= 'y'\"")),
        ("pylock.toml", LOCKED + PACKAGE.format(more='requires-python = ">=3.99"')),
        ("pylock.toml", LOCKED + "environments = [\"sys_platform == 'win32'\"]\npackages = []"),
        ("pyproject.toml", '[project]\ndependencies = "abc"'),
        ("pyproject.toml", "[project]\ndependencies = 5"),
        ("pyproject.toml", '[project]\ndependencies = {a = "b"}'),
        ("pyproject.toml", "[project]\ndynamic = 5"),
        ("pyproject.toml", '[project]\ndynamic = [["dependencies"]]'),
        ("pyproject.toml", '[project]\ndynamic = "dependencies"'),
        ("pyproject.toml", '[project]\noptional-dependencies = "abc"'),
        ("pyproject.toml", '[project]\noptional-dependencies = {test = "abc"}'),
        ("pyproject.toml", f"[project]\ndependencies = {[f'p{number}' for number in range(2_001)]}"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "circle.txt").symlink_to("circle.txt")
    (tmp_path / "limits.txt").write_text("a<2 ; 'x' ~= 'y'\n")
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError):
        chosen(read_demands(tmp_path / name), MARKERS)


@pytest.mark.parametrize(
    "groups",
    [
        "5",
        "{dev = 5}",
        '{dev = "abc"}',
        "{dev = [5]}",
        '{dev = [{include-group = "none"}]}',
        "{dev = [{x = 1}]}",
    ],
)
def test_groups_of_another_shape_are_refused_in_words(tmp_path: Path, groups: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"dependency-groups = {groups}\n")
    with pytest.raises(ConfigurationError):
        read_demands(tmp_path, groups=("dev",))


def test_groups_that_include_each_other_many_times_or_deeply_are_taken_once(tmp_path: Path) -> None:
    rows = [f'g{n} = [{{include-group = "g{n + 1}"}}, {{include-group = "g{n + 1}"}}]' for n in range(3_000)]
    text = "\n".join(["[dependency-groups]", *rows, 'g3000 = ["a", {include-group = "g0"}]'])
    (tmp_path / "pyproject.toml").write_text(text)
    (found,) = read_demands(tmp_path, groups=("g0",)).wanted
    assert str(found) == "a"


@pytest.mark.parametrize("form", ["{}x", "x{}y", "-r{}y", "x --hash{}y"])
def test_a_line_of_many_blanks_is_read_at_once(tmp_path: Path, form: str) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(form.format(" " * 1_000_000))
    ended = threading.Event()

    def read() -> None:
        with contextlib.suppress(ConfigurationError):
            read_demands(path)
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    assert ended.wait(10)


def test_a_pipe_that_nobody_writes_into_holds_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "requirements.txt")
    with pytest.raises(ConfigurationError, match="no file"):
        read_demands(tmp_path / "requirements.txt")


def test_a_mistyped_name_is_told_as_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_demands(tmp_path / "requirements.tx")
