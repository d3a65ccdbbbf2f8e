"""The program as its users start it: `python main.py ...` in a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

import main
from background_blur import __version__, app
from background_blur.capture import open_source
from background_blur.cli import parser
from background_blur.errors import UserError
from background_blur.opening import TITLE
from background_blur.settings import PEOPLE, VIEWS, Settings
from support import ROOT
from support.captures import detail
from support.display import wait_until
from support.program import MAIN, assert_one_line, read, run, start

# --- Usage


def test_help_lists_every_flag_and_imports_nothing_heavy():
    code = "import sys, main\ntry: main.main(['--help'])\nfinally: print(sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0
    for action in parser()._actions:
        assert all(flag in result.stdout for flag in action.option_strings)
    for heavy in ("cv2", "numpy", "av", "tensorflow", "keras", "ai_edge_litert", "imutils"):
        assert f"'{heavy}'" not in result.stdout


def test_the_choices_are_those_of_the_line():
    actions = {action.dest: action for action in parser()._actions}
    assert (actions["view"].choices, actions["people"].choices) == (VIEWS, PEOPLE)
    assert actions["people"].default == Settings().people


@pytest.mark.parametrize(
    "call, program", [(["main.py"], "main.py"), (["-m", "background_blur"], "background-blur")]
)
def test_it_calls_itself_as_it_was_called(call, program):
    def say(*arguments) -> str:
        command = [sys.executable, *call, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        return done.stdout + done.stderr

    assert say("--version") == f"{program} {__version__}\n"
    assert say("--fps", "0").splitlines()[-1].startswith(f"{program}: error: ")
    assert say("--source", "nowhere").startswith(f"{program}: nowhere: ")
    usage, *_, examples = say("--help").split("\n\n", 1)
    assert usage.startswith(f"usage: {program} ") and f"{program} --source demo" in examples


@pytest.mark.parametrize(
    "arguments",
    [
        ["--size", "0x0"],
        ["--size", "axb"],
        ["--size", "99999x99999"],
        ["--fps", "nan"],
        ["--strength", "1.5"],
        ["--background", "#12"],
        ["--threads", "0"],
        ["--view", "sideways"],
        ["--skip-existing"],
        ["--skip-existing", "--force", "--output", "out"],
        ["leftover"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_and_names_the_flag(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main.main(arguments)
    assert caught.value.code == 2
    assert arguments[0].lstrip("-") in capsys.readouterr().err.splitlines()[-1]


def test_a_mistyped_flag_gets_a_suggestion_on_the_command_line_and_in_files(tmp_path):
    (tmp_path / "options.txt").write_text("--sorce demo")
    for arguments in (["--sorce", "demo"], [f"@{tmp_path / 'options.txt'}"]):
        [line] = run(*arguments).stderr.splitlines()
        assert line.endswith("unrecognized arguments: --sorce demo; did you mean --source?")


@pytest.mark.parametrize("output", [None, "x.mp4", "x.mkv", "x.jpg"])
def test_where_nothing_holds_transparency_it_says_what_does(output, capsys):
    with pytest.raises(SystemExit) as caught:
        main.main(["--background", "transparent", *(["--output", output] if output else [])])
    assert caught.value.code == 2
    what = f"{output} holds no" if output else "needs an --output"
    assert re.search(f"{what}.*give .png, .mov, .webm or a folder\n", capsys.readouterr().err)


# --- One line on what went wrong


def test_no_display(clip):
    assert_one_line(run("--source", clip), "display", "--output")


def test_output_exists_is_kept(clip, tmp_path):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"dear")
    assert_one_line(run("--source", clip, "--output", out), "--force")
    assert out.read_bytes() == b"dear"


@pytest.mark.slow
def test_the_source_is_never_overwritten(tmp_path, portrait):
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), portrait)
    before = photo.read_bytes()
    for out in (tmp_path, photo):
        result = run("--source", photo, "--output", out, "--force", "--no-window")
        assert_one_line(result, "photo.png", "source")
        assert photo.read_bytes() == before


def test_the_background_is_never_overwritten(clip, tmp_path, portrait):
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), portrait)
    command = ["--source", ROOT / "assets" / "portrait.jpg", "--background", photo, "--force"]
    assert_one_line(run(*command, "--output", photo), "background itself")


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--virtual-camera", "3"]])
def test_an_empty_output_as_of_an_unset_variable_is_an_error(clip, more):
    result = run("--source", clip, "--output", "", *more)
    assert_one_line(result, "--output", "empty name", "out.mp4")
    assert result.stdout == ""


@pytest.mark.parametrize("name", ["none.tflite", "text.tflite"])
def test_wrong_weights_leave_no_output(clip, tmp_path, name):
    weights, out = tmp_path / name, tmp_path / "out.mp4"
    if name.startswith("text"):
        weights.write_text("no weights")
    assert_one_line(run("--source", clip, "--output", out, "--weights", weights), name)
    assert {p.name for p in tmp_path.iterdir()} <= {name}


# --- Files


def test_video_to_video_keeps_frames_size_and_rate(clip, tmp_path):
    out = tmp_path / "out.mp4"
    result = run("--source", clip, "--output", out)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    with open_source(str(out)) as source:
        assert source.size == (320, 180)
        assert source.fps == 25
        assert source.count == 25
    before, after = read(clip), read(out)
    assert len(after) == 25
    corner = np.s_[:40, -60:]  # background
    assert detail(after[20][corner]) < 0.3 * detail(before[20][corner])


def test_an_odd_size_is_told_of_once(tmp_path, portrait):
    folder, out = tmp_path / "in", tmp_path / "out.mp4"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), portrait[:181, :320])
    result = run("--source", folder, "--output", out)
    assert result.returncode == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("main.py: ") and "320x181 became 320x182" in line


@pytest.mark.slow
def test_pictures_of_a_folder_do_not_influence_one_another(tmp_path, portrait):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name, image in zip("abc", (portrait, np.roll(portrait, 4, 1), portrait), strict=True):
        cv2.imwrite(str(folder / f"{name}.png"), image)
    assert run("--source", folder, "--output", out).returncode == 0
    first, last = (cv2.imread(str(out / f"{name}.png")) for name in "ac")
    assert np.array_equal(first, last)


@pytest.mark.slow
def test_an_interrupted_folder_goes_on_where_it_was(tmp_path, portrait):
    folder, out = tmp_path / "in", tmp_path / "in" / "out"  # results do not become sources
    (folder / "sub").mkdir(parents=True)
    names = ["a.jpg", "a.png", "sub/c.png"]
    for name in names:
        cv2.imwrite(str(folder / name), portrait[::4, ::4])
    out.mkdir()
    (out / "a.jpg").write_bytes(b"done")
    command = ["--source", folder, "--output", out]
    assert_one_line(run(*command), "a.jpg", "exists", "--force", "--skip-existing")
    result = run(*command, "--skip-existing")
    assert result.returncode == 0
    assert result.stdout.startswith("2 frames")
    assert result.stdout.endswith(f"\nsaved 2 pictures in {out}\n")
    assert result.stderr == f"main.py: 1 picture skipped: already in {out}\n"
    assert (out / "a.jpg").read_bytes() == b"done"
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    assert sorted(path.relative_to(out).as_posix() for path in made) == names
    result = run(*command, "--skip-existing")
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == f"main.py: 3 pictures skipped: already in {out}\n"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.*")} == made


@pytest.mark.slow
def test_skipping_tells_transparent_pictures_of_one_name_apart(tmp_path, portrait):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.jpg", "a.png"):
        cv2.imwrite(str(folder / name), portrait[::4, ::4])
    command = ["--source", folder, "--output", out, "--background", "transparent"]
    assert run(*command).returncode == 0
    (out / "a_.png").unlink()
    result = run(*command, "--skip-existing")
    assert result.stdout.startswith("1 frame;"), result.stderr
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "a_.png"]


@pytest.mark.slow
def test_frames_of_a_video_that_exist_are_skipped_too(clip, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "frame_000002.png").write_bytes(b"done")
    result = run("--source", clip, "--output", out, "--skip-existing")
    assert result.returncode == 0
    assert result.stderr == f"main.py: 1 picture skipped: already in {out}\n"
    assert sorted(os.listdir(out)) == [f"frame_{i:06d}.png" for i in range(1, 26)]
    assert (out / "frame_000002.png").read_bytes() == b"done"


def test_a_file_that_exists_is_skipped(clip, tmp_path):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"done")
    result = run("--source", clip, "--output", out, "--skip-existing")
    assert (result.returncode, result.stdout) == (0, f"{out}: exists; skipped\n")
    assert out.read_bytes() == b"done"


@pytest.mark.slow
def test_every_unreadable_picture_of_a_folder_is_named(tmp_path, portrait):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    cv2.imwrite(str(folder / "good.png"), portrait[::4, ::4])
    bad = [f"bad{index}.png" for index in range(5)]
    for name in bad:
        (folder / name).write_bytes(b"not a picture")
    result = run("--source", folder, "--output", out)
    assert result.returncode == 1
    assert [path.name for path in out.iterdir()] == ["good.png"]
    lines = result.stderr.splitlines()
    assert all(line.startswith("main.py: ") for line in lines)
    assert "5 of 6 pictures left out" in lines[0]
    assert [line for line, name in zip(lines[1:], bad, strict=True) if name not in line] == []


def test_no_window_no_output_prints_figures_and_a_rate_of_more_than_one_frame(clip):
    result = run("--source", clip, "--no-window")
    assert result.returncode == 0
    assert result.stdout.startswith("25 frames, ")
    assert "segment" in result.stdout
    assert result.stderr == ""
    photo = run("--source", ROOT / "assets" / "portrait.jpg", "--no-window")
    assert photo.stdout.startswith("1 frame; processor time in ms: ")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no terminals of this kind")
def test_a_terminal_sees_a_bar_with_the_time_left_and_the_output_stays_clean(clip, tmp_path):
    import pty
    import termios

    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 80))
    command = [sys.executable, MAIN, "--source", clip, "--output", tmp_path / "out.mp4"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=end, text=True)
    os.close(end)
    bar = os.read(terminal, 2**16).decode()
    os.close(terminal)
    assert re.search(r"\d+/25 \[\d\d:\d\d<\d\d:\d\d, ", bar), bar
    assert result.stdout.startswith("25 frames, ")
    assert result.stdout.endswith(f"\nsaved {tmp_path / 'out.mp4'}: 25 frames, 1.0 s\n")


@pytest.mark.parametrize("options, expected", [([], 1), (["--threads", "3"], 3)])
def test_the_network_takes_one_thread_unless_told_otherwise(
    options, expected, clip, monkeypatch, capsys
):
    def open_pipeline(options, *_):
        raise UserError(f"{options.threads} {cv2.getNumThreads()}")

    monkeypatch.setattr(app, "open_pipeline", open_pipeline)
    before = cv2.getNumThreads()
    assert main.main(["--source", str(clip), "--no-window", *options]) == 1
    cv2.setNumThreads(before)
    assert capsys.readouterr().err == f"background-blur: {expected} {expected}\n"


def test_the_default_path_imports_no_tensorflow(clip):
    code = (
        "import sys, main\n"
        f"assert main.main(['--source', {str(clip)!r}, '--no-window']) == 0\n"
        "assert not {'tensorflow', 'keras', 'jax', 'torch', 'skimage'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# --- In a real window


def wait_for_window(display):
    wait_until(lambda: display.is_shown(TITLE) and display.screenshot().any(), "no window")


def test_what_space_hides_is_no_warning(display):
    process = start("--source", "demo", "--size", "320x180", env=display.environment)
    wait_for_window(display)
    display.press(TITLE, "space")
    time.sleep(0.5)
    display.press(TITLE, "space")
    display.press(TITLE, "Escape")
    told, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert errors == ""
    assert re.search(r"^\d+ frames hidden by you$", told, re.MULTILINE), told


def test_the_windows_x_stops_it(display):
    process = start("--source", "demo", env=display.environment)
    wait_for_window(display)
    display.click_close(TITLE)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert errors == ""


def test_ctrl_c_stops_it(display):
    process = start("--source", "demo", env=display.environment)
    wait_for_window(display)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert errors == ""
