"""Options kept in files: what they contain, which one wins, and where errors are reported."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from background_blur.cli import parse
from background_blur.presets import split
from background_blur.system import PROGRAM


@pytest.fixture
def default(tmp_path, monkeypatch) -> Path:
    """The file of defaults, empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "background-blur" / "default.txt"
    path.parent.mkdir()
    path.touch()
    return path


@pytest.fixture
def preset(tmp_path) -> Path:
    return tmp_path / "call.txt"


def refused(capsys, *words) -> str:
    with pytest.raises(SystemExit) as caught:
        parse([str(word) for word in words])
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_a_file_holds_an_option_a_line(preset):
    preset.write_text(
        "# for calls\n\n--no-window\n  --size 640x360  # don't ask for more\n"
        "--background '#00b140' # green\n--background=\"my room.jpg\"\n",
        "utf-8",
    )
    args = parse([f"@{preset}", "--size", "1280x720"])
    assert not args.window
    assert args.size == (1280, 720)  # what comes later wins
    assert args.background == ("#00b140", "my room.jpg")


def test_a_file_may_name_another(preset, tmp_path):
    (tmp_path / "more.txt").write_text("--mirror\n")
    preset.write_text(f"@{tmp_path / 'more.txt'}\n--fps 15\n")
    args = parse([f"@{preset}"])
    assert args.mirror and args.fps == 15


def test_a_tilde_is_the_users_folder(preset, monkeypatch):
    monkeypatch.setenv("HOME", "/home/eve")
    preset.write_text("--output ~/out.mp4\n--background 'a~b.png'\n")
    args = parse([f"@{preset}"])
    assert (args.output, args.background) == ("/home/eve/out.mp4", ("a~b.png",))


@pytest.mark.parametrize(
    "text, number, said",
    [
        ("--mirror\n\n--fps fast\n", 3, "'fast'"),
        ("--no-such-flag\n", 1, "--no-such-flag"),
        ("# a\nstray\n", 2, "stray"),
        ("--fps\n15\n", 1, "--fps"),
        ("--output 'a.mp4\n", 1, "quotation"),
        ("@nowhere.txt\n", 1, "nowhere.txt: No such file"),
    ],
)
def test_an_error_names_file_and_line(capsys, preset, text, number, said):
    preset.write_text(text)
    line = refused(capsys, f"@{preset}")
    assert line.startswith(f"{PROGRAM}: error: {preset}:{number}: ") or "nowhere" in line
    assert said in line


def test_a_file_that_is_none(capsys, preset, tmp_path):
    assert f"{preset}: No such file" in refused(capsys, f"@{preset}")
    assert "Is a directory" in refused(capsys, f"@{tmp_path}")
    preset.write_bytes(b"\xff\xfe\x00")
    assert f"{preset}: not a text file" in refused(capsys, f"@{preset}")
    preset.write_text(f"@{preset}\n")
    assert "circle" in refused(capsys, f"@{preset}")


def test_the_defaults_hold_until_the_command_line_says_otherwise(default):
    default.write_text("--mirror\n--fps 15\n--background blur\n--background beach.jpg\n")
    args = parse(["--fps", "20"])
    assert args.mirror and args.fps == 20 and args.background == ("blur", "beach.jpg")
    assert parse(["--background", "blur"]).background == ("blur",)
    args = parse(["--no-config"])
    assert not args.mirror and args.fps is None and args.background == ("blur",)


def test_an_error_in_the_defaults_names_them(capsys, default):
    default.write_text("--strength 2\n")
    assert f"{default}:1: argument --strength" in refused(capsys)
    assert parse(["--no-config"]).strength == 0.5


def test_without_defaults_nothing_is_missed(default):
    default.unlink()
    assert parse([]).source == "0"


WORD = st.text(
    st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs", "Zl", "Zp", "Cc"])
)


@given(st.lists(WORD.filter(lambda word: word != "#" and not word.startswith("~")), max_size=5))
def test_quoted_words_come_back(words):
    line = "--option " + shlex.join(words)
    assert split(line) == ["--option", *words]
    assert split(f"{line}  # and a comment") == ["--option", *words]
